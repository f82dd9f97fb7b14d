"""Kiyotaka's sums of a market, by hour. They have no single liquidations, but show whether an hour was quiet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import duckdb

from cross_checking.rows import DAY, HOUR, QUOTE, Market, has_table, nanoseconds

INTERVALS = ("PT1H", "PT15M", "PT5M", "PT1M")  # the first one that was synced is used
UNITS = ("usd", "coin")
ALIASES = {"btc": "xbt"}


def sums(connection: duckdb.DuckDBPyConnection, market: Market, day: date) -> dict[int, float]:
    """US dollars by hour of the day; empty if there are none. Coins are valued at the hour's average price."""
    if not has_table(connection, "liquidation_volumes"):
        return {}
    start = nanoseconds(day)
    day_of = {"start": start, "end": start + DAY, "hour": HOUR}
    hourly = connection.execute(
        "SELECT interval, unit, (epoch_ns(interval_start::TIMESTAMPTZ) - $start) // $hour, sum(amount)::DOUBLE FROM ("
        "SELECT DISTINCT ON (market, interval, unit, interval_start, position_side) * FROM liquidation_volumes "
        "WHERE vendor = 'kiyotaka' AND exchange = $exchange AND asset = $base "
        "AND regexp_replace(upper(split_part(market, '/', 2)), '[^A-Z0-9]', '', 'g') IN (SELECT unnest($symbols)) "
        "AND epoch_ns(interval_start::TIMESTAMPTZ) >= $start AND epoch_ns(interval_start::TIMESTAMPTZ) < $end"
        ") GROUP BY ALL",
        {**day_of, "exchange": market.exchange, "base": market.base, "symbols": list(_symbols(market))},
    ).fetchall()
    for interval in INTERVALS:
        for unit in UNITS:
            hours = {hour: amount for *kind, hour, amount in hourly if kind == [interval, unit]}
            if hours and unit == "coin":
                prices = _prices(connection, market, day_of)
                average = sum(prices.values()) / len(prices)
                return {hour: amount * prices.get(hour, average) for hour, amount in hours.items()}
            if hours:
                return hours
    return {}


def _symbols(market: Market) -> Iterator[str]:
    """The market's perpetual in exchanges' own symbols, upper case, without separators."""
    for base in (market.base, ALIASES.get(market.base, market.base)):
        for ending in ("", "SWAP", "PERP"):
            yield f"{base}{market.quote}{ending}".upper()
        if market.quote == "usd":
            yield f"{base}PERPETUAL".upper()


def _prices(connection: duckdb.DuckDBPyConnection, market: Market, day_of: dict[str, int]) -> dict[int, float]:
    prices = connection.execute(
        "SELECT (liquidated_at_ns - $start) // $hour, avg(price)::DOUBLE FROM liquidations "
        f"WHERE exchange = $exchange AND base_asset = $base AND {QUOTE} = $quote "
        "AND liquidated_at_ns >= $start AND liquidated_at_ns < $end GROUP BY ALL",
        {**day_of, **market.__dict__},
    ).fetchall()
    return dict(prices)
