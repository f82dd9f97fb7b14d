"""Coinalyze through the command line: symbols in one request, calls counted, open and late buckets, edges, refusals."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from cases import COINALYZE, COINALYZE_SYMBOLS, Row, config_of, same
from harness import Connector, Run, positions

from sandbox import Sandbox
from sandbox.app import Recorded
from sandbox.times import MINUTE, NS, floor, iso, parse

STREAM, VOLUMES, COVERAGE = COINALYZE.stream, "liquidation_volumes", "liquidation_coverage"
NOW = "2026-03-01T12:30:00Z"
START, END = "2026-02-26T00:00:00Z", "2026-03-01T00:00:00Z"
BYBIT, INVERSE, GATE = "BTCUSDT.6", "BTCUSD_PERP.0", "BTCUSDT_PERP.Y"
SYMBOLS = [BYBIT, INVERSE, GATE]
SECONDS = {
    "1min": 60,
    "5min": 300,
    "15min": 900,
    "30min": 1_800,
    "1hour": 3_600,
    "2hour": 7_200,
    "4hour": 14_400,
    "6hour": 21_600,
    "12hour": 43_200,
    "daily": 86_400,
}


def coinalyze_sandbox(**options: Any) -> Sandbox:
    return Sandbox(**{"seed": 4, "now": NOW, "rows_per_day": 500, "limits": False, **options})


def configured(sandbox: Sandbox, start: str = START, end: str | None = END, **section: Any) -> dict[str, Any]:
    config = COINALYZE.config(sandbox, start, end)
    config["coinalyze"] |= {"symbols": SYMBOLS, **section}
    return config


def history(sandbox: Sandbox) -> list[Recorded]:
    return [request for request in sandbox.requests("coinalyze") if request.path == "/v1/liquidation-history"]


def lists(sandbox: Sandbox) -> list[str]:
    return [request.path for request in sandbox.requests("coinalyze") if request.path != "/v1/liquidation-history"]


def rows_of(
    sandbox: Sandbox, symbol: str, start: str, end: str, interval: str = "1hour", denomination: str = "usd"
) -> list[Row]:
    """The sandbox's points in the contract's form."""
    market = next(row for row in sandbox.app.vendors["coinalyze"]._markets.rows() if row["symbol"] == symbol)  # type: ignore[attr-defined]
    named = ("exchange", "base_asset", "quote_asset", "oi_lq_vol_denominated_in")
    names = {"symbol": symbol, "interval": interval, "denomination": denomination}
    names |= {name: market[name] for name in named}
    options = {"interval": interval, "convert_to_usd": denomination == "usd"}
    return [
        {**names, "time": iso(point["t"] * NS, 3), **point}
        for point in sandbox.expected("coinalyze", symbol, parse(start), parse(end), **options)
    ]


def failed(run: Run, failure_type: str, *words: str, stream: str = STREAM) -> str:
    assert run.code == 1, run
    (trace,) = [trace for trace in run.traces if trace["stream"]["name"] == stream]
    assert trace["failure_type"] == failure_type, trace
    for word in (stream, "coinalyze", *words):
        assert word in trace["message"], trace["message"]
    return str(trace["message"])


# Rows.


@pytest.mark.parametrize("denomination", ["usd", "native"])
@pytest.mark.parametrize("interval", list(SECONDS))
def test_every_interval_in_dollars_and_as_it_is_counted(interval: str, denomination: str, connector: Connector) -> None:
    with coinalyze_sandbox(rows_per_day=200) as sandbox:
        start = "2025-12-01T00:00:00Z" if SECONDS[interval] > 3_600 else "2026-02-28T03:07:00Z"
        config = configured(sandbox, start, END, interval=interval, denomination=denomination)
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        (request,) = history(sandbox)
        since, until = int(request.params["from"]), int(request.params["to"]) + 1
        assert since % SECONDS[interval] == until % SECONDS[interval] == 0
        assert since <= parse(start) // NS < since + SECONDS[interval]
        assert until == parse(END) // NS
        expected = [
            row for symbol in SYMBOLS for row in rows_of(sandbox, symbol, iso(since * NS), END, interval, denomination)
        ]
        same(run.records(), expected)
        assert len(expected) > 10


FORMS: list[dict[str, Any]] = [
    {"coinalyze_bounds": "half_open"},
    {"coinalyze_empty_series": "empty"},
    {"coinalyze_order": "requested"},
    {"coinalyze_zero_rows": True},
    {"coinalyze_delay_seconds": 0.0},
    {"coinalyze_expire_unit": "ms"},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_undocumented_variants_of_the_vendor(form: dict[str, Any], connector: Connector) -> None:
    symbols = [*SYMBOLS, "BTCUSDT_261225.A"]
    with coinalyze_sandbox(**form) as sandbox:
        run = connector.read(configured(sandbox, symbols=symbols), [STREAM, "coinalyze_markets"])
        assert run.code == 0, run
        same(run.records(STREAM), [row for symbol in symbols for row in rows_of(sandbox, symbol, START, END)])
        assert len(positions(run.final_state, STREAM)) == 4, "a market without rows was read, too"
        assert set(positions(run.final_state, STREAM).values()) == {END}


def test_the_unit_of_each_market_in_the_unified_stream(connector: Connector) -> None:
    with coinalyze_sandbox() as sandbox:
        run = connector.read(configured(sandbox, denomination="native"), [STREAM, VOLUMES])
        assert run.code == 0, run
        units = {(row["market"], row["exchange"], row["unit"]) for row in run.records(VOLUMES)}
        assert units == {(BYBIT, "bybit", "coin"), (INVERSE, "bitmex", "usd"), (GATE, "gate", "coin")}
        sums = {(row["symbol"], row["time"][:13], side): row[side[0]] for row in run.records(STREAM)
                for side in ("long", "short")}  # fmt: skip
        assert sums == {
            (row["market"], row["interval_start"][:13], row["position_side"]): row["amount"]
            for row in run.records(VOLUMES)
        }


def test_a_market_counted_in_another_asset_fails_in_the_unified_stream_alone(connector: Connector) -> None:
    with coinalyze_sandbox(coinalyze_quote_denominated=[BYBIT]) as sandbox:
        config = configured(sandbox, denomination="native")
        run = connector.read(config, [STREAM, VOLUMES])
        failed(run, "config_error", BYBIT, "USDT", "`coinalyze.denomination`", "`coinalyze.symbols[0]`", stream=VOLUMES)
        assert run.statuses(STREAM)[-1] == "COMPLETE"
        same(run.records(STREAM), [row for s in SYMBOLS for row in rows_of(sandbox, s, START, END, "1hour", "native")])
        assert {row["market"] for row in run.records(VOLUMES)} == {INVERSE, GATE}
        held = {dict(partition)["symbol"] for partition in positions(run.final_state, VOLUMES)}
        assert held == {INVERSE, GATE}, "the others continue, and this one is read again"
        message = connector.check(config).status
        assert message["status"] == "SUCCEEDED"
        assert BYBIT in message["message"]
        config["coinalyze"]["denomination"] = "usd"
        again = connector.read(config, [STREAM, VOLUMES])
        assert again.code == 0, again
        assert {row["unit"] for row in again.records(VOLUMES)} == {"usd"}


# Requests.


def test_a_sync_requests_two_lists_and_twenty_symbols_at_once(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(COINALYZE.config(sandbox, START, END), [STREAM, VOLUMES], script=True)
    assert run.code == 0, run
    assert lists(sandbox) == ["/v1/future-markets", "/v1/exchanges"]
    asked = [request.params.pop("symbols").split(",") for request in history(sandbox)]
    assert sorted(map(len, asked)) == [len(COINALYZE_SYMBOLS) - 20, 20]
    assert sorted(symbol for symbols in asked for symbol in symbols) == sorted(COINALYZE_SYMBOLS)
    for request in sandbox.requests("coinalyze"):
        assert (request.method, request.prefix) == ("GET", "/coinalyze")
        assert request.headers["api_key"] == "sandbox-coinalyze-key"
        assert "sandbox-coinalyze" not in request.target
    for request in history(sandbox):
        assert request.query[1:] == [
            ("interval", "1hour"),
            ("from", str(parse(START) // NS)),
            ("to", str(parse(END) // NS - 1)),
            ("convert_to_usd", "true"),
        ]
    assert b"sandbox-coinalyze-key" not in run.out + run.err


def test_years_cost_as_much_as_an_hour(connector: Connector) -> None:
    with coinalyze_sandbox(rows_per_day=20) as sandbox:
        config = configured(sandbox, "2019-01-01T00:00:00Z", END, interval="daily")
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        assert len(history(sandbox)) == 1
        assert len(run.records()) > 1_000
        second = connector.read(config | {"end_date": NOW}, [STREAM], state=run.final_state)
        assert len(history(sandbox)) == 2
        same(second.records(), [row for s in SYMBOLS for row in rows_of(sandbox, s, "2026-02-28", NOW, "daily")])


# Calls.


def test_a_minutes_calls_are_never_exceeded(connector: Connector) -> None:
    """24 markets and two lists, right after a check: 27 calls, more than half of them at once."""
    with coinalyze_sandbox(limits=True, rows_per_day=10) as sandbox:
        config = COINALYZE.config(sandbox, START, END)
        del config["coinalyze"]["requests_per_minute"]
        assert connector.check(config).status["status"] == "SUCCEEDED"
        started = time.monotonic()
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        assert {request.status for request in sandbox.requests()} == {200}
        assert sorted(len(request.params["symbols"].split(",")) for request in history(sandbox)) == [4, 19]
        assert time.monotonic() - started > (len(COINALYZE_SYMBOLS) + 2 - 19) * 60 / 38 - 1, "spread"


@pytest.mark.parametrize("headers", [{"Retry-After": "1.319"}, {"Retry-After": "2"}, {}], ids=str)
def test_the_retry_after_of_a_429_is_respected(headers: dict[str, str], connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coinalyze", path_contains=COINALYZE.path, status=429, headers=headers, times=2)
    run = connector.read(configured(sandbox), [STREAM])
    assert run.code == 0, run
    requests = history(sandbox)
    assert [request.status for request in requests] == [429, 429, 200]
    told = float(headers.get("Retry-After", 0))
    assert all(later.time - earlier.time >= told for earlier, later in pairwise(requests))
    same(run.records(), [row for symbol in SYMBOLS for row in rows_of(sandbox, symbol, START, END)])


def test_an_estimate_counts_symbols(connector: Connector, sandbox: Sandbox) -> None:
    config = COINALYZE.config(sandbox, START, END)
    config["coinalyze"]["requests_per_minute"] = 38
    run = connector.start(["estimate", "--config", connector.file(config), "--json"]).collect()
    assert run.code == 0, run
    (found, _) = json.loads(run.out)["estimates"]
    count = len(COINALYZE_SYMBOLS)
    assert found["streams"] == [STREAM, VOLUMES]
    assert (found["requests"], found["cost"]) == (2, {"calls": count})
    assert found["seconds"] == pytest.approx(count * 60 / 38, abs=0.1)
    assert found["rows"] == count * 72
    assert history(sandbox) == []


# Open and late buckets.


@pytest.mark.parametrize("interval", ["1min", "1hour", "daily"])
def test_a_bucket_that_is_still_open_is_read_again(interval: str, connector: Connector) -> None:
    with coinalyze_sandbox() as sandbox:
        step = SECONDS[interval] * NS
        start = "2026-03-01T00:00:00Z"
        section = {"symbols": [BYBIT], "interval": interval}
        sandbox.add_rows("coinalyze", BYBIT, [{"t": parse(NOW) // NS - 90, "l": 3.0, "s": 1.0}])
        now = iso(parse(NOW) - 30 * NS, 0)
        first = connector.read({**configured(sandbox, start, now, **section), "lookback_window": "PT0S"}, [STREAM])
        assert first.code == 0, first
        opened = parse(now) - parse(now) % step
        assert set(positions(first.final_state, STREAM).values()) <= {iso(opened, 0)}
        before = {row["t"]: row for row in first.records()}
        sandbox.add_rows("coinalyze", BYBIT, [{"t": opened // NS + 5, "l": 5.0, "s": 0.0}])
        later = iso(parse(NOW) + step, 0)
        sandbox.set_now(later)
        config = {**configured(sandbox, start, later, **section), "lookback_window": "PT0S"}
        second = connector.read(config, [STREAM], state=first.final_state)
        assert second.code == 0, second
        same(second.records(), rows_of(sandbox, BYBIT, iso(opened, 0), later, interval))
        again = {row["t"]: row for row in second.records()}[opened // NS]
        assert again["l"] > before.get(opened // NS, {"l": 0})["l"] + 5 * 1_000


def test_a_bucket_that_has_just_ended_may_still_change(connector: Connector) -> None:
    """A liquidation may be added minutes late, so the bucket is read again, however short the lookback window is."""
    now = floor(time.time_ns(), MINUTE) + 30 * NS
    with coinalyze_sandbox(now=iso(now), rows_per_day=2_000) as sandbox:
        start = iso(floor(now, MINUTE) - 60 * MINUTE, 0)
        section = {"symbols": [BYBIT], "interval": "1min"}
        config = {**configured(sandbox, start, None, **section), "lookback_window": "PT0S"}
        first = connector.read(config, [STREAM])
        assert first.code == 0, first
        (position,) = positions(first.final_state, STREAM).values()
        assert now - 7 * MINUTE <= parse(position) <= now - 5 * MINUTE + 30 * NS
        late = floor(now, MINUTE) - 3 * MINUTE
        sandbox.add_rows("coinalyze", BYBIT, [{"t": late // NS + 1, "l": 2.0, "s": 0.0}])
        second = connector.read(config, [STREAM], state=first.final_state)
        assert second.code == 0, second
        rows = {COINALYZE.identity(row): row for row in [*first.records(), *second.records()]}
        same(rows.values(), rows_of(sandbox, BYBIT, start, iso(now), "1min"))
        assert late // NS in {row["t"] for row in second.records()}


# The limits of the history.


def coverage(run: Run) -> list[tuple[Any, ...]]:
    names = ("exchange", "market", "kind", "period_start", "period_end")
    return [tuple(row[n] for n in names) for row in run.records(COVERAGE) if row["source"] == "seen by this sync"]


def test_deleted_intraday_history_is_reported_and_costs_nothing(connector: Connector) -> None:
    with coinalyze_sandbox(coinalyze_points=1_500, rows_per_day=20_000) as sandbox:
        start = "2026-02-20T00:00:00Z"
        config = configured(sandbox, start, NOW, symbols=[BYBIT, GATE], interval="1min")
        run = connector.read(config, [STREAM, COVERAGE])
        assert run.code == 0, run
        same(run.records(STREAM), [r for s in (BYBIT, GATE) for r in rows_of(sandbox, s, start, NOW, "1min")])
        firsts = {s: min(row["time"] for row in run.records(STREAM) if row["symbol"] == s) for s in (BYBIT, GATE)}
        assert firsts[BYBIT] > "2026-02-27"
        assert set(coverage(run)) == {
            (exchange, symbol, "missing", start, firsts[symbol].replace(".000Z", "Z"))
            for exchange, symbol in (("bybit", BYBIT), ("gate", GATE))
        }
        assert len([log for log in run.logs if "1,500 to 2,000 points" in log]) == 1
        assert len(history(sandbox)) == 1
        again = connector.read(config | {"lookback_window": "PT0S"}, [STREAM, COVERAGE], state=run.final_state)
        assert [int(request.params["from"]) for request in history(sandbox)[1:]] in ([], [parse(NOW) // NS])
        assert all(row["time"] >= "2026-03-01T12:29" for row in again.records(STREAM))


def test_check_says_that_an_intraday_interval_does_not_reach_back(connector: Connector, sandbox: Sandbox) -> None:
    status = connector.check(configured(sandbox, interval="1hour")).status
    assert status["status"] == "SUCCEEDED"
    assert "1,500 to 2,000 points" in status["message"]
    assert connector.check(configured(sandbox, interval="daily")).status == {"status": "SUCCEEDED"}
    assert [request.path for request in sandbox.requests()] == ["/v1/future-markets"] * 2


def test_the_first_day_of_each_market_is_a_row_of_coverage(connector: Connector) -> None:
    with coinalyze_sandbox(rows_per_day=200, coinalyze_points=10) as sandbox:
        config = configured(sandbox, "2015-01-01T00:00:00Z", END, interval="daily")
        run = connector.read(config, [STREAM, COVERAGE])
        assert run.code == 0, run
        firsts = {s: min(row["time"] for row in run.records(STREAM) if row["symbol"] == s) for s in SYMBOLS}
        exchanges = dict(zip(SYMBOLS, ("bybit", "bitmex", "gate"), strict=True))
        assert set(coverage(run)) == {
            (exchanges[symbol], symbol, "starts", first.replace(".000Z", "Z"), None) for symbol, first in firsts.items()
        }
        assert {first[:4] for first in firsts.values()} <= {"2018", "2019", "2020", "2021"}
        again = connector.read(config, [STREAM, COVERAGE], state=run.final_state)
        assert coverage(again) == [], "of a later window, its first row says nothing"


# Refusals.


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"api_key": "no-such-key"}, ["`coinalyze.api_key`", "HTTP 401", "Invalid/Missing API key", "underscore"]),
        ({"api_key": "sandbox-coinalyze-forbidden"}, ["`coinalyze.api_key`", "HTTP 403", "Forbidden"]),
        ({"symbols": ["NONESUCH_PERP.A"]}, ["`coinalyze.symbols[0]`", "NONESUCH_PERP.A", "coinalyze_markets"]),
        ({"symbols": [BYBIT, "BTCUSDT"]}, ["`coinalyze.symbols[1]`", "Did you mean", "BTCUSDT.6"]),
        ({"symbols": [BYBIT, "EOSUSDT_PERP.F"]}, ["`coinalyze.symbols[1]`", "delisted"]),
        ({"symbols": [BYBIT, "NONE*"]}, ["`coinalyze.symbols[1]`", "no market", "'NONE*'"]),
        ({"symbols": ["XX", "NONE*", "YY"]}, [f"`coinalyze.symbols[{number}]`" for number in range(3)]),
        ({"symbols": []}, ["`coinalyze.symbols`", "required"]),
        ({"interval": "1h"}, ["`coinalyze.interval`", "1hour"]),
    ],
    ids=str,
)
def test_check_and_read_say_what_is_wrong(
    section: dict[str, Any], words: list[str], connector: Connector, sandbox: Sandbox
) -> None:
    config = configured(sandbox, **section)
    run = connector.check(config)
    assert run.status["status"] == "FAILED"
    for word in ("coinalyze", *words):
        assert word in run.status["message"], run.status["message"]
    assert len(sandbox.requests()) <= 1
    read = connector.read(config, [STREAM])
    assert read.code == 1
    (trace,) = read.traces
    assert trace["failure_type"] == "config_error"
    for word in ("coinalyze", *words):
        assert word in trace["message"], trace["message"]


def test_an_unknown_symbol_does_not_delay_others(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(configured(sandbox, symbols=["NONESUCH", *SYMBOLS]), [STREAM])
    failed(run, "config_error", "`coinalyze.symbols[0]`")
    same(run.records(), [row for symbol in SYMBOLS for row in rows_of(sandbox, symbol, START, END)])
    assert set(positions(run.final_state, STREAM).values()) == {END}


def test_a_refused_key_in_mid_sync_costs_one_request(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coinalyze", path_contains=COINALYZE.path, status=403, times=None)
    run = connector.read(configured(sandbox), [STREAM])
    failed(run, "config_error", "`coinalyze.api_key`", "HTTP 403")
    assert len(history(sandbox)) == 1, "it is the key's, so no symbol is asked for by itself"


def test_without_the_exchanges_names_only_the_unified_stream_fails(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coinalyze", path_contains="/v1/exchanges", status=404, times=None)
    run = connector.read(configured(sandbox), [STREAM, VOLUMES])
    failed(run, "config_error", "HTTP 404", stream=VOLUMES)
    assert run.statuses(STREAM)[-1] == "COMPLETE"
    same(run.records(STREAM), [row for symbol in SYMBOLS for row in rows_of(sandbox, symbol, START, END)])
    assert run.records(VOLUMES) == []
    sandbox.clear()
    again = connector.read(config_of([COINALYZE], sandbox, START, END), [VOLUMES], state=run.final_state)
    assert again.code == 0
    assert len(again.records(VOLUMES)) > 0, "read again"
