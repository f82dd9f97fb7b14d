"""How exchanges spell their names, assets and symbols, and which assets a futures symbol consists of.

The base asset is the part in front of an unambiguous quote asset. An unknown asset is None, never the whole symbol.
"""

import re
from functools import lru_cache
from typing import NamedTuple

# This connector's name of an exchange: the vendors' codes for it. Any other code stays as the vendor writes it.
EXCHANGES = {
    "binance": ("binance", "binance_futures", "binance_delivery", "binc"),
    "bybit": ("bybit", "bbit"),
    "okx": ("okx", "okex", "okex_swap", "okex_futures"),
    "deribit": ("deribit", "drbt"),
    "bitmex": ("bitmex", "bmex", "btmx"),
    "bitfinex": ("bitfinex", "bitfinex_derivatives", "bfnx"),
    "bitget": ("bitget",),
    "gate": ("gate", "gate_io_futures", "gate.io", "gateio"),
    "huobi": ("huobi", "htx", "huobi_dm", "huobi_dm_swap", "huobi_dm_linear_swap", "huob", "hbdm"),
    "hyperliquid": ("hyperliquid", "hyperliquid_futures"),
    "kraken": ("kraken", "krkn"),
    "ftx": ("ftx", "ftxx"),
    "aster": ("aster",),
    "dydx": ("dydx",),
    "lighter": ("lighter",),
    "phemex": ("phemex",),
    "vertex": ("vertex",),
    "woo x": ("woo x",),
}
_EXCHANGE_OF = {code: name for name, codes in EXCHANGES.items() for code in codes}

# Exchanges' own names of assets. Bitfinex appends F0 to the assets of its futures (BTCF0). Multiples (1000SHIB) stay as
# they are: amounts count them.
ASSETS = {"xbt": "btc", "xdg": "doge", "ustf0": "usdt"}

# The US dollar and the stablecoins worth one.
DOLLARS = frozenset(
    ("usd", "usdt", "usdc", "busd", "fdusd", "tusd", "usd1", "usdp", "pax", "dai", "gusd", "husd", "pyusd", "rlusd")
)

# Quote assets that may follow a separator: BTC-USDT.
_QUOTES = "usdt|usdc|usd|usd1|busd|fdusd|tusd|ust|eut|testusd|testusdt|eur|gbp|jpy|cnht|xaut|btc|xbt|eth"
_DAY = r"\d{1,2}(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\d{2}"
_DATE = rf"(?:{_DAY}|\d{{8}}|\d{{6}}|\d{{4}})"
_MONTH = r"[fghjkmnquvxz]\d{2}"
_KIND = r"(?:perp|perpetual|swap|um|xperp|[ucd]mcbl|[cn][wq]|settled)"
_ENDING = rf"(?:[-_](?:{_KIND}|{_DATE}))*"

_SEPARATED = re.compile(rf"([^\W_]+)[-_:/]({_QUOTES}){_ENDING}")  # BTC-USDT-SWAP
_JOINED = re.compile(rf"([^\W_]+?)((?:{_DATE}|{_MONTH})?{_ENDING})")  # BTCUSDT, BTCUSDM25, BTCUSD_PERP
# What follows a base asset without a quote asset: BTC-PERPETUAL, BTC-27JUN25. Kaiko omits the hyphen before a date.
_ALONE = rf"-(?:perp|perpetual|{_DATE})|(?<!\d){_DAY}"


class _Spelling(NamedTuple):
    """How an exchange writes its symbols, in lower case. `alone` and `around` are regular expressions.

    quotes  quote assets that directly follow the base asset: BTCUSDT
    dated   the same for symbols with a date or a contract type, if they differ: BTCUSD_PERP
    alone   what follows a base asset without a quote asset
    around  prefixes and suffixes that belong to no asset
    names   the exchange's own names of assets
    """

    quotes: str = "usdt usdc usd"
    dated: str = ""
    alone: str = _ALONE
    around: str = "$^"  # matches nothing
    names: dict[str, str] = {}


