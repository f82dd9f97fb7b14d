"""Coin Metrics' liquidation metrics: requests, batches, rows, and their shape in `liquidation_volumes`."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import planning, timestamps
from source_liquidations.errors import AccessRefused, ConfigurationError, UnexpectedAnswer
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.unified import LIQUIDATION_VOLUMES
from source_liquidations.vendors.coin_metrics.calls import LONGEST_LIST, batched
from source_liquidations.vendors.coin_metrics.metrics import (
    EXCHANGE,
    EXCHANGE_ASSET,
    LEVELS,
    MARKET,
    PAIR,
    Level,
    LiquidationMetrics,
    metrics_of,
    refused_metric,
)
from source_liquidations.vendors.coin_metrics.vendor import CoinMetrics
from source_liquidations.vendors.patterns import matches
from source_liquidations.vendors.vendor import Feed, Shared
from unit_tests.vendors.bodies import configured, decoded, feed_of, partly, records, sample

SECTION = {"api_key": "key", "markets": ["binance-BTCUSDT-future"], "metrics_for_markets": True}
ENTITIES = {MARKET: "binance-BTCUSDT-future", EXCHANGE_ASSET: "binance-btc", PAIR: "btc-usd", EXCHANGE: "binance"}


def metrics_feed(level: Level, frequency: str = "1h", **section: Any) -> tuple[Feed, Span]:
    feed = feed_of(level.stream.name, {**SECTION, "metrics_frequency": frequency, **section})
    partition = Partition.of(**{level.field: ENTITIES[level]}, frequency=frequency)
    return feed, Span((partition,), 0, timestamps.parse("2100-01-01"))


def endpoint(level: Level, frequency: str = "1h") -> LiquidationMetrics:
    metrics = metrics_feed(level, frequency)[0].endpoint
    assert isinstance(metrics, LiquidationMetrics)
    return metrics


# Requests.


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.field)
@pytest.mark.parametrize("frequency", ["1h", "1d"])
def test_a_request_has_the_four_metrics_of_one_frequency(level: Level, frequency: str) -> None:
    start = timestamps.parse("2026-03-08")
    partitions = tuple(Partition.of(**{level.field: name}, frequency=frequency) for name in ("a-b", "c-d"))
    assert endpoint(level, frequency).first_request(Span(partitions, start, start + timestamps.DAY)) == Request(
        f"/v4/timeseries/{level.field.replace('_', '-')}-metrics",
        (
            (f"{level.field}s", "a-b,c-d"),
            (
                "metrics",
                f"liquidations_reported_future_buy_units_{frequency},"
                f"liquidations_reported_future_buy_usd_{frequency},"
                f"liquidations_reported_future_sell_units_{frequency},"
                f"liquidations_reported_future_sell_usd_{frequency}",
            ),
            ("frequency", frequency),
            ("start_time", "2026-03-08T00:00:00.000000000Z"),
            ("end_time", "2026-03-09T00:00:00.000000000Z"),
            ("end_inclusive", "false"),
            ("paging_from", "start"),
            ("page_size", "10000"),
        ),
    )


def test_a_following_page_repeats_the_request_with_its_token() -> None:
    feed, span = metrics_feed(PAIR, "1d")
    first = feed.endpoint.first_request(span)
    answer = decoded(feed, {**sample("coin_metrics/timeseries__pair-metrics.200"), "next_page_token": "one"}, span)
    assert answer.next_request == Request(first.path, (*first.params, ("next_page_token", "one")))


@pytest.mark.parametrize("frequency", MARKET.frequencies)
def test_windows_are_whole_intervals(frequency: str) -> None:
    one = endpoint(MARKET, frequency)
    assert one.step == {"5m": 300, "1h": 3600, "1d": 86400}[frequency] * 10**9
    assert one.misalignment == 0, "the open interval begins at the last multiple of the step"


@given(
    names=st.sets(st.text("abc-", min_size=1, max_size=300), max_size=120),
    frequency=st.sampled_from(MARKET.frequencies),
    steps=st.integers(1, 30_000),
)
def test_batches_hold_all_and_fit_on_a_page_and_in_a_url(names: set[str], frequency: str, steps: int) -> None:
    one = endpoint(MARKET, frequency)
    partitions = [Partition.of(market=name, frequency=frequency) for name in names]
    batches = list(one.batches(partitions, 0, steps * one.step))
    requested = [partition["market"] for batch in batches for partition in batch]
    assert requested == sorted(names)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * steps <= one.page_size
        assert len(batch) == 1 or len(",".join(partition["market"] for partition in batch)) <= LONGEST_LIST
    assert len(batches) <= len(names)
    if sum(len(name) + 1 for name in names) <= LONGEST_LIST:
        assert len(batches) == math.ceil(len(names) / max(1, one.page_size // steps))


def test_batches_are_in_the_vendors_order() -> None:
    partitions = [Partition.of(pair=name, frequency="1h") for name in ("eth-usd", "btc-usd", "ada-usd")]
    batches = batched(partitions, "pair", 2)
    assert [[partition["pair"] for partition in batch] for batch in batches] == [["ada-usd", "btc-usd"], ["eth-usd"]]


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("binance-*", "binance-btc", True),
        ("binance-*", "binance.us-btc", False),
        ("binance.us-*", "binanceXus-btc", False),
        ("*", "anything-at.all", True),
        ("*-btc", "okex-btc", True),
        ("*-btc", "okex-btcdom", False),
        ("b*-*c", "bybit-btc", True),
        ("btc-usd", "btc-usdt", False),
        ("bitfinex-BTCF0:*", "bitfinex-BTCF0:USTF0-future", True),
        ("[ab]*", "a-b", False),
    ],
)
def test_patterns(pattern: str, name: str, meant: bool) -> None:
    assert matches(pattern, name) is meant


# Rows.

SAMPLES = [(MARKET, "5m", "market"), (EXCHANGE_ASSET, "1d", "exchange-asset"), (PAIR, "1d", "pair"),
           (EXCHANGE, "1d", "exchange")]  # fmt: skip


@pytest.mark.parametrize(("level", "frequency", "name"), SAMPLES)
def test_the_vendors_samples_arrive_as_they_are(level: Level, frequency: str, name: str) -> None:
    """Other metrics than liquidations, too: a field that nobody documented for this call."""
    body = sample(f"coin_metrics/timeseries__{name}-metrics.200")
    feed, span = metrics_feed(level, frequency)
    assert records(feed, body, span)[level.stream.name] == [{**row, "frequency": frequency} for row in body["data"]]


def test_the_sample_of_markets_in_liquidation_volumes() -> None:
    """A buy closed a short. An absent value makes no row."""
    feed, span = metrics_feed(MARKET, "5m")
    body = sample("coin_metrics/timeseries__market-metrics.200")
    rows = records(feed, body, span)["liquidation_volumes"]
    assert len(rows) == len(body["data"])
    assert rows[0] == {
        "vendor": "coin_metrics",
        "market": "binance-BTCUSDT-future",
        "exchange": "binance",
        "asset": "btc",
        "interval": "PT5M",
        "interval_start": "2022-01-19T20:00:00Z",
        "position_side": "short",
        "amount": 1298.36866,
        "unit": "usd",
        "liquidation_count": None,
    }


def row_of(level: Level, entity: str, frequency: str = "1h", **values: str | None) -> dict[str, Any]:
    named = {f"liquidations_reported_future_{name}_{frequency}": value for name, value in values.items()}
    return {level.field: entity, "time": "2026-03-08T01:00:00.000000000Z", **named}


def hour_of(hour: int, **values: str | None) -> dict[str, Any]:
    return {**row_of(PAIR, "btc-usd", "1h", **values), "time": f"2026-03-08T{hour:02d}:00:00.000000000Z"}


@pytest.mark.parametrize(
    ("level", "entity", "market", "exchange", "asset"),
    [
        (MARKET, "okex-BTC-USDT-SWAP-future", "okex-BTC-USDT-SWAP-future", "okx", "btc"),
        (MARKET, "bitmex-XBTUSD-future", "bitmex-XBTUSD-future", "bitmex", "btc"),
        (MARKET, "binance-币安人生USDT-future", "binance-币安人生USDT-future", "binance", "币安人生"),
        (MARKET, "huobi-WHAT_IS_THIS-future", "huobi-WHAT_IS_THIS-future", "huobi", ""),
        (EXCHANGE_ASSET, "okex-btc", "exchange_asset/okex-btc", "okx", "btc"),
        (EXCHANGE_ASSET, "crypto.com-eth", "exchange_asset/crypto.com-eth", "crypto.com", "eth"),
        (PAIR, "btc-usdt", "pair/btc-usdt", "all", "btc"),
        (EXCHANGE, "okex", "exchange/okex", "okx", "all"),
    ],
)
def test_the_row_names_what_is_summed(level: Level, entity: str, market: str, exchange: str, asset: str) -> None:
    feed, _ = metrics_feed(level)
    span = Span((Partition.of(**{level.field: entity}, frequency="1h"),), 0, 2**62)
    values = {"buy_units": "1.5", "buy_usd": "100", "sell_units": "0", "sell_usd": "0.0"}
    rows = records(feed, {"data": [row_of(level, entity, **values)]}, span)["liquidation_volumes"]
    assert {(row["market"], row["exchange"], row["asset"]) for row in rows} == {(market, exchange, asset)}
    assert [(row["position_side"], row["unit"], row["amount"]) for row in rows] == [
        ("short", "coin", 1.5),
        ("short", "usd", 100),
        ("long", "coin", 0),
        ("long", "usd", 0.0),
    ]


_WORD = st.text("ab1", min_size=1, max_size=3)


@given(_WORD, _WORD)
def test_levels_never_share_a_key(one: str, other: str) -> None:
    """Whatever the entities' names: `a-b` may be an exchange's asset and a pair."""
    places = [level.place(f"{one}-{other}" + ("-future" if level is MARKET else "")) for level in LEVELS]
    assert len({market for market, _, _ in places}) == len(LEVELS)


@given(st.lists(st.tuples(_WORD, _WORD), unique=True, max_size=20), st.sampled_from(LEVELS))
def test_entities_never_share_a_key(names: list[tuple[str, str]], level: Level) -> None:
    entities = {"-".join(name) for name in names}
    assert len({level.place(entity)[0] for entity in entities}) == len(entities)


def test_null_and_absent_values_make_no_row_of_volumes() -> None:
    feed, span = metrics_feed(PAIR)
    row = row_of(PAIR, "btc-usd", buy_units=None, sell_usd="0012.500")
    by_stream = records(feed, {"data": [row]}, span)
    assert by_stream[PAIR.stream.name] == [{**row, "frequency": "1h"}]
    (volume,) = by_stream["liquidation_volumes"]
    assert (volume["position_side"], volume["unit"], volume["amount"]) == ("long", "usd", 12.5)


def test_rows_of_several_entities_know_their_partition() -> None:
    feed, _ = metrics_feed(PAIR)
    partitions = tuple(Partition.of(pair=name, frequency="1h") for name in ("a-b", "c-d"))
    rows = [row_of(PAIR, "a-b"), row_of(PAIR, "c-d")]
    assert decoded(feed, {"data": rows}, Span(partitions, 0, 2**62)).rows.owners == [0, 1]
    with pytest.raises(UnexpectedAnswer, match="x-y"):
        decoded(feed, {"data": [row_of(PAIR, "x-y")]}, Span(partitions, 0, 2**62))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"data": [{"pair": "a-b"}]}, "time"),
        ({"data": [{"pair": 1, "time": "2026-03-08T01:00:00Z"}]}, "pair"),
        ({"data": [{"pair": ENTITIES[PAIR], "time": "yesterday"}]}, "`time`"),
        ({"data": [{"pair": "a-b", "time": "2026-03-08T01:00:00Z"}]}, "rows of 'a-b', which was not requested"),
        ({}, "no `data`"),
    ],
)
def test_a_body_of_another_shape_is_refused(body: Any, says: str) -> None:
    feed, span = metrics_feed(PAIR)
    with pytest.raises(UnexpectedAnswer, match=says):
        decoded(feed, body, span)


def test_a_next_page_elsewhere_is_not_requested() -> None:
    feed, span = metrics_feed(PAIR)
    answer = decoded(feed, {"data": [], "next_page_token": "t", "next_page_url": "https://evil.example/"}, span)
    assert "another origin" in str(answer.problem)
    assert answer.next_request is None


@pytest.mark.parametrize("text", ["NaN", "much", "1,5", "1e400", "[]"])
def test_a_value_that_is_no_number_is_refused_in_volumes(text: str) -> None:
    """The whole interval is omitted. The vendor's row arrives unchanged, and other intervals arrive in both shapes."""
    feed, span = metrics_feed(PAIR)
    rows = [
        hour_of(1, sell_usd="1"),
        hour_of(2, buy_units="2", buy_usd=text, sell_usd="2"),
        hour_of(3, sell_usd="3"),
    ]
    by_stream = partly(feed, {"data": rows}, span)
    assert by_stream[PAIR.stream.name] == ([{**row, "frequency": "1h"} for row in rows], [])
    volumes, (fault,) = by_stream["liquidation_volumes"]
    assert [(row["interval_start"], row["amount"]) for row in volumes] == [
        ("2026-03-08T01:00:00Z", 1),
        ("2026-03-08T03:00:00Z", 3),
    ]
    assert fault.instant == timestamps.parse("2026-03-08T02:00:00Z")
    assert isinstance(fault.error, UnexpectedAnswer)
    assert "`liquidations_reported_future_buy_usd_1h`" in str(fault.error)


