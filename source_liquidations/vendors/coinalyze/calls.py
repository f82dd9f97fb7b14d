"""What Coinalyze's calls share: a limit that counts symbols."""

from __future__ import annotations

from source_liquidations.http.budgets import Allowance, Budget

# 40 calls a minute and key, and each symbol of a request is one. Two are left for a check, or for another sync.
CALLS_PER_MINUTE = 38
MOST_SYMBOLS = 20  # a request


def symbols_at_once(per_minute: int) -> int:
    """The most symbols of a request: half of what a minute has, so that two requests make use of all of it."""
    return max(1, min(MOST_SYMBOLS, per_minute // 2))


def budget_of(per_minute: int) -> Budget:
    """The calls of a minute, spread over it: half of them may be saved up and spent at once."""
    saved = Allowance(per_minute, 60.0, most=float(max(1, per_minute // 2)))
    return Budget(per_minute, 60.0, saved, counts_weight=True)
