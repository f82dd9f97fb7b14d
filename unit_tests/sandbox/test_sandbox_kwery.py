"""Kwery's rules, documented and recorded, one by one, over HTTP."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest

WINDOW = {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T14:00:00Z"}


def walk(api: Any, **params: Any) -> list[dict[str, Any]]:
    found = [api.kwery(**params).json()]
    while found[-1]["meta"]["next_cursor"]:
        found.append(api.kwery(after=found[-1]["meta"]["next_cursor"], **params).json())
    return found


def decoded(cursor: str) -> Any:
    return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4)))


@pytest.mark.parametrize("flavour", ["documented", "recorded"])
@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_pages_cover_the_window_exactly_once(make: Any, flavour: str, order: str) -> None:
    api = make(kwery_flavour=flavour, kwery_order=order)
    rows = [row for body in walk(api, symbol="BTC", limit=61, **WINDOW) for row in body["data"]]
    expected = api.sandbox.expected("kwery", "BTC", *WINDOW.values())
    assert rows == (expected if order == "ascending" else expected[::-1])
    assert len(rows) > 300


def test_the_default_limit_is_a_hundred(shared: Any) -> None:
    assert len(shared.kwery(symbol="BTC", **WINDOW).json()["data"]) == 100


def test_start_is_inclusive_and_end_exclusive(shared: Any) -> None:
    expected = shared.sandbox.expected("kwery", "BTC", *WINDOW.values())
    rows = shared.kwery(symbol="BTC", limit=1000, start=expected[5]["timestamp"], end=expected[40]["timestamp"]).json()
    assert rows["data"] == [
        r for r in expected if expected[5]["timestamp"] <= r["timestamp"] < expected[40]["timestamp"]
    ]


def test_the_documented_flavour(make: Any) -> None:
    body = make(kwery_flavour="documented").kwery(symbol="BTC", limit=3, **WINDOW).json()
    assert set(body["meta"]) == {"symbol", "source", "returned", "next_cursor", "has_more"}
    assert (body["meta"]["returned"], body["meta"]["has_more"]) == (3, True)
    assert len(body["data"][0]["timestamp"]) == len("2026-03-08T03:14:22.431Z")
    assert decoded(body["meta"]["next_cursor"]) == {"t": body["data"][-1]["timestamp"]}


def test_the_recorded_flavour(make: Any) -> None:
    body = make(kwery_flavour="recorded").kwery(symbol="BTC", limit=3, **WINDOW).json()
    assert set(body["meta"]) == {"symbol", "source", "interval", "count", "next_cursor"}
    assert body["meta"]["count"] == 3
    assert body["data"][0]["timestamp"].endswith("000+00:00")
    assert decoded(body["meta"]["next_cursor"]) == {"offset": 3}


@pytest.mark.parametrize("flavour", ["documented", "recorded"])
def test_the_last_page_has_no_cursor(make: Any, flavour: str) -> None:
    meta = make(kwery_flavour=flavour).kwery(symbol="BTC", start="2026-11-21T02:29:00Z").json()["meta"]
    assert meta["next_cursor"] is None
    assert meta.get("has_more") in (None, False)


def test_recorded_offsets_shift_when_rows_arrive_inside_the_window(make: Any) -> None:
    api = make(kwery_flavour="recorded")
    first = api.kwery(symbol="BTC", limit=5, **WINDOW).json()
    api.sandbox.add_rows("kwery", "BTC", [{**first["data"][0], "timestamp": "2026-11-20T10:00:00+00:00"}])
    second = api.kwery(symbol="BTC", limit=5, after=first["meta"]["next_cursor"], **WINDOW).json()
    assert second["data"][0] == first["data"][-1]


@pytest.mark.parametrize("flavour", ["documented", "recorded"])
@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_twins_survive_a_page_border(make: Any, flavour: str, order: str) -> None:
    api = make(kwery_flavour=flavour, kwery_order=order)
    expected = api.sandbox.expected("kwery", "BTC", "2026-11-19", "2026-11-21")
    twin = next(a for a, b in pairwise(expected) if a == b)
    around = [r for r in expected if r["timestamp"][:16] == twin["timestamp"][:16]]
    window = {"start": twin["timestamp"][:16] + ":00Z", "end": twin["timestamp"][:16] + ":59.999Z"}
    rows = [row for body in walk(api, symbol="BTC", limit=1, **window) for row in body["data"]]
    assert rows == (around if order == "ascending" else around[::-1])
    assert rows.count(twin) >= 2


def test_at_most_one_a_second_apart_from_twins(make: Any) -> None:
    api = make(rows_per_day=300_000, throttled=False)
    rows = api.sandbox.expected("kwery", "BTC", *WINDOW.values())
    contents = {}
    for row in rows:
        contents.setdefault(row["timestamp"][:19], set()).add(json.dumps(row))
    assert {len(found) for found in contents.values()} == {1}
    truth = api.sandbox.expected("kaiko", "binc/perpetual-future/btc-usdt", *WINDOW.values())
    assert len(rows) < len(truth)


def test_sides(shared: Any) -> None:
    expected = shared.sandbox.expected("kwery", "ETH", *WINDOW.values())
    for side in ("long", "short"):
        rows = shared.kwery(symbol="ETH", side=side, limit=1000, **WINDOW).json()["data"]
        assert rows == [row for row in expected if row["side"] == side][:1000]


def test_min_usd_on_business(shared: Any) -> None:
    rows = shared.kwery(symbol="BTC", min_usd=5000, limit=1000, **WINDOW).json()["data"]
    assert (
        rows == [r for r in shared.sandbox.expected("kwery", "BTC", *WINDOW.values()) if r["usd_value"] >= 5000][:1000]
    )
    assert rows


def test_min_usd_on_other_plans(shared: Any) -> None:
    answer = shared.kwery("pro", symbol="BTC", min_usd=5000, **WINDOW)
    assert answer.status_code == 403
    assert (answer.json()["error"], answer.json()["required_tier"]) == ("tier_restricted", "business")


def test_values(shared: Any) -> None:
    for row in shared.kwery(symbol="SOL", **WINDOW).json()["data"]:
        assert (row["symbol"], row["source"]) == ("SOL", "binance_futures")
        assert row["usd_value"] == pytest.approx(row["quantity"] * row["avg_price"], abs=0.006)
        assert row["price"] != 0


def test_credits(make: Any) -> None:
    api = make(kwery_credits=1000)
    first = api.kwery(symbol="BTC", limit=10, **WINDOW)
    assert first.headers["X-Credits-Used"] == str(25 + 2 * 10)
    assert first.headers["X-Credits-Remaining"] == str(1000 - 45)
    assert first.headers["X-Rows-Returned"] == "10"
    assert first.headers["X-Rows-Capped"] == "false"
    limits = api.kwery(path="limits").json()["credits"]
    assert limits == {"used": 45, "limit": 1000, "remaining": 955}
    refused = api.kwery(symbol="BTC", limit=1000, **WINDOW)
    assert (refused.status_code, refused.json()["error"]) == (402, "credits_exhausted")
    assert api.kwery(path="limits").json()["credits"]["used"] == 45


def test_a_key_without_credits(shared: Any) -> None:
    assert shared.kwery("exhausted", symbol="BTC", **WINDOW).status_code == 402
    assert shared.kwery("exhausted", path="limits").json()["credits"]["remaining"] == 0


def test_limits_and_symbols_are_free(make: Any) -> None:
    api = make(limits=True)
    for _ in range(20):
        assert api.kwery("free", path="limits").status_code == 200
    assert [row["symbol"] for row in api.kwery(path="symbols").json()["symbols"]] == ["BTC", "ETH", "SOL", "XRP"]
    assert api.kwery("free", path="limits").json()["credits"]["used"] == 0


def test_the_plan_cuts_rows(shared: Any) -> None:
    answer = shared.kwery("free", symbol="BTC", limit=1000, start="2026-11-20T10:00:00Z")
    assert answer.headers["X-Rows-Capped"] == "true"
    assert len(answer.json()["data"]) == 250
    assert answer.json()["meta"]["next_cursor"] is None
    assert answer.json()["meta"]["has_more"] is False


@pytest.mark.parametrize(("plan", "days"), [("free", 1), ("pro", 30)])
def test_history_beyond_the_plan_is_refused(shared: Any, plan: str, days: int) -> None:
    starts = {1: ("2026-11-20T03:00:00Z", "2026-11-20T02:00:00Z"), 30: ("2026-10-22T03:00:00Z", "2026-10-22T02:00:00Z")}
    inside, outside = starts[days]
    assert shared.kwery(plan, symbol="BTC", start=inside, limit=1).status_code == 200
    answer = shared.kwery(plan, symbol="BTC", start=outside, limit=1)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_time_range")


def test_history_beyond_the_plan_can_be_clamped(make: Any) -> None:
    api = make(kwery_history="clamp")
    row = api.kwery("free", symbol="BTC", start="2026-11-01T00:00:00Z", limit=1).json()["data"][0]
    assert "2026-11-20T02:30:00" <= row["timestamp"] < "2026-11-20T02:40:00"


def test_business_has_all_of_history(shared: Any) -> None:
    row = shared.kwery(symbol="BTC", start="2020-01-01T00:00:00Z", limit=1).json()["data"][0]
    assert row["timestamp"].startswith("2024-01-15")


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({}, 400, "invalid_symbol"),
        ({"symbol": "DOGE"}, 400, "invalid_symbol"),
        ({"symbol": "BTC", "side": "buy"}, 400, "invalid_side"),
        ({"symbol": "BTC", "start": "2026-11-20", "end": "2026-11-19"}, 400, "invalid_time_range"),
        ({"symbol": "BTC", "start": "noon"}, 400, "invalid_time_range"),
        ({"symbol": "BTC", "limit": "1001"}, 400, "invalid_parameter"),
        ({"symbol": "BTC", "after": "garbage"}, 400, "invalid_parameter"),
        ({"symbol": "BTC", "page": "2"}, 400, "invalid_parameter"),
    ],
)
def test_bad_parameters(shared: Any, params: dict[str, str], status: int, code: str) -> None:
    answer = shared.kwery(**params)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["message"]


def test_keys(shared: Any) -> None:
    answer = shared.kwery("wrong", symbol="BTC")
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    query = {"api-key": "sandbox-kwery-business", "symbol": "BTC", "limit": 1}
    assert shared.get("/kwery/v1/liquidations", query).status_code == 200
    assert shared.get("/kwery/v1/liquidations", {"symbol": "BTC"}).status_code == 401


def test_errors_can_stand_under_detail(make: Any) -> None:
    body = make(kwery_errors="detail").kwery(symbol="DOGE").json()
    assert set(body) == {"detail"}
    assert body["detail"]["error"] == "invalid_symbol"


def test_rates_by_plan(make: Any) -> None:
    api = make(limits=True)
    statuses = [api.kwery("free", symbol="BTC", limit=1, start="2026-11-21T02:00:00Z").status_code for _ in range(16)]
    assert statuses == [200] * 15 + [429]
    refused = api.kwery("free", symbol="BTC", limit=1)
    assert refused.json()["error"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert api.kwery("pro", path="limits").json()["rate_limits"]["requests_per_minute"] == 50
    assert api.kwery("business", path="limits").json()["rate_limits"]["requests_per_minute"] == 150


def test_recorded_business_rates(make: Any) -> None:
    api = make(limits=True, kwery_flavour="recorded")
    limits = api.kwery(path="limits").json()
    assert limits["rate_limits"] == {"requests_per_second": 20, "requests_per_minute": 600}
    assert limits["max_history_days"] == 90
