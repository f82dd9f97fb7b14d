"""Syncs interrupted at random points: their output and that of the next syncs are complete together."""

from __future__ import annotations

import random
import signal
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cases import CASES, COIN_METRICS, EVENTS, KIYOTAKA, KWERY, VOLUMES, Case, Row, config_of, covers
from harness import Connector, Message, Process, Run, Warm, cleared, positions, state_of

from sandbox import Sandbox
from sandbox.times import HOUR, iso, parse

START, END = "2026-02-25T12:00:00Z", "2026-02-28T00:00:00Z"
STREAMS = [case.stream for case in CASES]
BY_NAME = {case.stream: case for case in CASES}


@pytest.fixture(scope="module")
def busy_sandbox() -> Iterator[Sandbox]:
    """Several pages or windows of each stream, so that there are many points to interrupt."""
    with Sandbox(seed=3, now="2026-03-01T12:30:00Z", rows_per_day=1_200, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(busy_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(busy_sandbox)


_rows: dict[str, list[Row]] = {}


def rows_of(case: Case, sandbox: Sandbox) -> list[Row]:
    if case.stream not in _rows:
        _rows[case.stream] = case.rows(sandbox, START, END)
    return _rows[case.stream]


def read_bytes(process: Process, amount: int) -> bytes:
    """The next bytes of the output, fewer at its end."""
    found = bytearray()
    while len(found) < amount and (piece := process.stdout.read1(min(65_536, amount - len(found)))):
        found += piece
    return bytes(found)


def configured(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    return config_of(CASES, sandbox, START, END, lookback_window="PT0S", num_workers=5, **fields)


@dataclass
class Platform:
    """What a platform has stored over several syncs: rows by key, and the last state.

    Each state is compared with the rows before it.
    """

    sandbox: Sandbox
    rows: dict[str, dict[Any, bytes]] = field(default_factory=lambda: {name: {} for name in STREAMS})
    repeats: int = 0
    state: list[Message] = field(default_factory=list)
    positions: dict[str, dict[Any, str]] = field(default_factory=lambda: {name: {} for name in STREAMS})

    def take(self, run: Run) -> None:
        """Process a run's output, in order."""
        self.take_messages(run.whole.messages)

    def take_messages(self, messages: Iterable[Message]) -> None:
        states: list[Message] = []
        for message in messages:
            if message["type"] == "RECORD":
                self._take_row(message["record"]["stream"], message["record"]["data"])
            elif message["type"] == "STATE":
                states.append(message)
                self._check(message["state"])
        kept = {entry["stream"]["stream_descriptor"]["name"]: entry for entry in self.state}
        kept |= {entry["stream"]["stream_descriptor"]["name"]: entry for entry in state_of(states)}
        self.state = list(kept.values())

    def _take_row(self, stream: str, row: Row) -> None:
        case = BY_NAME[stream]
        text = msgspec.json.encode(row, order="deterministic")
        known = self.rows[stream].setdefault(case.identity(row), text)
        self.repeats += known is not text
        assert known == text, "two rows of one key"

    def _check(self, state: Message) -> None:
        name = state["stream"]["stream_descriptor"]["name"]
        held = positions([state], name)
        for partition, position in held.items():
            assert position >= self.positions[name].get(partition, ""), "a position went back"
            rows, times = expected_by_partition(name, self.sandbox)[partition]
            done = rows[: bisect_left(times, parse(position))]
            assert all(key in self.rows[name] for key in done), "a state ran ahead of its records"
        assert held.keys() >= self.positions[name].keys(), "a partition was forgotten"
        self.positions[name] = held

    def complete(self) -> None:
        """Assert that the rows are exactly the vendors' rows."""
        for case in CASES:
            covers(map(msgspec.json.decode, self.rows[case.stream].values()), rows_of(case, self.sandbox), case)


_by_partition: dict[str, dict[Any, tuple[list[Any], list[int]]]] = {}


def expected_by_partition(stream: str, sandbox: Sandbox) -> dict[Any, tuple[list[Any], list[int]]]:
    """Keys and instants of each partition's rows, sorted by time. Kwery's keys come from an uninterrupted read."""
    return _by_partition[stream]


@pytest.fixture
def undisturbed(connector: Connector, sandbox: Sandbox) -> Run:
    """An uninterrupted sync: it has the expected rows, and its output has the points at which others are stopped."""
    if _undisturbed:
        return _undisturbed[0]
    run = connector.read(configured(sandbox), STREAMS)
    assert run.code == 0, run
    for case in CASES:
        rows = run.records(case.stream)
        covers(rows, rows_of(case, sandbox), case)
        found: dict[Any, tuple[list[Any], list[int]]] = {}
        for market in case.markets:
            partition = case.partition(market)
            mine = [row for row in rows if _belongs(row, partition)]
            mine.sort(key=lambda row: parse(row[case.cursor]))
            keys, times = [case.identity(row) for row in mine], [parse(row[case.cursor]) for row in mine]
            found[tuple(sorted(partition.items()))] = keys, times
        assert sum(len(keys) for keys, _ in found.values()) == len(rows)
        _by_partition[case.stream] = found
        _keys[case.stream] = {case.identity(row) for row in rows}
    sandbox.clear()
    _undisturbed.append(run)
    return run


_undisturbed: list[Run] = []
_keys: dict[str, set[Any]] = {}


def _belongs(row: Row, partition: dict[str, str]) -> bool:
    if "exchanges" in partition:  # a sum over exchanges names none
        return bool(row["exchange"] == "" and row["coin"] == partition["coin"])
    return all(row[name] == value for name, value in partition.items())


def killed(process: Process, so_far: bytes) -> Run:
    process.signal(signal.SIGKILL)
    return process.collect(so_far=so_far)


@pytest.mark.parametrize("seed", range(5))
def test_repeatedly_killed_syncs_become_complete(
    seed: int, connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    chance = random.Random(seed)
    platform = Platform(sandbox)
    for _ in range(25):
        process = connector.reading(configured(sandbox), STREAMS, state=platform.state)
        so_far = read_bytes(process, int(len(undisturbed.out) * chance.uniform(0.05, 0.7)))
        run = killed(process, so_far)
        platform.take(run)
        if run.code == 0:
            break
        assert run.code == -signal.SIGKILL
        assert run.err == b""
    else:
        run = connector.read(configured(sandbox), STREAMS, state=platform.state)
        assert run.code == 0, run
        platform.take(run)
    platform.complete()


def test_a_sync_killed_before_its_first_state_starts_again(
    connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    platform = Platform(sandbox)
    process = connector.reading(configured(sandbox), STREAMS)
    first_state = undisturbed.out.index(b'{"type":"STATE"')
    run = killed(process, read_bytes(process, min(first_state, 5_000)))
    platform.take(Run(run.code, run.out[: run.out.find(b'{"type":"STATE"')], b""))
    assert platform.state == []
    platform.take(connector.read(configured(sandbox), STREAMS, state=platform.state))
    platform.complete()


def test_a_sync_can_resume_from_every_state(connector: Connector, sandbox: Sandbox, undisturbed: Run) -> None:
    """The rows before a state and the rows read from it are complete together."""
    messages = undisturbed.messages
    places = [n for n, message in enumerate(messages) if message["type"] == "STATE"]
    assert len(places) >= 10
    platform, begin = Platform(sandbox), 0
    for place in places:
        platform.take_messages(messages[begin : place + 1])
        begin = place + 1
        rest = connector.read(configured(sandbox), STREAMS, state=platform.state)
        assert rest.code == 0, rest
        for case in CASES:
            keys = platform.rows[case.stream].keys() | {case.identity(row) for row in rest.records(case.stream)}
            assert keys == _keys[case.stream]


@pytest.mark.parametrize("seed", range(5))
def test_sigterm_ends_a_sync_within_seconds_with_a_last_state(
    seed: int, connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    chance = random.Random(seed)
    platform = Platform(sandbox)
    process = connector.reading(configured(sandbox), STREAMS, script=seed == 0)
    so_far = read_bytes(process, int(len(undisturbed.out) * chance.uniform(0.1, 0.8)))
    asked = time.monotonic()
    process.signal(signal.SIGTERM)
    run = process.collect(so_far=so_far)
    assert time.monotonic() - asked < 15
    assert run.code == -signal.SIGTERM, run
    assert run.err == b""
    assert run.out.endswith(b"\n")
    platform.take(run)
    ended = [case.stream for case in CASES if run.statuses(case.stream)[-1] == "COMPLETE"]
    last = [m["type"] for m in run.messages if m["type"] in ("RECORD", "STATE")][-1]
    assert last == "STATE"
    for case in CASES:
        assert run.statuses(case.stream)[-1] in ("COMPLETE", "INCOMPLETE")
        assert case.stream in {m["state"]["stream"]["stream_descriptor"]["name"] for m in run.states}
    assert len(ended) < len(CASES)
    again = connector.read(configured(sandbox), STREAMS, state=platform.state)
    assert again.code == 0, again
    platform.take(again)
    platform.complete()
    assert platform.repeats <= len(CASES) * 1_000, "no more than a page of each stream is repeated"


@pytest.mark.parametrize("waiting", ["silent", "budget", "retry"])
def test_sigterm_ends_a_waiting_sync(waiting: str, connector: Connector, sandbox: Sandbox) -> None:
    """While no response arrives, the budget is used up, or a Retry-After is long."""
    config = EVENTS.config(sandbox, START, END)
    if waiting == "silent":
        sandbox.fault("silent", vendor="kaiko", times=None, seconds=60)
    elif waiting == "retry":
        sandbox.fault("status", vendor="kaiko", status=429, headers={"Retry-After": "600"}, times=None)
    else:
        config["kaiko"]["requests_per_minute"] = 1
    process = connector.reading(config, [EVENTS.stream], patience="1")
    deadline = time.monotonic() + 120
    while not sandbox.requests("kaiko") and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    asked = time.monotonic()
    process.signal(signal.SIGTERM)
    run = process.collect(20)
    assert run.code == -signal.SIGTERM, run
    assert time.monotonic() - asked < 10
    assert run.statuses(EVENTS.stream)[-1] == "INCOMPLETE"
    assert run.states, "a state nevertheless"


def test_a_keyboard_interrupt_ends_cleanly(connector: Connector, sandbox: Sandbox, undisturbed: Run) -> None:
    process = connector.reading(configured(sandbox), STREAMS)
    so_far = read_bytes(process, len(undisturbed.out) // 3)
    process.signal(signal.SIGINT)
    run = process.collect(so_far=so_far)
    assert (run.code, run.err) == (-signal.SIGINT, b"")
    assert [m["type"] for m in run.messages if m["type"] in ("RECORD", "STATE")][-1] == "STATE"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_check_ends_at_once(number: signal.Signals, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("silent", vendor="kaiko", times=None, seconds=60)
    path = connector.file(EVENTS.config(sandbox, START, END))
    process = connector.start(["check", "--config", path], patience="1")
    deadline = time.monotonic() + 120
    while not sandbox.requests("kaiko") and time.monotonic() < deadline:
        time.sleep(0.02)
    asked = time.monotonic()
    process.signal(number)
    run = process.collect(30)
    assert (run.code, run.err) == (-number, b"")
    assert time.monotonic() - asked < 10


@pytest.mark.parametrize("seed", range(4))
def test_a_closed_output_ends_it_quietly(seed: int, connector: Connector, sandbox: Sandbox, undisturbed: Run) -> None:
    process = connector.reading(configured(sandbox), STREAMS, script=seed == 0, debug=seed % 2 == 1)
    read_bytes(process, int(len(undisturbed.out) * random.Random(seed).uniform(0.05, 0.6)))
    process.stdout.close()
    said = process.stderr.read()
    code = process.wait(30)
    process.close()
    assert said == b""
    assert code == 141


def test_a_closed_output_ends_it_quietly_while_it_waits_and_logs(connector: Connector, sandbox: Sandbox) -> None:
    """Log lines of workers meet the closed output first."""
    sandbox.fault("status", vendor="kaiko", status=503, times=None)
    process = connector.reading(EVENTS.config(sandbox, START, END), [EVENTS.stream])
    read_bytes(process, 200)
    process.stdout.close()
    said = process.stderr.read()
    code = process.wait(60)
    process.close()
    assert said == b""
    assert code in (141, 1)


def test_pages_of_several_markets_are_resumed(connector: Connector, dense_sandbox: Sandbox) -> None:
    """Coin Metrics sorts by market, then time: after a kill within such pages, each market has its own cursor."""
    start, end = "2026-02-28T00:00:00Z", "2026-03-01T12:00:00Z"
    config = COIN_METRICS.config(dense_sandbox, start, end, lookback_window="PT0S")
    state: list[Message] = []
    rows: list[Row] = []
    for stop in (2_000_000, 3_500_000, 1_000_000, None):
        process = connector.reading(config, [COIN_METRICS.stream], state=state)
        if stop is not None:
            so_far = read_bytes(process, stop)
            process.signal(signal.SIGTERM)
        run = process.collect(so_far=so_far if stop is not None else b"")
        assert run.code in (0, -signal.SIGTERM), run
        rows += run.records()
        state = run.final_state
    assert len(dense_sandbox.requests("coin_metrics")) > 4
    assert run.code == 0
    covers(rows, COIN_METRICS.rows(dense_sandbox, start, end), COIN_METRICS)


UNIFIED = {
    "liquidations": ("vendor", "market", "liquidation_id"),
    "liquidation_volumes": (
        "vendor",
        "market",
        "asset",
        "interval",
        "position_side",
        "unit",
        "interval_start",
    ),
}


@pytest.fixture(scope="module")
def undisturbed_too(warm: Warm, busy_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted sync of all streams."""
    connector = Connector(warm, tmp_path_factory.mktemp("undisturbed"))
    run = connector.read(configured(busy_sandbox), [*STREAMS, *UNIFIED])
    assert run.code == 0, run
    return run


@pytest.mark.parametrize("seed", range(3))
def test_unified_streams_become_complete(
    seed: int, connector: Connector, sandbox: Sandbox, undisturbed_too: Run
) -> None:
    """They share requests with the vendors' streams but have their own states, which may differ."""
    chance = random.Random(seed)
    streams = [*STREAMS, *UNIFIED]
    whole = undisturbed_too
    found: dict[str, dict[Any, Row]] = {name: {} for name in UNIFIED}
    state: list[Message] = []
    for attempt in range(8):
        process = connector.reading(configured(sandbox), streams, state=state)
        stop = int(len(whole.out) * chance.uniform(0.1, 0.8)) if attempt < 7 else None
        run = killed(process, read_bytes(process, stop)) if stop else process.collect()
        for name, key in UNIFIED.items():
            found[name] |= {tuple(row[part] for part in key): row for row in run.whole.records(name)}
        stored = {entry["stream"]["stream_descriptor"]["name"]: entry for entry in [*state, *run.whole.final_state]}
        # A platform may have stored the last state of some streams and not yet that of others.
        state = [entry for name, entry in stored.items() if chance.random() < 0.8]
        if run.code == 0:
            break
    for name, key in UNIFIED.items():
        assert found[name] == {tuple(row[part] for part in key): row for row in whole.records(name)}


# Vendors whose data changes between syncs.


@pytest.mark.parametrize("seed", range(4))
def test_late_rows_and_changed_buckets_all_arrive_eventually(seed: int, connector: Connector) -> None:
    """Consecutive syncs, some of them killed, while the vendors' clock advances: no row is lost."""
    chance = random.Random(seed)
    cases: Sequence[Case] = [EVENTS, VOLUMES, COIN_METRICS, KIYOTAKA]
    streams = [case.stream for case in cases]
    start = "2026-02-27T22:00:00Z"
    with Sandbox(
        seed=seed,
        now="2026-02-28T00:10:00Z",
        rows_per_day=12_000,
        limits=False,
        late_fraction=0.3,
        late_seconds=1_500.0,
    ) as sandbox:
        state: list[Message] = []
        rows: dict[str, dict[Any, Row]] = {name: {} for name in streams}
        for sync in range(9):
            end = iso(sandbox.now(), 9)
            config = config_of(cases, sandbox, start, end, lookback_window="PT30M", num_workers=4)
            process = connector.reading(config, streams, state=state)
            kill = sync < 8 and chance.random() < 0.5
            so_far = read_bytes(process, chance.randrange(400_000)) if kill else b""
            run = (killed(process, so_far) if kill else process.collect()).whole
            assert run.code in (0, -signal.SIGKILL), run
            for case in cases:
                rows[case.stream] |= {case.identity(row): row for row in run.records(case.stream)}
            kept = {entry["stream"]["stream_descriptor"]["name"]: entry for entry in [*state, *run.final_state]}
            state = list(kept.values())
            sandbox.advance(chance.uniform(200, 4_000) if sync < 7 else 2 * HOUR / 10**9)
        # The time at which a vendor's data is final.
        for case in cases:
            expected = {case.identity(row): row for row in case.rows(sandbox, start, end)}
            quiet = iso(parse(end) - 1_500 * 10**9 - HOUR, 9)
            settled = {key: row for key, row in expected.items() if row[case.cursor] < quiet}
            missing = settled.keys() - rows[case.stream].keys()
            assert not missing, f"{case}: {len(missing)} of {len(settled)}"
            assert all(rows[case.stream][key] == row for key, row in settled.items()), case


def test_kwerys_late_rows_keep_the_keys_of_the_others(connector: Connector) -> None:
    """An id numbers twins by their order; a late row of the same instant must not change another row's id."""
    with Sandbox(seed=5, now="2026-02-28T12:00:00Z", rows_per_day=6_000, limits=False) as sandbox:
        config = KWERY.config(sandbox, START, END, lookback_window="P3D")
        first = connector.read(config, [KWERY.stream])
        twin = dict(sandbox.expected("kwery", "BTC", parse(START), parse(END))[100])
        sandbox.add_rows("kwery", "BTC", [twin])
        second = connector.read(config, [KWERY.stream], state=first.final_state)
        before = {row["liquidation_id"] for row in first.records()}
        after = {row["liquidation_id"] for row in second.records()}
        assert before < after
        assert len(after) == len(before) + 1
