"""Coinalyze: its exchanges, and its symbols for the simulated markets."""

from __future__ import annotations

from typing import Any

from sandbox.instruments import Instrument
from sandbox.times import NS
from sandbox.world import World

EXCHANGES = {
    "A": "Binance",
    "6": "Bybit",
    "3": "OKX",
    "0": "BitMEX",
    "2": "Deribit",
    "8": "dYdX",
    "H": "Hyperliquid",
    "Y": "Gate.io",
    "4": "Huobi",
    "7": "Phemex",
    "F": "Bitfinex",
    "K": "Kraken",
    "W": "WOO X",
    "V": "Vertex",
    "S": "Aster",
    "T": "Lighter",
}
# Codes of the simulated exchanges. FTX is not covered.
CODES = {
    "binance": "A",
    "bybit": "6",
    "okx": "3",
    "bitmex": "0",
    "deribit": "2",
    "gate": "Y",
    "huobi": "4",
    "bitfinex": "F",
    "kraken": "K",
}
WITH_RATIOS = ("binance", "bybit", "okx")


def symbol_of(instrument: Instrument) -> str:
    """Coinalyze's symbol, such as `BTCUSDT_PERP.A`; Bybit's symbols have no `_PERP`."""
    pair = f"{instrument.base}{instrument.quote}".upper()
    kind = f"_{instrument.expiry}" if instrument.expiry else "" if instrument.exchange == "bybit" else "_PERP"
    return f"{pair}{kind}.{CODES[instrument.exchange]}"


def _covered(instrument: Instrument) -> bool:
    """Whether Coinalyze has the market: derivatives of its exchanges, no margin pairs, no paper trading."""
    if instrument.exchange == "bitfinex":
        return "F0" in instrument.symbol and not instrument.symbol.startswith("TEST")
    return instrument.exchange in CODES


class Markets:
    """The markets that are listed now; delisted markets are absent."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._instruments = {symbol_of(i): i for i in world.market.all_instruments.values() if _covered(i)}

    def listed(self) -> dict[str, Instrument]:
        """The instruments of the listed markets, by symbol."""
        now = self._world.now()
        return {name: i for name, i in self._instruments.items() if i.ends is None or i.ends > now}

    def in_quote(self, symbol: str) -> bool:
        """Whether a market's liquidations are counted in its quote asset, as those of inverse markets are."""
        symbols = self._world.options.coinalyze_quote_denominated
        return bool(self._instruments[symbol].face) or symbol in symbols

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `/future-markets`."""
        return [self._row(symbol, instrument) for symbol, instrument in self.listed().items()]

    def _row(self, symbol: str, instrument: Instrument) -> dict[str, Any]:
        unit = NS if self._world.options.coinalyze_expire_unit == "s" else NS // 1000
        return {
            "symbol": symbol,
            "exchange": CODES[instrument.exchange],
            "symbol_on_exchange": instrument.symbol,
            "base_asset": instrument.base.upper(),
            "quote_asset": instrument.quote.upper(),
            "is_perpetual": instrument.expiry is None,
            "margined": "COIN" if instrument.face else "STABLE",
            "expire_at": None if instrument.ends is None else instrument.ends // unit,
            "oi_lq_vol_denominated_in": "QUOTE_ASSET" if self.in_quote(symbol) else "BASE_ASSET",
            "has_long_short_ratio_data": instrument.exchange in WITH_RATIOS,
            "has_ohlcv_data": True,
            "has_buy_sell_data": True,
        }
