"""Gate: `contract_stats`, a contract's liquidations and other figures in each bucket, for 180 days."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec

from sandbox.buckets import Bucket, buckets
from sandbox.gate_calls import NAME, Calls, places, settle_of, size_text
from sandbox.gate_orders import Orders
from sandbox.instruments import Instrument
from sandbox.prices import digest, price_at
from sandbox.times import DAY, HOUR, MINUTE, NS, ceil, floor, parse
from sandbox.world import World

STEPS = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}
HISTORY = 180 * DAY
# Rows have more fields since this day.
WIDER_SINCE = parse("2026-04-27")


@dataclass
class Totals:
    """One side of a bucket: contracts, base currency, quote currency."""

    contracts: Decimal
    amount: float
    quote: float


class Stats:
    """The buckets of every contract. The newest bucket is still open."""

    def __init__(self, world: World, calls: Calls, orders: Orders) -> None:
        self._world = world
        self._calls = calls
        self._orders = orders

    def read(
        self, name: str, interval: str, start: int | None, end: int, limit: int, *, decimals: bool
    ) -> list[msgspec.Raw]:
        """The rows of up to `limit` buckets that start in [start, end), oldest first; without `start`, the newest.

        Absent buckets count toward `limit`.
        """
        instrument, step = self._orders.instruments[name], STEPS[interval]
        origin = self._world.options.gate_stats_day_hour * HOUR if step == DAY else 0
        now = self._world.now()
        first = max(instrument.starts, now - HISTORY if start is None else start)
        last = min(end, now + 1, instrument.ends or end)
        first = ceil(first, step, origin)
        starts = range(first, max(first, last), step)
        starts = starts[-limit:] if start is None else starts[:limit]
        if not starts:
            return []
        by_start = buckets(self._world, NAME, instrument, starts[0], starts[-1] + step, step, origin)
        rows = []
        for at in starts:
            totals = self._totals(name, instrument, by_start.get(at, Bucket()), at, at + step)
            if not self._absent(instrument, at, step, totals):
                rows.append(self._row(instrument, at, totals, decimals))
        return rows

    def _absent(self, instrument: Instrument, at: int, step: int, totals: list[Totals]) -> bool:
        """Whether a bucket is absent: one in `gate_stats_gaps` closed buckets without liquidations."""
        gaps = self._world.options.gate_stats_gaps
        if not gaps or any(side.contracts for side in totals) or at + step > self._world.now():
            return False
        return crc32(f"{instrument.symbol}|{at}|{step}".encode()) % gaps == 0

    def _totals(self, name: str, instrument: Instrument, bucket: Bucket, start: int, end: int) -> list[Totals]:
        """The liquidated totals: [shorts, longs]."""
        lots, ticks = 10**instrument.lot, 10**instrument.tick
        size = Decimal(1).scaleb(-instrument.contract)
        totals = []
        for side in (0, 1):
            amount = bucket.lots[side] / lots
            if instrument.face:
                count = Decimal(bucket.contracts[side])
                totals.append(Totals(count, amount, float(count * instrument.face)))
            else:
                count = Decimal(bucket.lots[side]).scaleb(-places(instrument))
                totals.append(Totals(count, amount, bucket.quote[side] / lots / ticks))
        for fill in self._orders.fills(name, start, end):
            side_total = totals[fill.side]
            quote = fill.contracts * (instrument.face or size * fill.price)
            side_total.contracts += fill.contracts
            side_total.amount += float(quote / fill.price)
            side_total.quote += float(quote)
        return totals

    def _row(self, instrument: Instrument, at: int, totals: list[Totals], decimals: bool) -> msgspec.Raw:
        options, settle = self._world.options, settle_of(instrument)
        shorts, longs = totals
        as_text = decimals if options.gate_stats_sizes == "header" else options.gate_stats_sizes == "string"
        mark = self._mark(instrument, at)
        noise = digest(instrument.key, at // HOUR)
        open_interest = 100_000 + noise % 900_000
        value = open_interest if instrument.face else open_interest * 10.0**-instrument.contract * mark
        row: dict[str, Any] = {
            "time": self._calls.stamp(at // NS),
            "lsr_taker": round(0.5 + noise % 1500 / 1000, 4),
            "lsr_account": round(0.8 + noise % 900 / 1000, 4),
            "long_liq_size": _size(longs, as_text),
            "short_liq_size": _size(shorts, as_text),
            "open_interest": open_interest,
            "short_liq_usd": shorts.quote or 0,
            "mark_price": str(mark) if options.gate_mark_price == "string" else mark,
            "top_lsr_size": round(0.7 + noise % 700 / 1000, 4),
            "short_liq_amount": shorts.amount or 0,
            "long_liq_amount": longs.amount or 0,
            "open_interest_usd": round(value, 2),
            "top_lsr_account": round(0.9 + noise % 600 / 1000, 4),
            "long_liq_usd": longs.quote or 0,
        }
        if at >= WIDER_SINCE:
            row.update(long_taker_size=noise % 70_000, short_taker_size=noise % 60_000, last_funding_rate="0.0001")
            if settle == "usdt":
                row.update(long_liq_usd_new=longs.amount * mark or 0, short_liq_usd_new=shorts.amount * mark or 0)
        return msgspec.Raw(msgspec.json.encode(row))

    def _mark(self, instrument: Instrument, at: int) -> float:
        hour, part = divmod(at, HOUR)
        before = price_at(self._world.market.seed, instrument.base, hour)
        after = price_at(self._world.market.seed, instrument.base, hour + 1)
        return round(before + (after - before) * part / HOUR, instrument.tick)

    def expected(self, name: str, start: int, end: int, interval: str, decimals: bool) -> list[Any]:
        """All rows of buckets that start in [start, end) and in the last 180 days."""
        start = max(floor(start, NS), self._world.now() - HISTORY)
        return [msgspec.json.decode(row) for row in self.read(name, interval, start, end, 2**62, decimals=decimals)]


def _size(totals: Totals, as_text: bool) -> msgspec.Raw:
    return msgspec.Raw(size_text(totals.contracts, as_text).encode())
