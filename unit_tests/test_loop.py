"""The loop with threads: statuses, progress, failures, stopping; a checkpoint never runs ahead of its consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations import planning, timestamps
from source_liquidations.errors import Stopped, UnexpectedAnswer, VendorUnavailable
from source_liquidations.http.client import Request
from source_liquidations.messages import trace_message
from source_liquidations.reading import loop, pages, progress
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Fault
from unit_tests.simulated import STREAM, FakeClient, FakeVendor, rows_of, state_of, status_of

START, END = 0, 10_000


def sync_of(
    endpoint: FakeVendor, *, workers: int = 4, stop: threading.Event | None = None, streams: tuple[str, ...] = (STREAM,)
) -> loop.Sync:
    states = {name: StreamState(name, "time") for name in streams}
    outputs = tuple(Output(name) for name in streams)
    reading = Reading(endpoint, outputs, START, END, partial(planning.gaps, states=states, lookback=0))
    return loop.Sync([reading], states, workers=workers, stop=stop or threading.Event())


def many(markets: int, each: int) -> FakeVendor:
    return FakeVendor({f"m{n:03d}": list(range(0, END, END // each)) for n in range(markets)}, page_size=7)


def taken(sync: loop.Sync) -> Iterator[Any]:
    """Items as a consumer receives them; of a checkpoint, the state that a platform stores at that moment."""
    for item in sync:
        if (state := state_of(item)) is not None:
            yield {entry["partition"]["market"]: entry["slices"] for entry in state["states"]}
        else:
            yield item


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_everything_arrives_in_the_order_that_airbyte_wants(workers: int) -> None:
    endpoint = many(20, 50)
    items = list(taken(sync_of(endpoint, workers=workers)))
    names = [status for item in items if (status := status_of(item))]
    assert names == ["STARTED", "RUNNING", "COMPLETE"]
    assert isinstance(items[-2], dict), "a last checkpoint before the end"
    rows = [row for item in items if isinstance(item, Block) for row in rows_of(item.data)]
    assert sorted(rows) == sorted(endpoint.all_rows(START, END))


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("most_records", [10_000, 3])
def test_a_checkpoint_covers_only_rows_that_were_taken_before(
    workers: int, most_records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where a page of seven rows comes in blocks of three, with a checkpoint after each."""
    monkeypatch.setattr(pages, "_MAX_RECORDS", most_records)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    endpoint = many(10, 100)
    seen: set[Any] = set()
    for item in taken(sync_of(endpoint, workers=workers)):
        if isinstance(item, Block):
            assert item.records <= most_records
            seen |= set(rows_of(item.data))
        elif isinstance(item, dict):
            for market, slices in item.items():
                for part in slices:
                    start, end = timestamps.parse(part["start"]), timestamps.parse(part["end"])
                    assert seen >= set(endpoint.all_rows(start, end, [market]))


def test_a_slow_consumer_bounds_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers wait for the writer, and the writer for its consumer: memory does not grow with rows."""
    monkeypatch.setattr(loop, "_MAX_HANDOVER_BYTES", 5_000)
    endpoint = many(50, 200)
    items = iter(sync_of(endpoint, workers=8))
    first = next(item for item in items if isinstance(item, Block))
    time.sleep(0.5)
    threads = 8 + 2  # at most 8 have a request under way
    assert len(endpoint.client.sent) <= threads + 5_000 // len(first.data) + 2
    assert sum(1 for item in items if isinstance(item, Block)) > 1_000, "it continues once it is asked"


class Gauge:
    """The current and the maximum number of concurrent users."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.now -= 1

    def wait_for(self, count: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.now >= count, timeout=30)


class Gauged(FakeClient):
    """Answers one request, and the others once `go_on` is set."""

    under_way: Gauge
    first: threading.Semaphore
    go_on: threading.Event

    def fetch(self, request: Request, *more: Any, **options: Any) -> Any:
        self._send()
        return super().fetch(request, *more, **options)

    def _send(self) -> None:
        with self.under_way:
            if not self.first.acquire(blocking=False):
                assert self.go_on.wait(timeout=60)
            time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 8])
def test_as_many_requests_are_under_way_as_there_are_workers_and_no_more(workers: int) -> None:
    """With many workers the others' places are in use while a page is decoded, one at a time; with one it waits."""
    endpoint = many(40, 70)
    client = Gauged(endpoint)
    client.under_way = Gauge()
    client.first, client.go_on = threading.Semaphore(1), threading.Event()
    endpoint.client = client  # type: ignore[assignment]
    beside: list[int] = []
    decoding = Gauge()
    decode = endpoint.decode

    def slow(response: Any, *args: Any) -> Answer:
        with decoding:
            if not beside:
                client.under_way.wait_for(workers if workers > 1 else 0)
                time.sleep(0.1)  # for one too many to be sent
            time.sleep(0.001)  # for one too many to be decoded
            beside.append(client.under_way.now)
            client.go_on.set()
            return decode(response, *args)

    endpoint.decode = slow  # type: ignore[method-assign]
    items = list(taken(sync_of(endpoint, workers=workers)))
    rows = [row for item in items if isinstance(item, Block) for row in rows_of(item.data)]
    assert sorted(rows) == sorted(endpoint.all_rows(START, END))
    assert beside[0] == max(beside) == (workers if workers > 1 else 0)
    assert client.under_way.most == workers
    assert decoding.most == 1


