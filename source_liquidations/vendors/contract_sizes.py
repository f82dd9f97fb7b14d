"""What one contract of a market is, and so what amounts that count contracts are worth."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from source_liquidations import numbers


class Contract(NamedTuple):
    """One contract is `size` of the base asset, or of the quote asset of an inverse market.

    in_dollars  whether the quote is the US dollar, or a stablecoin of it
    """

    size: float
    is_inverse: bool
    in_dollars: bool


class Columns(NamedTuple):
    """Columns of `liquidations`."""

    amount_base: Sequence[bytes]
    notional_usd: Sequence[bytes]
    notional_source: Sequence[bytes]


_NULL = b"null"
_LARGEST = sys.float_info.max


def columns(
    contracts: Mapping[str, Contract], markets: Iterable[str], amounts: Sequence[Any], prices: Sequence[Any]
) -> Columns:
    """What amounts, in contracts, come to. Markets, amounts and prices are a page's rows, in its order.

    Null where the contract of a market is not known.
    """
    found, start = [], 0
    for market, run in groupby(markets):
        part = slice(start, start + len(list(run)))
        start = part.stop
        found.append(_of_market(contracts.get(market), amounts[part], prices[part]))
    if len(found) == 1:
        return found[0]
    return Columns(*([value for run in found for value in run[column]] for column in range(len(Columns._fields))))


def _of_market(contract: Contract | None, amounts: Sequence[Any], prices: Sequence[Any]) -> Columns:
    """The columns of rows of one market."""
    nothing = [_NULL] * len(amounts)
    if contract is None:
        return Columns(nothing, nothing, nothing)
    size = contract.size
    counts, at = numbers.floats(amounts), numbers.floats(prices)
    pairs = list(zip(counts, at, strict=True))
    if contract.is_inverse:
        base = [_NULL if not price or count is None else _literal(count * size / price) for count, price in pairs]
        value = [_NULL if count is None else _literal(count * size) for count in counts]
    else:
        base = list(amounts) if size == 1 else [_NULL if count is None else _literal(count * size) for count in counts]
        value = [_NULL if count is None or price is None else _literal(count * size * price) for count, price in pairs]
    if not contract.in_dollars:
        return Columns(base, nothing, nothing)
    return Columns(base, value, [_NULL if text is _NULL else b'"computed"' for text in value])


def _literal(value: float) -> bytes:
    """Rounded to the digits that a product of doubles has; null for what no double holds."""
    return b"%.15g" % value if -_LARGEST < value < _LARGEST else _NULL
