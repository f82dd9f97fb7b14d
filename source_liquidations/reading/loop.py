"""A sync: workers read, one writer passes on what they hand over, with statuses, checkpoints and progress.

    readings ─► scheduler ─► workers (a request each) ─► handover ─► writer ─► blocks, checkpoints, statuses

Only the writer records progress, and only after its consumer has taken the rows: a checkpoint never runs ahead.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty

from airbyte_cdk.models import AirbyteMessage
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations import timestamps
from source_liquidations.errors import Stopped
from source_liquidations.http.redaction import redact
from source_liquidations.logs import logger
from source_liquidations.messages import checkpoint, estimate, status, traced
from source_liquidations.reading.pages import Block, Output, Table, block
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.report import Outcome, StatusName, log_report
from source_liquidations.reading.scheduler import Ended, Scheduler
from source_liquidations.reading.workers import TICK, Handover, Workers
from source_liquidations.reading.workers import Item as Handed

SECONDS_BETWEEN_PROGRESS = 30.0
_MOST_DECODING = 2  # threads beyond those whose requests are under way
_BYTES_HELD = 8 * 1024 * 1024  # handed over and not yet written: what bounds memory, with one body per thread

Item = Block | AirbyteMessage


class Sync:
    """One `read`: give it readings and states, iterate over what it yields.

    The consumer must have written an item before it asks for the next. `stop` ends the sync early, with the last
    checkpoints; the iteration then ends with Stopped. `last` gives, by stream, rows that are known only when
    everything else has been read. `failures` tell, once it has ended, why streams are incomplete.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        states: Mapping[str, StreamState],
        *,
        workers: int,
        stop: threading.Event,
        last: Mapping[str, Callable[[], Table]] | None = None,
    ) -> None:
        self.failures: list[AirbyteTracedException] = []
        self._last = last or {}
        self._stop = stop
        self._scheduler = Scheduler(readings, workers=workers)
        self._handover = Handover(_BYTES_HELD)
        self._workers = Workers(self._scheduler, self._handover, stop)
        # While a page is decoded, the worker's place is taken by another.
        self._threads = workers + min(workers // 4, _MOST_DECODING)
        self._streams = {
            name: Outcome(state, [r for r in readings if any(o.stream == name for o in r.outputs)])
            for name, state in states.items()
        }
        self._waiting = set(readings)
        self._began = self._progress_at = time.monotonic()

    def __iter__(self) -> Iterator[Item]:
        for name in self._streams:
            yield self._set_status(name, "STARTED")
        try:
            self._workers.start(self._threads)
            yield from self._write()
        except (Exception, KeyboardInterrupt):
            for name, stream in self._streams.items():
                if stream.is_running:
                    yield checkpoint(stream.state)
                    yield self._set_status(name, "INCOMPLETE")
            raise
        finally:
            self._stop.set()
            self._scheduler.stop()
            log_report(self._streams.values(), seconds=time.monotonic() - self._began)

    def _write(self) -> Iterator[Item]:
        yield from self._end_those_that_are_done()
        while self._waiting:
            self._log_progress()
            item: Handed | BaseException | None = None
            with suppress(Empty):
                item = self._handover.get(timeout=TICK)
            if self._stop.is_set():
                raise Stopped
            if isinstance(item, BaseException):
                raise item
            yield from self.take(item)
        for name, rows in self._last.items():
            yield from self._emit(block(name, rows()))
            yield from self._end(name)

    def take(self, item: Handed | None) -> Iterator[Item]:
        """Pass on what a worker handed over; nothing came where it is None."""
        ended: set[str] = set()
        if isinstance(item, Block):
            yield from self._emit(item)
        elif isinstance(item, Ended):
            self._waiting.discard(item.reading)
            for name, covered in item.reading.out_of_reach():
                self._streams[name].state.add(*covered)
            yield from self._end_those_that_are_done()
        elif item is not None:
            ended = {output.stream for output in item.outputs}
        for name, stream in self._streams.items():
            if stream.is_running and stream.state.is_due(partition_ended=name in ended):
                yield checkpoint(stream.state)

    def _emit(self, lines: Block) -> Iterator[Item]:
        stream = self._streams[lines.stream]
        if lines.records:
            if stream.status == "STARTED":
                yield self._set_status(lines.stream, "RUNNING")
            yield lines
            yield from self._expected(stream, lines)
            stream.rows[lines.reading] += lines.records
            stream.state.count_written(lines.records, len(lines.data))
        for covered in lines.covers:
            stream.state.add(*covered)
        stream.position = lines.position or stream.position

    def _expected(self, stream: Outcome, first: Block) -> Iterator[Item]:
        """What is known of a stream's size, with its first block: of a vendor's own, not of one made of its rows."""
        own = Output(first.stream)
        rows = next((reading.rows_expected for reading in stream.readings if own in reading.outputs), None)
        if rows is not None and not stream.rows:
            yield estimate(first.stream, rows, round(rows * first.bytes_per_record))

    def _end_those_that_are_done(self) -> Iterator[Item]:
        for name, stream in self._streams.items():
            if stream.is_running and name not in self._last and self._waiting.isdisjoint(stream.readings):
                yield from self._end(name)

    def _end(self, name: str) -> Iterator[Item]:
        stream = self._streams[name]
        failures = [error for reading in stream.readings for error in reading.failures_of(name)]
        if stream.state.has_changed:
            yield checkpoint(stream.state)
        yield self._set_status(name, "INCOMPLETE" if failures else "COMPLETE")
        logger.info("%s: %s", name, self._account(name))
        if failures:
            self.failures.append(traced(failures[0], name, len(failures) - 1))

    def _set_status(self, stream: str, name: StatusName) -> AirbyteMessage:
        self._streams[stream].status = name
        return status(stream, name)

    def _log_progress(self) -> None:
        if time.monotonic() - self._progress_at < SECONDS_BETWEEN_PROGRESS:
            return
        self._progress_at = time.monotonic()
        for name, stream in self._streams.items():
            if stream.is_running:
                logger.info("%s: so far %s", name, self._account(name))

    def _account(self, name: str) -> str:
        stream = self._streams[name]
        traffic = [reading.traffic for reading in stream.readings]
        done = sum(reading.counts_of(name)[0] for reading in stream.readings)
        parts = [
            f"{stream.rows.total():,} rows",
            f"{sum(t.requests for t in traffic):,} requests",
            f"{done:,} of {sum(len(reading.partitions) for reading in stream.readings):,} partitions",
        ]
        parts += [
            f"{amount:,} {what}" for reading in stream.readings for what, amount in reading.endpoint.spent().items()
        ]
        if stream.position:
            parts.append(f"at {timestamps.format_shortest(stream.position)}")
        waits = sorted({t.waiting for t in traffic if t.waiting})
        if waits and stream.is_running:
            parts.append(f"waiting for {'; '.join(waits)}")
        return redact(", ".join(parts))
