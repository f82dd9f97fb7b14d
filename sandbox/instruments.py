"""The simulated instruments and their names at each vendor."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.times import parse

NS = 1_000_000_000
MS = 1_000_000
US = 1_000

# The start of Coin Metrics' coverage by exchange; Coin Metrics has no Gate, so Gate starts with its first contract.
EXCHANGE_STARTS = {
    "binance": "2019-09-10",
    "bitfinex": "2019-08-01",
    "bitmex": "2020-10-08",
    "bybit": "2021-04-24",
    "deribit": "2018-08-14",
    "ftx": "2019-04-19",
    "gate": "2018-12-20",
    "huobi": "2020-07-10",
    "kraken": "2020-12-09",
    "okx": "2020-10-01",
}
BASE_STARTS = {"sol": "2020-10-01", "xrp": "2020-02-01"}
KAIKO_EXCHANGES = {
    "binance": "binc",
    "bitfinex": "bfnx",
    "bitmex": "bmex",
    "bybit": "bbit",
    "deribit": "drbt",
    "ftx": "ftxx",
    "huobi": "huob",
    "kraken": "krkn",
    "okx": "okex",
}
COIN_METRICS_EXCHANGES = {"okx": "okex"}


@dataclass(frozen=True)
class Instrument:
    """One derivative market on one exchange. `share` is its row rate relative to the busiest market's."""

    exchange: str
    symbol: str
    base: str
    quote: str
    share: float
    kiyotaka_exchange: str | None = None
    lot: int = 3  # decimals of a quantity in base units
    tick: int = 2  # decimals of a price
    contract: int = 0  # linear: one contract is 10**-contract base units
    face: int = 0  # inverse: one contract is this many quote units; 0 means linear
    unit: int = MS  # nanoseconds, the resolution of the exchange's times
    starts: int = 0
    ends: int | None = None
    expiry: str | None = None  # dated futures: yymmdd
    tiny: bool = False

    @property
    def key(self) -> str:
        """`exchange/symbol`, unique among the instruments."""
        return f"{self.exchange}/{self.symbol}"

    @property
    def kaiko(self) -> tuple[str, str, str]:
        """Kaiko's exchange code, instrument class and instrument code."""
        kind = "future" if self.expiry else "perpetual-future"
        code = f"{self.base}-{self.quote}" + (f"-{self.expiry}" if self.expiry else "")
        return KAIKO_EXCHANGES[self.exchange], kind, code

    @property
    def coin_metrics_exchange(self) -> str:
        """Coin Metrics' name for the exchange."""
        return COIN_METRICS_EXCHANGES.get(self.exchange, self.exchange)

    @property
    def coin_metrics(self) -> str:
        """Coin Metrics' market id."""
        return f"{self.coin_metrics_exchange}-{self.symbol}-future"


def _make(
    exchange: str,
    symbol: str,
    pair: str,
    share: float,
    kiyotaka: str | None = None,
    *,
    lot: int = 3,
    tick: int = 2,
    contract: int = 0,
    face: int = 0,
    unit: int = MS,
    starts: str = "",
    ends: str = "",
    expiry: str | None = None,
) -> Instrument:
    base, quote = pair.split("-")
    first = max(EXCHANGE_STARTS[exchange], BASE_STARTS.get(base, ""), starts)
    last = parse(ends) if ends else None
    return Instrument(
        exchange, symbol, base, quote, share, kiyotaka, lot, tick, contract, face, unit, parse(first), last, expiry
    )