def test_an_interval_that_is_repeated_exactly_comes_once() -> None:
    """On one page, and from a page to the next."""
    feed, span = metrics_feed(PAIR)
    rows = [hour_of(hour, sell_usd="1") for hour in (1, 2, 3)]
    memory: dict[Any, Any] = {}
    first = records(feed, {"data": [rows[0], rows[1], rows[1]]}, span, memory=memory)
    then = records(feed, {"data": [rows[1], rows[2]]}, span, memory=memory)
    for stream in (PAIR.stream.name, "liquidation_volumes"):
        assert len(first[stream]) == 2
        assert len(then[stream]) == 1
    assert [*first[PAIR.stream.name], *then[PAIR.stream.name]] == [{**row, "frequency": "1h"} for row in rows]


@pytest.mark.parametrize("apart", [False, True], ids=["one page", "two pages"])
def test_an_interval_with_two_values_is_refused(apart: bool) -> None:
    feed, span = metrics_feed(PAIR)
    rows = [row_of(PAIR, "btc-usd", sell_usd="1"), row_of(PAIR, "btc-usd", sell_usd="2")]
    memory: dict[Any, Any] = {}
    if apart:
        decoded(feed, {"data": [rows.pop(0)]}, span, memory=memory)
    with pytest.raises(UnexpectedAnswer, match="twice with different values"):
        decoded(feed, {"data": rows}, span, memory=memory)


