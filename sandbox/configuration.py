"""Ready configurations of the connector against a sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.times import DAY, floor, iso

if TYPE_CHECKING:
    from sandbox.sandbox import Sandbox


def configuration(sandbox: Sandbox, start_date: str | None, vendors: Sequence[str] | None) -> dict[str, Any]:
    """All vendors, or those named, from yesterday's midnight or `start_date` on."""
    start = start_date or iso(floor(sandbox.now(), DAY) - DAY, 0)
    sections = _sections(sandbox.url)
    chosen = sections if vendors is None else {name: sections[name] for name in vendors}
    return {"start_date": start, **{name: dict(section) for name, section in chosen.items()}}


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
    }
