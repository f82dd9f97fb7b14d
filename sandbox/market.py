"""The simulated truth: one history of liquidations per instrument; every vendor serves its own view of it.

A block of an instrument (an hour of a busy market, four weeks of a tiny one) is a pure function of the seed, the
instrument and the block's number, so any window can be generated on demand, and again with the same result.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field

from sandbox.cache import RowCache
from sandbox.draw import Draw, throttle
from sandbox.instruments import Instrument, standard, tiny, tiny_unshared, unshared
from sandbox.prices import usd_rate
from sandbox.times import DAY, HOUR, NS, Clock, parse

LENGTHS = (HOUR, DAY, 28 * DAY, 364 * DAY)
# Since this day Binance's feed has at most one liquidation per symbol and second.
THROTTLED_SINCE = parse("2021-04-27")
_DENSE = parse("2026-01-01")


@dataclass(frozen=True)
class Block:
    """The events of one instrument in one period, sorted by time, as columns."""

    start: int
    end: int
    times: array[int]
    lots: array[int]
    fills: array[int]  # prices in ticks
    bankruptcies: array[int]  # prices in ticks
    longs: array[int]  # 1 for a long, 0 for a short
    arrivals: array[int] = field(default_factory=lambda: array("q"))  # empty if no row is late

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Density:
    """Rows a day of the busiest market, before and after `live_from`, and how late rows arrive."""

    rows_per_day: float = 20_000.0
    live_rows_per_day: float | None = None
    live_from: int = 0
    tiny_rows_per_day: float = 1.0
    late_fraction: float = 0.0
    late_seconds: float = 0.0
    throttled: bool = True

    def at(self, instrument: Instrument, instant: int) -> float:
        """Expected rows a day of an instrument; older history has fewer rows."""
        if instrument.tiny:
            return self.tiny_rows_per_day
        rate = self.rows_per_day * instrument.share
        years = (_DENSE - instant) / (365.25 * DAY)
        rate *= max(0.5**years, 1 / 64) if years > 0 else 1.0
        if self.live_rows_per_day is not None and instant >= self.live_from:
            rate = max(rate, self.live_rows_per_day * instrument.share)
        return rate

    def peak(self, instrument: Instrument) -> float:
        """The highest rate that an instrument ever has."""
        if instrument.tiny:
            return self.tiny_rows_per_day
        return max(self.rows_per_day, self.live_rows_per_day or 0.0) * instrument.share


class Market:
    """All instruments and their events up to the clock's current time."""

    def __init__(
        self, seed: int, clock: Clock, density: Density, tiny_markets: int = 0, cache_rows: int = 500_000
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.density = density
        # The markets that every vendor of several exchanges may have, and all markets.
        self.instruments = {i.key: i for i in [*standard(), *tiny(tiny_markets)]}
        exclusive = [*unshared(), *tiny_unshared(tiny_markets)]
        self.all_instruments = {**self.instruments, **{i.key: i for i in exclusive}}
        self._lengths = {key: self._length(i) for key, i in self.all_instruments.items()}
        self._blocks: RowCache[Block] = RowCache(3 * cache_rows)
        self._sums: OrderedDict[tuple[str, int], Sums] = OrderedDict()
        self._sums_lock = threading.Lock()

    def _length(self, instrument: Instrument) -> int:
        daily = self.density.peak(instrument)
        return next((n for n in LENGTHS[:-1] if daily * n / DAY >= 20), LENGTHS[-1])

    def length(self, instrument: Instrument) -> int:
        """The length of an instrument's blocks in nanoseconds."""
        return self._lengths[instrument.key]

    def block(self, instrument: Instrument, number: int) -> Block:
        """Block `number` of an instrument, which starts at `number * length`, including future events."""
        return self._blocks.get((instrument.key, number), lambda: self._make(instrument, number))

    def rate(self, instrument: Instrument, instant: int) -> float:
        """USD for one unit of the instrument's quote asset."""
        return usd_rate(self.seed, instrument.quote, instant // HOUR)

    def settled(self, instant: int) -> bool:
        """Whether no more events at or before an instant can arrive."""
        return instant + int((self.density.late_seconds + 5) * NS) < self.clock.now()

    def _make(self, instrument: Instrument, number: int) -> Block:
        length = self.length(instrument)
        start = number * length
        events = Draw(self.seed, instrument, start, length, self.density.at(instrument, start)).events()
        last = instrument.ends if instrument.ends is not None else start + length
        events = [e for e in events if instrument.starts <= e[0] < last]
        if instrument.exchange == "binance" and self.density.throttled and start + length > THROTTLED_SINCE:
            events = throttle(events, THROTTLED_SINCE)
        columns = [array("q", column) for column in zip(*events, strict=True)] or [array("q") for _ in range(5)]
        late = events if self.density.late_fraction > 0 else []
        arrivals = array("q", [self.arrival(e[0], n) for n, e in enumerate(late)])
        times, lots, fills, bankruptcies, longs = columns
        return Block(start, start + length, times, lots, fills, bankruptcies, longs, arrivals)

    def arrival(self, instant: int, ordinal: int) -> int:
        """When a vendor stores the event. If rows arrive late, the event is visible from then on."""
        mixed = ((instant // 1000 + ordinal * 40503) * 2654435761) & 0xFFFFFFFF
        delay = 200_000_000 + mixed % 4_000_000 * 1000
        if (mixed >> 8) % 10_000 < self.density.late_fraction * 10_000:
            delay += int(self.density.late_seconds * mixed / 0xFFFFFFFF * 1000) * 1_000_000
        return instant + delay

    def sums(self, instrument: Instrument, hour: int) -> Sums:
        """The sums of an instrument's visible events in one hour (counted from the epoch)."""
        key = (instrument.key, hour)
        with self._sums_lock:
            if key in self._sums:
                return self._sums[key]
        sums = self.sums_between(instrument, hour * HOUR, (hour + 1) * HOUR)
        if self.settled((hour + 1) * HOUR):
            with self._sums_lock:
                self._sums[key] = sums
                if len(self._sums) > 300_000:
                    self._sums.popitem(last=False)
        return sums

    def sums_between(self, instrument: Instrument, start: int, end: int) -> Sums:
        """The sums of an instrument's visible events in [start, end); not cached, for short windows."""
        now = self.clock.now()
        late = self.density.late_fraction > 0
        counts, lots, quote = [0, 0], [0, 0], [0, 0]
        length = self.length(instrument)
        end = min(end, now + 1)
        for number in range(start // length, -(-end // length)):
            block = self.block(instrument, number)
            part = slice(bisect_left(block.times, start), bisect_left(block.times, end))
            arrivals = block.arrivals[part] if late else block.times[part]
            columns = zip(block.lots[part], block.fills[part], block.longs[part], arrivals, strict=True)
            for size, fill, side, arrival in columns:
                if arrival <= now:
                    counts[side] += 1
                    lots[side] += size
                    quote[side] += size * fill
        return Sums(tuple(counts), tuple(lots), tuple(quote))


@dataclass(frozen=True)
class Sums:
    """Exact counts, lots, and lots times ticks: each (shorts, longs)."""

    counts: tuple[int, ...]
    lots: tuple[int, ...]
    quote: tuple[int, ...]
