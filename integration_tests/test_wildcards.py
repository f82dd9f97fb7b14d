"""Patterns in place of markets: expanded through the vendors' paged lists, with requests that stay within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cases import BITFINEX, COIN_METRICS, COINALYZE, EVENTS, GATE_ORDERS, GATE_STATS, KIYOTAKA, Case, same
from harness import Connector, Run, cleared, positions

from sandbox import Sandbox
from sandbox.http import Reply

START, END = "2026-02-27T00:00:00Z", "2026-02-27T12:00:00Z"
TINY = 1_200


@pytest.fixture(scope="module")
def wide_sandbox() -> Iterator[Sandbox]:
    """More markets than one page of a list has."""
    with Sandbox(
        seed=1, now="2026-03-01T12:30:00Z", rows_per_day=300, limits=False, tiny_markets=TINY, tiny_rows_per_day=2.0
    ) as running:
        yield running


@pytest.fixture
def sandbox(wide_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(wide_sandbox)


def read(case: Case, connector: Connector, sandbox: Sandbox, **section: Any) -> Run:
    config = case.config(sandbox, START, END)
    config[case.vendor] |= section
    return connector.read(config, [case.stream])


def kaiko_markets(sandbox: Sandbox, pattern: str) -> list[str]:
    """The sandbox's own derivatives that match."""
    names = ["/".join(key) for key in sandbox.app.vendors["kaiko"].events.instruments]  # type: ignore[attr-defined]
    return [name for name in names if fnmatchcase(name, pattern)]


@pytest.mark.parametrize(
    ("pattern", "lists"),
    [
        ("okex/perpetual-future/*", [{"exchange_code": "okex", "class": "perpetual-future"}]),
        ("*/future/*", [{"class": "future"}]),
        ("bbit/*/???-usdt", [{"exchange_code": "bbit", "class": name} for name in ("future", "perpetual-future")]),
        ("b?it/perpetual-*/btc-*", [{"class": "perpetual-future"}]),
    ],
)
def test_kaikos_patterns(pattern: str, lists: list[dict[str, str]], connector: Connector, sandbox: Sandbox) -> None:
    run = read(EVENTS, connector, sandbox, instruments=[pattern])
    assert run.code == 0, run
    markets = kaiko_markets(sandbox, pattern)
    assert markets
    same(run.records(), EVENTS.rows(sandbox, START, END, markets))
    assert len(positions(run.final_state, EVENTS.stream)) == len(markets)
    asked = [r for r in sandbox.requests("kaiko-reference") if "continuation_token" not in r.params]
    assert [request.params for request in asked] == [{**filters, "page_size": "1000"} for filters in lists]
    for request in sandbox.requests("kaiko-reference"):
        assert request.path == "/v1/instruments"
        assert "x-api-key" not in request.headers


def test_kaikos_list_is_read_to_its_end_and_once(connector: Connector, sandbox: Sandbox) -> None:
    """Overlapping patterns and names give each instrument once."""
    patterns = ["bbit/perpetual-future/t0*", "bbit/perpetual-future/btc-usdt", "bbit/perpetual-future/*"]
    run = read(EVENTS, connector, sandbox, instruments=patterns)
    assert run.code == 0, run
    markets = kaiko_markets(sandbox, "bbit/perpetual-future/*")
    assert len(markets) > TINY
    assert len(positions(run.final_state, EVENTS.stream)) == len(markets)
    same(run.records(), EVENTS.rows(sandbox, START, END, markets))
    first, second = sandbox.requests("kaiko-reference")
    assert first.params == {"exchange_code": "bbit", "class": "perpetual-future", "page_size": "1000"}
    assert list(second.params) == ["continuation_token"]
    asked = [r.path for r in sandbox.requests("kaiko") if "/trades/" in r.path]
    assert len(asked) == len(set(asked)) == len(markets)


