"""What pages must not do, and what their order says: two small parts of a window."""

from dataclasses import dataclass, field
from itertools import groupby

from source_liquidations.errors import LiquidationsError, NotAdvancing, VendorUnavailable
from source_liquidations.http.client import Request
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Answer
from source_liquidations.reading.rows import Rows

MAX_RESTARTS = 2  # where page tokens are refused, without a row more
_EMPTY_PAGES_IN_A_ROW = 20
_REPEATS_OF_TWINS = 20


def tokens_refused(error: LiquidationsError) -> VendorUnavailable:
    """What becomes of a refused page token once there are no more restarts."""
    return VendorUnavailable(
        f"page tokens are refused again and again, though used at once: {error.cause}",
        advice=NotAdvancing.default_advice,
    )


@dataclass
class Pages:
    """The pages of one window: how many, what comes next, and whether that would ever end.

    next_request   the request of the next page; None before the first and after the last
    """

    count: int = 0
    next_request: Request | None = None
    rows: int = 0
    _marks: set[int] = field(default_factory=set)
    _repeats: int = 0  # of a page whose rows are all alike: twins, if there are few
    _empty: int = 0

    def accept(self, request: Request, answer: Answer) -> None:
        """Count a page. Raises NotAdvancing where it repeats an earlier one, or its token would never end."""
        self.count += 1
        self.rows += len(answer.rows)
        self.next_request = answer.next_request
        raw = answer.rows.raw
        token_mark = hash(answer.next_request)
        page_mark = hash((len(raw), bytes(raw[0]), bytes(raw[-1]))) if len(raw) else 0
        if answer.next_request == request or token_mark in self._marks:
            raise NotAdvancing("a page repeats its continuation token; the sync would never end.")
        if page_mark and page_mark in self._marks:
            self._repeats += 1
            if len(set(map(bytes, raw))) > 1 or self._repeats > _REPEATS_OF_TWINS:
                raise NotAdvancing("a page repeats the rows of an earlier one; the sync would never end, or lack rows.")
        if answer.next_request is None:
            return
        self._marks.update((token_mark, page_mark))
        self._empty = 0 if len(raw) or answer.pages_are_known else self._empty + 1
        if self._empty >= _EMPTY_PAGES_IN_A_ROW:
            raise NotAdvancing(f"{_EMPTY_PAGES_IN_A_ROW} empty pages in a row, each with a token for more.")


@dataclass
class Order:
    """Whether rows come in ascending time, by partition where rows have owners; and so what is complete.

    reached   by partition index: everything of it before this instant has come. One that is not in here has begun
              nowhere; all of them are behind where rows come in no order
    """

    ascending: bool
    partitions: int = 1
    reached: dict[int, int] = field(default_factory=dict)
    _last_owner: int = -1

    def accept(self, rows: Rows, end: int, vendor: str) -> bool:
        """Take a page's rows of a window that ends at `end`. Whether the next page can only be past that end.

        A late row may stand behind others, so only a page that begins past the end is behind the window.
        """
        if not self.ascending or not rows.instants:
            return False
        if not self._goes_on(rows):
            self.ascending = False
            self.reached.clear()
            logger.warning("%s: rows out of order: this window is checkpointed only at its end", vendor)
            return False
        if rows.owners is None:
            self.reached = dict.fromkeys(range(self.partitions), rows.instants[-1])
            return rows.instants[0] >= end
        # Ordered by (partition, time): what another partition has followed is complete; of the last, rows may come.
        self.reached |= dict.fromkeys({*self.reached, *rows.owners}, end)
        self._last_owner = rows.owners[-1]
        self.reached[self._last_owner] = rows.instants[-1]
        return False

    def _goes_on(self, rows: Rows) -> bool:
        """Whether the page goes on where the last one ended: in time, or by (partition, time)."""
        if rows.owners is None:
            first = rows.instants[0]
            return self.reached.get(0, first) <= first and rows.instants == sorted(rows.instants)
        turns = [owner for owner, _ in groupby(rows.owners)]
        if len(set(turns)) != len(turns) or (self.reached.keys() - {self._last_owner}) & set(turns):
            return False
        rank = {owner: turn for turn, owner in enumerate(turns)}
        keys = [(rank[owner], instant) for owner, instant in zip(rows.owners, rows.instants)]  # noqa: B905 - equal lengths
        return keys == sorted(keys)
