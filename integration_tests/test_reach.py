"""What a saved state says was read: an earlier start, a key that reaches further back, a crash within a market."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cases import CASES, COIN_METRICS, EVENTS, GATE_STATS, KIYOTAKA, KWERY, Case, Row, config_of, covers, same
from harness import Connector, Run, positions, slices

from sandbox import Sandbox, kaiko, kaiko_calls
from sandbox.app import Recorded
from sandbox.times import DAY, HOUR, iso, parse

STREAMS = [case.stream for case in CASES]
EARLIEST, EARLIER, START, END = (f"2026-02-2{day}T00:00:00Z" for day in (5, 6, 7, 8))


def configured(sandbox: Sandbox, start: str, **fields: Any) -> dict[str, Any]:
    return config_of(CASES, sandbox, start, END, **{"lookback_window": "PT0S"} | fields)


def bounds(request: Recorded) -> tuple[int, int]:
    """[start, end) of a first page's request."""
    params = request.params
    if "from" in params:
        start = int(params["from"])
        end = int(params["to"]) + 1 if "to" in params else start + int(params["period"])
        return start * 10**9, end * 10**9
    names = ("start", "end") if request.path == KWERY.path else ("start_time", "end_time")
    start, end = (parse(params[name]) for name in names)
    return start, end


def firsts(sandbox: Sandbox, case: Case) -> list[Recorded]:
    """The first requests of a stream's windows."""
    requests = [request for request in sandbox.requests(case.vendor) if case.path in request.path]
    return [r for r in requests if {"from", "start", "start_time"} & set(r.params) and "cursor" not in r.params]


# An earlier start.