def test_entities_have_the_same_intervals_each() -> None:
    feed, _ = metrics_feed(PAIR)
    span = Span(tuple(Partition.of(pair=name, frequency="1h") for name in ("a-b", "c-d")), 0, 2**62)
    rows = [row_of(PAIR, "a-b", sell_usd="1"), row_of(PAIR, "c-d", sell_usd="1"), row_of(PAIR, "c-d", sell_usd="1")]
    answer = decoded(feed, {"data": rows}, span)
    assert (len(answer.rows), answer.rows.owners) == (2, [0, 1])


def test_null_is_no_rows() -> None:
    feed, span = metrics_feed(PAIR)
    answer = decoded(feed, {"data": None}, span)
    assert (len(answer.rows), answer.next_request) == (0, None)


def test_a_frequency_that_the_vendor_sends_stays() -> None:
    feed, span = metrics_feed(PAIR)
    row = {**row_of(PAIR, "btc-usd"), "frequency": "theirs"}
    assert records(feed, {"data": [row]}, span)[PAIR.stream.name] == [row]


# Configuration and refusals.


@pytest.mark.parametrize("level", [PAIR, EXCHANGE], ids=lambda level: level.field)
def test_pairs_and_exchanges_have_no_five_minutes(level: Level) -> None:
    config = {"markets": ["a-B-future"], "metrics_frequency": "5m", level.setting: [ENTITIES[level]]}
    with pytest.raises(ConfigurationError, match="metrics_frequency") as refusal:
        configured("coin_metrics", config)
    assert f"of {level.plural} at 5m" in refusal.value.message
    configured("coin_metrics", {**config, "metrics_frequency": "1d"})
    configured("coin_metrics", {**config, level.setting: []})


