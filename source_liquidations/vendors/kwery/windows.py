"""Kwery: how long windows are, so that a crash repeats little and what they hold can be paid."""

from __future__ import annotations

import time

from source_liquidations import timestamps
from source_liquidations.reading.endpoint import Sizing
from source_liquidations.vendors.kwery.credits import MOST_ROWS_A_SECOND, Credits

LARGEST_LIMIT = 1000
STEP = timestamps.MILLISECOND  # times are sent in milliseconds

# Rows come in no documented order, so only a whole window can be checkpointed: what a crash repeats costs credits.
FIRST_WINDOW = timestamps.DAY
ROWS_WORTH_A_WINDOW = 4000
ROWS_ARE_SETTLED_AFTER = timestamps.MINUTE


class Windows(Sizing):
    """Windows of a few pages, which what is left of the credits pays for; `limit` is the rows of a page."""

    def __init__(self, credits: Credits) -> None:
        self._credits = credits
        self.limit = LARGEST_LIMIT
        super().__init__(worth=ROWS_WORTH_A_WINDOW, step=STEP)

    def longest(self) -> int:
        """A first window that can be paid whatever it holds."""
        rows = self._credits.rows_left(self.limit)
        if rows is None:
            return FIRST_WINDOW
        return min(FIRST_WINDOW, max(1, rows // MOST_ROWS_A_SECOND) * timestamps.SECOND)

    def longest_lookback(self) -> int | None:
        """Else a small limit would be spent on what is read again, and a sync could never make progress."""
        return None if self._credits.most is None else self.longest() // 2

    def next_length(self, length: int, rows: int) -> int:
        longer = super().next_length(length, rows)
        payable = self._credits.rows_left(self.limit)
        if payable is not None:
            # A window that cannot be paid to its end is paid for nothing: leave room for twice the rows expected.
            longer = max(min(longer, length * payable // (2 * max(1, rows))), self.longest())
        return max(STEP, timestamps.floor_to(longer, STEP))

    def window_end(self, start: int, end: int) -> int:
        """Apart from what may have a second page: the last minute, whose rows may still be on their way.

        A cursor that is an offset moves on where a row arrives before it: the next page would repeat a row, and that
        would look like a twin.
        """
        edge = timestamps.floor_to(time.time_ns() - ROWS_ARE_SETTLED_AFTER, STEP)
        return min(end, max(edge, start + self.limit * timestamps.SECOND))
