"""Bitfinex, "Liquidations": GET /v2/liquidations/hist, one list of the whole exchange, oldest rows first.

Page: https://docs.bitfinex.com/reference/rest-public-liquidations. There is no page token. A page may end inside a
millisecond, so the next page begins at the time of the last row, not after it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from source_liquidations import numbers, timestamps
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import assets_of
from source_liquidations.timestamps import MILLISECOND
from source_liquidations.unified import event_names
from source_liquidations.unified import liquidations as unified_rows
from source_liquidations.vendors.bitfinex.rows import LiquidationRow, Row, canonical, page_of, rows_of
from source_liquidations.vendors.contract_sizes import Contract, converted
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder

STREAM = Stream(
    "bitfinex_liquidations",
    ("pos_id", "mts", "symbol", "is_match", "is_market_sold", "amount", "price_acquired", "ordinal"),
    "time",
    declared_in=__name__,
)
PATH = "/v2/liquidations/hist"
LIMIT = 500
ROWS_PER_DAY = 154  # over all symbols, measured in 2026-09

OLDEST_FIRST, NEWEST_FIRST = "1", "-1"
# The end of a longer window is verified with one more request. A window of up to an hour from start_date on is no real
# first sync, and one of up to two days from any other instant is a regular sync.
LONG_FIRST_WINDOW, LONG_WINDOW = timestamps.HOUR, 2 * timestamps.DAY

REPORT = "Rows read so far are kept. Report this with the connector's version."
EVENT_TYPES = {"0": "order", "1": "trade"}  # by IS_MATCH


@dataclass
class Paging:
    """What a window remembers from page to page.

    last_millisecond     the newest millisecond whose rows were taken; -1 = none yet
    had_full_page        whether any page was full
    has_fractions        whether any time has a fraction of a millisecond
    single_millisecond   a full page whose rows all have the same millisecond
    """

    last_millisecond: int = -1
    had_full_page: bool = False
    has_fractions: bool = False
    single_millisecond: list[Row] = field(default_factory=list)


class Liquidations(Endpoint):
    """`start` is start_date in nanoseconds: a window that begins there belongs to a first sync."""

    splittable = False
    max_concurrent_requests = 1
    step = MILLISECOND
    page_size = LIMIT
    rows_per_day = ROWS_PER_DAY

    def __init__(self, client: Client, entries: Sequence[str], start: int) -> None:
        self.client = client
        self._entries = entries
        self._start = timestamps.floor_to(start, MILLISECOND)
        self._decoder = RowDecoder(ListBody, LiquidationRow, Fields(STREAM), added=("time", "ordinal"))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        for index, entry in enumerate(self._entries):
            yield Partition.of(symbol=entry, entry=f"bitfinex.symbols[{index}]")

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """One batch: a request cannot name symbols, so it returns the rows of every entry."""
        return [tuple(partitions)]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return "bitfinex", partition["symbol"]

    def first_request(self, span: Span) -> Request:
        return _request(OLDEST_FIRST, span.start // MILLISECOND, _last_millisecond(span))

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = page_of(response)
        paging: Paging = memory.setdefault("paging", Paging())
        paging.has_fractions = paging.has_fractions or any(row.instant % MILLISECOND for row in page)
        params = dict(request.params)
        if "start" not in params:
            first_unread = _first_unread(page, span, paging)
            new_rows = [row for row in page if first_unread <= row.instant < span.end]
            return Answer(rows_of(sorted(new_rows, key=lambda row: row.instant), span, self._decoder))
        if params["sort"] == OLDEST_FIRST:
            kept, next_request = self._ascending_page(page, span, int(params["end"]), paging)
        else:
            kept, next_request = self._whole_millisecond(page, span, int(params["start"]), paging)
        paging.last_millisecond = max([paging.last_millisecond, *(row.millisecond for row in kept[-1:])])
        return Answer(rows_of(kept, span, self._decoder), next_request)

    def _ascending_page(
        self, page: list[Row], span: Span, end: int, paging: Paging
    ) -> tuple[list[Row], Request | None]:
        """The rows of a page that was requested up to the millisecond `end`, ascending, and the next request.

        The last millisecond of a full page is held back: the next page has all of its rows.
        """
        is_full = len(page) >= LIMIT
        if is_full and page[0].instant > page[-1].instant and all(a.instant >= b.instant for a, b in pairwise(page)):
            raise UnexpectedAnswer("the rows come newest first, although `sort` was 1, so older ones may be missing.")
        page = sorted(page, key=lambda row: row.instant)
        if end > _last_millisecond(span):  # requested for the fractions of the last millisecond only
            page = [row for row in page if span.end - MILLISECOND < row.instant < span.end]
        if not is_full or not page:
            return page, self._after_last_page(span, end, paging)
        paging.had_full_page = True
        last = page[-1].millisecond
        if page[0].millisecond == last:
            paging.single_millisecond = page
            return [], _request(NEWEST_FIRST, last, last + int(paging.has_fractions))
        return [row for row in page if row.millisecond < last], _request(OLDEST_FIRST, last, end)

    def _after_last_page(self, span: Span, end: int, paging: Paging) -> Request | None:
        """The request after a page that is not full.

        The parameter `end` is inclusive and a whole millisecond, so times with a fraction may follow it. And a list
        that the vendor cuts off looks complete: after a long window or a full page, the newest rows are requested to
        compare.
        """
        last = _last_millisecond(span)
        if paging.has_fractions and end == last:
            return _request(OLDEST_FIRST, last, last + 1)
        longest_unverified = LONG_FIRST_WINDOW if span.start == self._start else LONG_WINDOW
        if span.end - span.start > longest_unverified or paging.had_full_page:
            return _request(NEWEST_FIRST, None, end)
        return None

    def _whole_millisecond(
        self, page: Sequence[Row], span: Span, millisecond: int, paging: Paging
    ) -> tuple[list[Row], Request | None]:
        """All rows of a millisecond that fills a page, read oldest first and newest first.

        Raises UnexpectedAnswer unless the two pages overlap.
        """
        descending = [row for row in page[::-1] if row.millisecond == millisecond]
        descending.sort(key=lambda row: row.instant)
        whole = _joined(paging.single_millisecond, descending)
        if whole is None:
            at = timestamps.format_instant(millisecond * MILLISECOND, 3)
            raise UnexpectedAnswer(
                f"the millisecond {at} has more rows than can be requested, so some would be missing.",
                advice=REPORT,
            )
        last = _last_millisecond(span)
        if millisecond < last:
            return whole, _request(OLDEST_FIRST, millisecond + 1, last)
        return whole, self._after_last_page(span, last + int(paging.has_fractions), paging)


def _first_unread(newest: Sequence[Row], span: Span, paging: Paging) -> int:
    """The instant from which on the list had no rows: any rows of the newest page from there on are new.

    Raises UnexpectedAnswer if rows between the two may be missing, or if the newest page lacks the list's last row.
    """
    last = paging.last_millisecond
    first_unread = max(last + 1, span.start // MILLISECOND)
    if last >= 0 and not any(row.millisecond >= last for row in newest):
        raise UnexpectedAnswer(
            "the newest rows are outside the requested time: all are older than the last row of the list, of"
            f" {timestamps.format_shortest(last * MILLISECOND)}.",
            advice=REPORT,
        )
    new = [row for row in newest if row.millisecond >= first_unread and row.instant < span.end]
    list_end = timestamps.format_shortest(first_unread * MILLISECOND)
    if new and len(new) == len(newest):
        first = timestamps.format_shortest(min(row.instant for row in new))
        raise UnexpectedAnswer(
            f"the list stopped early: it has no rows from {list_end} on, but the newest page has rows from {first} on."
            " Rows in between may be missing.",
            advice=REPORT,
        )
    if new:
        logger.warning(
            "bitfinex: the list stopped early, at %s; %d later rows were read from the newest page", list_end, len(new)
        )
    return first_unread * MILLISECOND


def _request(sort: str, start: int | None, end: int) -> Request:
    """`start` and `end` are milliseconds; both are inclusive."""
    params = [("sort", sort), ("limit", str(LIMIT))]
    if start is not None:
        params.append(("start", str(start)))
    return Request(PATH, (*params, ("end", str(end))))


def _last_millisecond(span: Span) -> int:
    return span.end // MILLISECOND - 1


def _joined(ascending: list[Row], descending: list[Row]) -> list[Row] | None:
    """Two pages of one millisecond as one list, by the rows at the end of one and the beginning of the other.

    None unless exactly one overlap fits. Equal rows may leave the number of rows open. So may a vendor that returns
    rows of one millisecond in the same order for both sort directions: some rows would then come twice.
    """
    older, newer = ([tuple(map(bytes, row.elements)) for row in rows] for rows in (ascending, descending))
    longest = min(len(older), len(newer))
    overlaps = [length for length in range(1, longest + 1) if older[-length:] == newer[:length]]
    if len(overlaps) != 1:
        return None
    whole = Counter(older + newer[overlaps[0] :])
    if whole - (Counter(older) | Counter(newer)):
        return None
    return ascending + descending[overlaps[0] :]


def to_liquidations(rows: Rows, span: Span) -> Table:
    """The sign of `amount` is the position side. A trigger has no price: `base_price` is the entry price."""
    event_types = [EVENT_TYPES.get(canonical(bytes(row.is_match)), "") for row in rows.typed]
    rows = rows.without(
        {
            index: UnexpectedAnswer(f"`is_match` is {shown(bytes(row.is_match))}, neither 0 nor 1.")
            for index, row in enumerate(rows.typed)
            if not event_types[index]
        }
    )
    typed: Sequence[LiquidationRow] = rows.typed
    signed = numbers.floats([row.amount for row in typed])
    amounts = [bytes(row.amount).removeprefix(b"-") for row in typed]
    symbols, prices = [row.symbol for row in typed], [row.price_acquired for row in typed]
    contracts = {symbol: Contract.of_base(pair_of(symbol)[1]) for symbol in set(symbols)}
    return unified_rows(
        rows,
        names=list(map(_names, symbols, filter(None, event_types))),
        positions=[None if not value else "long" if value > 0 else "short" for value in signed],
        price=prices,
        amount=amounts,
        amount_base=amounts,
        computed_usd=converted(contracts, symbols, amounts, prices).notional_usd,
    )


def _names(symbol: str, event_type: str) -> bytes:
    return event_names("bitfinex", symbol, "bitfinex", *pair_of(symbol), event_type, "base")


@lru_cache(maxsize=4096)
def pair_of(symbol: str) -> tuple[str | None, str | None]:
    """Base and quote asset: the texts around the colon; without a colon, three letters each."""
    assets = assets_of(symbol, "bitfinex")
    if None not in assets:
        return assets
    pair = symbol.removeprefix("t")
    halves = pair.split(":") if ":" in pair else [pair[:3], pair[3:]] if len(pair) == 6 else []
    if len(halves) != 2 or not all(half.isalnum() for half in halves):
        return assets
    base, quote = (assets_of(f"t{half}:USD", "bitfinex")[0] for half in halves)
    return base, quote
