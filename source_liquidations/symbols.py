"""How exchanges spell their names, their assets and their symbols; which assets a futures symbol is of.

The base is what stands before a quote that is certain. What is not known is None: a symbol is never an asset.
"""

import re
from functools import lru_cache
from typing import NamedTuple

# The vendors' codes of an exchange, in one spelling. A code that is not here stays as the vendor writes it.
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

# Assets that exchanges name in their own way. Bitfinex writes its futures' assets with F0 behind them (BTCF0).
# Multiples (1000SHIB) stay as they are: amounts count them.
ASSETS = {"xbt": "btc", "xdg": "doge", "ustf0": "usdt"}

# The US dollar, and the stablecoins that stand for one.
DOLLARS = frozenset(
    ("usd", "usdt", "usdc", "busd", "fdusd", "tusd", "usd1", "usdp", "pax", "dai", "gusd", "husd", "pyusd", "rlusd")
)

# Quotes that may follow a separator: BTC-USDT.
_QUOTES = "usdt|usdc|usd|usd1|busd|fdusd|tusd|ust|eut|testusd|testusdt|eur|gbp|jpy|cnht|xaut|btc|xbt|eth"
_DAY = r"\d{1,2}(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\d{2}"
_DATE = rf"(?:{_DAY}|\d{{8}}|\d{{6}}|\d{{4}})"
_MONTH = r"[fghjkmnquvxz]\d{2}"
_KIND = r"(?:perp|perpetual|swap|um|xperp|[ucd]mcbl|[cn][wq]|settled)"
_ENDING = rf"(?:[-_](?:{_KIND}|{_DATE}))*"

_SEPARATED = re.compile(rf"([^\W_]+)[-_:/]({_QUOTES}){_ENDING}")  # BTC-USDT-SWAP
_JOINED = re.compile(rf"([^\W_]+?)((?:{_DATE}|{_MONTH})?{_ENDING})")  # BTCUSDT, BTCUSDM25, BTCUSD_PERP
# What follows a base without a quote: BTC-PERPETUAL, BTC-27JUN25. Kaiko leaves the hyphen of a date out.
_ALONE = rf"-(?:perp|perpetual|{_DATE})|(?<!\d){_DAY}"


class _Spelling(NamedTuple):
    """How an exchange writes its symbols; the texts are lower case, `alone` and `around` are regular expressions.

    quotes  those that it writes right behind the base: BTCUSDT
    dated   those of symbols with a date or a kind of contract, where they differ: BTCUSD_PERP
    alone   what follows a base that has no quote
    around  what is written before or behind all that, and is no asset
    names   the exchange's own names of assets
    """

    quotes: str = "usdt usdc usd"
    dated: str = ""
    alone: str = _ALONE
    around: str = "$^"  # nothing
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
    # The symbol is the coin's name, behind the name of a builder's exchange if it has one (xyz:TSLA). A name that ends
    # like a pair may be one.
    "hyperliquid": _Spelling("", alone="(?<!usd)(?<!usd[tc])(?<!perp)(?:-perp)?", around=r"^[^\W_]+:"),
    "kraken": _Spelling("usd eur xbt", around="(?i)^[pf][ifv]_"),  # PF_XBTUSD, FI_XBTUSD_250627
    "ftx": _Spelling(""),
}
_OTHERS = _Spelling("usdt usdc busd fdusd tusd usd")

# What stands for a quote: BTCPERP of Bybit and Bitget is quoted in USDC.
_QUOTE_NAMES = {"perp": "usdc"}
# BNBUSD is BNB in USD, not BN in BUSD. Where two quotes fit, a base of these decides; without one, nothing is known.
_WELL_KNOWN = {"btc", "eth", "bnb", "arb", "dot"}


def exchange(code: str) -> str:
    """One spelling of an exchange's code; the code itself where it is not known."""
    return _EXCHANGE_OF.get(code.lower(), code)


def asset(name: str) -> str:
    """One spelling of an asset: lower case, aliases resolved."""
    lower = name.lower()
    return ASSETS.get(lower) or lower.removesuffix("f0") or lower


@lru_cache(maxsize=16384)
def assets_of(symbol: str, code: str) -> tuple[str | None, str | None]:
    """Base and quote asset of a futures symbol, by the vendor's code of its exchange.

    The base is None where the symbol has neither a quote that is certain nor an ending that follows a base alone. The
    quote is None where the symbol has none.
    """
    spelling = _SPELLINGS.get(exchange(code), _OTHERS)
    base, quote = _split(re.sub(spelling.around, "", symbol).lower(), spelling)
    named = {**_QUOTE_NAMES, **spelling.names}
    return base and asset(spelling.names.get(base, base)), quote and asset(named.get(quote, quote))


def _split(text: str, spelling: _Spelling) -> tuple[str | None, str | None]:
    """Base and quote as they are written."""
    if separated := _SEPARATED.fullmatch(text):
        return separated[1], separated[2]
    if joined := _JOINED.fullmatch(text):
        pair, ending = joined.groups()
        quotes = ((spelling.dated if ending else "") or spelling.quotes).split()
        found = [(pair.removesuffix(quote), quote) for quote in quotes if pair.endswith(quote) and pair not in quotes]
        found = [(base, quote) for base, quote in found if not re.fullmatch(".+usd[tc]", base)]  # a pair is no asset
        if len(found) > 1:
            found = [(base, quote) for base, quote in found if base in _WELL_KNOWN]
        if len(found) == 1:
            return found[0]
    alone = re.fullmatch(rf"([^\W_]+?)(?:{spelling.alone})", text)
    return (alone[1], None) if alone else (None, None)
