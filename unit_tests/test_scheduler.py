"""The scheduler with everything above the network: any order of events reads every row and advances no cursor early."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations.errors import AccessRefused, SpendingLimit, VendorUnavailable
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.pages import Output
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Rows
from source_liquidations.reading.scheduler import Ended, Scheduler
from source_liquidations.reading.windows import Gap, Window
from unit_tests.simulated import FakeClient, FakeVendor, Request, Row, Simulation, resumed, status_of

START, END = 1_000, 2_000
chances = st.integers(0, 2**32).map(random.Random)
markets = st.dictionaries(
    st.sampled_from("abcdefg"), st.lists(st.integers(START - 50, END + 50), max_size=60), min_size=1, max_size=5
)
# Many rows in few instants: pages begin and end within an instant.
crowds = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.sampled_from([START, 1_200, 1_201, END - 1]), max_size=60), min_size=1
)


def rows_to_read(endpoint: FakeVendor, markets: Sequence[str] | None = None) -> list[Row]:
    return endpoint.all_rows(START, END, markets)


@given(st.one_of(markets, crowds), st.integers(1, 7), st.integers(1, 9), chances)
@settings(max_examples=100)
def test_every_row_arrives_exactly_once(
    rows: dict[str, list[int]], page_size: int, workers: int, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size)
    sync = Simulation(endpoint, START, END, chance=chance, workers=workers)
    sync.run()
    assert sorted(sync.written.elements()) == sorted(rows_to_read(endpoint))
    assert sync.positions() == dict.fromkeys(rows, END)
    # The fewest possible pages, plus the cost of cuts: a first page for each later half, and a half-filled last one.
    full_pages = sum(max(1, -(-len(rows_to_read(endpoint, [market])) // page_size)) for market in rows)
    assert len(endpoint.client.sent) <= full_pages + 2 * workers * len(rows)


@given(markets, st.integers(1, 4), chances)
def test_without_a_second_worker_there_is_no_request_too_many(
    rows: dict[str, list[int]], page_size: int, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, splittable=False)
    Simulation(endpoint, START, END, chance=chance, workers=1).run()
    pages = sum(max(1, -(-len(rows_to_read(endpoint, [market])) // page_size)) for market in rows)
    assert len(endpoint.client.sent) == pages


@given(markets, st.integers(1, 7), st.sampled_from([1, 7, 50]), st.sampled_from([None, 100]), chances)
@settings(max_examples=100)
def test_rows_in_no_order_arrive_too_and_only_a_window_moves_the_position(
    rows: dict[str, list[int]], page_size: int, step: int, longest: int | None, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, ascending=False, shuffled=True, step=step, longest=longest)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    assert set(rows_to_read(endpoint)) <= set(sync.written)
    assert max(sync.written.values(), default=1) == 1


@given(markets, st.integers(1, 7), chances)
@settings(max_examples=100)
def test_a_vendor_that_forgets_its_order_loses_no_row(
    rows: dict[str, list[int]], page_size: int, chance: random.Random
) -> None:
    """Cursors may be wrong until the disorder is detected; the rows of this sync are complete nevertheless."""
    endpoint = FakeVendor(rows, page_size=page_size, shuffled=True, splittable=False)
    sync = Simulation(endpoint, START, END, chance=chance, check_progress=False)
    sync.run()
    assert set(rows_to_read(endpoint)) <= set(sync.written)


@given(markets, st.integers(2, 7), chances)
def test_a_vendor_that_sends_the_newest_first_loses_no_row(
    rows: dict[str, list[int]], page_size: int, chance: random.Random
) -> None:
    """The disorder is detected on the first page, unless that has rows of only one instant."""
    apart = {market: sorted(set(instants)) for market, instants in rows.items()}
    endpoint = FakeVendor(apart, page_size=page_size, newest_first=True)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    assert sorted(sync.written.elements()) == sorted(rows_to_read(endpoint))


@given(markets, st.integers(1, 7), st.integers(1, 5), chances)
@settings(max_examples=100)
def test_several_markets_in_a_request(
    rows: dict[str, list[int]], page_size: int, batch: int, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, batch=batch)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    assert sorted(sync.written.elements()) == sorted(rows_to_read(endpoint))
    assert sync.positions() == dict.fromkeys(rows, END)


@given(markets, st.integers(1, 7), st.integers(2, 5), st.sets(st.sampled_from("abcdefg"), min_size=1), chances)
@settings(max_examples=100)
def test_one_unknown_market_fails_alone(
    rows: dict[str, list[int]], page_size: int, batch: int, unknown: set[str], chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, batch=batch, unknown=unknown)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    others = [market for market in rows if market not in unknown]
    assert sorted(sync.written.elements()) == sorted(rows_to_read(endpoint, others))
    assert {name: sync.positions().get(name) for name in others} == dict.fromkeys(others, END)
    named = sorted(str(failed.error) for failed in sync.reading.failures)
    assert named == sorted(
        f"fake, {market} (`fake.markets[{n}]`): HTTP 400: no market {market}"
        for n, market in enumerate(rows)
        if market in unknown
    )


@given(markets, st.integers(1, 7), st.integers(0, 3), chances)
@settings(max_examples=100)
def test_windows_that_are_too_large_are_halved_until_they_fit(
    rows: dict[str, list[int]], page_size: int, spare: int, chance: random.Random
) -> None:
    most_in_an_instant = max((instants.count(t) for instants in rows.values() for t in instants), default=1)
    endpoint = FakeVendor(rows, page_size=page_size, most_rows=most_in_an_instant + spare)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    assert sorted(sync.written.elements()) == sorted(rows_to_read(endpoint))
    assert sync.positions() == dict.fromkeys(rows, END)
    assert not sync.reading.failures


def test_a_window_too_large_however_small_is_an_error_and_no_endless_loop() -> None:
    endpoint = FakeVendor({"a": [1_200] * 5, "b": [1_300]}, most_rows=4)
    sync = Simulation(endpoint, START, END)
    sync.run()
    assert [str(failed.error) for failed in sync.reading.failures] == [
        "fake, a (`fake.markets[0]`): too many rows (for the smallest possible window)"
    ]
    assert sync.written[("b", 1_300, 0)] == 1


@given(markets, st.integers(1, 5), chances)
@settings(max_examples=100)
def test_tokens_that_expire_cost_a_request_and_no_row(
    rows: dict[str, list[int]], page_size: int, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, tokens_die=lambda: chance.random() < 0.2)
    sync = Simulation(endpoint, START, END, chance=chance)
    sync.run()
    if not sync.reading.failures:
        assert set(rows_to_read(endpoint)) <= set(sync.written)
        assert sync.positions() == dict.fromkeys(rows, END)
    else:
        assert all("expired" in str(failed.error) for failed in sync.reading.failures), "refused again and again"
        assert all(failed.error.failure_type == "transient_error" for failed in sync.reading.failures)


@given(st.one_of(markets, crowds), st.integers(1, 5), st.integers(1, 3), st.integers(1, 60), st.booleans(), chances)
@settings(max_examples=100)
def test_a_sync_killed_at_any_point_resumes_without_a_gap(
    rows: dict[str, list[int]], page_size: int, batch: int, turns: int, in_order: bool, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size, batch=batch, ascending=in_order, shuffled=not in_order)
    written: set[Row] = set()
    sync = Simulation(endpoint, START, END, chance=chance)
    for _ in range(50):
        sync.run(stop_after=turns)
        written |= set(sync.written)
        if sync.ended:
            break
        sync = resumed(sync)
        turns += 5
    assert sync.ended
    assert written >= set(rows_to_read(endpoint))
    assert sync.positions() == dict.fromkeys(rows, END)


@given(markets, st.integers(1, 5), st.integers(0, 300), chances)
def test_a_second_sync_reads_new_rows_and_the_lookback(
    rows: dict[str, list[int]], page_size: int, lookback: int, chance: random.Random
) -> None:
    endpoint = FakeVendor(rows, page_size=page_size)
    first = Simulation(endpoint, START, 1_500, chance=chance)
    first.run()
    second = resumed(first, end=END, lookback=lookback)
    second.run()
    assert set(second.written) == set(endpoint.all_rows(max(START, 1_500 - lookback), END))
    assert set(first.written) | set(second.written) == set(rows_to_read(endpoint))


@pytest.mark.parametrize(("pages", "beyond"), [(3, 1), (5, 2), (10, 3)])
def test_a_market_that_was_busy_and_is_quiet_now_costs_few_requests_too_many(pages: int, beyond: int) -> None:
    """The pages so far promise many more, and there are seven idle workers to read them."""
    endpoint = FakeVendor({"a": list(range(START, START + 7 * pages))}, page_size=7)
    simulation = Simulation(endpoint, START, START + 1_000_000, workers=8)
    simulation.run()
    assert set(simulation.written) == set(endpoint.all_rows(START, START + 1_000_000))
    assert pages < len(endpoint.client.sent) <= pages + beyond


def test_rows_before_the_first_requested_instant_are_dropped() -> None:
    """The vendor knows whole steps only, as Kaiko knows milliseconds."""
    endpoint = FakeVendor({"a": list(range(1_000, 1_030))}, step=10)
    simulation = Simulation(endpoint, 1_005, 1_027)
    simulation.run()
    assert set(simulation.written) == set(endpoint.all_rows(1_005, 1_027))


def test_a_market_added_later_gets_its_whole_history() -> None:
    rows = {"a": list(range(START, END, 10))}
    first = Simulation(FakeVendor(rows), START, END)
    first.run()
    first.endpoint.rows["new"] = list(range(START, END, 7))
    second = resumed(first)
    second.run()
    assert {row[0] for row in second.written} == {"new"}
    assert sorted(second.written) == sorted(rows_to_read(second.endpoint, ["new"]))


def test_a_market_taken_out_keeps_its_entry() -> None:
    first = Simulation(FakeVendor({"a": [1_100], "b": [1_200]}), START, END)
    first.run()
    del first.endpoint.rows["a"]
    second = resumed(first)
    second.run()
    assert second.state.of(Partition.of(market="a")).recorded.end == END


# Failures.


class FailingClient(FakeClient):
    """Fails for some markets, each time."""

    failing: dict[str, Exception]

    def fetch(self, request: Request, *more, **options):  # type: ignore[no-untyped-def]
        self.meanwhile()
        market = dict(request.params)["markets"]
        if market in self.failing:
            self.sent.append(request)
            raise self.failing[market]
        return super().fetch(request, *more, **options)


def failing(rows: dict[str, list[int]], **errors: Exception) -> FakeVendor:
    endpoint = FakeVendor(rows)
    endpoint.client = FailingClient(endpoint)  # type: ignore[assignment]
    endpoint.client.failing = errors  # type: ignore[attr-defined]
    return endpoint


def test_a_failed_partition_keeps_what_was_read_and_leaves_the_others_alone() -> None:
    endpoint = failing({"a": list(range(START, END, 20)), "b": [1_200], "c": [1_300]}, b=VendorUnavailable("down"))
    sync = Simulation(endpoint, START, END)
    sync.run()
    assert set(sync.written) == set(rows_to_read(endpoint, ["a", "c"]))
    assert sync.positions() == {"a": END, "c": END}
    assert [item for item in sync.items if status_of(item) == "INCOMPLETE"]


def test_a_refused_key_ends_the_whole_reading_at_once() -> None:
    rows = {market: [1_200] for market in "abcdefgh"}
    endpoint = failing(rows, **{market: AccessRefused("HTTP 401", status=401) for market in rows})
    sync = Simulation(endpoint, START, END, workers=1)
    sync.run()
    assert len(endpoint.client.sent) == 1
    assert len(sync.reading.failures) == 1


def test_a_plan_that_does_not_cover_a_market_ends_only_that() -> None:
    rows = {market: [1_200] for market in "abcdefgh"}
    endpoint = failing(rows, b=AccessRefused("HTTP 403", status=403))
    sync = Simulation(endpoint, START, END)
    sync.run()
    assert {row[0] for row in sync.written} == set("acdefgh")


def test_an_unreachable_vendor_is_not_tried_for_every_market() -> None:
    rows = {f"m{n}": [1_200] for n in range(100)}
    endpoint = failing(rows, **{market: VendorUnavailable("down") for market in rows})
    Simulation(endpoint, START, END, workers=2).run()
    assert len(endpoint.client.sent) <= 8


@pytest.mark.parametrize("workers", [1, 3])
def test_markets_that_fail_every_time_do_not_keep_the_others_waiting(workers: int) -> None:
    rows = {f"m{n}": [1_200] for n in range(20)}
    down = {f"m{n}": VendorUnavailable("down") for n in range(4)}
    sync = Simulation(failing(rows, **down), START, END, workers=workers)
    sync.run()
    assert len(sync.written) == 16
    assert len(sync.reading.failures) == 4


def test_as_many_bad_markets_as_workers_do_not_end_the_reading() -> None:
    """All of them are under way before the first of them has failed."""
    rows = {f"m{n:02}": [1_200] for n in range(20)}
    down = {f"m{n:02}": VendorUnavailable("down") for n in range(8)}
    endpoint = failing(rows, **down)
    sync = Simulation(endpoint, START, END, workers=8)
    endpoint.client.meanwhile = sync.work
    sync.run()
    assert len(sync.written) == 12
    assert len(sync.reading.failures) == 8


def test_windows_of_one_market_are_one_failure() -> None:
    endpoint = FakeVendor({"a": list(range(START, END))}, page_size=3)
    first = endpoint.decode

    def once(response: Any, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        if endpoint.client.sent[5:]:
            raise VendorUnavailable("down")
        return first(response, span, request, memory)

    endpoint.decode = once  # type: ignore[method-assign]
    sync = Simulation(endpoint, START, END, workers=5, chance=random.Random(3))
    sync.run()
    assert len(sync.reading.failures) == 1


def test_twins_that_fill_pages_are_no_endless_loop() -> None:
    """Several pages of only twins look alike; what follows them is read."""
    endpoint = FakeVendor({"a": [1_100] * 6 + [1_200, 1_201, 1_300]}, page_size=2)
    first = endpoint.decode

    def twin_pages(response: Any, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        answer = first(response, span, request, memory)
        rows = [b'{"market":"a","time":%d,"n":0}' % instant for instant in answer.rows.instants]
        return Answer(Rows(rows, answer.rows.instants), answer.next_request)

    endpoint.decode = twin_pages  # type: ignore[method-assign]
    sync = Simulation(endpoint, START, END, workers=1, check_progress=False)
    sync.run()
    assert sync.reading.failures == []
    assert sync.written == {("a", 1_100, 0): 6, ("a", 1_200, 0): 1, ("a", 1_201, 0): 1, ("a", 1_300, 0): 1}


# Threads.


class Threads:
    """Workers that only take work from a scheduler and give it back."""

    def __init__(self, scheduler: Scheduler, count: int) -> None:
        self.steps = 0
        self.ends = 0
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work, args=(scheduler,), daemon=True) for _ in range(count)]

    def _work(self, scheduler: Scheduler) -> None:
        while (work := scheduler.next()) is not None:
            if isinstance(work, Reading):
                scheduler.planned(work, work.plan(work, [Partition.of(market=f"m{n}") for n in range(500)]))
            elif isinstance(work, Window):
                work.pages.count = 1
                scheduler.returned(work)
            with self._lock:
                self.steps += not isinstance(work, Ended)
                self.ends += isinstance(work, Ended)

    def join(self) -> None:
        for thread in self.threads:
            thread.start()
        deadline = time.monotonic() + 60
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads), "a deadlock"


def a_gap_each(reading: Reading, partitions: Sequence[Partition]) -> list[Gap]:
    return [Gap(reading, (partition,), reading.outputs, [(0, 100)]) for partition in partitions]


def reading_of(endpoint: FakeVendor) -> Reading:
    return Reading(endpoint, (Output("x"),), 0, 100, a_gap_each)


@pytest.mark.parametrize("workers", [1, 2, 40])
def test_any_number_of_workers_ends(workers: int) -> None:
    readings = [reading_of(FakeVendor({})) for _ in range(3)]
    threads = Threads(Scheduler(readings, workers=workers), workers)
    threads.join()
    assert threads.steps == 3 * (500 + 1)
    assert threads.ends == 3, "each reading ends once"


@pytest.mark.parametrize(("workers", "decoded", "helped"), [(1, True, False), (2, True, False), (2, False, True)])
def test_a_window_is_cut_for_an_idle_worker_while_its_request_is_under_way(
    workers: int, decoded: bool, helped: bool
) -> None:
    """While its page is decoded, nobody else writes its end; and its next request goes out at once."""
    endpoint = FakeVendor({"a": list(range(START, END))}, page_size=10)
    simulation = Simulation(endpoint, START, END, workers=workers, chance=random.Random(0))
    endpoint.client.meanwhile = lambda: None
    for _ in range(3):
        simulation.work()
    window = simulation._next()
    assert isinstance(window, Window)
    if decoded:
        simulation.scheduler.answered(window)
    assert (simulation._next() is not None) == helped


def test_nothing_to_read_ends_too() -> None:
    reading = Reading(FakeVendor({}), (Output("x"),), 0, 100, lambda reading, partitions: [])
    threads = Threads(Scheduler([reading], workers=4), 4)
    threads.join()
    assert threads.ends == 1


def test_stop_wakes_everybody() -> None:
    class Never:
        def reserve(self, weight: float) -> float:
            threading.Timer(0.3, scheduler.stop).start()  # once somebody waits for the budget
            return 600.0

    endpoint = FakeVendor({})
    endpoint.client.budget = Never()  # type: ignore[assignment]
    reading = reading_of(endpoint)
    scheduler = Scheduler([reading], workers=4)
    threads = Threads(scheduler, 4)
    threads.join()
    assert threads.steps == 1
    assert "the request budget" in reading.traffic.waiting


def vendor(name: str) -> FakeVendor:
    endpoint = FakeVendor({})
    endpoint.vendor = name
    return endpoint


def planned(*endpoints: FakeVendor, workers: int, markets: int) -> tuple[Scheduler, list[Reading]]:
    readings = [reading_of(endpoint) for endpoint in endpoints]
    scheduler = Scheduler(readings, workers=workers)
    for _ in readings:
        work = scheduler.next()
        assert isinstance(work, Reading)
        scheduler.planned(work, work.plan(work, [Partition.of(market=f"m{n}") for n in range(markets)]))
    return scheduler, readings


def under_way(scheduler: Scheduler) -> list[str]:
    """The vendors of as many requests as can be under way now."""
    vendors = []
    with scheduler._lock:
        while len(scheduler._under_way) < scheduler._workers:
            work, _ = scheduler._pick()
            if work is None:
                break
            assert isinstance(work, Window)
            vendors.append(work.gap.reading.endpoint.vendor)
    return sorted(vendors)


def test_a_reading_ends_only_after_its_failures_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the process may end before the last warning is written."""
    scheduler, (reading,) = planned(vendor("a"), workers=2, markets=1)
    window = scheduler.next()
    assert isinstance(window, Window)
    may_write = threading.Event()
    monkeypatch.setattr(reading, "fail", lambda *_: may_write.wait(10))
    threading.Thread(target=scheduler.failed, args=(window, SpendingLimit("enough")), daemon=True).start()
    ended: list[Any] = []
    other = threading.Thread(target=lambda: ended.append(scheduler.next()), daemon=True)
    other.start()
    other.join(0.2)
    assert not ended
    may_write.set()
    other.join(5)
    assert ended == [Ended(reading)]


