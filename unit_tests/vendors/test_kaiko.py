"""Kaiko: requests, continuation tokens, rows, and their shapes in the unified streams."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError, UnexpectedAnswer
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Span
from source_liquidations.vendors.vendor import Feed
from unit_tests.vendors.bodies import (
    changed,
    configured,
    decoded,
    kaiko_events,
    kaiko_volumes,
    partly,
    records,
    response,
    sample,
)

START = timestamps.parse("2026-03-08T01:02:03.004Z")
EVENTS, VOLUMES = "kaiko_liquidation_events", "kaiko_token_liquidation_volumes"


# Requests.


def test_events_are_requested_oldest_first_in_the_largest_pages() -> None:
    feed, span = kaiko_events()
    assert feed.endpoint.first_request(Span(span.partitions, START, START + timestamps.DAY)) == Request(
        "/v2/data/liquidation.v1/trades/bbit/perpetual-future/eth-usdt",
        (
            ("start_time", "2026-03-08T01:02:03.004Z"),
            ("end_time", "2026-03-09T01:02:03.004Z"),
            ("sort", "asc"),
            ("page_size", "1000"),
        ),
    )


def test_volumes_name_their_interval() -> None:
    feed, span = kaiko_volumes("btc", "4h")
    start = timestamps.floor_to(START, feed.endpoint.step)
    assert feed.endpoint.step == 4 * timestamps.HOUR
    assert feed.endpoint.first_request(Span(span.partitions, start, start + timestamps.DAY)) == Request(
        "/v2/data/liquidation.v1/token/btc",
        (
            ("interval", "4h"),
            ("start_time", "2026-03-08T00:00:00.000Z"),
            ("end_time", "2026-03-09T00:00:00.000Z"),
            ("sort", "asc"),
            ("page_size", "1000"),
        ),
    )


def test_names_are_escaped_in_paths() -> None:
    feed, span = kaiko_events("bbit/future/a b?c#d/e".replace("/e", "%2Fe"))
    assert feed.endpoint.first_request(span).path.endswith("/trades/bbit/future/a%20b%3Fc%23d%252Fe")


def test_a_following_page_is_requested_with_its_token_alone() -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    assert decoded(feed, body, span).next_request == Request(
        feed.endpoint.first_request(span).path, (("continuation_token", body["continuation_token"]),)
    )


@pytest.mark.parametrize(
    "end",
    [{}, {"continuation_token": None, "next_url": None}, {"continuation_token": "", "next_url": ""}],
    ids=["absent", "null", "empty"],
)
def test_the_last_page_has_no_token(end: dict[str, Any]) -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    del body["continuation_token"], body["next_url"]
    assert decoded(feed, {**body, **end}, span).next_request is None


def test_a_token_may_be_in_the_next_url_only() -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    token = body.pop("continuation_token")
    following = decoded(feed, body, span).next_request
    assert following is not None
    assert following.params == (("continuation_token", token),)


@pytest.mark.parametrize("url", ["https://evil.example/v2?continuation_token=t", "https://us.market-api.kaiko.io/v2"])
def test_a_next_url_elsewhere_or_without_a_token_is_refused(url: str) -> None:
    feed, span = kaiko_events()
    body = {**sample("kaiko/trades_page"), "next_url": url}
    del body["continuation_token"]
    answer = decoded(feed, body, span)
    assert isinstance(answer.problem, UnexpectedAnswer)
    assert answer.next_request is None
    assert len(answer.rows) == len(body["data"]), "the page itself is good"


# Rows.


def test_the_documented_events() -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    place = {"exchange": "bbit", "instrument_class": "perpetual-future", "instrument": "eth-usdt"}
    by_stream = records(feed, body, span)
    times = (
        {"time": "2025-02-24T23:59:13.739Z", "time_ns": 1740441553739000000},
        {"time": "2025-02-24T23:57:26.020Z", "time_ns": 1740441446020000000},
    )
    assert by_stream[EVENTS] == [{**row, **place, **time} for row, time in zip(body["data"], times, strict=True)]
    assert by_stream["liquidations"][0] == {
        "vendor": "kaiko",
        "market": "bbit/perpetual-future/eth-usdt",
        "liquidation_id": "376def42502a7a307b85d7ffdebec8c8c08990b19f6fb165e0f97c8fd058a1b2",
        "exchange": "bybit",
        "base_asset": "eth",
        "quote_asset": "usdt",
        "liquidated_at": "2025-02-24T23:59:13.739Z",
        "liquidated_at_ns": 1740441553739000000,
        "position_side": "long",
        "order_side": "sell",
        "event_type": "trade",
        "price": 2497.71,
        "amount": 0.1,
        "amount_unit": "base",
        "amount_usd": 249.76370743089532,
        "amount_base": 0.1,
        "notional_usd": 249.76370743089532,
        "notional_source": "vendor",
    }


def test_the_documented_volumes() -> None:
    feed, span = kaiko_volumes()
    body = sample("kaiko/token_page")
    assert records(feed, body, span)[VOLUMES] == [{**row, "asset": "eth", "interval": "1h"} for row in body["data"]]


@pytest.mark.parametrize("exchanges", [None, [], ...])
def test_volumes_without_their_exchanges_are_the_sum_alone(exchanges: Any) -> None:
    feed, span = kaiko_volumes()
    volumes = records(feed, changed(sample("kaiko/token_page"), exchanges=exchanges), span)["liquidation_volumes"]
    assert [(row["market"], row["position_side"]) for row in volumes] == [("all/eth", "long"), ("all/eth", "short")]


@pytest.mark.parametrize("value", [None, ..., ""])
@pytest.mark.parametrize(
    ("market", "expected"),
    [
        ("bbit/perpetual-future/eth-usdt", [(5000, "computed"), (99.75268743366291, "vendor")]),
        ("drbt/perpetual-future/eth-usd", [(5000, "computed"), (99.75268743366291, "vendor")]),
        ("okex/perpetual-future/eth-btc", [(None, None), (99.75268743366291, "vendor")]),
    ],
)
def test_a_value_in_dollars_that_is_not_stated_is_computed(
    value: Any, market: str, expected: list[tuple[float | None, str | None]]
) -> None:
    feed, span = kaiko_events(market)
    first, second = sample("kaiko/trades_page")["data"]
    body = changed({"data": [first]}, amount=2, price="2500", amount_usd=value)
    body["data"].append(second)
    liquidations = records(feed, body, span)["liquidations"]
    assert [row["amount_usd"] for row in liquidations] == [None, second["amount_usd"]]
    assert [(row["notional_usd"], row["notional_source"]) for row in liquidations] == expected


def test_numbers_that_are_missing_are_null_and_not_zero() -> None:
    feed, span = kaiko_events()
    body = changed(sample("kaiko/trades_page"), amount=..., amount_usd=None, price="0012.50")
    for row in records(feed, body, span)["liquidations"]:
        assert (row["amount"], row["amount_usd"], row["price"]) == (None, None, 12.5)
        assert (row["amount_base"], row["notional_usd"], row["notional_source"]) == (None, None, None)
    feed, span = kaiko_volumes()
    body = changed(sample("kaiko/token_page"), long_amount=..., short_trades=None, exchanges=None)
    long, short = records(feed, body, span)["liquidation_volumes"]
    assert (long["amount"], short["liquidation_count"]) == (None, None)


@given(st.integers(0, 2**70))
def test_a_timestamp_is_in_a_known_unit_or_an_error(stamp: int) -> None:
    feed, span = kaiko_events()
    body = changed(sample("kaiko/trades_page"), timestamp=stamp)
    low, high = timestamps.parse("2009-01-01"), timestamps.parse("2100-01-01")
    meant = [stamp * unit for unit in (1, 10**3, 10**6) if low <= stamp * unit < high]
    if meant:
        assert decoded(feed, body, span).rows.instants == meant * 2
    else:
        with pytest.raises(UnexpectedAnswer, match="timestamp"):
            decoded(feed, body, span)


def test_units_may_differ_from_row_to_row() -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    body["data"][0]["timestamp"] = 1741785829372000001
    by_stream = records(feed, body, span)
    assert [row["time"] for row in by_stream[EVENTS]] == ["2025-03-12T13:23:49.372000001Z", "2025-02-24T23:57:26.020Z"]
    assert [row["time_ns"] for row in by_stream[EVENTS]] == [1741785829372000001, 1740441446020000000]
    assert [row["liquidated_at"] for row in by_stream["liquidations"]] == [row["time"] for row in by_stream[EVENTS]]


def test_undocumented_fields_arrive_and_the_vendors_own_win() -> None:
    feed, span = kaiko_events()
    body = changed(sample("kaiko/trades_page"), venue={"a": 1}, exchange="theirs", time="theirs", time_ns="theirs")
    by_stream = records(feed, body, span)
    for row in by_stream[EVENTS]:
        assert (row["venue"], row["exchange"], row["time"], row["time_ns"]) == ({"a": 1}, *["theirs"] * 3)
        assert row["instrument"] == "eth-usdt"
    assert [row["liquidated_at"] for row in by_stream["liquidations"]] == [
        "2025-02-24T23:59:13.739Z",
        "2025-02-24T23:57:26.020Z",
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("trade_id", ...), ("trade_id", 5), ("timestamp", ...), ("position_side", 1)]
)
def test_a_row_of_another_shape_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    feed, span = kaiko_events()
    with pytest.raises(UnexpectedAnswer, match=field):
        decoded(feed, changed(sample("kaiko/trades_page"), **{field: value}), span)


@pytest.mark.parametrize(
    "access",
    [
        "7",
        '{"access_range": null}',
        *[
            f'{{"access_range": {{"start_timestamp": {value}, "end_timestamp": {value}}}}}'
            for value in ("0", "true", "{}", '"soon"', "1e400", '"1.0e99999999999999999999"')
        ],
    ],
)
def test_an_access_range_that_cannot_be_read_stops_nothing(access: str) -> None:
    feed, span = kaiko_events()
    body = json.dumps(sample("kaiko/trades_page"))[:-1] + f', "access": {access}}}'
    answer = decoded(feed, body.encode(), span)
    assert len(answer.rows)
    assert answer.readable_range == (None, None)


def test_rows_extend_the_access_range_of_a_key() -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    first = min(row["timestamp"] for row in body["data"])
    body["access"] = {"access_range": {"start_timestamp": first + 1, "end_timestamp": None}}
    later = {**body, "data": [{**body["data"][0], "timestamp": first + 1000}]}
    assert decoded(feed, later, span).readable_range == ((first + 1) * 10**6, None)
    body["data"].sort(key=lambda row: row["timestamp"])
    assert decoded(feed, body, span).readable_range == (None, None)
    assert decoded(feed, later, span).readable_range == (None, None), "it was wrong"


@pytest.mark.parametrize("since", ["1740441446021", "2025-02-24T23:57:26.021Z", 1740441446021.0, 1740441446021000000])
def test_the_access_range_may_be_text_or_of_any_unit(since: Any) -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page") | {"access": {"access_range": {"start_timestamp": since}}}
    body["data"] = [{**body["data"][0], "timestamp": 1740441446022}]
    assert decoded(feed, body, span).readable_range == (1740441446021000000, None)


@pytest.mark.parametrize("value", [[], "much", True])
def test_a_price_that_is_no_number_is_a_fault_and_the_row_beside_it_arrives(value: Any) -> None:
    feed, span = kaiko_events()
    body = sample("kaiko/trades_page")
    body["data"][0]["price"] = value
    rows = decoded(feed, body, span).rows
    assert len(rows) == len(body["data"]) - 1
    (fault,) = rows.faults
    assert "`price` of row 0" in fault.error.message


@pytest.mark.parametrize("value", ["much", [], {}, True, "NaN", "1,5", "1e400"])
@pytest.mark.parametrize("place", ["long_amount", "total_trades", "interval_timestamp", "exchanges"])
def test_a_volume_that_is_no_number_is_a_fault_and_the_interval_beside_it_arrives(place: str, value: Any) -> None:
    feed, span = kaiko_volumes()
    body = sample("kaiko/token_page")
    (row,) = body["data"]
    body["data"] = [
        {**copy.deepcopy(row), "interval_time": f"2025-02-27T{hour}:00:00.000Z"} for hour in ("21", "22", "23")
    ]
    good = records(feed, body, span)
    if place == "exchanges":
        body["data"][1]["exchanges"][1]["short_trades"] = value
    else:
        body["data"][1][place] = value
    for stream, (rows, faults) in partly(feed, body, span).items():
        starts = "interval_start" if stream == "liquidation_volumes" else "interval_time"
        assert rows == [each for each in good[stream] if "T22:" not in each[starts]]
        (fault,) = faults
        assert fault.instant == timestamps.parse("2025-02-27T22:00:00Z")
        assert isinstance(fault.error, UnexpectedAnswer)
        assert f"`{'short_trades' if place == 'exchanges' else place}` of row 1 is " in str(fault.error)


def test_text_that_is_a_number_counts_as_one_also_in_an_exchange() -> None:
    feed, span = kaiko_volumes()
    body = sample("kaiko/token_page")
    body["data"][0]["long_amount"] = "0012.5"
    body["data"][0]["exchanges"][0]["long_trades"] = "007"
    by_stream = records(feed, body, span)
    assert by_stream[VOLUMES][0]["long_amount"] == "0012.5", "it arrives as it is"
    (whole, _, exchange, *_) = by_stream["liquidation_volumes"]
    assert (whole["market"], whole["amount"]) == ("all/eth", 12.5)
    assert (exchange["market"], exchange["liquidation_count"]) == ("bbit/eth", 7)


def test_an_interval_that_is_repeated_exactly_comes_once() -> None:
    """On one page, and from a page to the next."""
    feed, span = kaiko_volumes()
    (row,) = sample("kaiko/token_page")["data"]
    memory: dict[Any, Any] = {}
    first = records(feed, {"data": [row, row]}, span, memory=memory)
    then = records(feed, {"data": [row]}, span, memory=memory)
    assert (len(first[VOLUMES]), len(first["liquidation_volumes"])) == (1, 6)
    assert then == {VOLUMES: [], "liquidation_volumes": []}


@pytest.mark.parametrize("apart", [False, True], ids=["one page", "two pages"])
def test_an_interval_with_two_values_is_refused(apart: bool) -> None:
    feed, span = kaiko_volumes()
    (row,) = sample("kaiko/token_page")["data"]
    rows = [row, {**row, "long_amount": 7}]
    memory: dict[Any, Any] = {}
    if apart:
        decoded(feed, {"data": [rows.pop(0)]}, span, memory=memory)
    with pytest.raises(UnexpectedAnswer, match="twice with different values"):
        decoded(feed, {"data": rows}, span, memory=memory)


def test_two_events_of_one_id_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Both arrive, and so does an exact repeat, which is not reported."""
    feed, span = kaiko_events()
    (row, _) = sample("kaiko/trades_page")["data"]
    memory: dict[Any, Any] = {}
    assert len(records(feed, {"data": [row, row]}, span, memory=memory)[EVENTS]) == 2
    assert not caplog.messages
    for _ in range(2):
        assert len(records(feed, {"data": [{**row, "amount": 7}]}, span, memory=memory)[EVENTS]) == 1
    (warning,) = caplog.messages
    assert warning.startswith(f"{EVENTS}: two different rows have the same key, {row['trade_id']}")


