"""Coin Metrics: requests, batches, tokens, rows, and their shape in `liquidations`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError, RequestRefused, UnexpectedAnswer
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.vendors.coin_metrics.calls import batched
from source_liquidations.vendors.coin_metrics.vendor import CoinMetrics
from source_liquidations.vendors.vendor import Shared
from unit_tests.vendors.bodies import changed, coin_metrics, configured, decoded, partly, records, sample

STREAM = "coin_metrics_market_liquidations"
BODY = "coin_metrics/timeseries__market-liquidations.200"
START = timestamps.parse("2026-03-08T01:02:03.000000004Z")


def partitions(*markets: str) -> tuple[Partition, ...]:
    return tuple(Partition.of(market=market) for market in markets)


# Requests.


def test_pages_begin_at_the_start_and_end_before_the_end() -> None:
    feed, _ = coin_metrics()
    span = Span(partitions("a-B-future", "c-D-future"), START, START + timestamps.DAY)
    assert feed.endpoint.first_request(span) == Request(
        "/v4/timeseries/market-liquidations",
        (
            ("markets", "a-B-future,c-D-future"),
            ("start_time", "2026-03-08T01:02:03.000000004Z"),
            ("end_time", "2026-03-09T01:02:03.000000004Z"),
            ("end_inclusive", "false"),
            ("paging_from", "start"),
            ("page_size", "10000"),
        ),
    )


def test_a_following_page_repeats_the_request_with_its_token() -> None:
    feed, span = coin_metrics()
    first = feed.endpoint.first_request(span)
    following = decoded(feed, {**sample(BODY), "next_page_token": "one"}, span).next_request
    assert following == Request(first.path, (*first.params, ("next_page_token", "one")))
    assert decoded(feed, sample(BODY), span).next_request is None


@pytest.mark.parametrize(
    "page",
    [
        {"next_page_token": "t", "next_page_url": "https://evil.example/v4?next_page_token=t"},
        {"next_page_url": "https://api.coinmetrics.io/v4/timeseries/market-liquidations?page=2"},
    ],
)
def test_a_next_url_elsewhere_or_without_a_token_is_refused(page: dict[str, str]) -> None:
    feed, span = coin_metrics()
    answer = decoded(feed, {**sample(BODY), **page}, span)
    assert isinstance(answer.problem, UnexpectedAnswer)
    assert answer.next_request is None
    assert len(answer.rows) == len(sample(BODY)["data"]), "the page itself is good"


def test_a_token_is_taken_from_the_next_url_where_it_is_nowhere_else() -> None:
    feed, span = coin_metrics()
    url = "https://api.coinmetrics.io/v4/timeseries/market-liquidations?api_key=k&next_page_token=a%2Bb"
    answer = decoded(feed, {**sample(BODY), "next_page_token": None, "next_page_url": url}, span)
    assert answer.next_request is not None
    assert dict(answer.next_request.params)["next_page_token"] == "a+b"


@example([f"binance-币安人生{number}USDT-future" for number in range(100, 400)], 300)
@given(st.lists(st.text("abcdefghij-", min_size=1, max_size=600), unique=True, max_size=60), st.integers(1, 70))
def test_batches_hold_every_market_once_and_fit_into_an_address(markets: list[str], most: int) -> None:
    batches = batched(partitions(*markets), "market", most)
    assert [p["market"] for batch in batches for p in batch] == sorted(markets), "the vendor's order"
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(",".join(quote(p["market"]) for p in batch)) <= 9_000


# Rows.


def test_the_documented_example() -> None:
    feed, span = coin_metrics()
    body = sample(BODY)
    by_stream = records(feed, body, span)
    assert by_stream[STREAM] == [
        {**row, "time_ns": time}
        for row, time in zip(body["data"], (1602344682105000000, 1602344737067000000), strict=True)
    ]
    assert by_stream["liquidations"][0] == {
        "vendor": "coin_metrics",
        "market": "binance-BTCUSDT-future",
        "liquidation_id": "1602344682105000000:trade",
        "exchange": "binance",
        "base_asset": "btc",
        "quote_asset": "usdt",
        "liquidated_at": "2020-10-10T15:44:42.105000000Z",
        "liquidated_at_ns": 1602344682105000000,
        "position_side": "short",
        "order_side": "buy",
        "event_type": "trade",
        "price": 11380.39,
        "amount": 0.045,
        "amount_unit": "contracts",
        "amount_usd": None,
        "amount_base": None,
        "notional_usd": None,
        "notional_source": None,
    }


def test_values_that_are_numbers_are_taken_as_they_are() -> None:
    feed, span = coin_metrics()
    streams = records(feed, changed(sample(BODY), amount=0.045, price=11380, coin_metrics_id=1602344682105000001), span)
    (vendors, *_), (ours, *_) = streams[feed.stream.name], streams["liquidations"]
    assert (vendors["amount"], vendors["price"], vendors["coin_metrics_id"]) == (0.045, 11380, 1602344682105000001)
    assert (ours["amount"], ours["price"]) == (0.045, 11380)
    assert ours["liquidation_id"].startswith("1602344682105000001:")


def test_an_order_and_its_trade_are_two_rows() -> None:
    feed, span = coin_metrics()
    body = sample(BODY)
    body["data"][1] = {**body["data"][0], "type": "order"}
    liquidations = records(feed, body, span)["liquidations"]
    assert [(row["event_type"], row["liquidation_id"].split(":")[1]) for row in liquidations] == [
        ("trade", "trade"),
        ("order", "order"),
    ]
    assert len({row["liquidation_id"] for row in liquidations}) == 2


def test_values_stay_strings_and_undocumented_ones_arrive() -> None:
    feed, span = coin_metrics()
    body = changed(sample(BODY), amount="0.0450000000000000001", liquidity="taker", side=...)
    for row in records(feed, body, span)[STREAM]:
        assert (row["amount"], row["liquidity"]) == ("0.0450000000000000001", "taker")
        assert "side" not in row


def test_a_time_in_nanoseconds_that_the_vendor_sends_stays() -> None:
    feed, span = coin_metrics()
    by_stream = records(feed, changed(sample(BODY), time_ns="theirs"), span)
    assert [row["time_ns"] for row in by_stream[STREAM]] == ["theirs"] * 2
    assert [row["liquidated_at_ns"] for row in by_stream["liquidations"]] == [1602344682105000000, 1602344737067000000]


def test_null_is_no_rows() -> None:
    feed, span = coin_metrics()
    answer = decoded(feed, {"data": None}, span)
    assert (len(answer.rows), answer.next_request) == (0, None)


def test_a_batchs_rows_know_their_partition() -> None:
    feed, _ = coin_metrics()
    body = sample(BODY)
    body["data"][1]["market"] = "bybit-BTCUSDT-future"
    span = Span(partitions("binance-BTCUSDT-future", "bybit-BTCUSDT-future"), 0, 2**62)
    assert decoded(feed, body, span).rows.owners == [0, 1]
    with pytest.raises(UnexpectedAnswer, match="bybit-BTCUSDT-future"):
        decoded(feed, body, Span(partitions("binance-BTCUSDT-future", "okex-X-future"), 0, 2**62))


@pytest.mark.parametrize(
    ("field", "value"),
    [("coin_metrics_id", ...), ("type", ...), ("market", 1), ("time", "today"), ("time", ...), ("amount", [])],
)
def test_a_row_of_another_shape_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    feed, span = coin_metrics()
    with pytest.raises(UnexpectedAnswer, match=field):
        decoded(feed, changed(sample(BODY), **{field: value}), span)


@pytest.mark.parametrize("field", ["amount", "price"])
@pytest.mark.parametrize("text", ["a few", "1,5", "1, 5", "NaN", "-Infinity", "1e400", "[1]", "{}", "true", "1_000"])
def test_no_number_is_guessed(field: str, text: str) -> None:
    """The vendor's rows arrive unchanged, and the unified stream gets all but this one."""
    feed, span = coin_metrics()
    body = sample(BODY)
    good = records(feed, body, span)
    body["data"][0][field] = text
    by_stream = partly(feed, body, span)
    assert by_stream[STREAM] == ([{**good[STREAM][0], field: text}, good[STREAM][1]], [])
    rows, (fault,) = by_stream["liquidations"]
    assert rows == good["liquidations"][1:]
    assert fault.instant == good[STREAM][0]["time_ns"]
    assert f"`{field}` of row 0 is " in fault.error.message