def test_stop_ends_the_iteration_with_last_checkpoints() -> None:
    stop = threading.Event()
    endpoint = many(50, 200)
    items: list[Any] = []

    def consume() -> None:
        for item in taken(sync_of(endpoint, stop=stop)):
            items.append(item)
            if sum(isinstance(item, Block) for item in items) == 20:
                stop.set()

    with pytest.raises(Stopped):
        consume()
    assert status_of(items[-1]) == "INCOMPLETE"
    assert isinstance(items[-2], dict)


def test_a_consumer_that_stops_frees_the_workers() -> None:
    before = threading.active_count()
    items = iter(sync_of(many(50, 200), workers=8))
    next(item for item in items if isinstance(item, Block))
    items.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


class Failing(FakeClient):
    """Fails for one market with what it is given."""

    error: Exception

    def fetch(self, request: Any, *more: Any, **options: Any) -> Any:
        if dict(request.params)["markets"] == "m001":
            raise self.error
        return super().fetch(request, *more, **options)


def failing(error: Exception) -> tuple[list[Any], AirbyteTracedException]:
    endpoint = many(5, 20)
    client = Failing(endpoint)
    client.error = error
    endpoint.client = client  # type: ignore[assignment]
    sync = sync_of(endpoint)
    items = list(taken(sync))
    (failure,) = sync.failures
    return items, failure


def test_a_failure_is_reported_at_the_end() -> None:
    items, failure = failing(VendorUnavailable("down"))
    assert status_of(items[-1]) == "INCOMPLETE"
    assert failure.message == f"{STREAM}: fake, m001 (`fake.markets[1]`): down"
    markets = {row[0] for item in items if isinstance(item, Block) for row in rows_of(item.data)}
    assert markets == {"m000", "m002", "m003", "m004"}


def test_an_unexpected_exception_is_a_system_error_of_one_partition() -> None:
    items, failure = failing(ZeroDivisionError("division by zero"))
    assert "internal error, ZeroDivisionError" in str(failure)
    trace = trace_message(failure).trace
    assert trace is not None
    assert trace.error is not None
    assert trace.error.failure_type == FailureType.system_error
    assert "ZeroDivisionError" in (trace.error.stack_trace or ""), "with the stack of its cause"
    markets = {row[0] for item in items if isinstance(item, Block) for row in rows_of(item.data)}
    assert markets == {"m000", "m002", "m003", "m004"}


class FirstRowOdd(FakeVendor):
    def decode(self, response: Any, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        answer = super().decode(response, span, request, memory)
        if "offset" not in dict(request.params):
            answer.rows.faults = [Fault(answer.rows.instants[0], UnexpectedAnswer("odd"))]
        return answer


def test_the_progress_log_continues_after_a_faulty_row(caplog: pytest.LogCaptureFixture) -> None:
    """The slices do not advance, but the log shows the sync's progress."""
    sync = sync_of(FirstRowOdd({"m": list(range(0, END, 100))}, page_size=7, splittable=False))
    items = list(taken(sync))
    assert [item for item in items if isinstance(item, dict)][-1] == {}, "nothing of it is read"
    end = timestamps.format_shortest(END)
    assert any(f"100 rows, 15 requests, 0 of 1 partitions, at {end}" in text for text in caplog.messages)


def test_a_stream_without_a_feed_is_complete_immediately() -> None:
    sync = loop.Sync([], {"alone": StreamState("alone", "time")}, workers=2, stop=threading.Event())
    items = list(sync)
    assert [status_of(item) or state_of(item) for item in items] == ["STARTED", {"states": []}, "COMPLETE"]


def test_streams_that_share_a_reading_have_the_same_rows() -> None:
    endpoint = many(4, 30)
    items = list(taken(sync_of(endpoint, streams=("one", "two"))))
    rows = {
        name: [row for item in items if isinstance(item, Block) and item.stream == name for row in rows_of(item.data)]
        for name in ("one", "two")
    }
    assert rows["one"] == rows["two"]
    assert sorted(rows["one"]) == sorted(endpoint.all_rows(START, END))


def test_partitions_are_known_by_their_values_in_any_order() -> None:
    one = Partition((("a", "1"), ("b", "2")), entry="x")
    other = Partition((("b", "2"), ("a", "1")), entry="y")
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == "1/2"


@pytest.mark.parametrize("method", ["_pick", "returned", "planned"])
def test_an_exception_in_the_scheduler_fails_the_sync_loudly(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a worker nor the scheduler may die silently, because the writer would wait forever."""

    def broken(*_: Any) -> Any:
        raise AssertionError("a broken invariant")

    sync = sync_of(many(3, 20))
    monkeypatch.setattr(sync._scheduler, method, broken)
    items: list[Any] = []

    def consume() -> None:
        for item in taken(sync):
            items.append(item)

    with pytest.raises(AssertionError, match="a broken invariant"):
        consume()
    assert status_of(items[-1]) == "INCOMPLETE"
    assert isinstance(items[-2], dict), "a last checkpoint"
