"""A vendor's lists of instruments, markets or symbols, read whole, page after page; and the token of a next page."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, RequestRefused, UnexpectedAnswer, shown
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.coverage import Kind, Period
from source_liquidations.reading.coverage import rows as coverage_rows
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Mapper, Table
from source_liquidations.reading.paging import MAX_RESTARTS, Pages, tokens_refused
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Page, RowDecoder

# A row, decoded and as the vendor wrote it.
Entry = tuple[Any, msgspec.Raw | bytes]

_NO_TIME = Span((Partition(()),), 0, 1)


class Listing(Endpoint):
    """A list without times: one partition, one window, no progress to save.

    `next_request` makes the next page's request from a page's request and body. Without it, the list is one page.
    """

    ascending = False
    splittable = False

    def __init__(
        self,
        client: Client,
        first_page: Request,
        decoder: RowDecoder[Any],
        next_request: Callable[[Request, Any], Request | None] | None = None,
    ) -> None:
        self.client = client
        self.first_page = first_page
        self._decoder = decoder
        self._next_request = next_request

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        return [Partition(())]

    def first_request(self, span: Span) -> Request:
        return self.first_page

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        entries, next_request = self.entries(self._decoder.decode(response), request, memory)
        typed = [row for row, _ in entries]
        return Answer(Rows([literal for _, literal in entries], [span.start] * len(typed), typed=typed), next_request)

    def entries(self, page: Page[Any], request: Request, memory: dict[Any, Any]) -> tuple[list[Entry], Request | None]:
        """The rows of a page, and the next request."""
        next_request = self._next_request(request, page.body) if self._next_request else None
        return list(zip(page.rows, page.raw, strict=True)), next_request


def rows_of(listing: Listing, traffic: Traffic, first_page: Request | None = None) -> Iterator[Entry]:
    """Every row of a list that must be known before reading begins. Raises NotAdvancing for endless pages.

    Vendors do not document when page tokens expire. If one is refused, the list begins again, so rows may repeat.
    """
    first_page = first_page or listing.first_page
    request: Request | None = first_page
    pages, memory, restarts = Pages(), {}, 0  # type: ignore[var-annotated]
    while request is not None:
        try:
            response = listing.client.fetch(request, traffic)
        except (AccessRefused, RequestRefused) as error:
            if request == first_page:
                raise
            restarts += 1
            if restarts > MAX_RESTARTS:
                raise tokens_refused(error) from None
            request, pages, memory = first_page, Pages(), {}
            continue
        answer = listing.decode(response, _NO_TIME, request, memory)
        pages.accept(request, answer)
        yield from zip(answer.rows.typed, answer.rows.raw, strict=True)
        request = answer.next_request


def next_token(client: Client, *, token: str | None, url: str | None, name: str) -> str | None:
    """The next page's token, whose parameter is `name`. On the last page it is absent, null or empty: then None.

    The URL itself is never requested: it may embed the key. Raises UnexpectedAnswer for a URL on another origin.
    """
    if url:
        client.check_origin(url)
    if token or not url:
        return token or None
    values = parse_qs(urlsplit(url).query.replace("+", "%2B"))  # parse_qs would read `+` as a space
    if name in values:
        return values[name][0]
    raise UnexpectedAnswer(f"the next page's address has no {name}.", advice="No token was guessed.")


# Reads a date of a row. Takes the row, the name of the field, and the name of the market for a warning.
DateReader = Callable[[Any, str, str], int | None]

# Exchange, market, kind, instant (None if unknown) and note.
ListedPeriod = tuple[str, str, Kind, int | None, str]


def coverage_of(
    vendor: str, stream: Stream, source: str, periods_of: Callable[[Any, DateReader, int], Iterable[ListedPeriod]]
) -> Mapper:
    """A mapper that turns rows of a list into coverage: when each market's data starts and ends.

    `periods_of` makes the periods of a row, with the reader of its dates and the end of the sync. A date that cannot be
    read counts as absent, and is logged once for each field.
    """
    warned: set[str] = set()

    def date(row: Any, field: str, market: str) -> int | None:
        literal: msgspec.Raw = getattr(row, field)
        text = bytes(literal).decode()
        if text.strip('"') in ("null", "", "0"):
            return None
        try:
            return timestamps.instant_of(msgspec.json.decode(text) if text.startswith('"') else text)
        except ValueError:
            if field not in warned:
                warned.add(field)
                logger.warning(
                    "%s, `%s` of %s is %s, not a date: liquidation_coverage has no row for it",
                    stream.name,
                    field,
                    market,
                    shown(bytes(literal)),
                )
            return None

    def to_coverage(rows: Rows, span: Span) -> Table:
        return coverage_rows(
            Period(vendor, exchange, market, kind, instant, None, note, source)
            for row in rows.typed
            for exchange, market, kind, instant, note in periods_of(row, date, span.end)
            if instant is not None
        )

    return to_coverage
