"""Which request is sent next, by whom: every reading in turn, within its vendor's budget, no worker idle.

The unit of work is one request. A worker takes a step, hands over its page, and asks for the next; nothing is bound
to a thread, so a vendor that is out of budget holds nobody up.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from source_liquidations.errors import LiquidationsError
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Endpoint, Partition, Span
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.windows import Run, Window

_FAILURES_IN_A_ROW = 6


@dataclass(frozen=True)
class Planned:
    """Partitions to read together from one start, and the streams they feed; the rest as in a Run."""

    span: Span
    settled: int
    outputs: tuple[Output, ...]
    since: int | None = None
    before: int | None = None


@dataclass(eq=False)
class Reading:
    """One endpoint's part in a sync: what is planned, what is ready, what failed."""

    endpoint: Endpoint
    outputs: tuple[Output, ...]
    plan: Callable[[Sequence[Partition]], list[Planned]]
    traffic: Traffic = field(default_factory=Traffic)
    planned: bool = False
    pending: deque[Planned] = field(default_factory=deque)
    ready: deque[tuple[Window, tuple[Output, ...]]] = field(default_factory=deque)
    active: dict[Window, tuple[Output, ...]] = field(default_factory=dict)
    busy: int = 0
    partitions_total: int = 0
    rows_expected: int | None = None  # of the vendor's own stream, where it is known beforehand
    rows: dict[str, int] = field(default_factory=dict)  # written, by stream
    positions: dict[str, dict[frozenset[tuple[str, str]], int]] = field(default_factory=dict)  # by stream and partition
    held_since: float | None = None
    failures: list[LiquidationsError] = field(default_factory=list)
    failures_in_a_row: int = 0
    given_up: bool = False
    announced: bool = False
    strays: int = 0  # rows outside the time asked for

    def answers_for(self, stream: str) -> bool:
        """Whether a failure of this reading is one of the stream."""
        return not any(output.stream == stream and output.in_passing for output in self.outputs)

    @property
    def hindmost(self) -> dict[str, int]:
        """By stream: the position of the partition that has got least far."""
        return {stream: min(positions.values()) for stream, positions in self.positions.items() if positions}

    @property
    def ended(self) -> bool:
        return self.busy == 0 and (self.given_up or (self.planned and not self.pending and not self.ready))

    @property
    def names(self) -> str:
        return ", ".join(output.stream for output in self.outputs)


@dataclass(frozen=True, eq=False)
class Step:
    """One request's worth of work: plan a reading's partitions (no window), or go on with a window."""

    reading: Reading
    window: Window | None = None
    outputs: tuple[Output, ...] = ()


@dataclass
class Page:
    """What a step brought, or a part of it: lines to write, and the positions that hold once they are written.

    reached     per partition index: everything before this instant is in pages handed over up to this one
    """

    step: Step
    block: Block | None
    reached: dict[int, int]


