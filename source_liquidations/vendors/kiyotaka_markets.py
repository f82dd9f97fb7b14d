"""Kiyotaka: the list of markets, for its own stream and for wildcards.

Page: https://docs.kiyotaka.ai, "/v1/markets". Calls to it weigh nothing, but count among a plan's requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.vendors.decoding import Fields, RowDecoder, snake, without
from source_liquidations.vendors.listing import Listing, Unread

MARKETS = "/v1/markets"
PAGE_SIZE = 100

T = TypeVar("T")


class Body(msgspec.Struct, Generic[T]):
    """An empty list, and the offset behind the last page, may be left out."""

    data: list[T] = msgspec.field(name="symbols", default_factory=list)
    nextOffset: int | str | None = None


class MarketRow(msgspec.Struct):
    """As the vendor sends it; the columns of the stream are in snake_case."""

    exchange: str
    rawSymbol: str
    normalizedSymbol: Unread = msgspec.UNSET
    coin: Unread = msgspec.UNSET
    category: str | None = None
    availableSince: Unread = msgspec.UNSET


def page_at(offset: int, filters: tuple[tuple[str, str], ...] = ()) -> Request:
    return Request(MARKETS, (*filters, ("pageSize", str(PAGE_SIZE)), ("pageOffset", str(offset))))


def following(request: Request, body: Body[Any]) -> Request | None:
    """The next page; none after an empty one."""
    try:
        offset = int(body.nextOffset or 0)
    except ValueError:
        raise UnexpectedAnswer(f"`nextOffset` is {body.nextOffset!r}, no number.") from None
    if not body.data or not offset:
        return None
    if offset <= int(dict(request.params)["pageOffset"]):
        raise UnexpectedAnswer("the list of markets repeats its offset; it would never end.")
    return page_at(offset, request.params[:-2])


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class MarketList(Listing):
    """All markets, spot included: what its filter `type` takes is not documented."""

    page_size = PAGE_SIZE

    def __init__(self, client: Client) -> None:
        super().__init__("kiyotaka", client)
        self._decoder = RowDecoder("kiyotaka_markets", Body, MarketRow)
        self._columns = Fields("kiyotaka_markets", map(snake, MarketRow.__struct_fields__))

    def first_page(self) -> Request:
        return page_at(0)

    def page(self, answered: Answered, request: Request, memory: dict[Any, Any]) -> tuple[list[bytes], Request | None]:
        del memory
        body, raw, _ = self._decoder.decode(answered)
        return [self._row(literal) for literal in raw], following(request, body)

    def _row(self, literal: msgspec.Raw) -> bytes:
        """A row with the stream's names. `available_since` is text, however the vendor writes it."""
        members = {snake(name): value for name, value in _members(literal).items()}
        since = bytes(members.get("available_since", b"null"))
        if since[:1] not in (b'"', b"n"):
            members["available_since"] = msgspec.Raw(b'"%b"' % since)
        return _encode(without(members, self._columns.left_out(members)))


def markets(client: Client, filters: tuple[tuple[str, str], ...], traffic: Traffic) -> Iterable[str]:
    """`EXCHANGE/rawSymbol` of every market that may have liquidations: all but spot."""
    decoder = msgspec.json.Decoder(Body[MarketRow])

    request: Request | None = page_at(0, filters)
    while request is not None:
        body = client.fetch(request, traffic).decoded(decoder)
        yield from (f"{row.exchange}/{row.rawSymbol}" for row in body.data if row.category != "SPOT")
        request = following(request, body)
