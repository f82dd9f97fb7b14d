"""How far back a key reaches, where the vendor has more than the key may read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from source_liquidations import timestamps
from source_liquidations.reading.slices import Slice

logger = logging.getLogger("airbyte")

# Found to within this: what lies at the very edge of a rolling history is about to go.
_PRECISION = timestamps.MINUTE
# A key that may not even read the newest day is refused altogether.
_NEWEST = timestamps.DAY


class Waits(Exception):
    """Nothing can be requested until the answer to a probe says more."""


class Reach:
    """The first instant that a key may read: known beforehand, or found by halvings.

    A vendor that refuses what is too old is asked in the middle between what it has refused and what it has granted,
    until the two are as good as equal. Each granted request brings its rows, so none is wasted.

    known     the first instant, where it is known beforehand. It counts back from now, by this machine's clock. So
              where nothing at all would be left to read, the vendor is asked nevertheless, and its rows decide
    refused   the latest instant from which a request was refused as too old
    granted   the earliest instant from which a request was granted since; at first, the end of the sync
    """

    def __init__(self, vendor: str, known: int | None, *, refuses_old: bool, step: int, end: int) -> None:
        self.knows(known)
        self.refused: int | None = None
        self.granted = end
        self._dropped: Slice | None = None
        self._words = ""
        self._vendor = vendor
        self._refuses_old = refuses_old
        self._step = max(step, _PRECISION)
        self._end = end
        self._probe: int | None = None

    def knows(self, first: int | None) -> None:
        """The first available instant, where it is known beforehand; None where it is not."""
        self.known = first

    @property
    def since(self) -> int | None:
        """The first available instant; None where no limit is known (yet)."""
        if self.refused is None:
            return self.known
        return self.granted if self.granted - self.refused <= self._step else None

    @property
    def is_doubtful(self) -> bool:
        """Whether all that is asked for lies behind the known limit: only rows that come can prove it wrong."""
        return self.refused is None and self.known is not None and self.known >= self._end

    @property
    def cut_off(self) -> Slice | None:
        """[wanted, first): what was asked for and is not available; None where everything is."""
        if self._dropped is None:
            return None
        wanted, first = self._dropped
        return wanted, self.since or first

    def tell(self) -> None:
        """Warn, at the end of a reading, of what could not be had."""
        if self.cut_off is not None:
            logger.warning(
                "%s: data reach back to %s, and nothing older is read.%s",
                self._vendor,
                timestamps.format_shortest(self.cut_off[1]),
                f" ({self._words})" if self._words else "",
            )

    def part_of(self, start: int, end: int, *, is_older: bool) -> Slice | None:
        """What to request next of [start, end): it, its later part, or None where nothing of it is available.

        `is_older` says that earlier syncs have read from `end` on, probably as far back as they could: then its newest
        step shows whether the key reaches further now. Raises Waits while a probe is under way.
        """
        if self.is_doubtful:
            self._cut(start, end, end)  # unless rows show otherwise
            return (start, end)
        if self.refused is None and self.known is None:
            is_probe = self._refuses_old and is_older and self.granted > end
            return (max(start, end - self._step) if is_probe else start, end)
        if self.refused is not None and start > self.refused:
            return (start, end)
        if self.since is not None:
            return self._cut(start, end, self.since)
        assert self.refused is not None
        if end - self.refused <= self._step:
            return self._cut(start, end, end)
        if self._probe is not None:
            raise Waits
        middle = self.refused + (min(self.granted, end) - self.refused) // 2
        self._probe = max(middle - middle % self._step, self.refused + self._step)
        return (self._probe, end)

    def _cut(self, start: int, end: int, since: int) -> Slice | None:
        if start >= since:
            return (start, end)
        wanted, first = self._dropped or (start, since)
        self._dropped = (min(start, wanted), max(since, first))
        return (since, end) if since < end else None

    def saw(self, instants: Sequence[int]) -> None:
        """Rows of these times came, so a limit that lies after them was wrong."""
        if self.known is not None and instants and min(instants) < self.known - self._step:
            self.known = self._dropped = None

    def was_granted(self, start: int) -> None:
        """A request for a window that begins at `start` was answered."""
        self.granted = min(self.granted, start)
        self.forget(start)

    def was_refused(self, start: int, words: str) -> bool:
        """A request for a window that begins at `start` was refused as too old. Whether that is no failure."""
        self.refused = start if self.refused is None else max(self.refused, start)
        if self.granted <= self.refused:  # the history rolls on while it is read
            self.granted = self._end
        self._words = words
        self.forget(start)
        if self._end - start > (_NEWEST if self.known is None else self._step):
            return True
        if self.known is None or self.known < self._end:
            return False
        self.refused = self.granted = self.known  # all that is asked for lies behind the limit, and the vendor agrees
        return True

    def forget(self, start: int) -> None:
        """The request for a window that begins at `start` is over, whether it succeeded or not."""
        if self._probe == start:
            self._probe = None
