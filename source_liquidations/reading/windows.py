"""Windows: what of a partition's range is being read, and how far it is contiguously done.

Two sides look at a run. Workers read (`Window.reached`, `cut`, under the scheduler's lock); the writer says what
was written (`Window.written`), and only that moves a position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from source_liquidations.errors import LiquidationsError
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Endpoint, Span

_PAGES_WORTH_A_CUT = 6.0


@dataclass(eq=False)
class Window:
    """[start, end) of a run, read by following pages from its first request.

    reached     everything before this instant has been fetched (ascending pages only; else stays at `start`)
    written     per partition: everything before this instant has been written out
    """

    run: Run
    start: int
    end: int
    reached: int = 0
    following: Request | None = None
    pages: int = 0
    pages_when_cut: int = 0
    rows: int = 0
    empty_pages: int = 0
    repeats: int = 0  # of a page whose rows are all alike: twins, if there are few
    problem: LiquidationsError | None = None  # with the page after the last one
    restarted_at: int | None = None
    ascending: bool = True
    page_marks: set[int] = field(default_factory=set)
    memory: dict[Any, Any] = field(default_factory=dict)  # the endpoint's, from page to page
    finished: bool = False  # all fetched
    latest: int = -(2**63)  # of the last row, where they come in order
    seen: set[int] = field(default_factory=set)  # partitions of which rows have come, where there are several
    last_owner: int = -1
    asked_end: int = 0
    written: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reached = self.start
        self.asked_end = self.end  # requests under way keep it where the window is cut
        self.ascending = self.run.endpoint.ascending
        self.written = [self.start] * len(self.run.span.partitions)

    @property
    def span(self) -> Span:
        return Span(self.run.span.partitions, self.reached, self.end)

    def pages_left(self) -> float:
        """Estimated from the pages so far and the time they cover."""
        covered = self.reached - self.start
        return self.pages / covered * (self.end - self.reached) if covered > 0 else 0.0


@dataclass(eq=False)
class Run:
    """One reading of a span: opened window by window, cut where workers are idle.

    settled     no position is reported beyond this instant: what is after it may still change
    since       the first instant that was asked for, where the span begins earlier, rounded down to a whole step
    before      the first instant that nobody asked for, where the span ends later, rounded up to a whole step
    """

    endpoint: Endpoint
    span: Span
    settled: int
    cuts_left: int
    since: int | None = None
    before: int | None = None
    windows: list[Window] = field(default_factory=list)
    misses: int = 0  # windows without rows
    failed: bool = False
    proven: bool = False  # a window was read to its end
    followed: bool = False  # a page token has led to another page
    frontier: int = 0
    length: int = 0

    def __post_init__(self) -> None:
        self.frontier = self.span.start
        self.length = self.endpoint.longest or max(1, self.span.end - self.span.start)

    def open_window(self) -> Window | None:
        """The next window that nobody reads yet."""
        if self.frontier >= self.span.end:
            return None
        end = min(self.frontier + self.length, self.span.end)
        window = Window(self, self.frontier, self.endpoint.window_end(self.frontier, end))
        self.frontier = window.end
        self.windows.append(window)
        return window

    def can_cut(self, window: Window) -> bool:
        """Whether another worker may take the later half of what a window has left, and it is worth a request.

        Not before a page of its own: how many are left is a guess, wrong where rows are few after a busy time. Each
        window that turns out empty doubles the pages that a next cut takes.
        """
        return (
            self.cuts_left > 0
            and self.endpoint.splittable
            and window.ascending
            and not window.finished
            and self.followed
            and window.pages >= window.pages_when_cut + 2**self.misses
            and len(self.span.partitions) == 1
            and window.pages_left() >= _PAGES_WORTH_A_CUT
            and window.reached < self._middle(window) < window.end
        )

    def cut(self, window: Window) -> Window:
        """The later half of what a window has left, as a window of its own."""
        later = Window(self, self._middle(window), window.end)
        window.end = later.start
        window.pages_when_cut = window.pages
        self.windows.insert(self.windows.index(window) + 1, later)
        self.cuts_left -= 1
        return later

    def _middle(self, window: Window) -> int:
        middle = window.reached + (window.end - window.reached) // 2
        return middle - middle % self.endpoint.step

    def halve(self, window: Window) -> Window | None:
        """The vendor finds the window too large: keep its first half.

        Returns the second; or None where nothing was opened after it, so that it will be opened in the new length:
        as large a window as this would be refused again, and so would its halves.
        """
        middle = window.start + (window.end - window.start) // 2
        step = self.endpoint.step
        middle = max(window.start + step, middle - (middle - window.start) % step)
        if middle >= window.end:
            raise ValueError("the window cannot be made smaller")
        self.length = min(self.length, middle - window.start)
        end, window.end, window.asked_end = window.end, middle, middle
        window.following = None
        window.pages = window.pages_when_cut = window.rows = 0
        window.memory.clear()
        window.page_marks.clear()
        if end == self.frontier:
            self.frontier = middle
            return None
        later = Window(self, middle, end)
        self.windows.insert(self.windows.index(window) + 1, later)
        return later

    def position(self, partition: int) -> int:
        """Everything of the partition before this instant, from the run's start on, has been written."""
        position = self.span.start
        for window in self.windows:
            position = window.written[partition]
            if position < window.end:
                break
        return position

    def forget_written(self) -> None:
        """Drop windows that are wholly written, but for the last of them in a row."""
        while len(self.windows) > 1 and all(written >= self.windows[0].end for written in self.windows[0].written):
            self.windows.pop(0)
