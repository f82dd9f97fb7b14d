"""The expected records of the unified streams, mapped from the vendor streams' records without the connector's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from cases import (
    BITFINEX,
    COIN_METRICS,
    COINALYZE,
    EVENTS,
    GATE_ORDERS,
    GATE_STATS,
    KIYOTAKA,
    KWERY,
    VOLUMES,
    Case,
    Row,
    same,
)

from sandbox.times import parse

EXCHANGES = {
    "bbit": "bybit",
    "binc": "binance",
    "drbt": "deribit",
    "okex": "okx",
    "bfnx": "bitfinex",
    "bmex": "bitmex",
    "huob": "huobi",
    "krkn": "kraken",
    "ftxx": "ftx",
    "BINANCE_FUTURES": "binance",
    "BYBIT": "bybit",
    "all": "all",
}
COINALYZE_EXCHANGES = {
    "A": "binance",
    "6": "bybit",
    "3": "okx",
    "0": "bitmex",
    "2": "deribit",
    "Y": "gate",
    "F": "bitfinex",
    "4": "huobi",
}
ORDER_OF = {"long": "sell", "short": "buy"}
POSITION_OF = {"sell": "long", "buy": "short", "BUY": "long", "SELL": "short"}
# The assets of Coin Metrics' and Bitfinex' symbols in the cases.
ASSETS = {
    "BTCUSDT": ("btc", "usdt"),
    "BTCF0:USTF0": ("btc", "usdt"),
    "BTC-PERPETUAL": ("btc", None),
    "tBTCF0:USTF0": ("btc", "usdt"),
    "tETHF0:USTF0": ("eth", "usdt"),
    "tBTCUSD": ("btc", "usd"),
}
# The dollars of one contract; a contract of the other markets is one bitcoin.
INVERSE = {"BTC-PERPETUAL": 10}
KEYS = {
    "liquidations": ("vendor", "market", "liquidation_id"),
    "liquidation_volumes": ("vendor", "market", "asset", "interval", "position_side", "unit", "interval_start"),
}


def number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def of_kaiko(row: Row) -> list[Row]:
    base, quote = row["instrument"].split("-")
    return [
        {
            "vendor": "kaiko",
            "market": "/".join(row[name] for name in ("exchange", "instrument_class", "instrument")),
            "liquidation_id": row["trade_id"],
            "exchange": EXCHANGES.get(row["exchange"], row["exchange"]),
            "base_asset": base,
            "quote_asset": quote,
            "liquidated_at": row["time"],
            "liquidated_at_ns": parse(row["time"]),
            "position_side": row["position_side"],
            "order_side": ORDER_OF[row["position_side"]],
            "event_type": "trade",
            "price": row["price"],
            "amount": row["amount"],
            "amount_unit": "base",
            "amount_usd": row["amount_usd"],
            "amount_base": row["amount"],
            "notional_usd": row["amount_usd"],
            "notional_source": "vendor",
        }
    ]


def of_kwery(row: Row) -> list[Row]:
    return [
        {
            "vendor": "kwery",
            "market": f"binance_futures/{row['symbol']}",
            "liquidation_id": row["liquidation_id"],
            "exchange": "binance",
            "base_asset": row["symbol"].lower(),
            "quote_asset": None,
            "liquidated_at": row["time"],
            "liquidated_at_ns": parse(row["time"]),
            "position_side": row["side"],
            "order_side": ORDER_OF[row["side"]],
            "event_type": "trade",
            "price": row["avg_price"],
            "amount": row["quantity"],
            "amount_unit": "base",
            "amount_usd": row["usd_value"],
            "amount_base": row["quantity"],
            "notional_usd": row["usd_value"],
            "notional_source": "vendor",
        }
    ]


def of_coin_metrics(row: Row) -> list[Row]:
    exchange, symbol = row["market"].removesuffix("-future").split("-", 1)
    base, quote = ASSETS[symbol]
    side = POSITION_OF.get(row.get("side", ""))
    amount, price = Decimal(row["amount"]), Decimal(row["price"])
    worth = amount * INVERSE[symbol] if symbol in INVERSE else amount * price
    return [
        {
            "vendor": "coin_metrics",
            "market": row["market"],
            "liquidation_id": f"{row['coin_metrics_id']}:{row['type']}",
            "exchange": EXCHANGES.get(exchange, exchange),
            "base_asset": base,
            "quote_asset": quote,
            "liquidated_at": row["time"],
            "liquidated_at_ns": parse(row["time"]),
            "position_side": side,
            "order_side": ORDER_OF.get(side or ""),
            "event_type": row["type"],
            "price": number(row["price"]),
            "amount": number(row["amount"]),
            "amount_unit": "contracts",
            "amount_usd": None,
            "amount_base": float(worth / price),
            "notional_usd": float(worth),
            "notional_source": "computed",
        }
    ]


def of_bitfinex(row: Row) -> list[Row]:
    def plain(value: float | None) -> str:
        return "null" if value is None else str(value).removesuffix(".0")

    base, quote = ASSETS[row["symbol"]]
    side = "long" if row["amount"] > 0 else "short"
    amount, price = abs(row["amount"]), row["price_acquired"]
    identity = ("pos_id", "mts", "is_match", "is_market_sold", "amount", "price_acquired", "ordinal")
    return [
        {
            "vendor": "bitfinex",
            "market": row["symbol"],
            "liquidation_id": ":".join(plain(row[name]) for name in identity),
            "exchange": "bitfinex",
            "base_asset": base,
            "quote_asset": quote,
            "liquidated_at": row["time"],
            "liquidated_at_ns": parse(row["time"]),
            "position_side": side,
            "order_side": ORDER_OF[side],
            "event_type": {0: "order", 1: "trade"}[row["is_match"]],
            "price": price,
            "amount": amount,
            "amount_unit": "base",
            "amount_usd": None,
            "amount_base": amount,
            "notional_usd": None if price is None else amount * price,
            "notional_source": None if price is None else "computed",
        }
    ]


def of_kaiko_volumes(row: Row) -> list[Row]:
    return [
        {
            "vendor": "kaiko",
            "market": f"{counts.get('exchange', 'all')}/{row['asset']}",
            "exchange": EXCHANGES.get(counts.get("exchange", "all"), counts.get("exchange")),
            "asset": row["asset"],
            "interval": {"1h": "PT1H"}[row["interval"]],
            "interval_start": row["interval_time"].replace(".000000000Z", "Z").replace(".000Z", "Z"),
            "position_side": side,
            "amount": counts[f"{side}_amount"],
            "unit": "usd",
            "liquidation_count": counts[f"{side}_trades"],
        }
        for counts in (row, *row["exchanges"])
        for side in ("long", "short")
    ]


def of_kiyotaka(row: Row) -> list[Row]:
    summed = not row["raw_symbol"]
    codes = ["BINANCE_FUTURES", "BYBIT"] if summed else [row["exchange"]]
    return [
        {
            "vendor": "kiyotaka",
            "market": f"{'+'.join(codes)}/{row['coin'].lower() if summed else row['raw_symbol']}",
            "exchange": "+".join(EXCHANGES[code] for code in codes),
            "asset": row["coin"].lower(),
            "interval": {"HOUR": "PT1H"}[row["interval"]],
            "interval_start": row["time"].replace(".000Z", "Z"),
            "position_side": POSITION_OF[row["side"]],
            "amount": row["liquidations"],
            "unit": row["denomination"],
            "liquidation_count": None,
        }
    ]


def of_coinalyze(row: Row) -> list[Row]:
    return [
        {
            "vendor": "coinalyze",
            "market": row["symbol"],
            "exchange": COINALYZE_EXCHANGES[row["exchange"]],
            "asset": row["base_asset"].lower(),
            "interval": {"1hour": "PT1H"}[row["interval"]],
            "interval_start": row["time"].replace(".000Z", "Z"),
            "position_side": side,
            "amount": row[side[0]],
            "unit": row["denomination"],
            "liquidation_count": None,
        }
        for side in ("long", "short")
    ]


# The size of one contract of Gate in its base asset; a contract of BTC_USD is one dollar.
GATE_SIZES = {"BTC_USDT": Decimal("0.0001"), "ETH_USDT": Decimal("0.01")}


def of_gate_order(row: Row) -> list[Row]:
    base, quote = row["contract"].lower().split("_")
    ordered, left = Decimal(row.get("order_size", row["size"])), Decimal(row["left"])
    filled = abs(ordered) - left
    side = "long" if Decimal(row["size"]) > 0 else "short"
    price = row["fill_price"] if Decimal(row["fill_price"]) else row["order_price"]
    amount = filled or abs(ordered)
    size = GATE_SIZES.get(row["contract"])
    worth = amount if size is None else amount * size * Decimal(price)
    return [
        {
            "vendor": "gate",
            "market": row["contract"],
            "liquidation_id": row["liquidation_id"],
            "exchange": "gate",
            "base_asset": base,
            "quote_asset": quote,
            "liquidated_at": row["time"],
            "liquidated_at_ns": row["timestamp"] * 10**9,
            "position_side": side,
            "order_side": ORDER_OF[side],
            "event_type": "trade" if filled else "order",
            "price": number(price),
            "amount": number(str(amount)),
            "amount_unit": "contracts",
            "amount_usd": None,
            "amount_base": float(worth / Decimal(price) if size is None else amount * size),
            "notional_usd": float(worth),
            "notional_source": "computed",
        }
    ]


def of_gate_stats(row: Row) -> list[Row]:
    return [
        {
            "vendor": "gate",
            "market": row["contract"],
            "exchange": "gate",
            "asset": row["contract"].split("_")[0].lower(),
            "interval": {"1h": "PT1H"}[row["interval"]],
            "interval_start": row["time"].replace(".000Z", "Z"),
            "position_side": side,
            "amount": row[f"{side}_liq_{field}"],
            "unit": unit,
            "liquidation_count": None,
        }
        for field, unit in (("amount", "coin"), ("usd", "usd"))
        for side in ("long", "short")
    ]


# Vendor stream: the unified stream that it feeds, and the mapping.
FED: dict[str, tuple[str, Callable[[Row], list[Row]]]] = {
    EVENTS.stream: ("liquidations", of_kaiko),
    KWERY.stream: ("liquidations", of_kwery),
    BITFINEX.stream: ("liquidations", of_bitfinex),
    COIN_METRICS.stream: ("liquidations", of_coin_metrics),
    VOLUMES.stream: ("liquidation_volumes", of_kaiko_volumes),
    KIYOTAKA.stream: ("liquidation_volumes", of_kiyotaka),
    COINALYZE.stream: ("liquidation_volumes", of_coinalyze),
    GATE_ORDERS.stream: ("liquidations", of_gate_order),
    GATE_STATS.stream: ("liquidation_volumes", of_gate_stats),
}


def mapped(case: Case, rows: Iterable[Row]) -> list[Row]:
    """A vendor stream's records in the shape of the unified stream that it feeds."""
    _, shape = FED[case.stream]
    return [unified for row in rows for unified in shape(row)]


def nearly_same(actual: Iterable[Row], expected: Iterable[Row], ignored: Iterable[str] = ()) -> None:
    """Like `same`, but computed values may differ in their last digits."""
    same(_rounded(actual), _rounded(expected), ignored)


def _rounded(rows: Iterable[Row]) -> list[Row]:
    computed = ("amount_base", "notional_usd")
    return [{**row, **{name: float(f"{row[name]:.12g}") for name in computed if row.get(name)}} for row in rows]


def identity(stream: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS[stream])
