"""Full-refresh streams: the vendors' lists, read completely in each sync."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from cases import Row, same
from harness import LEAST_TIMEOUT, Connector

from sandbox import Sandbox

CM_KEY = "sandbox-coin-metrics-key"
CM = "/v4/catalog-v2/market-liquidations"
CM_REFERENCE = "/v4/reference-data/markets"


def ask(sandbox: Sandbox, path: str, header: tuple[str, str] = ("X-None", ""), **params: str) -> Any:
    request = urllib.request.Request(f"{sandbox.url}{path}?{urlencode(params)}", headers=dict([header]))
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@dataclass(frozen=True)
class List:
    """One stream, and the requests that read it: (path, query, sent with the key)."""

    stream: str
    vendor: str
    key: tuple[str, ...]
    requests: Sequence[tuple[str, list[tuple[str, str]], bool]]
    secret: str
    key_header: str = ""

    @property
    def path(self) -> str:
        return self.requests[-1][0]

    def config(self, sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
        config = sandbox.config("2026-02-28", [self.vendor], end_date="2026-03-01", **fields)
        if self.vendor == "coin_metrics":
            config["coin_metrics"]["api_key"] = CM_KEY
        if self.vendor in ("kiyotaka", "kwery", "coinalyze"):
            config[self.vendor]["requests_per_minute"] = 100_000
        return config

    def __str__(self) -> str:
        return self.stream


KAIKO_INSTRUMENTS = List(
    stream="kaiko_instruments",
    vendor="kaiko",
    key=("exchange_code", "class", "code"),
    requests=[
        ("/v1/instruments", [("class", "future"), ("page_size", "1000")], False),
        ("/v1/instruments", [("class", "perpetual-future"), ("page_size", "1000")], False),
    ],
    secret="sandbox-kaiko-key",
    key_header="x-api-key",
)
KAIKO_EXCHANGES = List(
    stream="kaiko_exchanges",
    vendor="kaiko",
    key=("code",),
    requests=[("/v1/exchanges", [], False)],
    secret="sandbox-kaiko-key",
    key_header="x-api-key",
)
COIN_METRICS = List(
    stream="coin_metrics_liquidation_markets",
    vendor="coin_metrics",
    key=("market",),
    requests=[
        (CM, [("page_size", "1000"), ("api_key", CM_KEY)], True),
        (CM_REFERENCE, [("type", "future"), ("page_size", "10000"), ("api_key", CM_KEY)], True),
    ],
    secret=CM_KEY,
)
KIYOTAKA = List(
    stream="kiyotaka_markets",
    vendor="kiyotaka",
    key=("exchange", "raw_symbol"),
    requests=[("/v1/markets", [("pageSize", "100"), ("pageOffset", "0")], True)],
    secret="sandbox-kiyotaka-key",
    key_header="x-kiyotaka-key",
)
KWERY = List(
    stream="kwery_symbols",
    vendor="kwery",
    key=("symbol",),
    requests=[("/v1/symbols", [], True)],
    secret="sandbox-kwery-business",
    key_header="x-api-key",
)
COINALYZE = List(
    stream="coinalyze_markets",
    vendor="coinalyze",
    key=("symbol",),
    requests=[("/v1/future-markets", [], True)],
    secret="sandbox-coinalyze-key",
    key_header="api_key",
)
LISTS = (KAIKO_INSTRUMENTS, KAIKO_EXCHANGES, COIN_METRICS, KIYOTAKA, KWERY, COINALYZE)
VENDORS = list(dict.fromkeys(case.vendor for case in LISTS))


def rows_of(case: List, sandbox: Sandbox) -> list[Row]:
    """The vendor's rows, read without the connector."""
    if case is KAIKO_INSTRUMENTS:
        rows = ask(sandbox, "/kaiko-reference/v1/instruments", page_size="1000")["data"]
        return [row for row in rows if row["class"] in ("future", "perpetual-future")]
    if case is KAIKO_EXCHANGES:
        return list(ask(sandbox, "/kaiko-reference/v1/exchanges")["data"])
    if case is KIYOTAKA:
        header = ("X-Kiyotaka-Key", case.secret)
        names = {
            "rawSymbol": "raw_symbol",
            "normalizedSymbol": "normalized_symbol",
            "availableSince": "available_since",
        }
        rows = ask(sandbox, "/kiyotaka/v1/markets", header, pageSize="100")["symbols"]
        return [{names.get(name, name): value for name, value in row.items()} for row in rows]
    if case is KWERY:
        return list(ask(sandbox, "/kwery/v1/symbols", ("X-API-Key", case.secret))["symbols"])
    if case is COINALYZE:
        return list(ask(sandbox, "/coinalyze/v1/future-markets", ("api_key", case.secret)))
    catalog = ask(sandbox, f"/coin_metrics{CM}", page_size="10000", api_key=CM_KEY)["data"]
    reference = ask(sandbox, f"/coin_metrics{CM_REFERENCE}", page_size="10000", api_key=CM_KEY)["data"]
    by_market = {row["market"]: row for row in reference}
    return [{**by_market[row["market"]], **row} for row in catalog]


