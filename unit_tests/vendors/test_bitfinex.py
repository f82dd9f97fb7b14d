"""Bitfinex: bodies in every nesting, rows as objects, the unified shape, error words, the budget, the check."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from source_liquidations.errors import (
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
)
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.vendors.bitfinex import vendor
from source_liquidations.vendors.bitfinex.liquidations import Liquidations, pair_of
from source_liquidations.vendors.bitfinex.rows import canonical
from source_liquidations.vendors.bitfinex.vendor import Bitfinex, explain, translated
from source_liquidations.vendors.vendor import Feed, Shared
from unit_tests.vendors.bitfinex import row
from unit_tests.vendors.bodies import feed_of, partly, records, response, sample, span_of

OWN, UNIFIED = "bitfinex_liquidations", "liquidations"
MS = 1_706_417_848_752
SHORT = {
    "time": "2024-01-27T22:51:59.788Z",
    "ordinal": 0,
    "pos_id": 171085137,
    "mts": 1706395919788,
    "symbol": "tAVAXF0:USTF0",
    "amount": -8,
    "base_price": 32.868,
    "is_match": 1,
    "is_market_sold": 1,
    "price_acquired": 33.255,
}


def bitfinex(*symbols: str) -> tuple[Feed, Span]:
    entries = symbols or ("*",)
    feed = feed_of(OWN, {"symbols": list(entries)})
    partitions = tuple(Partition.of(symbol=entry, entry="bitfinex.symbols[0]") for entry in entries)
    return feed, Span(partitions, span_of(partitions[0]).start, span_of(partitions[0]).end)


def own(body: Any, *symbols: str) -> list[dict[str, Any]]:
    return records(bitfinex(*symbols)[0], body, bitfinex(*symbols)[1])[OWN]


def unified(body: Any, *symbols: str) -> list[dict[str, Any]]:
    return records(bitfinex(*symbols)[0], body, bitfinex(*symbols)[1])[UNIFIED]


def hist(name: str) -> Any:
    return sample(f"bitfinex/liquidations__hist.{name}")


# Bodies.


def test_a_row_by_its_fields() -> None:
    assert own(hist("200")) == [SHORT]


@pytest.mark.parametrize("name", ["200", "200.flat", "200.one_array", "200.trigger_and_matches", "200.fractional_ms"])
def test_every_sample_is_read(name: str) -> None:
    assert own(hist(name))


@pytest.mark.parametrize("nest", [lambda r: [[x] for x in r], lambda r: [r], lambda r: r], ids=["each", "one", "flat"])
@pytest.mark.parametrize("pretty", [False, True])
def test_the_nestings_are_one(nest: Callable[[Any], Any], pretty: bool) -> None:
    rows = [row(MS, 1, is_match=0), row(MS + 1, 1), row(MS + 2, 2, amount=-3)]
    body = json.dumps(nest(rows), indent=2 if pretty else None).encode()
    written = own(body)
    assert [r["mts"] for r in written] == [MS, MS + 1, MS + 2]
    assert written == own(rows)


@pytest.mark.parametrize("body", [b"[]", b"null", b"[[]]"])
def test_no_rows(body: bytes) -> None:
    assert own(body) == []


@pytest.mark.parametrize("elements", [10, 11, 12])
def test_a_missing_element_is_null(elements: int) -> None:
    (record,) = own([[row(MS)[:elements]]])
    assert record["price_acquired"] == (42_000.5 if elements == 12 else None)
    assert set(record) == set(SHORT)


def test_placeholders_and_further_elements_arrive(caplog: pytest.LogCaptureFixture) -> None:
    body = [[[*row(MS, at_3="x", at_10=False), {"a": [1.50]}, None]]]
    (record,) = own(body)
    assert {name: record[name] for name in set(record) - set(SHORT)} == {
        "_3": "x",
        "_10": False,
        "_12": {"a": [1.5]},
        "_13": None,
    }
    assert "undocumented fields, which arrive as sent: _10, _12, _13, _3" in caplog.text


def test_literals_stay_as_they_are() -> None:
    feed, span = bitfinex()
    amount = b"-0.10000000000000000000000000001"
    literal = b'[["pos",9007199254740993,1706417848752,null,"tBTCUSD",%b,1E-7,null,1,1,null,"2.50"]]' % amount
    answer = feed.endpoint.decode(response(literal), span, feed.endpoint.first_request(span), {})
    text = bytes(answer.rows.raw[0])
    for part in (b'"pos_id":9007199254740993,', b":%b," % amount, b":1E-7,", b':"2.50"'):
        assert part in text


@pytest.mark.parametrize(
    ("mts", "time", "nanoseconds"),
    [
        (b"1574697680828", "2019-11-25T16:01:20.828Z", 1_574_697_680_828_000_000),
        (b"1574697680828.2002", "2019-11-25T16:01:20.8282002Z", 1_574_697_680_828_200_200),
        (b"1574697680828.000001", "2019-11-25T16:01:20.828000001Z", 1_574_697_680_828_000_001),
        (b"1574697680828.0000019", "2019-11-25T16:01:20.828000001Z", 1_574_697_680_828_000_001),
        (b"1.574697680828e12", "2019-11-25T16:01:20.828Z", 1_574_697_680_828_000_000),
        (b'"1574697680828"', "2019-11-25T16:01:20.828Z", 1_574_697_680_828_000_000),
    ],
)
def test_times(mts: bytes, time: str, nanoseconds: int) -> None:
    body = json.dumps([row(MS)]).encode().replace(str(MS).encode(), mts)
    assert own(body)[0]["time"] == time
    (event,) = unified(body)
    assert (event["liquidated_at"], event["liquidated_at_ns"]) == (time, nanoseconds)


BAD_BODIES: dict[str, tuple[Any, str]] = {
    "an object": ({"data": []}, "Expected `array"),
    "a number in the array": ([1], "which is not a row"),
    "an object in the array": ([[{"pos": 1}]], "which is not a row"),
    "another first word": ([["position", *row(MS)[1:]]], "which is not a row"),
    "too deep": ([[[row(MS)]]], "which is not a row"),
    "too short": ([row(MS)[:9]], "has 9 elements"),
    "mts, null": ([row(None)], "`mts` of row 0 is 'null'"),  # type: ignore[arg-type]
    "mts, seconds": ([row(MS // 1000)], "`mts` of row 0 is '1706417848', not a Unix time"),
    "mts, microseconds": ([row(MS * 1000)], "`mts` of row 0"),
    "mts, text": ([row("2024-01-28")], "`mts` of row 0"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("body", "says"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_other_bodies_are_refused(body: Any, says: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=says) as caught:
        own(body)
    assert "No row was guessed" in caught.value.message


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (1, None, "`pos_id` of row 1 is null"),
        (4, None, "`symbol` of row 1 is 'null'"),
        (4, 7, "`symbol` of row 1 is '7'"),
        (5, {"a": 1}, "`amount` of row 1"),
        (6, "much", "`base_price` of row 1"),
        (8, True, "`is_match` of row 1"),
        (11, [1], "`price_acquired` of row 1"),
    ],
)
def test_a_faulty_row_is_named_and_the_others_arrive(place: int, value: Any, says: str) -> None:
    body = [row(MS), row(MS + 1, **{f"at_{place}": value}), row(MS + 2)]
    feed, span = bitfinex()
    written, faults = partly(feed, body, span)[OWN]
    assert [r["mts"] for r in written] == [MS, MS + 2]
    assert [fault.instant for fault in faults] == [(MS + 1) * 10**6]
    assert says in faults[0].error.message


def test_rows_of_other_symbols_are_left_out() -> None:
    body = [row(MS, symbol=name) for name in ("tBTCUSD", "tBTCF0:USTF0", "tETHF0:USTF0", "tDOGE:USD")]
    assert [r["symbol"] for r in own(body, "tBTC*", "tDOGE:USD")] == ["tBTCUSD", "tBTCF0:USTF0", "tDOGE:USD"]
    assert [r["market"] for r in unified(body, "t????0:USTF0")] == ["tBTCF0:USTF0", "tETHF0:USTF0"]


# Keys.


def test_equal_rows_are_numbered_however_their_numbers_are_written() -> None:
    a = b'["pos",7,1706417848752,null,"tBTCUSD",-8,1,null,1,1,null,100]'
    b = b'["pos",7,1706417848752,null,"tBTCUSD",-8.0,1,null,1,1,null,1e2]'
    other = b'["pos",7,1706417848752,null,"tBTCUSD",-8.5,1,null,1,1,null,100]'
    by_order = [own(b"[" + b",".join(rows) + b"]") for rows in ([a, b, other], [other, b, a])]
    for written in by_order:
        assert sorted(r["ordinal"] for r in written if r["amount"] == -8) == [0, 1]
        assert [r["ordinal"] for r in written if r["amount"] == -8.5] == [0]
    ids = [
        {r["liquidation_id"] for r in unified(b"[" + a + b"," + b + b"]")},
        {"7:1706417848752:1:1:-8:100:0", "7:1706417848752:1:1:-8:100:1"},
    ]
    assert ids[0] == ids[1]


def test_rows_of_one_key_that_differ_elsewhere_keep_their_numbers_in_any_order() -> None:
    rows = [row(MS, at_6=price) for price in (40_000, 41_000, 42_000)]
    numbered = [{r["base_price"]: r["ordinal"] for r in own(order)} for order in (rows, rows[::-1])]
    assert numbered[0] == numbered[1]


@pytest.mark.parametrize(
    ("literal", "text"),
    [(b"-8.0", "-8"), (b"-0.0", "0"), (b"1E+2", "100"), (b"0.10", "0.1"), (b"100", "100"), (b"null", "null")],
)
def test_canonical_numbers(literal: bytes, text: str) -> None:
    assert canonical(literal) == text


# The unified stream.


def test_a_trigger_and_its_matches() -> None:
    trigger, first, second, *_ = unified(hist("200.trigger_and_matches"))
    assert trigger == {
        "vendor": "bitfinex",
        "market": "tBTCF0:USTF0",
        "liquidation_id": "1:1706417848752:0:0:0.0392:null:0",
        "exchange": "bitfinex",
        "base_asset": "btc",
        "quote_asset": "usdt",
        "liquidated_at": "2024-01-28T04:57:28.752Z",
        "liquidated_at_ns": 1_706_417_848_752_000_000,
        "position_side": "long",
        "order_side": "sell",
        "event_type": "order",
        "price": None,
        "amount": 0.0392,
        "amount_unit": "base",
        "amount_usd": None,
        "amount_base": 0.0392,
        "notional_usd": None,
        "notional_source": None,
    }
    assert (first["event_type"], first["price"], first["amount"]) == ("trade", 42735, 0.0392)
    assert first["notional_usd"] == pytest.approx(0.0392 * 42735)
    assert first["notional_source"] == "computed"
    assert second["amount"] == 0.03908247


def test_triggers_add_up_to_what_was_liquidated() -> None:
    """Of a position of 0.0392 and one of 0.002; the matches say 0.0803."""
    rows = unified(hist("200.trigger_and_matches"))
    total = {kind: sum(r["amount"] for r in rows if r["event_type"] == kind) for kind in ("order", "trade")}
    assert total == {"order": pytest.approx(0.0412), "trade": pytest.approx(0.08028247)}


@pytest.mark.parametrize(("amount", "position", "order"), [(8, "long", "sell"), (-8, "short", "buy"), (0, None, None)])
@pytest.mark.parametrize("is_match", [0, 1])
def test_the_sign_is_the_side(amount: float, position: str | None, order: str | None, is_match: int) -> None:
    (event,) = unified([row(MS, amount=amount, is_match=is_match)])
    assert (event["position_side"], event["order_side"], event["amount"]) == (position, order, abs(amount))


def test_an_amount_of_null() -> None:
    (liquidation,) = unified([row(MS, at_5=None)])
    assert (liquidation["position_side"], liquidation["amount"], liquidation["notional_usd"]) == (None, None, None)


@pytest.mark.parametrize(("value", "event_type"), [(0.0, "order"), ("0", "order"), (1.0, "trade"), ("1", "trade")])
def test_is_match_counts_by_its_value(value: Any, event_type: str) -> None:
    (liquidation,) = unified([row(MS, at_8=value)])
    assert liquidation["event_type"] == event_type


@pytest.mark.parametrize("value", [None, 2])
def test_neither_trigger_nor_match_is_a_fault_of_the_unified_stream_alone(value: Any) -> None:
    body = [row(MS), row(MS + 1, at_8=value)]
    feed, span = bitfinex()
    by_stream = partly(feed, body, span)
    assert len(by_stream[OWN][0]) == 2
    rows, (fault,) = by_stream[UNIFIED]
    assert [r["liquidated_at_ns"] for r in rows] == [MS * 10**6]
    assert "`is_match`" in fault.error.message


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("tBTCUSD", ("btc", "usd")),
        ("tETHUST", ("eth", "usdt")),
        ("tDOGE:UST", ("doge", "usdt")),
        ("tAVAX:BTC", ("avax", "btc")),
        ("tBTCF0:USTF0", ("btc", "usdt")),
        ("tXAUTF0:USTF0", ("xaut", "usdt")),
        ("tBTCDOMF0:USTF0", ("btcdom", "usdt")),
        ("tTESTBTCF0:TESTUSDTF0", ("testbtc", "testusdt")),
        ("tBTCEUT", ("btc", "eurt")),
        ("tBTCXYZ", ("btc", "xyz")),
        ("tUSTXYZ", ("usdt", "xyz")),
        ("tBTCF0:TRYF0", ("btc", "try")),
        ("tSEVENLETTERS", (None, None)),
    ],
)
def test_assets(symbol: str, pair: tuple[str | None, str | None]) -> None:
    assert pair_of(symbol) == pair


def test_a_notional_only_where_the_quote_is_a_dollar() -> None:
    body = [row(MS, symbol=symbol) for symbol in ("tBTCUSD", "tETHF0:BTCF0", "tTESTBTCF0:TESTUSDTF0")]
    assert [r["notional_source"] for r in unified(body)] == ["computed", None, None]


# Error words.


def error(status: int, body: Any) -> Response:
    return response(body) if status == 200 else Response(status, {}, json.dumps(body).encode())


@pytest.mark.parametrize("status", [200, 429, 500, 503])
@pytest.mark.parametrize("name", ["429", "error.11010"])
def test_answers_that_mean_a_429(status: int, name: str) -> None:
    answer = translated(error(status, hist(name)))
    assert answer.status == 429
    assert explain(answer) is None
    assert isinstance(vendor.explain_at_once(answer), vendor.Busy)


@pytest.mark.parametrize("body", [b'{"code": 500, "error": "ERR_RATE_LIMIT"}', b'\n["error",11010]', b"ERR_RATE_LIMIT"])
def test_a_rate_limit_in_another_form(body: bytes) -> None:
    assert translated(Response(500, {}, body)).status == 429


def test_rows_and_other_errors_mean_no_429() -> None:
    rows = [row(MS, pos_id=11010, at_11=11010.5)]
    for answer in (response(hist("200")), error(500, ["error", 10000, "unknown"]), response(rows), response([rows])):
        assert translated(answer) == answer


@pytest.mark.parametrize(
    ("status", "body", "final"),
    [
        (500, "hist", True),
        (500, ["error", 10000, "unknown"], False),
        (500, ["error", 10001, "ERR_GENERIC"], False),
        (500, ["error", 11000, "not ready"], False),
        (500, ["error", 20060, "maintenance"], False),
        (503, {"code": 503, "error": "temporarily_unavailable"}, False),
        (408, {}, False),
        (400, {}, True),
        (401, {}, True),
        (403, {}, True),
        (404, ["error", 10020, "path: invalid"], True),
    ],
)
def test_what_is_final(status: int, body: Any, final: bool) -> None:
    refusal = explain(error(status, hist("500") if body == "hist" else body))
    assert isinstance(refusal, RequestRefused) == final
    if refusal is not None:
        assert refusal.scope == "reading", "each symbol would fail in the same way"
        assert "api_key" not in refusal.message


# The budget.


def made(**section: Any) -> Bitfinex:
    return Bitfinex({"symbols": ["*"], "base_url": "http://127.0.0.1:1", **section}, Shared())


def endpoint_of(made: Bitfinex) -> Liquidations:
    endpoint = made.feeds[0].endpoint
    assert isinstance(endpoint, Liquidations)
    return endpoint


def test_one_request_in_25_seconds_and_never_two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "_budgets", {})
    now = [0.0]
    budget = endpoint_of(made()).client.budget
    monkeypatch.setattr(budget, "_clock", lambda: now[0])
    assert budget.reserve() == 0.0
    budget.sending()
    assert budget.reserve() == pytest.approx(25.0, rel=0.05)
    now[0] = 24.9
    assert budget.reserve() > 0.0
    now[0] = 25.6
    assert budget.reserve() == 0.0
    assert budget.reserve() > 24.0


def test_a_limit_a_minute_is_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "_budgets", {})
    budget = endpoint_of(made(requests_per_minute=3)).client.budget
    assert (budget.requests, budget.seconds) == (1, 20.0)


def test_one_process_has_one_budget_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read right after another command is spaced from it."""
    monkeypatch.setattr(vendor, "_budgets", {})
    first, second = endpoint_of(made()).client.budget, endpoint_of(made()).client.budget
    assert first is second
    assert first.reserve() == 0.0
    assert second.reserve() > 20.0
    elsewhere = Bitfinex({"symbols": ["*"], "base_url": "http://127.0.0.1:2"}, Shared())
    assert endpoint_of(elsewhere).client.budget is not first


