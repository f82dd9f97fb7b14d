"""Contract sizes, and the value of amounts that count contracts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from source_liquidations import numbers
from source_liquidations.symbols import DOLLARS


class Contract(NamedTuple):
    """One contract is `size` units of the base asset, or of the quote asset if the market is inverse.

    in_dollars  whether the quote asset is the US dollar or a dollar stablecoin
    """

    size: float
    is_inverse: bool
    in_dollars: bool

    @classmethod
    def of_base(cls, quote: str | None) -> Contract:
        """For a market whose amounts are already in the base asset."""
        return cls(1.0, is_inverse=False, in_dollars=quote in DOLLARS)


class Converted(NamedTuple):
    amount_base: Sequence[Any]
    notional_usd: Sequence[Any]


_Floats = np.ndarray[Any, np.dtype[np.float64]]
_UNKNOWN = Contract(math.nan, is_inverse=False, in_dollars=False)


def converted(
    contracts: Mapping[str, Contract | None], markets: Sequence[str], amounts: Sequence[Any], prices: Sequence[Any]
) -> Converted:
    """Amounts in contracts, converted to the base asset and to dollars; null if a market's contract is unknown.

    Markets, amounts and prices are columns of one page, with an item for each row.
    """
    position = {market: index for index, market in enumerate(dict.fromkeys(markets))}
    table = np.array([contracts.get(market) or _UNKNOWN for market in position], float)
    size, is_inverse, in_dollars = table.reshape(-1, len(Contract._fields))[[position[market] for market in markets]].T
    amount, price = (np.array(numbers.floats(literals), float) for literals in (amounts, prices))  # null becomes NaN
    with np.errstate(all="ignore"):
        sized = amount * size
        base = np.where(is_inverse, sized / price, sized)
        usd = np.where(in_dollars, np.where(is_inverse, sized, sized * price), np.nan)
    return Converted(*(_literals(values, amount, amounts) for values in (base, usd)))


def _literals(values: _Floats, amount: _Floats, amounts: Sequence[Any]) -> Sequence[Any]:
    """Values as JSON: the vendor's literal if a value equals its amount, else 15 digits, the precision of a product.

    NaN and infinity become null.
    """
    same = values == amount
    if same.all():
        return amounts
    finite = np.where(np.isfinite(values), values, np.nan).tolist()
    texts = (b",".join([b"%.15g"] * len(finite)) % tuple(finite)).replace(b"nan", b"null").split(b",")
    return [own if is_own else text for own, is_own, text in zip(amounts, same.tolist(), texts, strict=True)]
