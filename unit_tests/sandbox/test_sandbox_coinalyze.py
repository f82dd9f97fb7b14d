"""Coinalyze's documented and measured rules, one by one, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.coinalyze_points import INTERVALS
from sandbox.times import NS, instant_of, iso, parse
from sandbox.world import Disagreement

NOW = "2026-11-21T02:30:00Z"
FROM = parse("2026-11-20T00:00:00Z") // NS
SPAN = ("2026-11-20T00:00:00Z", "2026-11-20T06:00:00Z")
WINDOW = {"from_": FROM, "to": FROM + 6 * 3600 - 1}
BYBIT, INVERSE, GATE = "BTCUSDT.6", "BTCUSD_PERP.0", "BTCUSDT_PERP.Y"


def at(text: str) -> int:
    return instant_of(text) // NS


def history(api: Any, symbols: str = BYBIT, interval: str = "1hour", **params: Any) -> dict[str, list[dict[str, Any]]]:
    answer = api.coinalyze("liquidation-history", symbols=symbols, interval=interval, **{**WINDOW, **params})
    assert answer.status_code == 200, answer.text
    return {entry["symbol"]: entry["history"] for entry in answer.json()}


def test_points_of_a_market(shared: Any) -> None:
    points = history(shared)[BYBIT]
    assert points == shared.sandbox.expected("coinalyze", BYBIT, *SPAN, interval="1hour")
    assert [point["t"] for point in points] == [FROM + n * 3600 for n in range(6)]
    assert all(set(point) == {"t", "l", "s"} for point in points)


def test_l_is_liquidated_longs(shared: Any) -> None:
    events = shared.sandbox.expected("kaiko", "bbit/perpetual-future/btc-usdt", *SPAN)
    for usd, field in (("false", "amount"), ("true", "amount_usd")):
        points = history(shared, convert_to_usd=usd)[BYBIT]
        for name, held in (("l", "long"), ("s", "short")):
            total = sum(event[field] for event in events if event["position_side"] == held)
            assert sum(point[name] for point in points) == pytest.approx(total)


def test_an_inverse_market_is_counted_in_its_quote_asset(shared: Any) -> None:
    events = shared.sandbox.expected("coin_metrics", "bitmex-XBTUSD-future", *SPAN)
    contracts = sum(int(event["amount"]) for event in events if event["side"] == "sell")
    for usd in ("false", "true"):
        points = history(shared, INVERSE, convert_to_usd=usd)[INVERSE]
        assert sum(point["l"] for point in points) == pytest.approx(contracts)


def test_it_agrees_with_gates_own_sums(shared: Any) -> None:
    for symbol, market in ((GATE, "usdt/BTC_USDT"), ("BTCUSD_PERP.Y", "btc/BTC_USD")):
        rows = shared.sandbox.expected("gate", f"contract_stats/{market}", *SPAN, interval="1h")
        points = {point["t"]: point for point in history(shared, symbol)[symbol]}
        name = "usd" if symbol.startswith("BTCUSD_") else "amount"
        for row in rows:
            point = points.get(row["time"], {"l": 0, "s": 0})
            assert row[f"long_liq_{name}"] == pytest.approx(point["l"])
            assert row[f"short_liq_{name}"] == pytest.approx(point["s"])


@pytest.mark.parametrize("interval", [name for name in INTERVALS if name != "daily"])
def test_intervals_add_up_to_a_day(shared: Any, interval: str) -> None:
    day = {"from_": FROM, "to": FROM + 86399}
    (total,) = history(shared, interval="daily", **day)[BYBIT]
    points = history(shared, interval=interval, **day)[BYBIT]
    assert sum(point["l"] for point in points) == pytest.approx(total["l"])
    assert sum(point["s"] for point in points) == pytest.approx(total["s"])
    assert [point["t"] for point in points] == sorted({point["t"] for point in points})
    assert all(point["t"] * NS % INTERVALS[interval] == 0 for point in points)


def test_only_buckets_with_a_liquidation_have_a_point(shared: Any, make: Any) -> None:
    points = history(shared, INVERSE, "1min")[INVERSE]
    assert 0 < len(points) < 360
    assert all(point["l"] or point["s"] for point in points)
    full = history(make(coinalyze_zero_rows=True), INVERSE, "1min")[INVERSE]
    assert len(full) == 360
    assert [point for point in full if point["l"] or point["s"]] == points


def test_both_bounds_are_inclusive(shared: Any, make: Any) -> None:
    bounds = {"from_": FROM + 3600, "to": FROM + 7200}
    assert [point["t"] for point in history(shared, **bounds)[BYBIT]] == [FROM + 3600, FROM + 7200]
    assert [point["t"] for point in history(shared, from_=FROM + 1, to=FROM + 7199)[BYBIT]] == [FROM + 3600]
    half_open = make(coinalyze_bounds="half_open")
    assert [point["t"] for point in history(half_open, **bounds)[BYBIT]] == [FROM + 3600]


def test_milliseconds_find_nothing(shared: Any, make: Any) -> None:
    query = {"symbols": BYBIT, "interval": "1hour", "from_": FROM * 1000, "to": (FROM + 7200) * 1000}
    for api in (shared, make(coinalyze_empty_series="empty")):
        answer = api.coinalyze("liquidation-history", **query)
        assert (answer.status_code, answer.json()) == (200, [])


def test_unknown_symbols_are_left_out_silently(shared: Any) -> None:
    symbols = [BYBIT, "NOPE_PERP.A", "EOSUSDT_PERP.F", GATE]
    found = history(shared, ",".join(symbols))
    assert set(found) == {BYBIT, GATE}


def test_a_known_market_without_points(make: Any) -> None:
    window = {"from_": at("2018-01-01"), "to": at("2018-02-01")}
    assert history(make(), interval="daily", **window) == {}
    assert history(make(coinalyze_empty_series="empty"), interval="daily", **window) == {BYBIT: []}


def test_the_order_of_the_markets_is_not_that_of_the_request(make: Any) -> None:
    symbols = [BYBIT, GATE, INVERSE, "ETHUSDT.6", "BTCUSDT_PERP.A"]
    assert [*history(make(), ",".join(symbols))] != symbols
    assert [*history(make(coinalyze_order="requested"), ",".join(symbols))] == symbols


def test_the_newest_bucket_is_open_and_a_minute_late(make: Any) -> None:
    api, prompt = make(), make(coinalyze_delay_seconds=0.0)
    window = {"from_": at("2026-11-21T02:00:00Z"), "to": at(NOW), "interval": "1hour"}
    late, full = history(api, **window)[BYBIT], history(prompt, **window)[BYBIT]
    assert len(late) == len(full) == 1
    assert late[0]["l"] + late[0]["s"] <= full[0]["l"] + full[0]["s"]
    minutes = history(api, interval="1min", from_=at("2026-11-21T02:20:00Z"), to=at(NOW))[BYBIT]
    assert max(point["t"] for point in minutes) <= at("2026-11-21T02:29:00Z")
    api.sandbox.advance(60)
    assert history(api, **window)[BYBIT] == full
    api.sandbox.advance(3600)
    grown = history(api, **window)[BYBIT]
    assert grown[0]["l"] + grown[0]["s"] > full[0]["l"] + full[0]["s"]


class TestHistory:
    def test_intraday_points_are_kept_by_number(self, shared: Any) -> None:
        points = history(shared, interval="1min", from_=at("2026-10-01"), to=at(NOW))[BYBIT]
        midnight = at("2026-11-21")
        old = [point for point in points if point["t"] < midnight]
        assert len(old) == 2000
        assert len(points) > 2000
        assert points == shared.sandbox.expected("coinalyze", BYBIT, "2026-10-01", NOW, interval="1min")

    def test_a_sparse_market_reaches_further(self, shared: Any) -> None:
        window = {"interval": "1min", "from_": at("2026-10-01"), "to": at(NOW)}
        dense, sparse = history(shared, **window)[BYBIT], history(shared, INVERSE, **window)[INVERSE]
        assert sparse[0]["t"] < dense[0]["t"]

    def test_points_go_once_a_day(self, make: Any) -> None:
        api = make(coinalyze_points=1500)
        window = {"interval": "1min", "from_": at("2026-10-01"), "to": at("2026-12-01")}
        first = history(api, **window)[BYBIT][0]["t"]
        api.sandbox.advance(20 * 3600)
        assert history(api, **window)[BYBIT][0]["t"] == first
        api.sandbox.advance(2 * 3600)
        points = history(api, **window)[BYBIT]
        assert points[0]["t"] > first
        assert sum(point["t"] < at("2026-11-22") for point in points) == 1500

    def test_few_points_are_all_kept(self, make: Any) -> None:
        points = history(make(tiny_markets=1), "T00001USDT.6", "1min", from_=0, to=at(NOW))["T00001USDT.6"]
        assert 1000 < len(points) < 2000
        assert iso(points[0]["t"] * NS).startswith("2021-0")

    def test_daily_points_are_kept_for_good(self, make: Any) -> None:
        api = make(rows_per_day=200, coinalyze_points=10)
        points = history(api, INVERSE, "daily", from_=0, to=at(NOW))[INVERSE]
        assert iso(points[0]["t"] * NS).startswith("2020-10")
        assert len(points) > 500
        assert len(history(api, INVERSE, "12hour", from_=0, to=at(NOW))[INVERSE]) <= 11


class TestMarkets:
    def test_exchanges(self, shared: Any) -> None:
        rows = shared.coinalyze("exchanges").json()
        assert {"name": "Gate.io", "code": "Y"} in rows
        assert len({row["code"] for row in rows}) == len(rows) == 16

    def test_markets(self, shared: Any) -> None:
        rows = {row["symbol"]: row for row in shared.coinalyze("future-markets").json()}
        codes = {row["code"] for row in shared.coinalyze("exchanges").json()}
        assert {row["exchange"] for row in rows.values()} == {"A", "6", "3", "0", "2", "Y", "4", "F", "K"}
        assert {row["exchange"] for row in rows.values()} <= codes
        assert all(symbol.endswith(f".{row['exchange']}") for symbol, row in rows.items())
        inverse = rows[INVERSE]
        assert (inverse["symbol_on_exchange"], inverse["base_asset"], inverse["quote_asset"]) == (
            "XBTUSD",
            "BTC",
            "USD",
        )
        assert (inverse["margined"], inverse["oi_lq_vol_denominated_in"]) == ("COIN", "QUOTE_ASSET")
        assert rows[BYBIT]["oi_lq_vol_denominated_in"] == "BASE_ASSET"
        dated = rows["BTCUSDT_261225.A"]
        assert (dated["is_perpetual"], dated["expire_at"]) == (False, at("2026-12-25T08:00:00Z"))
        assert rows[GATE]["expire_at"] is None

    def test_what_is_not_there(self, shared: Any) -> None:
        """Delisted markets, margin pairs, paper trading, FTX."""
        names = {row["symbol_on_exchange"] for row in shared.coinalyze("future-markets").json()}
        assert not names & {"EOSF0:USTF0", "EOS_USDT", "BTCUSD", "DOGE:UST", "TESTBTCF0:TESTUSDTF0", "BTC-PERP"}
        assert {"AVAXF0:USTF0", "BTC_USDT", "BTC_USD"} <= names

    def test_a_market_expires(self, make: Any) -> None:
        api = make(now="2026-12-26T00:00:00Z", coinalyze_expire_unit="ms")
        assert "BTCUSDT_261225.A" not in {row["symbol"] for row in api.coinalyze("future-markets").json()}
        early = make(coinalyze_expire_unit="ms")
        rows = {row["symbol"]: row for row in early.coinalyze("future-markets").json()}
        assert rows["BTCUSDT_261225.A"]["expire_at"] == at("2026-12-25T08:00:00Z") * 1000

    def test_a_linear_market_may_be_counted_in_the_quote_asset(self, make: Any, shared: Any) -> None:
        api = make(coinalyze_quote_denominated=[BYBIT])
        rows = {row["symbol"]: row for row in api.coinalyze("future-markets").json()}
        assert rows[BYBIT]["oi_lq_vol_denominated_in"] == "QUOTE_ASSET"
        usd = history(shared, convert_to_usd="true")[BYBIT][0]["l"]
        assert history(api)[BYBIT][0]["l"] == pytest.approx(usd, rel=0.001)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"symbols": None}, "symbols"),
        ({"symbols": ""}, "symbols"),
        ({"symbols": ",".join([BYBIT] * 21)}, "symbols"),
        ({"interval": None}, "1min, 5min, 15min, 30min, 1hour, 2hour, 4hour, 6hour, 12hour, daily"),
        ({"interval": "1h"}, "1min, 5min, 15min, 30min, 1hour, 2hour, 4hour, 6hour, 12hour, daily"),
        ({"from_": None}, "from"),
        ({"to": "2026-11-20"}, "to"),
        ({"convert_to_usd": "yes"}, "convert_to_usd"),
        ({"limit": 5}, "limit"),
    ],
)
def test_bad_parameters(shared: Any, changed: dict[str, Any], words: str) -> None:
    answer = shared.coinalyze("liquidation-history", **{"symbols": BYBIT, "interval": "1hour", **WINDOW, **changed})
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_keys(shared: Any) -> None:
    for path in ("exchanges", "future-markets", "liquidation-history"):
        for key in (None, "nope"):
            answer = shared.coinalyze(path, key=key)
            assert (answer.status_code, answer.json()) == (401, {"message": "Invalid/Missing API key"})
    assert shared.coinalyze("exchanges", key="forbidden").status_code == 403
    assert shared.coinalyze("exchanges", key="second-key").status_code == 200
    assert shared.get("/coinalyze/v1/exchanges", {"api_key": "sandbox-coinalyze-key"}).status_code == 200
    bearer = {"Authorization": "Bearer sandbox-coinalyze-key"}
    assert shared.get("/coinalyze/v1/exchanges", headers=bearer).status_code == 401


def test_other_paths_and_methods(shared: Any) -> None:
    assert shared.coinalyze("open-interest").status_code == 404
    answer = shared.session.post(f"{shared.sandbox.url}/coinalyze/v1/exchanges", timeout=20)
    assert answer.status_code == 405


class TestLimits:
    def ask(self, api: Any, symbols: int, **params: Any) -> Any:
        names = ",".join([BYBIT, *(f"NOPE{n}" for n in range(symbols - 1))])
        return api.coinalyze("liquidation-history", symbols=names, interval="1hour", **WINDOW, **params)

    def test_each_symbol_is_a_call(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        assert api.coinalyze("exchanges").status_code == 200
        assert api.coinalyze("future-markets").status_code == 200
        clock[0] += 10.5
        answers = [self.ask(api, 20), self.ask(api, 18), self.ask(api, 1)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert not [name for name in answers[0].headers if "limit" in name.lower() or "remain" in name.lower()]
        assert answers[2].json() == {"message": "Too many requests"}
        assert answers[2].headers["Retry-After"] == "49.500"
        assert self.ask(api, 1, key="second-key").status_code == 200

    def test_the_window_slides_and_a_large_request_waits_longer(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        assert self.ask(api, 20).status_code == 200
        clock[0] += 30
        assert self.ask(api, 20).status_code == 200
        assert self.ask(api, 20).headers["Retry-After"] == "30.000"
        assert self.ask(api, 1).headers["Retry-After"] == "30.000"
        clock[0] += 30
        assert self.ask(api, 15).status_code == 200
        assert self.ask(api, 6).headers["Retry-After"] == "30.000"
        assert self.ask(api, 5).status_code == 200

    @pytest.mark.parametrize(("form", "header"), [("integer", "60"), ("absent", None)])
    def test_forms_of_retry_after(self, make: Any, clock: list[float], form: str, header: str | None) -> None:
        api = make(limits=True, coinalyze_retry_after=form)
        answers = [self.ask(api, 20) for _ in range(3)]
        assert answers[2].status_code == 429
        assert answers[2].headers.get("Retry-After") == header

    def test_a_limited_key(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        assert self.ask(api, 5, key="limited").status_code == 200
        assert self.ask(api, 1, key="limited").status_code == 429

    def test_40_symbols_at_once_may_use_up_the_minute(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True, coinalyze_max_symbols=40)
        assert self.ask(api, 40).status_code == 200
        assert self.ask(api, 1).status_code == 429

    def test_none_without_limits(self, shared: Any) -> None:
        assert {self.ask(shared, 20).status_code for _ in range(4)} == {200}


def test_added_points_raise_a_bucket(make: Any) -> None:
    api = make()
    before = history(api)[BYBIT]
    api.sandbox.add_rows("coinalyze", BYBIT, [{"t": FROM + 5, "l": 2.5, "s": 0}])
    after = history(api)[BYBIT]
    assert after[0]["l"] == pytest.approx(before[0]["l"] + 2.5)
    assert (after[0]["s"], after[1:]) == (before[0]["s"], before[1:])
    usd = history(api, convert_to_usd="true")[BYBIT][0]
    assert usd["l"] > 2.5 * 50_000
    with pytest.raises(KeyError):
        api.sandbox.add_rows("coinalyze", "NOPE", [])


def test_a_disagreement_takes_points_away(make: Any) -> None:
    gap = Disagreement("coinalyze", "bybit/BTCUSDT", parse(SPAN[0]), parse(SPAN[0]) + 3600 * NS)
    sandbox = make(disagreement=gap).sandbox
    points = sandbox.expected("coinalyze", BYBIT, *SPAN, interval="1hour")
    assert [point["t"] for point in points] == [FROM + n * 3600 for n in range(1, 6)]
