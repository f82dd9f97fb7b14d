"""A vendor's encoded rows of one instrument, sorted by time, and pages of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sandbox.cache import RowCache
from sandbox.instruments import Instrument
from sandbox.market import Block, Market

Position = tuple[int, int]  # an instant, and how many of its rows have been sent


@dataclass(frozen=True)
class Rendered:
    """A vendor's rows of a block. `sources` are the rows' event indexes; None means row n is event n."""

    times: Sequence[int]
    rows: list[bytes]
    sources: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Page:
    """Rows in the requested order, their times, and the position of the next page."""

    rows: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    next: Position | None = None


class Extras:
    """Rows that a test adds to a vendor's market."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, bytes]]] = {}

    def add(self, market: str, rows: list[tuple[int, bytes]]) -> None:
        """Add encoded rows with their instants."""
        self._rows.setdefault(market, []).extend(rows)
        self._rows[market].sort(key=lambda row: row[0])

    def between(self, market: str, start: int, end: int) -> list[tuple[int, bytes]]:
        """The added rows of [start, end)."""
        return [row for row in self._rows.get(market, ()) if start <= row[0] < end]

    def bounds(self, market: str) -> tuple[int, int] | None:
        """The first and the last instant with an added row."""
        rows = self._rows.get(market)
        return (rows[0][0], rows[-1][0]) if rows else None


@dataclass(frozen=True)
class Series:
    """One vendor's view of one instrument. The vendor has the events since `first`."""

    market: Market
    instrument: Instrument
    name: str
    render: Callable[[Instrument, Block], Rendered]
    cache: RowCache[Rendered]
    extras: Extras
    first: int

    def _numbers(self, start: int, end: int) -> range:
        """The numbers of the blocks that can hold visible rows of [start, end)."""
        last = min(end, self.market.clock.now() + 1, self.instrument.ends or end)
        first = max(start, self.first, self.instrument.starts)
        bounds = self.extras.bounds(self.name)
        if bounds:
            first, last = min(first, max(start, bounds[0])), max(last, min(end, bounds[1] + 1))
        length = self.market.length(self.instrument)
        return range(first // length, max(first // length, -(-last // length)))

    def _visible(self, number: int) -> Rendered:
        length = self.market.length(self.instrument)
        start, end = number * length, (number + 1) * length
        block = self.market.block(self.instrument, number)
        rendered = self.cache.get((self.name, number), lambda: self.render(self.instrument, block))
        now = self.market.clock.now()
        low = bisect_left(rendered.times, self.first) if start < self.first else 0
        high = len(rendered) if end <= now else bisect_right(rendered.times, now)
        if low or high < len(rendered):
            sources = rendered.sources[low:high] if rendered.sources is not None else range(low, high)
            rendered = Rendered(rendered.times[low:high], rendered.rows[low:high], sources)
        if block.arrivals and not self.market.settled(end):
            rendered = _arrived(rendered, block, now)
        return _merged(rendered, [row for row in self.extras.between(self.name, start, end) if row[0] <= now])

    def chunks(self, start: int, end: int, *, backwards: bool = False) -> Iterator[Rendered]:
        """The visible rows of the blocks that overlap [start, end), block by block."""
        numbers = self._numbers(start, end)
        for number in reversed(numbers) if backwards else numbers:
            chunk = self._visible(number)
            if chunk.rows:
                yield chunk

    def ascending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), oldest first."""
        start, skip = after or (start, 0)
        rows: list[bytes] = []
        times: list[int] = []
        for chunk in self.chunks(start, end):
            low = bisect_left(chunk.times, start)
            low += min(skip, bisect_right(chunk.times, start) - low)
            high = min(bisect_left(chunk.times, end), low + limit + 1 - len(rows))
            rows += chunk.rows[low:high]
            times += chunk.times[low:high]
            if len(rows) > limit:
                break
        return _cut(rows, times, limit, (start, skip))

    def descending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), newest first."""
        newest, skip = after or (end - 1, 0)
        rows: list[bytes] = []
        times: list[int] = []
        for chunk in self.chunks(start, newest + 1, backwards=True):
            high = bisect_right(chunk.times, newest)
            high -= min(skip, high - bisect_left(chunk.times, newest))
            low = max(bisect_left(chunk.times, start), high - (limit + 1 - len(rows)))
            if high > low:
                rows += chunk.rows[low:high][::-1]
                times += chunk.times[low:high][::-1]
            if len(rows) > limit:
                break
        return _cut(rows, times, limit, (newest, skip))

    def sliced(self, start: int, end: int, offset: int, limit: int, *, backwards: bool = False) -> list[bytes]:
        """Up to `limit` rows of [start, end) after the first `offset`, oldest or newest first."""
        rows: list[bytes] = []
        for chunk in self.chunks(start, end, backwards=backwards):
            low, high = bisect_left(chunk.times, start), bisect_left(chunk.times, end)
            if high - low <= offset:
                offset -= high - low
                continue
            part = chunk.rows[low:high]
            rows += (part[::-1] if backwards else part)[offset : offset + limit - len(rows)]
            offset = 0
            if len(rows) == limit:
                break
        return rows

    def all(self, start: int, end: int) -> list[bytes]:
        """Every visible row of [start, end), oldest first."""
        rows: list[bytes] = []
        for chunk in self.chunks(start, end):
            rows += chunk.rows[bisect_left(chunk.times, start) : bisect_left(chunk.times, end)]
        return rows


def merged(
    sources: Sequence[Series],
    start: int,
    end: int,
    limit: int,
    *,
    newest: bool = False,
    extra: Sequence[tuple[int, bytes]] = (),
) -> Page:
    """Up to `limit` rows of [start, end) of several series and of `extra`, oldest (or newest) first.

    Rows of one instant are in the order of the series; newest first is exactly the reverse. The page has no `next`.
    """
    candidates: list[tuple[int, bytes]] = []
    for source in sources:
        page = (source.descending if newest else source.ascending)(start, end, limit)
        rows = list(zip(page.times, page.rows, strict=True))
        candidates += rows[::-1] if newest else rows
    candidates += extra
    candidates.sort(key=lambda row: row[0])
    kept = candidates[::-1][:limit] if newest else candidates[:limit]
    return Page([row for _, row in kept], [instant for instant, _ in kept])


def _cut(rows: list[bytes], times: list[int], limit: int, before: Position) -> Page:
    if len(rows) <= limit:
        return Page(rows, times)
    next_time = times[limit]
    sent = 0
    while sent < limit and times[limit - 1 - sent] == next_time:
        sent += 1
    if sent == limit and before[0] == next_time:
        sent += before[1]
    return Page(rows[:limit], times[:limit], (next_time, sent))


def _arrived(rendered: Rendered, block: Block, now: int) -> Rendered:
    sources = rendered.sources if rendered.sources is not None else range(len(rendered))
    kept = [n for n, source in enumerate(sources) if block.arrivals[source] <= now]
    return Rendered([rendered.times[n] for n in kept], [rendered.rows[n] for n in kept])


def _merged(rendered: Rendered, extra: list[tuple[int, bytes]]) -> Rendered:
    if not extra:
        return rendered
    merged = sorted([*zip(rendered.times, rendered.rows, strict=True), *extra], key=lambda row: row[0])
    return Rendered(array("q", [row[0] for row in merged]), [row[1] for row in merged])