class Scheduler:
    """Hands out steps until every reading has ended; at most `workers` of them have a request under way."""

    def __init__(self, readings: Sequence[Reading], *, workers: int) -> None:
        self.readings = list(readings)
        lock = threading.RLock()
        self.lock = threading.Condition(lock)  # notified when there may be work
        self._place_free = threading.Condition(lock)
        self.decoding = threading.Lock()  # held by whoever makes an answer into a page
        self._turn = deque(self.readings)
        self._workers = workers
        self._under_way: set[Step] = set()  # from being handed out until their answer is here
        self._stopped = False

    def next(self) -> Step | None:
        """The next step, its request's place in the budget taken; waits for one. None when all is done."""
        with self.lock:
            while not self._stopped:
                if len(self._under_way) >= self._workers:
                    self._place_free.wait()
                    continue
                step, wait = self._pick()
                if step is not None:
                    step.reading.busy += 1
                    self._under_way.add(step)
                    if any(map(self._has_work, self.readings)):
                        self.lock.notify()  # one wakes the next: each waking takes the interpreter from whoever works
                    return step
                self._place_free.notify()  # whoever else waits for it may have a use for it
                if all(reading.ended for reading in self.readings):
                    self.lock.notify_all()
                    return None
                self.lock.wait(wait)
            return None

    def stop(self) -> None:
        with self.lock:
            self._stopped = True
            self.lock.notify_all()
            self._place_free.notify_all()

    def received(self, step: Step) -> None:
        """The answer to the step's request is here: another's goes out while this one is decoded."""
        with self.lock:
            awaited = len(self._under_way) >= self._workers
            self._leave_place(step)
        if awaited:
            time.sleep(0)  # yields the interpreter, which decoding would keep for longer than sending takes

    def planned(self, reading: Reading, partitions: Sequence[Partition]) -> None:
        """The reading's partitions are known."""
        work = reading.plan(partitions)
        with self.lock:
            reading.partitions_total = len(partitions)
            reading.rows_expected = reading.endpoint.known_rows([planned.span for planned in work])
            reading.pending.extend(work)
            reading.planned = True

    def went_on(self, step: Step) -> None:
        """A page was handed over; the window has more."""
        assert step.window is not None
        with self.lock:
            step.reading.failures_in_a_row = 0
            self._offer(step.reading, step.window, step.outputs)

    def completed(self, step: Step) -> None:
        """A window was read to its end: open the next one of its run, at its new length."""
        assert step.window is not None
        with self.lock:
            step.reading.failures_in_a_row = 0
            step.reading.active.pop(step.window, None)
            run = step.window.run
            run.proven = True
            run.misses += not step.window.rows
            run.length = max(1, step.reading.endpoint.next_length(run.length, step.window.pages, step.window.rows))
            # The second half of a window that was halved comes before what is after it.
            halved = any(window.run is run for window, _ in step.reading.ready)
            following = None if halved else run.open_window()
            if following is not None:
                self._offer(step.reading, following, step.outputs)

    def failed(self, step: Step, error: LiquidationsError) -> None:
        """A partition failed, and its reading with it: at once where every partition would fail alike."""
        with self.lock:
            reading = step.reading
            if step.window is not None and step.window.run.failed:
                return  # another window of the same partitions
            reading.failures.append(error)
            reading.failures_in_a_row += error.failure_type == "transient_error"
            if step.window is None or error.scope == "reading" or reading.failures_in_a_row >= _FAILURES_IN_A_ROW:
                self.give_up(reading)
                return
            if reading.failures_in_a_row == _FAILURES_IN_A_ROW // 2:
                # Those furthest behind come first, and are so because they fail: let them hold no other up for good.
                reading.pending.reverse()
            run = step.window.run
            run.failed = True
            reading.ready = deque(item for item in reading.ready if item[0].run is not run)
            for window in run.windows:
                reading.active.pop(window, None)

    def give_up(self, reading: Reading) -> None:
        """Begin nothing more for the reading; what is under way still ends."""
        with self.lock:
            reading.given_up = True
            reading.pending.clear()
            reading.ready.clear()
            reading.active.clear()

    def halved(self, step: Step, later: Window | None) -> None:
        """The window was too large and has been cut: read the first half again, and the second if it was opened."""
        assert step.window is not None
        with self.lock:
            if later is not None:
                self._offer(step.reading, later, step.outputs)
            self._offer(step.reading, step.window, step.outputs)

    def parted(self, step: Step) -> None:
        """Read the window's partitions in two halves, from its start; by themselves where some have got further."""
        assert step.window is not None
        with self.lock:
            run, written = step.window.run, step.window.written
            run.failed = True
            step.reading.active.pop(step.window, None)
            partitions = run.span.partitions
            half = (len(partitions) + 1) // 2 if len(set(written)) == 1 else 1
            for first in range(0, len(partitions), half):
                span = Span(partitions[first : first + half], written[first], run.span.end)
                step.reading.pending.append(Planned(span, run.settled, step.outputs, run.since, run.before))

    def done(self, step: Step) -> bool:
        """The worker is through with the step, whatever came of it, and asks for the next one: what work this makes is
        its own. True once, for the last step of its reading.
        """
        reading = step.reading
        with self.lock:
            reading.busy -= 1
            self._leave_place(step)
            last = reading.ended and not reading.announced
            reading.announced = reading.announced or last
            if last:
                self.lock.notify_all()
            return last

    def _leave_place(self, step: Step) -> None:
        if step in self._under_way:
            self._under_way.remove(step)
            self._place_free.notify()

    def _pick(self) -> tuple[Step | None, float | None]:
        """A step that may be sent now, or how long to wait for a budget (None: until something changes)."""
        wait: float | None = None
        for _ in range(len(self._turn)):
            reading = self._turn[0]
            self._turn.rotate(-1)
            if not self._has_work(reading):
                continue
            seconds = 0.0 if not reading.planned else reading.endpoint.client.budget.reserve()
            if seconds == 0.0:
                reading.traffic.queued = ""
                if reading.held_since is not None:
                    reading.traffic.waited(time.monotonic() - reading.held_since)
                    reading.held_since = None
                return self._take(reading), None
            reading.traffic.queued = f"the request budget, {seconds:.1f} s"
            reading.held_since = reading.held_since or time.monotonic()
            wait = seconds if wait is None else min(wait, seconds)
        return None, wait

    def _has_work(self, reading: Reading) -> bool:
        if reading.given_up:
            return False
        if not reading.planned:
            return reading.busy == 0
        if reading.endpoint.most_at_once is not None and reading.busy >= reading.endpoint.most_at_once:
            return False
        if reading.ready or reading.pending:
            return True
        # A window whose page is being decoded needs no help: its next request goes out at once.
        idle = sum(other.busy for other in self.readings) < self._workers
        return idle and self._helpable(reading) is not None

    def _helpable(self, reading: Reading) -> Window | None:
        """A window being read whose run has more to open, or that is worth cutting.

        Not before one of the run's windows was read: the vendor may find them too large, all alike.
        """
        if not reading.endpoint.splittable or not reading.active:
            return None
        for window in reading.active:
            if window.run.proven and window.run.frontier < window.run.span.end:
                return window
        worth = (window for window in reading.active if window.run.can_cut(window))
        return max(worth, key=Window.pages_left, default=None)

    def _take(self, reading: Reading) -> Step:
        if not reading.planned:
            return Step(reading)
        if not reading.ready and reading.pending:
            planned = reading.pending.popleft()
            run = Run(
                reading.endpoint,
                planned.span,
                planned.settled,
                cuts_left=self._workers,
                since=planned.since,
                before=planned.before,
            )
            opened = run.open_window()
            if opened is not None:
                self._offer(reading, opened, planned.outputs)
        if not reading.ready:
            helped = self._helpable(reading)
            assert helped is not None
            outputs = reading.active[helped]
            self._offer(reading, helped.run.open_window() or helped.run.cut(helped), outputs)
        window, outputs = reading.ready.popleft()
        return Step(reading, window, outputs)

    def _offer(self, reading: Reading, window: Window, outputs: tuple[Output, ...]) -> None:
        """Make a window the next to be read; one under way comes before one not begun."""
        if not reading.given_up and not window.run.failed:
            reading.active[window] = outputs
            reading.ready.appendleft((window, outputs))
