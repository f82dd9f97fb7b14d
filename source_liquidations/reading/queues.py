"""One reading's work. The scheduler holds its lock during every call."""

from collections import deque
from dataclasses import dataclass, field

from source_liquidations.reading.reading import Reading
from source_liquidations.reading.windows import Gap, Window


@dataclass(eq=False)
class Queue:
    """A reading's gaps, before and after they begin, and its windows whose next request can be sent."""

    reading: Reading
    pending: deque[Gap] = field(default_factory=deque)
    begun: dict[Gap, None] = field(default_factory=dict)  # an ordered set
    ready: deque[Window] = field(default_factory=deque)
    busy: int = 0  # workers with a task of this reading
    planned: bool = False
    failures_in_a_row: int = 0

    @property
    def ended(self) -> bool:
        return self.planned and not (self.busy or self.pending or self.begun or self.ready)

    @property
    def demand(self) -> int:
        """How many workers it could use, at most."""
        limit = self.reading.endpoint.max_concurrent_requests or 2**31
        if not self.planned:
            return 2**31
        if self.reading.endpoint.splittable and self.begun:
            return limit
        paused = sum(not gap.open_windows for gap in self.begun)  # they wait for a probe
        return min(self.busy + len(self.ready) + len(self.pending) + paused, limit)

    def open(self, gap: Gap) -> bool:
        """Open the gap's next window, if that is possible now. Returns whether it is."""
        window = gap.open()
        if window is not None:
            self.ready.appendleft(window)
        elif gap.ended:
            self.begun.pop(gap, None)
        return window is not None

    def fail(self, gap: Gap) -> None:
        """Request nothing more of a gap."""
        gap.failed = True
        self.begun.pop(gap, None)
        for window in [window for window in self.ready if window.gap is gap]:
            self.ready.remove(window)
            self.reading.reach.request_ended(window.start)

    def give_up(self) -> None:
        """Request nothing more, even if the reading could not be planned."""
        self.planned = True
        self.pending.clear()
        for gap in list(self.begun):
            self.fail(gap)