def test_a_list_that_repeats_its_token_is_no_endless_loop(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("repeat_token", vendor="kaiko-reference", times=None)
    run = read(EVENTS, connector, sandbox, instruments=["bbit/perpetual-future/t*"])
    assert run.code == 1
    assert "repeats" in run.traces[0]["message"]
    assert len(sandbox.requests("kaiko-reference")) < 10


CATALOG = "/v4/catalog-v2/market-liquidations"


def coin_metrics_markets(sandbox: Sandbox, patterns: Sequence[str]) -> list[str]:
    """The catalog's markets that match; several, so that a test of them says something."""
    known = sandbox.app.vendors["coin_metrics"].markets  # type: ignore[attr-defined]
    listed = [name for name, instrument in known.items() if instrument.starts < sandbox.now()]
    markets = [name for name in listed if any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert len(markets) > 5
    return markets


def test_coin_metrics_patterns(connector: Connector, sandbox: Sandbox) -> None:
    patterns = ["okex-*-future", "deribit-*-future", "binance-BTCUSDT-future"]
    run = read(COIN_METRICS, connector, sandbox, markets=patterns)
    assert run.code == 0, run
    markets = coin_metrics_markets(sandbox, patterns)
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, markets))
    assert len(positions(run.final_state, COIN_METRICS.stream)) == len(markets)
    catalog = [request for request in sandbox.requests("coin_metrics") if "catalog" in request.path]
    assert [(r.path, r.query) for r in catalog] == [
        (CATALOG, [("markets", pattern), ("page_size", "1000"), ("api_key", "cm+key/with=chars")])
        for pattern in patterns[:2]
    ]


def test_coin_metrics_question_marks_are_matched_here(connector: Connector, sandbox: Sandbox) -> None:
    """The vendor's patterns have no question marks, so the exchange's list is requested."""
    patterns = ["okex-???-USDT-SWAP-future", "b??????-?TCUSDT-future", "deribit-*-future"]
    run = read(COIN_METRICS, connector, sandbox, markets=patterns)
    assert run.code == 0, run
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, coin_metrics_markets(sandbox, patterns)))
    catalog = [request.params for request in sandbox.requests("coin_metrics") if "catalog" in request.path]
    first = [params for params in catalog if "next_page_token" not in params]
    asked = [{k: v for k, v in params.items() if k in ("markets", "exchange")} for params in first]
    assert asked == [{"exchange": "okex"}, {}, {"markets": "deribit-*-future"}]


@pytest.mark.parametrize("refuses", [True, False], ids=["a 400", "no market of this name"])
def test_coin_metrics_patterns_where_the_catalog_takes_none(
    refuses: bool, connector: Connector, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connector matches the list: of the pattern's exchange, or else of all exchanges, requested only once."""
    vendor = sandbox.app.vendors["coin_metrics"]
    plain = vendor.handle

    def handle(request: Any) -> Reply:
        if "*" not in dict(request.query).get("markets", ""):
            return plain(request)
        return vendor.error(400) if refuses else Reply(body={"data": []})

    monkeypatch.setattr(vendor, "handle", handle)
    patterns = ["deribit-*-future", "*-ETHUSDT-future", "*-BTCUSDT-future"]
    run = read(COIN_METRICS, connector, sandbox, markets=patterns)
    assert run.code == 0, run
    markets = coin_metrics_markets(sandbox, patterns)
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, markets))
    catalog = [request for request in sandbox.requests("coin_metrics") if "catalog" in request.path]
    assert {request.path for request in catalog} == {CATALOG}
    asked = [r.params for r in catalog if "next_page_token" not in r.params]
    assert [{k: v for k, v in params.items() if k not in ("page_size", "api_key")} for params in asked] == [
        {"markets": "deribit-*-future"},
        {"exchange": "deribit"},
        {"markets": "*-ETHUSDT-future"},
        {},
        {"markets": "*-BTCUSDT-future"},
    ]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_coin_metrics_other_refusals_of_a_pattern_stay(status: int, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coin_metrics", path_contains="/catalog", status=status, times=None)
    run = read(COIN_METRICS, connector, sandbox, markets=["deribit-*-future"])
    assert run.code == 1
    assert f"HTTP {status}" in run.traces[0]["message"]
    named = "coin_metrics.api_key" if status == 401 else "coin_metrics.markets[0]"
    assert f"`{named}`" in run.traces[0]["message"]
    assert all("markets" in request.params for request in sandbox.requests("coin_metrics"))


def test_coin_metrics_catalog_is_read_to_its_end(connector: Connector, sandbox: Sandbox) -> None:
    found = [f"bybit-T{number:05d}USDT-future" for number in range(1, 31)]
    pages: list[dict[str, Any]] = [{"data": [{"market": name} for name in found[n : n + 10]]} for n in (0, 10, 20)]
    pages[0]["next_page_token"], pages[1]["next_page_token"] = "one", "two"
    pages[0]["next_page_url"] = f"{sandbox.url}/coin_metrics{CATALOG}?api_key=x&next_page_token=one"
    sandbox.serve("coin_metrics", CATALOG, pages)
    run = read(COIN_METRICS, connector, sandbox, markets=["bybit-T*-future"])
    assert run.code == 0, run
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, found))
    catalog = [request for request in sandbox.requests("coin_metrics") if "catalog" in request.path]
    assert [request.params.get("next_page_token") for request in catalog] == [None, "one", "two"]
    assert {request.params["markets"] for request in catalog} == {"bybit-T*-future"}


