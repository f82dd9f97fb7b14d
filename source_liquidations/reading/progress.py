"""Stream state: which slices of each partition's time have been read, and when to say so."""

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
# A platform counts records and states only, and ends a source that is silent for too long.
SECONDS_BETWEEN_SIGNS_OF_LIFE = 30.0
_ALWAYS_WORTH_WRITING = 32 * 1024


@dataclass
class Progress:
    """What has been read of one partition.

    saved     before this sync
    read      in this sync
    recheck   the end of `saved`, which this sync reads again for late rows. What lies behind it is recorded only once
              that is done: else a later sync would look for late rows in the wrong place
    since     nothing before this instant is available in this sync
    """

    saved: Slices = field(default_factory=Slices)
    read: Slices = field(default_factory=Slices)
    recheck: Slice = (NEVER, NEVER)
    since: int = EVER

    @property
    def recorded(self) -> Slices:
        """What a later sync has no reason to read."""
        start, end = self.recheck
        unchecked = self.read.missing(max(start, self.since), end)
        return self.saved | (self.read.within(EVER, end) if unchecked.ranges else self.read)

    def todo(self, start: int, end: int, lookback: int) -> Slices:
        """What of [start, end) a sync has to read: what is missing, and the last `lookback` again."""
        last = self.saved.within(EVER, end).end
        if last is None:
            return Slices.of([(start, end)])
        self.recheck = (max(start, last - lookback), last)
        return self.saved.missing(start, end) | [self.recheck]


class StreamState:
    """One stream's progress: loaded, extended, written out.

    `{"states": [{"partition": {...}, "cursor": {<cursor field>: <RFC 3339>}, "slices": [{"start": …, "end": …}]}]}`.
    Entries of partitions that are no longer configured are kept. A stream without a cursor remembers nothing.
    An entry without slices (version 0.1.0) was read from `start` up to its cursor.
    """

    def __init__(
        self, stream: str, cursor_field: str | None, saved: Mapping[str, Any] | None = None, *, start: int = 0
    ) -> None:
        self.stream = stream
        self.cursor_field = cursor_field
        self._start = start
        self._partitions: dict[Partition, Progress] = {}
        self._entries: dict[Partition, dict[str, Any] | None] = {}  # as saved last, of what has not changed since
        self._load(saved or {})
        self._written_at = time.monotonic()
        self._records = 0
        self._bytes = 0
        self._last_size = 0

    def _load(self, saved: Mapping[str, Any]) -> None:
        states = saved.get("states", []) if self.cursor_field is not None else []
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
                "%s: by the state, data were read until %s, which is in the future. Until then, only the lookback is"
                " read. If a clock was wrong, reset the stream.",
                self.stream,
                timestamps.format_shortest(max(ends)),
            )

    def _slices(self, entry: Mapping[str, Any]) -> list[Slice]:
        if entry.get("slices") is not None:
            return [(timestamps.parse(part["start"]), timestamps.parse(part["end"])) for part in entry["slices"]]
        position = timestamps.parse(entry["cursor"][str(self.cursor_field)])
        return [(min(self._start, position - 1), position)] if position > 0 else []  # some begin at the year 1

    def _unusable(self, problem: str) -> ConfigurationError:
        return ConfigurationError(
            f"state of {self.stream}",
            f"{problem}.",
            advice='Each entry is {"partition": {…}, "cursor": {"'
            + str(self.cursor_field)
            + '": "2024-01-01T00:00:00Z"}}; '
            "reset the stream to read it again from start_date.",
        )

    def of(self, partition: Partition) -> Progress:
        """The progress of a partition, which may be none yet."""
        return self._partitions.setdefault(partition, Progress())

    def add(self, partition: Partition, part: Slice, since: int = EVER) -> None:
        """A slice of a partition has been read, and its rows are written. Nothing before `since` is available."""
        progress = self.of(partition)
        if part[0] < part[1] or since > progress.since:
            progress.since = max(progress.since, since)
            progress.read |= [part]
            self._entries.pop(partition, None)

    def wrote(self, records: int, size: int) -> None:
        """Count records that follow the last checkpoint."""
        self._records += records
        self._bytes += size

    @property
    def unwritten(self) -> bool:
        """Whether anything changed, or any record was written, since the last checkpoint; or there was none."""
        return not self._last_size or self._records > 0 or len(self._entries) < len(self._partitions)

    def due(self, *, partition_ended: bool) -> bool:
        """Whether to write a checkpoint now.

        At the end of a partition, and every few seconds; less often where nothing changes. A state of many partitions
        is not repeated for each of them: it waits until as many bytes went out in records, or the few seconds have
        passed.
        """
        waited = time.monotonic() - self._written_at
        if not self.unwritten:
            return waited >= SECONDS_BETWEEN_SIGNS_OF_LIFE
        if waited >= SECONDS_BETWEEN_CHECKPOINTS:
            return True
        return partition_ended and self._last_size <= max(_ALWAYS_WORTH_WRITING, self._bytes)

    def blob(self) -> dict[str, Any]:
        """The state as it is saved."""
        partitions = list(self._partitions)  # another reading of the stream may be adding its own
        for partition in partitions:
            if partition not in self._entries:
                self._entries[partition] = self._entry(partition)
        if self.cursor_field is None:
            return {"__ab_no_cursor_state_message": True}  # Airbyte's own word for "nothing to remember"
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

    def take(self, size: int) -> int:
        """A checkpoint of so many bytes was written: start counting again. Returns the records since the last."""
        records, self._records, self._bytes = self._records, 0, 0
        self._last_size = size
        self._written_at = time.monotonic()
        return records