def test_an_earlier_start_reads_only_the_missing_period(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(configured(sandbox, START), STREAMS)
    assert first.code == 0, first
    state = first.final_state
    for start, until in ((EARLIER, START), (EARLIEST, EARLIER)):
        sandbox.clear()
        run = connector.read(configured(sandbox, start), STREAMS, state=state)
        assert run.code == 0, run
        for case in CASES:
            same(run.records(case.stream), case.rows(sandbox, start, until), case.ignored)
            if case.vendor in {"bitfinex", "gate"}:  # their requests have no end, and hours
                continue
            requested = [bounds(request) for request in firsts(sandbox, case)]
            assert requested, case
            assert all(parse(start) <= low and high <= parse(until) for low, high in requested), (case, requested)
        state = run.final_state
    for case in CASES:
        held = slices(state, case.stream)
        assert len(held) == len(case.markets)
        assert set(map(tuple, held.values())) == {((EARLIEST, END),)}, case
    sandbox.clear()
    last = connector.read(configured(sandbox, EARLIEST), STREAMS, state=state)
    assert last.records() == []
    assert [request for case in CASES for request in firsts(sandbox, case)] == []


def test_a_later_start_reads_nothing_and_keeps_the_slices(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(configured(sandbox, EARLIER), STREAMS)
    run = connector.read(configured(sandbox, START), STREAMS, state=first.final_state)
    assert run.code == 0, run
    assert run.records() == []
    for case in CASES:
        assert set(map(tuple, slices(run.final_state, case.stream).values())) == {((EARLIER, END),)}


def test_a_sync_killed_while_it_reads_a_missing_period_resumes(connector: Connector, sandbox: Sandbox) -> None:
    state = connector.read(configured(sandbox, START), STREAMS).final_state
    rows: dict[str, list[Row]] = {case.stream: [] for case in CASES}
    for vendor in ("kaiko", "kwery", "coin_metrics", "kiyotaka"):
        sandbox.fault("reset", vendor=vendor, after=3, times=None)
    broken = connector.read(configured(sandbox, EARLIEST), STREAMS, state=state, patience="0.01")
    assert broken.code == 1, broken
    sandbox.app.faults.clear()
    run = connector.read(configured(sandbox, EARLIEST), STREAMS, state=broken.final_state)
    assert run.code == 0, run
    for case in CASES:
        rows[case.stream] += broken.records(case.stream) + run.records(case.stream)
        covers(rows[case.stream], case.rows(sandbox, EARLIEST, START), case)


# A key that reaches further back.


@pytest.fixture
def today() -> Any:
    """A sandbox with the real clock, because a plan's history is counted back from now."""
    with Sandbox(seed=4, rows_per_day=300, limits=False) as sandbox:
        yield sandbox


def ago(days: float) -> str:
    return iso(time.time_ns() // DAY * DAY - int(days * 24) * HOUR, 0)


def reach_warnings(run: Run) -> list[str]:
    return [log for log in run.logs if "data reach back to" in log]


@pytest.mark.parametrize(
    ("case", "small", "large", "days"),
    [
        (COIN_METRICS, {"api_key": None, "host": "community"}, {}, 1),
        (KWERY, {"api_key": "sandbox-kwery-pro"}, {"api_key": "sandbox-kwery-business"}, 30),
        (KIYOTAKA, {"api_key": "sandbox-kiyotaka-basic", "coins": []}, {"coins": []}, 30),
    ],
    ids=str,
)
def test_a_key_that_reaches_further_back_reads_the_gap_by_itself(
    case: Case, small: dict[str, Any], large: dict[str, Any], days: int, connector: Connector, today: Sandbox
) -> None:
    start, end = ago(days + 3), ago(0)
    market = case.markets[0]

    def config(section: dict[str, Any]) -> dict[str, Any]:
        made = case.config(today, start, end, lookback_window="PT0S")
        (name,) = {"symbols", "markets"} & set(case.section)
        made[case.vendor] |= {name: [market]} | {key: value for key, value in section.items() if key != "host"}
        if "host" in section:
            made[case.vendor]["base_url"] = f"{today.url}/coin_metrics_community"
        return made

    first = connector.read(config(small), [case.stream])
    assert first.code == 0, first
    assert first.statuses(case.stream)[-1] == "COMPLETE"
    assert len(reach_warnings(first)) == 1
    oldest = min(row["time"] for row in first.records())
    assert parse(oldest) > parse(ago(days + 1))

    today.clear()
    again = connector.read(config(small), [case.stream], state=first.final_state)
    assert again.code == 0, again
    assert len(firsts(today, case)) <= 1, "the gap costs no request while the reach stays the same"
    covers(
        first.records() + again.records(),
        [r for r in case.rows(today, start, end, [market]) if r["time"] >= oldest],
        case,
    )

    today.clear()
    second = connector.read(config(large), [case.stream], state=again.final_state)
    assert second.code == 0, second
    assert reach_warnings(second) == []
    covers(first.records() + second.records(), case.rows(today, start, end, [market]), case)
    assert len(second.records()) < len(case.rows(today, start, end, [market])), "only the gap is read"
    highest = max(bounds(request)[1] for request in firsts(today, case))
    assert highest <= parse(oldest) + DAY
    (held,) = slices(second.final_state, case.stream).values()
    assert held == [(start, end)]


@pytest.mark.parametrize("case", [COIN_METRICS, GATE_STATS], ids=str)
def test_without_a_key_no_message_mentions_one(case: Case, connector: Connector, today: Sandbox) -> None:
    made = case.config(today, ago(200), ago(0))
    if case is COIN_METRICS:
        made["coin_metrics"] |= {"base_url": f"{today.url}/coin_metrics_community", "api_key": None}
    run = connector.read(made, [case.stream])
    assert run.code == 0, run
    message = connector.check(made).status["message"]
    assert "reach back to" in message
    assert [line for line in [*reach_warnings(run), message] if "key" in line] == []
    assert len(reach_warnings(run)) == 1


def test_a_start_at_the_beginning_of_the_history_has_no_gap(connector: Connector, today: Sandbox) -> None:
    made = {**COIN_METRICS.config(today, end=None), "start_date": "P1D"}
    made["coin_metrics"] |= {"base_url": f"{today.url}/coin_metrics_community", "api_key": None}
    assert "message" not in connector.check(made).status
    run = connector.read(made, [COIN_METRICS.stream, "liquidation_coverage"])
    assert run.code == 0, run
    assert reach_warnings(run) == []
    assert [row for row in run.records("liquidation_coverage") if row["source"] == "seen by this sync"] == []


def test_a_kaiko_key_whose_access_range_grows(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [EVENTS]
    streams = [case.stream for case in cases]
    earlier = parse(EARLIER)
    with monkeypatch.context() as smaller:
        access = {**kaiko_calls.ACCESS, "access_range": {"start_timestamp": earlier // 10**6, "end_timestamp": None}}
        for module in (kaiko, kaiko_calls):
            smaller.setattr(module, "ACCESS", access)
            smaller.setattr(module, "ACCESS_START", earlier, raising=False)
        with Sandbox(seed=4, now="2026-03-01T12:30:00Z", rows_per_day=300, limits=False) as sandbox:
            config = config_of(cases, sandbox, EARLIEST, END, lookback_window="PT0S")
            first = connector.read(config, streams)
            assert first.code == 0, first
            assert [log for log in first.logs if f"data reach back to {EARLIER}" in log]
            sandbox.clear()
            again = connector.read(config, [*streams, "liquidation_coverage"], state=first.final_state)
            assert not any(again.records(stream) for stream in streams)
            assert [log for log in again.logs if f"data reach back to {EARLIER}" in log], "each sync says it"
            missing = [row for row in again.records("liquidation_coverage") if row["kind"] == "missing"]
            periods = {
                (row["market"], row["period_start"], row["period_end"]) for row in missing if row["vendor"] == "kaiko"
            }
            assert periods == {(market, EARLIEST, EARLIER) for market in EVENTS.markets}
            assert len(sandbox.requests()) <= sum(len(case.markets) for case in cases)
    with Sandbox(seed=4, now="2026-03-01T12:30:00Z", rows_per_day=300, limits=False) as sandbox:
        config = config_of(cases, sandbox, EARLIEST, END, lookback_window="PT0S")
        second = connector.read(config, streams, state=again.final_state)
        assert second.code == 0, second
        for case in cases:
            same(first.records(case.stream), case.rows(sandbox, EARLIER, END))
            same(second.records(case.stream), case.rows(sandbox, EARLIEST, EARLIER))
            assert set(map(tuple, slices(second.final_state, case.stream).values())) == {((EARLIEST, END),)}


def test_what_is_newer_than_a_kaiko_key_may_read_is_missing_until_it_may(
    connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = "2026-02-27T12:00:00Z"
    market = EVENTS.markets[0]
    with Sandbox(seed=4, now=until, rows_per_day=300, limits=False) as sandbox:
        access = {
            **kaiko_calls.ACCESS,
            "access_range": {"start_timestamp": None, "end_timestamp": sandbox.now() // 10**6},
        }
        for module in (kaiko, kaiko_calls):
            monkeypatch.setattr(module, "ACCESS", access)

        def missing(run: Run) -> list[tuple[str, str]]:
            assert run.code == 0, run
            rows = run.records("liquidation_coverage")
            return [(r["period_start"], r["period_end"]) for r in rows if r["source"] == "seen by this sync"]

        streams = [EVENTS.stream, "liquidation_coverage"]
        config = EVENTS.config(sandbox, EARLIER, END, lookback_window="PT1H")
        config["kaiko"]["instruments"] = [market]
        first = connector.read(config, streams)
        assert missing(first) == [(until, END)]
        assert [log for log in first.logs if f"the key may read until {until}. Newer data are not read." in log]
        assert slices(first.final_state, EVENTS.stream)[tuple(sorted(EVENTS.partition(market).items()))] == [
            (EARLIER, until)
        ]

        entry: dict[str, Any] = {"partition": EVENTS.partition(market), "cursor": {EVENTS.cursor: END}}
        stream = {"stream_descriptor": {"name": EVENTS.stream}, "stream_state": {"states": [entry]}}
        again = connector.read(config, streams, state=[{"type": "STREAM", "stream": stream}])
        assert missing(again) == [], "it was read with another key: only the lookback is requested"

        entry["slices"] = [{"start": EARLIER, "end": "2026-02-27T18:00:00Z"}]
        again = connector.read(config, streams, state=[{"type": "STREAM", "stream": stream}])
        assert missing(again) == [("2026-02-27T18:00:00Z", END)], "so was some of it"

        ((start, _),) = missing(connector.read({**config, "start_date": "P1D", "end_date": ""}, streams))
        assert start == until, "not since start_date, which moves, nor since ever"


# A crash, and a state of the previous version.


@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS, KWERY], ids=str)
def test_a_crash_repeats_only_the_windows_that_were_not_finished(case: Case, connector: Connector) -> None:
    """One market that several workers read at once: finished windows are not read again."""
    start, end = "2026-02-10T00:00:00Z", "2026-02-28T00:00:00Z"
    with Sandbox(seed=4, now="2026-03-01T12:30:00Z", rows_per_day=4_000, limits=False) as sandbox:
        name = next(n for n in ("instruments", "markets", "symbols") if n in case.section)
        market = {"kaiko": "bbit/perpetual-future/btc-usdt", "coin_metrics": "bybit-BTCUSDT-future", "kwery": "BTC"}
        config = case.config(sandbox, start, end, lookback_window="PT0S", num_workers=6)
        config[case.vendor][name] = [market[case.vendor]]
        whole = connector.read(config, [case.stream])
        assert whole.code == 0, whole
        requests = len(sandbox.requests(case.vendor))
        sandbox.clear()
        sandbox.fault("reset", vendor=case.vendor, after=requests // 2, times=None)
        broken = connector.read(config, [case.stream], patience="0.01")
        assert broken.code == 1
        sandbox.app.faults.clear()
        (held,) = slices(broken.final_state, case.stream).values()
        rest = connector.read(config, [case.stream], state=broken.final_state)
        assert rest.code == 0, rest
        covers(broken.records() + rest.records(), whole.records(), case)
        again = [parse(row["time"]) for row in rest.records()]
        for low, high in held:
            assert not any(parse(low) <= instant < parse(high) for instant in again), (low, high)
        read = sum(parse(high) - parse(low) for low, high in held)
        assert read > (parse(end) - parse(start)) // 5
        (now_held,) = slices(rest.final_state, case.stream).values()
        assert now_held == [(start, end)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_state_of_the_first_version_resumes_without_a_repeat(
    case: Case, connector: Connector, sandbox: Sandbox
) -> None:
    """It has a cursor and no slices: everything since its start had been read."""
    entries = [{"partition": case.partition(market), "cursor": {case.cursor: START}} for market in case.markets]
    state = [
        {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": case.stream}, "stream_state": {"states": entries}},
        }
    ]
    run = connector.read(case.config(sandbox, EARLIER, END, lookback_window="PT0S"), [case.stream], state=state)
    assert run.code == 0, run
    same(run.records(), case.rows(sandbox, START, END), case.ignored)
    assert set(positions(run.final_state, case.stream).values()) == {END}


# A rolling history.


def test_a_sync_resumes_after_a_pause_longer_than_the_history(connector: Connector) -> None:
    """The lookback is no longer available; this neither stops progress nor removes slices."""
    begin = parse("2026-02-01T00:00:00Z")
    markets = ["BYBIT/ETHUSDT", "BYBIT/BTCUSDT", "BINANCE_FUTURES/BTCUSDT"]
    with Sandbox(seed=1, now=iso(begin, 0), rows_per_day=200, limits=False, disagreement=None) as sandbox:
        state, requests = None, {}
        for hour, count in ((0, 1), (5 * 24, 2), (20 * 24, 3), (20 * 24 + 1, 3), (21 * 24, 3)):
            now = begin + hour * HOUR
            sandbox.set_now(iso(now, 0))
            sandbox.clear()
            config = KIYOTAKA.config(sandbox, "2025-12-01T00:00:00Z", iso(now, 0))
            config["kiyotaka"] |= {"api_key": "sandbox-kiyotaka-free", "symbols": markets[:count], "coins": []}
            run = connector.read(config, [KIYOTAKA.stream, "liquidation_coverage"], state=state)
            assert run.code == 0, run
            before, state = state, run.final_state
            read = slices(state, KIYOTAKA.stream)
            assert {parts[-1][1] for parts in read.values()} == {iso(now, 0)}
            if before is not None:
                for partition, parts in slices(before, KIYOTAKA.stream).items():
                    assert parts[0][0] == read[partition][0][0], "but for the lookback, slices only grow"
            requests[hour] = [request for request in sandbox.requests("kiyotaka") if "/points" in request.path]
            missing = [row for row in run.records("liquidation_coverage") if row["kind"] == "missing"]
            assert {row["market"] for row in missing} >= set(markets[:count])
            for row in missing:
                for partition, parts in read.items():
                    if dict(partition)["raw_symbol"] in row["market"] and dict(partition)["exchange"] in row["market"]:
                        assert all(row["period_end"] <= start or end <= row["period_start"] for start, end in parts)
        for hour in (20 * 24 + 1, 21 * 24):
            assert len(requests[hour]) <= 2 * len(markets), "a request for what is new, and at most one for what is old"
