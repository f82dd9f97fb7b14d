"""Every fault has its documented effect on the selected requests and on no others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.faults import KINDS

WINDOW = {"start_time": "2026-11-20T00:00:00Z", "end_time": "2026-11-20T04:00:00Z"}
KWERY = {"symbol": "BTC", "start": "2026-11-20T00:00:00Z", "end": "2026-11-20T04:00:00Z", "limit": 20}
CALLS = {
    "kaiko": lambda api: api.trades(page_size=20, sort="asc", **WINDOW),
    "coin_metrics": lambda api: api.liquidations(page_size=20, paging_from="start", **WINDOW),
    "kwery": lambda api: api.kwery(**KWERY),
    "kiyotaka": lambda api: api.points(**{"from": 1795132800, "period": 7200}),
}


def rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    if "series" in body:
        return [point["Point"] for series in body["series"] for point in series["points"]]
    return list(body["data"])


@pytest.fixture
def api(make: Any) -> Any:
    return make()


@pytest.mark.parametrize("kind", ["refused", "reset", "reset_mid_body", "cut"])
@pytest.mark.parametrize("vendor", CALLS)
def test_broken_connections(api: Any, kind: str, vendor: str) -> None:
    good = CALLS[vendor](api).content
    api.sandbox.fault(kind, vendor=vendor)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        CALLS[vendor](api)
    assert CALLS[vendor](api).content == good


def test_cut_json_of_the_right_length(api: Any) -> None:
    api.sandbox.fault("cut", length="cut")
    answer = api.trades(**WINDOW)
    assert answer.status_code == 200
    with pytest.raises((requests.exceptions.JSONDecodeError, requests.exceptions.ContentDecodingError)):
        answer.json()


def test_cut_json_uncompressed(make: Any) -> None:
    api = make(compress=False)
    api.sandbox.fault("cut", length="cut")
    answer = api.trades(**WINDOW)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def test_html_with_200(api: Any) -> None:
    api.sandbox.fault("html")
    answer = api.trades()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert answer.text.startswith("<html>")


def test_an_error_with_200(api: Any) -> None:
    api.sandbox.fault("error_in_200", message="broken inside")
    answer = api.trades()
    assert (answer.status_code, answer.json()) == (200, {"result": "error", "message": "broken inside"})


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("vendor", CALLS)
def test_any_status_with_the_vendors_own_body(api: Any, vendor: str, status: int) -> None:
    api.sandbox.fault("status", vendor=vendor, status=status)
    answer = CALLS[vendor](api)
    assert answer.status_code == status
    assert "error" in answer.text


def test_a_status_with_body_and_headers(api: Any) -> None:
    api.sandbox.fault("status", status=429, body={"slow": "down"}, headers={"Retry-After": 3})
    answer = api.trades()
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"slow": "down"}, "3")
    api.sandbox.fault("status", vendor="kiyotaka", status=429, headers={})
    assert "Retry-After" not in CALLS["kiyotaka"](api).headers


def test_a_slow_first_byte(api: Any) -> None:
    api.sandbox.fault("slow_first_byte", seconds=0.3)
    began = time.monotonic()
    assert api.trades(page_size=1).status_code == 200
    assert time.monotonic() - began >= 0.3


def test_a_slow_drip(api: Any) -> None:
    api.sandbox.fault("slow_drip", seconds=0.05, chunk=100)
    began = time.monotonic()
    assert len(api.trades(page_size=2).json()["data"]) == 2
    assert time.monotonic() - began >= 0.2


def test_no_answer_at_all(api: Any) -> None:
    api.sandbox.fault("silent", seconds=30)
    with pytest.raises(requests.exceptions.ReadTimeout):
        api.session.get(f"{api.sandbox.url}/kaiko-reference/v1/exchanges", timeout=0.3)


@pytest.mark.parametrize(("vendor", "token"), [
    ("kaiko", lambda body: body["continuation_token"]),
    ("coin_metrics", lambda body: body["next_page_token"]),
    ("kwery", lambda body: body["meta"]["next_cursor"]),
])  # fmt: skip
class TestPaging:
    def following(self, api: Any, vendor: str, token: str) -> dict[str, Any]:
        if vendor == "kaiko":
            return api.trades(continuation_token=token).json()  # type: ignore[no-any-return]
        if vendor == "coin_metrics":
            answer = api.liquidations(page_size=20, paging_from="start", next_page_token=token, **WINDOW)
            return answer.json()  # type: ignore[no-any-return]
        return api.kwery(after=token, **KWERY).json()  # type: ignore[no-any-return]

    def test_a_repeated_token(self, api: Any, vendor: str, token: Any) -> None:
        first = CALLS[vendor](api).json()
        api.sandbox.fault("repeat_token", vendor=vendor, times=None)
        second = self.following(api, vendor, token(first))
        assert token(second) == token(first)
        assert rows(second) == rows(self.following(api, vendor, token(second)))

    def test_an_empty_page_with_a_token_loses_nothing(self, api: Any, vendor: str, token: Any) -> None:
        first = CALLS[vendor](api).json()
        expected = self.following(api, vendor, token(first))
        api.sandbox.fault("empty_page", vendor=vendor)
        empty = self.following(api, vendor, token(first))
        assert rows(empty) == []
        assert token(empty) != token(first)
        assert rows(self.following(api, vendor, token(empty))) == rows(expected)


def test_a_next_url_on_another_origin(api: Any) -> None:
    api.sandbox.fault("foreign_next_url", times=2)
    for body, name in ((api.trades(**WINDOW).json(), "next_url"), (api.liquidations(**WINDOW).json(), "next_page_url")):
        assert body[name].startswith(f"{api.sandbox.foreign_url}/")
        assert not body[name].startswith(api.sandbox.url)


def test_what_arrives_at_the_foreign_origin_is_seen(api: Any) -> None:
    api.session.get(f"{api.sandbox.foreign_url}/kaiko/v2/x", headers={"X-Api-Key": "secret"})
    (record,) = api.sandbox.requests("kaiko")
    assert record.headers["host"].startswith("localhost:")
    assert record.headers["x-api-key"] == "secret"


def test_a_redirect(api: Any) -> None:
    api.sandbox.fault("redirect", status=307)
    url = f"{api.sandbox.url}/kaiko-reference/v1/exchanges"
    answer = api.session.get(url, allow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["Location"].startswith(api.sandbox.foreign_url)


def test_gzip_garbage(api: Any) -> None:
    api.sandbox.fault("bad_gzip")
    with pytest.raises(requests.exceptions.ContentDecodingError):
        api.trades(**WINDOW)


@pytest.mark.parametrize("vendor", CALLS)
class TestRows:
    def test_out_of_window(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        api.sandbox.fault("out_of_window", vendor=vendor)
        for bad, row in zip(rows(CALLS[vendor](api).json()), good, strict=True):
            name = "time" if vendor == "coin_metrics" else "timestamp"
            assert _instant(row[name]) - _instant(bad[name]) == 400 * 86400 * 10**9
            assert type(bad[name]) is type(row[name])
            assert not isinstance(bad[name], str) or len(bad[name]) == len(row[name])

    def test_out_of_order(self, api: Any, vendor: str) -> None:
        query: Any = CALLS[vendor]
        if vendor == "kiyotaka":
            query = lambda api: api.points(**{"from": 1795132800, "period": 86400})  # noqa: E731
        good = rows(query(api).json())
        api.sandbox.fault("unordered", vendor=vendor)
        bad = rows(query(api).json())
        assert bad != good
        assert sorted(map(str, bad)) == sorted(map(str, good))

    def test_wrong_types(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        api.sandbox.fault("wrong_types", vendor=vendor)
        bad = rows(CALLS[vendor](api).json())
        assert bad[1:] == good[1:]
        assert {"unexpected": "object"} in bad[0].values()
        api.sandbox.fault("wrong_types", vendor=vendor, field="extra", value=None, rows=3)
        assert [row.get("extra", "unset") for row in rows(CALLS[vendor](api).json())][:4] == [None, None, None, "unset"]

    def test_unknown_timestamp_unit(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        api.sandbox.fault("timestamp_unit", vendor=vendor)
        bad = rows(CALLS[vendor](api).json())
        name = "time" if vendor == "coin_metrics" else "timestamp"
        assert all(row[name] != old[name] for row, old in zip(bad, good, strict=True))
        if vendor == "kaiko":
            assert bad[0][name] == good[0][name] // 1000

    def test_unknown_fields(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        api.sandbox.fault("unknown_fields", vendor=vendor)
        body = CALLS[vendor](api).json()
        assert body["new_in_envelope"] is True
        for row, old in zip(rows(body), good, strict=True):
            assert row == {**old, "new_field": "new", "new_object": {"a": [1, 2.5, None]}}

    def test_missing_fields(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        name = {"kiyotaka": "liquidations"}.get(vendor, "price")
        api.sandbox.fault("missing_fields", vendor=vendor, fields=[name])
        for row, old in zip(rows(CALLS[vendor](api).json()), good, strict=True):
            assert row == {field: value for field, value in old.items() if field != name}

    def test_a_big_page(self, api: Any, vendor: str) -> None:
        good = rows(CALLS[vendor](api).json())
        api.sandbox.fault("big_page", vendor=vendor, megabytes=2)
        answer = CALLS[vendor](api)
        assert len(answer.content) > 2_000_000
        assert rows(answer.json()) == good


def _instant(value: Any) -> int:
    from sandbox.times import parse

    if isinstance(value, dict):
        return int(value["s"]) * 10**9
    return parse(value) if isinstance(value, str) else int(value) * 10**6


def test_faults_in_token_volumes_and_metrics(api: Any) -> None:
    good = api.kaiko("token/btc", page_size=1).json()["data"][0]
    api.sandbox.fault("timestamp_unit", path_contains="/token/")
    bad = api.kaiko("token/btc", page_size=1).json()["data"][0]
    assert bad["interval_timestamp"] == good["interval_timestamp"] // 10**9
    assert bad["interval_time"] != good["interval_time"]
    api.sandbox.fault("missing_fields", path_contains="pair-metrics", fields=["pair"])
    query = {"pairs": "btc-usdt", "metrics": "liquidations_reported_future_buy_usd_1d"}
    body = api.coin_metrics("timeseries/pair-metrics", page_size=2, **query).json()
    assert ["pair" in row for row in body["data"]] == [False, False]


class TestWhichRequests:
    def statuses(self, api: Any, calls: int) -> list[int]:
        return [api.trades(page_size=1).status_code for _ in range(calls)]

    def test_once_by_default(self, api: Any) -> None:
        api.sandbox.fault("status", status=500)
        assert self.statuses(api, 3) == [500, 200, 200]

    def test_after_and_times(self, api: Any) -> None:
        api.sandbox.fault("status", status=503, after=1, times=2)
        assert self.statuses(api, 5) == [200, 503, 503, 200, 200]

    def test_forever(self, api: Any) -> None:
        fault = api.sandbox.fault("status", status=503, times=None)
        assert self.statuses(api, 4) == [503] * 4
        assert fault.fired == 4

    def test_by_vendor_path_and_query(self, api: Any) -> None:
        api.sandbox.fault("status", status=500, vendor="kwery", times=None)
        api.sandbox.fault("status", status=501, path_contains="eth-usdt", times=None)
        api.sandbox.fault("status", status=502, query_contains="page_size=7", times=None)
        api.sandbox.fault("status", status=503, query_contains="2026-11-20T00:00:00Z", times=None)
        assert api.trades(page_size=1).status_code == 200
        assert api.kwery(symbol="BTC").status_code == 500
        assert api.trades("bbit/perpetual-future/eth-usdt").status_code == 501
        assert api.trades(page_size=7).status_code == 502
        assert api.trades(**WINDOW).status_code == 503

    def test_by_prefix(self, api: Any) -> None:
        api.sandbox.fault("status", status=500, vendor="coin_metrics_community", times=None)
        assert api.liquidations(**WINDOW).status_code == 200
        assert api.community("reference-data/markets").status_code == 500

    def test_cleared(self, api: Any) -> None:
        api.sandbox.fault("status", status=500, times=None)
        api.sandbox.clear()
        assert self.statuses(api, 1) == [200]

    def test_unknown_kinds_are_refused(self, api: Any) -> None:
        with pytest.raises(ValueError, match="unknown fault"):
            api.sandbox.fault("earthquake")

    def test_the_log_names_the_fault(self, api: Any) -> None:
        api.sandbox.fault("html")
        api.sandbox.fault("reset")
        api.trades()
        with pytest.raises(requests.ConnectionError):
            api.trades()
        assert [(r.fault, r.status) for r in api.sandbox.requests()] == [("html", 200), ("reset", 0)]


@pytest.mark.parametrize("name", ["test_sandbox_faults.py", "test_sandbox_array_faults.py"])
def test_every_kind_is_tested(name: str) -> None:
    text = Path(__file__).with_name(name).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


def test_nothing_listens_at_the_closed_url(api: Any) -> None:
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(api.sandbox.closed_url(), timeout=60)


def test_an_empty_page_may_stand_before_the_only_page(api: Any) -> None:
    query = {**KWERY, "end": "2026-11-20T00:02:00Z"}
    api.sandbox.fault("empty_page", vendor="kwery")
    empty = api.kwery(**query).json()
    assert (empty["data"], empty["meta"]["has_more"]) == ([], True)
    rest = api.kwery(after=empty["meta"]["next_cursor"], **query).json()
    assert rest["data"] == api.sandbox.expected("kwery", "BTC", query["start"], query["end"])
    assert rest["data"]
