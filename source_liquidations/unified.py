"""One shape for all vendors: the streams `liquidations` and `liquidation_volumes`.

A vendor's module says which of its fields is which column; this module writes them in one vocabulary. It works by
columns, a page at a time, never row by row.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import ascii_lowercase
from typing import Any, TypeVar

from source_liquidations import timestamps
from source_liquidations.numbers import NULL, texts
from source_liquidations.reading.pages import Table, encode, members
from source_liquidations.reading.rows import Column, Fault, Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import exchange

LIQUIDATIONS = Stream("liquidations", ("vendor", "market", "liquidation_id"), "liquidated_at")
LIQUIDATION_VOLUMES = Stream(
    "liquidation_volumes",
    ("vendor", "market", "asset", "interval", "position_side", "unit", "interval_start"),
    "interval_start",
)

T = TypeVar("T")

POSITIONS = {"long": "sell", "short": "buy"}  # position side: side of the order that closes it


def _in_each_case(by_name: Mapping[str, T]) -> dict[str, T]:
    """The mapping with each name as `long`, `LONG` and `Long`: a lookup for each row is faster than converting it."""
    return {text: value for name, value in by_name.items() for text in (name, name.upper(), name.capitalize())}


POSITION_OF = _in_each_case({order: position for position, order in POSITIONS.items()})

_UNITS = {
    "m": (timestamps.MINUTE, "PT{}M"),
    "h": (timestamps.HOUR, "PT{}H"),
    "d": (timestamps.DAY, "P{}D"),
    "w": (7 * timestamps.DAY, "P{}W"),
}
_INTERVALS = {
    "MINUTE": "1m",
    "FIVE_MINUTES": "5m",
    "FIFTEEN_MINUTES": "15m",
    "HOUR": "1h",
    "FOUR_HOURS": "4h",
    "DAY": "1d",
    "WEEK": "1w",
    "daily": "1d",
}
_NULL = b"null"
_NULLS = (_NULL, NULL)
_VENDOR, _COMPUTED = b'"vendor"', b'"computed"'
# Position side: a row's members `position_side` and `order_side`.
_SIDES: Mapping[Any, bytes] = _in_each_case(
    {position: members({"position_side": position, "order_side": order}) for position, order in POSITIONS.items()}
)
_NO_SIDE = members({"position_side": None, "order_side": None})


@lru_cache(maxsize=16384)
def event_names(
    vendor: str,
    market: str,
    exchange_code: str,
    base_asset: str | None,
    quote_asset: str | None,
    event_type: str,
    amount_unit: str,
) -> bytes:
    """The JSON members of `liquidations` that all events of one market and type share."""
    shared = {
        "vendor": vendor,
        "market": market,
        "exchange": exchange(exchange_code),
        "base_asset": base_asset,
        "quote_asset": quote_asset,
        "event_type": event_type,
        "amount_unit": amount_unit,
    }
    return members(shared)


def liquidations(
    rows: Rows,
    *,
    names: Column,
    positions: Sequence[str | None],
    price: Column,
    amount: Column,
    amount_usd: Column = _NULL,
    amount_base: Column = _NULL,
    computed_usd: Column = _NULL,
) -> Table:
    """A row of `liquidations` for each row. A column is a JSON text for each row, or one for all rows.

    positions      long or short (or LONG, Long); anything else is unknown
    computed_usd   notional_usd for rows without an amount_usd from the vendor
    """
    notional_usd, notional_source = _notional(amount_usd, computed_usd)
    return Table(
        len(rows),
        (
            b"{",
            _single_if_equal(names),
            b'"liquidation_id":"',
            _without_quotes(list(rows.ids)),
            b'","liquidated_at":"',
            rows.times,
            b'","liquidated_at_ns":',
            texts(rows.instants),
            b",",
            [_SIDES.get(position, _NO_SIDE) for position in positions],
            b'"price":',
            price,
            b',"amount":',
            amount,
            b',"amount_usd":',
            amount_usd,
            b',"amount_base":',
            amount_base,
            b',"notional_usd":',
            notional_usd,
            b',"notional_source":',
            notional_source,
            b"}",
        ),
        rows.faults,
    )


def _single_if_equal(column: Column) -> Column:
    """One text for a column whose texts are all equal, which is faster to write; else the column."""
    if isinstance(column, bytes) or not len(column) or column.count(column[0]) < len(column):
        return column
    return bytes(column[0])


def _notional(stated: Column, computed: Column) -> tuple[Column, Column]:
    """`notional_usd` and `notional_source`: the vendor's value, else the computed one, else null."""
    if isinstance(stated, bytes):  # null for all rows
        return computed, _sources(computed, _COMPUTED)
    sources = _sources(stated, _VENDOR)
    if isinstance(sources, bytes) or isinstance(computed, bytes):
        return stated, sources
    values = [other if value in _NULLS else value for value, other in zip(stated, computed, strict=True)]
    sources = [_COMPUTED if source == _NULL else source for source in sources]
    return values, [_NULL if value in _NULLS else source for value, source in zip(values, sources, strict=True)]


def _sources(values: Column, source: bytes) -> Column:
    """The source for each value, null for null; or one source for all values."""
    if isinstance(values, bytes):
        return _NULL
    if not any(null in values for null in _NULLS):
        return source
    return [_NULL if value in _NULLS else source for value in values]


def _without_quotes(texts: Sequence[str]) -> list[bytes]:
    """Each text as JSON, without its quotes."""
    encoded = encode(texts)
    if b"\\" in encoded:
        return [encode(text)[1:-1] for text in texts]
    return encoded[2:-2].split(b'","')


@lru_cache(maxsize=16384)
def volume_names(
    vendor: str, market: str, exchange_name: str, asset: str, interval: str, position_side: str, unit: str
) -> bytes:
    """The JSON members of `liquidation_volumes` that all intervals of one series share."""
    shared = {
        "vendor": vendor,
        "market": market,
        "exchange": exchange_name,
        "asset": asset,
        "interval": interval,
        "position_side": position_side,
        "unit": unit,
    }
    return members(shared)


def volumes(
    *,
    names: Sequence[Any],
    instants: Sequence[int],
    amount: Sequence[Any],
    count: Column = _NULL,
    faults: Sequence[Fault] = (),
) -> Table:
    """Rows of `liquidation_volumes`. `instants` are the intervals' starts; names, amount and count are JSON texts."""
    return Table(
        len(names),
        (
            b"{",
            names,
            b'"interval_start":"',
            list(map(_interval_start, instants)),
            b'","amount":',
            amount,
            b',"liquidation_count":',
            count,
            b"}",
        ),
        faults,
    )


@lru_cache(maxsize=65536)
def _interval_start(instant: int) -> bytes:
    """An interval's start as RFC 3339 text in UTC, to the second."""
    return timestamps.format_instant(instant, 0).encode()


def interval_of(name: str) -> tuple[int, str]:
    """A vendor's interval in nanoseconds and as an ISO 8601 duration in the same unit: 24h is PT24H."""
    interval = _INTERVALS.get(name, name)
    count = interval.rstrip(ascii_lowercase)
    length, iso_format = _UNITS[interval[len(count)]]
    return int(count) * length, iso_format.format(count)