@pytest.fixture(scope="module")
def expected(shared_sandbox: Sandbox) -> dict[str, list[Row]]:
    return {case.stream: rows_of(case, shared_sandbox) for case in LISTS}


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_every_row_as_the_vendor_has_it(
    case: List, connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox
) -> None:
    run = connector.read(case.config(sandbox, num_workers=1), [case.stream], mode="full_refresh", script=True)
    assert run.code == 0, run
    assert run.err == b""
    assert len(run.records()) > 3
    same(run.records(case.stream), expected[case.stream])
    identities = [tuple(row[name] for name in case.key) for row in run.records()]
    assert len(set(identities)) == len(identities), "keys are not unique"
    assert run.statuses(case.stream) == ["STARTED", "RUNNING", "COMPLETE"]
    (state,) = run.final_state
    assert state["stream"]["stream_state"] == {"__ab_no_cursor_state_message": True}
    assert sum(message["state"]["sourceStats"]["recordCount"] for message in run.states) == len(run.records())
    assert [(r.path, r.query, case.secret in f"{r.headers} {r.target}") for r in sandbox.requests()] == [*case.requests]
    if case.key_header and case.requests[0][2]:
        assert all(request.headers[case.key_header] == case.secret for request in sandbox.requests())


def test_all_of_them_whole_each_time(connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox) -> None:
    """A saved state and the configured dates do not affect a list."""
    config = sandbox.config("2026-02-28", VENDORS, end_date="2026-02-28T01:00:00Z")
    config["coin_metrics"]["api_key"] = CM_KEY
    streams = [case.stream for case in LISTS]
    first = connector.read(config, streams, mode="full_refresh")
    second = connector.read(config, streams, mode="full_refresh", state=first.final_state)
    for run in (first, second):
        assert run.code == 0, run
        for case in LISTS:
            same(run.records(case.stream), expected[case.stream])


def test_what_discover_lists(connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox) -> None:
    found = connector.discover(sandbox.config("2026-02-28", VENDORS)).catalog
    for case in LISTS:
        stream = found[case.stream]
        assert stream["supported_sync_modes"] == ["full_refresh"]
        assert stream["source_defined_primary_key"] == [[field] for field in case.key]
        assert not stream.get("source_defined_cursor")
        properties = stream["json_schema"]["properties"]
        assert all(field["description"] for field in properties.values())
        for row in expected[case.stream]:
            assert set(row) <= set(properties)
    assert sandbox.requests() == []


