"""Coin Metrics' liquidation metrics: four streams, their part of liquidation_volumes, and what may go wrong."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cases import Case, Row, covers, same
from harness import Connector, Run, catalog_of, positions

from sandbox import Sandbox
from sandbox.app import Recorded
from sandbox.times import DAY, iso, parse

START, END = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"
FREQUENCIES = ("5m", "1h", "1d")
SIDES, UNITS = {"buy": "short", "sell": "long"}, {"units": "coin", "usd": "usd"}
KEY = "sandbox-coin-metrics-key"
COVERAGE = "liquidation_coverage"
MARKETS = ("bybit-BTCUSDT-future", "bitfinex-ETHF0:USTF0-future", "okex-BTC-USDT-SWAP-future")


def metrics(frequency: str) -> list[str]:
    return [f"liquidations_reported_future_{side}_{unit}_{frequency}" for side in SIDES for unit in UNITS]


def level(field: str, setting: str, *entities: str) -> Case:
    """One stream, hourly."""
    table = f"{field.replace('_', '-')}-metrics"

    def expected(sandbox: Sandbox, entity: str, start: int, end: int) -> list[Row]:
        rows = sandbox.expected("coin_metrics", f"{table}/{entity}", start, end, frequency="1h")
        return [{**row, "frequency": "1h"} for row in rows]

    return Case(
        stream=f"coin_metrics_{field}_liquidation_metrics",
        vendor="coin_metrics",
        markets=entities,
        section={"api_key": KEY, "markets": ["bybit-BTCUSDT-future"], setting: list(entities)},
        path=f"/timeseries/{table}",
        cursor="time",
        key=(field, "frequency", "time"),
        expected=expected,
        partition=lambda entity: {field: entity, "frequency": "1h"},
        page_size=10_000,
    )


MARKET = level("market", "markets", *MARKETS)
EXCHANGE_ASSET = level("exchange_asset", "metrics_exchange_assets", "binance-btc", "okex-eth")
PAIR = level("pair", "metrics_pairs", "btc-usdt", "btc-usd")
EXCHANGE = level("exchange", "metrics_exchanges", "bybit", "bitfinex")
LEVELS = (MARKET, EXCHANGE_ASSET, PAIR, EXCHANGE)


def everything(sandbox: Sandbox, start: str = START, end: str | None = END, **section: Any) -> dict[str, Any]:
    config = MARKET.config(sandbox, start, end)
    for case in reversed(LEVELS):
        config["coin_metrics"] |= case.section
    config["coin_metrics"] |= section
    return config


def calls(sandbox: Sandbox, part: str = "/timeseries/") -> list[Recorded]:
    return [request for request in sandbox.requests("coin_metrics") if part in request.path]


# Reading.


@pytest.mark.parametrize("mode", ["full_refresh", "incremental"])
@pytest.mark.parametrize("case", LEVELS, ids=str)
def test_every_row_as_the_vendor_has_it(case: Case, mode: str, connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(case.config(sandbox, START, END), [case.stream], mode=mode, script=mode == "incremental")
    assert run.code == 0, run
    assert run.err == b""
    same(run.records(case.stream), case.rows(sandbox, START, END))
    assert run.records(), "nothing to compare"
    if case is MARKET:
        assert any(None in row.values() for row in run.records()), "no null to compare"
    assert len({case.identity(row) for row in run.records()}) == len(run.records()), "keys are not unique"
    held = positions(run.final_state, case.stream)
    assert held == {tuple(sorted(case.partition(name).items())): END for name in case.markets}


@pytest.mark.parametrize("case", LEVELS, ids=str)
def test_the_request(case: Case, connector: Connector, sandbox: Sandbox) -> None:
    """One frequency a call, whole intervals, entities together in the vendor's order."""
    config = case.config(sandbox, "2026-02-28T10:20:00Z", "2026-02-28T12:10:00.5Z")
    run = connector.read(config, [case.stream])
    assert run.code == 0, run
    (request,) = sandbox.requests("coin_metrics")
    field = case.key[0]
    assert request.path == f"/v4{case.path}"
    assert request.query == [
        (f"{field}s", ",".join(sorted(case.markets))),
        ("metrics", ",".join(metrics("1h"))),
        ("frequency", "1h"),
        ("start_time", "2026-02-28T10:00:00.000000000Z"),
        ("end_time", "2026-02-28T13:00:00.000000000Z"),
        ("end_inclusive", "false"),
        ("paging_from", "start"),
        ("page_size", "10000"),
        ("api_key", KEY),
    ]
    same(run.records(), case.rows(sandbox, "2026-02-28T10:00:00Z", "2026-02-28T13:00:00Z"))


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_each_frequency_has_its_columns(frequency: str, connector: Connector, sandbox: Sandbox) -> None:
    config = MARKET.config(sandbox, "2026-02-27T12:00:00Z", END)
    config["coin_metrics"] |= {"metrics_frequency": frequency, "markets": [MARKETS[0]]}
    run = connector.read(config, [MARKET.stream])
    start = "2026-02-27T00:00:00Z" if frequency == "1d" else "2026-02-27T12:00:00Z"
    entity = f"market-metrics/{MARKETS[0]}"
    expected = sandbox.expected("coin_metrics", entity, start, END, frequency=frequency)
    same(run.records(), [{**row, "frequency": frequency} for row in expected])
    assert set(run.records()[0]) == {"market", "time", "frequency", *metrics(frequency)}
    assert [request.params["frequency"] for request in calls(sandbox)] == [frequency]
    held = positions(run.final_state, MARKET.stream)
    assert list(held) == [(("frequency", frequency), ("market", MARKETS[0]))]


