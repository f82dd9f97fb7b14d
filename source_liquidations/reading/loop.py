"""The reading loop: workers fetch pages, one writer passes them on with statuses, checkpoints and progress.

    readings ─► scheduler ─► workers (a step each) ─► queue ─► writer ─► blocks, checkpoints, statuses

Only the writer moves positions, and only after its consumer has taken the records: a checkpoint never runs ahead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, LiquidationsError, SpendingLimit, Stopped
from source_liquidations.http.redaction import redact
from source_liquidations.reading.checkpoints import StreamState
from source_liquidations.reading.handover import Handover
from source_liquidations.reading.pages import Block, block
from source_liquidations.reading.report import as_json, as_table, report
from source_liquidations.reading.scheduler import Page, Reading, Scheduler, Step
from source_liquidations.reading.steps import take_step

logger = logging.getLogger("airbyte")

SECONDS_BETWEEN_PROGRESS = 30.0
_MOST_DECODING = 2  # threads beyond those whose requests are under way
_BYTES_HELD = 8 * 1024 * 1024  # handed over and not yet written: what bounds memory, with one body per thread

StatusName = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]


@dataclass(frozen=True)
class Status:
    """A stream's status changed."""

    stream: str
    name: StatusName


@dataclass(frozen=True)
class Expected:
    """How much a stream will bring: rows, which are known of aggregates, and their bytes, judged by the first."""

    stream: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Checkpoint:
    """A stream's state, and the records since the one before."""

    stream: str
    state: StreamState


@dataclass(frozen=True)
class Failure:
    """Why a stream is incomplete: its first error, and how many partitions failed like it."""

    stream: str
    error: LiquidationsError
    partitions: int


Item = Block | Status | Expected | Checkpoint | Failure


@dataclass
class _Stream:
    state: StreamState
    readings: list[Reading]
    records: int = 0
    status: StatusName | None = None
    position: int = 0
    partitions_done: int = 0