def test_kiyotakas_pages_and_literals(connector: Connector, sandbox: Sandbox) -> None:
    """Hundreds of markets come in pages; numbers as they are written, an offset perhaps as text."""
    rows = [f'{{"exchange": "BYBIT",\n "rawSymbol": "T{n}", "new": 1.50e+2{n}}}' for n in range(3)]
    offsets = ['"100"', "200", "0"]
    bodies = [f'{{"symbols": [{row}], "nextOffset": {at}}}' for row, at in zip(rows, offsets, strict=True)]
    sandbox.serve("kiyotaka", "/v1/markets", bodies)
    run = connector.read(KIYOTAKA.config(sandbox), [KIYOTAKA.stream])
    assert run.code == 0, run
    lines = [line for line in run.out.splitlines() if b'"RECORD"' in line]
    for n, line in enumerate(lines):
        assert b'{"exchange":"BYBIT","raw_symbol":"T%d","new":1.50e+2%d}' % (n, n) in line
    assert [request.params["pageOffset"] for request in sandbox.requests()] == ["0", "100", "200"]
    assert any("undocumented fields" in line and "new" in line for line in run.logs)


def test_kaikos_pages(connector: Connector, sandbox: Sandbox) -> None:
    row = {"exchange_code": "bbit", "class": "future", "code": "one", "trade_count": 7}
    url = f"{sandbox.url}/kaiko-reference/v1/instruments?continuation_token=again"
    bodies = [
        {"result": "success", "data": [row], "continuation_token": "next", "next_url": url},
        {"result": "success", "data": [{**row, "code": "two"}], "next_url": url},
        {"result": "success", "data": [{**row, "code": "three"}], "continuation_token": None, "next_url": ""},
        {"result": "success", "data": []},
    ]
    sandbox.serve("kaiko", "/v1/instruments", bodies)
    run = connector.read(KAIKO_INSTRUMENTS.config(sandbox, num_workers=1), [KAIKO_INSTRUMENTS.stream])
    assert run.code == 0, run
    assert [row["code"] for row in run.records()] == ["one", "two", "three"]
    first, second, third, fourth = sandbox.requests()
    assert second.query == [("continuation_token", "next")]
    assert third.query == [("continuation_token", "again")]
    assert (first.params["class"], fourth.params["class"]) == ("future", "perpetual-future")


# Coin Metrics: two lists in one.


def test_pages_of_both_lists_and_a_market_without_reference_data(connector: Connector, sandbox: Sandbox) -> None:
    rows = [{"market": f"binance-{name}-future", "min_time": f"202{n}-01-01"} for n, name in enumerate("ABCD")]
    reference = [
        {"market": "binance-A-future", "contract_size": "0.10", "min_time": "theirs"},
        {"market": "binance-X-future", "contract_size": "1"},
        {"market": "binance-C-future", "contract_size": "100", "new": {"a": [1.50]}},
        {"market": "binance-C-future", "contract_size": "5"},
    ]
    sandbox.serve("coin_metrics", CM, [{"data": rows[:3], "next_page_token": "more"}, {"data": rows[3:]}])
    sandbox.serve(
        "coin_metrics",
        CM_REFERENCE,
        [{"data": reference[:2], "next_page_token": "on"}, {"data": reference[2:], "next_page_token": ""}],
    )
    run = connector.read(COIN_METRICS.config(sandbox), [COIN_METRICS.stream])
    assert run.code == 0, run
    assert run.records() == [
        {**rows[0], "contract_size": "0.10"},
        {**rows[2], "contract_size": "100", "new": {"a": [1.50]}},
        rows[1],
        rows[3],
    ]
    assert [request.params.get("next_page_token") for request in sandbox.requests()] == [None, "more", None, "on"]


def test_what_the_key_may_not_see_is_asked_of_the_whole_catalog(
    connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox
) -> None:
    sandbox.fault("status", vendor="coin_metrics", path_contains="/catalog-v2/", status=403)
    run = connector.read(COIN_METRICS.config(sandbox), [COIN_METRICS.stream])
    assert run.code == 0, run
    same(run.records(), expected[COIN_METRICS.stream])
    paths = [request.path for request in sandbox.requests()]
    assert paths == [CM, CM.replace("catalog-v2", "catalog-all-v2"), CM_REFERENCE]


def test_a_key_that_sees_two_markets(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox)
    config["coin_metrics"]["api_key"] = "sandbox-coin-metrics-limited"
    run = connector.read(config, [COIN_METRICS.stream])
    assert sorted(row["market"] for row in run.records()) == ["binance-BTCUSDT-future", "binance-ETHUSDT-future"]
    assert {row["size_asset"] for row in run.records()} == {"btc", "eth"}