def test_as_many_together_as_fit_on_a_page(connector: Connector, sandbox: Sandbox) -> None:
    """Some 4,900 hours of two markets are a page; of a third one, another."""
    config = MARKET.config(sandbox, "2025-08-10", END)
    run = connector.read(config, [MARKET.stream], patience="1")
    assert run.code == 0, run
    first, second, third = sorted(MARKETS)
    assert sorted(r.params["markets"] for r in calls(sandbox)) == [first + "," + second, third]
    same(run.records(), MARKET.rows(sandbox, "2025-08-10", END))


def test_patterns_match_what_the_catalog_has_metrics_of(connector: Connector, sandbox: Sandbox) -> None:
    config = EXCHANGE_ASSET.config(sandbox, START, END)
    config["coin_metrics"]["metrics_exchange_assets"] = ["b*-eth", "bybit-*", "bybit-btc"]
    run = connector.read(config, [EXCHANGE_ASSET.stream])
    assert run.code == 0, run
    catalog, request = sandbox.requests("coin_metrics")
    assert catalog.path == "/v4/catalog-v2/exchange-asset-metrics"
    query = [("metrics", ",".join(metrics("1h"))), ("page_size", "1000"), ("api_key", KEY)]
    assert catalog.query == query
    entities = request.params["exchange_assets"].split(",")
    assert entities == ["binance-eth", "bitfinex-eth", "bybit-btc", "bybit-eth", "bybit-sol", "bybit-xrp"]
    same(run.records(), EXCHANGE_ASSET.rows(sandbox, START, END, entities))


def test_open_intervals_come_and_are_read_again(connector: Connector, own_sandbox: Sandbox) -> None:
    """At 12:30 the hour from 12:00 is open."""
    config = PAIR.config(own_sandbox, "2026-03-01T06:00:00Z", "2026-03-01T12:30:00Z", lookback_window="PT0S")
    first = connector.read(config, [PAIR.stream])
    assert first.records()[-1]["time"] == "2026-03-01T12:00:00.000000000Z"
    assert set(positions(first.final_state, PAIR.stream).values()) == {"2026-03-01T12:00:00Z"}
    own_sandbox.advance(3600)
    own_sandbox.clear()
    config["end_date"] = "2026-03-01T13:30:00Z"
    second = connector.read(config, [PAIR.stream], state=first.final_state)
    assert {request.params["start_time"] for request in calls(own_sandbox)} == {"2026-03-01T12:00:00.000000000Z"}
    same(second.records(), PAIR.rows(own_sandbox, "2026-03-01T12:00:00Z", "2026-03-01T14:00:00Z"))
    again = [row for row in second.records() if row["time"] == first.records()[-1]["time"]]
    assert again, "the open interval was not read again"


