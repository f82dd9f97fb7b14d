"""Kiyotaka's documented rules, one by one, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.times import NS, instant_of

HOUR = 3600
FROM = instant_of("2026-11-20T00:00:00Z") // NS


def values(series: dict[str, Any]) -> list[tuple[int, float]]:
    return [(p["Point"]["timestamp"]["s"], p["Point"].get("liquidations", 0)) for p in series["points"]]


def test_two_series_a_symbol(shared: Any) -> None:
    series = shared.points(**{"from": FROM, "period": 3 * HOUR}).json()["series"]
    assert [entry["id"]["side"] for entry in series] == ["SELL", "BUY"]
    assert series[0]["id"] == {
        "type": "LIQUIDATION_AGG",
        "exchange": "BYBIT",
        "rawSymbol": "BTCUSDT",
        "normalizedSymbol": "BTC-USDT",
        "category": "PERPETUAL",
        "interval": "HOUR",
        "side": "SELL",
        "coin": "BTC",
    }
    assert [stamp for stamp, _ in values(series[0])] == [FROM, FROM + HOUR, FROM + 2 * HOUR]


def test_buy_is_liquidated_longs(shared: Any) -> None:
    series = {s["id"]["side"]: s for s in shared.points(**{"from": FROM, "period": HOUR}).json()["series"]}
    events = shared.sandbox.expected("kaiko", "bbit/perpetual-future/btc-usdt", FROM * NS, (FROM + HOUR) * NS)
    for side, held in (("BUY", "long"), ("SELL", "short")):
        total = sum(event["amount"] for event in events if event["position_side"] == held)
        assert values(series[side])[0][1] == pytest.approx(total)


def test_usd(shared: Any) -> None:
    query = {"from": FROM, "period": HOUR, "transform__normalize__quote": "USD"}
    series = {s["id"]["side"]: s for s in shared.points(**query).json()["series"]}
    events = shared.sandbox.expected("kaiko", "bbit/perpetual-future/btc-usdt", FROM * NS, (FROM + HOUR) * NS)
    total = sum(event["amount_usd"] for event in events if event["position_side"] == "long")
    assert values(series["BUY"])[0][1] == pytest.approx(total)


def test_the_window_is_half_open_and_points_are_aligned(shared: Any) -> None:
    series = shared.points(**{"from": FROM + 1, "period": 2 * HOUR}).json()["series"]
    assert [stamp for stamp, _ in values(series[0])] == [FROM + HOUR, FROM + 2 * HOUR]
    series = shared.points(**{"from": FROM, "period": HOUR}).json()["series"]
    assert [stamp for stamp, _ in values(series[0])] == [FROM]


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("MINUTE", 60), ("FIVE_MINUTES", 300), ("FIFTEEN_MINUTES", 900), ("HOUR", 3600), ("FOUR_HOURS", 14400)],
)
def test_intervals_add_up_to_a_day(shared: Any, interval: str, seconds: int) -> None:
    fine = shared.points(interval=interval, **{"from": FROM, "period": 86400}).json()["series"]
    day = shared.points(interval="DAY", **{"from": FROM, "period": 86400}).json()["series"]
    assert len(fine[0]["points"]) == 86400 // seconds
    for one, other in zip(fine, day, strict=True):
        assert sum(value for _, value in values(one)) == pytest.approx(values(other)[0][1])


def test_weeks_begin_on_mondays(shared: Any) -> None:
    monday = instant_of("2026-11-09T00:00:00Z") // NS
    series = shared.points(interval="WEEK", **{"from": monday - 86400, "period": 86400 * 7}).json()["series"]
    assert [stamp for stamp, _ in values(series[0])] == [monday]


def test_zeros_are_left_out(shared: Any) -> None:
    query = {"exchange": "BITMEX", "rawSymbol": "XBTUSD", "interval": "MINUTE", "from": FROM, "period": HOUR}
    points = [p["Point"] for s in shared.points(**query).json()["series"] for p in s["points"]]
    assert any("liquidations" not in point for point in points)
    assert all(point.get("liquidations") != 0 for point in points)
    assert len(points) == 120


def test_the_open_bucket_is_partial_and_grows(make: Any) -> None:
    api = make()
    start = instant_of("2026-11-21T02:00:00Z") // NS
    before = api.points(**{"from": start, "period": 7200}).json()["series"]
    api.sandbox.advance(900)
    after = api.points(**{"from": start, "period": 7200}).json()["series"]
    assert len(before[0]["points"]) == len(after[0]["points"]) == 1
    totals = [sum(value for s in found for _, value in values(s)) for found in (before, after)]
    assert totals[0] < totals[1]


def test_descending(shared: Any) -> None:
    query = {"from": FROM, "period": 3 * HOUR}
    up = shared.points(**query).json()["series"]
    down = shared.points(sortDirection="SORT_DIRECTION_DESC", **query).json()["series"]
    assert values(down[0]) == values(up[0])[::-1]


def test_a_coin_on_several_exchanges(shared: Any) -> None:
    query = {"exchange": ["BYBIT", "OKEX_SWAP"], "rawSymbol": None, "coin": "BTC", "from": FROM, "period": HOUR}
    series = shared.points(**query).json()["series"]
    assert [(s["id"]["exchange"], s["id"]["rawSymbol"]) for s in series[::2]] == [
        ("BYBIT", "BTCUSDT"),
        ("OKEX_SWAP", "BTC-USDT-SWAP"),
    ]
    grouped = shared.points(transform__groupBy__type="GROUP_BY_TYPE_SUM", **query).json()["series"]
    assert [s["id"] for s in grouped] == [
        {"type": "LIQUIDATION_AGG", "interval": "HOUR", "side": side, "coin": "BTC"} for side in ("SELL", "BUY")
    ]
    for n in (0, 1):
        total = values(series[n])[0][1] + values(series[n + 2])[0][1]
        assert values(grouped[n])[0][1] == pytest.approx(total)


def test_too_many_points(make: Any) -> None:
    api = make(kiyotaka_max_points=48)
    assert api.points(**{"from": FROM, "period": 24 * HOUR}).status_code == 200
    answer = api.points(**{"from": FROM, "period": 25 * HOUR})
    assert answer.status_code == 403
    assert answer.json()["message"] == "Point count exceeded"


def test_the_most_points_are_100000_over_all_series(shared: Any) -> None:
    query = {"exchange": "BITFINEX_DERIVATIVES", "rawSymbol": "ETHF0:USTF0", "interval": "MINUTE"}
    refused = shared.points(**query, **{"from": FROM - 60 * 50_000, "period": 60 * 50_001})
    assert refused.status_code == 403
    assert "Point count exceeded" in refused.json()["message"]
    assert shared.sandbox.world.options.kiyotaka_max_points == 100_000


@pytest.mark.parametrize(("plan", "days"), [("free", 7), ("basic", 30), ("standard", 90), ("advanced", 365)])
def test_history_by_plan(shared: Any, plan: str, days: int) -> None:
    oldest = instant_of("2026-11-21T02:30:00Z") // NS - days * 86400
    query = {"exchange": "BITFINEX_DERIVATIVES", "rawSymbol": "ETHF0:USTF0", "period": HOUR}
    assert shared.points(plan, **query, **{"from": oldest}).status_code == 200
    answer = shared.points(plan, **query, **{"from": oldest - 2 * HOUR})
    assert answer.status_code == 403
    assert str(days) in answer.json()["message"]


def test_aggregation_needs_advanced(shared: Any) -> None:
    query = {"exchange": ["BYBIT", "OKEX_SWAP"], "rawSymbol": None, "coin": "BTC", "from": FROM, "period": HOUR}
    query["transform__groupBy__type"] = "GROUP_BY_TYPE_SUM"
    assert shared.points("standard", **query).status_code == 403
    assert shared.points("advanced", **query).status_code == 200
    assert shared.points("standard", **{**query, "exchange": "BYBIT"}).status_code == 200


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"type": "TRADE_AGG"}, "INVALID_PARAMS"),
        ({"exchange": "bybit"}, "INVALID_EXCHANGE"),
        ({"exchange": None}, "INVALID_PARAMS"),
        ({"rawSymbol": "NOPE"}, "INVALID_SYMBOL"),
        ({"rawSymbol": None}, "INVALID_PARAMS"),
        ({"coin": "BTC"}, "INVALID_PARAMS"),
        ({"rawSymbol": None, "coin": "NOPE"}, "INVALID_SYMBOL"),
        ({"interval": "1h"}, "INVALID_TIMEFRAME"),
        ({"from": "x"}, "INVALID_PARAMS"),
        ({"period": None}, "INVALID_PARAMS"),
        ({"period": "0"}, "INVALID_PARAMS"),
        ({"sortDirection": "ASC"}, "INVALID_PARAMS"),
        ({"transform__normalize__quote": "EUR"}, "INVALID_PARAMS"),
        ({"transform__groupBy__type": "GROUP_BY_TYPE_SUM"}, "INVALID_PARAMS"),
        ({"limit": "5"}, "INVALID_PARAMS"),
    ],
)
def test_bad_parameters(shared: Any, changed: dict[str, Any], code: str) -> None:
    answer = shared.points(**{"from": FROM, "period": HOUR, **changed})
    assert (answer.status_code, answer.json()["error"]) == (400, code)


def test_keys_and_headers_of_both_platforms(shared: Any) -> None:
    assert shared.points("nope", **{"from": FROM, "period": HOUR}).json()["error"] == "INVALID_API_KEY"
    query = {"type": "LIQUIDATION_AGG", "exchange": "BYBIT", "rawSymbol": "BTCUSDT", "interval": "HOUR"}
    query.update({"from": FROM, "period": HOUR})
    key = "sandbox-kiyotaka-key"
    assert shared.get("/openmarket/v1/points", query, {"X-OpenMarket-Key": key}).status_code == 200
    assert shared.get("/openmarket/v1/points", query, {"X-Kiyotaka-Key": key}).status_code == 401
    assert shared.get("/kiyotaka/v1/points", query, {"X-OpenMarket-Key": key}).status_code == 401


def test_a_request_weighs_by_its_points_and_the_exchanges_that_it_sums(make: Any) -> None:
    api = make(limits=True)
    hours = {"from": FROM, "period": 1_500 * HOUR}  # of two series: 3,000 points
    assert [api.points("free", **hours).status_code for _ in range(7)] == [200] * 6 + [429], "20 at once"
    api = make(limits=True)
    summed = {"rawSymbol": None, "coin": "BTC", "transform__groupBy__type": "GROUP_BY_TYPE_SUM"}
    assert [api.points("free", **hours | summed).status_code for _ in range(6)] == [200] * 5 + [429], "3.6 each"


def test_rates_by_plan(make: Any) -> None:
    api = make(limits=True)
    query = {"from": FROM, "period": HOUR}
    assert [api.points("free", **query).status_code for _ in range(11)] == [200] * 10 + [429]
    answer = api.points("free", **query)
    assert answer.json()["error"] == "RATE_LIMITED"
    assert answer.json()["retry_after"] == int(answer.headers["Retry-After"]) >= 1
    assert api.points("basic", **query).status_code == 200


class TestMarkets:
    def markets(self, api: Any, **params: Any) -> dict[str, Any]:
        answer = api.get("/kiyotaka/v1/markets", params, {"X-Kiyotaka-Key": "sandbox-kiyotaka-key"})
        assert answer.status_code == 200
        return answer.json()  # type: ignore[no-any-return]

    def test_pages(self, shared: Any) -> None:
        rows: list[dict[str, Any]] = []
        body: dict[str, Any] = {"nextOffset": 0}
        while "nextOffset" in body:
            body = self.markets(shared, pageSize=10, pageOffset=body["nextOffset"], type="LIQUIDATION_AGG")
            rows += body["symbols"]
        assert len({(row["exchange"], row["rawSymbol"]) for row in rows}) == len(rows) == 23
        assert set(rows[0]) == {"exchange", "rawSymbol", "normalizedSymbol", "coin", "category", "availableSince"}

    def test_filters(self, shared: Any) -> None:
        assert {r["exchange"] for r in self.markets(shared, exchange="BYBIT")["symbols"]} == {"BYBIT"}
        assert {r["coin"] for r in self.markets(shared, coin="SOL")["symbols"]} == {"SOL"}
        assert {r["category"] for r in self.markets(shared, category="FUTURE")["symbols"]} == {"FUTURE"}
        assert {r["category"] for r in self.markets(shared)["symbols"]} == {"FUTURE", "PERPETUAL", "SPOT"}

    def test_a_page_is_at_most_100(self, shared: Any) -> None:
        answer = shared.get("/kiyotaka/v1/markets", {"pageSize": 101}, {"X-Kiyotaka-Key": "sandbox-kiyotaka-key"})
        assert answer.json()["error"] == "INVALID_PARAMS"


def test_added_rows_change_a_bucket(make: Any) -> None:
    api = make()
    query = {"from": FROM, "period": HOUR}
    before = {s["id"]["side"]: values(s)[0][1] for s in api.points(**query).json()["series"]}
    late = {"side": "BUY", "timestamp": FROM + 5, "liquidations": 2.5}
    api.sandbox.add_rows("kiyotaka", "BYBIT/BTCUSDT", [late])
    after = {s["id"]["side"]: values(s)[0][1] for s in api.points(**query).json()["series"]}
    assert after["BUY"] == pytest.approx(before["BUY"] + 2.5)
    assert after["SELL"] == before["SELL"]
