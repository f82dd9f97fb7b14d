"""One shape for all vendors: the streams `liquidations` and `liquidation_volumes`, and one spelling of names.

A vendor's file says which of its fields means what; this module says what the words are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.streams import Stream

LIQUIDATIONS = Stream("liquidations", ("vendor", "market", "liquidation_id"), "liquidated_at")
LIQUIDATION_VOLUMES = Stream(
    "liquidation_volumes",
    ("vendor", "market", "asset", "interval", "position_side", "unit", "interval_start"),
    "interval_start",
)

# The vendors' codes of an exchange, in one spelling. A code that is not here stays as the vendor writes it.
EXCHANGES = {
    "binance": ("binance", "binance_futures", "binance_delivery", "binc"),
    "bybit": ("bybit", "bbit"),
    "okx": ("okx", "okex", "okex_swap", "okex_futures"),
    "deribit": ("deribit", "drbt"),
    "bitmex": ("bitmex", "bmex", "btmx"),
    "bitfinex": ("bitfinex", "bitfinex_derivatives", "bfnx"),
    "huobi": ("huobi", "huobi_dm", "huobi_dm_swap", "huobi_dm_linear_swap", "huob", "hbdm"),
    "kraken": ("kraken", "krkn"),
    "ftx": ("ftx", "ftxx"),
}
_EXCHANGE_OF = {code: name for name, codes in EXCHANGES.items() for code in codes}

# Assets that exchanges name in their own way.
ASSETS = {"xbt": "btc", "xdg": "doge", "ust": "usdt", "ustf0": "usdt", "btcf0": "btc", "ethf0": "eth"}

_QUOTES = "USDT|USDC|BUSD|FDUSD|TUSD|USD|EUR|BTC|XBT"
# Symbols of futures whose assets can be told for certain; tried in order.
_SYMBOLS = (
    re.compile(r"([A-Z0-9]+)F0:([A-Z]+)F0"),  # Bitfinex: BTCF0:USTF0
    re.compile(r"[A-Z]{2}_([A-Z0-9]+?)(USD)(?:_\d+)?"),  # Kraken: PI_XBTUSD
    re.compile(rf"([A-Z0-9]+)[-_]({_QUOTES})(?:[-_].*)?"),  # OKX: BTC-USDT-SWAP; Huobi: BTC-USDT
    re.compile(r"([A-Z0-9]+)()-(?:PERP|PERPETUAL|\d{1,2}[A-Z]{3}\d{2}|\d{4,8})"),  # Deribit, FTX: BTC-PERPETUAL
    re.compile(rf"([A-Z0-9]+?)({_QUOTES})(?:[_-].*|[FGHJKMNQUVXZ]\d{{2}})?"),  # Binance, Bybit, BitMEX: BTCUSDT, XBTUSD
)
_MULTIPLE = re.compile(r"^10{3,6}(?=[a-z])")  # 1000SHIB: contracts of a thousand

POSITIONS = {"long": "sell", "short": "buy"}  # the order that closes each

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, gc=False, kw_only=True):
    """One row of `liquidations`; numbers as the vendor wrote them. Vendor and order side are set by `event_lines`."""

    vendor: str = ""
    market: str
    liquidation_id: str
    exchange: str | None
    base_asset: str | None
    quote_asset: str | None
    liquidated_at: str
    liquidated_at_ns: int
    position_side: str | None
    order_side: str | None = None
    event_type: str | None
    price: msgspec.Raw | None
    amount: msgspec.Raw | None
    amount_unit: str
    amount_usd: msgspec.Raw | None


class Volume(msgspec.Struct, gc=False, kw_only=True):
    """One row of `liquidation_volumes`; the amount as the vendor wrote it. The vendor is set by `volume_lines`."""

    vendor: str = ""
    market: str
    exchange: str
    asset: str
    interval: str
    interval_start: str
    position_side: str
    amount: msgspec.Raw | None
    unit: str
    liquidation_count: msgspec.Raw | None


def event_lines(vendor: str, events: Iterable[Event]) -> list[bytes]:
    """Rows of `liquidations` as JSON; the order's side follows from the position's."""
    lines = []
    for event in events:
        event.vendor = vendor
        event.order_side = POSITIONS.get(event.position_side or "")
        lines.append(_encode(event))
    return lines


def volume_lines(vendor: str, volumes: Iterable[Volume]) -> list[bytes]:
    lines = []
    for volume in volumes:
        volume.vendor = vendor
        lines.append(_encode(volume))
    return lines


def exchange(code: str) -> str:
    """One spelling of an exchange's code; the code itself where it is not known."""
    return _EXCHANGE_OF.get(code.lower(), code)


def asset(name: str) -> str:
    """One spelling of an asset: lower case, aliases and contract multiples resolved."""
    lower = name.lower()
    lower = _MULTIPLE.sub("", lower, count=1)
    return ASSETS.get(lower, lower)


def assets_of(symbol: str) -> tuple[str | None, str | None]:
    """Base and quote asset of a futures symbol as exchanges write them; None where it does not tell."""
    for pattern in _SYMBOLS:
        found = pattern.fullmatch(symbol)
        if found is not None:
            return asset(found[1]), asset(found[2]) if found[2] else None
    return None, None


def number(field: str, literal: bytes | msgspec.Raw | msgspec.UnsetType | None) -> msgspec.Raw | None:
    """A number's literal as the vendor wrote it, out of a string where it wrote one; None for null or nothing."""
    if literal is None or isinstance(literal, msgspec.UnsetType):
        return None
    text = bytes(literal)
    if text == b"null":
        return None
    bare = text[1:-1] if text[:1] == b'"' else text
    if _NUMBER.fullmatch(bare) is None:
        raise UnexpectedAnswer(f"`{field}` is {text[:40]!r}, no number.", advice="No row was guessed from it.")
    return msgspec.Raw(canonical(bare))


def canonical(literal: bytes) -> bytes:
    """A decimal as JSON writes it: no superfluous leading zero (a vendor's string may have one)."""
    sign, digits = (b"-", literal[1:]) if literal[:1] == b"-" else (b"", literal)
    stripped = digits.lstrip(b"0")
    return sign + (stripped if stripped[:1].isdigit() else b"0" + stripped)


def iso_interval(interval: str) -> str:
    """The vendors' names of an interval as ISO 8601 durations."""
    known = {
        "MINUTE": "PT1M",
        "FIVE_MINUTES": "PT5M",
        "FIFTEEN_MINUTES": "PT15M",
        "HOUR": "PT1H",
        "FOUR_HOURS": "PT4H",
        "DAY": "P1D",
        "WEEK": "P1W",
    }
    if interval in known:
        return known[interval]
    return f"P{interval[:-1]}D" if interval.endswith("d") else f"PT{interval[:-1]}{interval[-1].upper()}"
