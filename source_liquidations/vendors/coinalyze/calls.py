"""What Coinalyze's calls share: bodies that are arrays, and a limit that counts symbols."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from source_liquidations.http.answers import Answered
from source_liquidations.http.budgets import Allowance, Budget

# 40 calls a minute and key, and each symbol of a request is one. Two are left for a check, or for another sync.
CALLS_PER_MINUTE = 38
MOST_SYMBOLS = 20  # a request

T = TypeVar("T")


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | None


def as_data(answered: Answered) -> Answered:
    """The array of an answer as the `data` of an object, which the decoders of rows take."""
    return Answered(answered.status, answered.headers, b'{"data":%b}' % answered.body)


def symbols_at_once(per_minute: int) -> int:
    """The most symbols of a request: half of what a minute has, so that two requests make use of all of it."""
    return max(1, min(MOST_SYMBOLS, per_minute // 2))


def budget_of(per_minute: int) -> Budget:
    """The calls of a minute, spread over it: half of them may be saved up and spent at once."""
    return Budget(per_minute, 60.0, Allowance(per_minute, 60.0, most=float(max(1, per_minute // 2))))
