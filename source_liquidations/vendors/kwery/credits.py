"""Kwery: what a sync has spent in credits and may still spend, `kwery.max_credits_per_sync`.

Page: https://kwery-api.com, "GET /v1/liquidations": a request costs credits, and so does each of its rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from source_liquidations import timestamps
from source_liquidations.errors import SpendingLimit, Stopped, VendorUnavailable
from source_liquidations.http.client import Purse, Request

CREDITS_PER_REQUEST = 25
CREDITS_PER_ROW = 2
MOST_ROWS_A_SECOND = 2  # the feed has one for each symbol, and now and then its twin


class Credits(Purse):
    """What this sync has spent and may still spend. Thread-safe."""

    def __init__(self, most: int | None, stop: threading.Event) -> None:
        self.most = most
        self.spent = 0
        self.left_in_cycle: int | None = None
        self.windows = 0  # read to their end
        self.assumed = 0  # for answers that did not arrive, but may have been charged
        self._reserved = 0
        self._granted: dict[Request, int] = {}  # rows, until the answer is decoded
        self._stop = stop
        self._changed = threading.Condition()

    @contextmanager
    def paying(self, request: Request) -> Iterator[Request]:
        """Holds a request to what this sync may spend. Raises SpendingLimit where that pays for no row."""
        params = dict(request.params)
        if "limit" not in params:
            yield request  # a free call
            return
        granted = self._reserve(self._rows_possible(params))
        if not granted:
            raise self._spent_up()
        self._granted[request] = granted
        try:
            yield with_param(request, "limit", str(granted))
        finally:
            with self._changed:
                self._reserved -= cost(granted)
                self._changed.notify_all()

    def _rows_possible(self, params: dict[str, str]) -> int:
        """As many rows as the request may have: what is not reserved is left for others."""
        if self.most is None:
            return int(params["limit"])
        seconds = (timestamps.parse(params["end"]) - timestamps.parse(params["start"])) // timestamps.SECOND
        return min(int(params["limit"]), MOST_ROWS_A_SECOND * (seconds + 1))

    def _reserve(self, rows: int) -> int:
        """Rows that the next request may ask for, at most `rows`; 0 where not even one can be paid."""
        with self._changed:
            granted = rows
            while self.most is not None:
                payable = (self._left() - self._reserved - CREDITS_PER_REQUEST) // CREDITS_PER_ROW
                granted = max(0, min(rows, payable))
                if granted == rows or not self._reserved:
                    break
                self._changed.wait(0.5)  # others may give back what they reserved and do not need
                if self._stop.is_set():
                    raise Stopped
            self._reserved += cost(granted) if granted else 0
            return granted

    def rows_asked_for(self, request: Request) -> int:
        """The limit that an answered request was sent with."""
        return self._granted.pop(request, None) or int(dict(request.params)["limit"])

    def lost(self, request: Request) -> str:
        params = dict(request.params)
        if "limit" not in params:
            return ""
        with self._changed:
            self.assumed += cost(int(params["limit"]))
            if self.most is None or self._left() >= self._reserved:
                return ""
            return self._words_for_lost()

    def _words_for_lost(self) -> str:
        return (
            f"For answers that did not arrive, up to {self.assumed:,} credits may have been charged, and"
            " `kwery.max_credits_per_sync` allows no other try."
        )

    def _spent_up(self) -> SpendingLimit | VendorUnavailable:
        if not self.spent and self.assumed:
            return VendorUnavailable(f"no answer arrived. {self._words_for_lost()}", advice="Try again later.")
        lost = f", and up to {self.assumed:,} on answers that did not arrive" if self.assumed else ""
        return SpendingLimit(
            f"stopped before spending more than `kwery.max_credits_per_sync`: {self.spent:,} of {self.most:,}"
            f" credits are spent{lost}.",
            advice="Everything read so far is kept; the next sync goes on from there."
            if self.windows
            else "They did not pay for one whole window, so the next sync will begin where this one did: raise it.",
        )

    def spend(self, credits: int) -> None:
        with self._changed:
            self.spent += credits

    def rows_left(self, page: int) -> int | None:
        """Rows, in pages of so many, that what is left pays for; None where there is no limit."""
        if self.most is None:
            return None
        pages, rest = divmod(self._left(), cost(page))
        return pages * page + max(0, rest - CREDITS_PER_REQUEST) // CREDITS_PER_ROW

    def _left(self) -> int:
        return max(0, (self.most or 0) - self.spent - self.assumed)


def cost(rows: int) -> int:
    return CREDITS_PER_REQUEST + CREDITS_PER_ROW * rows


def with_param(request: Request, name: str, value: str) -> Request:
    """The request with one parameter replaced, or added at the end."""
    params = dict(request.params) | {name: value}
    return Request(request.path, tuple(params.items()), request.host)
