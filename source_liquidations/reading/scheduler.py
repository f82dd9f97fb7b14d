"""Decides which request a worker sends next. Vendors share the workers equally, and readings take turns.

The unit of work is one request. A worker takes a window, hands over its page, and returns the window. No vendor and no
partition belongs to a thread, so a vendor that is slow or at its rate limit does not delay the others.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, VendorUnavailable
from source_liquidations.http.patience import MAX_BUDGET_WAIT
from source_liquidations.reading.queues import Queue
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.windows import Gap, Window

_MAX_FAILURES_IN_A_ROW = 6  # plus those that may be under way beside them


@dataclass(frozen=True)
class Ended:
    """A reading has nothing left to do."""

    reading: Reading


# A worker's task: plan a reading, read a window's next page, or tell the writer that a reading has ended.
Work = Reading | Window | Ended


class Scheduler:
    """Hands out work until every reading has ended; at most `workers` requests are under way at once."""

    def __init__(self, readings: Sequence[Reading], *, workers: int) -> None:
        self._lock = threading.Condition()
        self._queues = deque(Queue(reading) for reading in readings)
        self._queue_of = {queue.reading: queue for queue in self._queues}
        self._workers = workers
        self._max_failures = _MAX_FAILURES_IN_A_ROW + workers - 1
        self._under_way: dict[Window | Reading, str] = {}  # the vendor of each request that has no answer yet
        self._stopped = False

    # Workers call these.

    def next(self) -> Work | None:
        """Wait for a task, and return it with its place in the vendor's budget taken. None at the end.

        Only one waiting worker is woken at a time, and wakes the next one when it leaves: all of them would find the
        same task, and each that wakes takes the interpreter from the others.
        """
        with self._lock:
            work: Work | None = None
            while work is None and self._queues and not self._stopped:
                work, wait = self._pick()
                if work is None:
                    self._lock.wait(wait)
            self._lock.notify()
            return work

    def answered(self, window: Window) -> None:
        """The answer has arrived: another request may be sent while it is decoded."""
        with self._lock:
            were_all_busy = self._free_place(window)
        if were_all_busy:
            time.sleep(0)  # yields the interpreter, which decoding would keep for longer than sending takes

    def planned(self, reading: Reading, gaps: Iterable[Gap]) -> None:
        """The gaps of a reading are known."""
        with self._lock:
            queue = self._release(reading)
            queue.planned = True
            reading.gaps += gaps
            for gap in reading.gaps:
                gap.cuts_left = self._workers
            queue.pending += reading.gaps

    def returned(self, window: Window) -> bool:
        """A page of a window was handed over. Returns whether that ended its gap."""
        with self._lock:
            queue = self._release(window)
            queue.failures_in_a_row = 0
            if window.gap.failed:
                return False
            window.gap.reading.reach.was_granted(window.start)
            if not window.finished:
                queue.ready.appendleft(window)
                return False
            window.gap.close(window)
            return self._open_next(queue, window.gap)

    def token_refused(self, window: Window) -> bool:
        """A page token was refused: read the rest of the window from a new first request. False after the last try."""
        with self._lock:
            return window.gap.restart() and self._replace(window, window.unread_groups())

    def isolate_fault(self, window: Window, error: LiquidationsError) -> bool:
        """One partition of a window is at fault: request them in halves until it is alone.

        False if it is alone, if the endpoint cannot request some partitions only, or if the vendor seems to be down.
        """
        with self._lock:
            groups = window.unread_groups()
            if len(groups) == 1:
                indices, start = groups[0]
                half = (len(indices) + 1) // 2
                if not window.can_request(indices[:half]):
                    return False
                groups = [(indices[:half], start), (indices[half:], start)]
            if isinstance(error, VendorUnavailable):
                queue = self._queue(window)
                queue.failures_in_a_row += 1
                if queue.failures_in_a_row >= self._max_failures:
                    return False
            return self._replace(window, groups)

    def too_large(self, window: Window, error: LiquidationsError) -> None:
        """The vendor finds a window too large: read it in smaller ones. Raises UnexpectedAnswer for the smallest."""
        with self._lock:
            if not window.gap.halve(window):
                cause = f"{error.cause.rstrip('.')} (for the smallest possible window)"
                raise UnexpectedAnswer(cause, advice=error.advice)
            self._open_next(self._release(window), window.gap)

    def too_old(self, window: Window, error: LiquidationsError) -> None:
        """The key does not reach back to a window's start."""
        with self._lock:
            window.gap.reading.reach.was_refused(window.start, error.cause)
            window.gap.give_back(window, window.start)
            self._open_next(self._release(window), window.gap)

    def failed(self, work: Window | Reading, error: LiquidationsError) -> None:
        """A window failed, and so its partitions; or a reading, or all of its partitions would fail in the same way.

        The error is recorded once, although several windows of a gap may fail, and before the reading ends.
        """
        with self._lock:
            queue = self._queue(work)
            if not (isinstance(work, Window) and work.gap.failed):
                queue.reading.fail(error, work.gap.partitions if isinstance(work, Window) else ())
                queue.failures_in_a_row += error.failure_type != "config_error"
                too_many = queue.failures_in_a_row >= self._max_failures
                if isinstance(work, Reading) or error.scope == "reading" or too_many:
                    queue.give_up()
                else:
                    queue.fail(work.gap)
                if queue.failures_in_a_row == _MAX_FAILURES_IN_A_ROW // 2:
                    # The partitions furthest behind come first. If these always fail, they must not block the others.
                    queue.pending.reverse()
            self._release(work)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify()

    # The methods below need the lock.

    def _queue(self, work: Window | Reading) -> Queue:
        return self._queue_of[work.gap.reading if isinstance(work, Window) else work]

    def _release(self, work: Window | Reading) -> Queue:
        """A worker is done with a task, whether it succeeded or not."""
        queue = self._queue(work)
        queue.busy -= 1
        self._free_place(work)
        if isinstance(work, Window):
            queue.reading.reach.request_ended(work.start)
        if queue.ended:
            self._lock.notify()
        return queue

    def _free_place(self, work: Window | Reading) -> bool:
        """A task's request is no longer under way. Returns whether all places were taken, so others may wait."""
        were_all_busy = len(self._under_way) >= self._workers
        if self._under_way.pop(work, None) is not None and were_all_busy:
            self._lock.notify()
        return were_all_busy

    def _replace(self, window: Window, groups: Sequence[tuple[Sequence[int], int]]) -> bool:
        """Request the unread rest of a window again, one request for each group of partitions. Returns True."""
        if len(groups) == 1:
            window.gap.give_back(window, groups[0][1])
        elif not window.gap.failed:  # to the end of the queue: one half fails, but the gaps before it may not
            self._queue(window).pending.extend(window.gap.split(window, groups))
        self._open_next(self._release(window), window.gap)
        return True

    def _open_next(self, queue: Queue, gap: Gap) -> bool:
        """Open the gap's next window if none is open. Returns whether the gap has ended."""
        if gap.failed:
            return False
        if not gap.open_windows:
            queue.open(gap)
        return gap.ended

    def _pick(self) -> tuple[Work | None, float | None]:
        """A task that can start now, or the seconds to wait for a budget (None: until something changes).

        A budget that is spent for too long does not delay the request: the client fails it with the reason.
        """
        wait: float | None = None
        places = self._places()
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            self._queues.rotate(-1)
            has_work = places.get(queue.reading.endpoint.vendor) and self._has_work(queue)
            if queue.ended:
                self._queues.pop()
                queue.reading.warn_of_missing_data()
                return Ended(queue.reading), None
            if not has_work:
                continue
            reading, seconds = queue.reading, 0.0
            if queue.planned:  # then its request needs a place in the vendor's budget
                seconds = reading.endpoint.client.budget.reserve(queue.ready[0].request().weight)
            if seconds == 0.0 or seconds > MAX_BUDGET_WAIT:
                reading.traffic.note("", queue)
                queue.busy += 1
                work: Window | Reading = reading
                if queue.planned:
                    work = queue.ready.popleft()
                    work.reserved = seconds == 0.0
                self._under_way[work] = reading.endpoint.vendor
                return work, None
            reading.traffic.note(f"the request budget, {seconds:.1f} s", queue)
            wait = seconds if wait is None else min(wait, seconds)
        return None, wait

    def _places(self) -> dict[str, int]:
        """By vendor: how many more requests it may have under way.

        Each vendor has an equal share of the workers. What it does not need, or cannot use because its budget is spent,
        goes to the others. One place stays reserved for it, which a slow vendor would occupy for too long.
        """
        demand: Counter[str] = Counter()
        waiting: set[str] = set()  # for their budgets
        for queue in self._queues:
            vendor = queue.reading.endpoint.vendor
            demand[vendor] += queue.demand
            if queue in queue.reading.traffic.waits:
                waiting.add(vendor)
        busy = Counter(self._under_way.values())
        active = [vendor for vendor in demand if demand[vendor]]
        share = max(1, self._workers // max(1, len(active)))
        free = self._workers - busy.total()
        owed = {v: max(0, min(1 if v in waiting else share, demand[v]) - busy[v]) for v in active}
        return {v: min(free, max(owed[v], free - sum(owed.values()) + owed[v])) for v in active}

    def _has_work(self, queue: Queue) -> bool:
        """Whether a window is ready, or one can be opened."""
        if not queue.planned:
            return queue.busy == 0
        limit = queue.reading.endpoint.max_concurrent_requests
        if limit is not None and queue.busy >= limit:
            return False
        if queue.ready:
            return True
        while queue.pending:
            gap = queue.pending[0]
            if queue.open(gap):
                queue.begun[queue.pending.popleft()] = None
                return True
            if gap.ranges:
                break  # it waits for a probe
            queue.pending.popleft()  # none of it is available
        return self._open_another(queue)

    def _open_another(self, queue: Queue) -> bool:
        """Open another window of a begun gap, or cut one that is worth cutting. Returns whether there is one."""
        # A worker that decodes a page counts as busy: it sends its window's next request at once.
        if sum(other.busy for other in self._queues) >= self._workers:
            return False
        if any(gap.may_open_another and queue.open(gap) for gap in list(queue.begun)):
            return True
        if not queue.reading.endpoint.splittable:
            return False
        windows = (window for gap in queue.begun for window in gap.open_windows)
        long = [window for window in windows if window in self._under_way and window.is_worth_cutting()]
        long.sort(key=lambda window: -window.pages_left)
        return any(window.cut() and queue.open(window.gap) for window in long)