@pytest.mark.parametrize("made", [kaiko_events, kaiko_volumes])
def test_null_is_no_rows(made: Callable[[], tuple[Feed, Span]]) -> None:
    feed, span = made()
    answer = decoded(feed, {"data": None}, span)
    assert (len(answer.rows), answer.next_request) == (0, None)


def test_a_result_that_is_no_error_is_fine() -> None:
    feed, span = kaiko_events()
    assert len(decoded(feed, {**sample("kaiko/trades_page"), "result": "success"}, span).rows) == 2


def test_literals_stay_as_they_were_written() -> None:
    feed, span = kaiko_events()
    text = json.dumps(sample("kaiko/trades_page")).replace("249.77100000000002", "249.771000000000020000")
    answer = feed.endpoint.decode(response(text.encode()), span, feed.endpoint.first_request(span), {})
    assert b"249.771000000000020000" in bytes(answer.rows.raw[0])


# Configuration.


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({}, "kaiko.instruments"),
        ({"instruments": [], "assets": []}, "kaiko.instruments"),
        ({"instruments": ["bbit/spot/btc-usdt"]}, "kaiko.instruments[0]"),
        ({"instruments": ["bbit/*/btc-usdt", "bbit/option-*/x"]}, "kaiko.instruments[1]"),
    ],
)
def test_what_is_needed_is_named(section: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configured("kaiko", {"api_key": "k" * 8, **section})
    assert raised.value.field == field
