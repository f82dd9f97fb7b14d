"""Stream state: what was saved comes back, positions go forward only, and checkpoints come often but not too often."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.reading import checkpoints
from source_liquidations.reading.checkpoints import StreamState
from source_liquidations.reading.endpoint import Partition

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


@given(st.dictionaries(partitions, instants, max_size=8))
def test_positions_come_back_to_the_nanosecond_in_any_order_of_keys(positions: dict[Partition, int]) -> None:
    saved = state()
    for partition, position in positions.items():
        saved.advance(partition, position)
    loaded = state(stored(saved.blob()))
    for partition, position in positions.items():
        assert loaded.position(Partition(tuple(reversed(partition.values)))) == position


@given(st.lists(instants, min_size=1))
def test_a_position_never_goes_back(moves: list[int]) -> None:
    partition = Partition.of(market="a")
    saved = state()
    for move in moves:
        saved.advance(partition, move)
    assert saved.position(partition) == max(moves)


def test_the_form_is_airbytes() -> None:
    saved = state()
    saved.advance(Partition.of(exchange="bbit", instrument="btc-usdt"), timestamps.parse("2024-01-01T00:00:00.5Z"))
    assert saved.blob() == {
        "states": [
            {
                "partition": {"exchange": "bbit", "instrument": "btc-usdt"},
                "cursor": {"time": "2024-01-01T00:00:00.500Z"},
            }
        ]
    }


def test_an_unknown_partition_has_no_position() -> None:
    assert state().position(Partition.of(market="a")) is None


def test_entries_of_markets_no_longer_configured_are_kept() -> None:
    old = {"states": [{"partition": {"market": "gone"}, "cursor": {"time": "2024-01-01T00:00:00.123456789Z"}}]}
    loaded = state(old)
    loaded.advance(Partition.of(market="new"), 1)
    assert loaded.blob()["states"][0] == old["states"][0]


@pytest.mark.parametrize(
    "saved",
    [
        {"states": {}},
        {"states": [1]},
        {"states": [{}]},
        {"states": [{"partition": {}}]},
        {"states": [{"partition": [], "cursor": {"time": "2024-01-01"}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": "yesterday"}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": 1700000000}}]},
        {"states": [{"partition": {"a": "b"}, "cursor": {"time": None}}]},
    ],
)
def test_a_state_that_cannot_be_used_names_the_stream_and_the_form(saved: Any) -> None:
    with pytest.raises(ConfigurationError, match="`state of events`") as caught:
        state(saved)
    assert '"cursor": {"time":' in caught.value.advice


@pytest.mark.parametrize("saved", [None, {}, {"states": []}])
def test_no_state_is_a_state(saved: Any) -> None:
    assert state(saved).blob() == {"states": []}


# When to write.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    return now


def written(saved: StreamState) -> int:
    return saved.take(len(json.dumps(saved.blob())))


def test_the_end_of_a_partition_is_written_at_once(clock: list[float]) -> None:
    saved = state()
    saved.wrote(10, 1_000)
    saved.advance(Partition.of(market="a"), 5)
    assert not saved.due(partition_ended=False)
    assert saved.due(partition_ended=True)
    assert written(saved) == 10
    assert not saved.due(partition_ended=True), "nothing is new"


def test_time_passed_is_reason_enough(clock: list[float]) -> None:
    saved = state()
    written(saved)
    saved.wrote(3, 300)
    assert not saved.due(partition_ended=False)
    clock[0] += checkpoints.SECONDS_BETWEEN_CHECKPOINTS
    assert checkpoints.SECONDS_BETWEEN_CHECKPOINTS <= 30
    assert saved.due(partition_ended=False)


def test_without_anything_new_a_state_is_only_a_sign_of_life(clock: list[float]) -> None:
    saved = state()
    written(saved)
    clock[0] += checkpoints.SECONDS_BETWEEN_SIGNS_OF_LIFE - 0.1
    assert not saved.unwritten
    assert not saved.due(partition_ended=True)
    clock[0] += 0.2
    assert saved.due(partition_ended=False)


def test_a_large_state_is_not_repeated_for_each_of_its_partitions(clock: list[float]) -> None:
    saved = state()
    written_bytes = written_states = 0
    for n in range(4_000):
        saved.wrote(2, 400)
        saved.advance(Partition.of(market=f"exchange-MARKET{n:05d}-future"), n + 1)
        if saved.due(partition_ended=True):
            size = len(json.dumps(saved.blob()))
            saved.take(size)
            written_bytes += size
            written_states += 1
    assert written_states > 10
    assert written_bytes <= 4_000 * 400 + 2 * len(json.dumps(saved.blob())) + 400 * 32 * 1024


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=50))
def test_the_records_of_all_checkpoints_add_up(steps: list[tuple[int, bool]]) -> None:
    saved = state()
    told = 0
    for records, checkpoint in steps:
        saved.wrote(records, records * 100)
        if checkpoint:
            told += written(saved)
    assert told + written(saved) == sum(records for records, _ in steps)
