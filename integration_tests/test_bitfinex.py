"""Bitfinex through the command line: requests, nestings, crowded milliseconds, the budget, lists that end early."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cases import BITFINEX, Row, bitfinex_row, same
from harness import Connector, positions

from sandbox import Sandbox
from sandbox.app import Canned, Recorded
from sandbox.times import parse

STREAM = BITFINEX.stream
NOW = "2026-03-01T12:30:00Z"
START, END = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"
START_MS, END_MS = parse(START) // 10**6, parse(END) // 10**6
EVERYTHING = {"symbols": ["*"]}


def bitfinex_sandbox(**options: Any) -> Sandbox:
    return Sandbox(**{"seed": 4, "now": NOW, "rows_per_day": 3_000, "limits": False, **options})


def config_of(sandbox: Sandbox, start: str = START, end: str | None = END, **section: Any) -> dict[str, Any]:
    config = BITFINEX.config(sandbox, start, end)
    config["bitfinex"] |= {**EVERYTHING, **section}
    return config


def hist(sandbox: Sandbox) -> list[Recorded]:
    return [request for request in sandbox.requests("bitfinex") if request.path == "/v2/liquidations/hist"]


def rows(sandbox: Sandbox, start: str = START, end: str = END) -> list[Row]:
    return bitfinex_row(sandbox, "*", parse(start), parse(end))


# Requests.


def test_every_parameter_of_the_requests(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config_of(sandbox), [STREAM])
    assert run.code == 0, run
    first, *others, newest = hist(sandbox)
    assert (first.method, first.prefix) == ("GET", "/bitfinex")
    assert {name: value for name, value in first.headers.items() if name not in ("host", "connection")} == {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "source-liquidations",
    }
    assert first.query == [("sort", "1"), ("limit", "500"), ("start", str(START_MS)), ("end", str(END_MS - 1))]
    expected = sandbox.expected("bitfinex", "*", START, END)
    at = START_MS
    for request in others:
        at = [row for row in expected if row[2] >= at][499][2]
        assert request.query == [*first.query[:2], ("start", str(at)), first.query[3]]
    assert newest.query == [("sort", "-1"), ("limit", "500"), first.query[3]]
    assert len(others) == len(expected) // 500


def test_an_hourly_sync_is_one_request(connector: Connector, sandbox: Sandbox) -> None:
    first = connector.read(config_of(sandbox), [STREAM])
    sandbox.clear()
    second = connector.read(config_of(sandbox, end="2026-03-01T01:00:00Z"), [STREAM], state=first.final_state)
    assert second.code == 0, second
    (request,) = hist(sandbox)
    assert request.params["start"] == str(END_MS - 3_600_000)
    same(second.records(), rows(sandbox, "2026-02-28T23:00:00Z", "2026-03-01T01:00:00Z"))


def test_a_selection_filters_rows_and_not_requests(connector: Connector, sandbox: Sandbox) -> None:
    whole = connector.read(config_of(sandbox), [STREAM])
    asked = [request.query for request in hist(sandbox)]
    sandbox.clear()
    run = connector.read(config_of(sandbox, symbols=["t*F0:USTF0", "tDOGE:UST"]), [STREAM])
    assert [request.query for request in hist(sandbox)] == asked
    chosen = [r for r in whole.records() if r["symbol"].endswith("F0:USTF0") or r["symbol"] == "tDOGE:UST"]
    assert 0 < len(chosen) < len(whole.records())
    same(run.records(), chosen)
    assert positions(run.final_state, STREAM) == {
        (("symbol", "t*F0:USTF0"),): END,
        (("symbol", "tDOGE:UST"),): END,
    }


def test_a_delisted_symbol_is_read_and_passes_the_check(connector: Connector, sandbox: Sandbox) -> None:
    start, end = "2025-05-20T00:00:00Z", "2025-05-30T00:00:00Z"
    config = config_of(sandbox, start, end, symbols=["tEOSF0:USTF0"])
    run = connector.read(config, [STREAM])
    assert run.code == 0, run
    same(run.records(), bitfinex_row(sandbox, "tEOSF0:USTF0", parse(start), parse(end)))
    assert run.records()
    sandbox.clear()
    status = connector.check(config).status
    assert status["status"] == "SUCCEEDED"
    assert "tEOSF0:USTF0: not among today's pairs" in status["message"]
    asked = sandbox.requests("bitfinex")[-1]
    assert (asked.path, asked.query) == ("/v2/candles/trade:1D:tEOSF0:USTF0/hist", [("limit", "1")])


@pytest.mark.parametrize("fault", [None, {"kind": "status", "status": 500, "message": "symbol: invalid"}], ids=str)
def test_an_unknown_symbol_fails_the_check(
    fault: dict[str, Any] | None, connector: Connector, sandbox: Sandbox
) -> None:
    """Whether the vendor has no candles of it or refuses the request."""
    if fault is not None:
        body = json.dumps(["error", 10020, fault["message"]])
        sandbox.fault(fault["kind"], vendor="bitfinex", path_contains="/candles/", status=500, body=body)
    symbols = ["tEOSF0:USTF0", "tNONESUCH:USD"] if fault is None else ["tNONESUCH:USD"]
    status = connector.check(config_of(sandbox, symbols=symbols)).status
    assert status["status"] == "FAILED"
    assert f"`bitfinex.symbols[{len(symbols) - 1}]`: 'tNONESUCH:USD' is not among" in status["message"]
    assert not hist(sandbox)


# Bodies.


@pytest.mark.parametrize(
    "options",
    [
        {"bitfinex_nesting": "one"},
        {"bitfinex_nesting": "flat"},
        {"bitfinex_fractional_ms": True},
        {"bitfinex_elements": 11},
        {"bitfinex_elements": 10},
        {"bitfinex_match_amount": "executed"},
        {"bitfinex_market_sold": "reversed"},
        {"bitfinex_default_sort": 1, "bitfinex_default_limit": 7},
        {"bitfinex_start_days": 0.25},
    ],
    ids=str,
)
def test_undocumented_variants_of_the_vendor(options: dict[str, Any], connector: Connector) -> None:
    with bitfinex_sandbox(**options) as sandbox:
        run = connector.read(config_of(sandbox), [STREAM, "liquidations"])
        assert run.code == 0, run
        same(run.records(STREAM), rows(sandbox))
        assert len({BITFINEX.identity(row) for row in run.records(STREAM)}) == len(run.records(STREAM))
        ids = {(row["market"], row["liquidation_id"]) for row in run.records("liquidations")}
        assert len(ids) == len(run.records(STREAM)) > 1_000


def test_a_page_limit_below_the_documented_one_is_detected(connector: Connector) -> None:
    """A page that is not full would look like the end of the data."""
    with bitfinex_sandbox() as sandbox:
        expected = sandbox.expected("bitfinex", "*", START, END)
        sandbox.serve(
            "bitfinex", "/v2/liquidations/hist", [[[row] for row in expected[:250]], [[row] for row in expected[-250:]]]
        )
        run = connector.read(config_of(sandbox), [STREAM])
        assert run.code == 1
        (trace,) = run.traces
        assert trace["failure_type"] == "system_error"
        assert "the list stopped early" in trace["message"]
        again = connector.read(config_of(sandbox, lookback_window="PT0S"), [STREAM], state=run.final_state)
        assert again.code == 0, again
        found = {BITFINEX.identity(row): row for row in [*run.records(), *again.records()]}
        same(found.values(), rows(sandbox))


@pytest.mark.parametrize("count", [499, 500, 501, 760, 999])
def test_a_millisecond_with_several_pages_of_rows(count: int, connector: Connector) -> None:
    with bitfinex_sandbox() as sandbox:
        at = START_MS + 40_000_000
        sandbox.add_rows("bitfinex", "*", crowd(at, count))
        run = connector.read(config_of(sandbox), [STREAM])
        assert run.code == 0, run
        same(run.records(), rows(sandbox))


def test_a_millisecond_with_more_rows_than_two_pages_show_is_never_skipped(connector: Connector) -> None:
    with bitfinex_sandbox() as sandbox:
        at = START_MS + 40_000_000
        sandbox.add_rows("bitfinex", "*", crowd(at, 1_200))
        run = connector.read(config_of(sandbox), [STREAM])
        assert run.code == 1
        (trace,) = run.traces
        assert trace["failure_type"] == "system_error"
        assert "2026-02-27T11:06:40.000Z has more rows" in trace["message"]
        same(run.records(), rows(sandbox, START, "2026-02-27T11:06:40Z"))
        assert set(positions(run.final_state, STREAM).values()) <= {"2026-02-27T11:06:40Z"} or all(
            position < "2026-02-27T11:06:40Z" for position in positions(run.final_state, STREAM).values()
        )


def crowd(at: int, count: int) -> list[list[Any]]:
    return [["pos", 10**9 + n, at, None, "tBTCUSD", 1 + n, 10, None, 1, 1, None, 20.5] for n in range(count)]


# The budget, and 429s.


def test_requests_are_spaced(connector: Connector) -> None:
    """The vendor refuses the second of two simultaneous requests and blocks its sender for minutes."""
    with bitfinex_sandbox() as sandbox:
        run = connector.read(config_of(sandbox, requests_per_minute=20), [STREAM, "liquidations"], patience="1")
        assert run.code == 0, run
        times = [request.time for request in hist(sandbox)]
        assert len(times) >= 3
        assert min(later - earlier for earlier, later in pairwise(times)) > 2.5


@pytest.mark.parametrize("options", [{}, {"bitfinex_rate_body": "array"}, {"bitfinex_rate_status": 500}], ids=str)
def test_a_429_is_waited_out(options: dict[str, Any], connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    """After another request of the address: 60 and 240 seconds, scaled to a fiftieth in the test."""
    # The address is free again at about the second retry.
    monkeypatch.setattr("sandbox.limits.time", SimpleNamespace(monotonic=lambda: 3 * time.monotonic()))
    with bitfinex_sandbox(limits=True, bitfinex_block_seconds=1.0, **options) as sandbox:
        sandbox.world.limits.take("bitfinex/v2/liquidations/hist", "127.0.0.1", 1, 20.0)
        config = config_of(sandbox, end="2026-02-27T00:59:00Z")
        run = connector.read(config, [STREAM], patience="0.02")
        assert run.code == 0, run
        same(run.records(), rows(sandbox, START, "2026-02-27T00:59:00Z"))
        refused = [request for request in hist(sandbox) if request.status != 200]
        assert refused, "the first was refused"
        pauses = [later.time - earlier.time for earlier, later in pairwise(hist(sandbox)) if earlier in refused]
        assert pauses[0] >= 1.2
        assert all(pause >= 4.8 for pause in pauses[1:])
        assert any("a retry in 1.2 s" in line for line in run.logs)


def test_more_429s_than_attempts_do_not_fail(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="bitfinex", path_contains="/hist", status=429, times=9, headers={})
    run = connector.read(config_of(sandbox), [STREAM], patience="0.001")
    assert run.code == 0, run
    same(run.records(), rows(sandbox))
    assert sum(request.status == 429 for request in hist(sandbox)) == 9


def test_a_rate_limit_error_with_status_200_is_waited_out(connector: Connector, sandbox: Sandbox) -> None:
    bodies = [Canned(json.dumps(["error", 11010, "ratelimit: error"]).encode(), 200, {})] * 9
    sandbox.serve("bitfinex", "/v2/liquidations/hist", bodies)
    run = connector.read(config_of(sandbox), [STREAM], patience="0.001")
    assert run.code == 0, run
    same(run.records(), rows(sandbox))


def test_a_bad_parameter_is_final(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="bitfinex", path_contains="/hist", status=500, times=None,
                  body=json.dumps(["error", 10020, "limit: invalid"]))  # fmt: skip
    run = connector.read(config_of(sandbox), [STREAM])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert "error, 10020, limit: invalid" in trace["message"]
    assert len(hist(sandbox)) == 1


# Sums.


def test_the_query_of_the_page_of_streams_adds_up(connector: Connector, sandbox: Sandbox) -> None:
    """Over all days: the triggers' amounts, at the average price of their matches."""
    page = (Path(__file__).parents[1] / "docs" / "streams.md").read_text("utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.S)
    run = connector.read(config_of(sandbox), [STREAM, "liquidations"])
    assert run.code == 0, run
    events = run.records("liquidations")
    base = sqlite3.connect(":memory:")
    base.create_function("split_part", 3, lambda text, by, part: text.split(by)[part - 1])
    base.execute(f"create table liquidations ({', '.join(events[0])})")
    marks = ", ".join("?" for _ in events[0])
    base.executemany(f"insert into liquidations values ({marks})", [tuple(row.values()) for row in events])
    found = {side: (amount, worth) for _, side, amount, worth in base.execute(query)}
    base.close()
    mine = [row for row in run.records(STREAM) if row["symbol"] == "tBTCF0:USTF0"]
    for side, sign in (("long", 1), ("short", -1)):
        triggers = [row for row in mine if not row["is_match"] and row["amount"] * sign > 0]
        assert found[side][0] == pytest.approx(sum(abs(row["amount"]) for row in triggers))
        prices = {row["pos_id"]: row["price_acquired"] for row in mine if row["is_match"]}
        worth = sum(abs(row["amount"]) * prices[row["pos_id"]] for row in triggers if row["pos_id"] in prices)
        assert found[side][1] == pytest.approx(worth, rel=0.001)


# check, estimate, coverage.


def test_check_does_not_use_the_budget_of_a_read(connector: Connector) -> None:
    with bitfinex_sandbox(limits=True) as sandbox:
        config = config_of(sandbox, end="2026-02-27T00:30:00Z")
        assert connector.check(config).status["status"] == "SUCCEEDED"
        assert [request.path for request in sandbox.requests("bitfinex")] == ["/v2/platform/status"]
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        assert [request.status for request in hist(sandbox)] == [200]


def test_check_during_maintenance_and_after_a_429(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(sandbox, symbols=["tBTCUSD"])
    sandbox.fault("status", vendor="bitfinex", status=429, times=None)
    run = connector.check(config)
    assert run.status["status"] == "SUCCEEDED"
    assert "were not compared" in run.status["message"]
    sandbox.clear()
    with bitfinex_sandbox(bitfinex_maintenance=True) as closed:
        status = connector.check(config_of(closed)).status
        assert status["status"] == "FAILED"
        assert "in maintenance" in status["message"]


def estimated(connector: Connector, config: dict[str, Any], *args: str) -> dict[str, Any]:
    run = connector.start(["estimate", "--config", connector.file(config), "--json", *args]).collect()
    assert run.code == 0, run
    (one,) = [e for e in json.loads(run.out)["estimates"] if STREAM in e["streams"]]
    return dict(one)


def test_an_estimate_shows_how_long_a_year_takes(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(sandbox, "2025-03-01T00:00:00Z", "2026-03-01T00:00:00Z")
    del config["bitfinex"]["requests_per_minute"]
    found = estimated(connector, config)
    assert (found["rows"], found["requests"], found["seconds"]) == (365 * 154, 113, 113 * 25.0)
    assert "154 rows a day" in found["assumes"]
    assert hist(sandbox) == []


def test_coverage_says_when_it_starts(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config_of(sandbox), ["liquidation_coverage"], mode="full_refresh")
    assert run.code == 0, run
    mine = [row for row in run.records() if row["vendor"] == "bitfinex"]
    assert [(row["exchange"], row["kind"], row["period_start"]) for row in mine] == [
        ("bitfinex", "starts", "2019-08-01T00:00:00Z")
    ]


def test_progress_says_where_it_is_and_what_it_waits_for(connector: Connector) -> None:
    with bitfinex_sandbox() as sandbox:
        config = config_of(sandbox, requests_per_minute=3)
        process = connector.reading(config, [STREAM], patience="1")
        seen = b""
        while b"waiting for the request budget" not in seen and (piece := process.stdout.read1(65_536)):
            seen += piece
        process.signal(15)  # type: ignore[arg-type]
        run = process.collect(so_far=seen)
        (line, *_) = [line for line in run.logs if "waiting for the request budget" in line]
        assert line.startswith(f"{STREAM}: so far")
        assert " at 2026-02-2" in line
        assert positions(run.final_state, STREAM), "a page was checkpointed"
