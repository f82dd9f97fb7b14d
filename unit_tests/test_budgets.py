"""Request budgets: never more than the vendor allows, and hardly less."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations.http.budgets import Allowance, Budget


class Clock:
    """A clock that moves only when a test sets it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def most_in_any(seconds: float, sent: Sequence[float]) -> int:
    """The maximum number of requests in any half-open span of `seconds`."""
    return max((sum(at <= other < at + seconds for other in sent) for at in sent), default=0)


@given(st.integers(1, 12), st.floats(0.1, 60), st.lists(st.floats(0, 20), max_size=80), st.floats(0, 1e9))
def test_no_window_holds_more_than_the_limit(limit: int, seconds: float, steps: list[float], start: float) -> None:
    clock = Clock(start)
    budget = Budget(limit, seconds, clock=clock)
    sent = []
    for step in steps:
        clock.now += step
        if budget.reserve() == 0.0:
            budget.sending()
            sent.append(clock.now)
    assert most_in_any(seconds, sent) <= limit


@given(
    st.integers(1, 12),
    st.floats(0.1, 60),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), max_size=60),
)
def test_no_window_holds_more_than_the_limit_however_long_requests_connect(
    limit: int, seconds: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    budget = Budget(limit, seconds, clock=clock)
    connecting: list[float] = []
    sent: list[float] = []

    def send(until: float) -> None:
        for at in sorted(at for at in connecting if at <= until):
            clock.now = at
            budget.sending()
            sent.append(at)
            connecting.remove(at)
        clock.now = until

    for pause, connect in steps:
        send(clock.now + pause)
        if budget.reserve() == 0.0:
            connecting.append(clock.now + connect)
    send(clock.now + 20)
    assert most_in_any(seconds, sent) <= limit


def test_a_request_that_never_leaves_takes_a_place_for_a_minute() -> None:
    clock = Clock()
    budget = Budget(1, 10.0, clock=clock)
    assert budget.reserve() == 0.0
    clock.now += 59.0
    assert 0.0 < budget.reserve() < 1.0
    clock.now += 1.0
    assert budget.reserve() == 0.0


def test_a_remaining_count_does_not_reduce_the_margin() -> None:
    clock = Clock()
    budget = Budget(10, 10.0, clock=clock)
    sent: list[float] = []
    while len(sent) < 30:
        wait = budget.reserve()
        if wait == 0.0:
            budget.sending()
            sent.append(clock.now)
        clock.now += min(wait, 0.05)
        budget.note_remaining(5, 1.0)
    assert min(sent[index + 10] - sent[index] for index in range(20)) >= 10.1


@given(st.integers(1, 12), st.floats(0.1, 60), st.floats(0, 1e9))
def test_a_caller_that_waits_uses_nearly_all_of_the_limit(limit: int, seconds: float, start: float) -> None:
    clock = Clock(start)
    budget = Budget(limit, seconds, clock=clock)
    sent, asked = [], 0
    while clock.now < start + 10 * seconds and asked < 10_000:
        asked += 1
        wait = budget.reserve()
        if wait == 0.0:
            budget.sending()
            sent.append(clock.now)
        clock.now += wait
    assert most_in_any(seconds, sent) <= limit
    assert len(sent) >= 0.95 * limit * 10
    assert asked <= 3 * len(sent) + 3, "a wait of next to nothing, over and over"


def test_a_pause_holds_everybody_back_and_the_longest_wins() -> None:
    clock = Clock()
    budget = Budget(100, 1.0, clock=clock)
    budget.pause(5.0)
    budget.pause(2.0)
    assert budget.reserve() == pytest.approx(5.0)
    clock.now += 4.9
    assert budget.reserve() == pytest.approx(0.1)
    clock.now += 0.2
    assert budget.reserve() == 0.0


def test_zero_remaining_counts_if_others_use_the_key() -> None:
    clock = Clock()
    budget = Budget(10, 6.0, clock=clock)
    assert budget.reserve() == 0.0
    budget.note_remaining(0, 3.0)
    assert budget.reserve() == pytest.approx(3.0)


def test_zero_remaining_after_our_own_requests_changes_nothing() -> None:
    clock = Clock()
    budget = Budget(2, 6.0, clock=clock)
    assert [budget.reserve(), budget.reserve()] == [0.0, 0.0]
    budget.sending()
    budget.sending()
    budget.note_remaining(0, 6.0)
    clock.now += 6.2
    assert budget.reserve() == 0.0


def test_a_positive_remaining_count_changes_nothing() -> None:
    budget = Budget(10, 6.0, clock=Clock())
    budget.reserve()
    budget.note_remaining(1, 6.0)
    assert budget.reserve() == 0.0


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_changed_limit_counts_what_was_sent_before(before: int, after: int) -> None:
    clock = Clock()
    budget = Budget(before, 10.0, clock=clock)
    taken = sum(budget.reserve() == 0.0 for _ in range(before))
    budget.change(after, 10.0)
    more = sum(budget.reserve() == 0.0 for _ in range(20))
    assert taken == before
    assert more == max(0, after - before)


def test_many_threads_share_one_budget() -> None:
    """Counted by the budget's own clock, because the machine may pause a thread anywhere."""
    latest = threading.local()

    def clock() -> float:
        latest.now = time.monotonic()
        return float(latest.now)

    budget = Budget(50, 0.5, clock=clock)
    sent: list[tuple[float, float]] = []  # when its place was reserved, and when it was sent
    refused: list[float] = []
    deadline = time.monotonic() + 60

    def work() -> None:
        while len(sent) < 150 and time.monotonic() < deadline:
            wait = budget.reserve()
            at = latest.now
            if wait:
                refused.append(at)
            else:
                budget.sending()
                sent.append((at, latest.now))
            time.sleep(min(wait, 0.05))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) >= 150
    assert refused
    assert most_in_any(0.5, [at for _, at in sent]) <= 50
    for at in refused:
        assert sum(reserved_at <= at < sent_at + 0.52 for reserved_at, sent_at in sent) >= 50, "places were left"


