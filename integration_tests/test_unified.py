"""`liquidations` and `liquidation_volumes` through the command line: the vendors' rows in one shape, read once."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cases import (
    BITFINEX,
    CASES,
    COIN_METRICS,
    EVENTS,
    GATE_ORDERS,
    KIYOTAKA,
    KWERY,
    VOLUMES,
    Case,
    Row,
    config_of,
)
from harness import Connector, Message, Run, Warm, cleared, positions
from unified import FED, KEYS, identity, mapped, nearly_same

from sandbox import Sandbox
from sandbox.app import Recorded

START, MIDDLE, END = "2026-02-26T12:00:00Z", "2026-02-27T12:00:00Z", "2026-02-28T00:00:00Z"
UNIFIED = ["liquidations", "liquidation_volumes"]
OWN = [case.stream for case in CASES]


@pytest.fixture(scope="module")
def thin_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=6, now="2026-03-01T12:30:00Z", rows_per_day=1_500, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(thin_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(thin_sandbox)


@pytest.fixture(scope="module")
def undisturbed(warm: Warm, thin_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The records of the vendors' streams."""
    run = Connector(warm, tmp_path_factory.mktemp("undisturbed")).read(configured(thin_sandbox), OWN)
    assert run.code == 0, run
    return run


def configured(sandbox: Sandbox, end: str = END, cases: Sequence[Case] = CASES, **fields: Any) -> dict[str, Any]:
    # Cuts depend on the workers' speed; with one worker, requests are the same in every run.
    return config_of(cases, sandbox, START, end, **{"num_workers": 1, **fields})


def asked(sandbox: Sandbox) -> list[tuple[str, ...]]:
    """The requests without tokens, which differ, and without contract sizes, which only `liquidations` needs."""
    sizes = ("/reference-data/", "/contracts")
    return sorted(_text(r) for r in sandbox.requests() if not any(part in r.path for part in sizes))


def _text(request: Recorded) -> tuple[str, ...]:
    kept = [f"{name}={value}" for name, value in request.query if "token" not in name]
    return (request.prefix, request.path, *kept)


def fed(run: Run, stream: str, cases: Sequence[Case] = CASES) -> list[Row]:
    """The expected records of a unified stream, from the vendor streams' records of the same run."""
    return [row for case in cases if FED[case.stream][0] == stream for row in mapped(case, run.records(case.stream))]


# One shape, one reading.


def test_all_streams_of_all_vendors_in_one_sync(connector: Connector, sandbox: Sandbox) -> None:
    config = configured(sandbox, num_workers=8)
    run = connector.read(config, [*OWN, *UNIFIED], script=True)
    assert run.code == 0, run
    assert run.err == b""
    for case in CASES:
        nearly_same(run.records(case.stream), case.rows(sandbox, START, END), case.ignored)
    for stream in UNIFIED:
        rows = run.records(stream)
        nearly_same(rows, fed(run, stream))
        assert len({identity(stream, row) for row in rows}) == len(rows), "keys are not unique"
        assert all(row[name] is not None for row in rows for name in KEYS[stream])
        assert run.statuses(stream) == ["STARTED", "RUNNING", "COMPLETE"]
    assert {row["vendor"] for row in run.records("liquidations")} == {
        "kaiko",
        "kwery",
        "coin_metrics",
        "bitfinex",
        "gate",
    }
    assert {row["vendor"] for row in run.records("liquidation_volumes")} == {"kaiko", "kiyotaka", "coinalyze", "gate"}


