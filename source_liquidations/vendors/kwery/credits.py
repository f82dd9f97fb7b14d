"""Kwery: what a sync has spent and may spend in credits, `kwery.max_credits_per_sync`; and how long windows are, which
that pays for.

Page: https://kwery-api.com, "GET /v1/liquidations": a request costs credits, and so does each of its rows.
"""

import time

from source_liquidations import timestamps
from source_liquidations.errors import SpendingLimit
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Purse, Request
from source_liquidations.reading.endpoint import Sizing

LARGEST_LIMIT = 1000
STEP = timestamps.MILLISECOND  # times are sent in milliseconds

# Rows come in no documented order, so only a whole window can be checkpointed: what a crash repeats costs credits.
FIRST_WINDOW = timestamps.DAY
ROWS_WORTH_A_WINDOW = 4000
ROWS_ARE_SETTLED_AFTER = timestamps.MINUTE

CREDITS_PER_REQUEST = 25
CREDITS_PER_ROW = 2
MOST_ROWS_A_SECOND = 2  # the feed has one for each symbol, and now and then its twin


class Credits(Purse):
    """What this sync has spent and may still spend. With a limit, there is one request at a time."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.spent = 0
        self.left_in_cycle: int | None = None  # as the vendor says
        self.windows = 0  # read to their end
        self.assumed = 0  # for answers that did not arrive, but may have been charged
        self._granted = 0  # rows of the last request, where there is a limit

    def payable(self, request: Request) -> Request:
        """Holds a request to what this sync may spend. Raises SpendingLimit where that pays for no row."""
        params = dict(request.params)
        if self.most is None or "limit" not in params:  # no limit, or a free call
            return request
        affordable = (self._left - CREDITS_PER_REQUEST) // CREDITS_PER_ROW
        if affordable < 1:
            lost = f", and up to {self.assumed:,} on answers that did not arrive" if self.assumed else ""
            raise SpendingLimit(
                f"stopped before spending more than `kwery.max_credits_per_sync`: {self.spent:,} of {self.most:,}"
                f" credits are spent{lost}.",
                advice="Everything read so far is kept; the next sync goes on from there."
                if self.windows
                else "They did not pay for one whole window, so the next sync will begin where this one did: raise it.",
            )
        self._granted = min(int(params["limit"]), affordable)
        return with_param(request, "limit", str(self._granted))

    def rows_asked_for(self, request: Request) -> int:
        """The limit that an answered request was sent with."""
        return self._granted or int(dict(request.params)["limit"])

    def lost(self, request: Request) -> str:
        params = dict(request.params)
        if self.most is None or "limit" not in params:
            return ""
        charged = cost(int(params["limit"]))
        self.assumed += charged
        if self._left >= charged:
            return ""
        return (
            f"For answers that did not arrive, up to {self.assumed:,} credits may have been charged, and"
            " `kwery.max_credits_per_sync` allows no other try."
        )

    def charge(self, answered: Answered, rows: int) -> None:
        """Note what an answer of so many rows has cost: as it says, else as is documented."""
        told = (answered.headers.get(name, "") for name in ("X-Credits-Used", "X-Credits-Charged"))
        self.spent += next((int(text) for text in told if text.isdecimal()), cost(rows))
        left = answered.headers.get("X-Credits-Remaining", "")
        self.left_in_cycle = int(left) if left.isdecimal() else self.left_in_cycle

    def rows_left(self, page: int) -> int | None:
        """Rows, in pages of so many, that what is left pays for; None where there is no limit."""
        if self.most is None:
            return None
        pages, rest = divmod(self._left, cost(page))
        return pages * page + max(0, rest - CREDITS_PER_REQUEST) // CREDITS_PER_ROW

    @property
    def _left(self) -> int:
        return max(0, (self.most or 0) - self.spent - self.assumed)


def cost(rows: int, requests: int = 1) -> int:
    return CREDITS_PER_REQUEST * requests + CREDITS_PER_ROW * rows


def with_param(request: Request, name: str, value: str) -> Request:
    """The request with one parameter replaced, or added at the end."""
    params = dict(request.params) | {name: value}
    return Request(request.path, tuple(params.items()))


class Windows(Sizing):
    """Windows of a few pages, which what is left of the credits pays for; `limit` is the rows of a page."""

    def __init__(self, credits: Credits) -> None:
        self._credits = credits
        self.limit = LARGEST_LIMIT
        super().__init__(target_rows=ROWS_WORTH_A_WINDOW, step=STEP)

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
            affordable = timestamps.floor_to(length * payable // (2 * max(1, rows)), STEP)
            longer = max(min(longer, affordable), self.longest())
        return longer

    def window_end(self, start: int, end: int) -> int:
        """Apart from what may have a second page: the last minute, whose rows may still be on their way.

        A cursor that is an offset moves on where a row arrives before it: the next page would repeat a row, and that
        would look like a twin.
        """
        edge = timestamps.floor_to(time.time_ns() - ROWS_ARE_SETTLED_AFTER, STEP)
        return min(end, max(edge, start + self.limit * timestamps.SECOND))