def test_a_vendor_without_budget_does_not_delay_others() -> None:
    class Empty:
        def reserve(self, weight: float) -> float:
            return 600.0

    spent = vendor("spent")
    spent.client.budget = Empty()  # type: ignore[assignment]
    scheduler, _ = planned(spent, vendor("rich"), workers=4, markets=9)
    under_way(scheduler)
    assert set(under_way(scheduler)) <= {"rich"}
    assert list(scheduler._under_way.values()).count("rich") == 3, "one place stays for the vendor that may continue"


def test_vendors_have_equal_shares() -> None:
    scheduler, _ = planned(vendor("one"), vendor("two"), workers=8, markets=9)
    assert under_way(scheduler) == ["one"] * 4 + ["two"] * 4


def test_a_share_that_a_vendor_has_no_use_for_goes_to_the_others() -> None:
    few, many = vendor("few"), vendor("many")
    few.splittable = False
    readings = [reading_of(few), reading_of(many)]
    scheduler = Scheduler(readings, workers=8)
    for count in (1, 9):
        work = scheduler.next()
        assert isinstance(work, Reading)
        scheduler.planned(work, work.plan(work, [Partition.of(market=f"m{n}") for n in range(count)]))
    assert under_way(scheduler) == ["few"] + ["many"] * 7


@given(st.integers(1, 3), st.integers(2, 6))
def test_fewer_workers_than_vendors_do_not_deadlock(workers: int, vendors: int) -> None:
    readings = [reading_of(vendor(f"v{n}")) for n in range(vendors)]
    threads = Threads(Scheduler(readings, workers=workers), workers)
    threads.join()
    assert threads.ends == vendors


@given(st.integers(1, 4), st.integers(2, 4), st.booleans(), chances)
@settings(max_examples=25)
def test_partitions_that_wait_for_a_probe_continue_after_it(
    workers: int, count: int, splittable: bool, chance: random.Random
) -> None:
    """The key's history is searched for once; the partitions that wait for the result are read afterwards."""
    day = 86_400 * 10**9
    rows = {f"m{n}": range(day + n, 40 * day, day) for n in range(count)}
    endpoint = FakeVendor(rows, page_size=10, splittable=splittable, refuses_before=20 * day)
    sync = Simulation(endpoint, 0, 40 * day, chance=chance, workers=workers, check_progress=False)
    sync.run()
    assert set(endpoint.all_rows(20 * day + 60 * 10**9, 40 * day)) <= set(sync.written)
