"""Stream state: it survives saving, cursors only advance, and checkpoints are frequent but not too frequent."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.reading import progress
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.slices import Slices

instants = st.integers(timestamps.parse("2009-01-01"), timestamps.parse("2100-01-01"))
partitions = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), min_size=1, max_size=4).map(
    lambda values: Partition(tuple(values.items()))
)


def state(saved: Any = None) -> StreamState:
    return StreamState("events", "time", saved)


def stored(blob: dict[str, Any]) -> dict[str, Any]:
    """A state as a platform may give it back: through JSON, keys in another order, entries too."""
    shuffled: dict[str, Any] = json.loads(json.dumps(blob, sort_keys=True))
    random.Random(1).shuffle(shuffled["states"])
    return shuffled


@given(st.dictionaries(partitions, st.lists(st.tuples(instants, instants), min_size=1, max_size=3), max_size=6))
def test_slices_come_back_to_the_nanosecond_in_any_order_of_keys(
    slices: dict[Partition, list[tuple[int, int]]],
) -> None:
    saved = state()
    for partition, parts in slices.items():
        for part in parts:
            saved.add(partition, part)
    loaded = state(stored(saved.blob()))
    for partition, parts in slices.items():
        assert loaded.of(Partition(tuple(reversed(partition.values)))).recorded == Slices.of(parts)


def test_the_form_is_airbytes() -> None:
    saved = state()
    day = timestamps.parse("2024-01-01")
    saved.add(Partition.of(exchange="bbit", instrument="btc-usdt"), (day, day + timestamps.SECOND // 2))
    assert saved.blob() == {
        "states": [
            {
                "partition": {"exchange": "bbit", "instrument": "btc-usdt"},
                "cursor": {"time": "2024-01-01T00:00:00.500Z"},
                "slices": [{"start": "2024-01-01T00:00:00Z", "end": "2024-01-01T00:00:00.500Z"}],
            }
        ]
    }


@pytest.mark.parametrize("cursor", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_cursor_before_all_markets_was_never_read_to(cursor: str) -> None:
    saved = state({"states": [{"partition": {"market": "m"}, "cursor": {"time": cursor}}]})
    assert saved.blob() == {"states": []}


def test_a_state_of_0_1_0_was_read_from_start_date_on() -> None:
    old = {"states": [{"partition": {"market": "a"}, "cursor": {"time": "2024-03-01T00:00:00Z"}}]}
    start, position = timestamps.parse("2024-01-01"), timestamps.parse("2024-03-01")
    loaded = StreamState("events", "time", old, start=start)
    assert loaded.of(Partition.of(market="a")).recorded.ranges == ((start, position),)
    assert loaded.blob()["states"][0]["cursor"] == old["states"][0]["cursor"]


def test_a_partition_that_is_named_twice_keeps_both() -> None:
    entries = [{"partition": {"market": "a"}, "cursor": {"time": f"2024-0{month}-01T00:00:00Z"}} for month in (3, 5, 2)]
    loaded = StreamState("events", "time", {"states": entries}, start=timestamps.parse("2024-01-01"))
    assert loaded.of(Partition.of(market="a")).recorded.end == timestamps.parse("2024-05-01")
    assert len(loaded.blob()["states"]) == 1


def test_one_number_is_one_partition_however_it_is_written() -> None:
    old = {"states": [{"partition": {"symbol": "BTC", "min_usd": "10000.0"}, "cursor": {"time": "2024-03-01"}}]}
    assert state(old).of(Partition.of(symbol="BTC", min_usd="10000")).recorded.ranges


# The ranges that a sync reads and records.


MARKET = Partition.of(market="a")


def read_before(*parts: tuple[int, int]) -> StreamState:
    saved = state()
    for part in parts:
        saved.add(MARKET, part)
    return state(stored(saved.blob()))


def test_what_is_missing_and_the_lookback_are_read() -> None:
    assert state().of(MARKET).todo(100, 900, 50).ranges == ((100, 900),)
    assert read_before((100, 500)).of(MARKET).todo(100, 900, 50).ranges == ((450, 900),)
    assert read_before((100, 500)).of(MARKET).todo(40, 900, 50).ranges == ((40, 100), (450, 900))
    assert read_before((100, 300), (400, 500)).of(MARKET).todo(100, 900, 0).ranges == ((300, 400), (500, 900))
    assert read_before((100, 500)).of(MARKET).todo(100, 400, 50).ranges == ((350, 400),), "end_date was moved back"
    assert read_before((100, 500)).of(MARKET).todo(480, 900, 50).ranges == ((480, 900),), "start_date was moved on"


def test_nothing_after_the_lookback_is_recorded_before_it_is_read_again() -> None:
    saved = read_before((100, 500))
    saved.of(MARKET).todo(100, 900, 50)
    saved.add(MARKET, (600, 900))
    assert saved.of(MARKET).recorded.ranges == ((100, 500),)
    saved.add(MARKET, (450, 520))
    assert saved.of(MARKET).recorded.ranges == ((100, 520), (600, 900))


def test_an_unavailable_lookback_stays_recorded_and_blocks_nothing() -> None:
    saved = read_before((100, 500))
    saved.of(MARKET).todo(100, 900, 50)
    saved.add(MARKET, (700, 900), 700)
    assert saved.of(MARKET).recorded.ranges == ((100, 500), (700, 900))


def test_what_is_earlier_is_recorded_at_once() -> None:
    saved = read_before((100, 500))
    saved.of(MARKET).todo(40, 900, 50)
    saved.add(MARKET, (40, 100))
    assert saved.of(MARKET).recorded.ranges == ((40, 500),)


def test_a_faulty_row_in_the_lookback_blocks_the_slices_after_it() -> None:
    saved = state()
    saved.add(MARKET, (100, 500))
    saved = state(saved.blob())
    assert saved.of(MARKET).todo(100, 900, 50).ranges == ((450, 900),)
    saved.add(MARKET, (450, 480))
    saved.add(MARKET, (700, 900))
    assert saved.of(MARKET).recorded.ranges == ((100, 500),)


def test_a_state_of_the_future_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """From a wrong clock: without a warning, nothing new would be read for years."""
    state({"states": [{"partition": {"market": name}, "cursor": {"time": "2999-01-01"}} for name in "ab"]})
    (said,) = caplog.records
    assert "2999-01-01T00:00:00Z, which is in the future" in said.getMessage()


def test_an_unknown_partition_has_no_slices() -> None:
    assert state().of(MARKET).recorded == Slices()


def test_entries_of_markets_no_longer_configured_are_kept() -> None:
    old = {"states": [{"partition": {"market": "gone"}, "cursor": {"time": "2024-01-01T00:00:00.123456789Z"}}]}
    loaded = state(old)
    loaded.add(Partition.of(market="new"), (0, 1))
    entry = loaded.blob()["states"][0]
    assert {name: entry[name] for name in ("partition", "cursor")} == old["states"][0]


@pytest.mark.parametrize(
    "saved",
    [
        {"time": "2024-01-01T00:00:00Z"},
        {"partition": {"a": "b"}, "cursor": {"time": "2024-01-01T00:00:00Z"}},
        {"states": None},
        {"states": {}},
        {"states": [1]},
        {"states": [{}]},
        {"states": [{"partition": {}}]},
        {"states": [{"partition": [], "cursor": {"time": "2024-01-01"}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": "yesterday"}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": 1700000000}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": None}}]},
        {"states": [{"partition": {"a": "b"}, "slices": [{"start": "2024-01-01"}]}]},
        {"states": [{"partition": {"a": "b"}, "slices": {"start": "2024-01-01"}}]},
    ],
)
def test_a_state_that_cannot_be_used_names_the_stream_and_the_form(saved: Any) -> None:
    with pytest.raises(ConfigurationError, match="`state of events`") as caught:
        state(saved)
    assert '"cursor": {"time":' in caught.value.advice


@pytest.mark.parametrize("saved", [None, {}, {"states": []}, {"__ab_no_cursor_state_message": True}])
def test_no_state_is_a_state(saved: Any) -> None:
    assert state(saved).blob() == {"states": []}


# The time of checkpoints.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def written(saved: StreamState) -> int:
    return saved.reset_counts(len(json.dumps(saved.blob())))


def test_the_end_of_a_partition_is_written_at_once(clock: list[float]) -> None:
    saved = state()
    saved.count_written(10, 1_000)
    saved.add(Partition.of(market="a"), (0, 5))
    assert not saved.is_due(partition_ended=False)
    assert saved.is_due(partition_ended=True)
    assert written(saved) == 10
    assert not saved.is_due(partition_ended=True), "nothing is new"


def test_only_changed_partitions_are_serialized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 partitions, each is written 1,000 times; a state that was given away does not change."""
    saved = state()
    for number in range(100):
        saved.add(Partition.of(market=f"m{number}"), (0, 5))
    before = saved.blob()
    text = json.dumps(before)
    made: list[int] = []
    plain = progress.timestamps.format_shortest
    monkeypatch.setattr(progress.timestamps, "format_shortest", lambda instant: made.append(instant) or plain(instant))
    saved.add(Partition.of(market="m7"), (5, 9))
    saved.add(Partition.of(market="new"), (1, 2))
    after = saved.blob()
    assert sorted(made) == [0, 1, 2, 9]
    assert json.dumps(before) == text
    assert after["states"][7]["slices"][0]["end"] == plain(9)
    assert [entry["partition"]["market"] for entry in after["states"]][-2:] == ["m99", "new"]
    saved.of(Partition.of(market="m8")).todo(0, 100, 2)
    assert saved.blob()["states"] == after["states"]


