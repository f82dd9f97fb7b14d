"""What a worker does: send one request, decode its page, and hand over the blocks of RECORD lines."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from queue import Full, Queue
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import (
    AccessRefused,
    LiquidationsError,
    OutOfReach,
    RequestRefused,
    Stopped,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import UNAUTHORIZED
from source_liquidations.logs import logger
from source_liquidations.reading.pages import Block, Output, render
from source_liquidations.reading.paging import tokens_refused
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Fault, Rows
from source_liquidations.reading.scheduler import Ended, Scheduler, Work
from source_liquidations.reading.slices import Slice
from source_liquidations.reading.windows import Gap, Window

TICK = 0.5  # seconds: how often a thread that waits for the queue checks whether the sync was stopped

# What the writer gets: blocks to write, a gap that they complete, a reading that has ended.
Item = Block | Gap | Ended


class Handover(Queue[Any]):
    """The queue between workers and the writer. Its size is in bytes, so `maxsize` limits memory."""

    _bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._bytes += _size_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= _size_of(item)
        return item


def _size_of(item: Any) -> int:
    return 1 + len(item.data) if isinstance(item, Block) else 1


class Workers:
    """Threads that take tasks from the scheduler, and hand over the results."""

    def __init__(self, scheduler: Scheduler, handover: Handover, stop: threading.Event) -> None:
        self._scheduler = scheduler
        self._handover = handover
        self._stop = stop
        # One page at a time is decoded and handed over: more would cost memory and save no time.
        self._decoding = threading.Lock()

    def start(self, count: int) -> None:
        for number in range(count):
            threading.Thread(target=self._run, name=f"reader-{number}", daemon=True).start()

    def _run(self) -> None:
        try:
            while (work := self._scheduler.next()) is not None:
                self.do(work)
        except BaseException as error:
            # No worker may fail silently: the writer would wait for ever.
            self._put(error)

    def do(self, work: Work) -> None:
        if isinstance(work, Ended):
            self._put(work)
            return
        try:
            if isinstance(work, Window):
                self._read(work)
            else:
                self._plan(work)
        except Stopped:
            return
        except LiquidationsError as error:
            self._scheduler.failed(work, error)

    def _plan(self, reading: Reading) -> None:
        endpoint = reading.endpoint
        with _unexpected_errors_wrapped():
            partitions = list(dict.fromkeys(endpoint.partitions(reading.traffic)))
            gaps = reading.plan(reading, partitions)
            if gaps and reading.prepare is not None:
                reading.prepare(partitions, reading.traffic)
        if not partitions:
            endpoint.raise_entry_errors()
        for error in endpoint.entry_errors:
            reading.fail(error)
        reading.partitions = partitions
        self._scheduler.planned(reading, gaps)

    def _read(self, window: Window) -> None:
        """Read the window's next page. If the vendor refuses it, let the scheduler replace the window."""
        try:
            self._read_page(window)
        except OutOfReach as error:
            if window.gap.reading.reach.may_read_nothing(window.start):
                self._probe_newest(window)
            self._scheduler.too_old(window, error)
        except WindowTooLarge as error:
            self._scheduler.too_large(window, error)
        except VendorUnavailable as error:
            if error.status is None or error.scope == "reading" or not self._scheduler.isolate_fault(window, error):
                raise  # there is no connection, or all requests have to wait, or the partition at fault is alone
        except (AccessRefused, RequestRefused) as error:
            is_token = window.pages.next_request is not None
            if error.scope == "reading" and not (is_token and error.status == UNAUTHORIZED):  # the key itself
                raise
            if is_token:
                # Vendors do not document how long a page token is valid. A 401 may be its end: the key was good before.
                names = window.gap.reading.stream_names
                logger.info("%s: the page token was refused: continuing with a new first request", names)
                if not self._scheduler.token_refused(window):
                    raise tokens_refused(error) from None
            elif not self._scheduler.isolate_fault(window, error):  # one unknown market fails the whole request
                raise

    def _probe_newest(self, window: Window) -> None:
        """Raise OutOfReach if the key may not read the newest data either. The window may end in the past."""
        reading = window.gap.reading
        endpoint = reading.endpoint
        newest = endpoint.span_at(window.gap.partitions, time.time_ns() - timestamps.MILLISECOND)
        request = endpoint.first_request(newest)
        response = endpoint.client.fetch(request, reading.traffic)
        with self._decoding, _unexpected_errors_wrapped():
            endpoint.decode(response, newest, request, {})  # a paid vendor's endpoint counts the cost of its rows
        reading.reach.any_granted = True

    def _read_page(self, window: Window) -> None:
        reading = window.gap.reading
        with _unexpected_errors_wrapped():
            request = window.request()
            response = reading.endpoint.client.fetch(request, reading.traffic, reserved=window.reserved)
        self._scheduler.answered(window)
        with self._decoding, _unexpected_errors_wrapped():
            try:
                answer = reading.endpoint.decode(response, window.span, request, window.memory)
            except UnexpectedAnswer as error:
                if self._scheduler.isolate_fault(window, error):  # an invalid row of one market stops no other
                    return
                raise
            rows, completed = window.accept(request, answer)
            for output in window.gap.outputs:
                self._hand_over(window, output, rows, completed)
        if answer.problem is not None:
            raise answer.problem
        if self._scheduler.returned(window):
            self._put(window.gap)

    def _hand_over(self, window: Window, output: Output, rows: Rows, completed: dict[int, Slice]) -> None:
        """Hand over a page's blocks for one stream. If they cannot be made, the other streams continue."""
        faults = list(rows.faults)
        last = Block(output.stream, 0, b"")
        try:
            for block in render(output, rows, window.span, faults):
                if last.records:
                    self._put(last)
                last = block
                last.reading = window.gap.reading
        except LiquidationsError as error:
            if len(window.gap.outputs) == 1:
                raise
            window.gap.outputs = tuple(other for other in window.gap.outputs if other is not output)
            faults = [Fault(0, error)]
        for fault in faults:
            owners = range(len(window.gap.partitions)) if fault.owners is None else fault.owners
            partitions = tuple(window.gap.partitions[owner] for owner in owners)
            window.gap.reading.fail(copy(fault.error), partitions, output.stream)  # other streams report the same fault
            window.withhold(output, owners, fault.instant)
        covers = [window.covered(output, index, part) for index, part in completed.items()]
        last.covers = window.gap.reading.confirmed(output.stream, covers)
        last.position = max((end for _, end in completed.values()), default=0)
        self._put(last)

    def _put(self, item: Item | BaseException) -> None:
        """Hand over an item as soon as there is room; drop it once the sync is stopped."""
        while not self._stop.is_set():
            with suppress(Full):
                self._handover.put(item, timeout=TICK)
                return


@contextmanager
def _unexpected_errors_wrapped() -> Iterator[None]:
    """Turn a bug in a vendor's code into an error of the partition, with the stack in the trace."""
    try:
        yield
    except (LiquidationsError, Stopped):
        raise
    except Exception as error:
        raise LiquidationsError(
            redact(f"internal error, {type(error).__name__}: {error}."), advice="Please report this, with its trace."
        ) from error
