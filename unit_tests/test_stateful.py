"""Any sequence of syncs, kills, late rows, changing buckets, older states and new markets ends with all rows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from source_liquidations.reading.pages import Block
from unit_tests.simulated import FakeVendor, Row, Simulation, rows_of

START = 1_000
LOOKBACK = 60
STEP = 10


class Buckets(FakeVendor):
    """One row for each market and interval that has begun; the number in it is that of its events so far."""

    now = START

    def all_rows(self, start: int, end: int, markets: Iterable[str] | None = None) -> list[Row]:
        first = -(-start // STEP) * STEP
        return [
            (market, bucket, sum(bucket <= instant < bucket + STEP for instant in self.rows[market]))
            for market in (self.rows if markets is None else markets)
            for bucket in range(first, min(end, self.now), STEP)
        ]


class Syncs(RuleBasedStateMachine):
    """A vendor, a platform that stores rows and all states, and syncs that end anywhere.

    `table` is what the platform has: for each market and instant, the row or the interval that came last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.vendor = self.make()
        self.now = START
        self.states: list[Any] = [None]
        self.state: Any = None
        self.table: dict[tuple[str, int, int], int] = {}
        self.start = START + 100
        self.reach: int | None = None
        self.late: set[tuple[str, int]] = set()
        self.out_of_reach: set[tuple[str, int]] = set()

    def make(self) -> FakeVendor:
        raise NotImplementedError

    def key(self, row: Row) -> tuple[str, int, int]:
        raise NotImplementedError

    def instant_of(self, instant: int) -> int:
        """The instant of the row that an event is, or is in."""
        return instant

    def expected(self) -> list[Row]:
        """The rows that the platform must have after a complete sync."""
        return self.vendor.all_rows(max(self.start, self.reach or self.start), self.now)

    @initialize(each=st.lists(st.lists(st.integers(0, 300), max_size=20), min_size=1, max_size=3))
    def begin(self, each: list[list[int]]) -> None:
        self.pass_time(300)
        for number, instants in enumerate(each):
            self.put(f"m{number}", [START + instant for instant in instants if instant < 300])

    def put(self, market: str, instants: list[int]) -> None:
        self.vendor.rows[market] = sorted([*self.vendor.rows.get(market, ()), *instants])

    def pass_time(self, length: int) -> None:
        self.now += length
        self.vendor.now = self.now  # type: ignore[attr-defined]

    @rule(data=st.data(), length=st.integers(1, 150))
    def time_passes(self, data: st.DataObject, length: int) -> None:
        for market in self.vendor.rows:
            instants = data.draw(st.lists(st.integers(0, length - 1), max_size=8))
            self.put(market, [self.now + instant for instant in instants])
        self.pass_time(length)

    @rule(data=st.data(), ages=st.lists(st.integers(1, LOOKBACK), min_size=1, max_size=4))
    def rows_arrive_late(self, data: st.DataObject, ages: list[int]) -> None:
        market = data.draw(st.sampled_from(sorted(self.vendor.rows)))
        self.put(market, [self.now - age for age in ages])
        self.late |= {(market, self.instant_of(self.now - age)) for age in ages}
        self.late_rows_may_be_out_of_reach()

    def late_rows_may_be_out_of_reach(self) -> None:
        """Late rows of time that was read come with the next lookback, or not at all: a slice is not read again."""
        self.out_of_reach |= {row for row in self.late if self.reach is not None and row[1] < self.reach}

    @precondition(lambda self: len(self.vendor.rows) < 5)
    @rule(ages=st.lists(st.integers(1, 300), max_size=12))
    def a_market_is_added(self, ages: list[int]) -> None:
        self.put(f"m{len(self.vendor.rows)}", [self.now - age for age in ages])

    @rule(seed=st.integers(0, 2**32), workers=st.integers(1, 4), turns=st.integers(0, 40))
    def a_sync_is_killed(self, seed: int, workers: int, turns: int) -> None:
        self.sync(random.Random(seed), workers, turns)

    @rule(seed=st.integers(0, 2**32), workers=st.integers(1, 4))
    def a_sync_ends(self, seed: int, workers: int) -> None:
        self.sync(random.Random(seed), workers, None)
        expected = {self.key(row): row[2] for row in self.expected()}
        lost = {key: value for key, value in expected.items() if self.table.get(key) != value}
        lost = {key: value for key, value in lost.items() if key[:2] not in self.out_of_reach}
        assert not lost, f"lost or stale: {lost}"

    @rule(start=st.integers(START, START + 250))
    def start_date_is_moved(self, start: int) -> None:
        self.start = min(start, self.now - 1)

    @rule(age=st.one_of(st.none(), st.integers(20, 400)))
    def the_plan_is_changed(self, age: int | None) -> None:
        """From now on, the vendor has only rows younger than this, and says so."""
        self.reach = None if age is None else self.now - age
        self.vendor.reach = self.reach
        self.late_rows_may_be_out_of_reach()

    @rule(data=st.data())
    def the_platform_goes_back_to_an_earlier_state(self, data: st.DataObject) -> None:
        self.state = data.draw(st.sampled_from(self.states))

    def sync(self, chance: random.Random, workers: int, turns: int | None) -> None:
        one = Simulation(
            self.vendor, self.start, self.now, chance=chance, workers=workers, lookback=LOOKBACK, saved=self.state
        )
        one.run(turns)
        assert not one.paid_twice(), "rows that were read before, and are no late ones"
        for item in one.items:
            if isinstance(item, Block):
                self.table.update((self.key(row), row[2]) for row in rows_of(item.data))
        if one.items or one.state.blob()["states"]:
            self.state = one.state.blob()
            self.states.append(self.state)

    def teardown(self) -> None:
        if self.vendor.rows:
            self.a_sync_ends(1, 3)


class EventSyncs(Syncs):
    def make(self) -> FakeVendor:
        return FakeVendor({}, page_size=3)

    def key(self, row: Row) -> tuple[str, int, int]:
        return row


class UnorderedSyncs(EventSyncs):
    """As Kwery: the newest first, in windows of a limited length."""

    def make(self) -> FakeVendor:
        return FakeVendor({}, page_size=4, ascending=False, newest_first=True, longest=70)


class BatchedSyncs(EventSyncs):
    """As Coin Metrics: several markets in a request."""

    def make(self) -> FakeVendor:
        return FakeVendor({}, page_size=4, batch=3)


class BucketSyncs(Syncs):
    """As Kiyotaka and Kaiko's volumes."""

    def make(self) -> FakeVendor:
        return Buckets({}, page_size=5, step=STEP, longest=200, rows_per_step=1)

    def key(self, row: Row) -> tuple[str, int, int]:
        return row[0], row[1], 0

    def instant_of(self, instant: int) -> int:
        return instant // STEP * STEP


@pytest.mark.parametrize("machine", [EventSyncs, UnorderedSyncs, BatchedSyncs, BucketSyncs])
def test_every_sequence_becomes_complete(machine: type[Syncs]) -> None:
    case = machine.TestCase
    case.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
    case("runTest").runTest()
