"""Rows of `liquidations` for the cross-check: one market and day, per vendor, in sizes that can be compared.

They come from a DuckDB file (PyAirbyte's, or that of Airbyte's DuckDB destination) or from the JSON lines of
`source-liquidations read`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import duckdb

MILLISECOND, SECOND = 10**6, 10**9
HOUR = 3600 * SECOND
DAY = 24 * HOUR

# What is read out of JSON lines; a DuckDB file has these tables, with more columns.
COLUMNS = {
    "liquidations": "vendor VARCHAR, market VARCHAR, liquidation_id VARCHAR, exchange VARCHAR, base_asset VARCHAR, "
    "quote_asset VARCHAR, liquidated_at TIMESTAMP, liquidated_at_ns BIGINT, position_side VARCHAR, "
    "event_type VARCHAR, price DOUBLE, amount DOUBLE, amount_unit VARCHAR, amount_base DOUBLE, notional_usd DOUBLE, "
    "notional_source VARCHAR",
    "liquidation_volumes": "vendor VARCHAR, market VARCHAR, exchange VARCHAR, asset VARCHAR, interval VARCHAR, "
    "interval_start TIMESTAMP, position_side VARCHAR, amount DOUBLE, unit VARCHAR",
    "liquidation_coverage": "vendor VARCHAR, exchange VARCHAR, market VARCHAR, kind VARCHAR, "
    "period_start TIMESTAMP, period_end TIMESTAMP, note VARCHAR, source VARCHAR",
}
EXCHANGES = {"okx": "OKX", "ftx": "FTX", "bitmex": "BitMEX"}
# Where a vendor's market does not tell its quote asset: Kwery's are USDT futures, the others' (Deribit's) are in USD.
QUOTE = "coalesce(quote_asset, if(vendor = 'kwery', 'usdt', 'usd'))"
# Bitfinex' own trades do not say how much of a position they closed: there is nothing to compare them by.
COMPARABLE = "vendor <> 'bitfinex'"
# Kaiko's class of dated futures; Binance's, OKX's and Deribit's dates at the end of a symbol.
DATED = r"/future/|[-_](\d{6}|\d{1,2}[A-Z]{3}\d{2})(-future)?$"


class CannotCompare(Exception):
    """The rows do not allow it; the message says why."""


@dataclass(frozen=True)
class Market:
    """In the spelling of the stream `liquidations`."""

    exchange: str
    base: str
    quote: str

    @classmethod
    def parse(cls, text: str) -> Market:
        parts = text.lower().split("/")
        if len(parts) != 3:
            raise CannotCompare(f"{text!r} is no market: write exchange/base/quote, e.g. binance/btc/usdt.")
        return cls(*parts)

    def __str__(self) -> str:
        exchange = EXCHANGES.get(self.exchange, self.exchange.capitalize())
        return f"{exchange} {self.base.upper()}/{self.quote.upper()}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is stored: `base` is `amount_base`, `usd` is `notional_usd`."""

    vendor: str
    market: str
    at: int
    side: str | None
    kind: str
    price: float
    amount: float
    base: float | None
    unit: str
    usd: float | None
    source: str | None

    @property
    def quote(self) -> float:
        """The size in the quote asset."""
        return (self.base or 0.0) * self.price


@dataclass(frozen=True, slots=True)
class Event:
    """One liquidation. `at` is nanoseconds; `size` is base units, or quote units for contracts worth a fixed sum."""

    at: int
    side: str | None
    size: float
    usd: float


@dataclass(frozen=True)
class Listed:
    """What one vendor lists of the market on the day."""

    vendor: str
    market: str
    events: list[Event]
    step: float = 0.0  # one contract in the quote asset, where contracts are worth a fixed sum: they are whole numbers
    notes: tuple[str, ...] = ()


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """The rows of a DuckDB file, or of JSON lines (whose streams become tables)."""
    if not path.exists():
        raise CannotCompare(f"{path} does not exist.")
    with path.open("rb") as file:
        is_database = file.read(12)[8:] == b"DUCK"
    connection = duckdb.connect(str(path), read_only=True) if is_database else duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if not is_database:
        connection.execute(
            "CREATE TEMP TABLE records AS SELECT record.stream AS stream, record.data AS data FROM read_json($path, "
            "format = 'newline_delimited', ignore_errors = true, maximum_object_size = 268435456, "
            "columns = {type: 'VARCHAR', record: 'STRUCT(stream VARCHAR, data JSON)'}) WHERE type = 'RECORD'",
            {"path": str(path)},
        )
        for stream, columns in COLUMNS.items():
            fields = ", ".join(f'"{name}": "{kind}"' for name, kind in (c.split() for c in columns.split(", ")))
            connection.execute(
                f"CREATE TEMP TABLE {stream} AS SELECT fields.* FROM (SELECT from_json(data, '{{{fields}}}') AS fields "
                f"FROM records WHERE stream = '{stream}')"
            )
    if not has(connection, "liquidations"):
        raise CannotCompare(f"{path} has no table `liquidations`: sync that stream first.")
    return connection


