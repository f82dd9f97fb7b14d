"""How far back a key reaches, where the vendor has more than the key may read."""

from collections.abc import Sequence

from source_liquidations import timestamps

# Found to within this: what lies at the very edge of a rolling history is about to go.
_PRECISION = timestamps.MINUTE
# A key that is refused so little of what is asked for may be refused altogether.
_NEWEST = timestamps.DAY
# So many pages without a row confirm that all that is asked for lies behind a known limit.
_MOST_EMPTY_PAGES = 100


class Reach:
    """The first instant that a key may read: known beforehand, or found by halvings.

    A vendor that refuses what is too old is asked in the middle between what it has refused and what it has granted,
    until the two are as good as equal. Each granted request brings its rows, so none is wasted.

    known     the first instant, where it is known beforehand. It counts back from now, by this machine's clock. So
              where nothing at all would be left to read, the vendor is asked nevertheless, and its rows decide
    refused   the latest instant from which a request was refused as too old
    words     what the vendor said of that
    granted   the earliest instant from which a request was granted since; at first, the end of the sync
    is_some   the key may read something: it was granted a request
    """

    def __init__(self, known: int | None, *, refuses_old: bool, step: int, end: int) -> None:
        self.known = known
        self.refused: int | None = None
        self.granted = end
        self.words = ""
        self.is_some = False
        self._refuses_old = refuses_old
        self._step = max(step, _PRECISION)
        self._end = end
        self._probe: int | None = None
        self._edge: int | None = None  # where the limit was found to lie, before it rolled on
        self._empty_pages = 0

    @property
    def since(self) -> int | None:
        """Nothing before this instant is available; None where no limit is known (yet)."""
        return self.known if self.refused is None else min(self.granted, self.refused + self._step)

    @property
    def is_doubtful(self) -> bool:
        """Whether all that is asked for lies behind the known limit: only rows that come can prove it wrong."""
        return self.refused is None and self.known is not None and self.known >= self._end

    def begin_of(self, start: int, end: int, *, is_older: bool) -> int | None:
        """From when on to request [start, end) next: `end` where nothing of it is available; None while a probe tells.

        `is_older` says that earlier syncs have read from `end` on, probably as far back as they could: then its newest
        step shows whether the key reaches further now.
        """
        if self.is_doubtful:  # rows may show otherwise
            return start if self._empty_pages < _MOST_EMPTY_PAGES else end
        since, first = self.since, start
        if since is not None and (self.refused is None or start <= self.refused):
            first = max(start, since)
        if first >= end:
            return end
        if is_older and self._refuses_old and self.known is None and self.granted > end:
            probe = max(first, end - self._step)
        elif self.refused is not None and start <= self.refused and self.granted > first:
            middle = self.refused + (min(self.granted, end) - self.refused) // 2
            edge = self.known if self._edge is None else self._edge
            if edge is not None and edge <= self.refused:  # the limit is near: it rolls on while requests wait
                middle = min(middle, self.refused + (self.refused - edge) + self._step)
            probe = max(middle - middle % self._step, first)
        else:
            return first
        if self._probe is not None:
            return None
        self._probe = probe
        return probe

    def saw(self, instants: Sequence[int]) -> None:
        """A page had rows of these times: a limit that lies after them was wrong."""
        self._empty_pages += not instants
        if self.known is not None and instants and min(instants) < self.known - self._step:
            self.known = None

    def was_granted(self, start: int) -> None:
        """A request for a window that begins at `start` was answered."""
        self.granted = min(self.granted, start)
        self.is_some = True

    def may_be_none(self, start: int) -> bool:
        """Whether the key may be refused altogether, as a window that begins at `start` is refused."""
        is_older = self.known is not None and self.known >= self._end  # than the known limit
        return not (self.is_some or is_older) and self._end - start <= max(_NEWEST, self._step)

    def was_refused(self, start: int, words: str) -> None:
        """A request for a window that begins at `start` was refused as too old."""
        self.refused = start if self.refused is None else max(self.refused, start)
        if self.granted <= self.refused:  # the history rolls on while it is read
            self._edge, self.granted = self.granted, self._end
        self.words = words
        if self.known is not None and self.known >= self._end and self._end - start <= self._step:
            self.refused = self.granted = self.known  # all that is asked for lies behind the limit

    def ended(self, start: int) -> None:
        """The request for a window that begins at `start` is over, whatever has become of it."""
        if self._probe == start:
            self._probe = None
