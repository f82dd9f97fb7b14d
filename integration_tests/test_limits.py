"""Limits: requests as fast as the vendors allow and no faster; thousands of markets, one worker or forty."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
from cases import COIN_METRICS, EVENTS, KIYOTAKA, KWERY, config_of
from harness import Connector, Message, positions

from benchmarks.measure import Server as FastServer
from benchmarks.shapes import Shape, whole
from sandbox import Sandbox, coin_metrics_calls
from sandbox.app import Recorded
from sandbox.coin_metrics_calls import COMMUNITY_LIMIT
from sandbox.times import HOUR, MINUTE, iso


def community_state(markets: Sequence[str], now: int) -> list[Message]:
    """A different cursor for each market, so that no two share a request."""
    entries = [
        {"partition": {"market": market}, "cursor": {"time": iso(now - HOUR - n * MINUTE, 3)}}
        for n, market in enumerate(markets)
    ]
    return [
        {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": COIN_METRICS.stream}, "stream_state": {"states": entries}},
        }
    ]


def most_in_any(seconds: float, requests: Sequence[Recorded]) -> int:
    times = sorted(request.time for request in requests)
    return max(sum(at <= other < at + seconds for other in times) for at in times)


def test_budgets_are_used_up_and_not_exceeded(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 markets, 40 workers; Coin Metrics' community limit, the smallest plans of Kwery and Kiyotaka.

    A busy machine may delay a request by more than the connector's slack of 0.12 s, so the test allows Coin Metrics one
    second of delay and uses the median time of ten requests, not every span of 6 seconds.
    """
    assert COMMUNITY_LIMIT == (10, 6.0)
    monkeypatch.setattr(coin_metrics_calls, "COMMUNITY_LIMIT", (10, 5.0))
    with Sandbox(seed=1, rows_per_day=500, tiny_markets=500, tiny_rows_per_day=50.0, limits=True) as sandbox:
        cases = [COIN_METRICS, KWERY, KIYOTAKA]
        start = iso(sandbox.now() - 20 * HOUR, 0)
        config = config_of(cases, sandbox, start, None, num_workers=40, lookback_window="PT0S")
        markets = [f"bybit-T{number:05d}USDT-future" for number in range(1, 501)]
        config["coin_metrics"] = {"markets": markets, "base_url": f"{sandbox.url}/coin_metrics_community"}
        del config["kwery"]["requests_per_minute"], config["kiyotaka"]["requests_per_minute"]
        config["kwery"] |= {"api_key": "sandbox-kwery-free", "symbols": ["BTC", "ETH", "SOL", "XRP"]}
        config["kiyotaka"] |= {
            "api_key": "sandbox-kiyotaka-free",
            "symbols": [f"BYBIT/T{number:05d}USDT" for number in range(1, 41)],
            "coins": [],
        }
        state = community_state(markets, sandbox.now())
        process = connector.reading(config, [case.stream for case in cases], state=state, patience="1")

        def points() -> list[Recorded]:
            return [request for request in sandbox.requests("kiyotaka") if request.path == "/v1/points"]

        def good() -> list[Recorded]:
            return [request for request in sandbox.requests("coin_metrics") if request.status == 200]

        deadline = time.monotonic() + 90
        while (len(good()) < 50 or len(points()) < 10) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.signal(signal.SIGTERM)
        run = process.collect()
        assert run.code == -signal.SIGTERM, run
        assert sandbox.errors == []

        community = sandbox.requests("coin_metrics")
        assert sum(request.status == 429 for request in community) <= 1, "no more than a stray one"
        times = sorted(request.time for request in good())
        for_ten = median(later - earlier for earlier, later in zip(times, times[10:], strict=False))
        assert 5.9 < for_ten < 6.0 / 0.9, "as fast as allowed, and no faster"
        assert most_in_any(5.0, community) <= 10 + 1

        assert most_in_any(58.0, points()) == 10
        assert {request.status for request in points()} == {200}
        kwery = [request for request in sandbox.requests("kwery") if request.path == KWERY.path]
        assert {request.status for request in kwery} == {200}
        assert most_in_any(58.0, kwery) <= 15
        waits = [line for line in run.logs if "sync report as JSON" in line]
        assert waits


def test_a_limit_of_the_configuration_holds(connector: Connector, sandbox: Sandbox) -> None:
    config = EVENTS.config(sandbox, num_workers=20)
    config["kaiko"]["requests_per_minute"] = 4
    process = connector.reading(config, [EVENTS.stream])
    deadline = time.monotonic() + 120
    while len(sandbox.requests("kaiko")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.0)
    process.signal(signal.SIGTERM)
    assert process.collect().code == -signal.SIGTERM
    assert len(sandbox.requests("kaiko")) == 4


def test_limits_of_one_vendor_do_not_delay_others(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of([EVENTS, COIN_METRICS], sandbox, num_workers=2)
    config["kaiko"]["requests_per_minute"] = 1
    process = connector.reading(config, [EVENTS.stream, COIN_METRICS.stream])
    seen = b""
    while b'"COMPLETE"' not in seen and (piece := process.stdout.read1(65_536)):
        seen += piece
    process.signal(signal.SIGTERM)
    run = process.collect(so_far=seen)
    assert run.statuses(COIN_METRICS.stream)[-1] == "COMPLETE"
    assert run.statuses(EVENTS.stream)[-1] == "INCOMPLETE"


@pytest.mark.parametrize(("workers", "tiny"), [(1, 1_000), (40, 10_000)])
def test_ten_thousand_tiny_markets_do_not_deadlock(
    workers: int, tiny: int, connector: Connector, tmp_path: Path
) -> None:
    """With the benchmarks' server, which answers immediately."""
    shape = Shape("tiny", "kaiko", 2 * tiny, tiny)
    with FastServer(shape.server_arguments) as server:
        config = json.loads(whole(shape).write(tmp_path, server.url).config.read_text()) | {"num_workers": workers}
        run = connector.read(config, [EVENTS.stream])
        asked = server.stats()["requests"]
    assert run.code == 0, run
    assert len(run.records(EVENTS.stream)) == 2 * tiny
    assert len(positions(run.final_state, EVENTS.stream)) == tiny
    assert asked == tiny


@pytest.mark.parametrize("workers", [1, 40])
def test_thousands_of_tiny_markets_complete(workers: int, connector: Connector) -> None:
    tiny = 1_000
    with Sandbox(
        seed=1, now="2026-03-01T12:30:00Z", rows_per_day=1, limits=False, tiny_markets=tiny, tiny_rows_per_day=1.0
    ) as sandbox:
        config = config_of([EVENTS, COIN_METRICS], sandbox, "2026-02-26T00:00:00Z", num_workers=workers)
        config["kaiko"] |= {"instruments": ["bbit/perpetual-future/t0*"]}
        config["coin_metrics"] |= {"markets": [f"bybit-T{number:05d}USDT-future" for number in range(1, tiny + 1)]}
        run = connector.read(config, [EVENTS.stream, COIN_METRICS.stream])
        assert run.code == 0, run
        assert len(positions(run.final_state, EVENTS.stream)) == tiny
        assert len(positions(run.final_state, COIN_METRICS.stream)) == tiny
        assert len(sandbox.requests("kaiko")) == tiny + 2
        assert len(run.records()) > 0
        states = [len(line) for line in run.out.splitlines() if line.startswith(b'{"type":"STATE"')]
        largest = max(states)
        assert sum(states) < len(run.out) - sum(states) + 2 * 300 * 32 * 1024
        assert sum(states) < largest * tiny / 4, "a state of thousands of markets is not repeated for each of them"
