"""Kiyotaka through the command line: symbols, sums, windows, wildcards, platforms, open buckets."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import pytest
from cases import KIYOTAKA, Row, same
from harness import Connector, Run, positions

from sandbox import Sandbox
from sandbox.app import Recorded
from sandbox.times import iso, parse

STREAM = KIYOTAKA.stream
NOW = "2026-03-01T12:30:00Z"
START, END = "2026-02-26T00:00:00Z", "2026-03-01T00:00:00Z"
KEY = KIYOTAKA.key
SECONDS = {
    "MINUTE": 60,
    "FIVE_MINUTES": 300,
    "FIFTEEN_MINUTES": 900,
    "HOUR": 3600,
    "FOUR_HOURS": 14_400,
    "DAY": 86_400,
    "WEEK": 604_800,
}


def kiyotaka_sandbox(**options: Any) -> Sandbox:
    return Sandbox(**{"seed": 4, "now": NOW, "rows_per_day": 500, "limits": False, **options})


def config_of(sandbox: Sandbox, start: str = START, end: str | None = END, **section: Any) -> dict[str, Any]:
    """Only what `section` names is read."""
    config = KIYOTAKA.config(sandbox, start, end)
    for name in ("symbols", "coins", "coin_exchanges"):
        del config["kiyotaka"][name]
    config["kiyotaka"] |= section
    return config


def points(sandbox: Sandbox) -> list[Recorded]:
    return [request for request in sandbox.requests("kiyotaka") if request.path == "/v1/points"]


def rows_of(
    sandbox: Sandbox, market: str, start: str, end: str, interval: str = "HOUR", denomination: str = "coin"
) -> list[Row]:
    """`EXCHANGE/rawSymbol`, or `EXCHANGE+EXCHANGE/coin`: the sandbox's series in the contract's form."""
    found = []
    for series in sandbox.expected(
        "kiyotaka", market, parse(start), parse(end), interval=interval, denomination=denomination
    ):
        sent = series["id"]
        names = {
            "type": "LIQUIDATION_AGG",
            "exchange": sent.get("exchange", ""),
            "raw_symbol": sent.get("rawSymbol", ""),
            "normalized_symbol": sent.get("normalizedSymbol"),
            "category": sent.get("category", ""),
            "interval": interval,
            "side": sent["side"],
            "coin": sent["coin"],
            "denomination": denomination,
        }
        for point in series["points"]:
            seconds = point["Point"]["timestamp"]["s"]
            amount = point["Point"].get("liquidations", 0)
            found.append({**names, "liquidations": amount, "timestamp": seconds, "time": iso(seconds * 10**9, 3)})
    return found


def failed(run: Run, failure_type: str, *words: str) -> str:
    assert run.code == 1, run
    (trace,) = run.traces
    assert trace["failure_type"] == failure_type, trace
    for word in (STREAM, "kiyotaka", *words):
        assert word in trace["message"], trace["message"]
    return str(trace["message"])


# Rows.


@pytest.mark.parametrize("denomination", ["coin", "usd"])
@pytest.mark.parametrize("platform", ["kiyotaka", "openmarket"])
def test_symbols_and_sums(denomination: str, platform: str, connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        config = config_of(
            sandbox,
            symbols=["BYBIT/BTCUSDT", "OKEX_SWAP/BTC-USDT-SWAP"],
            coins=["BTC", "ETH"],
            coin_exchanges=["OKEX_SWAP", "BYBIT"],
            denomination=denomination,
            platform=platform,
            base_url=f"{sandbox.url}/{platform}",
        )
        run = connector.read(config, [STREAM], script=platform == "openmarket" and denomination == "usd")
        assert run.code == 0, run
        markets = ("BYBIT/BTCUSDT", "OKEX_SWAP/BTC-USDT-SWAP", "BYBIT+OKEX_SWAP/BTC", "BYBIT+OKEX_SWAP/ETH")
        expected = [row for market in markets for row in rows_of(sandbox, market, START, END, "HOUR", denomination)]
        same(run.records(), expected)
        assert len({tuple(row[name] for name in KEY) for row in expected}) == len(expected)
        assert all(row[name] is not None for row in run.records() for name in KEY)
        assert any(row["liquidations"] == 0 for row in run.records()), "zeros, which the vendor leaves out"
        header = {"kiyotaka": "x-kiyotaka-key", "openmarket": "x-openmarket-key"}[platform]
        for request in sandbox.requests():
            assert request.prefix == f"/{platform}"
            assert request.headers[header] == "sandbox-kiyotaka-key"
            assert sum("sandbox-kiyotaka-key" in value for value in request.headers.values()) == 1
            assert "sandbox-kiyotaka" not in request.target
            assert request.params.get("transform.normalize.quote") == ("USD" if denomination == "usd" else None)
        assert b"sandbox-kiyotaka-key" not in run.out + run.err


@pytest.mark.parametrize("interval", list(SECONDS))
def test_every_interval(interval: str, connector: Connector) -> None:
    with kiyotaka_sandbox(rows_per_day=200) as sandbox:
        start, end = ("2025-12-01T00:00:00Z", END) if SECONDS[interval] > 3600 else ("2026-02-28T03:07:00Z", END)
        config = config_of(sandbox, start, end, symbols=["BYBIT/BTCUSDT"], interval=interval)
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        (request,) = points(sandbox)
        since, period = int(request.params["from"]), int(request.params["period"])
        assert since % SECONDS[interval] == period % SECONDS[interval] == 0
        assert since * 10**9 <= parse(start) < (since + SECONDS[interval]) * 10**9
        assert (since + period - SECONDS[interval]) * 10**9 < parse(end) <= (since + period) * 10**9
        asked = iso(since * 10**9, 0), iso((since + period) * 10**9, 0)
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", *asked, interval))


def test_a_sum_is_the_same_in_any_order_of_its_exchanges(connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        names = ["OKEX_SWAP", "BINANCE_FUTURES", "BYBIT"]
        first = connector.read(config_of(sandbox, coins=["BTC"], coin_exchanges=names), [STREAM])
        sandbox.clear()
        config = config_of(sandbox, coins=["BTC"], coin_exchanges=names[::-1])
        second = connector.read(config, [STREAM], state=first.final_state)
        assert first.code == second.code == 0
        (request,) = points(sandbox)
        assert [value for name, value in request.query if name == "exchange"] == sorted(names)
        assert int(request.params["period"]) == 3600, "only what is looked back on"
        assert positions(second.final_state, STREAM) == positions(first.final_state, STREAM)


# Windows.


def bounds(requests: list[Recorded]) -> list[tuple[int, int]]:
    found = [(int(request.params["from"]), int(request.params["period"])) for request in requests]
    return sorted((start, start + period) for start, period in found)


def test_windows_fill_up_to_the_vendors_limit_and_leave_no_gap(connector: Connector) -> None:
    with kiyotaka_sandbox(rows_per_day=5) as sandbox:
        start = "2026-01-20T00:00:00Z"
        config = config_of(sandbox, start, END, symbols=["BINANCE_DELIVERY/BTCUSD_PERP"], interval="MINUTE")
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        asked = bounds(points(sandbox))
        assert [2 * (end - begin) // 60 for begin, end in asked] == [100_000, 2 * 40 * 1440 - 100_000]
        assert all(one[1] == other[0] for one, other in pairwise(asked))
        assert [request.status for request in points(sandbox)] == [200, 200]
        assert len(run.records()) == 2 * 40 * 1440
        assert len({(row["side"], row["timestamp"]) for row in run.records()}) == 2 * 40 * 1440


@pytest.mark.parametrize("most", [2, 50, 143])
def test_a_window_that_is_refused_is_halved(most: int, connector: Connector) -> None:
    with kiyotaka_sandbox(kiyotaka_max_points=most) as sandbox:
        start = "2026-02-27T12:00:00Z" if most == 2 else START
        run = connector.read(config_of(sandbox, start, symbols=["BYBIT/BTCUSDT"]), [STREAM])
        assert run.code == 0, run
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", start, END))
        refused = [request for request in points(sandbox) if request.status == 403]
        read = bounds([request for request in points(sandbox) if request.status == 200])
        assert 1 <= len(refused) <= 7, "and what follows is not refused again"
        assert read[0][0] == parse(start) // 10**9
        assert read[-1][1] == parse(END) // 10**9
        assert all(one[1] == other[0] for one, other in pairwise(read))


def test_a_single_interval_that_is_refused_is_an_error(connector: Connector) -> None:
    with kiyotaka_sandbox(kiyotaka_max_points=1) as sandbox:
        run = connector.read(config_of(sandbox, symbols=["BYBIT/BTCUSDT"]), [STREAM])
        failed(run, "system_error", "exceeded (for the smallest possible window", "longer interval")
        assert len(points(sandbox)) < 10


def test_a_large_query_that_times_out_is_halved(connector: Connector) -> None:
    with kiyotaka_sandbox(rows_per_day=20) as sandbox:
        start = "2025-11-01T00:00:00Z"
        sandbox.fault("status", vendor="kiyotaka", path_contains="/v1/points", status=504, times=4)
        run = connector.read(config_of(sandbox, start, symbols=["BYBIT/BTCUSDT"]), [STREAM], patience="0.05")
        assert run.code == 0, run
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", start, END))
        periods = [int(request.params["period"]) for request in points(sandbox)]
        assert periods == [120 * 86_400] * 2 + [60 * 86_400] * 2 + [30 * 86_400] * 4


@pytest.mark.parametrize(("start", "days", "times"), [("2025-11-01T00:00:00Z", 120, 1), (START, 3, 5)])
def test_one_timeout_or_timeouts_of_a_small_query_halve_no_window(
    start: str, days: int, times: int, connector: Connector
) -> None:
    with kiyotaka_sandbox(rows_per_day=20) as sandbox:
        sandbox.fault("status", vendor="kiyotaka", path_contains="/v1/points", status=504, times=times)
        run = connector.read(config_of(sandbox, start, symbols=["BYBIT/BTCUSDT"]), [STREAM], patience="0.05")
        assert run.code == 0, run
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", start, END))
        assert [int(request.params["period"]) for request in points(sandbox)] == [days * 86_400] * (times + 1)


# Wildcards.


@pytest.mark.parametrize(
    ("patterns", "filters"),
    [
        (["BYBIT/*USDT"], [("exchange", "BYBIT")]),
        (["*/BTCUSDT"], []),
        (["B*/?TCUSDT", "BYBIT/BTCUSDT"], []),
    ],
)
def test_wildcards_are_matched_against_the_list_of_markets(
    patterns: list[str], filters: list[tuple[str, str]], connector: Connector
) -> None:
    with kiyotaka_sandbox(tiny_markets=230, rows_per_day=50) as sandbox:
        start = "2026-02-28T22:00:00Z"
        run = connector.read(config_of(sandbox, start, symbols=patterns), [STREAM])
        assert run.code == 0, run
        lists = [request for request in sandbox.requests("kiyotaka") if request.path == "/v1/markets"]
        assert [request.query for request in lists] == [
            [*filters, ("pageSize", "100"), ("pageOffset", str(offset))] for offset in (0, 100, 200)
        ]
        held = [i for i in sandbox.market.instruments.values() if i.kiyotaka_exchange]
        names = {f"{i.kiyotaka_exchange}/{i.symbol}" for i in held}
        wanted = sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
        assert len(wanted) >= 2
        asked = [f"{request.params['exchange']}/{request.params['rawSymbol']}" for request in points(sandbox)]
        assert sorted(asked) == wanted, "each once, and no spot market"
        same(run.records(), [row for name in wanted for row in rows_of(sandbox, name, start, END)])


# Open buckets.


@pytest.mark.parametrize("interval", ["HOUR", "DAY"])
def test_a_bucket_that_is_still_open_is_read_again(interval: str, connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        step = SECONDS[interval] * 10**9
        section = {"symbols": ["BYBIT/BTCUSDT"], "interval": interval}
        first = connector.read({**config_of(sandbox, START, NOW, **section), "lookback_window": "PT0S"}, [STREAM])
        assert first.code == 0, first
        opened = parse(NOW) - parse(NOW) % step
        assert set(positions(first.final_state, STREAM).values()) == {iso(opened, 0)}
        partial = {row["side"]: row["liquidations"] for row in first.records() if parse(row["time"]) == opened}
        assert set(partial) == {"BUY", "SELL"}
        stamp = opened // 10**9 + 1800
        sandbox.add_rows("kiyotaka", "BYBIT/BTCUSDT", [{"side": "BUY", "timestamp": stamp, "liquidations": 5.0}])
        later = iso(parse(NOW) + step, 0)
        sandbox.set_now(later)
        config = {**config_of(sandbox, START, later, **section), "lookback_window": "PT0S"}
        second = connector.read(config, [STREAM], state=first.final_state)
        assert second.code == 0, second
        again = {row["side"]: row for row in second.records() if parse(row["time"]) == opened}
        assert again["BUY"]["liquidations"] >= partial["BUY"] + 5 - 1e-9
        keys = {tuple(row[name] for name in KEY) for row in first.records()}
        assert tuple(again["BUY"][name] for name in KEY) in keys
        same(second.records(), rows_of(sandbox, "BYBIT/BTCUSDT", iso(opened, 0), later, interval))


# Plans, keys, check.


def test_check_requests_one_interval_of_each_symbol_and_of_a_sum(connector: Connector, sandbox: Sandbox) -> None:
    section = {"symbols": ["BYBIT/BTCUSDT", "BYBIT/ETHUSDT"], "coins": ["ETH", "BTC"], "coin_exchanges": ["BYBIT"]}
    run = connector.check(config_of(sandbox, **section))
    assert run.status == {"status": "SUCCEEDED"}
    assert [
        {name: request.params.get(name) for name in ("exchange", "rawSymbol", "coin", "interval", "period")}
        for request in sandbox.requests()
    ] == [
        {"exchange": "BYBIT", "rawSymbol": "BTCUSDT", "coin": None, "interval": "HOUR", "period": "3600"},
        {"exchange": "BYBIT", "rawSymbol": "ETHUSDT", "coin": None, "interval": "HOUR", "period": "3600"},
        {"exchange": "BYBIT", "rawSymbol": None, "coin": "ETH", "interval": "HOUR", "period": "3600"},
    ]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"api_key": "no-such-key"}, ["`kiyotaka.api_key`", "HTTP 401", "INVALID_API_KEY"]),
        ({"symbols": ["BYBIT/NONESUCH"]}, ["`kiyotaka.symbols[0]`", "HTTP 400", "INVALID_SYMBOL"]),
        ({"symbols": ["BYBIT/BTCUSDT", "BYBIT/NONESUCH"]}, ["`kiyotaka.symbols[1]`", "INVALID_SYMBOL"]),
        ({"symbols": ["NONESUCH/BTCUSDT"]}, ["`kiyotaka.symbols[0]`", "INVALID_EXCHANGE"]),
        (
            {"coins": ["BTC"], "coin_exchanges": ["BYBIT", "DERIBIT"], "api_key": "sandbox-kiyotaka-standard"},
            ["`kiyotaka.coins[0]`", "HTTP 403", "requires the Advanced plan"],
        ),
        ({"coins": ["BTC"]}, ["`kiyotaka.coin_exchanges`", "required"]),
    ],
)
def test_check_says_what_is_wrong(
    section: dict[str, Any], words: list[str], connector: Connector, sandbox: Sandbox
) -> None:
    run = connector.check(config_of(sandbox, **{"symbols": ["BYBIT/BTCUSDT"], **section}))
    assert run.status["status"] == "FAILED"
    for word in ("kiyotaka", *words):
        assert word in run.status["message"], run.status["message"]


def test_history_that_the_plan_does_not_cover(connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        config = config_of(sandbox, "2026-01-01T00:00:00Z", api_key="sandbox-kiyotaka-basic", symbols=["BYBIT/BTCUSDT"])
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        (told,) = [log for log in run.logs if "data reach back to 2026-01-30T" in log]
        assert "History range exceeded: your plan covers 30 days" in told
        oldest = min(row["time"] for row in run.records())
        assert "2026-01-30T11" <= oldest <= "2026-01-30T13"
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", oldest, END))
        assert len(points(sandbox)) <= 13, "halved until the two ends meet"


@pytest.mark.parametrize("before", ["nothing was read", "all was read"])
def test_an_end_before_the_history_is_not_a_failure(before: str, connector: Connector) -> None:
    """The key may read the newest data."""
    with Sandbox(seed=4, rows_per_day=500, limits=False) as sandbox:
        now = sandbox.now()
        start, end = (iso(now - days * 86_400 * 10**9, 0) for days in (60, 40))
        config = config_of(sandbox, start, end, symbols=["BYBIT/BTCUSDT"])
        state = None
        if before == "all was read":
            state = connector.read(config, [STREAM]).final_state
        sandbox.clear()
        config["kiyotaka"]["api_key"] = "sandbox-kiyotaka-basic"
        run = connector.read(config, [STREAM, "liquidation_coverage"], state=state)
        assert run.code == 0, run
        assert run.records(STREAM) == []
        assert [log for log in run.logs if "Older data are not read" in log]
        assert [row for row in run.records("liquidation_coverage") if row["kind"] == "missing"]
        assert len(points(sandbox)) < 15, "halved until nothing is left"


def test_a_plan_without_even_the_newest_day(connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        sandbox.fault("status", vendor="kiyotaka", status=403, message="History range exceeded", times=None)
        run = connector.read(config_of(sandbox, symbols=["BYBIT/BTCUSDT"]), [STREAM])
        failed(run, "config_error", "History range exceeded", "`start_date`", "`kiyotaka.symbols[0]`")


@pytest.mark.parametrize("command", ["check", "read"])
def test_the_newest_interval_is_the_open_one(command: str, connector: Connector) -> None:
    """A plan of seven days covers this week but not the previous one."""
    with Sandbox(seed=4, rows_per_day=100, limits=False) as sandbox:
        now = sandbox.now()
        start, end = (iso(now - days * 86_400 * 10**9, 0) for days in (41, 40))
        config = config_of(
            sandbox, start, end, api_key="sandbox-kiyotaka-free", symbols=["BYBIT/BTCUSDT"], interval="WEEK"
        )
        run = connector.check(config) if command == "check" else connector.read(config, [STREAM])
        assert run.code == 0, run
        granted = [request.params for request in points(sandbox) if request.status == 200]
        assert granted
        assert all(now < (int(asked["from"]) + int(asked["period"])) * 10**9 for asked in granted)


def test_a_sum_that_the_plan_does_not_cover_fails_alone(connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        config = config_of(
            sandbox,
            api_key="sandbox-kiyotaka-standard",
            symbols=["BYBIT/BTCUSDT"],
            coins=["BTC"],
            coin_exchanges=["BYBIT", "OKEX_SWAP"],
        )
        run = connector.read(config, [STREAM])
        failed(run, "config_error", "Advanced plan", "`kiyotaka.coins[0]`")
        same(run.records(), rows_of(sandbox, "BYBIT/BTCUSDT", START, END))


def test_the_weight_is_never_exceeded_although_requests_are_few(connector: Connector) -> None:
    """500 intervals of two series weigh 1, twice that 2; of a sum over two exchanges 1.4 times as much."""
    with kiyotaka_sandbox(limits=True, rows_per_day=10) as sandbox:
        config = config_of(
            sandbox,
            start="2026-01-01T00:00:00Z",
            symbols=["BYBIT/BTCUSDT"],
            coins=["BTC"],
            coin_exchanges=["BYBIT", "OKEX_SWAP"],
            interval="FIVE_MINUTES",
            api_key="sandbox-kiyotaka-advanced",
        )
        del config["kiyotaka"]["requests_per_minute"]
        config["kiyotaka"] |= {"weight_per_minute": 750}
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        assert {request.status for request in sandbox.requests()} == {200}


def test_a_used_up_daily_weight_ends_the_sync_and_the_next_one_continues(connector: Connector) -> None:
    with kiyotaka_sandbox() as sandbox:
        names = ["BYBIT/BTCUSDT", "BYBIT/ETHUSDT", "BYBIT/SOLUSDT"]
        config = config_of(sandbox, symbols=names, weight_per_day=2) | {"lookback_window": "PT0S"}
        first = connector.read(config, [STREAM])
        failed(first, "transient_error", "the request budget is spent", "in 12.2 hours", "a later sync resumes")
        assert len(points(sandbox)) == 2
        assert len(first.records()) == 2 * 2 * 72
        second = connector.read(config, [STREAM], state=first.final_state)
        assert second.code == 0, second
        assert len(points(sandbox)) == 3
        every = [row for name in names for row in rows_of(sandbox, name, START, END)]
        same([*first.records(), *second.records()], every)


def test_a_refused_connection_costs_no_weight(connector: Connector) -> None:
    """Otherwise a short outage would use up the key's weight of a day."""
    with kiyotaka_sandbox() as sandbox:
        config = config_of(sandbox, symbols=["BYBIT/BTCUSDT"], weight_per_day=1)
        config["kiyotaka"]["base_url"] = f"{sandbox.closed_url()}/kiyotaka"
        run = connector.read(config, [STREAM], patience="0.005")
        failed(run, "transient_error", "in 6 tries", "Connection")


def test_a_minutes_worth_of_requests_is_never_exceeded(connector: Connector) -> None:
    with kiyotaka_sandbox(limits=True, rows_per_day=10) as sandbox:
        config = config_of(sandbox, symbols=["BYBIT/BTCUSDT", "BYBIT/ETHUSDT"], api_key="sandbox-kiyotaka-advanced")
        del config["kiyotaka"]["requests_per_minute"]
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        assert {request.status for request in sandbox.requests()} == {200}
