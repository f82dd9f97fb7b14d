"""Which request is sent next, by whom: every vendor has its share of the workers, every reading its turn.

The unit of work is one request. A worker takes a window, hands over its page, and asks for the next; nothing is bound
to a thread, so a vendor that is out of budget or slow holds up no other.
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

_FAILURES_IN_A_ROW = 6  # and as many as may be under way beside them


@dataclass(frozen=True)
class Ended:
    """Nothing is left to be done for a reading."""

    reading: Reading


# What a worker is asked to do: list a reading's partitions, read a window's next page, or say that a reading has ended.
Work = Reading | Window | Ended


class Scheduler:
    """Hands out work until every reading has ended; at most `workers` requests are under way at once."""

    def __init__(self, readings: Sequence[Reading], *, workers: int) -> None:
        self._lock = threading.Condition()
        self._queues = deque(Queue(reading) for reading in readings)
        self._queue_of = {queue.reading: queue for queue in self._queues}
        self._workers = workers
        self._most_failures = _FAILURES_IN_A_ROW + workers - 1  # in a row
        self._under_way: dict[Window | Reading, str] = {}  # whose request has no answer yet: the vendor
        self._stopped = False

    # What a worker calls.

    def next(self) -> Work | None:
        """The next piece of work, its request's place in the vendor's budget taken; waits for one. None at the end.

        All who wait would find the same. So one at a time is woken, and wakes another when it leaves: each that wakes
        takes the interpreter from the others.
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
        """The answer is here: another request goes out while it is decoded."""
        with self._lock:
            awaited = self._leave_place(window)
        if awaited:
            time.sleep(0)  # yields the interpreter, which decoding would keep for longer than sending takes

    def planned(self, reading: Reading, gaps: Iterable[Gap]) -> None:
        """What a reading has to read is known."""
        with self._lock:
            queue = self._leave(reading)
            queue.planned = True
            reading.gaps += gaps
            for gap in reading.gaps:
                gap.cuts_left = self._workers
            queue.pending += reading.gaps

    def returned(self, window: Window) -> bool:
        """A page of a window was handed over. Whether its gap has ended with it."""
        with self._lock:
            queue = self._leave(window)
            queue.failures_in_a_row = 0
            if window.gap.failed:
                return False
            window.gap.reading.reach.was_granted(window.start)
            if not window.finished:
                queue.ready.appendleft(window)
                return False
            window.gap.close(window)
            return self._go_on(queue, window.gap)

    def restarted(self, window: Window) -> bool:
        """A window's page token was refused: read what is left of it from a fresh request, if that may help."""
        with self._lock:
            return window.gap.restart() and self._replace(window, window.unread_groups())

    def parted(self, window: Window, error: LiquidationsError) -> bool:
        """One of a window's partitions is at fault: ask for what is left in parts, until it is alone.

        False where it is, or where the vendor's requests cannot name partitions, or where it seems to be out of order.
        """
        with self._lock:
            parts = window.unread_groups()
            if len(parts) == 1:
                indices, start = parts[0]
                half = (len(indices) + 1) // 2
                if not window.can_request(indices[:half]):
                    return False
                parts = [(indices[:half], start), (indices[half:], start)]
            if isinstance(error, VendorUnavailable):
                queue = self._queue(window)
                queue.failures_in_a_row += 1
                if queue.failures_in_a_row >= self._most_failures:
                    return False
            return self._replace(window, parts)

    def too_large(self, window: Window, error: LiquidationsError) -> None:
        """The vendor finds a window too large: read it in smaller ones. Raises UnexpectedAnswer for the smallest."""
        with self._lock:
            if not window.gap.halve(window):
                problem = f"{error.cause.rstrip('.')} (for the smallest window that there is)"
                raise UnexpectedAnswer(problem, advice=error.advice)
            self._go_on(self._leave(window), window.gap)

    def too_old(self, window: Window, error: LiquidationsError) -> None:
        """The key does not reach back to a window's start."""
        with self._lock:
            window.gap.reading.reach.was_refused(window.start, error.cause)
            window.gap.give_back(window, window.start)
            self._go_on(self._leave(window), window.gap)

    def failed(self, work: Window | Reading, error: LiquidationsError) -> None:
        """A window or a reading failed, and with it its partitions; at once all of them where each would fail alike.

        It is told once, as another window of the same partitions may have failed before; and before the reading ends.
        """
        with self._lock:
            queue = self._queue(work)
            if not queue.given_up and not (isinstance(work, Window) and work.gap.failed):
                queue.reading.fail(error)
                queue.failures_in_a_row += error.failure_type != "config_error"
                most = queue.failures_in_a_row >= self._most_failures
                if isinstance(work, Reading) or error.scope == "reading" or most:
                    queue.give_up()
                else:
                    work.gap.failed = True
                    queue.forget(work.gap)
                if queue.failures_in_a_row == _FAILURES_IN_A_ROW // 2:
                    # Those furthest behind come first, and are behind as they fail: do not let them block the rest.
                    queue.pending.reverse()
            self._leave(work)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify()

    # The rest is called with the lock held.

    def _queue(self, work: Window | Reading) -> Queue:
        return self._queue_of[work.gap.reading if isinstance(work, Window) else work]

    def _leave(self, work: Window | Reading) -> Queue:
        """A worker is done with a piece of work, whether it succeeded or not."""
        queue = self._queue(work)
        queue.busy -= 1
        self._leave_place(work)
        if isinstance(work, Window):
            queue.reading.reach.request_ended(work.start)
        if queue.ended:
            self._lock.notify()
        return queue

    def _leave_place(self, work: Window | Reading) -> bool:
        """Whether somebody may have waited for it."""
        awaited = len(self._under_way) >= self._workers
        if self._under_way.pop(work, None) is not None and awaited:
            self._lock.notify()
        return awaited

    def _replace(self, window: Window, parts: Sequence[tuple[Sequence[int], int]]) -> bool:
        """What is left of a window is requested afresh: some of its partitions each, from some instant on."""
        if len(parts) == 1:
            window.gap.give_back(window, parts[0][1])
        else:  # at the end: where one fails, the other may not
            self._queue(window).pending.extend(window.gap.split(window, parts))
        self._go_on(self._leave(window), window.gap)
        return True

    def _go_on(self, queue: Queue, gap: Gap) -> bool:
        """Open the gap's next window, if it has one at a time. Whether the gap has ended."""
        if queue.given_up or gap.failed:
            return False
        if not gap.under_way:
            queue.open(gap)
        return gap.ended

    def _pick(self) -> tuple[Work | None, float | None]:
        """What may be done now, or how long to wait for a budget (None: until something changes).

        A budget that is spent for longer than anyone waits holds nothing back: the request fails, and says so.
        """
        wait: float | None = None
        places = self._places()
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            self._queues.rotate(-1)
            has_work = places.get(queue.reading.endpoint.vendor) and self._has_work(queue)
            if queue.ended:
                self._queues.pop()
                queue.reading.tell()
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

        Each has an equal share of the workers. What a vendor has no use for, or cannot use because its budget is
        spent, goes to the others, but for one place: a slow vendor would keep it.
        """
        demand: Counter[str] = Counter()
        held: set[str] = set()
        for queue in self._queues:
            vendor = queue.reading.endpoint.vendor
            demand[vendor] += queue.demand
            if queue in queue.reading.traffic.waits:
                held.add(vendor)
        busy = Counter(self._under_way.values())
        active = [vendor for vendor, wanted in demand.items() if wanted]
        share = max(1, self._workers // max(1, len(active)))
        free = self._workers - busy.total()
        owed = {v: max(0, min(1 if v in held else share, demand[v]) - busy[v]) for v in active}
        return {v: min(free, max(owed[v], free - sum(owed.values()) + owed[v])) for v in active}

    def _has_work(self, queue: Queue) -> bool:
        """Whether a window is ready, or can be made so."""
        if queue.given_up:
            return False
        if not queue.planned:
            return queue.busy == 0
        most = queue.reading.endpoint.max_concurrent_requests
        if most is not None and queue.busy >= most:
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
            queue.pending.popleft()  # nothing of it is available (any more)
        return self._help(queue)

    def _help(self, queue: Queue) -> bool:
        """Make ready another window of a gap that is begun, or a part of one that is worth cutting."""
        # A window whose page is being decoded needs no help: its next request goes out at once.
        if sum(other.busy for other in self._queues) >= self._workers:
            return False
        if any(gap.may_open_another and queue.open(gap) for gap in list(queue.begun)):
            return True
        if not queue.reading.endpoint.splittable:
            return False
        windows = (window for gap in queue.begun for window in gap.under_way)
        worth = [window for window in windows if window in self._under_way and window.is_worth_cutting()]
        worth.sort(key=lambda window: -window.pages_left)
        return any(window.cut() and queue.open(window.gap) for window in worth)