def test_a_new_entity_gets_its_whole_history(connector: Connector, sandbox: Sandbox) -> None:
    config = PAIR.config(sandbox, START, END, lookback_window="PT2H")
    config["coin_metrics"]["metrics_pairs"] = ["btc-usdt"]
    first = connector.read(config, [PAIR.stream])
    sandbox.clear()
    config["coin_metrics"]["metrics_pairs"] = ["btc-usdt", "btc-usd"]
    second = connector.read(config, [PAIR.stream], state=first.final_state)
    spans = {request.params["pairs"]: request.params["start_time"] for request in calls(sandbox)}
    assert spans == {"btc-usd": "2026-02-27T00:00:00.000000000Z", "btc-usdt": "2026-02-28T22:00:00.000000000Z"}
    covers([*first.records(), *second.records()], PAIR.rows(sandbox, START, END), PAIR)


def test_nothing_configured_reads_nothing_and_says_so(connector: Connector, sandbox: Sandbox) -> None:
    config = MARKET.config(sandbox, START, END)
    config["coin_metrics"]["metrics_for_markets"] = False
    run = connector.read(config, [case.stream for case in LEVELS])
    assert run.code == 0, run
    assert run.records() == []
    assert sandbox.requests() == []
    for case, field in zip(LEVELS, ("for_markets", "exchange_assets", "pairs", "exchanges"), strict=True):
        assert run.statuses(case.stream)[-1] == "COMPLETE"
        (log,) = [m["log"] for m in run.of("LOG") if f"`coin_metrics.metrics_{field}`" in m["log"]["message"]]
        assert log["level"] == "INFO"
        assert "are read, because" in log["message"]


# liquidation_volumes.

VOLUMES = "liquidation_volumes"
VOLUMES_KEY = ("vendor", "market", "asset", "interval", "position_side", "unit", "interval_start")
PLACES: dict[str, Callable[[str], tuple[str, str, str]]] = {
    MARKET.stream: lambda name: {
        MARKETS[0]: (name, "bybit", "btc"),
        MARKETS[1]: (name, "bitfinex", "eth"),
        MARKETS[2]: (name, "okx", "btc"),
    }[name],
    EXCHANGE_ASSET.stream: lambda name: (
        f"exchange_asset/{name}",
        {"okex": "okx"}.get(name.split("-")[0], name.split("-")[0]),
        name.split("-")[1],
    ),
    PAIR.stream: lambda name: (f"pair/{name}", "all", name.split("-")[0]),
    EXCHANGE.stream: lambda name: (f"exchange/{name}", name, "all"),
}


def volumes(sandbox: Sandbox) -> list[Row]:
    """The vendor's rows in the contract's shape; amounts as literals."""
    rows = []
    for case in LEVELS:
        for row in case.rows(sandbox, START, END):
            market, exchange, asset = PLACES[case.stream](row[case.key[0]])
            for side, position in SIDES.items():
                for unit, unit_name in UNITS.items():
                    amount = row[f"liquidations_reported_future_{side}_{unit}_1h"]
                    if amount is not None:
                        rows.append(
                            {
                                "vendor": "coin_metrics",
                                "market": market,
                                "exchange": exchange,
                                "asset": asset,
                                "interval": "PT1H",
                                "interval_start": f"{row['time'][:19]}Z",
                                "position_side": position,
                                "amount": amount,
                                "unit": unit_name,
                                "liquidation_count": None,
                            }
                        )
    return rows


def test_all_levels_in_liquidation_volumes(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(everything(sandbox), [VOLUMES])
    assert run.code == 0, run
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in run.out.splitlines() if b'"RECORD"' in line]
    rows = [line["record"]["data"] for line in lines]
    same(rows, volumes(sandbox))
    keys = Counter(tuple(row[name] for name in VOLUMES_KEY) for row in rows)
    assert max(keys.values()) == 1, "keys are not unique"
    held = positions(run.final_state, VOLUMES)
    expected = {
        tuple(sorted({"vendor": "coin_metrics", **case.partition(name)}.items()))
        for case in LEVELS
        for name in case.markets
    }
    assert set(held) == expected