class Sync:
    """One `read`: give it readings and states, iterate over what it yields.

    The consumer must have written an item before it asks for the next. `stop` ends the sync early, with the last
    checkpoints; the iteration then ends with Stopped.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        states: Mapping[str, StreamState],
        *,
        workers: int,
        stop: threading.Event,
        last: Mapping[str, Callable[[], Sequence[bytes]]] | None = None,
    ) -> None:
        """`last` gives, by stream, rows that are known only when everything else has been read."""
        self._last = last or {}
        self._scheduler = Scheduler(readings, workers=workers)
        self._workers = workers
        self._stop = stop
        self._handover: Handover[Page | Reading] = Handover(_BYTES_HELD, stop)
        self._streams = {
            name: _Stream(state, [r for r in readings if any(o.stream == name for o in r.outputs)])
            for name, state in states.items()
        }
        self._progress_at = time.monotonic()

    def __iter__(self) -> Iterator[Item]:
        # While pages are decoded, the workers' places are taken by others.
        count = self._workers + min(self._workers // 4, _MOST_DECODING)
        threads = [threading.Thread(target=self._work, name=f"reader-{n}", daemon=True) for n in range(count)]
        for stream in self._streams:
            yield self._set_status(stream, "STARTED")
        try:
            for thread in threads:
                thread.start()
            yield from self._write()
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._scheduler.stop()
            self._log_report()

    def _log_report(self) -> None:
        readings = self._scheduler.readings
        statuses = {name: stream.status or "" for name, stream in self._streams.items()}
        account = report(readings, statuses)
        if account:
            logger.info("sync report\n%s", as_table(account))
            logger.info("sync report as JSON: %s", as_json(account))

    def _write(self) -> Iterator[Item]:
        waiting = {id(reading): reading for stream in self._streams.values() for reading in stream.readings}
        for name, stream in self._streams.items():
            if not stream.readings and name not in self._last:
                yield from self._end(name)
        while waiting:
            self._log_progress()
            item = self._handover.get()
            if item is None:
                yield from self._checkpoints(set())
            if self._stop.is_set():
                yield from self._stopped()
                raise Stopped
            if isinstance(item, Page):
                yield from self._pass_on(item)
            elif isinstance(item, Reading):
                waiting.pop(id(item))
                for name, stream in self._streams.items():
                    done = item in stream.readings and all(id(reading) not in waiting for reading in stream.readings)
                    if done and name not in self._last:
                        yield from self._end(name)
        for name, rows in self._last.items():
            yield from self._emit(block(name, rows()))
            yield from self._end(name)

    def _pass_on(self, page: Page) -> Iterator[Item]:
        reading = page.step.reading
        if page.block is not None:
            name, records = page.block.stream, page.block.records
            yield from self._emit(page.block)
            is_own = any(output.stream == name and output.mapper is None for output in reading.outputs)
            if is_own and records and not reading.rows.get(name) and reading.rows_expected is not None:
                rows = reading.rows_expected
                yield Expected(name, rows, round(rows * page.block.bytes_per_record))
            reading.rows[name] = reading.rows.get(name, 0) + records
        ended = self._note_written(page)
        yield from self._checkpoints({output.stream for output in page.step.outputs} if ended else set())

    def _emit(self, lines: Block) -> Iterator[Item]:
        stream = self._streams[lines.stream]
        if stream.status == "STARTED" and lines.records:
            yield self._set_status(lines.stream, "RUNNING")
        yield lines
        stream.records += lines.records
        stream.state.wrote(lines.records, len(lines.data))

    def _note_written(self, page: Page) -> bool:
        """The page's records are out: move the positions. Whether that ended a partition."""
        window = page.step.window
        assert window is not None
        run = window.run
        with self._scheduler.lock:
            moved = {index: reached for index, reached in page.reached.items() if reached > window.written[index]}
            for index, reached in moved.items():
                window.written[index] = reached
            positions = {index: run.position(index) for index in moved}
            run.forget_written()
        ended = sum(position >= run.span.end for position in positions.values())
        for output in page.step.outputs:
            stream = self._streams[output.stream]
            stream.partitions_done += ended
            if stream.state.cursor_field is None:
                continue  # a list has no position
            reading_positions = page.step.reading.positions.setdefault(output.stream, {})
            for index, position in positions.items():
                # A bucket that is still open is not done: the next sync reads it again.
                stream.position = min(position, run.settled)
                partition = run.span.partitions[index]
                reading_positions[partition.key] = stream.position
                stream.state.advance(output.state_partition(partition), stream.position)
        return ended > 0

    def _checkpoints(self, ended: set[str]) -> Iterator[Item]:
        """What is due, a partition of the streams `ended` having ended just now."""
        for name, stream in self._streams.items():
            if stream.status in {"STARTED", "RUNNING"} and stream.state.due(partition_ended=name in ended):
                yield Checkpoint(name, stream.state)

    def _end(self, name: str) -> Iterator[Item]:
        stream = self._streams[name]
        failures = [error for reading in stream.readings if reading.answers_for(name) for error in reading.failures]
        if stream.state.unwritten:
            yield Checkpoint(name, stream.state)
        yield self._set_status(name, "INCOMPLETE" if failures else "COMPLETE")
        logger.info("%s: %s", name, self._account(stream))
        if failures:
            yield Failure(name, failures[0], len(failures))

    def _stopped(self) -> Iterator[Item]:
        for name, stream in self._streams.items():
            if stream.status in {"STARTED", "RUNNING"}:
                yield Checkpoint(name, stream.state)
                yield self._set_status(name, "INCOMPLETE")

    def _set_status(self, stream: str, name: StatusName) -> Status:
        self._streams[stream].status = name
        return Status(stream, name)

    def _log_progress(self) -> None:
        if time.monotonic() - self._progress_at < SECONDS_BETWEEN_PROGRESS:
            return
        self._progress_at = time.monotonic()
        for name, stream in self._streams.items():
            if stream.status in {"STARTED", "RUNNING"}:
                logger.info("%s: so far %s", name, self._account(stream))

    def _account(self, stream: _Stream) -> str:
        partitions = sum(reading.partitions_total for reading in stream.readings)
        traffic = [reading.traffic for reading in stream.readings]
        parts = [
            f"{stream.records:,} rows",
            f"{sum(t.requests for t in traffic):,} requests",
            f"{stream.partitions_done:,} of {partitions:,} partitions",
        ]
        parts += [
            f"{amount:,} {what}" for reading in stream.readings for what, amount in reading.endpoint.spent().items()
        ]
        if stream.position:
            parts.append(f"at {timestamps.format_shortest(stream.position)}")
        waits = sorted({t.waiting for t in traffic if t.waiting})
        if waits and stream.status in {"STARTED", "RUNNING"}:
            parts.append(f"waiting for {'; '.join(waits)}")
        return redact(", ".join(parts))

    def _work(self) -> None:
        while (step := self._scheduler.next()) is not None:
            try:
                self._do(step)
            except Stopped:
                pass
            except LiquidationsError as error:
                self._fail(step, error)
            except Exception as error:
                logger.debug("unexpected", exc_info=True)
                surprise = LiquidationsError(
                    redact(f"internal error, {type(error).__name__}: {error}."),
                    advice="Please report this, with this trace.",
                )
                surprise.__cause__ = error
                self._fail(step, surprise)
            if self._scheduler.done(step):
                self._handover.put(step.reading, 0)

    def _fail(self, step: Step, error: LiquidationsError) -> None:
        if isinstance(error, SpendingLimit):
            if not step.reading.given_up:
                logger.warning("%s: %s", step.reading.names, error.named(step.reading.endpoint.vendor).message)
            self._scheduler.give_up(step.reading)
            return
        self._scheduler.failed(step, _told(step, error))

    def _do(self, step: Step) -> None:
        if step.window is None:
            partitions = list(step.reading.endpoint.partitions(step.reading.traffic))
            unresolved = step.reading.endpoint.unresolved
            if unresolved and not partitions:
                raise unresolved[0]
            for error in unresolved:
                step.reading.failures.append(_told(step, error))
            self._scheduler.planned(step.reading, partitions)
            return
        if not take_step(self._scheduler, step, self._hand_over):
            return
        if step.window.finished:
            self._scheduler.completed(step)
        else:
            self._scheduler.went_on(step)

    def _hand_over(self, page: Page) -> None:
        self._handover.put(page, len(page.block.data) if page.block is not None else 0)


def _told(step: Step, error: LiquidationsError) -> LiquidationsError:
    """The error with its place named, which the log has now."""
    placed = _placed(step, error)
    logger.error("%s: %s", step.reading.names, redact(placed.message))
    return placed


def _placed(step: Step, error: LiquidationsError) -> LiquidationsError:
    """The error with vendor and partition named, and the configuration's entry where the partition came from one."""
    if isinstance(error, AccessRefused) and error.scope == "reading":
        error.named(f"`{step.reading.endpoint.vendor}.api_key`")  # no partition is to blame
    elif step.window is not None and len(step.window.run.span.partitions) == 1:
        partition = step.window.run.span.partitions[0]
        error.named(f"{partition} (`{partition.entry}`)" if partition.entry else str(partition))
    return error.named(step.reading.endpoint.vendor)
