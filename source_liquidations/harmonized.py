"""One shape for all vendors: the streams `liquidations` and `liquidation_volumes`.

A vendor's file says which of its fields means what; this module says what the words are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.reading.pages import members
from source_liquidations.streams import Stream
from source_liquidations.symbols import exchange

LIQUIDATIONS = Stream("liquidations", ("vendor", "market", "liquidation_id"), "liquidated_at")
LIQUIDATION_VOLUMES = Stream(
    "liquidation_volumes",
    ("vendor", "market", "asset", "interval", "position_side", "unit", "interval_start"),
    "interval_start",
)

POSITIONS = {"long": "sell", "short": "buy"}  # the order that closes each

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_encode = msgspec.json.Encoder().encode

# The members that say which side, by position.
_SIDES = {
    position: members({"position_side": position, "order_side": order})
    for position, order in (*POSITIONS.items(), (None, None))
}

Literal = bytes | msgspec.Raw | msgspec.UnsetType | None


class EventMaker:
    """Makes rows of `liquidations` for one vendor; numbers stay as the vendor wrote them.

    What is the same for many rows (a market's names, the kind of event) is encoded once, by `names`.
    """

    def __init__(self, vendor: str, *, amount_unit: str) -> None:
        self._vendor = vendor
        self._amount_unit = amount_unit

    def names(
        self, market: str, exchange_code: str, base_asset: str | None, quote_asset: str | None, event_type: str | None
    ) -> bytes:
        return b"{" + members(
            {
                "vendor": self._vendor,
                "market": market,
                "exchange": exchange(exchange_code),
                "base_asset": base_asset,
                "quote_asset": quote_asset,
                "event_type": event_type,
                "amount_unit": self._amount_unit,
            }
        )

    @staticmethod
    def row(
        names: bytes,
        liquidation_id: str,
        liquidated_at: bytes,
        instant: int,
        position_side: str | None,
        price: bytes,
        amount: bytes,
        amount_usd: bytes,
    ) -> bytes:
        return (
            b'%b"liquidation_id":%b,"liquidated_at":"%b","liquidated_at_ns":%d,%b"price":%b,"amount":%b,"amount_usd":%b}'
            % (
                names,
                _encode(liquidation_id),
                liquidated_at,
                instant,
                _SIDES.get(position_side) or _SIDES[None],
                price,
                amount,
                amount_usd,
            )
        )


class Volume(msgspec.Struct, gc=False, kw_only=True):
    """One row of `liquidation_volumes`; the amount as the vendor wrote it."""

    vendor: str
    market: str
    exchange: str
    asset: str
    interval: str
    interval_start: str
    position_side: str
    amount: msgspec.Raw
    unit: str
    liquidation_count: msgspec.Raw = msgspec.Raw(b"null")


def volume_rows(volumes: Iterable[Volume]) -> list[bytes]:
    return [_encode(volume) for volume in volumes]


def number(field: str, literal: Literal) -> bytes:
    """A number's literal as the vendor wrote it, out of a string where it wrote one; `null` for null or nothing.

    Raises UnexpectedAnswer, naming the field, for anything else.
    """
    if literal is None or isinstance(literal, msgspec.UnsetType):
        return b"null"
    text = bytes(literal)
    if text == b"null":
        return text
    bare = text[1:-1] if text[:1] == b'"' else text
    if bare[:1] != b"0" and bare.replace(b".", b"", 1).isdigit() and bare[:1] != b"." and bare[-1:] != b".":
        return bare  # what nearly all are: digits, perhaps with a point
    if _NUMBER.fullmatch(bare) is None:
        raise UnexpectedAnswer(f"`{field}` is {shown(text)}, no number.", advice="No row was guessed from it.")
    return canonical(bare)


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
