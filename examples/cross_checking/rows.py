"""Rows of `liquidations` for the cross-check: one market and day, per vendor, in sizes that can be compared.

They come from a DuckDB file (of `duckdb_lane.py`, PyAirbyte or Airbyte's DuckDB destination) or from the JSON lines of
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

# The columns that are read from JSON lines. A DuckDB file has the same tables, with more columns.
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
# For markets whose symbol does not name the quote asset: Kwery's are USDT futures, the others (Deribit's) are in USD.
QUOTE = "coalesce(quote_asset, if(vendor = 'kwery', 'usdt', 'usd'))"
# Trades of the vendor Bitfinex do not say how much of a position they closed, so their sizes cannot be compared.
COMPARABLE = "vendor <> 'bitfinex'"
# Dated futures: Kaiko's class, or a date at the end of a symbol (Binance, OKX, Deribit).
DATED = r"/future/|[-_](\d{6}|\d{1,2}[A-Z]{3}\d{2})(-future)?$"


class CannotCompare(Exception):
    """The rows cannot be compared; the message says why."""


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
            raise CannotCompare(f"{text!r} is not a market: write exchange/base/quote, e.g. binance/btc/usdt.")
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
    """One liquidation. `at`: nanoseconds. `size`: base units; quote units for contracts worth a fixed amount."""

    at: int
    side: str | None
    size: float
    usd: float


@dataclass(frozen=True)
class VendorEvents:
    """One vendor's events of the market on the day."""

    name: str
    market: str
    events: list[Event]
    step: float = 0.0  # the value of one contract in the quote asset, if that is a fixed amount; else 0
    notes: tuple[str, ...] = ()


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, or JSON lines, whose streams become tables."""
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
    if not has_table(connection, "liquidations"):
        raise CannotCompare(f"{path} has no table `liquidations`: sync that stream first.")
    return connection


def has_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = $1", [name]).fetchall())


def comparable_markets(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """The markets that two or more vendors have: market, vendors, days."""
    markets: list[tuple[str, str, str]] = connection.execute(
        f"SELECT exchange || '/' || base_asset || '/' || {QUOTE}, "
        "string_agg(DISTINCT vendor, ', ' ORDER BY vendor), "
        "min(strftime(make_timestamp_ns(liquidated_at_ns), '%Y-%m-%d')) || ' to ' || "
        "max(strftime(make_timestamp_ns(liquidated_at_ns), '%Y-%m-%d')) "
        f"FROM liquidations WHERE base_asset IS NOT NULL AND {COMPARABLE} "
        "GROUP BY 1 HAVING count(DISTINCT vendor) > 1 ORDER BY 1"
    ).fetchall()
    if not markets:
        raise CannotCompare("no two vendors have rows of one market.")
    return markets


def events_of(
    connection: duckdb.DuckDBPyConnection, market: Market, day: date, chosen: Mapping[str, str]
) -> list[VendorEvents]:
    """Each vendor's events, the vendor with most events first. `chosen`: a vendor's market, if several match."""
    start = nanoseconds(day)
    markets = _markets(connection, market, start, chosen)
    rows_of = {vendor: _without_repeats(_rows(connection, vendor, name, start)) for vendor, name in markets.items()}
    steps = {vendor: _contract(rows) for vendor, (rows, _) in rows_of.items()}
    in_quote = any(steps.values())
    vendors = []
    for vendor, (rows, notes) in rows_of.items():
        if any(row.base is None for row in rows):
            raise CannotCompare(
                f"{vendor} has rows of {markets[vendor]} without `amount_base`: the contract size is not known."
            )
        if any(row.unit == "contracts" for row in rows):
            notes = (*notes, "sizes are computed from numbers of contracts")
        if any(row.source == "computed" for row in rows):
            notes = (*notes, "US dollars are computed: size times price")
        events = [Event(row.at, row.side, row.quote if in_quote else row.base or 0.0, row.usd or 0.0) for row in rows]
        vendors.append(VendorEvents(vendor, markets[vendor], events, steps[vendor], notes))
    return sorted(vendors, key=lambda vendor: -len(vendor.events))


def _contract(rows: list[Row]) -> float:
    """The value of one contract in the quote asset, if that is a fixed amount; else 0."""
    values = {f"{row.quote / row.amount:.6g}" for row in rows if row.unit == "contracts" and row.amount}
    return float(values.pop()) if len(values) == 1 else 0.0


def _markets(
    connection: duckdb.DuckDBPyConnection, market: Market, start: int, chosen: Mapping[str, str]
) -> dict[str, str]:
    pairs = connection.execute(
        f"SELECT DISTINCT vendor, market FROM liquidations WHERE {COMPARABLE} AND exchange = $exchange "
        f"AND base_asset = $base AND {QUOTE} = $quote "
        "AND liquidated_at_ns >= $start AND liquidated_at_ns < $end ORDER BY ALL",
        {**market.__dict__, "start": start, "end": start + DAY},
    ).fetchall()
    markets: dict[str, list[str]] = {vendor: [] for vendor, _ in pairs}
    for vendor, name in pairs:
        if chosen.get(vendor, name) == name and (vendor in chosen or not re.search(DATED, name)):
            markets[vendor].append(name)
    for vendor, names in markets.items():
        if len(names) > 1:
            raise CannotCompare(f"{vendor} has {' and '.join(names)}: choose one, e.g. --id {vendor}={names[0]}")
    market_of = {vendor: names[0] for vendor, names in markets.items() if names}
    if len(market_of) < 2:
        raise CannotCompare(
            f"For {market} on {as_time(start):%Y-%m-%d} there are rows of {', '.join(market_of) or 'no vendor'}; "
            "it takes two vendors to compare. To list the markets that can be compared, leave out market and day."
        )
    return market_of


def _rows(connection: duckdb.DuckDBPyConnection, vendor: str, name: str, start: int) -> list[Row]:
    """In order of time, without repeated reads of a row."""
    rows = connection.execute(
        "SELECT DISTINCT ON (liquidation_id) vendor, market, liquidated_at_ns, position_side, event_type, "
        "price::DOUBLE, amount::DOUBLE, amount_base::DOUBLE, amount_unit, notional_usd::DOUBLE, notional_source "
        "FROM liquidations WHERE vendor = $vendor AND market = $market "
        "AND liquidated_at_ns >= $start AND liquidated_at_ns < $end "
        "AND price IS NOT NULL AND amount IS NOT NULL",
        {"vendor": vendor, "market": name, "start": start, "end": start + DAY},
    ).fetchall()
    return sorted((Row(*row) for row in rows), key=lambda row: row.at)


def _without_repeats(rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Trades if there are any, else orders; and notes about them."""
    trades = [row for row in rows if row.kind == "trade"]
    if not trades:
        return rows, ("orders, not necessarily executed; their prices are not those of an execution",)
    orders = len(rows) - len(trades)
    return trades, (f"{orders:,} order rows ignored, which repeat the trades",) if orders else ()


def nanoseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * SECOND


def as_time(at: int) -> datetime:
    """To the microsecond; UTC, as a naive datetime."""
    return datetime(1970, 1, 1) + timedelta(microseconds=at // 1000)
