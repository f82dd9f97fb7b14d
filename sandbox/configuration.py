"""Connector configurations for a sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.times import DAY, floor, iso

# The vendors of a configuration unless the caller names others.
DEFAULT = ("kaiko", "kwery", "coin_metrics", "kiyotaka")


def configuration(
    url: str, now: int, start_date: str | None, vendors: Sequence[str] | None, community: bool
) -> dict[str, Any]:
    """A configuration of `vendors`, or of DEFAULT, that starts at `start_date`, or at yesterday's midnight (UTC)."""
    sections = _sections(url)
    if community:
        sections["coin_metrics"].pop("api_key")
        sections["coin_metrics"]["base_url"] = f"{url}/coin_metrics_community"
    chosen = {name: sections[name] for name in (DEFAULT if vendors is None else vendors)}
    return {"start_date": start_date or iso(floor(now, DAY) - DAY, 0), **chosen}


def _sections(url: str) -> dict[str, dict[str, Any]]:
    return {
        "kaiko": {
            "api_key": "sandbox-kaiko-key",
            "instruments": [
                "binc/perpetual-future/btc-usdt",
                "bbit/perpetual-future/btc-usdt",
                "bbit/perpetual-future/eth-usdt",
                "okex/perpetual-future/btc-usdt",
                "drbt/perpetual-future/btc-usd",
            ],
            "assets": ["btc", "eth"],
            "interval": "1h",
            "base_url": f"{url}/kaiko",
            "reference_base_url": f"{url}/kaiko-reference",
        },
        "kwery": {
            "api_key": "sandbox-kwery-business",
            "symbols": ["BTC", "ETH", "SOL", "XRP"],
            "base_url": f"{url}/kwery",
        },
        "coin_metrics": {
            "api_key": "cm+key/with=chars",
            "markets": [
                "binance-BTCUSDT-future",
                "bybit-BTCUSDT-future",
                "bybit-ETHUSDT-future",
                "okex-BTC-USDT-SWAP-future",
                "bitmex-XBTUSD-future",
                "bitfinex-*-future",
                "deribit-BTC-PERPETUAL-future",
            ],
            "base_url": f"{url}/coin_metrics",
        },
        "kiyotaka": {
            "api_key": "sandbox-kiyotaka-key",
            "symbols": ["BINANCE_FUTURES/BTCUSDT", "BYBIT/BTCUSDT", "BYBIT/ETHUSDT", "OKEX_SWAP/BTC-USDT-SWAP"],
            "coins": ["BTC"],
            "coin_exchanges": ["BINANCE_FUTURES", "BYBIT", "OKEX_SWAP"],
            "interval": "HOUR",
            "denomination": "coin",
            "base_url": f"{url}/kiyotaka",
        },
        "bitfinex": {"symbols": ["*"], "base_url": f"{url}/bitfinex"},
        "gate": {
            "contracts": ["usdt/BTC_USDT", "usdt/ETH_USDT", "usdt/SOL_USDT", "btc/BTC_USD"],
            "interval": "1h",
            "base_url": f"{url}/gate",
        },
        "coinalyze": {
            "api_key": "sandbox-coinalyze-key",
            "symbols": ["BTCUSDT_PERP.A", "BTCUSDT.6", "ETHUSDT.6", "BTCUSD_PERP.0", "BTCUSDT_PERP.Y"],
            "interval": "daily",
            "denomination": "usd",
            "base_url": f"{url}/coinalyze",
        },
    }
