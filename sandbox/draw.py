"""Draws random liquidations: single ones, and cascades with many at one instant."""

from __future__ import annotations

import math
from random import Random

from sandbox.instruments import Instrument
from sandbox.prices import digest, price_at
from sandbox.times import DAY, HOUR, NS

_SIZES = tuple(min((1 - n / 4096) ** -0.9, 800.0) for n in range(4096))
_MOODS = (0.35, 0.6, 0.8, 1.0, 2.25)
_QUIET_MOODS = (0.0, 0.0, 0.5, 1.3, 3.2)

Event = tuple[int, int, int, int, int]  # time, lots, fill ticks, bankruptcy ticks, 1 for a long


class Draw:
    """Draws the events of one block: a background of single events, and cascades."""

    def __init__(self, seed: int, instrument: Instrument, start: int, length: int, daily: float) -> None:
        self._seed = seed
        self._instrument = instrument
        self._rng = rng = Random(digest(seed, instrument.key, start // length))
        self._start = start
        self._length = length
        moods = _MOODS if instrument.share >= 0.2 else _QUIET_MOODS
        self._mean = daily * length / DAY * (rng.choice(moods) if length == HOUR else 1.0)
        self._events: list[Event] = []
        self._enter(start // HOUR)
        # A typical position is about 3,000 USD; sizes are drawn in lots.
        price = price_at(self._seed, instrument.base, start // HOUR)
        self._lots = max(1.0, 3000 / price * 10**instrument.lot / 8)

    def events(self) -> list[Event]:
        """All events of the block, sorted by time."""
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
        self._events.sort(key=lambda event: event[0])
        return self._events

    def _cascade(self, instant: int, size: int) -> None:
        rng, unit = self._rng, self._instrument.unit
        last = self._start + self._length - unit
        self._enter(instant // HOUR)
        side = 1 if rng.random() < self._long else 0
        for _ in range(size):
            chance = rng.random()
            if chance > 0.8:
                instant += int(rng.expovariate(12) * NS / unit) * unit
            elif chance > 0.5 and unit == 1:
                instant += int(rng.random() * 200_000)
            self._add(min(instant, last), side if rng.random() < 0.93 else None)

    def _enter(self, hour: int) -> None:
        """Set the price, its slope and the side's probability for an hour."""
        before = price_at(self._seed, self._instrument.base, hour)
        after = price_at(self._seed, self._instrument.base, hour + 1)
        self._hour = hour
        self._price = before * 10**self._instrument.tick
        self._slope = (after - before) * 10**self._instrument.tick / HOUR
        # Falling prices liquidate longs: after a fall of one percent, nearly every event is a long.
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
        self._events.append(event)
        if random() < 0.004:
            self._events.append(event)


def throttle(events: list[Event], since: int = 0) -> list[Event]:
    """The last event of each second and its exact twins; all events before `since` are kept."""
    return [events[n] for n in throttled(events, since)]


def throttled(events: list[Event], since: int = 0) -> list[int]:
    """The indexes of the events that `throttle` keeps."""
    kept: list[int] = []
    for n, event in enumerate(events):
        if event[0] >= since:
            while kept and events[kept[-1]][0] // NS == event[0] // NS and events[kept[-1]] != event:
                kept.pop()
        kept.append(n)
    return kept