_SPELLINGS = {
    "binance": _Spelling("usdt usdc busd usd1 btc", dated="usdt usdc busd usd"),
    "bybit": _Spelling("usdt usdc usd perp"),
    "okx": _Spelling(),
    "deribit": _Spelling("usdt usdc"),
    "bitmex": _Spelling(
        "usdt usd eur xbt eth",
        dated="usdt usd eur",
        alone=f"{_MONTH}|{_ALONE}",
        around="(?i)_eth$",  # ETHUSD_ETH is settled in ETH
        names={"xbc": "btc", "xbj": "btc", "xbu": "btc"},  # bitcoin in CNY, JPY and USD
    ),
    "bitfinex": _Spelling(
        "usd ust btc eth eur gbp jpy",
        around=r"^[tf](?=[^\W_a-z])|(?i:f0)(?=[:_-]|$)",  # tBTCF0:USTF0
        names={"ust": "usdt", "eut": "eurt"},
    ),
    "bitget": _Spelling("usdt usdc usd perp"),
    "gate": _Spelling(),
    "huobi": _Spelling(alone=rf"\d{{6}}|(?:\d{{6}})?_[cn][wq]|{_ALONE}"),
    # The symbol is the coin's name, prefixed with the builder's exchange if it has one (xyz:TSLA). If it ends like a
    # pair, it may be one, so it is not taken as a coin.
    "hyperliquid": _Spelling("", alone="(?<!usd)(?<!usd[tc])(?<!perp)(?:-perp)?", around=r"^[^\W_]+:"),
    "kraken": _Spelling("usd eur xbt", around="(?i)^[pf][ifv]_"),  # PF_XBTUSD, FI_XBTUSD_250627
    "ftx": _Spelling(""),
}
_OTHERS = _Spelling("usdt usdc busd fdusd tusd usd")

# Other names of quote assets: BTCPERP of Bybit and Bitget is quoted in USDC.
_QUOTE_NAMES = {"perp": "usdc"}
# BNBUSD is BNB in USD, not BN in BUSD. If several quotes fit, one of these must be the base; else nothing is known.
_WELL_KNOWN = {"btc", "eth", "bnb", "arb", "dot"}


def exchange(code: str) -> str:
    """This connector's name of the exchange with a vendor's code; the code itself if it is unknown."""
    return _EXCHANGE_OF.get(code.lower(), code)


def asset(name: str) -> str:
    """An asset in lower case, with aliases resolved."""
    lower = name.lower()
    return ASSETS.get(lower) or lower.removesuffix("f0") or lower


@lru_cache(maxsize=16384)
def assets_of(symbol: str, code: str) -> tuple[str | None, str | None]:
    """Base and quote asset of a futures symbol; `code` is the vendor's code of its exchange.

    The base asset is None if the symbol has neither an unambiguous quote asset nor an ending that shows that it has
    none. The quote asset is None if the symbol has none.
    """
    spelling = _SPELLINGS.get(exchange(code), _OTHERS)
    base, quote = _split(re.sub(spelling.around, "", symbol).lower(), spelling)
    quote_names = {**_QUOTE_NAMES, **spelling.names}
    return base and asset(spelling.names.get(base, base)), quote and asset(quote_names.get(quote, quote))


def _split(text: str, spelling: _Spelling) -> tuple[str | None, str | None]:
    """Base and quote asset as the exchange writes them."""
    if separated := _SEPARATED.fullmatch(text):
        return separated[1], separated[2]
    if joined := _JOINED.fullmatch(text):
        pair, ending = joined.groups()
        quotes = ((spelling.dated if ending else "") or spelling.quotes).split()
        splits = [(pair.removesuffix(quote), quote) for quote in quotes if pair.endswith(quote) and pair not in quotes]
        splits = [(base, quote) for base, quote in splits if not re.fullmatch(".+usd[tc]", base)]  # a pair is no asset
        if len(splits) > 1:
            splits = [(base, quote) for base, quote in splits if base in _WELL_KNOWN]
        if len(splits) == 1:
            return splits[0]
    alone = re.fullmatch(rf"([^\W_]+?)(?:{spelling.alone})", text)
    return (alone[1], None) if alone else (None, None)
