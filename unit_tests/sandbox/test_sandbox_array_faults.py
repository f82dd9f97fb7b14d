"""Every fault in bodies that are arrays: of Bitfinex, Gate and Coinalyze."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.bitfinex_rows import FIELDS
from sandbox.faults import PAGING, ROWS

FROM = 1795132800


@dataclass(frozen=True)
class Case:
    """A request with a few rows, and the positions of their fields."""

    vendor: str
    ask: Callable[..., requests.Response]
    time: Any
    number: Any
    own_error: Any

    def rows(self, answer: requests.Response) -> list[Any]:
        body = answer.json()
        if self.vendor == "coinalyze":
            return [point for series in body for point in series["history"]]
        return [row for (row,) in body] if self.vendor == "bitfinex" else body


def _orders(api: Any, more: int = 0) -> requests.Response:
    answer: requests.Response = api.gate("usdt/liq_orders", contract="BTC_USDT", limit=20, to=FROM + 3600 + more)
    return answer


def _points(api: Any, more: int = 0) -> requests.Response:
    window = {"from_": FROM + more, "to": FROM + 36000 + more}
    answer: requests.Response = api.coinalyze("liquidation-history", symbols="BTCUSDT.6", interval="1hour", **window)
    return answer


CASES = [
    Case(
        "bitfinex",
        lambda api, more=0: api.hist(sort=1, limit=20, start=(FROM + more) * 1000),
        FIELDS.index("mts"), FIELDS.index("amount"), ["error", 10001, "broken inside"],
    ),
    Case("gate", _orders, "time", "fill_price", {"label": "INTERNAL", "message": "broken inside"}),
    Case(
        "gate",
        lambda api, more=0: api.gate("usdt/contract_stats", contract="BTC_USDT", from_=FROM + more, limit=10),
        "time", "long_liq_usd", {"label": "INTERNAL", "message": "broken inside"},
    ),
    Case("coinalyze", _points, "t", "l", {"message": "broken inside"}),
]  # fmt: skip
NAMES = ["bitfinex", "gate_orders", "gate_stats", "coinalyze"]


@pytest.fixture
def api(make: Any) -> Any:
    return make()


@pytest.fixture(params=CASES, ids=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["refused", "reset", "reset_mid_body", "cut"])
def test_broken_connections(api: Any, case: Case, kind: str) -> None:
    good = case.ask(api).content
    api.sandbox.fault(kind, vendor=case.vendor)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        case.ask(api)
    assert case.ask(api).content == good


def test_other_faults_on_the_wire(api: Any, case: Case) -> None:
    good = case.ask(api).content
    for kind in ("slow_first_byte", "slow_drip"):
        api.sandbox.fault(kind, vendor=case.vendor, seconds=0.01, chunk=4096)
        assert case.ask(api).content == good
    api.sandbox.fault("bad_gzip", vendor=case.vendor)
    with pytest.raises(requests.exceptions.ContentDecodingError):
        case.ask(api)
    api.sandbox.fault("silent", vendor=case.vendor, seconds=0.1)
    with pytest.raises(requests.ConnectionError):
        case.ask(api)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_any_status_with_the_vendors_own_body(api: Any, case: Case, status: int) -> None:
    api.sandbox.fault("status", vendor=case.vendor, status=status, times=2)
    answer = case.ask(api)
    assert answer.status_code == status
    body = answer.json()
    if case.vendor == "bitfinex":
        assert (
            body[0] == "error"
            if isinstance(body, list)
            else body["error"] in ("ERR_RATE_LIMIT", "temporarily_unavailable")
        )
        assert isinstance(body, dict) is (status in (429, 503))
    else:
        assert set(body) == ({"label", "message"} if case.vendor == "gate" else {"message"})
    if status == 429:
        expected = {"gate": "X-Gate-RateLimit-Reset-Timestamp", "coinalyze": "Retry-After"}.get(case.vendor)
        assert expected is None or expected in case.ask(api).headers


def test_html_and_redirects(api: Any, case: Case) -> None:
    api.sandbox.fault("html", vendor=case.vendor)
    assert case.ask(api).text.startswith("<html>")
    api.sandbox.fault("redirect", vendor=case.vendor, location=f"{api.sandbox.url}/_control/now")
    assert case.ask(api).history[0].status_code == 302


def test_an_error_with_200_is_the_vendors_own(api: Any, case: Case) -> None:
    api.sandbox.fault("error_in_200", vendor=case.vendor, message="broken inside")
    answer = case.ask(api)
    assert (answer.status_code, answer.json()) == (200, case.own_error)


def test_out_of_window(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("out_of_window", vendor=case.vendor, seconds=-1000)
    bad = case.rows(case.ask(api))
    moved = 1_000_000 if case.vendor == "bitfinex" else 1000
    for row, old in zip(bad, good, strict=True):
        assert old[case.time] - row[case.time] == moved
        assert type(row[case.time]) is type(old[case.time])


def test_times_that_are_text_stay_text(make: Any) -> None:
    api = make(gate_time="decimal_string")
    good = _orders(api).json()
    api.sandbox.fault("out_of_window", seconds=-10)
    assert _orders(api).json()[0]["time"] == f"{int(good[0]['time'].removesuffix('.000')) - 10}.000"


def test_out_of_order(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("unordered", vendor=case.vendor)
    bad = case.rows(case.ask(api))
    assert bad != good
    assert sorted(map(str, bad)) == sorted(map(str, good))


@pytest.mark.parametrize("nesting", ["one", "flat"])
def test_other_nestings_of_bitfinex(make: Any, nesting: str) -> None:
    api = make(bitfinex_nesting=nesting)
    rows = lambda: api.hist(limit=20).json()[0] if nesting == "one" else api.hist(limit=20).json()  # noqa: E731
    good = rows()
    api.sandbox.fault("unordered")
    bad = rows()
    assert bad != good
    assert sorted(map(str, bad)) == sorted(map(str, good))
    api.sandbox.fault("out_of_window", seconds=1)
    assert [row[2] for row in rows()] == [row[2] + 1000 for row in good]


def test_wrong_types(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("wrong_types", vendor=case.vendor)
    bad = case.rows(case.ask(api))
    assert bad[1:] == good[1:]
    assert bad[0][case.number] == {"unexpected": "object"}


def test_unknown_timestamp_unit(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("timestamp_unit", vendor=case.vendor)
    for row, old in zip(case.rows(case.ask(api)), good, strict=True):
        other = old[case.time] // 1000 if case.vendor == "bitfinex" else old[case.time] * 1000
        assert row[case.time] == other
    api.sandbox.fault("timestamp_unit", vendor=case.vendor, value="noon")
    assert {row[case.time] for row in case.rows(case.ask(api))} == {"noon"}


def test_unknown_fields(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("unknown_fields", vendor=case.vendor)
    answer = case.ask(api)
    for row, old in zip(case.rows(answer), good, strict=True):
        if case.vendor == "bitfinex":
            assert row == [*old, "new", {"a": [1, 2.5, None]}]
        else:
            assert row == {**old, "new_field": "new", "new_object": {"a": [1, 2.5, None]}}
    if case.vendor == "coinalyze":
        assert answer.json()[0]["new_in_envelope"] is True


def test_missing_fields(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    if case.vendor == "bitfinex":
        api.sandbox.fault("missing_fields", vendor=case.vendor, fields=["price_acquired", "symbol"])
        for row, old in zip(case.rows(case.ask(api)), good, strict=True):
            assert row == [*old[:4], None, *old[5:11]]
        return
    api.sandbox.fault("missing_fields", vendor=case.vendor)
    for row, old in zip(case.rows(case.ask(api)), good, strict=True):
        assert row == {name: value for name, value in old.items() if name != case.number}


def test_a_big_page_has_its_padding_in_the_first_row(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("big_page", vendor=case.vendor, megabytes=2)
    answer = case.ask(api)
    assert len(answer.content) > 2_000_000
    bad = case.rows(answer)
    assert bad[1:] == good[1:]
    assert (bad[0][:-1] if case.vendor == "bitfinex" else {**bad[0], **good[0]}) == (
        good[0] if case.vendor == "bitfinex" else {**good[0], "padding": bad[0]["padding"]}
    )


def test_an_empty_page(api: Any, case: Case) -> None:
    good = case.rows(case.ask(api))
    api.sandbox.fault("empty_page", vendor=case.vendor)
    assert case.ask(api).json() == []
    assert api.sandbox.requests()[-1].rows == 0
    assert case.rows(case.ask(api)) == good


def test_a_repeated_page_is_the_one_before(api: Any, case: Case) -> None:
    """Without page tokens, the vendor ignores the start of the next request."""
    first, second = case.ask(api), case.ask(api, 7200)
    assert first.json() != second.json()
    api.sandbox.clear()
    case.ask(api)
    api.sandbox.fault("repeat_token", vendor=case.vendor, times=2)
    assert [case.ask(api, 7200).json() for _ in range(3)] == [first.json(), first.json(), second.json()]


def test_a_next_url_on_another_origin_stands_in_a_header(api: Any, case: Case) -> None:
    good = case.ask(api).json()
    api.sandbox.fault("foreign_next_url", vendor=case.vendor)
    answer = case.ask(api)
    assert answer.json() == good
    assert answer.links["next"]["url"].startswith(f"{api.sandbox.foreign_url}/{case.vendor}/")


def test_errors_are_not_spoilt(api: Any) -> None:
    for kind in (*ROWS, *PAGING):
        if kind != "repeat_token":
            api.sandbox.fault(kind, path_contains="/hist", query_contains="canned")
            api.sandbox.serve("bitfinex", "/v2/liquidations/hist", [["error", 10000, "unknown"]])
            assert api.hist(canned="1").json() == ["error", 10000, "unknown"]


@pytest.mark.parametrize("path", ["/gate/api/v4/futures/usdt/contracts", "/coinalyze/v1/future-markets"])
def test_lists(api: Any, path: str) -> None:
    headers = {"api_key": "sandbox-coinalyze-key"}
    good = api.get(path, headers=headers).json()
    api.sandbox.fault("unknown_fields", fields={"new": 1})
    assert [row.pop("new") for row in api.get(path, headers=headers).json()] == [1] * len(good)
    api.sandbox.fault("missing_fields")
    name = "quanto_multiplier" if "gate" in path else "symbol"
    assert not any(name in row for row in api.get(path, headers=headers).json())
    api.sandbox.fault("unordered")
    assert api.get(path, headers=headers).json() != good
