"""Coinalyze: the points of a market, and how long they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.buckets import Bucket, buckets, visible_events
from sandbox.coinalyze_markets import Markets
from sandbox.instruments import Instrument
from sandbox.prices import price_at
from sandbox.times import DAY, HOUR, MINUTE, NS, ceil, floor
from sandbox.world import World

NAME = "coinalyze"
INTERVALS = {
    "1min": MINUTE,
    "5min": 5 * MINUTE,
    "15min": 15 * MINUTE,
    "30min": 30 * MINUTE,
    "1hour": HOUR,
    "2hour": 2 * HOUR,
    "4hour": 4 * HOUR,
    "6hour": 6 * HOUR,
    "12hour": 12 * HOUR,
    "daily": DAY,
}


class Points:
    """Sums of longs and shorts; only buckets with a liquidation have a point. The newest bucket is still open."""

    def __init__(self, world: World, markets: Markets) -> None:
        self._world = world
        self._markets = markets
        self._oldest: dict[tuple[str, int, int], int] = {}
        self._added: dict[str, list[tuple[int, float, float]]] = {}

    @property
    def _counted_until(self) -> int:
        """Liquidations after this instant are not yet in their buckets."""
        return self._world.now() - int(self._world.options.coinalyze_delay_seconds * NS)

    def rows(self, symbol: str, interval: str, start: int, end: int, *, usd: bool) -> list[dict[str, Any]]:
        """The points of buckets that start in [start, end), oldest first."""
        instrument, step = self._markets.listed()[symbol], INTERVALS[interval]
        first = ceil(max(start, self._kept_from(instrument, step, start)), step)
        until = min(ceil(end, step), self._counted_until + 1)
        by_start = buckets(self._world, NAME, instrument, first, until, step) if first < until else {}
        added: dict[int, list[float]] = {}
        for at, shorts, longs in self._added.get(symbol, ()):
            if first <= at < until:
                sums = added.setdefault(floor(at, step), [0.0, 0.0])
                sums[0] += shorts
                sums[1] += longs
        starts: Sequence[int] = sorted(by_start.keys() | added.keys())
        if self._world.options.coinalyze_zero_rows:
            starts = range(max(first, ceil(instrument.starts, step)), until, step)
        return [self._point(symbol, instrument, at, by_start.get(at, Bucket()), added.get(at), usd) for at in starts]

    def _point(
        self, symbol: str, instrument: Instrument, at: int, bucket: Bucket, added: list[float] | None, usd: bool
    ) -> dict[str, Any]:
        lots, ticks = 10**instrument.lot, 10**instrument.tick
        in_quote = self._markets.in_quote(symbol)
        rate = self._world.market.rate(instrument, at)
        price = rate if in_quote else price_at(self._world.market.seed, instrument.base, at // HOUR)
        values = []
        for side in (0, 1):
            quoted = bucket.contracts[side] * instrument.face or bucket.quote[side] / lots / ticks
            native = quoted if in_quote else bucket.lots[side] / lots
            more = added[side] if added else 0.0
            values.append((quoted * rate + more * price if usd else native + more) or 0)
        return {"t": at // NS, "l": values[1], "s": values[0]}

    def _kept_from(self, instrument: Instrument, step: int, start: int) -> int:
        """The start of the oldest bucket that is still kept in a window that begins at `start`.

        Daily points are kept forever. At midnight, all intraday points but the newest `coinalyze_points` are deleted.
        """
        midnight, points = floor(self._world.now(), DAY), self._world.options.coinalyze_points
        if step == DAY or start >= midnight - points * step:
            return start
        if self._world.options.coinalyze_zero_rows:
            return midnight - points * step
        key = (instrument.key, step, midnight)
        if key not in self._oldest:
            length, starts = self._world.market.length(instrument), set[int]()
            for number in range((midnight - 1) // length, max(start, instrument.starts) // length - 1, -1):
                span = (number * length, min((number + 1) * length, midnight, self._counted_until + 1))
                for events in visible_events(self._world, NAME, instrument, *span):
                    starts.update(event[0] - event[0] % step for event in events)
                if len(starts) >= points:
                    self._oldest[key] = sorted(starts)[-points]
                    break
            else:
                return start
        return self._oldest[key]

    def add(self, symbol: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add liquidations, in the market's own unit: `l` (longs) and `s` (shorts) at `t`."""
        if symbol not in self._markets.listed():
            raise KeyError(symbol)
        points = [(int(row["t"] * NS), float(row.get("s", 0)), float(row.get("l", 0))) for row in rows]
        self._added.setdefault(symbol, []).extend(points)