def test_requests_one_after_another() -> None:
    endpoint = endpoint_of(made())
    assert (endpoint.splittable, endpoint.max_concurrent_requests, endpoint.page_size) == (False, 1, 500)


# The check.


def checked(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any], *symbols: str) -> tuple[list[str], list[str]]:
    """The result of `check` and the paths that it requests, with these answers of the vendor."""
    configured = Bitfinex({"symbols": list(symbols), "base_url": "http://127.0.0.1:1"}, Shared())
    requested_paths: list[str] = []

    def fetch(request: Request, traffic: Traffic) -> Response:
        del traffic
        requested_paths.append(request.path)
        answer = answers[request.path]
        if isinstance(answer, LiquidationsError):
            raise answer
        return response(answer)

    monkeypatch.setattr(configured._platform, "fetch", fetch)
    return configured.check(Traffic()), requested_paths


PAIRS = [["BTCF0:USTF0", "ETHF0:USTF0"], ["BTCUSD", "DOGE:USD"]]
CANDLES = {"tNOPE:USD": [], "tEOSF0:USTF0": [], "tOLD%2F:USD": [[1, 2, 3, 4, 5, 6]]}
GOOD = {
    vendor.STATUS: [1],
    vendor.PAIRS: PAIRS,
    **{vendor.CANDLES.format(symbol): candles for symbol, candles in CANDLES.items()},
}


