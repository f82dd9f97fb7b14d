"""What one of Coin Metrics' contracts is: other vendors state base units, and so the amounts can be compared."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

MILLISECOND, SECOND = 10**6, 10**9

# How many pairs of events it takes to infer a size, which part of them must agree, and how well.
FEWEST_PAIRS = 20
AGREEING, CLOSE = 0.8, 0.005


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is stored."""

    vendor: str
    market: str
    at: int
    side: str | None
    kind: str
    price: float
    amount: float
    unit: str
    usd: float | None


@dataclass(frozen=True)
class Contract:
    """What one contract is: `size` units of the base asset, or of the quote asset."""

    size: float
    in_base: bool
    source: str


def known(connection: duckdb.DuckDBPyConnection, name: str) -> Contract | None:
    """As the stream `coin_metrics_liquidation_markets` tells, where it was synced."""
    found = connection.execute(
        "SELECT contract_size::DOUBLE, size_asset = base FROM coin_metrics_liquidation_markets "
        "WHERE market = $name AND contract_size IS NOT NULL AND size_asset IS NOT NULL",
        {"name": name},
    ).fetchone()
    return Contract(found[0], found[1], "reference data") if found else None


def inferred(rows: Sequence[Row], others: Sequence[Row]) -> Contract | None:
    """What most contracts come to, from events that stand alone in their second here and with another vendor."""
    others = sorted((row for row in others if row.unit == "base"), key=lambda row: row.at)
    times, own = [row.at for row in others], [row.at for row in rows]
    pairs = []
    for row in rows:
        low, high = bisect_left(times, row.at - SECOND), bisect_left(times, row.at + SECOND)
        alone = bisect_left(own, row.at + SECOND) - bisect_left(own, row.at - SECOND) == 1
        if alone and high > low and row.amount and len({other.amount for other in others[low:high]}) == 1:
            pairs.append((row, others[low]))
    if len(pairs) < FEWEST_PAIRS:
        return None
    ratios = {
        True: [other.amount / row.amount for row, other in pairs],
        False: [other.amount * other.price / row.amount for row, other in pairs],
    }
    agreeing = {}
    for in_base, values in ratios.items():
        middle = statistics.median(values)
        agreeing[in_base] = sum(abs(value / middle - 1) < CLOSE for value in values), middle
    in_base = agreeing[True] >= agreeing[False]
    count, middle = agreeing[in_base]
    if count < AGREEING * len(pairs):
        return None
    return Contract(float(f"{middle:.3g}"), in_base, f"inferred: {count:,} of {len(pairs):,} lone events agree")
