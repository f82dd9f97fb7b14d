"""A sync: workers read, and one writer yields their blocks, with statuses, checkpoints and progress.

    readings ─► scheduler ─► workers (a request each) ─► handover ─► writer ─► blocks, checkpoints, statuses

Only the writer records slices, after its consumer has taken the rows: a checkpoint never runs ahead of its records.
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
_MAX_EXTRA_THREADS = 2  # that decode while the others send requests
_MAX_HANDOVER_BYTES = 8 * 1024 * 1024  # not yet written. This and one body per thread limit memory

Item = Block | AirbyteMessage


class Sync:
    """One `read`. Iterate over it to get blocks and messages in the order to write them.

    The consumer must have written an item before it takes the next. `stop` ends the sync early, with a last checkpoint
    of each stream; the iteration then raises Stopped. `final_rows` makes, by stream, rows that are known only once
    everything else has been read. At the end, `failures` says why streams are incomplete.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        states: Mapping[str, StreamState],
        *,
        workers: int,
        stop: threading.Event,
        final_rows: Mapping[str, Callable[[], Table]] | None = None,
    ) -> None:
        self.failures: list[AirbyteTracedException] = []
        self._final_rows = final_rows or {}
        self._stop = stop
        self._scheduler = Scheduler(readings, workers=workers)
        self._handover = Handover(_MAX_HANDOVER_BYTES)
        self._workers = Workers(self._scheduler, self._handover, stop)
        # While a thread decodes a page, another one sends a request in its place.
        self._threads = workers + min(workers // 4, _MAX_EXTRA_THREADS)
        self._outcomes = {
            name: Outcome(state, [r for r in readings if any(o.stream == name for o in r.outputs)])
            for name, state in states.items()
        }
        self._unfinished = set(readings)
        self._began = self._progress_at = time.monotonic()

    def __iter__(self) -> Iterator[Item]:
        for name in self._outcomes:
            yield self._set_status(name, "STARTED")
        try:
            self._workers.start(self._threads)
            yield from self._write()
        except (Exception, KeyboardInterrupt):
            for name, outcome in self._outcomes.items():
                if outcome.is_running:
                    yield checkpoint(outcome.state)
                    yield self._set_status(name, "INCOMPLETE")
            raise
        finally:
            self._stop.set()
            self._scheduler.stop()
            log_report(self._outcomes.values(), seconds=time.monotonic() - self._began)

    def _write(self) -> Iterator[Item]:
        yield from self._end_finished_streams()
        while self._unfinished:
            self._log_progress()
            item: Handed | BaseException | None = None
            with suppress(Empty):
                item = self._handover.get(timeout=TICK)
            if self._stop.is_set():
                raise Stopped
            if isinstance(item, BaseException):
                raise item
            yield from self.pass_on(item)
        for name, rows in self._final_rows.items():
            yield from self._emit(block(name, rows()))
            yield from self._end(name)

    def pass_on(self, item: Handed | None) -> Iterator[Item]:
        """Yield what follows from an item of a worker (None = there was none within a tick)."""
        ended: set[str] = set()
        if isinstance(item, Block):
            yield from self._emit(item)
        elif isinstance(item, Ended):
            self._unfinished.discard(item.reading)
            for name, covered in item.reading.limits():
                self._outcomes[name].state.add(*covered)
            yield from self._end_finished_streams()
        elif item is not None:
            ended = {output.stream for output in item.outputs}
        for name, outcome in self._outcomes.items():
            if outcome.is_running and outcome.state.is_due(partition_ended=name in ended):
                yield checkpoint(outcome.state)

    def _emit(self, lines: Block) -> Iterator[Item]:
        outcome = self._outcomes[lines.stream]
        if lines.records:
            if outcome.status == "STARTED":
                yield self._set_status(lines.stream, "RUNNING")
            yield lines
            yield from self._size_estimate(outcome, lines)
            outcome.rows[lines.reading] += lines.records
            outcome.state.count_written(lines.records, len(lines.data))
        for covered in lines.covers:
            outcome.state.add(*covered)
        outcome.position = lines.position or outcome.position

    def _size_estimate(self, outcome: Outcome, first: Block) -> Iterator[Item]:
        """With the first block of a vendor's own stream: how large the stream will be, if that is known."""
        own = Output(first.stream)
        rows = next((reading.rows_expected for reading in outcome.readings if own in reading.outputs), None)
        if rows is not None and not outcome.rows:
            yield estimate(first.stream, rows, round(rows * first.bytes_per_record))

    def _end_finished_streams(self) -> Iterator[Item]:
        for name, outcome in self._outcomes.items():
            if outcome.is_running and name not in self._final_rows and self._unfinished.isdisjoint(outcome.readings):
                yield from self._end(name)

    def _end(self, name: str) -> Iterator[Item]:
        outcome = self._outcomes[name]
        failures = [failure.error for reading in outcome.readings for failure in reading.failures_of(name)]
        if outcome.state.has_changed:
            yield checkpoint(outcome.state)
        yield self._set_status(name, "INCOMPLETE" if failures else "COMPLETE")
        logger.info("%s: %s", name, self._progress(name))
        if failures:
            self.failures.append(traced(failures[0], name, len(failures) - 1))

    def _set_status(self, stream: str, name: StatusName) -> AirbyteMessage:
        self._outcomes[stream].status = name
        return status(stream, name)

    def _log_progress(self) -> None:
        if time.monotonic() - self._progress_at < SECONDS_BETWEEN_PROGRESS:
            return
        self._progress_at = time.monotonic()
        for name, outcome in self._outcomes.items():
            if outcome.is_running:
                logger.info("%s: so far %s", name, self._progress(name))

    def _progress(self, name: str) -> str:
        outcome = self._outcomes[name]
        traffic = [reading.traffic for reading in outcome.readings]
        done = sum(reading.counts_of(name)[0] for reading in outcome.readings)
        parts = [
            f"{outcome.rows.total():,} rows",
            f"{sum(t.requests for t in traffic):,} requests",
            f"{done:,} of {sum(len(reading.partitions) for reading in outcome.readings):,} partitions",
        ]
        parts += [
            f"{amount:,} {what}" for reading in outcome.readings for what, amount in reading.endpoint.spent().items()
        ]
        if outcome.position:
            parts.append(f"at {timestamps.format_shortest(outcome.position)}")
        waits = sorted({t.waiting for t in traffic if t.waiting})
        if waits and outcome.is_running:
            parts.append(f"waiting for {'; '.join(waits)}")
        return redact(", ".join(parts))