def test_another_reading_may_be_planned_while_a_state_is_serialized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as when a worker adds a second vendor's markets in `liquidation_volumes` during a checkpoint."""
    saved = state()
    for market in ("btc", "eth"):
        saved.add(Partition.of(market=market), (1, 2))
    put_into_words = saved._entry

    def meanwhile(partition: Partition) -> dict[str, Any] | None:
        saved.of(Partition.of(market=f"{partition['market']}, of another vendor")).todo(0, 9, 0)
        return put_into_words(partition)

    monkeypatch.setattr(saved, "_entry", meanwhile)
    assert [entry["partition"]["market"] for entry in saved.blob()["states"]] == ["btc", "eth"]


def test_time_passed_is_reason_enough(clock: list[float]) -> None:
    saved = state()
    written(saved)
    saved.count_written(3, 300)
    assert not saved.is_due(partition_ended=False)
    clock[0] += progress.SECONDS_BETWEEN_CHECKPOINTS
    assert progress.SECONDS_BETWEEN_CHECKPOINTS <= 30
    assert saved.is_due(partition_ended=False)


def test_without_anything_new_a_state_is_only_a_sign_of_life(clock: list[float]) -> None:
    saved = state()
    written(saved)
    clock[0] += progress.SECONDS_BETWEEN_HEARTBEATS - 0.1
    assert not saved.has_changed
    assert not saved.is_due(partition_ended=True)
    clock[0] += 0.2
    assert saved.is_due(partition_ended=False)


def test_a_large_state_is_not_repeated_for_each_of_its_partitions(clock: list[float]) -> None:
    saved = state()
    written_bytes = written_states = 0
    for n in range(4_000):
        saved.count_written(2, 400)
        saved.add(Partition.of(market=f"exchange-MARKET{n:05d}-future"), (0, n + 1))
        if saved.is_due(partition_ended=True):
            size = len(json.dumps(saved.blob()))
            saved.reset_counts(size)
            written_bytes += size
            written_states += 1
    assert written_states > 10
    assert written_bytes <= 4_000 * 400 + 2 * len(json.dumps(saved.blob())) + 400 * 32 * 1024


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=50))
def test_the_records_of_all_checkpoints_add_up(steps: list[tuple[int, bool]]) -> None:
    saved = state()
    reported = 0
    for records, checkpoint in steps:
        saved.count_written(records, records * 100)
        if checkpoint:
            reported += written(saved)
    assert reported + written(saved) == sum(records for records, _ in steps)
