"""The simulated truth: one history of liquidations per instrument, from which every vendor projects its view.

A block of an instrument (an hour of a busy market, a year of a tiny one) is a pure function of the seed, the
instrument and the block's number, so that any window over years can be made lazily and again.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, Protocol, TypeVar

from sandbox.instruments import Instrument, standard, tiny
from sandbox.prices import digest, price_at, usd_rate
from sandbox.times import DAY, HOUR, NS, Clock, parse

LENGTHS = (HOUR, DAY, 28 * DAY, 364 * DAY)
# Since this day Binance's feed gives no more than one liquidation per symbol and second.
THROTTLED_SINCE = parse("2021-04-27")
_DENSE = parse("2026-01-01")
_SIZES = tuple(min((1 - n / 4096) ** -0.9, 800.0) for n in range(4096))
_MOODS = (0.35, 0.6, 0.8, 1.0, 2.25)
_QUIET_MOODS = (0.0, 0.0, 0.5, 1.3, 3.2)

Event = tuple[int, int, int, int, int]  # time, lots, fill ticks, bankruptcy ticks, 1 if a long


class Sized(Protocol):
    """Anything that knows how many rows it holds."""

    def __len__(self) -> int: ...


V = TypeVar("V", bound=Sized)


class RowCache(Generic[V]):
    """A least-recently-used cache bounded by the number of rows that its values hold."""

    def __init__(self, rows: int) -> None:
        self._limit = rows
        self._held = 0
        self._values: OrderedDict[object, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], V]) -> V:
        """The value of a key, made outside the lock if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._held += len(value) + 20
            while self._held > self._limit and len(self._values) > 1:
                _, old = self._values.popitem(last=False)
                self._held -= len(old) + 20
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._held = 0


