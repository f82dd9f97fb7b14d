"""How far back a key may read, where the vendor's data go further back."""

from collections.abc import Sequence

from source_liquidations import timestamps

# How exactly the first instant is found. Data at the edge of a rolling history are about to be deleted anyway.
_PRECISION = timestamps.MINUTE
# A key that is refused a window this close to the end of the sync may have no access at all.
_NEWEST = timestamps.DAY
# This many pages without a row confirm that the whole sync lies before the stated limit.
_MAX_EMPTY_PAGES = 100


class Reach:
    """The first instant that a key may read: stated by the vendor, or found by halving.

    If the vendor refuses what is too old, the next request begins halfway between the latest refused and the earliest
    granted instant, until they almost meet. Each granted request returns rows that are needed anyway.

    stated      the first instant, if known before the first request. It counts back from now by this machine's clock,
                which may be wrong. So even if it leaves nothing to read, requests are sent, and rows decide
    refused_at  the latest start of a window that was refused as too old
    refusal     the vendor's words for it
    granted_at  the earliest start of a window that was granted since; at first, the end of the sync
    any_granted whether any request was granted
    """

    def __init__(self, stated: int | None, *, refuses_old: bool, step: int, end: int) -> None:
        self.stated = stated
        self.refused_at: int | None = None
        self.granted_at = end
        self.refusal = ""
        self.any_granted = False
        self._refuses_old = refuses_old
        self._step = max(step, _PRECISION)
        self._end = end
        self._probe_start: int | None = None
        self._previous_limit: int | None = None  # as found before the history rolled on
        self._empty_pages = 0

    @property
    def first_available(self) -> int | None:
        """Nothing before this instant is available; None while no limit is known."""
        return self.stated if self.refused_at is None else min(self.granted_at, self.refused_at + self._step)

    @property
    def is_doubtful(self) -> bool:
        """Whether the stated limit leaves nothing to read: only rows can prove it wrong."""
        return self.refused_at is None and self._limit_leaves_nothing

    @property
    def _limit_leaves_nothing(self) -> bool:
        return self.stated is not None and self.stated >= self._end

    def next_start(self, start: int, end: int, *, is_older: bool) -> int | None:
        """Where the next window of [start, end) begins; `end` if nothing is available; None during another probe.

        `is_older`: earlier syncs have read from `end` on, probably as far back as they could. Then a request for the
        newest step shows whether the key reaches further now.
        """
        if self.is_doubtful:  # rows may prove otherwise
            return start if self._empty_pages < _MAX_EMPTY_PAGES else end
        limit, first = self.first_available, start
        if limit is not None and (self.refused_at is None or start <= self.refused_at):
            first = max(start, limit)
        if first >= end:
            return end
        if is_older and self._refuses_old and self.stated is None and self.granted_at > end:
            probe = max(first, end - self._step)
        elif self.refused_at is not None and start <= self.refused_at and self.granted_at > first:
            middle = self.refused_at + (min(self.granted_at, end) - self.refused_at) // 2
            nearby = self.stated if self._previous_limit is None else self._previous_limit
            if nearby is not None and nearby <= self.refused_at:  # it has rolled on while requests waited
                middle = min(middle, self.refused_at + (self.refused_at - nearby) + self._step)
            probe = max(middle - middle % self._step, first)
        else:
            return first
        if self._probe_start is not None:
            return None
        self._probe_start = probe
        return probe

    def note_rows(self, instants: Sequence[int]) -> None:
        """Note the times of a page's rows. Rows before the stated limit prove it wrong."""
        self._empty_pages += not instants
        if self.stated is not None and instants and min(instants) < self.stated - self._step:
            self.stated = None

    def was_granted(self, start: int) -> None:
        """A request for a window that begins at `start` was answered."""
        self.granted_at = min(self.granted_at, start)
        self.any_granted = True

    def may_read_nothing(self, start: int) -> bool:
        """Whether the refusal of a window that begins at `start` may mean that the key has no access at all."""
        is_new = self._end - start <= max(_NEWEST, self._step)
        return is_new and not (self.any_granted or self._limit_leaves_nothing)

    def was_refused(self, start: int, refusal: str) -> None:
        """A request for a window that begins at `start` was refused as too old."""
        self.refused_at = start if self.refused_at is None else max(self.refused_at, start)
        if self.granted_at <= self.refused_at:  # the history has rolled on during the sync
            self._previous_limit, self.granted_at = self.granted_at, self._end
        self.refusal = refusal
        if self.stated is not None and self.stated >= self._end and self._end - start <= self._step:
            self.refused_at = self.granted_at = self.stated  # the whole sync lies before the limit

    def request_ended(self, start: int) -> None:
        """The request for a window that begins at `start` has ended, whether it succeeded or not."""
        if self._probe_start == start:
            self._probe_start = None