def test_coin_metrics_markets_are_batched_under_the_longest_url(connector: Connector, sandbox: Sandbox) -> None:
    """Markets with the same start share requests, as few as 10,000 characters allow."""
    markets = [f"bybit-T{number:05d}USDT-future" for number in range(1, TINY + 1)]
    run = read(COIN_METRICS, connector, sandbox, markets=markets)
    assert run.code == 0, run
    requests = sandbox.requests("coin_metrics")
    asked = [name for request in requests for name in request.params["markets"].split(",")]
    assert sorted(asked) == markets
    assert all(len(sandbox.url) + len(request.target) <= 10_000 for request in requests)
    assert len(requests) == -(-len(",".join(markets)) // 9_000)
    assert {request.status for request in requests} == {200}
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, markets))


def test_an_unknown_market_in_the_middle_of_many(connector: Connector, sandbox: Sandbox) -> None:
    known = [f"bybit-T{number:05d}USDT-future" for number in range(1, 81)]
    markets = [*known[:40], "bybit-NONESUCH-future", *known[40:]]
    run = read(COIN_METRICS, connector, sandbox, markets=markets)
    assert run.code == 1
    (trace,) = run.traces
    assert "`coin_metrics.markets[40]`" in trace["message"]
    assert "bybit-NONESUCH-future" in trace["message"]
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, known))
    assert len(sandbox.requests("coin_metrics")) <= 1 + 2 * 7, "found by halves"
    held = positions(run.final_state, COIN_METRICS.stream)
    assert {dict(partition)["market"] for partition, position in held.items() if position == END} == set(known)


def test_a_long_period_is_read_market_by_market(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox, "2026-02-01T00:00:00Z", END)
    config["coin_metrics"]["markets"] = ["deribit-*-future"]
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 0, run
    requests = [request for request in sandbox.requests("coin_metrics") if "catalog" not in request.path]
    assert len(requests) == 2
    assert all("," not in request.params["markets"] for request in requests)


def test_a_key_that_sees_few_markets_reads_those(connector: Connector, sandbox: Sandbox) -> None:
    key = "sandbox-coin-metrics-limited"
    run = read(COIN_METRICS, connector, sandbox, markets=["binance-*-future"], api_key=key)
    assert run.code == 0, run
    markets = ["binance-BTCUSDT-future", "binance-ETHUSDT-future"]
    same(run.records(), COIN_METRICS.rows(sandbox, START, END, markets))


