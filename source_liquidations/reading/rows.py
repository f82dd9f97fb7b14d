"""A page's rows, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from source_liquidations.errors import LiquidationsError

# JSON text: one for each row, or one for all of them.
Column = bytes | Sequence[Any]


class Later(Sequence[Any]):
    """A sequence that is made when somebody first looks into it."""

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
    """A row that could not be taken, and why. Nothing of its partitions counts as read from its instant on.

    owners      its partitions, as indices among those of the request; None = all of them
    """

    instant: int
    error: LiquidationsError
    owners: Sequence[int] | None = None


@dataclass
class Rows:
    """One page's rows as the vendor wrote them, and what is added to each.

    raw         JSON objects, byte for byte as received
    instants    each row's time on the stream's cursor, nanoseconds since the epoch
    added       columns of JSON text: row by row members, without braces and with a trailing comma: `"asset":"btc",`
    owners      where a page holds rows of several partitions: each row's index among them
    typed       the same rows decoded, for the unified streams
    times       each row's time as RFC 3339 text, likewise
    ids         each row's id there
    faults      rows of the page that are not among these
    wanted      where rows have no owners: the partitions that want each (None = all); one that nobody wants only tells
                how far the page goes
    """

    raw: Sequence[bytes | Any]
    instants: list[int]
    added: Sequence[Column] = ()
    owners: list[int] | None = None
    typed: Sequence[Any] = ()
    times: Sequence[bytes] = ()
    ids: Sequence[str] = ()
    faults: Sequence[Fault] = ()
    wanted: Sequence[Sequence[int] | None] | None = None

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def earliest(self) -> int:
        return min(self.instants)

    @cached_property
    def latest(self) -> int:
        return max(self.instants)

    def only(self, keep: Sequence[int]) -> Rows:
        """The rows with these indices."""

        def kept(column: Sequence[Any]) -> Sequence[Any]:
            return Later(lambda: [column[i] for i in keep] if column else ())

        return Rows(
            raw=[self.raw[i] for i in keep],
            instants=[self.instants[i] for i in keep],
            added=[column if isinstance(column, bytes) else [column[i] for i in keep] for column in self.added],
            owners=None if self.owners is None else [self.owners[i] for i in keep],
            typed=kept(self.typed),
            times=kept(self.times),
            ids=kept(self.ids),
            faults=self.faults,
            wanted=None if self.wanted is None else [self.wanted[i] for i in keep],
        )

    def without(self, bad: Mapping[int, LiquidationsError]) -> Rows:
        """The rows but for those that cannot be taken, by index; these are its faults, unless nobody wants them.

        Rows that share an error are one fault, of the earliest.
        """
        if not bad:
            return replace(self, faults=())
        found = self.only([i for i in range(len(self)) if i not in bad])
        owners = self.wanted if self.owners is None else [[owner] for owner in self.owners]
        faults: dict[LiquidationsError, Fault] = {}
        for i, error in bad.items():
            fault = Fault(self.instants[i], error, None if owners is None else owners[i])
            if fault.owners is None or len(fault.owners):
                faults[error] = min(fault, faults.get(error, fault), key=lambda one: one.instant)
        found.faults = list(faults.values())
        return found

    def to_write(self) -> Rows:
        if self.wanted is None:
            return self
        return self.only([i for i, whose in enumerate(self.wanted) if whose is None or len(whose)])

    def between(self, start: int, end: int) -> Rows:
        """The rows of [start, end), and the faults."""
        found = self
        if self.instants and not (start <= self.earliest and self.latest < end):
            found = self.only([i for i, instant in enumerate(self.instants) if start <= instant < end])
        if self.faults:
            found = replace(found, faults=[fault for fault in self.faults if start <= fault.instant < end])
        return found
