"""The requests to the vendors: every parameter, and no more requests than necessary."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cases import COIN_METRICS, EVENTS, KIYOTAKA, KWERY, VOLUMES, Case, same
from harness import Connector

from sandbox import Sandbox
from sandbox.app import Recorded

KAIKO_PATH = "/v2/data/liquidation.v1"
ONE_MARKET: dict[str, dict[str, Any]] = {
    EVENTS.stream: {"instruments": ["bbit/perpetual-future/btc-usdt"]},
    VOLUMES.stream: {"assets": ["btc"]},
    COIN_METRICS.stream: {"markets": ["bybit-BTCUSDT-future"]},
    KWERY.stream: {"symbols": ["ETH"]},
    KIYOTAKA.stream: {"symbols": ["BYBIT/BTCUSDT"], "coins": [], "coin_exchanges": []},
}


def read_one(
    case: Case, connector: Connector, sandbox: Sandbox, *, start: str, end: str, workers: int = 1, **section: Any
) -> list[Recorded]:
    """Read one market with one worker; the requests for data."""
    config = case.config(sandbox, start, end, num_workers=workers)
    config[case.vendor] |= ONE_MARKET[case.stream] | section
    run = connector.read(config, [case.stream])
    assert run.code == 0, run
    return [request for request in sandbox.requests(case.vendor) if case.path in request.path]


def headers(request: Recorded) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name not in ("host", "connection")}


COMMON = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "source-liquidations"}
SPAN = {"start": "2026-02-28T10:00:00Z", "end": "2026-02-28T11:30:00.5Z"}


def test_kaiko_events(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(EVENTS, connector, sandbox, **SPAN)
    assert (request.method, request.prefix) == ("GET", "/kaiko")
    assert request.path == f"{KAIKO_PATH}/trades/bbit/perpetual-future/btc-usdt"
    assert request.query == [
        ("start_time", "2026-02-28T10:00:00.000Z"),
        ("end_time", "2026-02-28T11:30:00.500Z"),
        ("sort", "asc"),
        ("page_size", "1000"),
    ]
    assert headers(request) == {**COMMON, "x-api-key": "sandbox-kaiko-key"}
    assert "sandbox-kaiko-key" not in request.target


def test_kaiko_volumes_are_requested_in_whole_intervals(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(VOLUMES, connector, sandbox, **SPAN)
    assert request.path == f"{KAIKO_PATH}/token/btc"
    assert request.query == [
        ("interval", "1h"),
        ("start_time", "2026-02-28T10:00:00.000Z"),
        ("end_time", "2026-02-28T12:00:00.000Z"),
        ("sort", "asc"),
        ("page_size", "1000"),
    ]
    assert headers(request) == {**COMMON, "x-api-key": "sandbox-kaiko-key"}


def test_kaiko_sends_a_token_without_other_parameters(connector: Connector, dense_sandbox: Sandbox) -> None:
    requests = read_one(EVENTS, connector, dense_sandbox, start="2026-02-28", end="2026-02-28T06:00:00Z")
    assert len(requests) > 2
    for request in requests[1:]:
        assert [name for name, _ in request.query] == ["continuation_token"]
        assert request.path == requests[0].path
        assert request.headers["x-api-key"] == "sandbox-kaiko-key"


def test_coin_metrics(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(COIN_METRICS, connector, sandbox, **SPAN)
    assert (request.method, request.prefix, request.path) == (
        "GET",
        "/coin_metrics",
        "/v4/timeseries/market-liquidations",
    )
    assert request.query == [
        ("markets", "bybit-BTCUSDT-future"),
        ("start_time", "2026-02-28T10:00:00.000000000Z"),
        ("end_time", "2026-02-28T11:30:00.500000000Z"),
        ("end_inclusive", "false"),
        ("paging_from", "start"),
        ("page_size", "10000"),
        ("api_key", "cm+key/with=chars"),
    ]
    assert headers(request) == COMMON


def test_coin_metrics_repeats_its_parameters_with_the_token(connector: Connector, dense_sandbox: Sandbox) -> None:
    requests = read_one(COIN_METRICS, connector, dense_sandbox, start="2026-02-28", end="2026-03-01")
    assert len(requests) > 2
    for request in requests[1:]:
        rest = [pair for pair in request.query if pair[0] != "next_page_token"]
        assert rest == requests[0].query
        assert request.query[-2][0] == "next_page_token"


def test_the_community_host_gets_no_key(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox, "2026-02-28T13:00:00Z", "2026-03-01T12:00:00Z")
    del config["coin_metrics"]["api_key"]
    config["coin_metrics"]["base_url"] = f"{sandbox.url}/coin_metrics_community"
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 0, run
    (request,) = sandbox.requests("coin_metrics")
    assert request.params["markets"] == ",".join(sorted(COIN_METRICS.markets)), "one request for all"
    assert "api_key" not in request.params
    assert headers(request) == COMMON
    same(run.records(), COIN_METRICS.rows(sandbox, "2026-02-28T13:00:00Z", "2026-03-01T12:00:00Z"))


def test_kwery(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(KWERY, connector, sandbox, **SPAN)
    assert (request.method, request.prefix, request.path) == ("GET", "/kwery", "/v1/liquidations")
    assert request.query == [
        ("symbol", "ETH"),
        ("start", "2026-02-28T10:00:00.000Z"),
        ("end", "2026-02-28T11:30:00.500Z"),
        ("side", "all"),
        ("limit", "1000"),
    ]
    assert headers(request) == {**COMMON, "x-api-key": "sandbox-kwery-business"}
    assert "sandbox-kwery" not in request.target


def test_kwery_passes_its_filters_on(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(KWERY, connector, sandbox, **SPAN, side="long", min_usd=1000)
    assert request.query[3:] == [("side", "long"), ("min_usd", "1000"), ("limit", "1000")]


def test_kwery_follows_its_cursor(connector: Connector, dense_sandbox: Sandbox) -> None:
    requests = read_one(KWERY, connector, dense_sandbox, start="2026-02-28", end="2026-02-28T08:00:00Z")
    first, *others = requests
    assert len(others) > 1
    for request in others:
        assert [pair for pair in request.query if pair[0] != "after"] == first.query
        assert "after" in request.params


def test_kiyotaka_symbol(connector: Connector, sandbox: Sandbox) -> None:
    (request,) = read_one(KIYOTAKA, connector, sandbox, start="2026-02-28T10:00:00Z", end="2026-02-28T13:00:00Z")
    assert (request.method, request.prefix, request.path) == ("GET", "/kiyotaka", "/v1/points")
    assert request.query == [
        ("type", "LIQUIDATION_AGG"),
        ("exchange", "BYBIT"),
        ("rawSymbol", "BTCUSDT"),
        ("interval", "HOUR"),
        ("from", "1772272800"),
        ("period", "10800"),
        ("sortDirection", "SORT_DIRECTION_ASC"),
    ]
    assert headers(request) == {**COMMON, "x-kiyotaka-key": "sandbox-kiyotaka-key"}
    assert "sandbox-kiyotaka" not in request.target


def test_kiyotaka_coin_in_dollars(connector: Connector, sandbox: Sandbox) -> None:
    coins = {"symbols": [], "coins": ["BTC"], "coin_exchanges": ["BYBIT", "DERIBIT"], "denomination": "usd"}
    (request,) = read_one(
        KIYOTAKA, connector, sandbox, start="2026-02-28T10:00:00Z", end="2026-02-28T13:00:00Z", **coins
    )
    assert request.query == [
        ("type", "LIQUIDATION_AGG"),
        ("exchange", "BYBIT"),
        ("exchange", "DERIBIT"),
        ("coin", "BTC"),
        ("interval", "HOUR"),
        ("from", "1772272800"),
        ("period", "10800"),
        ("sortDirection", "SORT_DIRECTION_ASC"),
        ("transform.groupBy.type", "GROUP_BY_TYPE_SUM"),
        ("transform.normalize.quote", "USD"),
    ]


def test_openmarket_has_a_header_of_its_own(connector: Connector, sandbox: Sandbox) -> None:
    platform = {"platform": "openmarket", "base_url": f"{sandbox.url}/openmarket"}
    (request,) = read_one(
        KIYOTAKA, connector, sandbox, start="2026-02-28T10:00:00Z", end="2026-02-28T13:00:00Z", **platform
    )
    assert headers(request) == {**COMMON, "x-openmarket-key": "sandbox-kiyotaka-key"}


# The number of requests.

QUIET = {
    EVENTS.stream: ("2020-01-01", "2023-07-01"),  # before Kaiko's access begins
    COIN_METRICS.stream: ("2010-01-01", "2018-01-01"),  # before any exchange
    KIYOTAKA.stream: ("2026-02-28", "2026-03-01"),
}


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS, KIYOTAKA], ids=str)
def test_a_quiet_market_costs_one_request(case: Case, workers: int, connector: Connector, sandbox: Sandbox) -> None:
    start, end = QUIET[case.stream]
    assert len(read_one(case, connector, sandbox, start=start, end=end, workers=workers)) == 1


def test_years_of_volumes_cost_one_request_a_thousand_intervals(connector: Connector, own_sandbox: Sandbox) -> None:
    requests = read_one(
        VOLUMES, connector, own_sandbox, start="2025-12-25", end="2026-03-01", workers=1, interval="1d", assets=["btc"]
    )
    assert len(requests) == 1


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS], ids=str)
def test_a_busy_market_costs_its_pages_and_its_cuts(
    case: Case, workers: int, connector: Connector, dense_sandbox: Sandbox
) -> None:
    start, end = "2026-02-28T00:00:00Z", "2026-03-01T12:00:00Z"
    requests = read_one(case, connector, dense_sandbox, start=start, end=end, workers=workers)
    market = {"kaiko": "bbit/perpetual-future/btc-usdt", "coin_metrics": "bybit-BTCUSDT-future"}[case.vendor]
    rows = len(case.rows(dense_sandbox, start, end, [market]))
    assert case.page_size is not None
    pages = math.ceil(rows / case.page_size)
    assert pages >= 4
    windows = len({request.params["start_time"] for request in requests if "start_time" in request.params})
    assert windows <= workers + 1
    cuts = windows - 1
    assert len(requests) <= pages + windows + cuts, "a window that was cut ends at a page that lies behind its end"
    assert sum(request.rows for request in requests) <= rows + case.page_size * (windows + cuts)


def test_rows_per_request_are_the_vendors_maximum(connector: Connector, dense_sandbox: Sandbox) -> None:
    for case, start in ((EVENTS, "2026-02-28T12:00:00Z"), (COIN_METRICS, "2026-02-28"), (KWERY, "2026-02-28")):
        dense_sandbox.clear()
        requests = read_one(case, connector, dense_sandbox, start=start, end="2026-03-01")
        assert max(request.rows for request in requests) == case.page_size, case


def test_kwery_costs_its_pages_and_few_windows(connector: Connector, dense_sandbox: Sandbox) -> None:
    start, end = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"
    requests = read_one(KWERY, connector, dense_sandbox, start=start, end=end, workers=4)
    rows = len(KWERY.rows(dense_sandbox, start, end, ["ETH"]))
    windows = len({request.params["start"] for request in requests})
    assert len(requests) <= math.ceil(rows / 1_000) + windows
    assert windows <= 2 + rows / 2_000


def test_an_unknown_market_is_found_by_halving(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox, "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")
    config["coin_metrics"]["markets"] = ["binance-NONESUCH-future", *COIN_METRICS.markets]
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 1
    same(run.records(), COIN_METRICS.rows(sandbox, "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"))
    assert len(sandbox.requests("coin_metrics")) == 1 + 4