def test_kiyotakas_patterns(connector: Connector, sandbox: Sandbox) -> None:
    run = read(KIYOTAKA, connector, sandbox, symbols=["OKEX_SWAP/*-USDT-SWAP", "DERIBIT/*"], coins=[])
    assert run.code == 0, run
    found = {(row["exchange"], row["raw_symbol"]) for row in run.records()}
    assert found == {
        *(("OKEX_SWAP", f"{coin}-USDT-SWAP") for coin in ("BTC", "ETH", "SOL", "XRP")),
        ("DERIBIT", "BTC-PERPETUAL"),
        ("DERIBIT", "ETH-PERPETUAL"),
    }
    markets = [f"{exchange}/{symbol}" for exchange, symbol in sorted(found)]
    same(run.records(), KIYOTAKA.rows(sandbox, START, END, markets))
    lists = [request for request in sandbox.requests("kiyotaka") if request.path == "/v1/markets"]
    assert lists
    assert all(request.params["pageSize"] == "100" for request in lists)


@pytest.mark.parametrize(
    ("patterns", "markets"),
    [
        (["BTC*_PERP.A"], ["BTCUSDT_PERP.A", "BTCUSD_PERP.A"]),
        (["SOLUSDT*.6", "SOLUSDT.6", "*SOLUSDT.?"], ["SOLUSDT.6"]),
        (["XRPUSDT_PERP.?"], ["XRPUSDT_PERP.3", "XRPUSDT_PERP.A", "XRPUSDT_PERP.Y"]),
    ],
)
def test_coinalyzes_patterns(patterns: list[str], markets: list[str], connector: Connector, sandbox: Sandbox) -> None:
    """Matched with the list of all markets, which is requested once; several patterns select each market once."""
    run = read(COINALYZE, connector, sandbox, symbols=patterns)
    assert run.code == 0, run
    same(run.records(), COINALYZE.rows(sandbox, START, END, markets))
    assert {dict(partition)["symbol"] for partition in positions(run.final_state, COINALYZE.stream)} == set(markets)
    lists = [request for request in sandbox.requests("coinalyze") if request.path == "/v1/future-markets"]
    assert [request.params for request in lists] == [{}]
    (asked,) = [request for request in sandbox.requests("coinalyze") if request.path == COINALYZE.path]
    assert sorted(asked.params["symbols"].split(",")) == sorted(markets)


def gate_contracts(sandbox: Sandbox, pattern: str) -> list[str]:
    """The sandbox's own contracts that match."""
    known = sandbox.app.vendors["gate"]._orders.instruments  # type: ignore[attr-defined]
    return [name for name in known if fnmatchcase(name, pattern)]


@pytest.mark.parametrize("pattern", ["usdt/T0*_USDT", "*/BTC_USD*", "btc/*"])
def test_gates_patterns(pattern: str, connector: Connector, sandbox: Sandbox) -> None:
    """Sums are requested for each contract of the list, orders for the whole settle currency and then filtered."""
    markets = gate_contracts(sandbox, pattern)
    assert markets
    orders = read(GATE_ORDERS, connector, sandbox, contracts=[pattern])
    assert orders.code == 0, orders
    same(orders.records(), GATE_ORDERS.rows(sandbox, START, END, markets), GATE_ORDERS.ignored)
    asked = [request for request in sandbox.requests("gate") if request.path.endswith("/liq_orders")]
    assert len(asked) == 12 * len({market.split("/")[0] for market in markets})
    lists = [request.params["offset"] for request in sandbox.requests("gate") if request.path.endswith("/contracts")]
    assert lists[0] == "0"
    if len(markets) < 10:
        sums = read(GATE_STATS, connector, sandbox, contracts=[pattern])
        assert sums.code == 0, sums
        same(sums.records(), GATE_STATS.rows(sandbox, START, END, markets))