@dataclass(frozen=True)
class Block:
    """The events of one instrument in one stretch of time, in order of time, as columns."""

    start: int
    end: int
    times: array[int]
    lots: array[int]
    fills: array[int]
    broke: array[int]
    longs: array[int]
    arrivals: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Density:
    """How many rows a day the busiest market has, now and from `live_from` on, and how rows arrive."""

    rows_per_day: float = 20_000.0
    live_rows_per_day: float | None = None
    live_from: int = 0
    tiny_rows_per_day: float = 1.0
    late_fraction: float = 0.0
    late_seconds: float = 0.0
    throttled: bool = True

    def at(self, instrument: Instrument, instant: int) -> float:
        """Expected rows a day of an instrument; history is thinner the older it is."""
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
    """All instruments and their events up to the clock's now."""

    def __init__(self, seed: int, clock: Clock, density: Density, tiny_markets: int = 0) -> None:
        self.seed = seed
        self.clock = clock
        self.density = density
        self.instruments = {i.key: i for i in [*standard(), *tiny(tiny_markets)]}
        self._lengths = {key: self._length(i) for key, i in self.instruments.items()}
        self._blocks: RowCache[Block] = RowCache(1_500_000)
        self._sums: OrderedDict[tuple[str, int], Sums] = OrderedDict()
        self._sums_lock = threading.Lock()

    def _length(self, instrument: Instrument) -> int:
        daily = self.density.peak(instrument)
        return next((n for n in LENGTHS[:-1] if daily * n / DAY >= 40), LENGTHS[-1])

    def length(self, instrument: Instrument) -> int:
        """Nanoseconds that one block of an instrument covers."""
        return self._lengths[instrument.key]

    def block(self, instrument: Instrument, number: int) -> Block:
        """Block `number` of an instrument, from `number * length` on; visible or not."""
        return self._blocks.get((instrument.key, number), lambda: self._make(instrument, number))

    def rate(self, instrument: Instrument, instant: int) -> float:
        """USD for one unit of the instrument's quote asset."""
        return usd_rate(self.seed, instrument.quote, instant // HOUR)

    def settled(self, instant: int) -> bool:
        """Whether nothing at or before an instant can still appear."""
        return instant + int((self.density.late_seconds + 5) * NS) < self.clock.now()

    def _make(self, instrument: Instrument, number: int) -> Block:
        length = self.length(instrument)
        start = number * length
        rng = Random(digest(self.seed, instrument.key, number))
        events = _Draw(self, instrument, rng, start, length).events()
        last = instrument.ends if instrument.ends is not None else start + length
        events = [e for e in events if instrument.starts <= e[0] < last]
        if instrument.exchange == "binance" and self.density.throttled and start + length > THROTTLED_SINCE:
            events = throttle(events, THROTTLED_SINCE)
        columns = [array("q", column) for column in zip(*events, strict=True)] or [array("q") for _ in range(5)]
        late = events if self.density.late_fraction > 0 else []
        arrivals = array("q", [self.arrival(e[0], n) for n, e in enumerate(late)])
        times, lots, fills, broke, longs = columns
        return Block(start, start + length, times, lots, fills, broke, longs, arrivals)

    def arrival(self, instant: int, ordinal: int) -> int:
        """When a vendor has the event stored; it is visible from then on if rows are to arrive late."""
        mixed = ((instant // 1000 + ordinal * 40503) * 2654435761) & 0xFFFFFFFF
        delay = 200_000_000 + mixed % 4_000_000 * 1000
        if (mixed >> 8) % 10_000 < self.density.late_fraction * 10_000:
            delay += int(self.density.late_seconds * mixed / 0xFFFFFFFF * 1000) * 1_000_000
        return instant + delay

    def sums(self, instrument: Instrument, hour: int) -> Sums:
        """What an instrument's visible events of one hour (counted from the epoch) come to."""
        key = (instrument.key, hour)
        with self._sums_lock:
            if key in self._sums:
                return self._sums[key]
        found = self.sums_between(instrument, hour * HOUR, (hour + 1) * HOUR)
        if self.settled((hour + 1) * HOUR):
            with self._sums_lock:
                self._sums[key] = found
                if len(self._sums) > 300_000:
                    self._sums.popitem(last=False)
        return found

    def sums_between(self, instrument: Instrument, start: int, end: int) -> Sums:
        """What an instrument's visible events of [start, end) come to; for windows that a block or two cover."""
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
    """Counts, lots, and lots times ticks: each (shorts, longs), exact."""

    counts: tuple[int, ...]
    lots: tuple[int, ...]
    quote: tuple[int, ...]


class _Draw:
    """Draws the events of one block: a background of single events, and cascades."""

    def __init__(self, market: Market, instrument: Instrument, rng: Random, start: int, length: int) -> None:
        self._seed = market.seed
        self._instrument = instrument
        self._rng = rng
        self._start = start
        self._length = length
        daily = market.density.at(instrument, start)
        moods = _MOODS if instrument.share >= 0.2 else _QUIET_MOODS
        self._mean = daily * length / DAY * (rng.choice(moods) if length == HOUR else 1.0)
        self._found: list[Event] = []
        self._enter(start // HOUR)
        # A typical position is some 3,000 USD; sizes are drawn in lots.
        price = price_at(self._seed, instrument.base, start // HOUR)
        self._lots = max(1.0, 3000 / price * 10**instrument.lot / 8)

    def events(self) -> list[Event]:
        """All events of the block in order of time."""
        rng, unit = self._rng, self._instrument.unit
        steps = self._length // unit
        for _ in range(int(self._mean * 0.6 + rng.random())):
            self._add(self._start + int(rng.random() * steps) * unit, None)
        budget = self._mean * 0.4
        while budget > 0:
            size = min(int(3 * rng.paretovariate(1.1)), 500)
            if size > budget and rng.random() > budget / size:
                break
            budget -= size
            self._cascade(self._start + int(rng.random() * steps) * unit, size)
        self._found.sort(key=lambda event: event[0])
        return self._found

    def _cascade(self, instant: int, size: int) -> None:
        rng, unit = self._rng, self._instrument.unit
        last = self._start + self._length - unit
        self._enter(instant // HOUR)
        side = 1 if rng.random() < self._long else 0
        for _ in range(size):
            luck = rng.random()
            if luck > 0.8:
                instant += int(rng.expovariate(12) * NS / unit) * unit
            elif luck > 0.5 and unit == 1:
                instant += int(rng.random() * 200_000)
            self._add(min(instant, last), side if rng.random() < 0.93 else None)

    def _enter(self, hour: int) -> None:
        """Look up what all events of an hour share."""
        before = price_at(self._seed, self._instrument.base, hour)
        after = price_at(self._seed, self._instrument.base, hour + 1)
        self._hour = hour
        self._price = before * 10**self._instrument.tick
        self._slope = (after - before) * 10**self._instrument.tick / HOUR
        # Falling prices liquidate longs: a move of one percent makes it nearly certain.
        self._long = 0.5 - 0.5 * math.tanh((after / before - 1) * 150)

    def _add(self, instant: int, side: int | None) -> None:
        random = self._rng.random
        hour, part = divmod(instant, HOUR)
        if hour != self._hour:
            self._enter(hour)
        if side is None:
            side = 1 if random() < self._long else 0
        fill = max(1, int(self._price * (0.9997 + random() * 0.0006) + self._slope * part))
        lots = int(self._lots * _SIZES[int(random() * 4096)] * (0.5 + random())) or 1
        away = int(fill * random() * 0.006)
        event = (instant, lots, fill, (fill - away if side else fill + away) or 1, side)
        self._found.append(event)
        if random() < 0.004:
            self._found.append(event)


def throttle(events: list[Event], since: int = 0) -> list[Event]:
    """The last event of each second, and its exact twins; events before `since` are all kept."""
    return [events[n] for n in throttled(events, since)]


def throttled(events: list[Event], since: int = 0) -> list[int]:
    """Where in a list the events are that `throttle` keeps."""
    kept: list[int] = []
    for n, event in enumerate(events):
        if event[0] >= since:
            while kept and events[kept[-1]][0] // NS == event[0] // NS and events[kept[-1]] != event:
                kept.pop()
        kept.append(n)
    return kept
