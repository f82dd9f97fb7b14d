"""A page's rows, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from source_liquidations.errors import LiquidationsError

# JSON text: one per row, or one for all rows.
Column = bytes | Sequence[Any]


class LazySequence(Sequence[Any]):
    """A sequence that is made on first access."""

    def __init__(self, make: Callable[[], Sequence[Any]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Sequence[Any]:
        return self._make()

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._made)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._made)


class Fault(NamedTuple):
    """An invalid row, and why it is. From its instant on, nothing of its partitions counts as read.

    owners      its partitions, as indices into those of the request; None = all of them
    """

    instant: int
    error: LiquidationsError
    owners: Sequence[int] | None = None


@dataclass
class Rows:
    """One page's rows as the vendor wrote them, and the fields to add.

    raw         JSON objects, byte for byte as received
    instants    each row's cursor value, in nanoseconds since the epoch
    added       columns of fields to add, without braces and with a trailing comma: `"asset":"btc",`
    owners      if a page holds rows of several partitions: the index of each row's partition
    typed       the decoded rows, for the unified streams
    times       each row's time as RFC 3339 text, for the unified streams
    ids         each row's id in the unified streams
    faults      invalid rows of the page, which are not among these
    matched_by  if partitions are patterns: the indices of those that match each row; None = all. A row that matches
                none is not written, but its time shows how far the page goes
    """

    raw: Sequence[bytes | Any]
    instants: list[int]
    added: Sequence[Column] = ()
    owners: list[int] | None = None
    typed: Sequence[Any] = ()
    times: Sequence[bytes] = ()
    ids: Sequence[str] = ()
    faults: Sequence[Fault] = ()
    matched_by: Sequence[Sequence[int] | None] | None = None

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def earliest(self) -> int:
        return min(self.instants)

    @cached_property
    def latest(self) -> int:
        return max(self.instants)

    def only(self, indices: Sequence[int]) -> Rows:
        """The rows with these indices."""

        def kept(column: Sequence[Any]) -> Sequence[Any]:
            return LazySequence(lambda: [column[i] for i in indices] if column else ())

        return Rows(
            raw=[self.raw[i] for i in indices],
            instants=[self.instants[i] for i in indices],
            added=[column if isinstance(column, bytes) else [column[i] for i in indices] for column in self.added],
            owners=None if self.owners is None else [self.owners[i] for i in indices],
            typed=kept(self.typed),
            times=kept(self.times),
            ids=kept(self.ids),
            faults=self.faults,
            matched_by=None if self.matched_by is None else [self.matched_by[i] for i in indices],
        )

    def without(self, invalid: Mapping[int, LiquidationsError]) -> Rows:
        """The rows without the invalid ones, given by index. These become its faults, unless they match no partition.

        Rows that share an error become one fault, with the earliest instant.
        """
        if not invalid:
            return replace(self, faults=())
        valid = self.only([i for i in range(len(self)) if i not in invalid])
        owners = self.matched_by if self.owners is None else [[owner] for owner in self.owners]
        faults: dict[LiquidationsError, Fault] = {}
        for i, error in invalid.items():
            fault = Fault(self.instants[i], error, None if owners is None else owners[i])
            if fault.owners is None or len(fault.owners):
                faults[error] = min(fault, faults.get(error, fault), key=lambda fault: fault.instant)
        valid.faults = list(faults.values())
        return valid

    def to_write(self) -> Rows:
        if self.matched_by is None:
            return self
        return self.only([i for i, owners in enumerate(self.matched_by) if owners is None or len(owners)])

    def between(self, start: int, end: int) -> Rows:
        """The rows of [start, end), and the faults."""
        rows = self
        if self.instants and not (start <= self.earliest and self.latest < end):
            rows = self.only([i for i, instant in enumerate(self.instants) if start <= instant < end])
        if self.faults:
            rows = replace(rows, faults=[fault for fault in self.faults if start <= fault.instant < end])
        return rows