def test_a_key_that_sees_none(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox)
    config["coin_metrics"]["api_key"] = "sandbox-coin-metrics-forbidden"
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 0, run
    assert run.records() == []
    assert [request.path for request in sandbox.requests()] == [CM]
    assert any("no market with liquidations" in line for line in run.logs)


def test_without_a_key(connector: Connector, sandbox: Sandbox) -> None:
    config = sandbox.config("2026-02-28T13:00:00Z", ["coin_metrics"], community=True)
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 0, run
    assert all(row["min_time"] >= "2026-02-28T12:30" for row in run.records())
    assert all("contract_size" in row for row in run.records())
    assert {request.prefix for request in sandbox.requests()} == {"/coin_metrics_community"}


# Faults.

PASSING: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0.2"}},
    {"kind": "reset"},
    {"kind": "reset_mid_body"},
    {"kind": "cut"},
    {"kind": "html"},
    {"kind": "bad_gzip"},
    {"kind": "slow_first_byte", "seconds": 30},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
def test_a_transient_fault_has_no_effect(
    fault: dict[str, Any], connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox
) -> None:
    for case in LISTS:
        for path in {path for path, _, _ in case.requests}:
            sandbox.fault(**{"vendor": case.vendor, "path_contains": path, **fault})
    config = sandbox.config("2026-02-28", VENDORS, end_date="2026-03-01")
    config["coin_metrics"]["api_key"] = CM_KEY
    timeout = None if "seconds" in fault else LEAST_TIMEOUT
    run = connector.read(config, [case.stream for case in LISTS], patience="0.02", least_timeout=timeout)
    assert run.code == 0, run
    for case in LISTS:
        same(run.records(case.stream), expected[case.stream])
    paths = {(case.vendor, path) for case in LISTS for path, _, _ in case.requests}
    assert sum(request.fault is not None for request in sandbox.requests()) == len(paths)
    for case in LISTS:
        assert case.secret.encode() not in run.out + run.err


def test_kaikos_error_with_status_200_is_retried(
    connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox
) -> None:
    sandbox.fault("error_in_200", vendor="kaiko", path_contains="/v1/instruments", message="Busy")
    run = connector.read(KAIKO_INSTRUMENTS.config(sandbox), [KAIKO_INSTRUMENTS.stream], patience="0.02")
    assert run.code == 0, run
    same(run.records(), expected[KAIKO_INSTRUMENTS.stream])
    assert any("Busy" in line for line in run.logs)


LASTING: list[tuple[List, dict[str, Any], str, str]] = [
    *(
        (case, {"kind": "status", "status": 503, "times": None}, "transient_error", "HTTP 503.*in 6 tries|in 6 tries")
        for case in LISTS
    ),
    (KAIKO_INSTRUMENTS, {"kind": "repeat_token", "times": None, "token": True}, "system_error", "repeats its"),
    (KAIKO_INSTRUMENTS, {"kind": "foreign_next_url"}, "system_error", "another origin"),
    (KAIKO_INSTRUMENTS, {"kind": "wrong_types"}, "system_error", "code"),
    (KAIKO_INSTRUMENTS, {"kind": "missing_fields", "fields": ["exchange_code"]}, "system_error", "exchange_code"),
    (KAIKO_EXCHANGES, {"kind": "redirect"}, "system_error", "another origin"),
    (KAIKO_EXCHANGES, {"kind": "error_in_200", "message": "Busy", "times": None}, "transient_error", "Busy"),
    (COIN_METRICS, {"kind": "status", "status": 401}, "config_error", "HTTP 401"),
    (COIN_METRICS, {"kind": "foreign_next_url"}, "system_error", "another origin"),
    (COIN_METRICS, {"kind": "foreign_next_url", "path_contains": CM}, "system_error", "another origin"),
    (COIN_METRICS, {"kind": "missing_fields", "fields": ["market"]}, "system_error", "market"),
    (COIN_METRICS, {"kind": "missing_fields", "fields": ["market"], "path_contains": CM}, "system_error", "market"),
    (KIYOTAKA, {"kind": "status", "status": 401}, "config_error", "HTTP 401"),
    (KIYOTAKA, {"kind": "missing_fields", "fields": ["rawSymbol"]}, "system_error", "rawSymbol"),
    (COINALYZE, {"kind": "status", "status": 401}, "config_error", "HTTP 401.*underscore"),
    (COINALYZE, {"kind": "missing_fields", "fields": ["symbol"]}, "system_error", "symbol"),
    (COINALYZE, {"kind": "error_in_200", "message": "Busy", "times": None}, "transient_error", "Busy"),
    (COINALYZE, {"kind": "redirect"}, "system_error", "another origin"),
    (KWERY, {"kind": "status", "status": 401, "times": None}, "config_error", "HTTP 401"),
    (KWERY, {"kind": "redirect"}, "system_error", "another origin"),
]