def has(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = $name", {"name": table}).fetchall()
    return bool(found)


def choices(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Market, vendors and days of all that two vendors or more have."""
    found: list[tuple[str, str, str]] = connection.execute(
        f"SELECT exchange || '/' || base_asset || '/' || {QUOTE}, "
        "string_agg(DISTINCT vendor, ', ' ORDER BY vendor), "
        "min(strftime(make_timestamp_ns(liquidated_at_ns), '%Y-%m-%d')) || ' to ' || "
        "max(strftime(make_timestamp_ns(liquidated_at_ns), '%Y-%m-%d')) "
        f"FROM liquidations WHERE base_asset IS NOT NULL AND {COMPARABLE} "
        "GROUP BY 1 HAVING count(DISTINCT vendor) > 1 ORDER BY 1"
    ).fetchall()
    if not found:
        raise CannotCompare("no two vendors have rows of one market.")
    return found


def listed(connection: duckdb.DuckDBPyConnection, market: Market, day: date, chosen: Mapping[str, str]) -> list[Listed]:
    """Each vendor's events, those with most first. `chosen` names a vendor's market where it has several that fit."""
    start = nanoseconds(day)
    markets = _markets(connection, market, start, chosen)
    kept = {vendor: _without_repeats(_rows(connection, vendor, name, start)) for vendor, name in markets.items()}
    steps = {vendor: _contract(rows) for vendor, (rows, _) in kept.items()}
    in_quote = any(steps.values())
    found = []
    for vendor, (rows, notes) in kept.items():
        if any(row.base is None for row in rows):
            raise CannotCompare(
                f"{vendor} has rows of {markets[vendor]} without `amount_base`: the contract size is not known."
            )
        if any(row.unit == "contracts" for row in rows):
            notes = (*notes, "sizes are computed from numbers of contracts")
        if any(row.source == "computed" for row in rows):
            notes = (*notes, "US dollars are computed: size times price")
        events = [Event(row.at, row.side, row.quote if in_quote else row.base or 0.0, row.usd or 0.0) for row in rows]
        found.append(Listed(vendor, markets[vendor], events, steps[vendor], notes))
    return sorted(found, key=lambda one: -len(one.events))


def _contract(rows: list[Row]) -> float:
    """What one contract is worth in the quote asset, where that is a fixed sum; else 0."""
    worths = {f"{row.quote / row.amount:.6g}" for row in rows if row.unit == "contracts" and row.amount}
    return float(worths.pop()) if len(worths) == 1 else 0.0


def _markets(
    connection: duckdb.DuckDBPyConnection, market: Market, start: int, chosen: Mapping[str, str]
) -> dict[str, str]:
    found = connection.execute(
        f"SELECT DISTINCT vendor, market FROM liquidations WHERE {COMPARABLE} AND exchange = $exchange "
        f"AND base_asset = $base AND {QUOTE} = $quote "
        "AND liquidated_at_ns >= $start AND liquidated_at_ns < $end ORDER BY ALL",
        {**market.__dict__, "start": start, "end": start + DAY},
    ).fetchall()
    markets: dict[str, list[str]] = {vendor: [] for vendor, _ in found}
    for vendor, name in found:
        if chosen.get(vendor, name) == name and (vendor in chosen or not re.search(DATED, name)):
            markets[vendor].append(name)
    for vendor, names in markets.items():
        if len(names) > 1:
            raise CannotCompare(f"{vendor} has {' and '.join(names)}: say which, e.g. --id {vendor}={names[0]}")
    one = {vendor: names[0] for vendor, names in markets.items() if names}
    if len(one) < 2:
        raise CannotCompare(
            f"Of {market} on {as_time(start):%Y-%m-%d} there are rows of {', '.join(one) or 'no vendor'}; "
            "it takes two vendors to compare. Without market and day, this lists what there is."
        )
    return one


def _rows(connection: duckdb.DuckDBPyConnection, vendor: str, name: str, start: int) -> list[Row]:
    """In order of time. A row that was read twice is there once."""
    found = connection.execute(
        "SELECT DISTINCT ON (liquidation_id) vendor, market, liquidated_at_ns, position_side, event_type, "
        "price::DOUBLE, amount::DOUBLE, amount_base::DOUBLE, amount_unit, notional_usd::DOUBLE, notional_source "
        "FROM liquidations WHERE vendor = $vendor AND market = $market "
        "AND liquidated_at_ns >= $start AND liquidated_at_ns < $end "
        "AND price IS NOT NULL AND amount IS NOT NULL",
        {"vendor": vendor, "market": name, "start": start, "end": start + DAY},
    ).fetchall()
    return sorted((Row(*row) for row in found), key=lambda row: row.at)


def _without_repeats(rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Trades where there are any, else orders; and what is to be said about it."""
    trades = [row for row in rows if row.kind == "trade"]
    if not trades:
        return rows, ("orders, not necessarily executed; their prices are not those of an execution",)
    left = len(rows) - len(trades)
    return trades, (f"{left:,} order rows left out, which repeat the trades",) if left else ()


def nanoseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * SECOND


def as_time(at: int) -> datetime:
    """To the microsecond; UTC, without saying so."""
    return datetime(1970, 1, 1) + timedelta(microseconds=at // 1000)
