"""Gaps and windows: what has to be read of some partitions, and the part of it that is being read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import NotAdvancing, UnexpectedAnswer
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.pages import Covered, Output
from source_liquidations.reading.paging import MOST_RESTARTS, Order, Pages
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Rows
from source_liquidations.reading.slices import EVER, NEVER, Slice

_PAGES_WORTH_A_CUT = 6.0
_FAR = timestamps.DAY  # rows at a bound that the vendor rounds are left out; whole pages further away are no answer


class Window:
    """[start, end) of a gap, read by following pages from its first request. It keeps its own books.

    asked      what its first request asks for: in whole steps
    reserved   its next request has its place in the budget
    """

    def __init__(self, gap: Gap, start: int, end: int) -> None:
        endpoint = gap.reading.endpoint
        self.gap = gap
        self.start = start
        self.end = end
        floor, ceiling = timestamps.floor_to(start, endpoint.step), timestamps.ceil_to(end, endpoint.step)
        self.asked = Span(gap.partitions, floor, ceiling)
        self.pages = Pages()
        self.order = Order(endpoint.ascending, len(gap.partitions))
        self.memory: dict[Any, Any] = {}  # the endpoint's, from page to page
        self.reserved = False
        self._pages_at_cut = 0
        self._held: dict[tuple[Output, int], int] = {}  # by output and partition: nothing counts from here on

    @property
    def finished(self) -> bool:
        return self.pages.count > 0 and self.pages.next_request is None

    def request(self) -> Request:
        return self.pages.next_request or self.gap.reading.endpoint.first_request(self.asked)

    def accept(self, request: Request, answer: Answer) -> tuple[Rows, dict[int, Slice]]:
        """The page's rows that are the window's, and by partition the slice that is whole with them.

        Raises NotAdvancing, or UnexpectedAnswer for rows of another time.
        """
        self.pages.accept(request, answer)
        rows = self._asked_for(answer.rows)
        if self.order.accept(rows, self.end, self.gap.reading.endpoint.vendor):
            self.pages.next_request = None  # all that follows is behind the window
        self.gap.note(self, answer)
        if answer.readable_range[1] is not None:
            for output in self.gap.outputs:
                self.hold(output, range(len(self.gap.partitions)), answer.readable_range[1])
        everything = dict.fromkeys(range(len(self.gap.partitions)), self.end)
        reached = everything if self.finished and answer.problem is None else self.order.reached
        whole = {index: (self.start, min(instant, self.end)) for index, instant in reached.items()}
        return rows.between(EVER, self.end), whole

    def _asked_for(self, rows: Rows) -> Rows:
        """The rows of the time asked for. Others are not lost: the window that they belong to brings them."""
        reading, instants = self.gap.reading, rows.instants
        reading.note_phase(instants)
        reading.reach.note_rows(instants)
        # An interval that began earlier and reaches into the window belongs to it; events have no length.
        begins = self.asked.start - reading.endpoint.misalignment
        if instants and (rows.latest < begins - _FAR or rows.earliest > self.asked.end + _FAR):
            raise UnexpectedAnswer(
                f"a page with rows far outside the time asked for, such as {timestamps.format_shortest(instants[0])}.",
                advice=NotAdvancing.usual_advice,
            )
        reading.strays += len(instants) - len(rows.between(begins, self.asked.end).instants)
        return rows.between(begins if reading.is_aggregate else self.start, min(self.asked.end, reading.end))

    def hold(self, output: Output, owners: Iterable[int], instant: int) -> None:
        """What is lacking of these partitions: from there on, nothing of the window counts as read."""
        self._held |= {(output, one): min(instant, self._held.get((output, one), instant)) for one in owners}

    def covered(self, output: Output, index: int, part: Slice) -> Covered:
        """What a page's block covers of a partition: no more than the key may read, and nothing that may change."""
        reading, partition = self.gap.reading, self.gap.partitions[index]
        since = EVER if reading.reach.is_doubtful else reading.first_available(partition)
        until = min(reading.settled, part[1], self._held.get((output, index), part[1]))
        return Covered(output.state_partition(partition), (max(since, part[0]), until), since)

    def left(self) -> dict[int, int]:
        """By partition: from where on it has not come.

        Of one alone, a page may have gone past the end before the window was over: late rows may follow.
        """
        count = len(self.gap.partitions)
        latest = self.end if count > 1 else self.end - self.gap.reading.endpoint.step
        reached = (self.order.reached.get(index, self.start) for index in range(count))
        return {index: max(self.start, min(instant, latest)) for index, instant in enumerate(reached)}

    def parts(self) -> list[tuple[list[int], int]]:
        """What is left of it: the partitions that stand at one instant, and that instant."""
        left = self.left()
        return [([index for index in left if left[index] == start], start) for start in sorted(set(left.values()))]

    def can_ask_for(self, indices: Sequence[int]) -> bool:
        """Whether these partitions are fewer than all, and make another request."""
        some = tuple(self.gap.partitions[index] for index in indices)
        endpoint = self.gap.reading.endpoint
        if some == self.gap.partitions:
            return False
        return endpoint.first_request(replace(self.asked, partitions=some)) != endpoint.first_request(self.asked)

    @property
    def pages_left(self) -> float:
        """Estimated from the pages so far and the time that they cover."""
        covered = self.order.reached.get(0, self.start) - self.start
        return self.pages.count / covered * (self.end - self.start - covered) if covered > 0 else 0.0

    def is_worth_a_cut(self) -> bool:
        """Whether another worker may take the later half of what is left, and it is worth a request.

        Only after the window has read pages of its own: how many are left is a guess, wrong where rows are few after a
        busy time. Each window that turns out empty doubles the pages that the next cut takes.
        """
        return (
            self.order.ascending
            and not self.finished
            and len(self.gap.partitions) == 1
            and self.gap.may_cut(self.pages.count - self._pages_at_cut)
            and self.pages_left >= _PAGES_WORTH_A_CUT
        )

    def cut(self) -> bool:
        """Give the later half of what is left back to the gap, unless it is too small. Not while a page is taken."""
        reached = self.order.reached.get(0, self.start)
        middle = timestamps.floor_to(reached + (self.end - reached) // 2, self.gap.reading.endpoint.step)
        if not reached < middle < self.end:
            return False
        self.gap.ranges.append((middle, self.end))
        self.gap.cuts_left -= 1
        self.end = middle
        self._pages_at_cut = self.pages.count
        return True


@dataclass(eq=False)
class Gap:
    """What has to be read of some partitions for some streams, and what is known of its windows.

    outputs     until rows of one cannot be made: then only the others
    ranges      what no window is open for, the newest last: it comes first
    length      of the next window
    under_way   its windows that are open
    """

    reading: Reading
    partitions: tuple[Partition, ...]
    outputs: tuple[Output, ...]
    ranges: list[Slice]
    cuts_left: int = 0
    length: int = 0
    under_way: list[Window] = field(default_factory=list)
    failed: bool = False
    _misses: int = 0  # windows without rows
    _proven: bool = False  # a window was read to its end
    _followed: bool = False  # a page token has led to another page
    _restarts: int = 0

    def __post_init__(self) -> None:
        # What ends here or before it is older than something that was read, now or by a sync before.
        start, end = self.ranges[-1]
        self._newest = start if end >= self.reading.end else end

    @property
    def is_ready(self) -> bool:
        """Whether another window may be opened.

        Until one was read, the vendor may find them all too large; and some endpoints have one at a time.
        """
        if self.failed or not self.ranges:
            return False
        return not self.under_way or (self._proven and self.reading.endpoint.splittable)

    @property
    def is_open(self) -> bool:
        """Whether some of it has not been read, or never will be."""
        return bool(self.ranges or self.under_way)

    @property
    def ended(self) -> bool:
        return self.failed or not self.is_open

    def open(self) -> Window | None:
        """The next window; None where nothing more is available, and while what there is waits for a probe."""
        sizing, reach = self.reading.endpoint.sizing, self.reading.reach
        if not self.length:  # by what is left to be spent now, not when it was planned
            self.length = sizing.longest() or max(1, self.ranges[-1][1] - self.ranges[0][0])
        while self.ranges:
            start, end = self.ranges[-1]
            is_older = end <= self._newest
            since = max(start, self.reading.readable_range_of(self.partitions[0])[0]) if is_older else start
            begin = reach.next_start(since, end, is_older=is_older) if since < end else end
            if begin is None:
                return None
            self.ranges.pop()
            if begin == end:
                continue
            until = sizing.window_end(begin, min(begin + self.length, end))
            if until < end:  # at a whole step, which no two windows share
                until = timestamps.floor_to(until, self.reading.endpoint.step)
            self.ranges += [rest for rest in ((start, begin), (until, end)) if rest[0] < rest[1]]
            window = Window(self, begin, until)
            self.under_way.append(window)
            return window
        return None

    def note(self, window: Window, answer: Answer) -> None:
        """What a page of one of its windows says."""
        self._followed = self._followed or window.pages.count > 1
        since, until = answer.readable_range
        self.reading.readable_ranges |= dict.fromkeys(self.partitions, (since or EVER, until or NEVER))
        if any(instant > window.start for instant in window.order.reached.values()):
            self._restarts = 0

    def close(self, window: Window) -> None:
        """A window was read to its end."""
        self.under_way.remove(window)
        self._proven = True
        self._misses += not window.pages.rows
        sizing = self.reading.endpoint.sizing
        self.length = max(1, sizing.next_length(self.length, window.pages.rows))

    def give_back(self, window: Window, start: int) -> None:
        """A window ends early: what is left of it goes back to the gap."""
        self.under_way.remove(window)
        end = window.end
        if self.ranges and self.ranges[-1][0] == end:
            end = self.ranges.pop()[1]
        self.ranges.append((start, end))

    def halve(self, window: Window) -> bool:
        """The vendor finds a window too large: read it in smaller ones. False where it cannot be made smaller."""
        step, asked = self.reading.endpoint.step, window.asked.end - window.asked.start
        half = max(step, timestamps.floor_to(asked // 2, step))
        if half >= asked:
            return False
        self.length = min(self.length, half)
        self.give_back(window, window.start)
        return True

    def restart(self) -> bool:
        """A page token was refused. Whether to continue with a new request."""
        self._restarts += 1
        return self._restarts <= MOST_RESTARTS

    def may_cut(self, pages: int) -> bool:
        return self.cuts_left > 0 and not self.failed and self._followed and pages >= 2**self._misses

    def split(self, window: Window, parts: Sequence[tuple[Sequence[int], int]]) -> list[Gap]:
        """Gaps in the place of a window and of what none is open for: some of its partitions each, from an instant on.

        Its other windows go on.
        """
        rest = list(self.ranges)
        self.ranges.clear()
        self.under_way.remove(window)
        gaps = []
        for indices, start in parts:
            partitions = tuple(self.partitions[index] for index in indices)
            ranges = [*rest, (start, window.end)] if start < window.end else list(rest)
            if ranges:
                gaps.append(
                    Gap(self.reading, partitions, self.outputs, ranges, self.cuts_left, _restarts=self._restarts)
                )
        self.reading.gaps += gaps
        return gaps