def test_the_whole_exchange_needs_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, GOOD, "*") == ([], [vendor.STATUS])


def test_symbols_are_compared_with_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    notes_and_paths = checked(monkeypatch, GOOD, "*", "tBTCUSD", "tETH*", "t????0:USTF0")
    assert notes_and_paths == ([], [vendor.STATUS, vendor.PAIRS])


def test_a_symbol_in_no_list_is_known_by_its_candles(monkeypatch: pytest.MonkeyPatch) -> None:
    (note,), requested_paths = checked(monkeypatch, GOOD, "tBTCUSD", "tOLD/:USD")
    assert "tOLD/:USD: not among today's pairs" in note
    assert requested_paths[2:] == ["/v2/candles/trade:1D:tOLD%2F:USD/hist"]


def test_a_429_for_candles_means_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = vendor.Busy("HTTP 429: ERR_RATE_LIMIT", status=429)
    (note,), _ = checked(monkeypatch, {**GOOD, vendor.CANDLES.format("tNOPE:USD"): busy}, "tNOPE:USD")
    assert "were not compared" in note


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        (["tNOPE:USD"], "`bitfinex.symbols[0]`: 'tNOPE:USD' is not among"),
        (["*", "tEOSF0:USTF0"], "`bitfinex.symbols[1]`: 'tEOSF0:USTF0' is not among"),
        (["tBTCUSD", "tdoge:usd"], "Did you mean tDOGE:USD?"),
        (["tBTCUSD", "tNOPE*"], "`bitfinex.symbols[1]`: no pair that Bitfinex lists matches 'tNOPE*'"),
    ],
)
def test_entries_that_mean_nothing(monkeypatch: pytest.MonkeyPatch, symbols: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked(monkeypatch, GOOD, *symbols)
    assert says in caught.value.message


def test_a_429_means_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = vendor.Busy("HTTP 429: ERR_RATE_LIMIT", status=429)
    answers = {vendor.STATUS: busy, vendor.PAIRS: busy}
    assert checked(monkeypatch, answers, "*")[0] == []
    (note,) = checked(monkeypatch, answers, "tBTCUSD")[0]
    assert "were not compared" in note


@pytest.mark.parametrize(
    ("status", "error", "says"), [([0], VendorUnavailable, "maintenance"), ([2], UnexpectedAnswer, "`status`")]
)
def test_a_platform_that_is_not_operative(
    monkeypatch: pytest.MonkeyPatch, status: Any, error: type[LiquidationsError], says: str
) -> None:
    with pytest.raises(error, match=says):
        checked(monkeypatch, {**GOOD, vendor.STATUS: status}, "*")


def test_the_samples_of_status_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        vendor.STATUS: sample("bitfinex/platform__status.200"),
        vendor.PAIRS: sample("bitfinex/conf__list_pair_futures.200"),
    }
    assert checked(monkeypatch, answers, "tBTCDOMF0:USTF0")[0] == []
