"""Kaiko: the reference data host, `/v1/instruments`, `/v1/exchanges`, `/v1/assets`, which needs no key."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from sandbox.http import Pairs, Params, Reply, Request
from sandbox.instruments import Instrument
from sandbox.kaiko_calls import bad_parameter, refusal
from sandbox.times import iso
from sandbox.world import World

FILTERS = ("exchange_code", "class", "base_asset", "quote_asset", "code")
NAMES = {
    "binc": ("Binance Futures", "bn"),
    "bbit": ("Bybit", "bb"),
    "bfnx": ("Bitfinex", "bf"),
    "bmex": ("BitMEX", "bm"),
    "cbse": ("Coinbase", "cb"),
    "drbt": ("Deribit", "dr"),
    "huob": ("Huobi", "hb"),
    "krkn": ("Kraken", "kk"),
    "okex": ("OKX", "ok"),
}
ASSETS = {"btc": "Bitcoin", "eth": "Ethereum", "sol": "Solana", "xrp": "XRP", "usdt": "Tether", "usd": "US Dollar"}
SPOT_BASES = ("btc", "eth", "sol", "xrp", "ada", "doge", "link", "ltc", "dot", "avax")


class Reference:
    """Rows of instruments, exchanges and assets, including spot markets and an option to filter out."""

    def __init__(self, world: World) -> None:
        instruments = [i for i in world.market.instruments.values() if i.exchange != "ftx"]
        rows = [_derivative(i, world) for i in instruments]
        rows += [_spot(code, base) for code in NAMES for base in SPOT_BASES]
        rows.append(_row("drbt", "option", "btc25dec26100000c", "btc", "usd", "BTC-25DEC26-100000-C"))
        assets = {**ASSETS, **{i.base: i.base.upper() for i in instruments if i.base not in ASSETS}}
        self._tables: dict[str, list[dict[str, Any]]] = {
            "/v1/instruments": sorted(rows, key=lambda row: (row["exchange_code"], row["class"], row["code"])),
            "/v1/exchanges": [{"code": c, "name": n, "kaiko_legacy_slug": s} for c, (n, s) in NAMES.items()],
            "/v1/assets": [{"code": c, "name": n, "asset_class": "cryptocurrency"} for c, n in assets.items()],
        }

    def answer(self, request: Request) -> Reply:
        """One page of a table."""
        if request.method != "GET":
            raise refusal(405)
        if request.path not in self._tables:
            raise refusal(404)
        filters = FILTERS if request.path == "/v1/instruments" else ()
        token = next((value for name, value in request.query if name == "continuation_token"), None)
        query, offset = _read(token) if token is not None else (request.query, 0)
        params = Params(query, (*filters, "page_size"), bad_parameter)
        rows = [row for row in self._tables[request.path] if _matches(row, params, filters)]
        size = params.integer("page_size", 100, 1, 1000)
        page = rows[offset : offset + size]
        body: dict[str, Any] = {"result": "success", "data": page}
        if offset + size < len(rows):
            body["continuation_token"] = _token(query, offset + size)
            body["next_url"] = f"{request.url()}?continuation_token={body['continuation_token']}"
        return Reply(body=body, rows=len(page))


def _token(query: Pairs, offset: int) -> str:
    return base64.b32encode(msgspec.json.encode((query, offset))).decode().rstrip("=").lower()


def _read(token: str) -> tuple[Pairs, int]:
    try:
        body = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        return msgspec.json.decode(body, type=tuple[Pairs, int])
    except (ValueError, msgspec.DecodeError) as error:
        raise bad_parameter("continuation_token", "the token is not valid.") from error


def _matches(row: Mapping[str, Any], params: Params, filters: tuple[str, ...]) -> bool:
    return all(row[name] in params.text(name).split(",") for name in filters if name in params)


def _row(exchange: str, kind: str, code: str, base: str, quote_asset: str, pair: str) -> dict[str, Any]:
    return {
        "exchange_code": exchange,
        "class": kind,
        "code": code,
        "base_asset": base,
        "quote_asset": quote_asset,
        "exchange_pair_code": pair,
        "trade_start_time": None,
        "trade_start_timestamp": None,
        "trade_end_time": None,
        "trade_end_timestamp": None,
        "trade_count": 0,
    }


def _derivative(instrument: Instrument, world: World) -> dict[str, Any]:
    exchange, kind, code = instrument.kaiko
    row = _row(exchange, kind, code, instrument.base, instrument.quote, instrument.symbol)
    row.update(trade_start_time=iso(instrument.starts), trade_start_timestamp=instrument.starts // 1_000_000)
    if instrument.ends is not None and instrument.ends <= world.now():
        row.update(trade_end_time=iso(instrument.ends), trade_end_timestamp=instrument.ends // 1_000_000)
    row["trade_count"] = int(instrument.share * 10_000_000)
    return row


def _spot(exchange: str, base: str) -> dict[str, Any]:
    return _row(exchange, "spot", f"{base}-usdt", base, "usdt", f"{base}usdt".upper())
