"""Gate's windows and pages by the real loop: any number of rows in any second, late rows, kills. Nothing is lost."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Endpoint
from source_liquidations.reading.loop import Block
from source_liquidations.reading.scheduler import Ended
from source_liquidations.reading.slices import Slices
from source_liquidations.timestamps import DAY, HOUR, SECOND
from source_liquidations.vendors.gate import orders, stats
from unit_tests.simulated import Simulation, Unlimited
from unit_tests.vendors.bodies import feed_of

LIMIT = 4  # instead of 1,000
NAMES = ("A_USDT", "B_USDT", "AB_USDT", "C_USDT")
BEGIN = (time.time_ns() - 10 * DAY) // HOUR * HOUR
LOOKBACK = HOUR
Order = tuple[str, int, str]  # contract, second, size


@dataclass
class FakeGate:
    """Answers for Gate. A cut answer may have any of the rows, in any order."""

    found: list[Order] = field(default_factory=list)
    buckets: Sequence[int] = ()
    vendor: str = "gate"
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    meanwhile: Callable[[], None] = lambda: None
    budget: Unlimited = field(default_factory=Unlimited)
    counts_absent: bool = False

    def fetch(self, request: Request, traffic: Traffic | None = None, **_: object) -> Response:
        self.meanwhile()
        params = dict(request.params)
        call = request.path.rpartition("/")[2]
        rows = {"liq_orders": self._orders, "contract_stats": self._stats, "contracts": self._contracts}[call](params)
        return Response(200, {}, json.dumps(rows).encode())

    def _orders(self, params: dict[str, str]) -> list[Any]:
        start, end, limit = int(params["from"]), int(params["to"]), int(params["limit"])
        assert 0 <= end - start < 3600
        rows = [row for row in self.found if start <= row[1] <= end and params.get("contract", row[0]) == row[0]]
        self.chance.shuffle(rows)
        return [
            {
                "time": second,
                "contract": contract,
                "size": size,
                "order_size": f"-{size}",
                "order_price": "5",
                "fill_price": str(self.chance.choice((5, 6))),
                "left": "0",
            }
            for contract, second, size in rows[:limit]
        ]

    def _stats(self, params: dict[str, str]) -> list[Any]:
        start, limit = int(params["from"]), int(params["limit"])
        if self.counts_absent:  # a page is short where buckets are absent
            first = next((at for at in self.buckets if at >= start), None)
            last = start if first is None else first + limit * 300
            return [{"time": at, "long_liq_usd": 1} for at in self.buckets if start <= at < last]
        return [{"time": at, "long_liq_usd": 1} for at in self.buckets if at >= start][:limit]

    def _contracts(self, params: dict[str, str]) -> list[Any]:
        return [{"name": name, "type": "direct"} for name in NAMES] if params["offset"] == "0" else []


class GateSimulation(Simulation):
    """A sync of one of Gate's endpoints; `table` has the platform's rows by key."""

    def __init__(self, endpoint: Endpoint, end: int, table: dict[Any, Any], **how: Any) -> None:
        self.table = table
        super().__init__(endpoint, BEGIN, end, lookback=LOOKBACK, check_progress=False, **how)  # type: ignore[arg-type]

    def read_slices(self) -> dict[str, Slices]:
        return {}

    def recorded(self) -> dict[str, Slices]:
        return {str(partition): self.state.of(partition).recorded for partition in self.reading.partitions}

    def write(self) -> bool:
        if self.handover.empty():
            return False
        item = self.handover.get()
        self.ended = isinstance(item, Ended)
        for passed in self.sync.pass_on(item):
            if isinstance(passed, Block):
                for line in passed.data.splitlines():
                    row = json.loads(line)["record"]["data"]
                    self.table[row.get("liquidation_id") or row["timestamp"]] = row
        return True


def content(row: dict[str, Any]) -> Order:
    return row["contract"], row["timestamp"], row["size"]


# Many rows in few seconds with few sizes, so that there are twins.
CROWDED = BEGIN // SECOND + 5400
instants = st.one_of(
    st.just(CROWDED),
    st.sampled_from([CROWDED + 3600 * hour + second for hour in (-1, 0, 1, 2) for second in (-1800, -1799, 0, 1799)]),
    st.integers(BEGIN // SECOND, BEGIN // SECOND + 4 * 3600 - 1),
)
one_order = st.tuples(st.sampled_from(NAMES), instants, st.sampled_from(["1", "2.5"]))


def possible(rows: Sequence[Order]) -> list[Order]:
    """Without cases that Gate cannot serve at all: more rows of one contract in one second than an answer has."""
    counts: Counter[tuple[str, int]] = Counter()
    found = []
    for row in rows:
        counts[row[:2]] += 1
        if counts[row[:2]] < LIMIT:
            found.append(row)
    return found


ENTRIES = (["usdt/A_USDT", "usdt/C_USDT"], ["usdt/*"], ["usdt/A*", "usdt/?_USDT"], ["usdt/B_USDT", "usdt/A*"])


def wanted(entries: Sequence[str], contract: str) -> bool:
    named = {"usdt/*": NAMES, "usdt/A*": ("A_USDT", "AB_USDT"), "usdt/?_USDT": ("A_USDT", "B_USDT", "C_USDT")}
    return any(contract in named.get(entry, (entry.removeprefix("usdt/"),)) for entry in entries)


@given(
    rows=st.lists(one_order, max_size=40),
    late=st.lists(one_order, max_size=8),
    entries=st.sampled_from(ENTRIES),
    seed=st.integers(0, 2**32),
    kills=st.lists(st.integers(0, 60), max_size=3),
    workers=st.integers(1, 3),
)
def test_every_order_arrives_once_whatever_is_cut_late_or_killed(
    rows: list[Order], late: list[Order], entries: list[str], seed: int, kills: list[int], workers: int
) -> None:
    every = possible(rows + late)
    # Late rows are within the lookback before the end of the first syncs.
    middle, end = BEGIN + 3 * HOUR, BEGIN + 4 * HOUR
    behind = {id(row) for row in every[len(rows) :] if middle - LOOKBACK <= row[1] * SECOND < middle}
    gate = FakeGate([row for row in every if id(row) not in behind], chance=random.Random(seed))
    table: dict[Any, Any] = {}
    saved: Any = None
    with patch.object(orders, "LIMIT", LIMIT):
        for turns in (*kills, None, "last"):
            endpoint = feed_of("gate_liquidation_orders", {"contracts": entries}).endpoint
            endpoint._contracts._client = endpoint.client = gate  # type: ignore[attr-defined, assignment]
            gate.found = every if turns == "last" else gate.found
            until = end if turns == "last" else middle
            one = GateSimulation(endpoint, until, table, saved=saved, chance=gate.chance, workers=workers)
            one.run(turns if isinstance(turns, int) else None)
            assert not one.reading.failures
            saved = json.loads(json.dumps(one.state.blob()))
            known = Counter(content(row) for row in table.values())
            for partition, slices in one.recorded().items():
                for contract, second, size in gate.found:
                    is_its = wanted([partition if "/" in partition else f"{partition}/*"], contract)
                    if is_its and slices.within(second * SECOND, second * SECOND + 1).ranges:
                        assert known[contract, second, size], "a state ran ahead of its records"
    expected = Counter(row for row in every if wanted(entries, row[0]) and row[1] * SECOND < end)
    assert Counter(content(row) for row in table.values()) == expected


@given(
    absent=st.sets(st.integers(0, 60), max_size=60),
    seed=st.integers(0, 2**32),
    kills=st.lists(st.integers(0, 40), max_size=3),
    workers=st.integers(1, 3),
    counts_absent=st.booleans(),
    length=st.integers(1, 40),
)
def test_every_sum_arrives_whatever_is_absent_or_killed(
    absent: set[int], seed: int, kills: list[int], workers: int, counts_absent: bool, length: int
) -> None:
    buckets = [BEGIN // SECOND + 300 * n for n in range(61) if n not in absent]
    gate = FakeGate(buckets=buckets, chance=random.Random(seed), counts_absent=counts_absent)
    end = BEGIN + 300 * length * SECOND
    table: dict[Any, Any] = {}
    saved: Any = None
    with patch.object(stats, "LIMIT", LIMIT):
        for turns in (*kills, None):
            section = {"contracts": ["usdt/A_USDT"], "interval": "5m"}
            endpoint = feed_of("gate_contract_stats", section).endpoint
            endpoint.client = gate  # type: ignore[assignment]
            one = GateSimulation(endpoint, end, table, saved=saved, chance=gate.chance, workers=workers)
            one.run(turns)
            assert not one.reading.failures
            saved = json.loads(json.dumps(one.state.blob()))
            for slices in one.recorded().values():
                for at in buckets:
                    is_read = slices.within(at * SECOND, at * SECOND + 1).ranges
                    assert not is_read or at in table, "a state ran ahead of its records"
    assert sorted(table) == [at for at in buckets if at * SECOND < end]