@pytest.mark.parametrize("patterns", [["t*F0:USTF0"], ["tBTC*", "tBTCUSD", "t?TCUSD"], ["*"]])
def test_bitfinexs_patterns(patterns: list[str], connector: Connector, sandbox: Sandbox) -> None:
    """They filter rows of the whole exchange, so no list is read; each entry has its own cursor."""
    run = read(BITFINEX, connector, sandbox, symbols=patterns)
    assert run.code == 0, run
    chosen = [
        row
        for row in BITFINEX.rows(sandbox, START, END, ["*"])
        if any(fnmatchcase(row["symbol"], pattern) for pattern in patterns)
    ]
    assert chosen
    same(run.records(), chosen)
    assert {dict(partition)["symbol"] for partition in positions(run.final_state, BITFINEX.stream)} == set(patterns)
    assert {request.path for request in sandbox.requests("bitfinex")} == {"/v2/liquidations/hist"}


MATCH_NOTHING = [
    (EVENTS, {"instruments": ["none*/perpetual-future/*", EVENTS.markets[0]]}),
    (COIN_METRICS, {"markets": ["none-*-future", COIN_METRICS.markets[0]]}),
    (KIYOTAKA, {"symbols": ["NONE*/*", KIYOTAKA.markets[0]], "coins": []}),
    (COINALYZE, {"symbols": ["NONE*_PERP.A", COINALYZE.markets[0]]}),
    (GATE_ORDERS, {"contracts": ["usdt/NONE*", GATE_ORDERS.markets[0]]}),
    (GATE_STATS, {"contracts": ["*/NONE*", GATE_STATS.markets[0]]}),
]


@pytest.mark.parametrize(
    ("case", "section"),
    [*MATCH_NOTHING, (BITFINEX, {"symbols": ["tNONE*", BITFINEX.markets[0]]})],
    ids=str,
)
def test_check_names_a_pattern_that_matches_nothing(
    case: Case, section: dict[str, Any], connector: Connector, sandbox: Sandbox
) -> None:
    config = case.config(sandbox, START, END)
    config[case.vendor] |= section
    status = connector.check(config).status
    assert status["status"] == "FAILED"
    (name,) = [name for name, entries in section.items() if entries]
    assert f"`{case.vendor}.{name}[0]`" in status["message"]
    assert section[name][0] in status["message"]


@pytest.mark.parametrize(("case", "section"), MATCH_NOTHING, ids=str)
def test_a_pattern_that_matches_nothing_does_not_delay_other_entries(
    case: Case, section: dict[str, Any], connector: Connector, sandbox: Sandbox
) -> None:
    run = read(case, connector, sandbox, **section)
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    (name, entries), *_ = section.items()
    assert f"`{case.vendor}.{name}[0]`" in trace["message"]
    assert entries[0] in trace["message"]
    assert run.statuses(case.stream)[-1] == "INCOMPLETE"
    same(run.records(), case.rows(sandbox, START, END, case.markets[:1]), case.ignored)
    assert len(positions(run.final_state, case.stream)) == 1


def test_an_unavailable_list_does_not_stop_named_instruments(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="kaiko", path_contains="/v1/instruments", status=503, times=None)
    run = read(EVENTS, connector, sandbox, instruments=["bbit/perpetual-future/*", EVENTS.markets[0]])
    assert [trace["failure_type"] for trace in run.traces] == ["transient_error"]
    same(run.records(), EVENTS.rows(sandbox, START, END, EVENTS.markets[:1]), EVENTS.ignored)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_refused_list_does_not_stop_other_entries(status: int, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="kiyotaka", path_contains="/markets", status=status, times=None)
    run = read(KIYOTAKA, connector, sandbox, symbols=["DERIBIT/*", "BINANCE_FUTURES/BTCUSDT"], coins=[])
    assert run.code == 1
    (trace,) = run.traces
    assert f"HTTP {status}" in trace["message"]
    assert "`kiyotaka.symbols[0]`" in trace["message"]
    same(run.records(), KIYOTAKA.rows(sandbox, START, END, ["BINANCE_FUTURES/BTCUSDT"]), KIYOTAKA.ignored)
