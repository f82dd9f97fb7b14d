"""Gaps and windows: the time ranges to read of some partitions, and the parts of them that are being read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import NotAdvancing, UnexpectedAnswer
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.pages import Covered, Output
from source_liquidations.reading.paging import MAX_RESTARTS, Order, Pages
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Rows
from source_liquidations.reading.slices import EVER, NEVER, Slice

_PAGES_WORTH_A_CUT = 6.0
_MAX_PAGE_DISTANCE = timestamps.DAY  # rows just outside are normal: some vendors round the bounds


class Window:
    """The part [start, end) of a gap that one chain of pages reads.

    span        what its first request reads: [start, end) in whole steps
    memory      the endpoint's, from page to page
    reserved    its next request has a place in the vendor's budget
    """

    def __init__(self, gap: Gap, start: int, end: int) -> None:
        endpoint = gap.reading.endpoint
        self.gap = gap
        self.start = start
        self.end = end
        floor, ceiling = timestamps.floor_to(start, endpoint.step), timestamps.ceil_to(end, endpoint.step)
        self.span = Span(gap.partitions, floor, ceiling)
        self.pages = Pages()
        self.order = Order(endpoint.ascending, len(gap.partitions))
        self.memory: dict[Any, Any] = {}
        self.reserved = False
        self._pages_at_cut = 0
        self._withheld_from: dict[tuple[Output, int], int] = {}  # by output and partition: nothing counts as read

    @property
    def finished(self) -> bool:
        return self.pages.count > 0 and self.pages.next_request is None

    def request(self) -> Request:
        return self.pages.next_request or self.gap.reading.endpoint.first_request(self.span)

    def accept(self, request: Request, answer: Answer) -> tuple[Rows, dict[int, Slice]]:
        """The page's rows that belong to the window, and by partition the slice that is complete with them.

        Raises NotAdvancing, or UnexpectedAnswer if the rows are of another time.
        """
        self.pages.accept(request, answer)
        rows = self._within_span(answer.rows)
        if self.order.accept(rows, self.end, self.gap.reading.endpoint.vendor):
            self.pages.next_request = None  # its rows would lie after the window
        self.gap.note_answer(self, answer)
        if answer.readable_range[1] is not None:
            for output in self.gap.outputs:
                self.withhold(output, range(len(self.gap.partitions)), answer.readable_range[1])
        everything = dict.fromkeys(range(len(self.gap.partitions)), self.end)
        reached = everything if self.finished and answer.problem is None else self.order.reached
        completed = {index: (self.start, min(instant, self.end)) for index, instant in reached.items()}
        return rows.between(EVER, self.end), completed

    def _within_span(self, rows: Rows) -> Rows:
        """The rows within the requested time. Others are not lost: the windows that they belong to read them."""
        reading, instants = self.gap.reading, rows.instants
        reading.note_phase(instants)
        reading.reach.note_rows(instants)
        # An interval that began earlier but ends in the window belongs to it. Events have no length.
        begins = self.span.start - reading.endpoint.misalignment
        if instants and max(begins - rows.latest, rows.earliest - self.span.end) > _MAX_PAGE_DISTANCE:
            raise UnexpectedAnswer(
                f"a page has rows far outside the requested time, such as {timestamps.format_shortest(instants[0])}.",
                advice=NotAdvancing.default_advice,
            )
        reading.rows_outside += len(instants) - len(rows.between(begins, self.span.end).instants)
        return rows.between(begins if reading.is_aggregate else self.start, min(self.span.end, reading.end))

    def withhold(self, output: Output, owners: Iterable[int], instant: int) -> None:
        """Rows of these partitions are missing: from `instant` on, nothing of the window counts as read."""
        earliest = self._withheld_from
        earliest |= {(output, owner): min(instant, earliest.get((output, owner), instant)) for owner in owners}

    def covered(self, output: Output, index: int, part: Slice) -> Covered:
        """What a page's block covers of a partition: only what the key may read, and what can no longer change."""
        reading, partition = self.gap.reading, self.gap.partitions[index]
        first_available = EVER if reading.reach.is_doubtful else reading.first_available(partition)
        until = min(reading.settled_until, part[1], self._withheld_from.get((output, index), part[1]))
        return Covered(output.state_partition(partition), (max(first_available, part[0]), until), first_available)

    def unread_from(self) -> dict[int, int]:
        """By partition: the instant from which it is still to be read.

        It is never the end of a window with one partition: after a page that passes the end, late rows may follow.
        """
        count = len(self.gap.partitions)
        latest = self.end if count > 1 else self.end - self.gap.reading.endpoint.step
        reached = (self.order.reached.get(index, self.start) for index in range(count))
        return {index: max(self.start, min(instant, latest)) for index, instant in enumerate(reached)}

    def unread_groups(self) -> list[tuple[list[int], int]]:
        """The partitions, grouped by the instant from which they are still to be read."""
        starts = self.unread_from()
        return [([i for i in starts if starts[i] == start], start) for start in sorted(set(starts.values()))]

    def can_request(self, indices: Sequence[int]) -> bool:
        """Whether these are fewer than all partitions, and the endpoint can request them without the others."""
        some = tuple(self.gap.partitions[index] for index in indices)
        endpoint = self.gap.reading.endpoint
        if some == self.gap.partitions:
            return False
        return endpoint.first_request(replace(self.span, partitions=some)) != endpoint.first_request(self.span)

    @property
    def pages_left(self) -> float:
        """Estimated from the pages so far and the time that they cover."""
        covered = self.order.reached.get(0, self.start) - self.start
        return self.pages.count / covered * (self.end - self.start - covered) if covered > 0 else 0.0

    def is_worth_cutting(self) -> bool:
        """Whether another worker may take the later half of the unread time, and that is worth a request.

        `pages_left` is a guess, wrong if few rows follow a busy time. So the window must have read pages since the
        last cut, and each window that turns out empty doubles how many.
        """
        return (
            self.order.ascending
            and not self.finished
            and len(self.gap.partitions) == 1
            and self.gap.may_cut(self.pages.count - self._pages_at_cut)
            and self.pages_left >= _PAGES_WORTH_A_CUT
        )

    def cut(self) -> bool:
        """Give the later half of the unread time back to the gap. False if it is too small. Never during `accept`."""
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
    """The time ranges to read of some partitions for some streams, and the windows that read them.

    outputs     one whose rows cannot be made is removed
    ranges      what no open window reads yet. The last, and newest, is read first
    length      of the next window
    """

    reading: Reading
    partitions: tuple[Partition, ...]
    outputs: tuple[Output, ...]
    ranges: list[Slice]
    cuts_left: int = 0
    length: int = 0
    open_windows: list[Window] = field(default_factory=list)
    failed: bool = False
    _empty_windows: int = 0
    _any_window_completed: bool = False
    _any_second_page: bool = False  # page tokens work
    _restarts: int = 0

    def __post_init__(self) -> None:
        # Ranges that end here or earlier are older than a range that this sync or an earlier one has read.
        start, end = self.ranges[-1]
        self._older_until = start if end >= self.reading.end else end

    @property
    def may_open_another(self) -> bool:
        """Whether another window may be opened.

        Until one is complete, the vendor may find all of them too large. Some endpoints allow one window at a time.
        """
        if self.failed or not self.ranges:
            return False
        return not self.open_windows or (self._any_window_completed and self.reading.endpoint.splittable)

    @property
    def is_unread(self) -> bool:
        """Whether some of it is not read, or failed."""
        return bool(self.ranges or self.open_windows)

    @property
    def ended(self) -> bool:
        return self.failed or not self.is_unread

    def open(self) -> Window | None:
        """The next window; None if nothing more is available, or if it depends on a probe under way."""
        sizing, reach = self.reading.endpoint.sizing, self.reading.reach
        if not self.length:  # not earlier: a paid vendor's sizing depends on what may still be spent
            self.length = sizing.longest() or max(1, self.ranges[-1][1] - self.ranges[0][0])
        while self.ranges:
            start, end = self.ranges[-1]
            is_older = end <= self._older_until
            readable = max(start, self.reading.readable_range_of(self.partitions[0])[0]) if is_older else start
            begin = reach.next_start(readable, end, is_older=is_older) if readable < end else end
            if begin is None:
                return None
            self.ranges.pop()
            if begin == end:
                continue
            until = sizing.window_end(begin, min(begin + self.length, end))
            if until < end:  # windows end at whole steps, so that no two of them request the same step
                until = timestamps.floor_to(until, self.reading.endpoint.step)
            self.ranges += [rest for rest in ((start, begin), (until, end)) if rest[0] < rest[1]]
            window = Window(self, begin, until)
            self.open_windows.append(window)
            return window
        return None

    def note_answer(self, window: Window, answer: Answer) -> None:
        """Note what a page of one of its windows shows about the others."""
        self._any_second_page = self._any_second_page or window.pages.count > 1
        start, end = answer.readable_range
        self.reading.readable_ranges |= dict.fromkeys(self.partitions, (start or EVER, end or NEVER))
        if any(instant > window.start for instant in window.order.reached.values()):
            self._restarts = 0

    def close(self, window: Window) -> None:
        """A window was read to its end."""
        self.open_windows.remove(window)
        self._any_window_completed = True
        self._empty_windows += not window.pages.rows
        sizing = self.reading.endpoint.sizing
        self.length = max(1, sizing.next_length(self.length, window.pages.rows))

    def give_back(self, window: Window, start: int) -> None:
        """A window ends early: its time from `start` on goes back to the gap."""
        self.open_windows.remove(window)
        end = window.end
        if self.ranges and self.ranges[-1][0] == end:
            end = self.ranges.pop()[1]
        self.ranges.append((start, end))

    def halve(self, window: Window) -> bool:
        """The vendor finds a window too large: read it in smaller ones. False if there are none."""
        step, length = self.reading.endpoint.step, window.span.end - window.span.start
        half = max(step, timestamps.floor_to(length // 2, step))
        if half >= length:
            return False
        self.length = min(self.length, half)
        self.give_back(window, window.start)
        return True

    def restart(self) -> bool:
        """A page token was refused: whether to continue with a new first request."""
        self._restarts += 1
        return self._restarts <= MAX_RESTARTS

    def may_cut(self, pages: int) -> bool:
        """Whether a window that has read `pages` since the last cut may be cut."""
        return self.cuts_left > 0 and not self.failed and self._any_second_page and pages >= 2**self._empty_windows

    def split(self, window: Window, groups: Sequence[tuple[Sequence[int], int]]) -> list[Gap]:
        """New gaps that replace a window and `ranges`: one for each group of partitions and the instant it starts from.

        The gap keeps its other windows.
        """
        rest, self.ranges = self.ranges, []
        self.open_windows.remove(window)
        gaps = []
        for indices, start in groups:
            some = tuple(self.partitions[index] for index in indices)
            ranges = [part for part in (*rest, (start, window.end)) if part[0] < part[1]]
            if ranges:
                gaps.append(Gap(self.reading, some, self.outputs, ranges, self.cuts_left, _restarts=self._restarts))
        self.reading.gaps += gaps
        return gaps
