"""Exact integer sums of an instrument's liquidations in each bucket of time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.instruments import Instrument
from sandbox.numbers import inverse_contracts
from sandbox.world import World

Visible = tuple[int, int, int, int]  # time, lots, fill ticks, 1 for a long


@dataclass
class Bucket:
    """Counts, lots, lots times ticks, and (inverse instruments only) contracts: each [shorts, longs]."""

    counts: list[int] = field(default_factory=lambda: [0, 0])
    lots: list[int] = field(default_factory=lambda: [0, 0])
    quote: list[int] = field(default_factory=lambda: [0, 0])
    contracts: list[int] = field(default_factory=lambda: [0, 0])


def visible_events(world: World, vendor: str, instrument: Instrument, start: int, end: int) -> Iterator[list[Visible]]:
    """The events of [start, end) that a vendor can serve now, oldest first, one list a block."""
    market = world.market
    now, length, gap = world.now(), market.length(instrument), world.gap(vendor, instrument)
    start, end = max(start, instrument.starts), min(end, now + 1)
    for number in range(start // length, max(start // length, -(-end // length))):
        block = market.block(instrument, number)
        part = slice(bisect_left(block.times, start), bisect_left(block.times, end))
        events = list(zip(block.times[part], block.lots[part], block.fills[part], block.longs[part], strict=True))
        if block.arrivals:
            arrivals = block.arrivals[part]
            events = [event for event, arrival in zip(events, arrivals, strict=True) if arrival <= now]
        yield [event for event in events if not gap.covers(event[0])] if gap else events


def buckets(
    world: World, vendor: str, instrument: Instrument, start: int, end: int, step: int, origin: int = 0
) -> dict[int, Bucket]:
    """The buckets of [start, end) that have an event, by their start, oldest first."""
    by_start: dict[int, Bucket] = {}
    for events in visible_events(world, vendor, instrument, start, end):
        for instant, lots, fill, side in events:
            at = instant - (instant - origin) % step
            bucket = by_start.get(at)
            if bucket is None:
                bucket = by_start[at] = Bucket()
            bucket.counts[side] += 1
            bucket.lots[side] += lots
            bucket.quote[side] += lots * fill
            if instrument.face:
                bucket.contracts[side] += inverse_contracts(instrument, lots, fill)
    return by_start
