"""Stream state: the slices that were read of each partition, and when a checkpoint is due."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.slices import EVER, NEVER, Slice, Slices

SECONDS_BETWEEN_CHECKPOINTS = 10.0
# A platform counts only records and states as activity, and stops a source that shows none for too long.
SECONDS_BETWEEN_HEARTBEATS = 30.0
_SMALL_STATE = 32 * 1024  # bytes
_OF_THE_PLATFORM = "__ab_"  # how its own members of a state begin


@dataclass
class Progress:
    """What has been read of one partition.

    saved               before this sync
    read                in this sync
    recheck             the end of `saved`, read again for late-arriving rows. Later slices are recorded only after it:
                        the lookback of the next sync starts at the last slice, and would miss late rows before it.
                        It has no part that is not available
    """

    saved: Slices = field(default_factory=Slices)
    read: Slices = field(default_factory=Slices)
    recheck: Slice = (NEVER, NEVER)

    @property
    def recorded(self) -> Slices:
        """The slices that the next sync does not read again, apart from the lookback."""
        unchecked = self.read.missing(*self.recheck)
        return self.saved | (self.read.within(EVER, self.recheck[1]) if unchecked.ranges else self.read)

    def todo(self, start: int, end: int, lookback: int) -> Slices:
        """The parts of [start, end) to read: those that are missing, and the last `lookback` again."""
        last = self.saved.within(EVER, end).end
        if last is None:
            return Slices.of([(start, end)])
        self.recheck = (max(start, last - lookback), last)
        return self.saved.missing(start, end) | [self.recheck]


class StreamState:
    """One stream's state.

    `{"states": [{"partition": {...}, "cursor": {<cursor field>: <RFC 3339>}, "slices": [{"start": …, "end": …}]}]}`.
    Entries of partitions that are no longer configured are kept. A stream without a cursor has no state.
    An entry without slices (version 0.1.0) means one slice from `start` to its cursor.
    """

    def __init__(
        self, stream: str, cursor_field: str | None, saved: Mapping[str, Any] | None = None, *, start: int = 0
    ) -> None:
        self.stream = stream
        self.cursor_field = cursor_field
        self._start = start
        self._partitions: dict[Partition, Progress] = {}
        self._entries: dict[Partition, dict[str, Any] | None] = {}  # of partitions unchanged since the last checkpoint
        self._load(saved or {})
        self._written_at = time.monotonic()
        self._records = 0  # since the last checkpoint, as are `_bytes`
        self._bytes = 0
        self._last_size = 0  # of the last checkpoint, in bytes

    def _load(self, saved: Mapping[str, Any]) -> None:
        own = {name: value for name, value in saved.items() if not name.startswith(_OF_THE_PLATFORM)}
        states = own.get("states") if own and self.cursor_field is not None else []
        if not isinstance(states, list):
            raise self._unusable("`states` must be a list")
        for entry in states:
            try:
                values = tuple((str(name), str(value)) for name, value in entry["partition"].items())
                self.of(Partition(values)).saved |= self._slices(entry)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise self._unusable(f"an entry cannot be read ({type(error).__name__}: {error})") from None
        ends = [progress.saved.end for progress in self._partitions.values() if progress.saved.end is not None]
        if max(ends, default=0) > time.time_ns() + timestamps.DAY:
            logger.warning(
                "%s: the state says that data were read until %s, which is in the future. Until then, only the lookback"
                " is read. If a clock was wrong, reset the stream.",
                self.stream,
                timestamps.format_shortest(max(ends)),
            )

    def _slices(self, entry: Mapping[str, Any]) -> list[Slice]:
        if entry.get("slices") is not None:
            return [(timestamps.parse(part["start"]), timestamps.parse(part["end"])) for part in entry["slices"]]
        position = timestamps.parse(entry["cursor"][str(self.cursor_field)])
        return [(min(self._start, position - 1), position)] if position > 0 else []  # some begin at the year 1

    def _unusable(self, problem: str) -> ConfigurationError:
        shape = f'{{"partition": {{…}}, "cursor": {{"{self.cursor_field}": "2024-01-01T00:00:00Z"}}}}'
        advice = f"Each entry is {shape}; reset the stream to read it again from start_date."
        return ConfigurationError(f"state of {self.stream}", f"{problem}.", advice=advice)

    def of(self, partition: Partition) -> Progress:
        """The progress of a partition, created if it has none."""
        return self._partitions.setdefault(partition, Progress())

    def add(self, partition: Partition, part: Slice, first_available: int = EVER) -> None:
        """Record a slice whose rows are written. Nothing before `first_available` is available."""
        progress = self.of(partition)
        start, end = progress.recheck
        if part[0] < part[1] or first_available > start:
            progress.recheck = max(start, first_available), end
            progress.read |= [part]
            self._entries.pop(partition, None)

    def count_written(self, records: int, size: int) -> None:
        """Count records that were written after the last checkpoint, and their bytes."""
        self._records += records
        self._bytes += size

    @property
    def has_changed(self) -> bool:
        """Whether a slice or a record was added since the last checkpoint, or there was no checkpoint yet."""
        return not self._last_size or self._records > 0 or len(self._entries) < len(self._partitions)

    def is_due(self, *, partition_ended: bool) -> bool:
        """Whether to write a checkpoint now: at the end of a partition, every few seconds, less often without changes.

        A large state is not written at the end of each partition: it waits for as many bytes of records, or the few
        seconds.
        """
        waited = time.monotonic() - self._written_at
        if not self.has_changed:
            return waited >= SECONDS_BETWEEN_HEARTBEATS
        if waited >= SECONDS_BETWEEN_CHECKPOINTS:
            return True
        return partition_ended and self._last_size <= max(_SMALL_STATE, self._bytes)

    def blob(self) -> dict[str, Any]:
        """The state as it is saved."""
        partitions = list(self._partitions)  # a copy: another reading of the stream may add its own meanwhile
        for partition in partitions:
            if partition not in self._entries:
                self._entries[partition] = self._entry(partition)
        if self.cursor_field is None:
            return {"__ab_no_cursor_state_message": True}  # Airbyte's state of a stream without a cursor
        entries = map(self._entries.get, partitions)
        return {"states": [entry for entry in entries if entry is not None]}

    def _entry(self, partition: Partition) -> dict[str, Any] | None:
        texts = [[timestamps.format_shortest(bound) for bound in part] for part in self.of(partition).recorded]
        if not texts:
            return None
        return {
            "partition": dict(partition.values),
            "cursor": {str(self.cursor_field): texts[-1][1]},
            "slices": [{"start": start, "end": end} for start, end in texts],
        }

    def reset_counts(self, size: int) -> int:
        """Restart counting after a checkpoint of `size` bytes. Returns the number of records since the one before."""
        records, self._records, self._bytes = self._records, 0, 0
        self._last_size = size
        self._written_at = time.monotonic()
        return records
