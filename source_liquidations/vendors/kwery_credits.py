"""Kwery: what a sync has spent in credits and may still spend, `kwery.max_credits_per_sync`.

Page: https://kwery-api.com, "GET /v1/liquidations": a request costs credits, and so does each of its rows.
"""

from __future__ import annotations

import threading

from source_liquidations.errors import SpendingLimit, Stopped

CREDITS_PER_REQUEST = 25
CREDITS_PER_ROW = 2


class Credits:
    """What this sync has spent and may still spend. Thread-safe."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.spent = 0
        self.left_in_cycle: int | None = None
        self.windows = 0  # read to their end
        self.assumed = 0  # for answers that did not arrive, and may have been paid for all the same
        self._reserved = 0
        self._changed = threading.Condition()

    def rows_left(self, page: int) -> int | None:
        """Rows, in pages of so many, that what is left pays for; None where there is no limit."""
        if self.most is None:
            return None
        pages, rest = divmod(self._left(), cost(page))
        return pages * page + max(0, rest - CREDITS_PER_REQUEST) // CREDITS_PER_ROW

    def _left(self) -> int:
        return max(0, (self.most or 0) - self.spent - self.assumed)

    def reserve(self, rows: int, stop: threading.Event) -> int:
        """Rows that the next request may ask for, at most `rows`; 0 where not even one can be paid."""
        with self._changed:
            while self.most is not None:
                payable = (self._left() - self._reserved - CREDITS_PER_REQUEST) // CREDITS_PER_ROW
                granted = max(0, min(rows, payable))
                if granted == rows or not self._reserved:
                    self._reserved += cost(granted) if granted else 0
                    return granted
                self._changed.wait(0.5)  # others may give back what they reserved and do not need
                if stop.is_set():
                    raise Stopped
            return rows

    def release(self, granted: int) -> None:
        """The request that so many rows were reserved for is over; what it cost was told to `spend`."""
        with self._changed:
            if self.most is not None:
                self._reserved -= cost(granted)
                self._changed.notify_all()

    def spend(self, credits: int) -> None:
        with self._changed:
            self.spent += credits

    def lose(self, rows: int) -> bool:
        """The answer to a request for so many rows did not arrive. Whether the same request can be paid again."""
        with self._changed:
            self.assumed += cost(rows)
            return self.most is None or self._left() >= self._reserved


def cost(rows: int) -> int:
    return CREDITS_PER_REQUEST + CREDITS_PER_ROW * rows


def spending_limit(credits: Credits) -> SpendingLimit:
    lost = f", and up to {credits.assumed:,} on answers that did not arrive" if credits.assumed else ""
    return SpendingLimit(
        f"stopped before spending more than `kwery.max_credits_per_sync`: {credits.spent:,} of {credits.most:,}"
        f" credits are spent{lost}.",
        advice="Everything read so far is kept; the next sync goes on from there."
        if credits.windows
        else "They did not pay for one window to its end, so the next sync will begin where this one did: raise it.",
    )
