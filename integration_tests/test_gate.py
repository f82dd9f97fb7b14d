"""Gate through the command line: windows of an hour, crowded hours and seconds, pages of sums, history, limits."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from cases import GATE_ORDERS, GATE_STATS, config_of, same
from harness import Connector, Run, cleared, positions, slices
from unified import mapped, nearly_same

from sandbox import Sandbox
from sandbox.app import Recorded
from sandbox.times import DAY, HOUR, MINUTE, NS, iso, parse

START, END = "2026-02-27T00:00:00Z", "2026-02-27T06:00:00Z"
NOW = "2026-03-01T12:30:00Z"
ORDERS, STATS, LIST = GATE_ORDERS.stream, GATE_STATS.stream, "gate_contracts"


@pytest.fixture(scope="module")
def thin_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=1, now=NOW, rows_per_day=1_500, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(thin_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(thin_sandbox)


def config(sandbox: Sandbox, *contracts: str, start: str = START, end: str | None = END, **fields: Any) -> Any:
    made = config_of([GATE_ORDERS], sandbox, start, end, **{"num_workers": 1, **fields})
    made["gate"] |= {"contracts": list(contracts)} if contracts else {}
    return made


def calls(sandbox: Sandbox, call: str = "liq_orders") -> list[Recorded]:
    return [request for request in sandbox.requests("gate") if request.path.endswith(f"/{call}")]


def seconds(text: str) -> int:
    return parse(text) // NS


def orders(sandbox: Sandbox, *markets: str, start: str = START, end: str = END) -> list[Any]:
    return GATE_ORDERS.rows(sandbox, start, end, markets)


def order(at: int, contract: str = "BTC_USDT", size: str = "7", **fields: Any) -> dict[str, Any]:
    """A liquidated long in the vendor's form; `at` in nanoseconds."""
    prices = {"order_price": "60000", "fill_price": "60010.5"}
    sizes = {"size": size, "order_size": f"-{size}", "left": "0"}
    return {"time": at // NS, "contract": contract, **sizes, **prices, **fields}


# Requests.


def test_orders_are_requested_hour_by_hour(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, "usdt/BTC_USDT", "btc/BTC_USD", end="2026-02-27T02:30:00Z")
    run = connector.read(made, [ORDERS])
    assert run.code == 0, run
    queries = {request.path: [] for request in calls(sandbox)}  # type: dict[str, list[list[tuple[str, str]]]]
    for request in calls(sandbox):
        queries[request.path].append(request.query)
    hours = [(0, 3599), (3600, 7199), (7200, 8999)]
    assert queries == {
        f"/api/v4/futures/{settle}/liq_orders": [
            [
                ("contract", contract),
                ("from", str(seconds(START) + first)),
                ("to", str(seconds(START) + last)),
                ("limit", "1000"),
            ]
            for first, last in hours
        ]
        for settle, contract in (("usdt", "BTC_USDT"), ("btc", "BTC_USD"))
    }
    assert calls(sandbox)[0].headers["x-gate-size-decimal"] == "1"
    assert not calls(sandbox, "contracts"), "contracts that are named need no list"


def test_sums_are_requested_from_the_first_interval(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config(sandbox, "usdt/BTC_USDT"), [STATS])
    assert run.code == 0, run
    (request,) = calls(sandbox, "contract_stats")
    assert request.path == "/api/v4/futures/usdt/contract_stats"
    assert request.query == [
        ("contract", "BTC_USDT"),
        ("interval", "1h"),
        ("from", str(seconds(START))),
        ("limit", "1000"),
    ]
    assert request.headers["x-gate-size-decimal"] == "1"


def test_the_list_holds_the_contracts_of_all_settle_currencies(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=100, limits=False, tiny_markets=1_200) as sandbox:
        run = connector.read(config(sandbox), [LIST])
        assert run.code == 0, run
        rows = run.records()
        assert len({(row["settle"], row["name"]) for row in rows}) == len(rows) > 1_200
        assert {row["settle"] for row in rows} == {"usdt", "btc"}
        (inverse,) = [row for row in rows if row["settle"] == "btc"]
        assert (inverse["type"], inverse["quanto_multiplier"]) == ("inverse", "0")
        queries = [(r.path.split("/")[4], dict(r.query)) for r in calls(sandbox, "contracts")]
        assert queries == [
            ("usdt", {"limit": "1000", "offset": "0"}),
            ("usdt", {"limit": "1000", "offset": "1000"}),
            ("btc", {"limit": "1000", "offset": "0"}),
        ]


# The whole market.


def test_a_whole_market_costs_as_many_requests_as_a_contract(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config(sandbox, "usdt/*"), [ORDERS])
    assert run.code == 0, run
    requests = calls(sandbox)
    assert len(requests) == 6
    assert {tuple(request.params) for request in requests} == {("from", "to", "limit")}
    same(run.records(), orders(sandbox, "usdt"), ["liquidation_id"])
    assert len({row["contract"] for row in run.records()}) > 2
    assert positions(run.final_state, ORDERS) == {(("settle", "usdt"),): END}


def test_patterns_share_the_requests_of_their_settle_currency(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config(sandbox, "usdt/BTC_*", "usdt/E*_USDT", "*/SOL_????"), [ORDERS, "liquidations"])
    assert run.code == 0, run
    assert len(calls(sandbox)) == 6
    rows = orders(sandbox, "usdt/BTC_USDT", "usdt/ETH_USDT", "usdt/EOS_USDT", "usdt/SOL_USDT")
    same(run.records(ORDERS), rows, ["liquidation_id"])
    assert len(run.records("liquidations")) == len(rows)
    held = positions(run.final_state, ORDERS)
    patterns = ("BTC_*", "E*_USDT", "SOL_????")
    assert held == {(("contract", pattern), ("settle", "usdt")): END for pattern in patterns}


def test_a_contract_within_a_pattern_is_read_once(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config(sandbox, "usdt/BTC_USDT", "usdt/*", "usdt/BTC_*", "btc/BTC_USD"), [ORDERS])
    assert run.code == 0, run
    same(run.records(), orders(sandbox, "usdt", "btc"), ["liquidation_id"])
    assert len(calls(sandbox)) == 12
    held = positions(run.final_state, ORDERS)
    assert set(held) == {(("settle", "usdt"),), (("contract", "BTC_USD"), ("settle", "btc"))}


def test_the_whole_market_and_a_contract_give_the_same_ids(connector: Connector, sandbox: Sandbox) -> None:
    ids_read = []
    for contract in ("usdt/BTC_USDT", "usdt/BTC_*", "usdt/*", "*"):
        run = connector.read(config(sandbox, contract), [ORDERS])
        assert run.code == 0, run
        ids_read.append({row["liquidation_id"] for row in run.records() if row["contract"] == "BTC_USDT"})
    assert ids_read[0] == ids_read[1] == ids_read[2] == ids_read[3] != set()


def test_sums_of_a_pattern_are_those_of_its_contracts(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config(sandbox, "*/BTC_*"), [STATS])
    assert run.code == 0, run
    same(run.records(), GATE_STATS.rows(sandbox, START, END, ["usdt/BTC_USDT", "btc/BTC_USD"]))


# Full answers.


@pytest.mark.parametrize("kept", ["newest", "oldest"])
def test_an_hour_that_is_cut_is_read_in_halves(kept: str, connector: Connector) -> None:
    with Sandbox(seed=2, now=NOW, rows_per_day=90_000, limits=False, gate_kept=kept, gate_order="shuffled") as sandbox:
        run = connector.read(config(sandbox, "usdt/*"), [ORDERS])
        assert run.code == 0, run
        rows = orders(sandbox, "usdt")
        assert max(Counter(row["timestamp"] // 3600 for row in rows).values()) >= 1_000
        same(run.records(), rows, ["liquidation_id"])
        assert len({row["liquidation_id"] for row in run.records()}) == len(rows)
        requests = calls(sandbox)
        assert {request.rows for request in requests if request.rows >= 1_000} == {1_000}
        assert len(requests) <= 6 + 4 * len(rows) / 1_000
        assert positions(run.final_state, ORDERS) == {(("settle", "usdt"),): END}


@pytest.mark.parametrize("start", [START, "2026-02-27T00:00:00.249Z"])
def test_a_second_that_is_cut_is_read_contract_by_contract(start: str, connector: Connector) -> None:
    """Also if the contracts with orders in it are late in the list, after many without.

    And if windows start inside a second, as in every sync after the first.
    """
    with Sandbox(seed=1, now=NOW, rows_per_day=200, limits=False, tiny_markets=60, tiny_rows_per_day=1) as sandbox:
        at = parse(START) + 90 * MINUTE
        for contract, count in (("BTC_USDT", 700), ("T00059_USDT", 900)):
            rows = [order(at, contract, size=str(number + 1)) for number in range(count)]
            sandbox.add_rows("gate", f"usdt/{contract}", rows)
        sandbox.add_rows("gate", "usdt/ETH_USDT", [order(at + NS, "ETH_USDT")])
        run = connector.read(config(sandbox, "usdt/*", start=start), [ORDERS, "liquidations"])
        assert run.code == 0, run
        assert max(int(request.params["to"]) - int(request.params["from"]) for request in calls(sandbox)) == 3599
        rows = orders(sandbox, "usdt", start=start)
        assert sum(row["timestamp"] == at // NS for row in rows) >= 1_600
        same(run.records(ORDERS), rows, ["liquidation_id"])
        assert len({row["liquidation_id"] for row in run.records("liquidations")}) == len(rows)
        crowded = [r for r in calls(sandbox) if r.params["from"] == r.params["to"] == str(at // NS)]
        named = [request.params["contract"] for request in crowded if "contract" in request.params]
        assert len(set(named)) == len(named) == 60 + 5


def test_a_narrow_pattern_takes_no_more_requests_than_all_of_a_busy_market(connector: Connector) -> None:
    """An answer has the orders of all contracts, so all of them determine the length of a window."""
    with Sandbox(seed=2, now=NOW, rows_per_day=90_000, limits=False) as sandbox:
        counts = []
        for pattern, markets in (("usdt/*", ["usdt"]), ("usdt/ETH_*", ["usdt/ETH_USDT"])):
            sandbox.clear()
            run = connector.read(config(sandbox, pattern), [ORDERS])
            assert run.code == 0, run
            same(run.records(), orders(sandbox, *markets), ["liquidation_id"])
            counts.append(len(calls(sandbox)))
        assert run.records()
        assert counts[0] == counts[1]


def test_a_second_of_one_contract_with_too_many_is_never_cut(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=200, limits=False) as sandbox:
        at = parse(START) + 90 * MINUTE
        sandbox.add_rows("gate", "usdt/BTC_USDT", [order(at, size=str(number + 1)) for number in range(1_000)])
        for contract in ("usdt/BTC_USDT", "usdt/*"):
            run = connector.read(config(sandbox, contract), [ORDERS])
            assert run.code == 1
            (trace,) = run.traces
            assert trace["failure_type"] == "system_error"
            for word in ("gate", "BTC_USDT has 1,000 orders", "2026-02-27T01:30:00Z"):
                assert word in trace["message"], trace["message"]
            assert not [row for row in run.records() if row["timestamp"] == at // NS and row["contract"] == "BTC_USDT"]
            (position,) = positions(run.final_state, ORDERS).values()
            assert START < position <= "2026-02-27T01:30:00Z"


def test_equal_orders_of_a_second_are_told_apart(connector: Connector, own_sandbox: Sandbox) -> None:
    at = parse(START) + 90 * MINUTE
    twins = [order(at, fill_price=price) for price in ("60010.5", "60010.5", "60011")]
    own_sandbox.add_rows("gate", "usdt/BTC_USDT", twins)
    first = connector.read(config(own_sandbox, "usdt/BTC_USDT"), [ORDERS])
    second = connector.read(config(own_sandbox, "usdt/*"), [ORDERS])
    fill_prices = [
        {
            row["liquidation_id"]: row["fill_price"]
            for row in run.records()
            if row["timestamp"] == at // NS and row["contract"] == "BTC_USDT"
        }
        for run in (first, second)
    ]
    assert fill_prices[0] == fill_prices[1]
    assert sorted(fill_prices[0].values()) == ["60010.5", "60010.5", "60011"]


@pytest.mark.parametrize("gaps", [0, 2, 200])
def test_a_short_page_of_sums_is_not_the_end(gaps: int, connector: Connector) -> None:
    """Absent intervals make a page short; no window loses the rows after them."""
    start = "2026-02-25T00:00:00Z"
    with Sandbox(seed=1, now=NOW, rows_per_day=300, limits=False, gate_stats_gaps=gaps) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", "btc/BTC_USD", start=start, end=None, end_date=NOW)
        made["gate"]["interval"] = "1m"
        run = connector.read(made, [STATS])
        assert run.code == 0, run
        counts = Counter((row["settle"], row["timestamp"]) for row in run.records())
        assert set(counts.values()) == {1}
        for settle, contract in (("usdt", "BTC_USDT"), ("btc", "BTC_USD")):
            market = f"contract_stats/{settle}/{contract}"
            rows = sandbox.expected("gate", market, parse(start), parse(NOW), interval="1m")
            assert {row["time"] for row in rows} == {at for name, at in counts if name == settle}
        requests = calls(sandbox, "contract_stats")
        assert (max(request.rows for request in requests) < 1_000) == (gaps > 0)
        assert 2 * 7 <= len(requests) <= 2 * 8


# Values.


@pytest.mark.parametrize("form", ["string", "decimal", "decimal_string"])
def test_seconds_in_every_form(form: str, connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=1_500, limits=False, gate_time=form) as sandbox:
        run = connector.read(config(sandbox, "usdt/BTC_USDT"), [ORDERS, STATS, LIST])
        assert run.code == 0, run
        for name, market in ((ORDERS, "usdt/BTC_USDT"), (STATS, "contract_stats/usdt/BTC_USDT")):
            sent = sandbox.expected("gate", market, parse(START), parse(END))
            rows = run.records(name)
            assert [row["timestamp"] for row in rows] == [row["time"] for row in sent]
            assert [row["time"] for row in rows] == [iso(int(float(row["time"])) * NS, 3) for row in sent]


def test_an_order_without_its_size_counts_by_the_position(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=1_500, limits=False, gate_order_size=False) as sandbox:
        run = connector.read(config(sandbox), [ORDERS, "liquidations"])
        assert run.code == 0, run
        assert "order_size" not in run.records(ORDERS)[0]
        nearly_same(run.records("liquidations"), mapped(GATE_ORDERS, run.records(ORDERS)))


def test_the_filled_orders_equal_the_sums(connector: Connector, sandbox: Sandbox) -> None:
    """In the base asset, for both sides, also for the contract counted in dollars; staged orders count once."""
    end = "2026-02-28T00:00:00Z"
    run = connector.read(config(sandbox, end=end), ["liquidations", "liquidation_volumes"])
    assert run.code == 0, run
    filled: dict[tuple[str, str], float] = defaultdict(float)
    for row in run.records("liquidations"):
        if row["event_type"] == "trade":
            # For BTC_USD, the sandbox rounds to whole contracts, which are dollars.
            field = "amount" if row["market"] == "BTC_USD" else "amount_base"
            filled[row["market"], row["position_side"]] += row[field]
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in run.records("liquidation_volumes"):
        if row["unit"] == ("usd" if row["market"] == "BTC_USD" else "coin"):
            sums[row["market"], row["position_side"]] += row["amount"]
    assert set(filled) == set(sums)
    assert len(sums) == 6
    for key, amount in sums.items():
        assert filled[key] == pytest.approx(amount, rel=1e-9), key
    assert {row["event_type"] for row in run.records("liquidations")} == {"trade", "order"}


def test_a_side_that_contradicts_itself_is_not_guessed(connector: Connector, own_sandbox: Sandbox) -> None:
    at = parse(START) + 90 * MINUTE
    own_sandbox.add_rows("gate", "usdt/BTC_USDT", [order(at, order_size="7")])
    run = connector.read(config(own_sandbox, "usdt/BTC_USDT"), [ORDERS, "liquidations"])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["stream"]["name"] == "liquidations"
    assert trace["failure_type"] == "system_error"
    assert "`order_size` of the same sign" in trace["message"]
    assert len(run.records(ORDERS)) == len(run.records("liquidations")) + 1
    assert set(positions(run.final_state, ORDERS).values()) == {END}
    (parts,) = slices(run.final_state, "liquidations").values()
    assert parts == [(START, "2026-02-27T01:30:00Z"), ("2026-02-27T02:00:00Z", END)], "its hour is read again"


# Progress.


def test_late_and_changed_orders_arrive_within_the_lookback(connector: Connector, own_sandbox: Sandbox) -> None:
    first = connector.read(config(own_sandbox, "usdt/BTC_USDT"), [ORDERS])
    late = [parse(END) - minutes * MINUTE for minutes in (20, 59)]
    own_sandbox.add_rows("gate", "usdt/BTC_USDT", [order(at) for at in late])
    second = connector.read(config(own_sandbox, "usdt/BTC_USDT"), [ORDERS], state=first.final_state)
    assert second.code == 0, second
    rows = orders(own_sandbox, "usdt/BTC_USDT", start="2026-02-27T05:00:00Z")
    same(second.records(), rows, ["liquidation_id"])
    assert {iso(at, 3) for at in late} <= {row["time"] for row in second.records()}


@pytest.mark.parametrize("interval", ["5m", "1h", "1d"])
def test_an_open_interval_is_read_again(interval: str, connector: Connector, own_sandbox: Sandbox) -> None:
    made = config(own_sandbox, "usdt/BTC_USDT", end=None, lookback_window="PT0S")
    made["gate"]["interval"] = interval
    rows: dict[Any, Any] = {}
    state: Any = []
    for now in ("2026-02-27T10:32:00Z", "2026-02-27T11:11:00Z", "2026-02-28T10:59:59Z"):
        own_sandbox.set_now(now)
        run = connector.read(made | {"end_date": now}, [STATS], state=state)
        assert run.code == 0, run
        rows |= {row["timestamp"]: row for row in run.records()}
        state = run.final_state
        assert all(position <= now for position in positions(state, STATS).values())
    market = "contract_stats/usdt/BTC_USDT"
    sent = own_sandbox.expected("gate", market, parse(START), parse(now), interval=interval)
    assert [(at, row["long_liq_size"]) for at, row in sorted(rows.items())] == [
        (row["time"], row["long_liq_size"]) for row in sent
    ]


def test_days_that_begin_at_another_hour(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=500, limits=False, gate_stats_day_hour=16) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", start="2026-02-20T00:00:00Z", end=None, end_date=NOW)
        made["gate"]["interval"] = "1d"
        run = connector.read(made, [STATS])
        assert run.code == 0, run
        assert [row["time"][:13] for row in run.records()] == [f"2026-02-{day}T16" for day in range(20, 29)]
        assert set(positions(run.final_state, STATS).values()) == {"2026-02-28T16:00:00Z"}


# History.


def test_orders_of_a_long_time_ago_cost_no_request(connector: Connector) -> None:
    now = time.time_ns() // NS * NS
    with Sandbox(seed=1, now=iso(now, 0), rows_per_day=40, limits=False, gate_event_days=93) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", start=iso(now - 400 * DAY, 0), end=iso(now - 60 * DAY, 0))
        run = connector.read(made, [ORDERS, "liquidation_coverage"])
        assert run.code == 0, run
        requests = calls(sandbox)
        assert 40 * 24 <= len(requests) <= 40 * 24 + 2
        assert min(int(request.params["from"]) for request in requests) >= (now - 100 * DAY) // NS - 1
        rows = sandbox.expected("gate", "usdt/BTC_USDT", now - 400 * DAY, now - 60 * DAY)
        assert rows
        assert len(run.records(ORDERS)) == len(rows), "older than 90 days, there may be some"
        said = [log for log in run.logs if "the vendor keeps all rows only since" in log]
        assert len(said) == 1
        assert said[0].endswith(". Older ones may be deleted.")
        assert f"{ORDERS}: gate: the vendor keeps" in said[0], "the sums have another history"
        periods = {(p["kind"], p["market"]): p for p in run.records("liquidation_coverage") if p["period_end"]}
        assert set(periods) == {("missing", "BTC_USDT"), ("under_reported", "BTC_USDT")}
        assert {p["period_start"] for p in periods.values()} == {iso(now - 400 * DAY, 0)}
        gone = parse(periods["missing", "BTC_USDT"]["period_end"])
        doubtful = parse(periods["under_reported", "BTC_USDT"]["period_end"])
        assert abs(gone - (now - 100 * DAY)) < HOUR
        assert abs(doubtful - (now - 90 * DAY)) < HOUR


def test_an_old_window_that_is_refused_is_empty(connector: Connector) -> None:
    now = time.time_ns() // NS * NS
    with Sandbox(seed=1, now=iso(now, 0), rows_per_day=400, limits=False, gate_old_windows="refuse") as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", start=iso(now - 92 * DAY, 0), end=iso(now - 88 * DAY, 0))
        run = connector.read(made, [ORDERS])
        assert run.code == 0, run
        assert {request.status for request in calls(sandbox)} == {200, 400}
        # The start of the history advances with the sandbox's clock; a window across it is refused as a whole.
        rows = GATE_ORDERS.expected(sandbox, "usdt/BTC_USDT", now - 90 * DAY + HOUR, now - 88 * DAY)
        assert rows
        same([row for row in run.records() if row["timestamp"] * NS >= now - 90 * DAY + HOUR], rows, ["liquidation_id"])
        sandbox.fault(
            "status",
            vendor="gate",
            path_contains="/liq_orders",
            status=400,
            body='{"label": "INVALID_PARAM_VALUE", "message": "range from/to must in 1 hour"}',
            times=None,
        )
        newer = config(sandbox, "usdt/BTC_USDT", start=iso(now - DAY, 0), end=iso(now - 20 * HOUR, 0))
        refused = connector.read(newer, [ORDERS])
        assert refused.code == 1, "of a newer one, nothing is assumed"
        assert "range from/to must in 1 hour" in refused.traces[0]["message"]


def test_sums_begin_where_their_history_does(connector: Connector) -> None:
    now = time.time_ns() // NS * NS
    with Sandbox(seed=1, now=iso(now, 0), rows_per_day=40, limits=False) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", start=iso(now - 400 * DAY, 0), end=iso(now - DAY, 0))
        run = connector.read(made, [STATS, "liquidation_coverage"])
        assert run.code == 0, run
        requests = calls(sandbox, "contract_stats")
        assert {request.status for request in requests} == {200}
        assert len(requests) <= 6
        first = int(requests[0].params["from"]) * NS
        assert 0 <= first - (now - 179 * DAY) <= 2 * HOUR
        (gone,) = [p for p in run.records("liquidation_coverage") if p["kind"] == "missing"]
        assert gone["market"] == "contract_stats/BTC_USDT"
        assert parse(gone["period_start"]) // HOUR == (now - 400 * DAY) // HOUR
        assert parse(gone["period_end"]) == first


def test_with_a_wrong_clock_the_start_of_the_history_is_found(connector: Connector, sandbox: Sandbox) -> None:
    """The vendor's clock is months behind; its refusals show where the history starts."""
    start, now = parse(NOW) - 200 * DAY, parse(NOW)
    run = connector.read(config(sandbox, "usdt/BTC_USDT", start=iso(start, 0), end=NOW), [STATS])
    assert run.code == 0, run
    market = "contract_stats/usdt/BTC_USDT"
    rows = sandbox.expected("gate", market, now - 180 * DAY + 2 * HOUR, now, interval="1h")
    assert {row["time"] for row in rows} <= {row["timestamp"] for row in run.records()}
    assert sum(request.status == 400 for request in calls(sandbox, "contract_stats")) < 20


def test_a_period_entirely_before_the_history_is_not_a_failure(connector: Connector, sandbox: Sandbox) -> None:
    start, end = parse(NOW) - 300 * DAY, parse(NOW) - 250 * DAY
    run = connector.read(config(sandbox, "usdt/BTC_USDT", start=iso(start, 0), end=iso(end, 0)), [STATS])
    assert run.code == 0, run
    assert not run.records()
    assert [log for log in run.logs if "Older data are not read" in log]
    assert len(calls(sandbox, "contract_stats")) < 15


def test_the_current_second_is_not_read(connector: Connector) -> None:
    now = time.time_ns() // NS * NS
    with Sandbox(seed=1, now=iso(now + DAY, 0), rows_per_day=400, limits=False) as sandbox:
        run = connector.read(config(sandbox, "usdt/BTC_USDT", start=iso(now - HOUR, 0), end=None), [ORDERS])
        assert run.code == 0, run
        last = calls(sandbox)[-1]
        assert int(last.params["to"]) + 1 <= last.time
        (position,) = positions(run.final_state, ORDERS).values()
        assert parse(position) <= (int(last.params["to"]) + 1) * NS
        assert not [log for log in run.logs if "outside the requested time" in log]


# Limits and errors.


def test_the_limit_of_each_call_is_kept_and_used(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=100) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", "usdt/ETH_USDT", start="2026-02-24T00:00:00Z", end="2026-03-01")
        del made["gate"]["requests_per_minute"]
        run = connector.read(made | {"num_workers": 8}, [ORDERS, STATS])
        assert run.code == 0, run
        requests = calls(sandbox)
        assert len({request.target for request in requests}) == 240
        assert {request.status for request in sandbox.requests("gate")} == {200}
        began = sorted(request.time for request in requests)
        assert all(later - earlier > 10.0 for earlier, later in zip(began, began[200:], strict=False))
        assert all(later - earlier > 8.0 for earlier, later in zip(began, began[100:], strict=False))
        assert began[-1] - began[0] < 60


def test_a_limit_of_a_minute_is_not_spent_in_ten_seconds(connector: Connector) -> None:
    """A limit a minute below the documented one never allows more than the vendor's limit of ten seconds."""
    with Sandbox(seed=1, now=NOW, rows_per_day=100, tiny_markets=230) as sandbox:
        made = config(sandbox, "usdt/T0*", num_workers=16)
        made["gate"]["requests_per_minute"] = 900
        run = connector.read(made, [STATS])
        assert run.code == 0, run
        assert len(calls(sandbox, "contract_stats")) == 230
        assert {request.status for request in sandbox.requests("gate")} == {200}


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize("label", ["TOO_MANY_REQUESTS", "TOO_FAST"])
def test_a_limit_is_waited_out_until_its_reset(label: str, unit: str, connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, limits=False, gate_rate_label=label, gate_reset_unit=unit) as sandbox:
        sandbox.fault("status", vendor="gate", path_contains="/liq_orders", status=429, times=1)
        run = connector.read(config(sandbox, "usdt/BTC_USDT"), [ORDERS])
        assert run.code == 0, run
        refused, again = calls(sandbox)[:2]
        assert (refused.status, refused.query) == (429, again.query)
        assert 1.0 <= again.time - refused.time < 10


def test_a_rate_limit_with_only_a_label_is_waited_out(connector: Connector, sandbox: Sandbox) -> None:
    body = '{"label": "TOO_FAST", "detail": "slow down"}'
    sandbox.fault("status", vendor="gate", path_contains="/liq_orders", status=400, body=body, times=2)
    run = connector.read(config(sandbox, "usdt/BTC_USDT"), [ORDERS])
    assert run.code == 0, run
    assert [request.status for request in calls(sandbox)][:3] == [400, 400, 200]


def test_an_error_with_status_200_is_retried_and_reported(connector: Connector, sandbox: Sandbox) -> None:
    for times, code in ((2, 0), (None, 1)):
        sandbox.clear()
        for case in (GATE_ORDERS, GATE_STATS):
            sandbox.fault("error_in_200", vendor="gate", path_contains=case.path, times=times, message="out to lunch")
        run = connector.read(config(sandbox, "usdt/BTC_USDT"), [ORDERS, STATS], patience="0.005")
        assert run.code == code, run
        for trace in run.traces:
            assert trace["failure_type"] == "transient_error"
            assert "a 200 with an error: INTERNAL: out to lunch" in trace["message"], trace["message"]


def test_an_endpoint_that_now_needs_a_key_is_not_a_missing_setting(connector: Connector, sandbox: Sandbox) -> None:
    body = '{"label": "MISSING_REQUIRED_HEADER", "message": "Missing required header: KEY"}'
    sandbox.fault("status", vendor="gate", path_contains="/liq_orders", status=400, body=body, times=None)
    made = config(sandbox)
    run = connector.read(made, [ORDERS, STATS])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["stream"]["name"] == ORDERS
    assert trace["failure_type"] == "system_error"
    assert "has closed this call" in trace["message"]
    assert "None of your settings is missing" in trace["message"]
    assert len(calls(sandbox)) == 1, "not tried for every contract"
    assert "has closed this call" in connector.check(made).status["message"]


def test_a_page_of_sums_that_does_not_advance(connector: Connector) -> None:
    with Sandbox(seed=1, now=NOW, rows_per_day=300, limits=False) as sandbox:
        made = config(sandbox, "usdt/BTC_USDT", start="2026-02-25T00:00:00Z", end=None, end_date=NOW)
        made["gate"]["interval"] = "1m"
        sandbox.fault("repeat_token", vendor="gate", path_contains="/contract_stats", after=1, times=None)
        run = connector.read(made, [STATS])
        assert run.code == 1
        (trace,) = run.traces
        assert trace["failure_type"] == "system_error"
        assert "a page repeats its page token; the sync would never end" in trace["message"]
        assert len(calls(sandbox, "contract_stats")) == 2
        sandbox.app.faults.clear()
        again = connector.read(made, [STATS], state=run.final_state)
        expected = sandbox.expected(
            "gate", "contract_stats/usdt/BTC_USDT", parse("2026-02-25"), parse(NOW), interval="1m"
        )
        times = {row["timestamp"] for row in run.records() + again.records()}
        assert times == {row["time"] for row in expected}


def test_a_sum_with_two_values_is_refused(connector: Connector, sandbox: Sandbox) -> None:
    one = {"time": seconds(START), "long_liq_usd": 1}
    sandbox.serve("gate", "/api/v4/futures/usdt/contract_stats", [[one, one | {"long_liq_usd": 2}]])
    run = connector.read(config(sandbox, "usdt/BTC_USDT"), [STATS])
    assert run.code == 1
    assert run.traces[0]["failure_type"] == "system_error"
    assert "twice with different values" in run.traces[0]["message"]


def test_without_the_list_of_contracts_amounts_have_no_coins(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="gate", path_contains="/contracts", status=500, times=None)
    run = connector.read(config(sandbox, "usdt/BTC_USDT"), ["liquidations"], patience="0.005")
    assert run.code == 0, run
    assert run.records()
    assert {(row["amount_base"], row["notional_usd"]) for row in run.records()} == {(None, None)}
    assert any("amount_base and notional_usd are null" in log for log in run.logs)


# Check and estimate.


def test_check_requests_each_list_and_one_second(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.check(config(sandbox))
    assert run.status["status"] == "SUCCEEDED"
    by_path = Counter(request.path.rpartition("/futures/")[2] for request in sandbox.requests("gate"))
    assert by_path == {"usdt/contracts": 1, "btc/contracts": 1, "usdt/liq_orders": 1, "usdt/contract_stats": 1}


@pytest.mark.parametrize("path", ["/contracts", "/liq_orders", "/contract_stats"])
def test_a_refused_address_is_not_the_fault_of_a_key(path: str, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="gate", path_contains=path, status=403, times=None)
    status = connector.check(config(sandbox, "usdt/BTC_USDT")).status
    assert status["status"] == "FAILED"
    assert "HTTP 403" in status["message"]
    assert "needs no key" in status["message"]
    assert "api_key" not in status["message"]


def test_check_says_how_far_the_history_reaches(connector: Connector, sandbox: Sandbox) -> None:
    status = connector.check(config(sandbox, start="2020-01-01")).status
    assert status["status"] == "SUCCEEDED"
    for words in ("liquidation orders reach back to", "contract_stats reach back to", "start_date is 2020-01-01"):
        assert words in status["message"]
    recent = connector.check(config(sandbox, start="P30D", end=None)).status
    assert recent == {"status": "SUCCEEDED"}


def test_a_delisted_contract_can_be_named(connector: Connector) -> None:
    """It is in no list, but its orders are kept as long as others'."""
    with Sandbox(seed=1, now="2026-10-20T00:00:00Z", rows_per_day=3_000, limits=False) as sandbox:
        start, end = "2026-10-14T00:00:00Z", "2026-10-16T00:00:00Z"
        made = config(sandbox, "usdt/EOS_USDT", start=start, end=end)
        assert connector.check(made).status["status"] == "SUCCEEDED"
        run = connector.read(made, [ORDERS, "liquidations"])
        assert run.code == 0, run
        rows = orders(sandbox, "usdt/EOS_USDT", start=start, end=end)
        assert rows
        same(run.records(ORDERS), rows, ["liquidation_id"])
        assert {row["amount_base"] for row in run.records("liquidations")} == {None}, "the list does not say"


def test_the_estimate_counts_windows_and_pages(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, "usdt/BTC_USDT", "usdt/ETH_USDT", start="P90D", end=None)
    del made["gate"]["requests_per_minute"]
    estimates = estimated(connector.start(["estimate", "--config", connector.file(made), "--json"]).collect())
    assert (estimates[ORDERS]["requests"], estimates[ORDERS]["seconds"]) == (2 * 90 * 24, 432.0)
    assert estimates[STATS]["rows"] in range(2 * 90 * 24, 2 * 90 * 24 + 5)
    assert estimates[STATS]["requests"] in (5, 6)
    assert sandbox.requests() == []


def estimated(run: Run) -> dict[str, Any]:
    estimates = json.loads(run.out.splitlines()[-1])["estimates"]
    return {estimate["streams"][0]: estimate for estimate in estimates}


def test_a_crowded_hour_can_be_sampled(connector: Connector) -> None:
    now = time.time_ns() // HOUR * HOUR
    with Sandbox(seed=2, now=iso(now, 0), rows_per_day=90_000, limits=False) as sandbox:
        start, end = iso(now - 6 * HOUR, 0), iso(now, 0)
        made = config(sandbox, "usdt/*", start=start, end=end)
        run = connector.start(["estimate", "--config", connector.file(made), "--json", "--sample"]).collect()
        rows = len(orders(sandbox, "usdt", start=start, end=end))
        assert max(request.rows for request in calls(sandbox)) == 1_000
        assert rows * 0.3 < estimated(run)[ORDERS]["rows"] < rows * 3
