"""A reading: one endpoint's part in a sync, what it is for, and what has become of it."""

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
class Failed:
    """Why the streams lack something: all that the reading feeds, or the one some of whose rows could not be made.

    partitions   whose rows these are
    """

    error: LiquidationsError
    stream: str | None = None
    partitions: tuple[Partition, ...] = ()


@dataclass(eq=False)
class Reading:
    """One endpoint, the streams that it feeds, and [start, end) of the configuration.

    plan      from partitions to what has to be read of them
    prepare   asks for what the unified streams have to know of the partitions
    """

    endpoint: Endpoint
    outputs: tuple[Output, ...]
    start: int
    end: int
    plan: Callable[[Reading, Sequence[Partition]], list[Gap]]
    prepare: Prepare | None = None
    traffic: Traffic = field(default_factory=Traffic)
    partitions: Sequence[Partition] = ()
    gaps: list[Gap] = field(default_factory=list)  # all of this sync, read or not
    rows_expected: int | None = None  # of the vendor's own stream, where it is known beforehand
    failures: list[Failed] = field(default_factory=list)
    missing: dict[Partition, Slices] = field(default_factory=dict)  # what no earlier sync has read of each
    readable_ranges: dict[Partition, Slice] = field(default_factory=dict)  # as answers say
    _phase: int | None = None
    _began_at: int = field(default_factory=time.time_ns)
    rows_outside: int = 0  # rows outside the time asked for
    _doubtful: dict[str, list[Covered]] = field(default_factory=dict)  # by stream

    @cached_property
    def reach(self) -> Reach:
        """What the endpoint knows of it once its partitions are known, and what is found from then on."""
        return Reach(
            self.endpoint.reach,
            refuses_old=self.endpoint.refuses_old,
            step=self.endpoint.step,
            end=timestamps.ceil_to(self.end, self.endpoint.step),  # as far as requests go
        )

    @property
    def names(self) -> str:
        return ", ".join(output.stream for output in self.outputs)

    @property
    def is_aggregate(self) -> bool:
        return self.endpoint.rows_per_step is not None

    def note_phase(self, instants: Sequence[int]) -> None:
        """Rows of an aggregate tell when its intervals begin: a day may begin at 16:00 UTC."""
        if self._phase is None and instants and self.is_aggregate:
            self._phase = instants[0] % self.endpoint.step

    @property
    def settled_until(self) -> int:
        """Nothing from this instant on is recorded as read: intervals that may still change are read again."""
        if not self.is_aggregate:
            return self.end
        step = self.endpoint.step
        end = min(self.end, self._began_at - self.endpoint.revised_for)
        if self._phase is None:
            return timestamps.floor_to(end, step) - self.endpoint.misalignment
        return timestamps.floor_to(end - self._phase, step) + self._phase

    def believed(self, stream: str, covers: list[Covered]) -> list[Covered]:
        """What counts as read of a stream by now. Nothing does while it may lie behind what the key can read."""
        held = [*self._doubtful.pop(stream, ()), *covers]
        if self.reach.is_doubtful:
            self._doubtful[stream] = held
            return []
        return held

    def first_available(self, partition: Partition) -> int:
        """Nothing of it before this instant is available, as far as is known."""
        return max(self.reach.first_available or EVER, self.readable_range_of(partition)[0])

    def readable_range_of(self, partition: Partition) -> Slice:
        """Since when and until when the key may read it, as answers say."""
        return self.readable_ranges.get(partition, (EVER, NEVER))

    def out_of_reach(self) -> Iterator[tuple[str, Covered]]:
        """By stream and partition, at the end: from when on there is data. So far, that was not known of all."""
        for output in () if self.reach.is_doubtful else self.outputs:
            for partition in self.partitions:
                since = self.first_available(partition)
                yield output.stream, Covered(output.state_partition(partition), (since, since), since)

    @property
    def too_old(self) -> dict[Partition, Slices]:
        """What is missing of each partition and older than what can be read."""
        return self._missing_in(lambda partition: (EVER, self.first_available(partition)))

    @property
    def too_new(self) -> dict[Partition, Slices]:
        """What is missing of each partition and newer than what can be read: if all is, from then on."""
        found = self._missing_in(lambda partition: (self.readable_range_of(partition)[1], NEVER))
        return {
            one: slices if slices.ranges[0][0] > self.start else slices | [(self.readable_range_of(one)[1], self.start)]
            for one, slices in found.items()
        }

    @property
    def unsure(self) -> dict[Partition, Slices]:
        """What is missing of each partition and may be gone, which an empty answer does not tell."""
        sure = self.endpoint.retained_since or EVER
        return self._missing_in(lambda _: (EVER, sure))

    def _missing_in(self, range_of: Callable[[Partition], Slice]) -> dict[Partition, Slices]:
        """Less than a minute is not missing: a start_date of P90D is counted back before the reach is."""
        parts = {partition: slices.within(*range_of(partition)) for partition, slices in self.missing.items()}
        return {
            partition: slices
            for partition, slices in parts.items()
            if any(end - start >= timestamps.MINUTE for start, end in slices.ranges)
        }

    def fail(self, error: LiquidationsError, stream: str | None = None, partitions: tuple[Partition, ...] = ()) -> None:
        """The log says it now, the streams say it at their end; a limit on spending ends them, and is no failure."""
        is_limit = isinstance(error, SpendingLimit)
        if not is_limit:
            self.failures.append(Failed(error, stream, partitions))
        level = logging.WARNING if is_limit else logging.ERROR
        logger.log(level, "%s: %s", stream or self.names, redact(error.message))

    def tell(self) -> None:
        """Warn, at the end, of what was left out, and of what was not available, or not for sure."""
        if self.rows_outside:
            logger.warning("%s: %s rows outside the time asked for were left out", self.names, f"{self.rows_outside:,}")
        if too_old := self.too_old:
            since = timestamps.format_shortest(max(map(self.first_available, too_old)))
            words = f" ({self.reach.refusal})" if self.reach.refusal else ""
            warning = f"data reach back to {since}, and nothing older is read.{words}"
            self._tell_of("missing", too_old, "older than what can be read", warning)
        if too_new := self.too_new:
            until = timestamps.format_shortest(min(self.readable_range_of(partition)[1] for partition in too_new))
            warning = f"the key may read until {until}, and nothing newer is read"
            self._tell_of("missing", too_new, "newer than what can be read", warning)
        if unsure := self.unsure:
            since = timestamps.format_shortest(self.endpoint.retained_since or EVER)
            warning = f"data are kept for sure since {since} only. Where there are no older rows, they may be deleted"
            self._tell_of("under_reported", unsure, "older than what is kept for sure: rows may be deleted", warning)

    def _tell_of(self, kind: Kind, found: Mapping[Partition, Slices], note: str, warning: str) -> None:
        """One warning, and rows of coverage."""
        endpoint = self.endpoint
        logger.warning("%s: %s: %s", self.names, endpoint.vendor, warning)
        for partition, slices in found.items():
            place = endpoint.exchange_and_market(partition)
            endpoint.observations += [Period(endpoint.vendor, *place, kind, *part, note) for part in slices]

    def counts_of(self, stream: str) -> tuple[int, int, int]:
        """How many partitions of a stream are done, failed, and not (all) read yet."""
        open_gaps = [gap for gap in self.gaps if gap.is_unread and any(one.stream == stream for one in gap.outputs)]
        unread = {partition for gap in open_gaps for partition in gap.partitions}
        failed = {partition for gap in open_gaps if gap.failed for partition in gap.partitions}
        failed.update(partition for one in self.failures if one.stream == stream for partition in one.partitions)
        return len(self.partitions) - len(unread | failed), len(failed), len(unread - failed)

    def failures_of(self, stream: str) -> list[LiquidationsError]:
        return [failed.error for failed in self.failures if failed.stream in (None, stream)]
