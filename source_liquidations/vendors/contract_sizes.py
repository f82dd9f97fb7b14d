"""What one contract of a market is, and so what amounts that count contracts are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

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
    amount_base: Sequence[Any]
    notional_usd: Sequence[Any]


_Floats = np.ndarray[Any, np.dtype[np.float64]]
_UNKNOWN = Contract(math.nan, is_inverse=False, in_dollars=False)


def columns(
    contracts: Mapping[str, Contract | None], markets: Sequence[str], amounts: Sequence[Any], prices: Sequence[Any]
) -> Columns:
    """What amounts, in contracts, come to. Markets, amounts and prices are a page's rows, in its order.

    Null where the contract of a market is not known.
    """
    place = {market: at for at, market in enumerate(dict.fromkeys(markets))}
    known = np.array([contracts.get(market) or _UNKNOWN for market in place], float).reshape(-1, len(Contract._fields))
    size, is_inverse, in_dollars = known[[place[market] for market in markets]].T
    amount, price = (np.array(numbers.floats(literals), float) for literals in (amounts, prices))  # null is no number
    with np.errstate(all="ignore"):
        sized = amount * size
        base = np.where(is_inverse, sized / price, sized)
        usd = np.where(in_dollars, np.where(is_inverse, sized, sized * price), np.nan)
    return Columns(*(_literals(found, amount, amounts) for found in (base, usd)))


def _literals(values: _Floats, amount: _Floats, amounts: Sequence[Any]) -> Sequence[Any]:
    """Amounts where they are the values; else rounded to the digits that a product of doubles has.

    Null for what is no number, and what no double holds.
    """
    same = values == amount
    if same.all():
        return amounts
    numbered = np.where(np.isfinite(values), values, np.nan).tolist()
    texts = (b",".join([b"%.15g"] * len(numbered)) % tuple(numbered)).replace(b"nan", b"null").split(b",")
    return [own if is_own else text for own, is_own, text in zip(amounts, same.tolist(), texts, strict=True)]
