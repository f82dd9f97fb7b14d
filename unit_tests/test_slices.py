"""Slices: after any additions, subtractions and joins, they are the correct set of instants."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from source_liquidations.reading.slices import Slice, Slices

instants = st.integers(0, 60)
ranges = st.lists(st.tuples(instants, instants), max_size=8)


def instants_of(parts: list[Slice] | Slices) -> set[int]:
    return {instant for start, end in parts for instant in range(start, end)}


@given(ranges)
def test_slices_are_sorted_disjoint_and_as_few_as_can_be(parts: list[Slice]) -> None:
    slices = Slices.of(parts)
    assert instants_of(slices) == instants_of(parts)
    assert all(start < end for start, end in slices)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(slices.ranges))


@given(ranges, ranges)
def test_joining_is_a_union(left: list[Slice], right: list[Slice]) -> None:
    assert instants_of(Slices.of(left) | right) == instants_of(left) | instants_of(right)


@given(ranges, instants, instants)
def test_what_is_within_and_what_is_missing_are_all_of_a_range(parts: list[Slice], start: int, end: int) -> None:
    slices = Slices.of(parts)
    within, missing = slices.within(start, end), slices.missing(start, end)
    assert instants_of(within) == instants_of(parts) & set(range(start, end))
    assert instants_of(missing) == set(range(start, end)) - instants_of(parts)


@given(ranges)
def test_the_end_is_the_last_one(parts: list[Slice]) -> None:
    assert Slices.of(parts).end == (max(instants_of(parts)) + 1 if instants_of(parts) else None)
