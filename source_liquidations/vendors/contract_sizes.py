"""What one contract of a market is, and so what amounts that count contracts are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import mul
from typing import Any, NamedTuple

from source_liquidations import numbers
from source_liquidations.symbols import DOLLARS


class Contract(NamedTuple):
    """One contract is `size` of the base asset, or of the quote asset of an inverse market.

    in_dollars  whether the quote is the US dollar, or a stablecoin of it
    """

    size: float
    is_inverse: bool
    in_dollars: bool

    @classmethod
    def of_base(cls, quote: str | None) -> Contract:
        """Of a market whose amounts are units of the base asset already."""
        return cls(1.0, is_inverse=False, in_dollars=quote in DOLLARS)


class Columns(NamedTuple):
    """Columns of `liquidations`."""

    amount_base: Sequence[Any]
    notional_usd: Sequence[Any]


_NULL = b"null"


def columns(
    contracts: Mapping[str, Contract], markets: Sequence[str], amounts: Sequence[Any], prices: Sequence[Any]
) -> Columns:
    """What amounts, in contracts, come to. Markets, amounts and prices are a page's rows, in its order.

    Null where the contract of a market is not known.
    """
    if len(alike := set(markets)) == 1:
        return worth(contracts.get(alike.pop()), amounts, prices)
    found, start = [], 0
    for market, run in groupby(markets):
        part = slice(start, start + len(list(run)))
        start = part.stop
        found.append(worth(contracts.get(market), amounts[part], prices[part]))
    return Columns(*([value for run in found for value in run[column]] for column in range(len(Columns._fields))))


def worth(contract: Contract | None, amounts: Sequence[Any], prices: Sequence[Any]) -> Columns:
    """What amounts of one market come to."""
    nothing = [_NULL] * len(amounts)
    if contract is None:
        return Columns(nothing, nothing)
    size = contract.size
    at = _floats(prices)
    sized = _floats(amounts) if size == 1 else [count * size for count in _floats(amounts)]
    of_size: Sequence[Any] = amounts if size == 1 else _literals(sized)
    base: Sequence[Any]
    if contract.is_inverse:
        base = _literals([count / price if price else math.nan for count, price in zip(sized, at, strict=True)])
    else:
        base = of_size
    if not contract.in_dollars:
        return Columns(base, nothing)
    return Columns(base, of_size if contract.is_inverse else _literals(list(map(mul, sized, at))))


def _floats(literals: Sequence[Any]) -> Sequence[float]:
    """The values of literals; null is no number, and so is what is computed from it."""
    values: list[Any] = numbers.floats(literals)
    return [math.nan if value is None else value for value in values] if None in values else values


def _literals(values: Sequence[float]) -> list[bytes]:
    """Rounded to the digits that a product of doubles has; null for what is no number, and what no double holds."""
    if not values or not math.isfinite(sum(values)):
        return [b"%.15g" % value if math.isfinite(value) else _NULL for value in values]
    return (b",".join([b"%.15g"] * len(values)) % tuple(values)).split(b",")
