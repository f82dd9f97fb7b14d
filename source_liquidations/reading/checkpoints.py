"""Stream state: how far each partition is read, and when to say so."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.reading.endpoint import Partition

SECONDS_BETWEEN_CHECKPOINTS = 10.0
# A platform counts records and states only, and ends a source that is silent for too long.
SECONDS_BETWEEN_SIGNS_OF_LIFE = 30.0
_ALWAYS_WORTH_WRITING = 32 * 1024


class StreamState:
    """One stream's positions: loaded, moved forward, written out.

    `{"states": [{"partition": {...}, "cursor": {<cursor field>: <RFC 3339>}}]}`. Entries of partitions that are no
    longer configured are kept as they came. A stream without a cursor remembers nothing.
    """

    def __init__(self, stream: str, cursor_field: str | None, saved: Mapping[str, Any] | None = None) -> None:
        self.stream = stream
        self.cursor_field = cursor_field
        self._positions = dict(self._load(saved or {}, cursor_field)) if cursor_field else {}
        self._written_at = time.monotonic()
        self._records = 0
        self._bytes = 0
        self._last_size = 0
        self._changed = True  # the first checkpoint is written even where nothing moves

    def _load(self, saved: Mapping[str, Any], cursor_field: str) -> Iterable[tuple[Partition, int]]:
        states = saved.get("states", [])
        if not isinstance(states, list):
            raise self._unusable("`states` must be a list")
        for entry in states:
            try:
                values = tuple((str(name), str(value)) for name, value in entry["partition"].items())
                yield Partition(values), timestamps.parse(entry["cursor"][cursor_field])
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise self._unusable(f"an entry cannot be read ({type(error).__name__}: {error})") from None

    def _unusable(self, problem: str) -> ConfigurationError:
        return ConfigurationError(
            f"state of {self.stream}",
            f"{problem}.",
            advice='Each entry is {"partition": {…}, "cursor": {"'
            + str(self.cursor_field)
            + '": "2024-01-01T00:00:00Z"}}; '
            "reset the stream to read it again from start_date.",
        )

    def position(self, partition: Partition) -> int | None:
        """Nanoseconds since the epoch up to which the partition was read, or None where it never was."""
        return self._positions.get(partition)

    def advance(self, partition: Partition, position: int) -> None:
        """Move a position forward; never back."""
        if position > self._positions.get(partition, -(2**63)):
            self._positions[partition] = position
            self._changed = True

    def wrote(self, records: int, size: int) -> None:
        """Count records that follow the last checkpoint."""
        self._records += records
        self._bytes += size

    @property
    def unwritten(self) -> bool:
        """Whether anything changed, or any record was written, since the last checkpoint."""
        return self._changed or self._records > 0

    def due(self, *, partition_ended: bool) -> bool:
        """Whether to write a checkpoint now.

        At the end of a partition, and every few seconds; less often where nothing changes. A state of thousands of
        partitions is not repeated for each of them: it waits until as many bytes of records went out, or the few
        seconds have passed.
        """
        waited = time.monotonic() - self._written_at
        if not self.unwritten:
            return waited >= SECONDS_BETWEEN_SIGNS_OF_LIFE
        if waited >= SECONDS_BETWEEN_CHECKPOINTS:
            return True
        return partition_ended and self._last_size <= max(_ALWAYS_WORTH_WRITING, self._bytes)

    def blob(self) -> dict[str, Any]:
        if self.cursor_field is None:
            return {"__ab_no_cursor_state_message": True}  # Airbyte's own word for "nothing to remember"
        return {
            "states": [
                {
                    "partition": dict(partition.values),
                    "cursor": {self.cursor_field: timestamps.format_shortest(position)},
                }
                for partition, position in self._positions.items()
            ]
        }

    def take(self, size: int) -> int:
        """A checkpoint of so many bytes was written: start counting anew. Returns the records since the last."""
        records, self._records, self._bytes, self._changed = self._records, 0, 0, False
        self._last_size = size
        self._written_at = time.monotonic()
        return records
