"""Kwery: the credits that a sync has spent and may still spend (`kwery.max_credits_per_sync`), and windows that they
can pay for.

Page: https://kwery-api.com, "GET /v1/liquidations": each request costs credits, and so does each row.
"""

import time

from source_liquidations import timestamps
from source_liquidations.errors import SpendingLimit
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Purse, Request
from source_liquidations.reading.endpoint import Sizing

LARGEST_LIMIT = 1000
STEP = timestamps.MILLISECOND  # the precision of `start` and `end`

# The order of rows is not documented, so only a whole window can be checkpointed: what a crash repeats costs credits.
FIRST_WINDOW = timestamps.DAY
ROWS_PER_WINDOW = 4000
ROWS_SETTLE_AFTER = timestamps.MINUTE

CREDITS_PER_REQUEST = 25
CREDITS_PER_ROW = 2
MOST_ROWS_PER_SECOND = 2  # the feed has one for each symbol, and rarely an identical second one


class Credits(Purse):
    """What this sync has spent and may still spend. With a limit, requests are sent one at a time."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.spent = 0
        self.left_in_cycle: int | None = None  # as the vendor reports
        self.complete_windows = 0
        self.unconfirmed = 0  # credits for answers that did not arrive, but may have been charged
        self._payable_rows = 0  # `limit` of the last request, if this sync has a limit

    def payable(self, request: Request) -> Request:
        """Lowers the request's `limit` to what this sync may spend. Raises SpendingLimit if that pays for no row."""
        params = dict(request.params)
        if self.limit is None or "limit" not in params:  # no limit, or a free call
            return request
        rows = (self._left - CREDITS_PER_REQUEST) // CREDITS_PER_ROW
        if rows < 1:
            unconfirmed = f", and up to {self.unconfirmed:,} on answers that did not arrive" if self.unconfirmed else ""
            raise SpendingLimit(
                f"stopped before spending more than `kwery.max_credits_per_sync`: {self.spent:,} of {self.limit:,}"
                f" credits are spent{unconfirmed}.",
                advice="Everything read so far is kept; the next sync continues from there."
                if self.complete_windows
                else "They did not pay for one whole window, so the next sync would start at the same point: raise it.",
            )
        self._payable_rows = min(int(params["limit"]), rows)
        return request.with_param("limit", str(self._payable_rows))

    def limit_sent(self, request: Request) -> int:
        """The `limit` that an answered request was sent with."""
        return self._payable_rows or int(dict(request.params)["limit"])

    def charge_lost(self, request: Request) -> str:
        params = dict(request.params)
        if self.limit is None or "limit" not in params:
            return ""
        charged = cost(int(params["limit"]))
        self.unconfirmed += charged
        if self._left >= charged:
            return ""
        return (
            f"Answers that did not arrive may have cost up to {self.unconfirmed:,} credits, and"
            " `kwery.max_credits_per_sync` does not allow another try."
        )

    def charge(self, response: Response, rows: int) -> None:
        """Note the cost of an answer with this many rows: as its headers report, else as documented."""
        reported = (response.headers.get(name, "") for name in ("X-Credits-Used", "X-Credits-Charged"))
        self.spent += next((int(text) for text in reported if text.isdecimal()), cost(rows))
        left = response.headers.get("X-Credits-Remaining", "")
        self.left_in_cycle = int(left) if left.isdecimal() else self.left_in_cycle

    def affordable_rows(self, page_size: int) -> int | None:
        """How many rows, in pages of this size, the credits left can pay for; None without a limit."""
        if self.limit is None:
            return None
        pages, rest = divmod(self._left, cost(page_size))
        return pages * page_size + max(0, rest - CREDITS_PER_REQUEST) // CREDITS_PER_ROW

    @property
    def _left(self) -> int:
        return max(0, (self.limit or 0) - self.spent - self.unconfirmed)


def cost(rows: int, requests: int = 1) -> int:
    return CREDITS_PER_REQUEST * requests + CREDITS_PER_ROW * rows


class AffordableWindows(Sizing):
    """Windows of a few pages that the credits left can pay for. `page_size` is the `limit` of their requests."""

    def __init__(self, credits: Credits) -> None:
        self._credits = credits
        self.page_size = LARGEST_LIMIT
        super().__init__(target_rows=ROWS_PER_WINDOW, step=STEP)

    def longest(self) -> int:
        """A first window that the credits can pay for, however many rows it has."""
        rows = self._credits.affordable_rows(self.page_size)
        if rows is None:
            return FIRST_WINDOW
        return min(FIRST_WINDOW, max(1, rows // MOST_ROWS_PER_SECOND) * timestamps.SECOND)

    def longest_lookback(self) -> int | None:
        """Otherwise a sync with a small limit would spend it all on the lookback, and could never make progress."""
        return None if self._credits.limit is None else self.longest() // 2

    def next_length(self, length: int, rows: int) -> int:
        longer = super().next_length(length, rows)
        affordable_rows = self._credits.affordable_rows(self.page_size)
        if affordable_rows is not None:
            # Credits for a window that is not finished are wasted: leave room for twice the expected rows.
            affordable = timestamps.floor_to(length * affordable_rows // (2 * max(1, rows)), STEP)
            longer = max(min(longer, affordable), self.longest())
        return longer

    def window_end(self, start: int, end: int) -> int:
        """Ends before the last minute, whose rows may still arrive, if the window may have a second page.

        A cursor that is an offset shifts if a row arrives before it. The next page would repeat a row, and that row
        would look like a second, identical liquidation.
        """
        settled = timestamps.floor_to(time.time_ns() - ROWS_SETTLE_AFTER, STEP)
        return min(end, max(settled, start + self.page_size * timestamps.SECOND))
