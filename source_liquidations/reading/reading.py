"""A reading: one endpoint's part of a sync, the streams that it feeds, and its results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from source_liquidations import timestamps
from source_liquidations.errors import LiquidationsError, SpendingLimit
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.coverage import Kind, Period
from source_liquidations.reading.endpoint import Endpoint, Partition
from source_liquidations.reading.pages import Covered, Output
from source_liquidations.reading.reach import Reach
from source_liquidations.reading.slices import EVER, NEVER, Slice, Slices

if TYPE_CHECKING:
    from source_liquidations.reading.windows import Gap


Prepare = Callable[[Sequence[Partition], Traffic], None]


@dataclass(frozen=True)
class Failure:
    """Why rows are missing.

    partitions  whose rows they are; empty if those of all partitions may be missing
    stream      the only stream that lacks them; None = all streams of the reading
    """

    error: LiquidationsError
    partitions: tuple[Partition, ...] = ()
    stream: str | None = None


@dataclass(eq=False)
class Reading:
    """One endpoint, the streams that it feeds, and [start, end) of the configuration.

    plan        makes the gaps of the partitions
    prepare     requests what the unified streams need to know of the partitions
    """

    endpoint: Endpoint
    outputs: tuple[Output, ...]
    start: int
    end: int
    plan: Callable[[Reading, Sequence[Partition]], list[Gap]]
    prepare: Prepare | None = None
    traffic: Traffic = field(default_factory=Traffic)
    partitions: Sequence[Partition] = ()
    gaps: list[Gap] = field(default_factory=list)  # all of this sync, whether read or not
    rows_expected: int | None = None  # in the vendor's own stream; None for events
    failures: list[Failure] = field(default_factory=list)
    missing: dict[Partition, Slices] = field(default_factory=dict)  # not read by any earlier sync
    readable_ranges: dict[Partition, Slice] = field(default_factory=dict)  # as stated in answers
    rows_outside: int = 0  # rows outside the requested time
    _phase: int | None = None  # how far the vendor's intervals begin from multiples of the step
    _began_at: int = field(default_factory=time.time_ns)
    _unconfirmed: dict[str, list[Covered]] = field(default_factory=dict)  # by stream

    @cached_property
    def reach(self) -> Reach:
        """Made late: an endpoint may know its reach only after it has listed its partitions."""
        return Reach(
            self.endpoint.reach,
            refuses_old=self.endpoint.refuses_old,
            step=self.endpoint.step,
            end=timestamps.ceil_to(self.end, self.endpoint.step),  # requests end at whole steps
        )

    @property
    def stream_names(self) -> str:
        return ", ".join(output.stream for output in self.outputs)

    @property
    def is_aggregate(self) -> bool:
        return self.endpoint.rows_per_step is not None

    def note_phase(self, instants: Sequence[int]) -> None:
        """Note when an aggregate's intervals begin, as rows show: a day may begin at 16:00 UTC."""
        if self._phase is None and instants and self.is_aggregate:
            self._phase = instants[0] % self.endpoint.step

    @property
    def settled_until(self) -> int:
        """Nothing from this instant on is recorded as read, so the next sync reads intervals again that may change."""
        if not self.is_aggregate:
            return self.end
        step = self.endpoint.step
        end = min(self.end, self._began_at - self.endpoint.revised_for)
        if self._phase is None:
            return timestamps.floor_to(end, step) - self.endpoint.misalignment
        return timestamps.floor_to(end - self._phase, step) + self._phase

    def confirmed(self, stream: str, covers: list[Covered]) -> list[Covered]:
        """What counts as read of a stream: nothing while the reach is doubtful, and later what was read meanwhile."""
        covers = [*self._unconfirmed.pop(stream, ()), *covers]
        if self.reach.is_doubtful:
            self._unconfirmed[stream] = covers
            return []
        return covers

    def first_available(self, partition: Partition) -> int:
        """The first instant from which the partition has data to read, by what is known so far."""
        return max(self.reach.first_available or EVER, self.readable_range_of(partition)[0])

    def readable_range_of(self, partition: Partition) -> Slice:
        return self.readable_ranges.get(partition, (EVER, NEVER))

    def limits(self) -> Iterator[tuple[str, Covered]]:
        """By stream and partition, the first available instant, which may be known only at the end of the reading."""
        for output in () if self.reach.is_doubtful else self.outputs:
            for partition in self.partitions:
                first = self.first_available(partition)
                yield output.stream, Covered(output.state_partition(partition), (first, first), first)

    def _missing_in(self, range_of: Callable[[Partition], Slice]) -> dict[Partition, Slices]:
        """What is missing of each partition in a range. Ignores less than a minute.

        A start_date of P90D is counted back from an earlier instant than the reach.
        """
        parts = {partition: slices.within(*range_of(partition)) for partition, slices in self.missing.items()}
        return {
            partition: slices
            for partition, slices in parts.items()
            if any(end - start >= timestamps.MINUTE for start, end in slices.ranges)
        }

    def fail(self, error: LiquidationsError, partitions: tuple[Partition, ...] = (), stream: str | None = None) -> None:
        """Log an error now, and report it at the end of the streams. A spending limit is only logged: no failure."""
        self.endpoint.located(error, partitions).of_vendor(self.endpoint.vendor)
        is_limit = isinstance(error, SpendingLimit)
        if not is_limit:
            self.failures.append(Failure(error, partitions if error.scope == "partition" else (), stream))
        level = logging.WARNING if is_limit else logging.ERROR
        logger.log(level, "%s: %s", stream or self.stream_names, redact(error.message))

    def warn_of_missing_data(self) -> None:
        """Warn, at the end, of rows that were left out, and of data that are not available or may be deleted."""
        if count := self.rows_outside:
            logger.warning("%s: %s rows outside the requested time were left out", self.stream_names, f"{count:,}")
        if too_old := self._missing_in(lambda partition: (EVER, self.first_available(partition))):
            first = timestamps.format_shortest(max(map(self.first_available, too_old)))
            refusal = f" ({self.reach.refusal})" if self.reach.refusal else ""
            warning = f"data reach back to {first}. Older data are not read.{refusal}"
            self._warn("missing", too_old, "older than what can be read", warning)
        if too_new := self._missing_in(lambda partition: (self.readable_range_of(partition)[1], NEVER)):
            ends = {partition: self.readable_range_of(partition)[1] for partition in too_new}
            for partition, slices in too_new.items():
                if slices.ranges[0][0] <= self.start:  # then the time between that end and `start` is missing, too
                    too_new[partition] = slices | [(ends[partition], self.start)]
            until = timestamps.format_shortest(min(ends.values()))
            warning = f"the key may read until {until}. Newer data are not read."
            self._warn("missing", too_new, "newer than what can be read", warning)
        retained_since = self.endpoint.retained_since or EVER
        if deleted := self._missing_in(lambda _: (EVER, retained_since)):
            first = timestamps.format_shortest(retained_since)
            warning = f"the vendor keeps all rows only since {first}. Older ones may be deleted."
            self._warn("under_reported", deleted, "older than what is kept for sure: rows may be deleted", warning)

    def _warn(self, kind: Kind, missing: Mapping[Partition, Slices], note: str, warning: str) -> None:
        """Log one warning, and add rows of `liquidation_coverage`."""
        endpoint = self.endpoint
        logger.warning("%s: %s: %s", self.stream_names, endpoint.vendor, warning)
        for partition, slices in missing.items():
            market = endpoint.exchange_and_market(partition)
            endpoint.observations += [Period(endpoint.vendor, *market, kind, *part, note) for part in slices]

    def counts_of(self, stream: str) -> tuple[int, int, int]:
        """How many partitions of a stream are done, failed, and not completely read."""
        unread_gaps = [gap for gap in self.gaps if gap.is_unread and any(o.stream == stream for o in gap.outputs)]
        unread = {partition for gap in unread_gaps for partition in gap.partitions}
        failed = {partition for failure in self.failures_of(stream) for partition in failure.partitions}
        return len(self.partitions) - len(unread | failed), len(failed), len(unread - failed)

    def failures_of(self, stream: str) -> list[Failure]:
        return [failure for failure in self.failures if failure.stream in (None, stream)]