@pytest.mark.parametrize(
    ("case", "fault", "failure", "says"), LASTING, ids=lambda value: re.sub(r"\W+", "-", str(value))[:40]
)
def test_a_permanent_fault_is_reported(
    case: List, fault: dict[str, Any], failure: str, says: str, connector: Connector, sandbox: Sandbox
) -> None:
    if fault.pop("token", False):
        row = {"exchange_code": "bbit", "class": "future", "code": "one"}
        pages = [{"data": [{**row, "code": str(n)}], "continuation_token": "same"} for n in range(8)]
        sandbox.serve(case.vendor, case.path, pages)
    else:
        sandbox.fault(**{"vendor": case.vendor, "path_contains": case.path, **fault})
    run = connector.read(case.config(sandbox), [case.stream], mode="full_refresh", patience="0.005")
    assert run.code == 1, run
    assert run.statuses(case.stream)[-1] == "INCOMPLETE"
    (trace,) = run.traces
    assert trace["failure_type"] == failure
    assert trace["message"].startswith(f"{case.stream}: {case.vendor}")
    assert re.search(says, trace["message"], re.DOTALL), trace["message"]
    assert case.secret.encode() not in run.out + run.err
    assert b"Traceback" not in run.err
    assert not any(r.headers["host"].startswith("localhost") for r in sandbox.requests()), "sent to a foreign origin"


@pytest.mark.parametrize("path", [CM, CM_REFERENCE])
def test_coin_metrics_token_that_repeats(path: str, connector: Connector, sandbox: Sandbox) -> None:
    bodies = [{"data": [{"market": f"binance-{n}-future"}], "next_page_token": "same"} for n in range(5)]
    sandbox.serve("coin_metrics", path, bodies)
    run = connector.read(COIN_METRICS.config(sandbox), [COIN_METRICS.stream])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "system_error"
    assert "repeats its page token" in trace["message"]
    assert sum(request.path == path for request in sandbox.requests()) == 2


def test_kiyotakas_offset_that_does_not_advance(connector: Connector, sandbox: Sandbox) -> None:
    row = {"exchange": "BYBIT", "rawSymbol": "BTCUSDT"}
    sandbox.serve("kiyotaka", "/v1/markets", [{"symbols": [row], "nextOffset": 100}] * 5)
    run = connector.read(KIYOTAKA.config(sandbox), [KIYOTAKA.stream])
    assert run.code == 1
    (trace,) = run.traces
    assert "repeats its offset" in trace["message"]
    assert len(sandbox.requests()) == 2


@pytest.mark.parametrize("case", [KAIKO_INSTRUMENTS, COIN_METRICS, KIYOTAKA, COINALYZE], ids=str)
def test_undocumented_fields_arrive(
    case: List, connector: Connector, expected: dict[str, list[Row]], sandbox: Sandbox
) -> None:
    fields = {"new_field": "new", "new_object": {"a": [1, 2.5, None]}}
    sandbox.fault("unknown_fields", vendor=case.vendor, path_contains=case.path, fields=fields, times=None)
    run = connector.read(case.config(sandbox), [case.stream])
    assert run.code == 0, run
    same(run.records(), [{**row, **fields} for row in expected[case.stream]])