def test_markets_and_assets_of_exchanges_have_them() -> None:
    configured(
        "coin_metrics", {"markets": ["a-B-future"], "metrics_frequency": "5m", "metrics_exchange_assets": ["a-b"]}
    )


@pytest.mark.parametrize(
    ("section", "feeds"),
    [
        ({}, False),
        ({"metrics_for_markets": True}, True),
        ({"metrics_for_markets": False}, False),
        ({"metrics_frequency": "1h"}, True),
        ({"metrics_pairs": []}, False),
        ({"metrics_pairs": ["btc-usd"]}, True),
    ],
)
def test_volumes_have_the_configured_metrics(section: dict[str, Any], feeds: bool) -> None:
    config = {"markets": ["a-B-future"], **section}
    assert (LIQUIDATION_VOLUMES in planning.streams([CoinMetrics(config, Shared())])) is feeds
    assert (LIQUIDATION_VOLUMES in feed_of(MARKET.stream.name, config).mappers) is feeds


def test_a_metric_that_the_plan_does_not_have_says_what_to_take_out() -> None:
    body = json.dumps({"error": {"type": "forbidden", "message": f"Requested metric '{metrics_of('1h')[0]}' is not."}})
    error = refused_metric(Response(403, {}, body.encode()))
    assert isinstance(error, AccessRefused)
    assert (error.status, error.scope) == (403, "partition")
    assert "metrics_for_markets" in error.message


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (403, "timeseries__market-liquidations.403"),
        (401, "timeseries__market-liquidations.401.unauthorized"),
        (400, "timeseries__market-liquidations.400"),
    ],
)
def test_other_refusals_are_left_to_their_status(status: int, name: str) -> None:
    body = json.dumps(sample(f"coin_metrics/{name}"))
    assert refused_metric(Response(status, {}, body.encode())) is None
