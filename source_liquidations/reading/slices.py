"""Slices: half-open ranges of time, [start, end) in nanoseconds, that were read completely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Slice = tuple[int, int]

EVER, NEVER = -(2**63), 2**63  # before and after every instant


@dataclass(frozen=True)
class Slices:
    """Sorted, disjoint and merged slices. Empty ones are left out."""

    ranges: tuple[Slice, ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[Slice]) -> Slices:
        merged: list[Slice] = []
        for start, end in sorted(ranges):
            if start >= end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.ranges)

    def __or__(self, other: Iterable[Slice]) -> Slices:
        return Slices.of((*self.ranges, *other))

    def within(self, start: int, end: int) -> Slices:
        """The parts of the slices in [start, end)."""
        return Slices.of((max(start, first), min(end, last)) for first, last in self.ranges)

    def missing(self, start: int, end: int) -> Slices:
        """The parts of [start, end) outside the slices."""
        bounds = [start, *(bound for part in self.within(start, end) for bound in part), end]
        return Slices.of(zip(bounds[::2], bounds[1::2], strict=True))

    @property
    def end(self) -> int | None:
        """The end of the last slice; None without slices."""
        return self.ranges[-1][1] if self.ranges else None