def standard() -> list[Instrument]:
    """The markets that exist by default."""
    return [
        _make("binance", "BTCUSDT", "btc-usdt", 1.0, "BINANCE_FUTURES"),
        _make("binance", "ETHUSDT", "eth-usdt", 0.6, "BINANCE_FUTURES"),
        _make("binance", "SOLUSDT", "sol-usdt", 0.25, "BINANCE_FUTURES", lot=0, tick=3),
        _make("binance", "XRPUSDT", "xrp-usdt", 0.15, "BINANCE_FUTURES", lot=1, tick=4),
        _make("binance", "BTCUSD_PERP", "btc-usd", 0.05, "BINANCE_DELIVERY", lot=6, tick=1, face=100),
        _make(
            "binance",
            "BTCUSDT_261225",
            "btc-usdt",
            0.02,
            "BINANCE_FUTURES",
            starts="2026-03-27T08:00:00",
            ends="2026-12-25T08:00:00",
            expiry="261225",
        ),
        _make("bybit", "BTCUSDT", "btc-usdt", 0.8, "BYBIT"),
        _make("bybit", "ETHUSDT", "eth-usdt", 0.5, "BYBIT", lot=2),
        _make("bybit", "SOLUSDT", "sol-usdt", 0.2, "BYBIT", lot=1, tick=3),
        _make("bybit", "XRPUSDT", "xrp-usdt", 0.12, "BYBIT", lot=0, tick=4),
        _make("okx", "BTC-USDT-SWAP", "btc-usdt", 0.6, "OKEX_SWAP", lot=4, tick=1, contract=2),
        _make("okx", "ETH-USDT-SWAP", "eth-usdt", 0.35, "OKEX_SWAP", contract=1),
        _make("okx", "SOL-USDT-SWAP", "sol-usdt", 0.1, "OKEX_SWAP", lot=2),
        _make("okx", "XRP-USDT-SWAP", "xrp-usdt", 0.06, "OKEX_SWAP", lot=0, tick=4, contract=-2),
        _make(
            "okx",
            "BTC-USD-261225",
            "btc-usd",
            0.02,
            "OKEX_FUTURES",
            lot=6,
            tick=1,
            face=100,
            starts="2026-03-27T08:00:00",
            ends="2026-12-25T08:00:00",
            expiry="261225",
        ),
        _make("deribit", "BTC-PERPETUAL", "btc-usd", 0.12, "DERIBIT", lot=6, tick=1, face=10, unit=1),
        _make("deribit", "ETH-PERPETUAL", "eth-usd", 0.06, "DERIBIT", lot=5, face=1, unit=1),
        _make("bitmex", "XBTUSD", "btc-usd", 0.1, "BITMEX", lot=6, tick=1, face=1, unit=US),
        _make("bitmex", "XBTUSDT", "btc-usdt", 0.03, "BITMEX", lot=6, tick=1, contract=6, unit=US),
        _make("bitfinex", "BTCF0:USTF0", "btc-usdt", 0.03, "BITFINEX_DERIVATIVES", lot=5, tick=0),
        _make("bitfinex", "ETHF0:USTF0", "eth-usdt", 0.02, "BITFINEX_DERIVATIVES", lot=4, tick=1),
        _make("huobi", "BTC-USDT", "btc-usdt", 0.05, "HUOBI_DM_LINEAR_SWAP", tick=1, contract=3),
        _make("huobi", "ETH-USDT", "eth-usdt", 0.03, "HUOBI_DM_LINEAR_SWAP", lot=2, contract=2),
        _make("kraken", "PI_XBTUSD", "btc-usd", 0.02, lot=6, tick=1, face=1),
        _make("ftx", "BTC-PERP", "btc-usd", 0.4, lot=4, tick=0, unit=US, ends="2022-11-12T00:00:00"),
    ]


def unshared() -> list[Instrument]:
    """Markets that only the exchange's own API and Coinalyze have; no other vendor returns them.

    Bitfinex' margin pairs, its paper trading and two of its futures, one delisted; all of Gate, in whole seconds.
    """
    return [
        _make("bitfinex", "BTCUSD", "btc-usd", 0.015, lot=5, tick=0),
        _make("bitfinex", "ETHUST", "eth-usdt", 0.008, lot=4, tick=1),
        _make("bitfinex", "DOGE:UST", "doge-usdt", 0.003, lot=1, tick=5),
        _make("bitfinex", "AVAXF0:USTF0", "avax-usdt", 0.004, lot=2, tick=3, starts="2021-09-15"),
        _make("bitfinex", "EOSF0:USTF0", "eos-usdt", 0.003, lot=2, tick=4, starts="2020-06-01", ends="2025-05-28"),
        _make("bitfinex", "TESTBTCF0:TESTUSDTF0", "testbtc-testusdt", 0.001, lot=5, tick=0, starts="2020-01-01"),
        _make("gate", "BTC_USDT", "btc-usdt", 0.3, lot=4, tick=1, contract=4, unit=NS),
        _make("gate", "ETH_USDT", "eth-usdt", 0.25, contract=2, unit=NS),
        _make("gate", "SOL_USDT", "sol-usdt", 0.06, lot=1, unit=NS),
        _make("gate", "XRP_USDT", "xrp-usdt", 0.04, lot=0, tick=4, contract=-1, unit=NS),
        _make("gate", "EOS_USDT", "eos-usdt", 0.02, lot=0, tick=4, contract=-1, unit=NS, ends="2026-10-15T08:00:00"),
        _make("gate", "BTC_USD", "btc-usd", 0.02, lot=6, tick=1, face=1, unit=NS),
    ]


def tiny(count: int) -> list[Instrument]:
    """Many markets with a few rows each, for tests with thousands of partitions."""
    starts = parse(EXCHANGE_STARTS["bybit"])
    return [
        Instrument("bybit", f"T{n:05d}USDT", f"t{n:05d}", "usdt", 0.0, "BYBIT", 1, 4, 0, 0, MS, starts, tiny=True)
        for n in range(1, count + 1)
    ]


def tiny_unshared(count: int) -> list[Instrument]:
    """`count` contracts of Gate with a few rows each."""
    starts = parse(EXCHANGE_STARTS["gate"])
    return [
        Instrument("gate", f"T{n:05d}_USDT", f"t{n:05d}", "usdt", 0.0, None, 1, 4, 0, 0, NS, starts, tiny=True)
        for n in range(1, count + 1)
    ]
