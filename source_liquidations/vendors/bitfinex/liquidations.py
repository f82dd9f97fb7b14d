"""Bitfinex, "Liquidations": GET /v2/liquidations/hist, the whole exchange in one list, oldest rows first.

Page: https://docs.bitfinex.com/reference/rest-public-liquidations. There is no page token: the next page begins at the
time of the last row, not after it, since a page may end inside a millisecond.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from source_liquidations import numbers, timestamps
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered
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
from source_liquidations.vendors.bitfinex.rows import FIELDS, LiquidationRow, Row, canonical, page_of, rows_of
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
# A shorter window is no first sync of anybody, and a shorter one that begins later is a regular sync's: neither is
# worth another request.
LONG_FIRST_WINDOW, LONG_WINDOW = timestamps.HOUR, 2 * timestamps.DAY

# What a window remembers from page to page.
_LAST = "the last millisecond of which rows were taken"
_HAD_FULL_PAGE = "a page was full"
_HAS_FRACTIONS = "times have fractions of a millisecond"
_ONE_MILLISECOND = "a full page of one millisecond"

REPORT = "Rows read so far are kept. Report this with the connector's version."
EVENT_TYPES = {"0": "order", "1": "trade"}  # by IS_MATCH


class Liquidations(Endpoint):
    """`start` is the configured first instant: a window that begins there is a first sync's."""

    splittable = False
    max_concurrent_requests = 1
    step = MILLISECOND
    page_size = LIMIT
    rows_per_day = ROWS_PER_DAY

    def __init__(self, client: Client, entries: Sequence[str], start: int) -> None:
        self.client = client
        self._entries = entries
        self._start = timestamps.floor_to(start, MILLISECOND)
        read = [name for name in FIELDS.values() if name != "symbol"]
        added = ("time", "ordinal")
        self._decoder = RowDecoder(ListBody, LiquidationRow, Fields(STREAM), numbers=read, added=added)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        for index, entry in enumerate(self._entries):
            yield Partition.of(symbol=entry, entry=f"bitfinex.symbols[{index}]")

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """All in one: a request cannot name symbols, so it brings the rows of every entry."""
        return [tuple(partitions)]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return "bitfinex", partition["symbol"]

    def first_request(self, span: Span) -> Request:
        return _request(OLDEST_FIRST, span.start // MILLISECOND, _last_millisecond(span))

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = page_of(answered)
        memory[_HAS_FRACTIONS] = memory.get(_HAS_FRACTIONS, False) or any(row.instant % MILLISECOND for row in page)
        params = dict(request.params)
        if "start" not in params:
            known_until = _known_until(page, span, memory)
            kept = sorted((row for row in page if span.start <= row.instant < span.end), key=lambda row: row.instant)
            return Answer(rows_of(kept, span, self._decoder).between(known_until, span.end))
        if params["sort"] == OLDEST_FIRST:
            kept, following = self._in_order(page, span, params, memory)
        else:
            kept, following = self._whole_millisecond(page, span, int(params["start"]), memory)
        return Answer(rows_of(kept, span, self._decoder), following)

    def _in_order(
        self, page: list[Row], span: Span, params: dict[str, str], memory: dict[Any, Any]
    ) -> tuple[list[Row], Request | None]:
        """The rows of a page, and the next request.

        The last millisecond of a full page is held back: the next page brings it whole.
        """
        is_full = len(page) >= LIMIT
        if is_full and page[0].instant > page[-1].instant and all(a.instant >= b.instant for a, b in pairwise(page)):
            raise UnexpectedAnswer("the rows come newest first, although `sort` was 1, so older ones may be missing.")
        page = sorted(page, key=lambda row: row.instant)
        if int(params["end"]) > _last_millisecond(span):  # for the fractions of the last millisecond
            page = [row for row in page if span.end - MILLISECOND < row.instant < span.end]
        if not is_full or not page:
            _note_last(page, memory)
            return page, self._after_last(span, params, memory)
        memory[_HAD_FULL_PAGE] = True
        last = page[-1].millisecond
        if page[0].millisecond == last:
            memory[_ONE_MILLISECOND] = page
            return [], _request(NEWEST_FIRST, last, last + int(memory[_HAS_FRACTIONS]))
        kept = [row for row in page if row.millisecond < last]
        _note_last(kept, memory)
        return kept, _request(OLDEST_FIRST, last, int(params["end"]))

    def _after_last(self, span: Span, params: dict[str, str], memory: dict[Any, Any]) -> Request | None:
        """What to request after the last page.

        `end` is inclusive and a whole millisecond, so times with a fraction may follow it. And a list that was cut off
        would look like its end: after a long window or several pages, the newest rows have to be known.
        """
        end = _last_millisecond(span)
        if memory[_HAS_FRACTIONS] and int(params["end"]) == end:
            return _request(OLDEST_FIRST, end, end + 1)
        long = LONG_FIRST_WINDOW if span.start == self._start else LONG_WINDOW
        if span.end - span.start > long or memory.get(_HAD_FULL_PAGE):
            return _request(NEWEST_FIRST, None, int(params["end"]))
        return None

    def _whole_millisecond(
        self, page: Sequence[Row], span: Span, millisecond: int, memory: dict[Any, Any]
    ) -> tuple[list[Row], Request | None]:
        """All rows of a millisecond that fills a page, from its two ends.

        Raises UnexpectedAnswer unless they overlap.
        """
        oldest: list[Row] = memory.pop(_ONE_MILLISECOND)
        newest = [row for row in page[::-1] if row.millisecond == millisecond]
        newest.sort(key=lambda row: row.instant)
        whole = _joined(oldest, newest)
        if whole is None:
            at = timestamps.format_instant(millisecond * MILLISECOND, 3)
            raise UnexpectedAnswer(
                f"{at} has more rows than can be requested of one millisecond, so some would be missing.",
                advice=REPORT,
            )
        _note_last(whole, memory)
        end = _last_millisecond(span)
        if millisecond < end:
            return whole, _request(OLDEST_FIRST, millisecond + 1, end)
        return whole, self._after_last(span, {"end": str(end + int(memory[_HAS_FRACTIONS]))}, memory)


def _note_last(kept: Sequence[Row], memory: dict[Any, Any]) -> None:
    """Remember up to where rows were taken; those that were held back are not among them."""
    memory[_LAST] = max([memory.get(_LAST, -1), *(row.millisecond for row in kept[-1:])])


def _known_until(newest: Sequence[Row], span: Span, memory: dict[Any, Any]) -> int:
    """From which instant on the newest page has rows that the list did not have.

    Raises UnexpectedAnswer where there are others between, or where the page does not have the list's last row.
    """
    last: int = memory[_LAST]
    begins = max(last + 1, span.start // MILLISECOND)
    if last >= 0 and not any(row.millisecond >= last for row in newest):
        raise UnexpectedAnswer(
            "the newest rows are outside the time asked for: all are older than the list's last one, of"
            f" {timestamps.format_shortest(last * MILLISECOND)}.",
            advice=REPORT,
        )
    new = [row for row in newest if row.millisecond >= begins and row.instant < span.end]
    ended = timestamps.format_shortest(begins * MILLISECOND)
    if new and len(new) == len(newest):
        first = timestamps.format_shortest(min(row.instant for row in new))
        raise UnexpectedAnswer(
            f"the list stopped early: it has no row from {ended} on, but there are some from {first} on, and perhaps"
            " others before.",
            advice=REPORT,
        )
    if new:
        logger.warning("bitfinex: the list stopped early, at %s; %d newer rows were read from its end", ended, len(new))
    return begins * MILLISECOND


def _request(sort: str, start: int | None, end: int) -> Request:
    """Both bounds are milliseconds, inclusive."""
    params = [("sort", sort), ("limit", str(LIMIT))]
    if start is not None:
        params.append(("start", str(start)))
    return Request(PATH, (*params, ("end", str(end))))


def _last_millisecond(span: Span) -> int:
    return span.end // MILLISECOND - 1


def _joined(oldest: list[Row], newest: list[Row]) -> list[Row] | None:
    """Two ends of a list as one: where the end of one is the beginning of the other. None unless there is one such way.

    Equal rows may leave it open how many there are. So may a vendor that has rows of one millisecond in the same order
    from both ends: then some would come twice.
    """
    left, right = ([tuple(map(bytes, row.elements)) for row in rows] for rows in (oldest, newest))
    most = min(len(left), len(right))
    overlaps = [length for length in range(1, most + 1) if left[-length:] == right[:length]]
    if len(overlaps) != 1:
        return None
    whole = Counter(left + right[overlaps[0] :])
    if whole - (Counter(left) | Counter(right)):
        return None
    return oldest + newest[overlaps[0] :]


def to_liquidations(rows: Rows, span: Span) -> Table:
    """The sign of the amount is the position's side. A trigger has no price: base_price is where it was opened."""
    kinds = [EVENT_TYPES.get(canonical(bytes(row.is_match)), "") for row in rows.typed]
    rows = rows.without(
        {
            index: UnexpectedAnswer(f"`is_match` is {shown(bytes(row.is_match))}, neither 0 nor 1.")
            for index, row in enumerate(rows.typed)
            if not kinds[index]
        }
    )
    typed: Sequence[LiquidationRow] = rows.typed
    signed = numbers.floats([row.amount for row in typed])
    amounts = [bytes(row.amount).removeprefix(b"-") for row in typed]
    symbols, prices = [row.symbol for row in typed], [row.price_acquired for row in typed]
    contracts = {symbol: Contract.of_base(pair_of(symbol)[1]) for symbol in set(symbols)}
    return unified_rows(
        rows,
        names=list(map(_names, symbols, filter(None, kinds))),
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
    """Base and quote asset: what stands around the colon; without one, three letters each."""
    known = assets_of(symbol, "bitfinex")
    if None not in known:
        return known
    pair = symbol.removeprefix("t")
    halves = pair.split(":") if ":" in pair else [pair[:3], pair[3:]] if len(pair) == 6 else []
    if len(halves) != 2 or not all(half.isalnum() for half in halves):
        return known
    base, quote = (assets_of(f"t{half}:USD", "bitfinex")[0] for half in halves)
    return base, quote
