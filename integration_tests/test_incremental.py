"""Incremental syncs: new, late and changed rows; by market, to the nanosecond, never backwards."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from cases import (
    BITFINEX,
    CASES,
    COIN_METRICS,
    COINALYZE,
    EVENTS,
    GATE_ORDERS,
    KIYOTAKA,
    KWERY,
    VOLUMES,
    Case,
    Row,
    config_of,
    covers,
    same,
)
from harness import Connector, Message, positions

from sandbox import Sandbox
from sandbox.times import MINUTE, iso, parse

STREAMS = [case.stream for case in CASES]
START, MIDDLE, END = "2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28T06:00:00Z"
HOUR_BEFORE = "2026-02-27T23:00:00Z"


def later(sandbox: Sandbox, case: Case, start: str, end: str = END) -> list[Row]:
    return case.rows(sandbox, start, end)


def shuffled(state: list[Message]) -> list[Message]:
    """A state as a platform may give it back: streams, entries and keys in another order."""
    chance = random.Random(7)

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        if isinstance(value, list):
            return chance.sample([turned(entry) for entry in value], len(value))
        return value

    found: list[Message] = turned(state)
    return found


def all_positions(state: list[Message], cases: Iterable[Case] = CASES) -> dict[str, dict[Any, str]]:
    return {case.stream: positions(state, case.stream) for case in cases}


def test_a_second_sync_reads_new_rows_and_the_lookback(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(config_of(CASES, sandbox, START, MIDDLE), STREAMS)
    sandbox.clear()
    second = connector.read(config_of(CASES, sandbox, START, END), STREAMS, state=shuffled(first.final_state))
    assert second.code == 0, second
    for case in CASES:
        same(second.records(case.stream), later(sandbox, case, HOUR_BEFORE), case.ignored)
        covers(first.records(case.stream) + second.records(case.stream), case.rows(sandbox, START, END), case)
    for name, held in all_positions(second.final_state).items():
        assert set(held.values()) == {END}, name
        assert held.keys() == positions(first.final_state, name).keys()


@pytest.mark.parametrize(
    ("lookback", "since"), [("PT0S", MIDDLE), ("PT15M", None), ("P1D", START), ("P3W", START), ("P1DT2H3M4S", START)]
)
def test_the_lookback_window_is_what_is_read_again(
    lookback: str, since: str | None, connector: Connector, sandbox: Sandbox
) -> None:
    cases = [EVENTS, VOLUMES, COIN_METRICS]
    first = connector.read(config_of(cases, sandbox, START, MIDDLE), [case.stream for case in cases])
    config = config_of(cases, sandbox, START, END, lookback_window=lookback)
    second = connector.read(config, [case.stream for case in cases], state=first.final_state)
    assert second.code == 0, second
    for case in cases:
        expected = since or (HOUR_BEFORE if case is VOLUMES else "2026-02-27T23:45:00Z")
        same(second.records(case.stream), later(sandbox, case, expected))


def test_a_sync_without_new_rows(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(CASES, sandbox, START, MIDDLE, lookback_window="PT0S")
    first = connector.read(config, STREAMS)
    sandbox.clear()
    second = connector.read(config, STREAMS, state=first.final_state)
    assert second.code == 0, second
    assert second.records() == []
    lists = ("/v1/limits", "/v1/future-markets", "/v1/exchanges")
    assert [r for r in sandbox.requests() if r.path not in lists] == []
    assert all_positions(second.final_state) == all_positions(first.final_state)
    for case in CASES:
        assert second.statuses(case.stream)[-1] == "COMPLETE"


def late_row(case: Case, at: int) -> tuple[str, dict[str, Any]]:
    """A late row in the vendor's form: (market, row)."""
    if case is EVENTS:
        return case.markets[0], {"timestamp": at // 10**6, "trade_id": "late", "price": 1.5, "position_side": "long"}
    if case is COIN_METRICS:
        row = {"market": case.markets[0], "time": iso(at, 9), "coin_metrics_id": "1", "type": "trade", "amount": "1"}
        return case.markets[0], row
    return "BTC", {
        "timestamp": iso(at),
        "symbol": "BTC",
        "side": "long",
        "quantity": 1.0,
        "price": 2.0,
        "usd_value": 2.0,
    }


def test_late_rows_arrive_within_the_lookback_window(connector: Connector, own_sandbox: Sandbox) -> None:
    cases = [EVENTS, COIN_METRICS, KWERY]
    streams = [case.stream for case in cases]
    first = connector.read(config_of(cases, own_sandbox, START, MIDDLE), streams)
    for case in cases:
        for minutes in (20, 59, 90):
            market, row = late_row(case, parse(MIDDLE) - minutes * MINUTE + 123 * 10**6)
            own_sandbox.add_rows(
                case.vendor, market, [row | ({"trade_id": f"late {minutes}"} if case is EVENTS else {})]
            )
    second = connector.read(config_of(cases, own_sandbox, START, END), streams, state=first.final_state)
    assert second.code == 0, second
    for case in cases:
        same(second.records(case.stream), later(own_sandbox, case, HOUR_BEFORE), case.ignored)
        late = {iso(parse(MIDDLE) - minutes * MINUTE + 123 * 10**6, 3)[:23] for minutes in (20, 59)}
        assert late <= {row[case.cursor][:23] for row in second.records(case.stream)}


def test_a_market_added_later_gets_its_whole_history(connector: Connector, sandbox: Sandbox) -> None:
    before = config_of(CASES, sandbox, START, MIDDLE)
    before["kaiko"] |= {"instruments": EVENTS.section["instruments"][1:], "assets": ["eth"]}
    before["coin_metrics"] |= {"markets": COIN_METRICS.section["markets"][1:]}
    before["kwery"] |= {"symbols": ["ETH"]}
    before["kiyotaka"] |= {"symbols": KIYOTAKA.section["symbols"][1:]}
    before["bitfinex"] |= {"symbols": BITFINEX.section["symbols"][1:]}
    before["coinalyze"] |= {"symbols": COINALYZE.section["symbols"][1:]}
    before["gate"] |= {"contracts": GATE_ORDERS.section["contracts"][1:]}
    first = connector.read(before, STREAMS)
    second = connector.read(config_of(CASES, sandbox, START, END), STREAMS, state=first.final_state)
    assert second.code == 0, second
    for case in CASES:
        added, *others = case.markets
        expected = case.rows(sandbox, START, END, [added]) + case.rows(sandbox, HOUR_BEFORE, END, others)
        same(second.records(case.stream), expected, case.ignored)
        assert set(positions(second.final_state, case.stream).values()) == {END}


def test_a_removed_market_keeps_its_state(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(config_of(CASES, sandbox, START, MIDDLE), STREAMS)
    fewer = config_of(CASES, sandbox, START, END)
    fewer["kaiko"] |= {"instruments": EVENTS.section["instruments"][1:], "assets": ["eth"]}
    fewer["coin_metrics"] |= {"markets": COIN_METRICS.section["markets"][1:]}
    fewer["kwery"] |= {"symbols": ["ETH"]}
    fewer["kiyotaka"] |= {"symbols": KIYOTAKA.section["symbols"][1:]}
    fewer["bitfinex"] |= {"symbols": BITFINEX.section["symbols"][1:]}
    fewer["coinalyze"] |= {"symbols": COINALYZE.section["symbols"][1:]}
    fewer["gate"] |= {"contracts": GATE_ORDERS.section["contracts"][1:]}
    second = connector.read(fewer, STREAMS, state=first.final_state)
    assert second.code == 0, second
    for case in CASES:
        gone, *others = (tuple(sorted(case.partition(market).items())) for market in case.markets)
        held = positions(second.final_state, case.stream)
        assert held == {gone: MIDDLE, **dict.fromkeys(others, END)}, case
    third = connector.read(config_of(CASES, sandbox, START, END), STREAMS, state=second.final_state)
    for case in CASES:
        again = case.rows(sandbox, HOUR_BEFORE, END, case.markets[:1])
        again += case.rows(sandbox, "2026-02-28T05:00:00Z", END, case.markets[1:])
        same(third.records(case.stream), again, case.ignored)


@pytest.mark.parametrize("interval", ["1h", "4h", "5h", "1d"])
def test_an_open_bucket_of_volumes_is_read_again(interval: str, connector: Connector, own_sandbox: Sandbox) -> None:
    """Emitted while it is open, and again after its end with the same key and the final values."""
    config = VOLUMES.config(own_sandbox, START, None, lookback_window="PT0S")
    config["kaiko"]["interval"] = interval
    rows: dict[Any, Row] = {}
    state: list[Message] = []
    last: dict[Any, str] = {}
    for now in ("2026-02-27T10:30:00Z", "2026-02-27T11:10:00Z", "2026-02-28T03:00:00Z", "2026-02-28T10:59:59Z"):
        own_sandbox.set_now(now)
        run = connector.read(config | {"end_date": now}, [VOLUMES.stream], state=state)
        assert run.code == 0, run
        rows |= {VOLUMES.identity(row): row for row in run.records()}
        state = run.final_state
        held = positions(state, VOLUMES.stream)
        assert all(position <= now for position in held.values()), "an open bucket is not done"
        assert all(held[partition] >= position for partition, position in last.items())
        last = held
    markets = [f"btc@{interval}", f"eth@{interval}"]
    found = [row for row in rows.values() if row["interval_time"] >= "2026-02-27"]
    expected = [row for row in VOLUMES.rows(own_sandbox, START, now, markets) if row["interval_time"] >= "2026-02-27"]
    same(found, expected)


@pytest.mark.parametrize("interval", ["MINUTE", "HOUR", "FOUR_HOURS", "DAY", "WEEK"])
def test_an_open_bucket_of_points_is_read_again(interval: str, connector: Connector, own_sandbox: Sandbox) -> None:
    config = KIYOTAKA.config(own_sandbox, "2026-02-16T00:00:00Z", None, lookback_window="PT0S")
    config["kiyotaka"] |= {"symbols": ["BYBIT/BTCUSDT"], "coins": [], "interval": interval}
    rows: dict[Any, Row] = {}
    state: list[Message] = []
    for now in ("2026-02-27T10:30:30Z", "2026-02-27T11:10:10Z", "2026-02-28T10:59:59Z"):
        own_sandbox.set_now(now)
        run = connector.read(config | {"end_date": now}, [KIYOTAKA.stream], state=state)
        assert run.code == 0, run
        rows |= {KIYOTAKA.identity(row): row for row in run.records()}
        state = run.final_state
        assert all(position <= now for position in positions(state, KIYOTAKA.stream).values())
    start, end = parse("2026-02-16T00:00:00Z"), parse(now)
    series = own_sandbox.expected("kiyotaka", "BYBIT/BTCUSDT", start, end, interval=interval, denomination="coin")
    expected = {
        (entry["id"]["side"], point["Point"]["timestamp"]["s"]): point["Point"].get("liquidations", 0)
        for entry in series
        for point in entry["points"]
    }
    found = {(row["side"], row["timestamp"]): row["liquidations"] for row in rows.values()}
    assert {key: amount for key, amount in found.items() if key in expected} == expected
    assert all(seconds * 10**9 < start for _, seconds in found.keys() - expected.keys()), "but for a week under way"


@pytest.mark.parametrize("end", ["2026-02-15T00:00:00Z", "2026-02-12T00:00:00Z", "2026-02-16T00:00:00Z"])
def test_no_bucket_starts_after_the_end(end: str, connector: Connector, sandbox: Sandbox) -> None:
    """Weeks start on Mondays, 5h intervals where the vendor says; neither starts at a multiple since 1970."""
    weeks = config_of([KIYOTAKA, VOLUMES], sandbox, "2026-01-26T00:00:00Z", end)
    weeks["kiyotaka"] |= {"symbols": ["BYBIT/BTCUSDT"], "coins": [], "interval": "WEEK"}
    weeks["kaiko"] |= {"assets": ["btc"], "interval": "5h"}
    run = connector.read(weeks, [KIYOTAKA.stream, VOLUMES.stream])
    assert run.code == 0, run
    mondays = {row["time"] for row in run.records(KIYOTAKA.stream)}
    assert mondays == {
        monday for monday in (f"2026-{day}T00:00:00.000Z" for day in ("01-26", "02-02", "02-09")) if monday < end
    } | (mondays & {"2026-01-19T00:00:00.000Z"})
    assert max(row["interval_time"] for row in run.records(VOLUMES.stream)) < end
    assert not [log for log in run.logs if "outside the requested time" in log]


def test_positions_never_go_back(connector: Connector, sandbox: Sandbox) -> None:
    """Neither within a sync nor after a change of the end, the start or the lookback window."""
    first = connector.read(config_of(CASES, sandbox, START, END), STREAMS)
    held = all_positions(first.final_state)
    changes: list[dict[str, Any]] = [
        {"end_date": MIDDLE},
        {"start_date": "2026-02-26T00:00:00Z", "end_date": MIDDLE},
        {"lookback_window": "P2D"},
        {"start_date": MIDDLE},
    ]
    for change in changes:
        run = connector.read(config_of(CASES, sandbox, START, END) | change, STREAMS, state=first.final_state)
        assert run.code == 0, run
        for message in run.states:
            name = message["state"]["stream"]["stream_descriptor"]["name"]
            for partition, position in positions([message["state"]], name).items():
                assert position >= held[name][partition], change


def test_the_next_sync_starts_at_the_exact_nanosecond(connector: Connector, sandbox: Sandbox) -> None:
    market = "deribit-BTC-PERPETUAL-future"
    position = "2026-02-27T12:34:56.123456789Z"
    state = [
        {
            "type": "STREAM",
            "stream": {
                "stream_descriptor": {"name": COIN_METRICS.stream},
                "stream_state": {"states": [{"partition": {"market": market}, "cursor": {"time": position}}]},
            },
        }
    ]
    config = COIN_METRICS.config(sandbox, START, END, lookback_window="PT0S", num_workers=1)
    config["coin_metrics"]["markets"] = [market]
    run = connector.read(config, [COIN_METRICS.stream], state=state)
    assert run.code == 0, run
    assert sandbox.requests("coin_metrics")[0].params["start_time"] == position
    same(run.records(), COIN_METRICS.rows(sandbox, position, END, [market]))
    again = connector.read(config | {"lookback_window": "PT1S"}, [COIN_METRICS.stream], state=state)
    assert sandbox.requests("coin_metrics")[-1].params["start_time"] == "2026-02-27T12:34:55.123456789Z"
    assert again.code == 0


def test_an_end_of_nanoseconds_is_kept_to_the_nanosecond(connector: Connector, sandbox: Sandbox) -> None:
    market = "deribit-BTC-PERPETUAL-future"
    rows = COIN_METRICS.rows(sandbox, START, END, [market])
    end = rows[len(rows) // 2]["time"]
    config = COIN_METRICS.config(sandbox, START, end, lookback_window="PT0S")
    config["coin_metrics"]["markets"] = [market]
    first = connector.read(config, [COIN_METRICS.stream])
    assert positions(first.final_state, COIN_METRICS.stream) == {(("market", market),): end}
    second = connector.read(config | {"end_date": END}, [COIN_METRICS.stream], state=first.final_state)
    assert all(row["time"] < end for row in first.records())
    same(first.records() + second.records(), rows)


def test_a_start_after_the_position_wins(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(config_of(CASES, sandbox, START, "2026-02-27T06:00:00Z"), STREAMS)
    second = connector.read(config_of(CASES, sandbox, MIDDLE, END), STREAMS, state=first.final_state)
    for case in CASES:
        same(second.records(case.stream), later(sandbox, case, MIDDLE), case.ignored)


def test_the_state_of_one_stream_says_nothing_about_another(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(EVENTS.config(sandbox, START, END), [EVENTS.stream])
    config = config_of([EVENTS, VOLUMES], sandbox, START, END)
    second = connector.read(config, [EVENTS.stream, VOLUMES.stream], state=first.final_state)
    same(second.records(VOLUMES.stream), VOLUMES.rows(sandbox, START, END))
    same(second.records(EVENTS.stream), EVENTS.rows(sandbox, "2026-02-28T05:00:00Z", END))


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        ({"states": "none"}, "`states` must be a list"),
        ({"states": [{"partition": {"market": "x"}}]}, "entry cannot be read"),
        ({"states": [{"partition": {"market": "x"}, "cursor": {"time": "soon"}}]}, "not an ISO 8601 instant"),
    ],
)
def test_an_unusable_state_is_reported(blob: Any, says: str, connector: Connector, sandbox: Sandbox) -> None:
    state = [{"type": "STREAM", "stream": {"stream_descriptor": {"name": COIN_METRICS.stream}, "stream_state": blob}}]
    run = connector.read(COIN_METRICS.config(sandbox), [COIN_METRICS.stream], state=state)
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert f"`state of {COIN_METRICS.stream}`" in trace["message"]
    assert says in trace["message"]
    assert sandbox.requests() == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_state_of_the_future_reads_the_lookback_window_and_is_kept(
    case: Case, connector: Connector, sandbox: Sandbox
) -> None:
    """From a wrong clock, or from an end_date that was moved back."""
    config = case.config(sandbox, START, END)
    partitions = [case.partition(market) for market in case.markets]
    ahead = [{"partition": partition, "cursor": {case.cursor: "2199-01-01T00:00:00Z"}} for partition in partitions]
    state = [
        {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": case.stream}, "stream_state": {"states": ahead}},
        }
    ]
    run = connector.read(config, [case.stream], state=state)
    assert run.code == 0, run
    same(run.records(), case.rows(sandbox, "2026-02-28T05:00:00Z", END), case.ignored)
    assert set(positions(run.final_state, case.stream).values()) == {"2199-01-01T00:00:00Z"}
    assert run.statuses(case.stream)[-1] == "COMPLETE"