def test_both_shapes_from_the_same_requests(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(everything(sandbox), [*(case.stream for case in LEVELS), VOLUMES])
    assert run.code == 0, run
    assert Counter(request.path for request in calls(sandbox)) == {f"/v4{case.path}": 1 for case in LEVELS}
    for case in LEVELS:
        same(run.records(case.stream), case.rows(sandbox, START, END))
    assert len(run.records(VOLUMES)) == len(volumes(sandbox))


def test_liquidation_volumes_have_the_configured_metrics(connector: Connector, sandbox: Sandbox) -> None:
    config = sandbox.config(START, ["kaiko", "coin_metrics"], end_date=END)
    config["kaiko"] = {**config["kaiko"], "assets": ["btc"], "instruments": []}
    plain = connector.read(config, [VOLUMES])
    assert plain.code == 0, plain
    assert {row["vendor"] for row in plain.records()} == {"kaiko"}
    assert sandbox.requests("coin_metrics") == []
    config["coin_metrics"] |= {"markets": [MARKETS[0]], "metrics_for_markets": True}
    fed = connector.read(config, [VOLUMES])
    assert {row["vendor"] for row in fed.records()} == {"kaiko", "coin_metrics"}


@pytest.mark.parametrize(
    ("section", "offered"),
    [
        ({}, False),
        ({"metrics_for_markets": False, "metrics_pairs": []}, False),
        ({"metrics_frequency": "1d"}, True),
        ({"metrics_exchanges": ["*"]}, True),
    ],
)
def test_what_discover_lists(section: dict[str, Any], offered: bool, connector: Connector, sandbox: Sandbox) -> None:
    config = MARKET.config(sandbox)
    config["coin_metrics"] |= section
    catalog = connector.discover(config).catalog
    assert {case.stream for case in LEVELS} <= set(catalog)
    assert (VOLUMES in catalog) is offered
    for case in LEVELS:
        stream = catalog[case.stream]
        assert stream["source_defined_primary_key"] == [[field] for field in case.key]
        assert stream["default_cursor_field"] == ["time"]
        assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
        for row in case.rows(sandbox, START, END):
            assert set(row) <= set(stream["json_schema"]["properties"])
    assert sandbox.requests() == []


# Keys, plans and entries.


def test_a_plan_without_metrics(connector: Connector, sandbox: Sandbox) -> None:
    """The error has the vendor's words and what to do. The liquidations of the same markets continue."""
    config = MARKET.config(sandbox, START, END)
    config["coin_metrics"] |= {
        "api_key": "sandbox-coin-metrics-limited",
        "markets": ["binance-BTCUSDT-future", "binance-ETHUSDT-future"],
    }
    run = connector.read(config, [MARKET.stream, "coin_metrics_market_liquidations"])
    assert run.code == 1
    assert run.statuses("coin_metrics_market_liquidations")[-1] == "COMPLETE"
    assert run.statuses(MARKET.stream)[-1] == "INCOMPLETE"
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    message = trace["message"]
    assert message.startswith(f"{MARKET.stream}: coin_metrics, binance-")
    assert "`coin_metrics.markets[" in message
    assert "is not available with supplied credentials" in message
    assert "`coin_metrics.metrics_for_markets`" in message
    assert connector.check(config).status["status"] == "SUCCEEDED"


def test_without_a_key_the_catalog_tells_what_there_is(connector: Connector, sandbox: Sandbox) -> None:
    config = sandbox.config(START, ["coin_metrics"], community=True)
    config["coin_metrics"] |= {"markets": [MARKETS[0], "binance-*-future"], "metrics_frequency": "1h"}
    run = connector.read(config, [MARKET.stream, VOLUMES])
    assert run.code == 0, run
    assert run.records() == []
    (request,) = sandbox.requests("coin_metrics")
    assert request.path == "/v4/catalog-v2/market-metrics"
    assert "api_key" not in request.params
    lines = [line for line in run.logs if "without a key" in line]
    assert [entry in line for entry, line in zip(("markets[0]", "markets[1]"), lines, strict=True)] == [True, True]


def test_without_a_key_what_the_catalog_shows_is_read(connector: Connector, sandbox: Sandbox) -> None:
    config = sandbox.config("2026-02-28T13:00:00Z", ["coin_metrics"], community=True, end_date="2026-03-01T12:00:00Z")
    config["coin_metrics"]["markets"] = [MARKETS[0], MARKETS[1]]
    entity = {"market": MARKETS[0], "metrics": [{"metric": metrics("1h")[0], "frequencies": []}]}
    other = {"market": MARKETS[1], "metrics": [{"metric": metrics("5m")[0], "frequencies": []}]}
    sandbox.serve("coin_metrics", "/v4/catalog-v2/market-metrics", [{"data": [entity, other]}])
    row = {"market": MARKETS[0], "time": "2026-02-28T14:00:00.000000000Z", metrics("1h")[0]: "1.50"}
    sandbox.serve("coin_metrics", "/v4/timeseries/market-metrics", [{"data": [row]}])
    run = connector.read(config, [MARKET.stream])
    assert run.code == 0, run
    assert run.records() == [{**row, "frequency": "1h"}]
    assert calls(sandbox)[0].params["markets"] == MARKETS[0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_a_key_and_without_a_catalog(status: int, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coin_metrics", path_contains="/catalog", status=status, times=None)
    config = sandbox.config(START, ["coin_metrics"], community=True)
    config["coin_metrics"]["markets"] = [MARKETS[0]]
    run = connector.read(config, [MARKET.stream])
    assert run.code == 0, run
    assert run.records() == []
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("frequency", ["1h", "1d"])
def test_without_a_key_the_last_day_is_read_and_with_one_the_rest(frequency: str, connector: Connector) -> None:
    """The community API silently omits older rows, so a requested period does not count as read."""
    start, end = (iso(time.time_ns() // DAY * DAY - days * DAY, 0) for days in (3, 0))
    table, streams = "/v4/timeseries/pair-metrics", [PAIR.stream, COVERAGE]
    with Sandbox(seed=4, rows_per_day=300, limits=False) as today:
        made = PAIR.config(today, start, None, lookback_window="PT0S")
        made["coin_metrics"] |= {"metrics_pairs": ["btc-usdt"], "metrics_frequency": frequency}
        community = {"base_url": f"{today.url}/coin_metrics_community", "api_key": None}
        today.serve("coin_metrics", table, [{"data": []}])
        before = time.time_ns()
        first = connector.read({**made, "coin_metrics": made["coin_metrics"] | community}, streams)
        assert first.code == 0, first
        (request,) = calls(today)
        since = request.params["start_time"][:19] + "Z"
        assert parse(since) >= before - DAY
        assert len([log for log in first.logs if f"data reach back to {since}" in log]) == 1
        (missing,) = [row for row in first.records(COVERAGE) if row["source"] == "seen by this sync"]
        period = missing["exchange"], missing["market"], missing["period_start"], missing["period_end"]
        assert period == ("all", "pair-metrics/btc-usdt", start, since)
        today.clear()
        second = connector.read({**made, "end_date": end}, streams, state=first.final_state)
        assert second.code == 0, second
        assert [request.params["start_time"][:19] + "Z" for request in calls(today)] == [start]
        assert not [row for row in second.records(COVERAGE) if row["source"] == "seen by this sync"]
        assert second.records(PAIR.stream)


def test_where_the_key_may_not_see_its_catalog_all_of_it_is_asked(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coin_metrics", path_contains="/catalog-v2/", status=403)
    config = PAIR.config(sandbox, START, END)
    config["coin_metrics"]["metrics_pairs"] = ["eth-*"]
    run = connector.read(config, [PAIR.stream])
    assert run.code == 0, run
    paths = [request.path for request in sandbox.requests("coin_metrics")]
    assert paths == ["/v4/catalog-v2/pair-metrics", "/v4/catalog-all-v2/pair-metrics", "/v4/timeseries/pair-metrics"]
    same(run.records(), PAIR.rows(sandbox, START, END, ["eth-usd", "eth-usdt"]))


def test_a_pattern_of_markets_without_metrics_is_left_out(connector: Connector, sandbox: Sandbox) -> None:
    config = MARKET.config(sandbox, START, END)
    config["coin_metrics"]["markets"] = ["nowhere-*-future", MARKETS[0]]
    run = connector.read(config, [MARKET.stream])
    assert run.code == 0, run
    same(run.records(), MARKET.rows(sandbox, START, END, [MARKETS[0]]))
    assert any("nowhere-*-future" in line and "`coin_metrics.markets[0]`" in line for line in run.logs)


CHECKS = [
    ({"metrics_pairs": ["btc-usdt"], "metrics_frequency": "5m"}, "metrics_frequency", "of pairs at 5m", "1h or 1d"),
    ({"metrics_exchanges": ["*"], "metrics_frequency": "5m"}, "metrics_frequency", "of exchanges at 5m", "1h or"),
    ({"metrics_frequency": "1m"}, "metrics_frequency", '"1m" is not allowed', "5m, 1h, 1d"),
    ({"metrics_pairs": ["btc"]}, "metrics_pairs[0]", "required form", "btc-usdt"),
    ({"metrics_exchanges": ["binance,bybit"]}, "metrics_exchanges[0]", "required form", "binance"),
    ({"metrics_pairs": ["btc-usdt", "no-such"]}, "metrics_pairs[1]", "'no-such' is not supported", ""),
    ({"metrics_exchange_assets": ["binance-nope"]}, "metrics_exchange_assets[0]", "'binance-nope' is not", ""),
    ({"metrics_exchange_assets": ["nope-*"]}, "metrics_exchange_assets[0]", "liquidation metrics at", "catalog-v2"),
    ({"metrics_exchanges": ["mtgox"]}, "metrics_exchanges[0]", "'mtgox' is not supported", ""),
]  # fmt: skip


@pytest.mark.parametrize(("section", "field", "problem", "advice"), CHECKS)
def test_check_names_what_is_not_possible(
    section: dict[str, Any], field: str, problem: str, advice: str, connector: Connector, sandbox: Sandbox
) -> None:
    config = MARKET.config(sandbox, START, END)
    config["coin_metrics"] |= section
    status = connector.check(config).status
    assert status["status"] == "FAILED"
    assert f"`coin_metrics.{field}`" in status["message"]
    assert problem in status["message"]
    assert advice in status["message"]
    assert KEY not in status["message"]


def test_check_asks_once_for_each_level_that_is_configured(connector: Connector, sandbox: Sandbox) -> None:
    assert connector.check(everything(sandbox)).status["status"] == "SUCCEEDED"
    liquidations, *rest = sandbox.requests("coin_metrics")
    assert liquidations.path == "/v4/timeseries/market-liquidations"
    assert [(r.path.rpartition("/")[2], r.query) for r in rest] == [
        (
            case.path.rpartition("/")[2],
            [
                (f"{case.key[0]}s", ",".join(sorted(case.markets))),
                ("metrics", ",".join(metrics("1h"))),
                ("frequency", "1h"),
                ("page_size", "1"),
                ("api_key", KEY),
            ],
        )
        for case in LEVELS[1:]
    ]


def test_check_of_a_plan_without_metrics(connector: Connector, sandbox: Sandbox) -> None:
    config = MARKET.config(sandbox, START, END)
    limited = {"api_key": "sandbox-coin-metrics-limited", "markets": ["binance-BTCUSDT-future"]}
    config["coin_metrics"] |= {**limited, "metrics_pairs": ["btc-usdt"]}
    status = connector.check(config).status
    assert status["status"] == "FAILED"
    named = "coin_metrics, btc-usdt/1h (`coin_metrics.metrics_pairs[0]`): "
    assert status["message"].startswith(f"{named}HTTP 403: forbidden: Requested")
    assert "`coin_metrics.metrics_" in status["message"]


def test_an_unknown_entity_costs_the_others_nothing(connector: Connector, sandbox: Sandbox) -> None:
    """One unknown id fails the whole call, so each entity is then requested separately."""
    config = PAIR.config(sandbox, START, END)
    config["coin_metrics"]["metrics_pairs"] = ["btc-usdt", "no-such", "btc-usd"]
    run = connector.read(config, [PAIR.stream])
    assert run.code == 1
    same(run.records(), PAIR.rows(sandbox, START, END))
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert "no-such/1h (`coin_metrics.metrics_pairs[1]`)" in trace["message"]


# Faults.


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}},
        {"kind": "reset"},
        {"kind": "cut"},
        {"kind": "html"},
        {"kind": "bad_gzip"},
        {"kind": "empty_page"},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_a_transient_fault_has_no_effect(fault: dict[str, Any], connector: Connector, sandbox: Sandbox) -> None:
    for case in LEVELS:
        sandbox.fault(**{"vendor": "coin_metrics", "path_contains": case.path, **fault})
    run = connector.read(everything(sandbox), [case.stream for case in LEVELS], patience="0.02")
    assert run.code == 0, run
    for case in LEVELS:
        same(run.records(case.stream), case.rows(sandbox, START, END))
    assert KEY.encode() not in run.out + run.err


FATAL = [
    ({"kind": "status", "status": 503}, "transient_error", "HTTP 503.*in 6 tries|in 6 tries.*HTTP 503"),
    ({"kind": "status", "status": 401}, "config_error", "HTTP 401"),
    ({"kind": "foreign_next_url"}, "system_error", "another origin"),
    ({"kind": "wrong_types", "field": metrics("1h")[1]}, "system_error", metrics("1h")[1]),
    ({"kind": "wrong_types", "field": "time", "value": 5}, "system_error", "time"),
    ({"kind": "timestamp_unit"}, "system_error", "`time`: not an ISO 8601 instant"),
    ({"kind": "missing_fields", "fields": ["pair"]}, "system_error", "pair"),
    ({"kind": "redirect"}, "system_error", "another origin"),
]


@pytest.mark.parametrize(("fault", "failure", "says"), FATAL, ids=lambda value: str(value)[:40])
def test_a_permanent_fault_is_reported(
    fault: dict[str, Any], failure: str, says: str, connector: Connector, sandbox: Sandbox
) -> None:
    sandbox.fault(**{"vendor": "coin_metrics", "path_contains": PAIR.path, "times": None, **fault})
    run = connector.read(everything(sandbox), [PAIR.stream, EXCHANGE.stream], patience="0.005")
    assert run.code == 1, run
    assert run.statuses(PAIR.stream)[-1] == "INCOMPLETE"
    assert run.statuses(EXCHANGE.stream)[-1] == "COMPLETE"
    same(run.records(EXCHANGE.stream), EXCHANGE.rows(sandbox, START, END))
    (trace,) = run.traces
    assert trace["failure_type"] == failure
    assert trace["message"].startswith(f"{PAIR.stream}: coin_metrics")
    assert re.search(says, trace["message"], re.DOTALL), trace["message"]
    assert KEY.encode() not in run.out + run.err
    assert not any(r.headers["host"].startswith("localhost") for r in sandbox.requests()), "sent to a foreign origin"
    sandbox.clear()
    again = connector.read(everything(sandbox), [PAIR.stream], state=run.final_state)
    covers(run.records(PAIR.stream) + again.records(), PAIR.rows(sandbox, START, END), PAIR)


def test_a_token_that_repeats(connector: Connector, sandbox: Sandbox) -> None:
    rows = [{"pair": "btc-usdt", "time": f"2026-02-28T{hour}:00:00.000000000Z"} for hour in (10, 11, 12)]
    bodies = [{"data": [row], "next_page_token": "again"} for row in rows]
    sandbox.serve("coin_metrics", "/v4/timeseries/pair-metrics", bodies)
    run = connector.read(PAIR.config(sandbox, START, END), [PAIR.stream])
    assert run.code == 1
    assert len(sandbox.requests()) == 2
    (trace,) = run.traces
    assert "repeats its page token" in trace["message"]


def test_undocumented_fields_arrive(connector: Connector, sandbox: Sandbox) -> None:
    fields = {"liquidations_reported_future_count_1h": "7", "frequency": "theirs", "status": {"a": [1.50, None]}}
    sandbox.fault("unknown_fields", vendor="coin_metrics", path_contains=PAIR.path, fields=fields)
    run = connector.read(PAIR.config(sandbox, START, END), [PAIR.stream])
    assert run.code == 0, run
    same(run.records(), [{**row, **fields} for row in PAIR.rows(sandbox, START, END)])
    assert any("undocumented fields" in line and "liquidations_reported_future_count_1h" in line for line in run.logs)


def test_values_are_exact_and_null_where_there_are_none(connector: Connector, sandbox: Sandbox) -> None:
    names = metrics("1h")
    row = {"pair": "btc-usdt", "time": "2026-02-28T10:00:00.000000000Z", names[0]: "0012345678901234567890.10"}
    row |= {names[1]: None, names[2]: "0"}
    body = json.dumps({"data": [row]}, indent=1)
    config = PAIR.config(sandbox, START, END)
    config["coin_metrics"]["metrics_pairs"] = ["btc-usdt"]
    sandbox.serve("coin_metrics", "/v4/timeseries/pair-metrics", [body])
    run = connector.read(config, [PAIR.stream, VOLUMES])
    assert run.code == 0, run
    assert run.records(PAIR.stream) == [{**row, "frequency": "1h"}]
    lines = [line for line in run.out.splitlines() if b'"RECORD","record":{"stream":"liquidation_volumes"' in line]
    rows = [json.loads(line, parse_float=str, parse_int=str)["record"]["data"] for line in lines]
    sums = [row for row in rows if row["market"] == "pair/btc-usdt"]
    assert [(row["position_side"], row["unit"], row["amount"]) for row in sums] == [
        ("short", "coin", "12345678901234567890.10"),
        ("long", "coin", "0"),
    ]


# Crash and resume.


def test_killed_and_resumed(connector: Connector, sandbox: Sandbox) -> None:
    """Fourteen months of hours: each market is a page and more. Killed in the third page."""
    start = "2024-12-25T00:00:00Z"
    config = MARKET.config(sandbox, start, END, num_workers=1)
    sandbox.fault("silent", vendor="coin_metrics", path_contains=MARKET.path, after=2, times=None, seconds=60)
    process = connector.reading(config, [MARKET.stream], patience="1")
    seen = b""
    while seen.count(b'"type":"STATE"') < 1:
        line = process.stdout.readline()
        assert line, "ended before it was killed"
        seen += line
    process.signal(signal.SIGKILL)
    first = process.collect(so_far=seen).whole
    assert first.code == -signal.SIGKILL
    done = positions(first.final_state, MARKET.stream)
    assert set(done.values()) & {END}, "no market was read to its end"
    assert len(done) < len(MARKETS)
    sandbox.clear()
    second = connector.read(config, catalog_of([MARKET.stream]), state=first.final_state, patience="1")
    assert second.code == 0, second
    covers([*first.records(), *second.records()], MARKET.rows(sandbox, start, END), MARKET)
    finished = {dict(partition)["market"] for partition, position in done.items() if position == END}
    for request in calls(sandbox):
        if request.params["markets"] in finished:
            assert request.params["start_time"] == "2026-02-28T23:00:00.000000000Z", "an hour of lookback"


def test_terminated_and_resumed(connector: Connector, sandbox: Sandbox) -> None:
    start = "2024-12-25T00:00:00Z"
    config = everything(sandbox, start)
    levels = (MARKET, EXCHANGE_ASSET)
    streams = [case.stream for case in levels]
    sandbox.fault("silent", vendor="coin_metrics", path_contains="-metrics", after=3, times=None, seconds=60)
    process = connector.reading(config, streams, patience="1")
    seen = b""
    while seen.count(b'"type":"STATE"') < 2:
        line = process.stdout.readline()
        assert line, "ended before the signal"
        seen += line
    process.signal(signal.SIGTERM)
    first: Run = process.collect(so_far=seen)
    assert first.code == -signal.SIGTERM
    sandbox.clear()
    second = connector.read(config, streams, state=first.final_state, patience="1")
    assert second.code == 0, second
    for case in levels:
        read = first.records(case.stream) + second.records(case.stream)
        covers(read, case.rows(sandbox, start, END), case)
