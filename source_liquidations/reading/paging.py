"""Guards on the pages of a window: they must not repeat, and their order shows what is complete."""

from dataclasses import dataclass, field
from itertools import groupby

from source_liquidations.errors import LiquidationsError, NotAdvancing, VendorUnavailable
from source_liquidations.http.client import Request
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Answer
from source_liquidations.reading.rows import Rows

MAX_RESTARTS = 2  # after refused page tokens, without a new row
_MAX_EMPTY_PAGES = 20  # in a row
_MAX_REPEATS = 20  # of a page whose rows are all equal


def tokens_refused(error: LiquidationsError) -> VendorUnavailable:
    """The error for a refused page token after the last restart."""
    cause = f"page tokens are refused again and again, although they are used at once: {error.cause}"
    return VendorUnavailable(cause, advice=NotAdvancing.default_advice)


@dataclass
class Pages:
    """The pages of one window: their count, the next request, and a guard against an endless chain.

    next_request    None before the first page and after the last
    """

    count: int = 0
    next_request: Request | None = None
    rows: int = 0
    _seen: set[int] = field(default_factory=set)  # hashes of pages and of their next requests
    _repeats: int = 0  # of pages whose rows are all equal, which may be different liquidations
    _empty: int = 0  # pages in a row

    def accept(self, request: Request, answer: Answer) -> None:
        """Count a page. Raises NotAdvancing if it repeats an earlier one, or if the chain of pages seems endless."""
        self.count += 1
        self.rows += len(answer.rows)
        self.next_request = answer.next_request
        raw = answer.rows.raw
        request_hash = hash(answer.next_request)
        page_hash = hash((len(raw), bytes(raw[0]), bytes(raw[-1]))) if len(raw) else 0
        if answer.next_request == request or request_hash in self._seen:
            raise NotAdvancing("a page repeats its page token; the sync would never end.")
        if page_hash and page_hash in self._seen:
            self._repeats += 1
            if len(set(map(bytes, raw))) > 1 or self._repeats > _MAX_REPEATS:
                raise NotAdvancing("a page repeats the rows of an earlier one; the sync would never end, or lack rows.")
        if answer.next_request is None:
            return
        self._seen.update((request_hash, page_hash))
        self._empty = 0 if len(raw) or answer.pages_are_known else self._empty + 1
        if self._empty >= _MAX_EMPTY_PAGES:
            raise NotAdvancing(f"{_MAX_EMPTY_PAGES} empty pages in a row, each with a token for more.")


@dataclass
class Order:
    """Whether rows come in ascending time (by partition if rows have owners), and so what is complete.

    reached     by partition index: all rows before this instant have arrived. Partitions without rows so far are
                absent; so are all of them once rows are out of order
    """

    ascending: bool
    partitions: int = 1
    reached: dict[int, int] = field(default_factory=dict)
    _last_owner: int = -1

    def accept(self, rows: Rows, end: int, vendor: str) -> bool:
        """Note a page's rows. Whether the next pages can only hold rows after `end`, the window's end.

        A late-arriving row may follow newer ones, so the page must begin after the end, not just reach it.
        """
        if not self.ascending or not rows.instants:
            return False
        if not self._continues(rows):
            self.ascending = False
            self.reached.clear()
            logger.warning("%s: rows are out of order: this window is checkpointed only at its end", vendor)
            return False
        if rows.owners is None:
            self.reached = dict.fromkeys(range(self.partitions), rows.instants[-1])
            return rows.instants[0] >= end
        # Rows are ordered by (partition, time): all partitions but the last are complete.
        self.reached |= dict.fromkeys({*self.reached, *rows.owners}, end)
        self._last_owner = rows.owners[-1]
        self.reached[self._last_owner] = rows.instants[-1]
        return False

    def _continues(self, rows: Rows) -> bool:
        """Whether the page continues the order of the last one: by time, or by (partition, time)."""
        if rows.owners is None:
            first = rows.instants[0]
            return self.reached.get(0, first) <= first and rows.instants == sorted(rows.instants)
        turns = [owner for owner, _ in groupby(rows.owners)]
        if len(set(turns)) != len(turns) or (self.reached.keys() - {self._last_owner}) & set(turns):
            return False
        rank = {owner: turn for turn, owner in enumerate(turns)}
        keys = [(rank[owner], instant) for owner, instant in zip(rows.owners, rows.instants)]  # noqa: B905 - equal lengths
        return keys == sorted(keys)
