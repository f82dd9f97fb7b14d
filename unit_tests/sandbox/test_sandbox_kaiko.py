"""Kaiko's documented rules, one by one, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.times import HOUR, instant_of

MARKET = "bbit/perpetual-future/btc-usdt"
WINDOW = {"start_time": "2026-11-20T00:00:00Z", "end_time": "2026-11-20T06:00:00Z"}


def pages(api: Any, first: Any) -> list[dict[str, Any]]:
    found = [first.json()]
    while found[-1].get("continuation_token"):
        found.append(api.session.get(found[-1]["next_url"], headers={"X-Api-Key": "sandbox-kaiko-key"}).json())
    return found


def test_the_default_is_the_newest_hundred_descending(shared: Any) -> None:
    body = shared.trades(**WINDOW).json()
    assert body["query"]["sort"] == "desc"
    assert len(body["data"]) == 100
    stamps = [row["timestamp"] for row in body["data"]]
    assert stamps == sorted(stamps, reverse=True)
    assert stamps[0] == shared.sandbox.expected("kaiko", MARKET, *WINDOW.values())[-1]["timestamp"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_cover_the_window_exactly_once(shared: Any, sort: str) -> None:
    found = pages(shared, shared.trades(sort=sort, page_size=97, **WINDOW))
    rows = [row for body in found for row in body["data"]]
    expected = shared.sandbox.expected("kaiko", MARKET, *WINDOW.values())
    assert rows == (expected if sort == "asc" else expected[::-1])
    assert all(len(body["data"]) == 97 for body in found[:-1])


def test_pages_split_an_instant_without_loss(shared: Any) -> None:
    expected = shared.sandbox.expected("kaiko", MARKET, *WINDOW.values())
    stamps = [row["timestamp"] for row in expected]
    crowded = max(set(stamps), key=stamps.count)
    assert stamps.count(crowded) >= 3
    start = f"{crowded // 1000 - 1}"
    first = shared.trades(sort="asc", page_size=1, start_time=_iso(int(start) * 1000), end_time=_iso(crowded + 1))
    rows = [row for body in pages(shared, first) for row in body["data"]]
    assert rows == [row for row in expected if int(start) * 1000 <= row["timestamp"] <= crowded]


def _iso(milliseconds: int) -> str:
    from sandbox.times import iso

    return iso(milliseconds * 1_000_000)


def test_start_is_inclusive_and_end_exclusive(shared: Any) -> None:
    expected = shared.sandbox.expected("kaiko", MARKET, *WINDOW.values())
    first, last = _iso(expected[0]["timestamp"]), _iso(expected[50]["timestamp"])
    rows = shared.trades(sort="asc", page_size=1000, start_time=first, end_time=last).json()["data"]
    assert rows[0]["timestamp"] == expected[0]["timestamp"]
    assert rows[-1]["timestamp"] < expected[50]["timestamp"]


def test_page_size_over_the_maximum_is_refused(shared: Any) -> None:
    assert shared.trades(page_size=1000, **WINDOW).status_code == 200
    answer = shared.trades(page_size=1001, **WINDOW)
    assert answer.status_code == 400
    assert answer.json()["result"] == "error"
    assert "page_size" in answer.json()["message"]


@pytest.mark.parametrize(
    "bad",
    [
        {"page_size": "0"},
        {"page_size": "many"},
        {"sort": "up"},
        {"start_time": "yesterday"},
        {"limit": "5"},
        {"start_time": "2026-11-21T00:00:00Z", "end_time": "2026-11-20T00:00:00Z"},
        {"continuation_token": "garbage"},
    ],
)
def test_bad_parameters_are_refused(shared: Any, bad: dict[str, str]) -> None:
    answer = shared.trades(**bad)
    assert answer.status_code == 400
    assert set(answer.json()) == {"result", "message"}


def test_a_continuation_token_overrides_all_other_parameters(shared: Any) -> None:
    first = shared.trades(sort="asc", page_size=10, **WINDOW).json()
    alone = shared.trades(continuation_token=first["continuation_token"]).json()
    crowded = shared.trades(
        continuation_token=first["continuation_token"], sort="desc", page_size=5, start_time="2020-01-01", nonsense="x"
    ).json()
    assert alone["data"] == crowded["data"]
    assert len(alone["data"]) == 10
    assert alone["data"][0]["timestamp"] >= first["data"][-1]["timestamp"]
    assert alone["query"]["sort"] == "asc"


def test_a_token_is_good_for_its_own_path_only(shared: Any) -> None:
    token = shared.trades(**WINDOW).json()["continuation_token"]
    assert shared.trades("bbit/perpetual-future/eth-usdt", continuation_token=token).status_code == 400


def test_next_url_is_absolute_and_without_the_key(shared: Any) -> None:
    body = shared.trades(**WINDOW).json()
    prefix = f"{shared.sandbox.url}/kaiko/v2/data/liquidation.v1/trades/{MARKET}?continuation_token="
    assert body["next_url"] == prefix + body["continuation_token"]


@pytest.mark.parametrize(("form", "expected"), [("absent", {}), ("null", {None}), ("empty", {""})])
def test_the_last_page_has_no_token(make: Any, form: str, expected: set[Any]) -> None:
    body = make(kaiko_last_page=form).trades(page_size=1000, start_time="2026-11-21T02:29:00Z").json()
    found = {body[name] for name in ("continuation_token", "next_url") if name in body}
    assert found == set(expected)


def test_tokens_can_expire(make: Any) -> None:
    api = make(kaiko_token_seconds=-1)
    token = api.trades(**WINDOW).json()["continuation_token"]
    assert api.trades(continuation_token=token).status_code == 400


@pytest.mark.parametrize(("unit", "digits"), [("ms", 13), ("us", 16), ("ns", 19)])
def test_the_timestamp_unit_can_be_chosen(make: Any, unit: str, digits: int) -> None:
    api = make(kaiko_timestamp_unit=unit)
    row = api.trades("drbt/perpetual-future/btc-usd", **WINDOW).json()["data"][0]
    assert len(str(row["timestamp"])) == digits


def test_amounts_are_consistent(shared: Any) -> None:
    for row in shared.trades(**WINDOW).json()["data"]:
        assert row["amount"] * row["price"] == row["amount_quote"]
        assert row["amount_quote"] * row["rate"] == row["amount_usd"]
        assert row["position_side"] in ("long", "short")


def test_trade_ids_are_unique(shared: Any) -> None:
    rows = shared.sandbox.expected("kaiko", MARKET, *WINDOW.values())
    assert len({row["trade_id"] for row in rows}) == len(rows)


def test_nothing_before_the_access_range(shared: Any) -> None:
    body = shared.trades(sort="asc", page_size=1, start_time="2020-01-01T00:00:00Z").json()
    assert body["data"][0]["timestamp"] >= body["access"]["access_range"]["start_timestamp"]


@pytest.mark.parametrize(
    ("key", "status"), [("", 401), ("wrong", 401), ("sandbox-kaiko-forbidden", 403), ("sandbox-kaiko-key", 200)]
)
def test_keys(shared: Any, key: str, status: int) -> None:
    answer = shared.kaiko(f"trades/{MARKET}", key, page_size=1)
    assert answer.status_code == status
    assert status == 200 or answer.json()["result"] == "error"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("trades/nope/perpetual-future/btc-usdt", 404),
        ("trades/bbit/perpetual-future/nope-usdt", 404),
        ("trades/bbit/spot/btc-usdt", 400),
        ("trades/bbit/perpetual-future", 404),
        ("token/nope", 404),
    ],
)
def test_unknown_things(shared: Any, path: str, status: int) -> None:
    answer = shared.kaiko(path)
    assert answer.status_code == status
    assert answer.json()["result"] == "error"


def test_other_methods_and_types_are_refused(shared: Any) -> None:
    url = f"{shared.sandbox.url}/kaiko/v2/data/liquidation.v1/trades/{MARKET}"
    key = {"X-Api-Key": "sandbox-kaiko-key"}
    assert shared.session.post(url, headers=key).status_code == 405
    assert shared.session.get(url, headers={**key, "Accept": "text/csv"}).status_code == 406


def test_more_than_6000_requests_a_minute_are_refused(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.kaiko_calls.REQUESTS_PER_MINUTE", 3)
    api = make(limits=True)
    assert [api.trades(page_size=1).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert api.kaiko(f"trades/{MARKET}", "sandbox-kaiko-second-key", page_size=1).status_code == 200


def test_the_limit_is_6000() -> None:
    from sandbox import kaiko_calls

    assert kaiko_calls.REQUESTS_PER_MINUTE == 6000


class TestTokenVolumes:
    def test_the_window_is_widened_to_whole_intervals_and_echoed(self, shared: Any) -> None:
        asked = {"start_time": "2026-11-20T09:00:01Z", "end_time": "2026-11-20T11:59:59Z"}
        body = shared.kaiko("token/btc", sort="asc", **asked).json()
        assert [row["interval_time"] for row in body["data"]] == [f"2026-11-20T{h:02d}:00:00Z" for h in (9, 10, 11)]
        query = body["query"]
        assert (query["query_start_time"], query["query_end_time"]) == tuple(asked.values())
        assert (query["data_start_time"], query["data_end_time"]) == ("2026-11-20T09:00:00Z", "2026-11-20T12:00:00Z")
        assert (query["token"], query["interval"]) == ("btc", "1h")

    def test_a_row_sums_the_events_of_all_exchanges(self, shared: Any) -> None:
        window = {"start_time": "2026-11-20T09:00:00Z", "end_time": "2026-11-20T10:00:00Z"}
        (row,) = shared.kaiko("token/eth", **window).json()["data"]
        by_exchange = {found["exchange"]: found for found in row["exchanges"]}
        events = shared.sandbox.expected("kaiko", "bbit/perpetual-future/eth-usdt", *window.values())
        longs = [e for e in events if e["position_side"] == "long"]
        assert by_exchange["bbit"]["total_trades"] == len(events)
        assert by_exchange["bbit"]["long_trades"] == len(longs)
        assert by_exchange["bbit"]["long_amount"] == pytest.approx(sum(e["amount_usd"] for e in longs))
        for name in ("total_trades", "long_trades", "short_trades", "total_amount", "long_amount", "short_amount"):
            assert row[name] == pytest.approx(sum(found[name] for found in row["exchanges"]))
        assert row["interval_timestamp"] == instant_of(row["interval_time"])

    @pytest.mark.parametrize("sort", ["asc", "desc"])
    def test_pages_cover_all_intervals(self, shared: Any, sort: str) -> None:
        first = shared.kaiko("token/sol", sort=sort, page_size=5, **WINDOW, interval="2h")
        assert len(pages(shared, first)) == 1
        first = shared.kaiko("token/sol", sort=sort, page_size=4, **WINDOW)
        rows = [row for body in pages(shared, first) for row in body["data"]]
        expected = shared.sandbox.expected("kaiko", "token/sol", *WINDOW.values())
        assert rows == (expected if sort == "asc" else expected[::-1])
        assert len(rows) == 6

    @pytest.mark.parametrize("interval", ["1h", "5h", "24h", "1d"])
    def test_intervals_that_are_allowed(self, shared: Any, interval: str) -> None:
        rows = shared.kaiko("token/xrp", interval=interval, sort="asc", **WINDOW).json()["data"]
        hours = 24 if interval == "1d" else int(interval[:-1])
        assert all(row["interval_timestamp"] % (hours * HOUR) == 0 for row in rows)

    @pytest.mark.parametrize("interval", ["30m", "25h", "2d", "0h", "h", "1w"])
    def test_intervals_that_are_not(self, shared: Any, interval: str) -> None:
        assert shared.kaiko("token/xrp", interval=interval).status_code == 400

    def test_data_begin_in_2025(self, make: Any) -> None:
        api = make(rows_per_day=200)
        rows = api.kaiko("token/btc", sort="asc", page_size=1, start_time="2024-12-01T00:00:00Z").json()["data"]
        assert rows[0]["interval_time"] == "2025-01-08T00:00:00Z"

    def test_the_open_interval_is_partial_and_grows(self, make: Any) -> None:
        api = make()
        before = api.kaiko("token/btc", page_size=1).json()["data"][0]
        api.sandbox.advance(900)
        after = api.kaiko("token/btc", page_size=1).json()["data"][0]
        assert before["interval_time"] == after["interval_time"] == "2026-11-21T02:00:00Z"
        assert before["total_trades"] < after["total_trades"]


class TestReferenceData:
    def test_needs_no_key_and_pages(self, shared: Any) -> None:
        body = shared.get("/kaiko-reference/v1/instruments", {"page_size": 50}).json()
        assert body["result"] == "success"
        assert len(body["data"]) == 50
        rows = body["data"]
        while "continuation_token" in body:
            body = shared.session.get(body["next_url"]).json()
            rows += body["data"]
        kept = {(r["exchange_code"], r["class"], r["code"]) for r in rows}
        assert len(kept) == len(rows) > 100
        assert ("bbit", "perpetual-future", "btc-usdt") in kept
        assert {"spot", "option", "future", "perpetual-future"} == {r["class"] for r in rows}

    def test_filters_stay_over_pages(self, shared: Any) -> None:
        query = {"class": "perpetual-future", "base_asset": "btc", "page_size": 2}
        body = shared.get("/kaiko-reference/v1/instruments", query).json()
        rows = body["data"]
        while "continuation_token" in body:
            token = body["continuation_token"]
            body = shared.get("/kaiko-reference/v1/instruments", {"continuation_token": token}).json()
            rows += body["data"]
        assert {(r["class"], r["base_asset"]) for r in rows} == {("perpetual-future", "btc")}
        assert len(rows) > 5

    def test_every_instrument_listed_can_be_read(self, shared: Any) -> None:
        query = {"class": "perpetual-future,future", "page_size": 1000}
        for row in shared.get("/kaiko-reference/v1/instruments", query).json()["data"]:
            path = f"trades/{row['exchange_code']}/{row['class']}/{row['code']}"
            assert shared.kaiko(path, page_size=1).status_code == 200

    def test_exchanges_and_assets(self, shared: Any) -> None:
        exchanges = shared.get("/kaiko-reference/v1/exchanges").json()["data"]
        assert {"code", "name", "kaiko_legacy_slug"} == set(exchanges[0])
        assert "btc" in {row["code"] for row in shared.get("/kaiko-reference/v1/assets").json()["data"]}

    def test_unknown_filters_are_refused(self, shared: Any) -> None:
        assert shared.get("/kaiko-reference/v1/instruments", {"exchange": "bbit"}).status_code == 400


def test_the_disagreement_can_be_kaikos() -> None:
    from sandbox.world import Disagreement

    gap = Disagreement("kaiko", "bybit/BTCUSDT", instant_of(WINDOW["start_time"]), instant_of("2026-11-20T01:00:00Z"))
    with Sandbox(seed=7, now="2026-11-21T02:30:00Z", disagreement=gap) as sandbox:
        rows = sandbox.expected("kaiko", MARKET, *WINDOW.values())
    assert min(row["timestamp"] for row in rows) * 1_000_000 >= gap.end