def test_the_unified_streams_alone_hold_the_same_rows_for_the_same_requests(
    connector: Connector, sandbox: Sandbox
) -> None:
    own = connector.read(configured(sandbox), OWN)
    by_vendor = asked(sandbox)
    sandbox.clear()
    unified = connector.read(configured(sandbox), UNIFIED)
    assert asked(sandbox) == by_vendor
    sandbox.clear()
    both = connector.read(configured(sandbox), [*OWN, *UNIFIED])
    assert asked(sandbox) == by_vendor, "read once for both"
    assert own.code == unified.code == both.code == 0
    for stream in UNIFIED:
        expected = fed(own, stream)
        nearly_same(unified.records(stream), expected)
        nearly_same(both.records(stream), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_vendor_alone(case: Case, connector: Connector, sandbox: Sandbox) -> None:
    stream, _ = FED[case.stream]
    config = configured(sandbox, cases=[case])
    found = connector.discover(config).catalog
    assert stream in found
    assert [[name] for name in KEYS[stream]] == found[stream]["source_defined_primary_key"]
    run = connector.read(config, [case.stream, stream])
    assert run.code == 0, run
    nearly_same(run.records(stream), fed(run, stream, [case]))
    assert run.records(stream)


# States.


def test_each_vendors_partition_has_a_position_of_its_own(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(configured(sandbox), [*OWN, *UNIFIED])
    for stream in UNIFIED:
        expected = {}
        for case in CASES:
            if FED[case.stream][0] == stream:
                held = positions(run.final_state, case.stream)
                assert len(held) == len(case.markets)
                expected |= {tuple(sorted((*partition, ("vendor", case.vendor)))): at for partition, at in held.items()}
        assert positions(run.final_state, stream) == expected
        (state,) = [s for s in run.final_state if s["stream"]["stream_descriptor"]["name"] == stream]
        cursor = "liquidated_at" if stream == "liquidations" else "interval_start"
        assert {tuple(entry["cursor"]) for entry in state["stream"]["stream_state"]["states"]} == {(cursor,)}


def test_streams_with_equal_cursors_are_read_once(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(configured(sandbox, MIDDLE), [*OWN, *UNIFIED])
    sandbox.clear()
    own = connector.read(configured(sandbox), OWN, state=first.final_state)
    alone = asked(sandbox)
    sandbox.clear()
    both = connector.read(configured(sandbox), [*OWN, *UNIFIED], state=first.final_state)
    assert asked(sandbox) == alone
    for stream in UNIFIED:
        nearly_same(both.records(stream), fed(own, stream))


def test_streams_with_different_cursors_are_read_from_each(connector: Connector, sandbox: Sandbox) -> None:
    """The unified streams are selected later: they get their history, the vendors' streams their new rows."""
    first = connector.read(configured(sandbox, MIDDLE), OWN)
    whole = connector.read(configured(sandbox), OWN)
    sandbox.clear()
    second = connector.read(configured(sandbox), [*OWN, *UNIFIED], state=first.final_state)
    assert second.code == 0, second
    for case in CASES:
        since = "2026-02-27T11:00:00Z"  # the lookback
        nearly_same(second.records(case.stream), case.rows(sandbox, since, END), case.ignored)
    for stream in UNIFIED:
        rows = second.records(stream)
        nearly_same(rows, fed(whole, stream))
        assert len({identity(stream, row) for row in rows}) == len(rows)
    sandbox.clear()
    third = connector.read(configured(sandbox), [*OWN, *UNIFIED], state=second.final_state)
    together = asked(sandbox)
    sandbox.clear()
    connector.read(configured(sandbox), OWN, state=second.final_state)
    assert together == asked(sandbox), "from now on, once for both"
    for stream in UNIFIED:
        nearly_same(third.records(stream), fed(third, stream))


def test_a_market_that_is_added_gets_its_whole_history_in_both(connector: Connector, sandbox: Sandbox) -> None:
    config = configured(sandbox, MIDDLE, [COIN_METRICS])
    *kept, added = COIN_METRICS.markets
    config["coin_metrics"]["markets"] = kept
    first = connector.read(config, [COIN_METRICS.stream, "liquidations"])
    again = configured(sandbox, END, [COIN_METRICS], lookback_window="PT0S")
    second = connector.read(again, [COIN_METRICS.stream, "liquidations"], state=first.final_state)
    assert second.code == 0, second
    nearly_same(second.records("liquidations"), fed(second, "liquidations", [COIN_METRICS]))
    rows = [row for row in second.records("liquidations") if row["market"] == added]
    nearly_same(rows, mapped(COIN_METRICS, COIN_METRICS.rows(sandbox, START, END, [added])))


# Failures.


@pytest.mark.parametrize("broken", [EVENTS, KWERY, COIN_METRICS, BITFINEX, GATE_ORDERS], ids=str)
def test_a_vendor_that_fails_leaves_the_others_rows_and_is_named(
    broken: Case, connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    sandbox.fault("status", vendor=broken.vendor, path_contains=broken.path, status=401, message="no", times=None)
    run = connector.read(configured(sandbox), [*OWN, *UNIFIED])
    assert run.code == 1
    failed = {trace["stream"]["name"]: trace for trace in run.traces}
    assert set(failed) == {broken.stream, "liquidations"}
    message = failed["liquidations"]["message"]
    assert message.startswith(f"liquidations: {broken.vendor}")
    assert "HTTP 401" in message
    assert run.statuses("liquidations")[-1] == "INCOMPLETE"
    assert run.statuses("liquidation_volumes")[-1] == "COMPLETE"
    others = [case for case in (EVENTS, KWERY, COIN_METRICS, BITFINEX, GATE_ORDERS) if case is not broken]
    nearly_same(run.records("liquidations"), fed(run, "liquidations", others))
    nearly_same(run.records("liquidation_volumes"), fed(run, "liquidation_volumes"))
    sandbox.app.faults.clear()
    again = connector.read(configured(sandbox, lookback_window="PT0S"), UNIFIED, state=run.final_state)
    assert again.code == 0, again
    nearly_same(again.records("liquidations"), mapped(broken, undisturbed.records(broken.stream)))


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("reset_mid_body", {}),
        ("cut", {"length": "cut"}),
        ("html", {}),
        ("status", {"status": 503}),
        ("unordered", {}),
        ("unknown_fields", {}),
    ],
)
def test_transient_faults_lose_no_row_of_any_stream(
    kind: str, details: dict[str, Any], connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    for case in CASES:
        sandbox.fault(kind, vendor=case.vendor, path_contains=case.path, **details)
        sandbox.fault(kind, vendor=case.vendor, path_contains=case.path, after=1, **details)
    run = connector.read(configured(sandbox, num_workers=4), [*UNIFIED, *OWN], patience="0.02")
    assert run.code == 0, run
    for stream in UNIFIED:
        nearly_same(run.records(stream), fed(undisturbed, stream))


def test_text_that_is_no_number_fails_the_unified_stream_without_a_guess(
    connector: Connector, sandbox: Sandbox
) -> None:
    """All of Coin Metrics' values are strings: its own stream has them as sent."""
    good = connector.read(configured(sandbox, cases=[COIN_METRICS]), ["liquidations"]).records()
    sandbox.fault(
        "wrong_types", vendor="coin_metrics", path_contains=COIN_METRICS.path, field="amount", value="some", times=None
    )
    config = configured(sandbox, cases=[COIN_METRICS])
    run = connector.read(config, ["liquidations"])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "system_error"
    for word in ("liquidations", "coin_metrics", "`amount`", "No row was guessed"):
        assert word in trace["message"]
    assert len([row for row in good if row not in run.records()]) == 1, "the other rows arrive"
    assert [row for row in run.records() if row not in good] == []


# Crashes.


def swallowed(run: Run, held: dict[str, dict[Any, Row]], state: list[Message]) -> list[Message]:
    """Process a run's output: rows by key, and the last states."""
    for stream, rows in held.items():
        for row in run.records(stream):
            key = identity(stream, row) if stream in UNIFIED else tuple(sorted(row.items(), key=str))
            assert rows.setdefault(str(key), row) == row, "two rows of one key"
    kept = {entry["stream"]["stream_descriptor"]["name"]: entry for entry in [*state, *run.final_state]}
    return list(kept.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("streams", [UNIFIED, [*OWN, *UNIFIED]], ids=["unified", "both"])
def test_repeatedly_killed_unified_streams_become_complete(
    seed: int, streams: list[str], connector: Connector, sandbox: Sandbox, undisturbed: Run
) -> None:
    chance = random.Random(seed)
    config = configured(sandbox, lookback_window="PT0S", num_workers=4)
    size = len(undisturbed.out) * (2 if len(streams) > 2 else 1)
    held: dict[str, dict[Any, Row]] = {stream: {} for stream in UNIFIED}
    state: list[Message] = []
    for number in range(20):
        process = connector.reading(config, streams, state=state)
        so_far = process.stdout.read(int(size * chance.uniform(0.1, 0.8)))
        if number % 3 == 2:
            process.signal(signal.SIGTERM)
        else:
            process.signal(signal.SIGKILL)
        run = process.collect(so_far=so_far).whole
        state = swallowed(run, held, state)
        if run.code == 0:
            break
        assert run.code in (-signal.SIGTERM, -signal.SIGKILL), run
    for stream in UNIFIED:
        nearly_same(held[stream].values(), fed(undisturbed, stream))


# The unified streams differ only in the vendor.


def test_every_row_has_the_same_fields_at_every_vendor(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(configured(sandbox), UNIFIED)
    for stream in UNIFIED:
        assert len({tuple(sorted(row)) for row in run.records(stream)}) == 1
    hours: dict[str, set[str]] = {"kaiko": set(), "kiyotaka": set(), "coinalyze": set(), "gate": set()}
    for row in run.records("liquidation_volumes"):
        hours[row["vendor"]].add(row["interval_start"][:13])
    assert hours["kaiko"] <= hours["kiyotaka"]


def test_two_vendors_of_one_market_agree_on_sides(connector: Connector, sandbox: Sandbox) -> None:
    """Kwery's event of a second of Binance is Kaiko's last event of that second, so the sides are equal."""
    config = configured(sandbox, cases=[EVENTS, KWERY, VOLUMES, KIYOTAKA])
    config["kaiko"]["instruments"] = ["binc/perpetual-future/eth-usdt"]
    config["kwery"]["symbols"] = ["ETH"]
    run = connector.read(config, ["liquidations"])
    assert run.code == 0, run
    sides: dict[str, dict[tuple[Any, ...], str]] = {"kaiko": {}, "kwery": {}}
    for row in run.records("liquidations"):
        sides[row["vendor"]][row["liquidated_at_ns"], row["amount"], row["price"]] = row["position_side"]
    shared = sides["kaiko"].keys() & sides["kwery"].keys()
    assert len(shared) > 0.9 * len(sides["kwery"]) > 50
    assert all(sides["kaiko"][event] == sides["kwery"][event] for event in shared)
