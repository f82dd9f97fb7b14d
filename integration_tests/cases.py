"""The streams under test: the configuration, the requests and the expected records of each. A new stream is one entry.

Expected records come from the sandbox's data, without HTTP; this module converts them to the contract's form without
the connector's code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from sandbox import Sandbox
from sandbox.times import iso, parse

Row = dict[str, Any]
KAIKO_KEY = "sandbox-kaiko-key"
START, END = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"


@dataclass(frozen=True)
class Case:
    """One stream.

    markets     the sandbox's names of the partitions, in the order of the configuration
    path        a part of the paths of its requests, for faults
    expected    (sandbox, market, start, end) to the records of one partition, oldest first
    page_size   rows of a full page; None if pages have no row limit
    ignored     fields that comparisons ignore, because only the connector can compute them
    """

    stream: str
    vendor: str
    markets: tuple[str, ...]
    section: Mapping[str, Any]
    path: str
    cursor: str
    key: tuple[str, ...]
    expected: Callable[[Sandbox, str, int, int], list[Row]]
    partition: Callable[[str], dict[str, str]]
    page_size: int | None
    ignored: tuple[str, ...] = ()

    def rows(
        self, sandbox: Sandbox, start: str = START, end: str = END, markets: Iterable[str] | None = None
    ) -> list[Row]:
        chosen = self.markets if markets is None else markets
        return [row for market in chosen for row in self.expected(sandbox, market, parse(start), parse(end))]

    def config(self, sandbox: Sandbox, start: str = START, end: str | None = END, **fields: Any) -> dict[str, Any]:
        return config_of([self], sandbox, start, end, **fields)

    def identity(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)

    def __str__(self) -> str:
        return self.stream


def config_of(
    cases: Sequence[Case], sandbox: Sandbox, start: str = START, end: str | None = END, **fields: Any
) -> dict[str, Any]:
    """A configuration of only these streams."""
    vendors = {case.vendor: None for case in cases}
    config = sandbox.config(start, list(vendors))
    for vendor in vendors:
        for name in ("instruments", "assets", "symbols", "coins", "coin_exchanges", "markets", "contracts"):
            config[vendor].pop(name, None)
    for case in cases:
        config[case.vendor] |= deepcopy(case.section)  # a test may change it
    return {**config, **({"end_date": end} if end else {}), **fields}


def same(actual: Iterable[Row], expected: Iterable[Row], ignored: Iterable[str] = ()) -> None:
    """Assert that both have the same rows, equally often, with equal values and types."""
    actual_rows, expected_rows = (Counter(_text(row, tuple(ignored)) for row in rows) for rows in (actual, expected))
    missing, surplus = expected_rows - actual_rows, actual_rows - expected_rows
    assert not missing, f"{missing.total()} rows are missing, such as {next(iter(missing))}"
    assert not surplus, f"{surplus.total()} rows too many, such as {next(iter(surplus))}"


def covers(actual: Iterable[Row], expected: Iterable[Row], case: Case) -> None:
    """Assert that all rows are present, and that rows with the same key are equal. Repeats are allowed."""
    by_key: dict[tuple[Any, ...], bytes] = {}
    actual_rows = set()
    for row in actual:
        text = _text(row)
        assert by_key.setdefault(case.identity(row), text) == text, f"two rows of one key: {row}"
        actual_rows.add(_text(row, case.ignored) if case.ignored else text)
    expected_rows = {_text(row, case.ignored) for row in expected}
    missing, surplus = expected_rows - actual_rows, actual_rows - expected_rows
    assert not missing, f"{len(missing)} rows are missing, such as {next(iter(missing))}"
    assert not surplus, f"{len(surplus)} rows too many, such as {next(iter(surplus))}"


def _text(row: Row, without: Iterable[str] = ()) -> bytes:
    if without:
        row = {name: value for name, value in row.items() if name not in without}
    return msgspec.json.encode(row, order="deterministic")


# The vendors' rows in the contract's form.


def kaiko_event(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    exchange, kind, instrument = market.split("/")
    digits = {"ms": 3, "us": 6, "ns": 9}[sandbox.world.options.kaiko_timestamp_unit]
    names = {"exchange": exchange, "instrument_class": kind, "instrument": instrument}
    return [
        {
            **row,
            **names,
            "time": iso(row["timestamp"] * 10 ** (9 - digits), digits),
            "time_ns": row["timestamp"] * 10 ** (9 - digits),
        }
        for row in sandbox.expected("kaiko", market, start, end)
    ]


def kaiko_volume(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    asset, interval = market.split("@")
    rows = sandbox.expected("kaiko", f"token/{asset}", start, end, interval=interval)
    return [{**row, "asset": asset, "interval": interval} for row in rows]


def coin_metrics_row(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    return [{**row, "time_ns": parse(row["time"])} for row in sandbox.expected("coin_metrics", market, start, end)]


def kwery_row(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    def time(text: str) -> str:
        fraction = text.partition(".")[2].removesuffix("Z").removesuffix("+00:00")
        return iso(parse(text), max(3, len(fraction)))

    return [{**row, "time": time(row["timestamp"])} for row in sandbox.expected("kwery", market, start, end)]


def kiyotaka_point(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    rows = []
    for series in sandbox.expected("kiyotaka", market, start, end, interval="HOUR", denomination="coin"):
        identity = series["id"]
        names = {
            "type": "LIQUIDATION_AGG",
            "exchange": identity.get("exchange", ""),
            "raw_symbol": identity.get("rawSymbol", ""),
            "normalized_symbol": identity.get("normalizedSymbol"),
            "category": identity.get("category", ""),
            "interval": identity["interval"],
            "side": identity["side"],
            "coin": identity["coin"],
            "denomination": "coin",
        }
        for point in series["points"]:
            seconds = point["Point"]["timestamp"]["s"]
            amount = point["Point"].get("liquidations", 0)
            rows.append({**names, "liquidations": amount, "timestamp": seconds, "time": iso(seconds * 10**9, 3)})
    return rows


def gate_time(seconds: int) -> Row:
    return {"timestamp": seconds, "time": iso(seconds * 10**9, 3)}


def gate_order(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    settle = market.split("/")[0]
    rows = sandbox.expected("gate", market, start, end)
    return [{**row, **gate_time(row["time"]), "settle": settle} for row in rows]


def gate_sum(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    settle, contract = market.split("/")
    names = {"settle": settle, "contract": contract, "interval": "1h"}
    rows = sandbox.expected("gate", f"contract_stats/{market}", start, end, interval="1h")
    return [{**row, **gate_time(row["time"]), **names} for row in rows]


def bitfinex_row(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    """The elements by name. Equal rows, which have the same time, are numbered."""
    indexes = {
        "pos_id": 1,
        "mts": 2,
        "symbol": 4,
        "amount": 5,
        "base_price": 6,
        "is_match": 8,
        "is_market_sold": 9,
        "price_acquired": 11,
    }
    rows = []
    ordinals: Counter[str] = Counter()
    vendor: Any = sandbox.app.vendors["bitfinex"]
    for text in vendor._rows.read(start, end, 2**62, newest=False, symbol=market).rows:
        elements = msgspec.json.decode(text)
        stamp = json.loads(text, parse_float=Decimal)[2]  # a float cannot represent a fraction exactly
        row = {name: elements[at] if at < len(elements) else None for name, at in indexes.items()}
        key = str([value for name, value in row.items() if name != "base_price"])
        instant = int(stamp * 10**6)
        digits = 3 + len(str(stamp).partition(".")[2])
        rows.append({**row, "time": iso(instant, digits), "ordinal": ordinals[key]})
        ordinals[key] += 1
    return rows


def coinalyze_point(sandbox: Sandbox, market: str, start: int, end: int) -> list[Row]:
    markets = {row["symbol"]: row for row in sandbox.app.vendors["coinalyze"]._markets.rows()}  # type: ignore[attr-defined]
    named = ("exchange", "base_asset", "quote_asset", "oi_lq_vol_denominated_in")
    names = {
        "symbol": market,
        "interval": "1hour",
        "denomination": "usd",
        **{name: markets[market][name] for name in named},
    }
    points = sandbox.expected("coinalyze", market, start, end, interval="1hour", convert_to_usd=True)
    return [{**names, "time": iso(point["t"] * 10**9, 3), **point} for point in points]


EVENTS = Case(
    stream="kaiko_liquidation_events",
    vendor="kaiko",
    markets=("bbit/perpetual-future/btc-usdt", "binc/perpetual-future/eth-usdt", "drbt/perpetual-future/btc-usd"),
    section={
        "instruments": [
            "bbit/perpetual-future/btc-usdt",
            "binc/perpetual-future/eth-usdt",
            "drbt/perpetual-future/btc-usd",
        ]
    },
    path="/trades/",
    cursor="time",
    key=("exchange", "instrument_class", "instrument", "trade_id"),
    expected=kaiko_event,
    partition=lambda market: dict(zip(("exchange", "instrument_class", "instrument"), market.split("/"), strict=True)),
    page_size=1_000,
)
VOLUMES = Case(
    stream="kaiko_token_liquidation_volumes",
    vendor="kaiko",
    markets=("btc@1h", "eth@1h"),
    section={"assets": ["btc", "eth"], "interval": "1h"},
    path="/token/",
    cursor="interval_time",
    key=("asset", "interval", "interval_time"),
    expected=kaiko_volume,
    partition=lambda market: dict(zip(("asset", "interval"), market.split("@"), strict=True)),
    page_size=1_000,
)
COIN_METRICS = Case(
    stream="coin_metrics_market_liquidations",
    vendor="coin_metrics",
    markets=("binance-BTCUSDT-future", "bitfinex-BTCF0:USTF0-future", "deribit-BTC-PERPETUAL-future"),
    section={"markets": ["binance-BTCUSDT-future", "bitfinex-BTCF0:USTF0-future", "deribit-BTC-PERPETUAL-future"]},
    path="/market-liquidations",
    cursor="time",
    key=("market", "coin_metrics_id", "type"),
    expected=coin_metrics_row,
    partition=lambda market: {"market": market},
    page_size=10_000,
)
KWERY = Case(
    stream="kwery_liquidations",
    vendor="kwery",
    markets=("BTC", "ETH"),
    section={"symbols": ["BTC", "ETH"], "requests_per_minute": 100_000},
    path="/v1/liquidations",
    cursor="time",
    key=("liquidation_id",),
    expected=kwery_row,
    partition=lambda market: {"symbol": market},
    page_size=1_000,
    ignored=("liquidation_id",),
)
KIYOTAKA = Case(
    stream="kiyotaka_liquidation_agg",
    vendor="kiyotaka",
    markets=("BINANCE_FUTURES/BTCUSDT", "BYBIT/ETHUSDT", "BINANCE_FUTURES+BYBIT/BTC"),
    section={
        "symbols": ["BINANCE_FUTURES/BTCUSDT", "BYBIT/ETHUSDT"],
        "coins": ["BTC"],
        "coin_exchanges": ["BINANCE_FUTURES", "BYBIT"],
        "requests_per_minute": 100_000,
    },
    path="/v1/points",
    cursor="time",
    key=("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time"),
    expected=kiyotaka_point,
    partition=lambda market: (
        {"coin": market.split("/")[1], "exchanges": market.split("/")[0], "interval": "HOUR", "denomination": "coin"}
        if "+" in market
        else {
            "exchange": market.split("/")[0],
            "raw_symbol": market.split("/")[1],
            "interval": "HOUR",
            "denomination": "coin",
        }
    ),
    page_size=None,
)
GATE_ORDERS = Case(
    stream="gate_liquidation_orders",
    vendor="gate",
    markets=("usdt/BTC_USDT", "usdt/ETH_USDT", "btc/BTC_USD"),
    section={"contracts": ["usdt/BTC_USDT", "usdt/ETH_USDT", "btc/BTC_USD"], "requests_per_minute": 100_000},
    path="/liq_orders",
    cursor="time",
    key=("liquidation_id",),
    expected=gate_order,
    partition=lambda market: dict(zip(("settle", "contract"), market.split("/"), strict=True)),
    page_size=1_000,
    ignored=("liquidation_id",),
)
GATE_STATS = Case(
    stream="gate_contract_stats",
    vendor="gate",
    markets=("usdt/BTC_USDT", "usdt/ETH_USDT", "btc/BTC_USD"),
    section={
        "contracts": ["usdt/BTC_USDT", "usdt/ETH_USDT", "btc/BTC_USD"],
        "interval": "1h",
        "requests_per_minute": 100_000,
    },
    path="/contract_stats",
    cursor="time",
    key=("settle", "contract", "interval", "time"),
    expected=gate_sum,
    partition=lambda market: {**dict(zip(("settle", "contract"), market.split("/"), strict=True)), "interval": "1h"},
    page_size=1_000,
)
BITFINEX = Case(
    stream="bitfinex_liquidations",
    vendor="bitfinex",
    markets=("tBTCF0:USTF0", "tETHF0:USTF0", "tBTCUSD"),
    section={"symbols": ["tBTCF0:USTF0", "tETHF0:USTF0", "tBTCUSD"], "requests_per_minute": 100_000},
    path="/liquidations/hist",
    cursor="time",
    key=("pos_id", "mts", "symbol", "is_match", "is_market_sold", "amount", "price_acquired", "ordinal"),
    expected=bitfinex_row,
    partition=lambda market: {"symbol": market},
    page_size=500,
)
# More markets than one request may have, and one without rows.
COINALYZE_SYMBOLS = (
    *("BTCUSDT_PERP.A", "BTCUSDT.6", "BTCUSD_PERP.0", "BTCUSDT_PERP.Y", "BTCUSDT_261225.A", "BTCUSD_PERP.A"),
    *(f"{asset}USDT{ending}" for asset in ("ETH", "SOL", "XRP") for ending in ("_PERP.A", ".6", "_PERP.3", "_PERP.Y")),
    *("BTCUSDT_PERP.3", "BTCUSD_PERP.2", "ETHUSD_PERP.2", "BTCUSDT_PERP.F", "BTCUSDT_PERP.4"),
)
COINALYZE = Case(
    stream="coinalyze_liquidation_history",
    vendor="coinalyze",
    markets=COINALYZE_SYMBOLS,
    section={"symbols": list(COINALYZE_SYMBOLS), "interval": "1hour", "requests_per_minute": 100_000},
    path="/v1/liquidation-history",
    cursor="time",
    key=("symbol", "interval", "denomination", "time"),
    expected=coinalyze_point,
    partition=lambda market: {"symbol": market, "interval": "1hour", "denomination": "usd"},
    page_size=None,
)
CASES = (EVENTS, VOLUMES, COIN_METRICS, KWERY, KIYOTAKA, BITFINEX, COINALYZE, GATE_ORDERS, GATE_STATS)