def test_a_faulty_row_affects_only_its_market() -> None:
    feed, _ = coin_metrics()
    body = sample(BODY)
    body["data"][1] |= {"market": "bybit-BTCUSDT-future", "amount": "NaN"}
    span = Span(partitions("binance-BTCUSDT-future", "bybit-BTCUSDT-future"), 0, 2**62)
    rows, (fault,) = partly(feed, body, span)["liquidations"]
    assert [row["market"] for row in rows] == ["binance-BTCUSDT-future"]
    assert fault.owners == [1]


@pytest.mark.parametrize(
    ("text", "number"), [("0012.50", 12.5), ("+5", 5), ("-0.0", 0), ("1E-7", 1e-7), ("", None), (None, None)]
)
def test_text_that_is_a_number_becomes_one(text: str | None, number: float | None) -> None:
    feed, span = coin_metrics()
    body = sample(BODY)
    body["data"][0]["amount"] = text
    by_stream = records(feed, body, span)
    assert [row["amount"] for row in by_stream["liquidations"]] == [number, 0.004]
    assert by_stream[STREAM][0]["amount"] == text


def test_two_events_of_one_key_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Both arrive, and so does an exact repeat, which is not reported."""
    feed, span = coin_metrics()
    body = sample(BODY)
    body["data"] += [body["data"][0], {**body["data"][0], "amount": "7"}]
    memory: dict[Any, Any] = {}
    assert len(records(feed, {"data": body["data"][:3]}, span, memory=memory)[STREAM]) == 3
    assert not caplog.messages
    for _ in range(2):
        assert len(records(feed, {"data": body["data"][3:]}, span, memory=memory)[STREAM]) == 1
    (warning,) = caplog.messages
    assert warning.startswith(f"{STREAM}: two different rows have the same key")
    assert "1602344682105000000" in warning


@pytest.mark.parametrize("market", ["binance-btc-usdt-spot", "deribit-BTC-30JUN23-20000-C-option"])
def test_markets_without_liquidations_are_refused(market: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configured("coin_metrics", {"markets": ["binance-BTCUSDT-future", market]})
    assert raised.value.field == "coin_metrics.markets[1]"


# Names in the messages of check.


@pytest.mark.parametrize(
    ("markets", "words", "named"),
    [
        (
            ["okx-A-future", "okx-B-future", "okx-C-future"],
            "market 'okx-B-future'",
            "okx-B-future (`coin_metrics.markets[1]`): ",
        ),
        (["okx-A-future", "okx-B-future"], "no such market", "`coin_metrics.markets`: "),
        (["okx-A-future"], "no such market", "okx-A-future (`coin_metrics.markets[0]`): "),
    ],
)
def test_check_names_what_the_vendor_refuses_and_its_spelling_once(
    markets: list[str], words: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RequestRefused(f"HTTP 400: {words}", status=400)

    monkeypatch.setattr(Client, "fetch", refuse)
    vendor = CoinMetrics({"api_key": "k" * 8, "markets": markets}, Shared())
    with pytest.raises(RequestRefused) as raised:
        vendor.check(Traffic())
    assert raised.value.message == f"{named}HTTP 400: {words}. Coin Metrics writes okex, not okx."
