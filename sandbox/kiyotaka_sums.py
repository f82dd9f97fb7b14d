"""Kiyotaka: the liquidated volume of instruments in each bucket."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sandbox.instruments import Instrument
from sandbox.market import Sums
from sandbox.prices import price_at
from sandbox.times import DAY, HOUR, MINUTE, NS, WEEK, floor
from sandbox.world import World

INTERVALS = {
    "MINUTE": MINUTE,
    "FIVE_MINUTES": 5 * MINUTE,
    "FIFTEEN_MINUTES": 15 * MINUTE,
    "HOUR": HOUR,
    "FOUR_HOURS": 4 * HOUR,
    "DAY": DAY,
    "WEEK": WEEK,
}
MONDAY = 4 * DAY
# Kiyotaka's sides: BUY is liquidated longs, SELL is liquidated shorts.
SIDES = (("SELL", 0), ("BUY", 1))


def origin(step: int) -> int:
    """The start of bucket 0; weeks begin on Mondays."""
    return MONDAY if step == WEEK else 0


class Buckets:
    """Sums of both sides, in coins or USD, including the amounts that a test adds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._added: dict[str, list[tuple[int, int, float]]] = {}

    def add(self, market: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add coins to a side's bucket: rows of `{"side", "timestamp": seconds, "liquidations"}`."""
        sides = dict(SIDES)
        amounts = [(int(r["timestamp"]) * NS, sides[r["side"]], float(r["liquidations"])) for r in rows]
        self._added.setdefault(market, []).extend(amounts)

    def starts(self, instruments: Sequence[Instrument], start: int, end: int, step: int) -> range:
        """The buckets that start in [start, end), after the first instrument's listing and not after now."""
        first = max(start, min(floor(i.starts, step, origin(step)) for i in instruments))
        first += (origin(step) - first) % step
        return range(first, max(first, min(end, self._world.now() + 1)), step)

    def amounts(self, instruments: Sequence[Instrument], start: int, step: int, usd: bool) -> tuple[float, float]:
        """The volume of (shorts, longs) in one bucket."""
        volumes: tuple[list[float], list[float]] = ([], [])
        for instrument in instruments:
            lots = [0, 0]
            for instant, sums in self._pieces(instrument, start, step):
                rate = self._world.market.rate(instrument, instant)
                for side in (0, 1):
                    lots[side] += sums.lots[side]
                    if usd and sums.counts[side]:
                        volumes[side].append(sums.quote[side] / 10 ** (instrument.lot + instrument.tick) * rate)
            for side in (0, 1):
                if not usd:
                    volumes[side].append(lots[side] / 10**instrument.lot)
                volumes[side].append(self._extra(instrument, start, step, side, usd))
        return round(math.fsum(volumes[0]), 9), round(math.fsum(volumes[1]), 9)

    def _pieces(self, instrument: Instrument, start: int, step: int) -> list[tuple[int, Sums]]:
        market = self._world.market
        if step >= HOUR:
            return [(at, market.sums(instrument, at // HOUR)) for at in range(start, start + step, HOUR)]
        if not any(market.sums(instrument, start // HOUR).counts):
            return []
        return [(start, market.sums_between(instrument, start, start + step))]

    def _extra(self, instrument: Instrument, start: int, step: int, side: int, usd: bool) -> float:
        added = self._added.get(f"{instrument.kiyotaka_exchange}/{instrument.symbol}", ())
        total = sum(amount for at, to, amount in added if to == side and start <= at < start + step)
        if not (usd and total):
            return total
        return total * price_at(self._world.market.seed, instrument.base, start // HOUR)
