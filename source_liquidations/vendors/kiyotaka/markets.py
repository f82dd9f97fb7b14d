"""Kiyotaka, GET /v1/markets: for its own stream, for patterns, and for liquidation_coverage. Calls weigh nothing."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Span
from source_liquidations.reading.pages import encode, members_of
from source_liquidations.streams import Stream
from source_liquidations.symbols import exchange
from source_liquidations.vendors.decoding import Fields, Row, RowDecoder, snake, without
from source_liquidations.vendors.listing import DateReader, ListedPeriod, Listing, coverage_of, rows_of
from source_liquidations.vendors.patterns import is_pattern, matching_names

STREAM = Stream("kiyotaka_markets", ("exchange", "raw_symbol"), declared_in=__name__)
PATH = "/v1/markets"
PAGE_SIZE = "100"


class Body(msgspec.Struct, Generic[Row]):
    """The vendor may leave out an empty list, and `nextOffset` on the last page."""

    data: list[Row] | None = msgspec.field(name="symbols", default_factory=list)
    nextOffset: int | str | None = None


class MarketRow(msgspec.Struct):
    """A row in the vendor's spelling; the stream's columns are in snake_case."""

    exchange: str
    rawSymbol: str
    normalizedSymbol: msgspec.Raw = numbers.NULL
    coin: msgspec.Raw = numbers.NULL
    category: Any = None
    availableSince: msgspec.Raw = numbers.NULL

    @property
    def market(self) -> str:
        return f"{self.exchange}/{self.rawSymbol}"


FIELDS = MarketRow.__struct_fields__


class MarketList(Listing):
    """All markets, spot included: the values of the filter `type` are not documented."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, first_page(), RowDecoder(Body, MarketRow), next_request)
        self._columns = Fields(STREAM)

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        answer = super().decode(response, span, request, memory)
        names = members_of(response.body).keys() - {"nextOffset"}
        if names and "symbols" not in names:
            raise UnexpectedAnswer("the answer has no `symbols`.")
        answer.rows.raw = [self._columns_of(literal) for literal in answer.rows.raw]
        return answer

    def _columns_of(self, literal: msgspec.Raw | bytes) -> bytes:
        """A row with the stream's names. `available_since` is always text, even if the vendor writes a number."""
        sent = members_of(literal)
        members = {snake(name): value for name, value in sent.items() if name in FIELDS}
        others = {snake(name): value for name, value in without(sent, FIELDS).items()}
        since = bytes(members.get("available_since", b"null"))
        if since[:1] not in (b'"', b"n"):
            members["available_since"] = msgspec.Raw(encode(since.decode()))
        dropped = self._columns.to_drop(others.keys(), self._columns.documented)
        return encode({**members, **without(others, dropped)})


def first_page(filters: Params = ()) -> Request:
    return Request(PATH, (*filters, ("pageSize", PAGE_SIZE), ("pageOffset", "0")))


def next_request(request: Request, body: Body[Any]) -> Request | None:
    """The request of the next page; None after an empty page."""
    try:
        offset = int(body.nextOffset or 0)
    except ValueError:
        raise UnexpectedAnswer(f"`nextOffset` is {body.nextOffset!r}, not a number.") from None
    if not body.data or not offset:
        return None
    if offset <= int(dict(request.params)["pageOffset"]):
        raise UnexpectedAnswer("the list of markets repeats its offset, so it would never end.")
    return request.with_param("pageOffset", str(offset))


def market_names(client: Client, traffic: Traffic, filters: Params) -> list[str]:
    """`EXCHANGE/rawSymbol` of the markets that pass the vendor's filters, but for spot: it has no liquidations."""
    rows = rows_of(MarketList(client), traffic, first_page(filters))
    return [row.market for row, _ in rows if row.category != "SPOT"]


def matching_markets(listed: Callable[[Params], list[str]], pattern: str, where: str) -> list[str]:
    """The markets that match a pattern. Raises ConfigurationError if none does."""
    code = pattern.split("/", 1)[0]
    names = listed(() if is_pattern(code) else (("exchange", code),))
    return sorted(matching_names(pattern, names, where, "market of Kiyotaka's list", "Compare it with /v1/markets."))


def _periods_of(row: MarketRow, date: DateReader, end: int) -> Iterator[ListedPeriod]:
    since = date(row, "availableSince", row.market)
    yield exchange(row.exchange), row.market, "starts", since, "available since, of any kind of data"


to_coverage = partial(coverage_of, "kiyotaka", STREAM, PATH, _periods_of)