def test_a_request_counts_from_when_it_is_sent() -> None:
    """A connection may have to be opened first, and the next requests find it open."""
    clock = Clock()
    budget = Budget(3, 10.0, clock=clock)
    start = clock.now
    assert [budget.reserve(), budget.reserve(), budget.reserve()] == [0.0] * 3
    assert budget.reserve() == pytest.approx(10.2)
    for at in (1.0, 4.0):
        clock.now = start + at
        budget.sending()
    assert budget.reserve() == pytest.approx(6.2), "the third may still be sent"
    clock.now = start + 5.0
    budget.sending()
    assert budget.reserve() == pytest.approx(6.2)
    clock.now = start + 11.3
    assert [budget.reserve() == 0.0, budget.reserve()] == [True, pytest.approx(2.9)]
    budget.give_back()
    assert [budget.reserve() == 0.0, budget.reserve()] == [True, pytest.approx(2.9)]


@given(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_a_request_that_counts_as_several_takes_as_many_places(limit: int, sizes: list[int]) -> None:
    clock = Clock()
    budget = Budget(limit, 60.0, counts_weight=True, clock=clock)
    sent: list[float] = []
    for places in sizes:
        while wait := budget.reserve(places):
            clock.now += wait
        budget.sending(places)
        sent += [clock.now] * min(places, limit)
    assert most_in_any(60.0, sent) <= limit


def test_places_that_were_not_used_are_given_back_together() -> None:
    budget = Budget(5, 60.0, counts_weight=True, clock=Clock())
    assert budget.reserve(weight=2) == budget.reserve(weight=3) == 0.0
    budget.give_back(weight=3)
    assert budget.reserve(weight=4) > 0.0
    assert budget.reserve(weight=3) == 0.0
    budget.give_back(weight=9)
    assert budget.reserve(weight=5) == 0.0


def test_weight_that_was_not_used_is_given_back_and_no_more_than_that() -> None:
    clock = Clock()
    budget = Budget(100, 60.0, Allowance(10, 60.0, capacity=20.0), Allowance(30, 86_400.0, capacity=30.0), clock=clock)
    assert budget.reserve(weight=20.0) == 0.0
    assert budget.reserve(weight=1.0) > 0.0
    budget.give_back(weight=20.0)
    assert budget.reserve(weight=20.0) == 0.0, "of the minute and of the day"
    budget.give_back(weight=20.0)
    budget.give_back(weight=20.0)
    assert budget.reserve(weight=20.0) == 0.0
    assert budget.reserve(weight=1.0) > 0.0, "no more is saved up than before"


def test_a_request_above_the_capacity_gives_back_its_weight() -> None:
    budget = Budget(3, 60.0, Allowance(10, 60.0, capacity=20.0), counts_weight=True, clock=Clock())
    assert budget.reserve(weight=70.0) == 0.0
    budget.give_back(weight=70.0)
    assert budget.reserve(weight=20.0) == 0.0
    assert budget.reserve(weight=1.0) > 0.0
