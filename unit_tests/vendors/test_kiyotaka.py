"""Kiyotaka: windows up to the vendor's maximum, rows of series, incomplete ids, refusals."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from source_liquidations import planning, timestamps
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    OutOfReach,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading import loop
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Failure, Reading
from source_liquidations.reading.slices import Slice, Slices
from source_liquidations.reading.windows import Gap, Window
from source_liquidations.vendors.kiyotaka.liquidation_agg import KEY, LiquidationAgg
from source_liquidations.vendors.kiyotaka.markets import Body, first_page, next_request
from source_liquidations.vendors.kiyotaka.vendor import explain
from unit_tests.simulated import FakeVendor, Simulation, Unlimited
from unit_tests.vendors.bodies import configured, decoded, feed_of, kiyotaka, partly, records, response, sample

STREAM = "kiyotaka_liquidation_agg"
START = timestamps.parse("2026-03-08T00:00:00Z")
SUM = "BINANCE_FUTURES+BYBIT/BTC"


def endpoint_of(market: str = "BYBIT/BTCUSDT", **section: Any) -> LiquidationAgg:
    feed, _ = kiyotaka(market, **section)
    assert isinstance(feed.endpoint, LiquidationAgg)
    return feed.endpoint


# Requests.


def test_a_symbol() -> None:
    feed, span = kiyotaka("BYBIT/BTCUSDT")
    assert feed.endpoint.first_request(Span(span.partitions, START, START + 5 * timestamps.HOUR)) == Request(
        "/v1/points",
        (
            ("type", "LIQUIDATION_AGG"),
            ("exchange", "BYBIT"),
            ("rawSymbol", "BTCUSDT"),
            ("interval", "HOUR"),
            ("from", "1772928000"),
            ("period", "18000"),
            ("sortDirection", "SORT_DIRECTION_ASC"),
        ),
    )


def test_a_coin_summed_over_exchanges_in_dollars() -> None:
    feed, span = kiyotaka(SUM, denomination="usd", interval="DAY")
    assert feed.endpoint.first_request(Span(span.partitions, START, START + timestamps.DAY)).params == (
        ("type", "LIQUIDATION_AGG"),
        ("exchange", "BINANCE_FUTURES"),
        ("exchange", "BYBIT"),
        ("coin", "BTC"),
        ("interval", "DAY"),
        ("from", "1772928000"),
        ("period", "86400"),
        ("sortDirection", "SORT_DIRECTION_ASC"),
        ("transform.groupBy.type", "GROUP_BY_TYPE_SUM"),
        ("transform.normalize.quote", "USD"),
    )


def test_partitions_are_symbols_and_coins_with_what_makes_other_numbers() -> None:
    section = {"symbols": ["BYBIT/BTCUSDT", "BYBIT/A/B"], "coins": ["BTC"], "coin_exchanges": ["OKEX_SWAP", "BYBIT"]}
    endpoint = feed_of(STREAM, {"api_key": "k" * 8, "interval": "DAY", "denomination": "usd", **section}).endpoint
    rest = (("interval", "DAY"), ("denomination", "usd"))
    partitions = list(endpoint.partitions(Traffic()))
    assert [partition.values for partition in partitions] == [
        (("exchange", "BYBIT"), ("raw_symbol", "BTCUSDT"), *rest),
        (("exchange", "BYBIT"), ("raw_symbol", "A/B"), *rest),
        (("coin", "BTC"), ("exchanges", "BYBIT+OKEX_SWAP"), *rest),
    ]
    assert [partition.entry for partition in partitions] == [
        "kiyotaka.symbols[0]",
        "kiyotaka.symbols[1]",
        "kiyotaka.coins[0]",
    ]


def test_exchanges_in_another_order_are_the_same_sum() -> None:
    """Otherwise another order of the list would read everything again, under other keys in liquidation_volumes."""
    names = ["OKEX_SWAP", "BYBIT", "BINANCE_FUTURES"]
    one, *others = (
        feed_of(STREAM, {"api_key": "k" * 8, "coins": ["BTC"], "coin_exchanges": given}).endpoint
        for given in (names, names[::-1], [*names, "BYBIT"])
    )
    for other in others:
        assert list(one.partitions(Traffic())) == list(other.partitions(Traffic()))


# Windows.


def reading_of(endpoint: LiquidationAgg, start: int, end: int, read: Slices = Slices(), lookback: int = 0) -> Reading:  # noqa: B008 - frozen
    """A sync of one partition of which earlier syncs have `read` slices."""
    (partition,) = endpoint.partitions(Traffic())
    slices = [{"start": timestamps.format_shortest(a), "end": timestamps.format_shortest(b)} for a, b in read]
    saved = [{"partition": dict(partition.values), "slices": slices}] if slices else []
    states = {STREAM: StreamState(STREAM, "time", {"states": saved})}
    plan = partial(planning.gaps, states=states, lookback=lookback)
    return Reading(endpoint, (Output(STREAM),), start, end, plan)


def gaps_of(reading: Reading) -> list[Gap]:
    return reading.plan(reading, list(reading.endpoint.partitions(Traffic())))


def planned(reading: Reading) -> Gap:
    (gap,) = gaps_of(reading)
    return gap


def first_request_of(window: Window) -> tuple[int, int, int]:
    """A window's first request: from, to (seconds), and points over both sides."""
    endpoint = window.gap.reading.endpoint
    params = dict(window.request().params)
    start, period = int(params["from"]), int(params["period"])
    return start, start + period, 2 * period * timestamps.SECOND // endpoint.step


def most_weight(endpoint: LiquidationAgg) -> float:
    """The budget's capacity: a request of more weight would be refused."""
    return min(allowance.capacity for allowance in endpoint.client.budget._allowances)


PLANS: list[dict[str, int]] = [
    {},
    {"requests_per_minute": 100},
    {"weight_per_minute": 1},
    {"requests_per_minute": 600, "weight_per_day": 7},
]


@settings(max_examples=150)
@given(
    interval=st.sampled_from(["MINUTE", "FIVE_MINUTES", "FIFTEEN_MINUTES", "HOUR", "FOUR_HOURS", "DAY", "WEEK"]),
    market=st.sampled_from(["BYBIT/BTCUSDT", SUM]),
    plan=st.sampled_from(PLANS),
    start=st.integers(timestamps.parse("2019-09-10"), timestamps.parse("2026-01-01")),
    seconds=st.integers(1, 4 * 365 * 86_400),
    fraction=st.integers(0, 10**9 - 1),
    saved=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3),
    lookback=st.sampled_from([0, timestamps.HOUR, 3 * timestamps.DAY]),
    most=st.integers(2, 100_000),
)
def test_windows_are_aligned_and_cover_the_range_without_a_gap_and_never_overflow(
    interval: str,
    market: str,
    plan: dict[str, int],
    start: int,
    seconds: int,
    fraction: int,
    saved: list[tuple[float, float]],
    lookback: int,
    most: int,
) -> None:
    """`most` is the vendor's real maximum: larger windows are refused and halved."""
    endpoint = endpoint_of(market, interval=interval, **plan)
    step = endpoint.step
    all_points = seconds * timestamps.SECOND * 2 // step
    most = max(most, all_points // 500)  # a few hundred windows at most
    assume(all_points / (most_weight(endpoint) * 1_000) < 500)
    end = start + seconds * timestamps.SECOND + fraction
    bounds = [tuple(start + int(part * (end - start)) for part in sorted(pair)) for pair in saved]
    read = Slices.of((since, until) for since, until in bounds)
    done: list[Slice] = []
    refused = 0
    gaps = gaps_of(reading_of(endpoint, start, end, read, lookback))
    assert len(gaps) <= 1
    for gap in gaps:
        while (window := gap.open()) is not None:
            gap.reading.reach.request_ended(window.start)
            first, last, points = first_request_of(window)
            assert points <= 100_000
            assert window.request().weight <= most_weight(endpoint)
            assert first * timestamps.SECOND % step == last * timestamps.SECOND % step == 0
            assert last > first
            assert (window.start, window.end) == (window.span.start, window.span.end)
            if points > most:
                refused += 1
                assert gap.halve(window)
                continue
            done.append((first * timestamps.SECOND, last * timestamps.SECOND))
            gap.reading.reach.was_granted(window.start)
            gap.close(window)
        assert gap.ended
    covered = Slices.of(done)
    assert sum(b - a for a, b in done) == sum(b - a for a, b in covered), "points read twice"
    # Whole intervals that no sync has read, and those of the lookback.
    expected = read.missing(timestamps.floor_to(start, step), timestamps.ceil_to(end, step))
    if read.end is not None:
        whole = timestamps.ceil_to(lookback, step)
        expected |= [(max(timestamps.floor_to(start, step), read.end - whole), read.end)]
    assert covered == Slices.of((timestamps.floor_to(a, step), timestamps.ceil_to(b, step)) for a, b in expected)
    assert refused <= 17, "halved once, not again for every window"


@pytest.mark.parametrize(
    ("market", "plan", "points"),
    [
        ("BYBIT/BTCUSDT", {"requests_per_minute": 100}, [100_000, 100_000, 1_600]),
        ("BYBIT/BTCUSDT", {"weight_per_minute": 50}, [100_000, 100_000, 1_600]),
        ("BYBIT/BTCUSDT", {"weight_per_minute": 25}, [50_000, 50_000, 50_000, 50_000, 1_600]),
        ("BYBIT/BTCUSDT", {"weight_per_minute": 25, "weight_per_day": 30}, [30_000] * 6 + [21_600]),
        ("BYBIT/BTCUSDT", {}, [20_000] * 10 + [1_600]),  # the smallest plan's
        (SUM, {}, [14_000] * 14 + [5_600]),  # 14 of them weigh 19.6
        (SUM, {"requests_per_minute": 100}, [100_000, 100_000, 1_600]),
        (SUM, {"weight_per_minute": 25}, [35_000] * 5 + [26_600]),
    ],
)
def test_a_window_is_filled(market: str, plan: dict[str, int], points: list[int]) -> None:
    """Up to the vendor's maximum and the budget's capacity."""
    endpoint = endpoint_of(market, interval="MINUTE", **plan)
    gap = planned(reading_of(endpoint, START, START + 70 * timestamps.DAY))
    assert [first_request_of(window)[2] for window in iter(gap.open, None)] == points


@pytest.mark.parametrize(
    ("market", "intervals", "weight"),
    [
        ("BYBIT/BTCUSDT", 1, 1),
        ("BYBIT/BTCUSDT", 500, 1),
        ("BYBIT/BTCUSDT", 501, 2),
        ("BYBIT/BTCUSDT", 50_000, 100),
        (SUM, 500, 1.4),
        (SUM, 50_000, 140),
        ("A+B+C+D+E/BTC", 500, 2),
    ],
)
def test_what_a_request_weighs(market: str, intervals: int, weight: float) -> None:
    """One for each thousand points begun, of both sides; and a fifth more for each exchange of a sum."""
    feed, span = kiyotaka(market)
    window = Span(span.partitions, START, START + intervals * timestamps.HOUR)
    assert feed.endpoint.first_request(window).weight == pytest.approx(weight)


def test_a_window_of_one_interval_cannot_be_halved() -> None:
    gap = planned(reading_of(endpoint_of(), START, START + timestamps.HOUR))
    window = gap.open()
    assert window is not None
    assert not gap.halve(window)
    assert (gap.open_windows, gap.ranges) == ([window], []), "it is still to be read"


@pytest.mark.parametrize(("interval", "settled"), [("HOUR", 0), ("DAY", 0), ("WEEK", 7 * timestamps.DAY)])
def test_open_buckets_are_read_and_not_settled(interval: str, settled: int) -> None:
    endpoint = endpoint_of(interval=interval)
    end = START + 40 * timestamps.DAY + 90 * timestamps.MINUTE
    reading = reading_of(endpoint, START, end)
    gap = planned(reading)
    ((since, until),) = gap.ranges
    assert since <= START < end < until
    assert reading.settled_until == timestamps.floor_to(end, endpoint.step) - settled <= end
    (output,) = reading.outputs
    window = gap.open()
    assert window is not None
    assert window.covered(output, 0, (since, until)).part == (since, reading.settled_until)


def test_rows_tell_when_weeks_begin() -> None:
    """Then only the open week is read again."""
    endpoint = endpoint_of(interval="WEEK")
    monday = timestamps.parse("2026-03-09T00:00:00Z")
    reading = reading_of(endpoint, START, monday + 17 * timestamps.DAY)
    reading.note_phase([monday])
    assert reading.settled_until == monday + 14 * timestamps.DAY


@pytest.mark.parametrize(("lookback", "weeks"), [(0, 0), (1, 1), (7 * 24, 1), (7 * 24 + 1, 2)])
def test_the_lookback_counts_from_the_monday_that_was_reached(lookback: int, weeks: int) -> None:
    """Intervals that begin before the window are not in it: a window from Thursday on lacks Monday's."""
    monday = timestamps.parse("2026-03-30T00:00:00Z")
    endpoint = endpoint_of(interval="WEEK")
    read, end = Slices(((START - endpoint.step, monday),)), monday + 3 * timestamps.DAY
    gap = planned(reading_of(endpoint, START, end, read, lookback=lookback * timestamps.HOUR))
    ((since, _),) = gap.ranges
    assert monday - (weeks + 1) * endpoint.step < since <= monday - weeks * endpoint.step


def test_streams_with_unequal_progress_request_no_week_twice() -> None:
    """One stream is read up to a Monday, windows begin on Thursdays: that week was requested twice."""
    monday = timestamps.parse("2026-03-30T00:00:00Z")
    endpoint = endpoint_of(interval="WEEK")
    reading = reading_of(endpoint, START, monday + 24 * timestamps.DAY, Slices(((START - endpoint.step, monday),)))
    reading.outputs += (Output("other"),)
    reading.plan.keywords["states"]["other"] = StreamState("other", "time")
    gaps = gaps_of(reading)
    assert sorted(len(gap.outputs) for gap in gaps) == [1, 2]
    ranges = [part for gap in gaps for part in gap.ranges]
    assert all(bound % endpoint.step == 0 for part in ranges for bound in part)
    assert sum(end - start for start, end in ranges) == sum(end - start for start, end in Slices.of(ranges))


# Queries that time out.


class FromMemory:
    """Answers each query with a row an hour; but one of more intervals than `most` with a status."""

    vendor = "kiyotaka"

    def __init__(self, most: int, status: int) -> None:
        self.budget = Unlimited()
        self.sent: list[tuple[int, bool]] = []  # intervals, and whether they are large
        self._most = most
        self._status = status

    def fetch(self, request: Request, traffic: Traffic, **_: Any) -> Response:
        params = dict(request.params)
        start, period = int(params["from"]), int(params["period"])
        self.sent.append((period // 3600, request.is_large))
        if period // 3600 > self._most:
            if request.is_large and self._status == 504:
                raise WindowTooLarge("HTTP 504")
            raise VendorUnavailable(f"HTTP {self._status}", status=self._status)
        points = [{"timestamp": {"s": at}, "liquidations": 1} for at in range(start, start + period, 3600)]
        return response(series_of({"side": "BUY"}, *points))


def synced(hours: int, most: int, status: int = 504) -> tuple[list[tuple[int, bool]], list[int], list[Failure]]:
    """What was requested, the times that arrived, and what failed."""
    endpoint = endpoint_of("BYBIT/BTCUSDT", requests_per_minute=100)
    client = FromMemory(most, status)
    endpoint.client = client  # type: ignore[assignment]
    states = {STREAM: StreamState(STREAM, "time")}
    reading = reading_of(endpoint, START, START + hours * timestamps.HOUR)
    reading.plan = partial(planning.gaps, states=states, lookback=0)
    items = list(loop.Sync([reading], states, workers=1, stop=threading.Event()))
    lines = [line for item in items if isinstance(item, Block) for line in item.data.splitlines()]
    return client.sent, [json.loads(line)["record"]["data"]["timestamp"] for line in lines], reading.failures


def hours_from(start: int, count: int) -> list[int]:
    return [start // timestamps.SECOND + 3600 * hour for hour in range(count)]


@pytest.mark.parametrize(
    ("hours", "most", "sent"),
    [
        (501, 500, [(501, True), (250, False), (250, False), (1, False)]),
        (2_000, 1_000, [(2_000, True), (1_000, True), (1_000, True)]),
        (2_000, 600, [(2_000, True), (1_000, True), (500, False), (500, False), (500, False), (500, False)]),
        (2_000, 2_000, [(2_000, True)]),
    ],
)
def test_large_queries_that_time_out_are_halved(hours: int, most: int, sent: list[tuple[int, bool]]) -> None:
    """The client tries them twice; more than 500 intervals are large."""
    asked_for, times, failures = synced(hours, most)
    assert asked_for == sent
    assert times == hours_from(START, hours)
    assert not failures


@pytest.mark.parametrize(
    ("hours", "status", "sent"),
    [
        (100, 504, [(100, False)]),
        (500, 504, [(500, False)]),  # an outage
        (2_000, 503, [(2_000, True)]),
        (2_000, 504, [(2_000, True), (1_000, True), (500, False)]),  # halved until it is an outage
    ],
)
def test_other_queries_that_fail_are_not(hours: int, status: int, sent: list[tuple[int, bool]]) -> None:
    asked_for, times, (failed,) = synced(hours, 0, status)
    assert asked_for == sent
    assert times == []
    assert isinstance(failed.error, VendorUnavailable)
    assert failed.error.status == status


def test_pages_that_time_out_are_not_halved() -> None:
    """A page does not get smaller with a shorter window of its first request."""
    endpoint = FakeVendor({"a": [*range(2_000)]})

    def fetch(request: Request, *_: Any, **__: Any) -> Any:
        endpoint.client.sent.append(request)
        assert not request.is_large
        raise VendorUnavailable("HTTP 504", status=504)

    endpoint.client.fetch = fetch  # type: ignore[method-assign, assignment]
    sync = Simulation(endpoint, 0, 2_000)
    sync.run()
    assert len(endpoint.client.sent) == len(sync.reading.failures) == 1


# Rows.


def test_the_documented_example() -> None:
    feed, span = kiyotaka("BINANCE_FUTURES/BTCUSDT")
    common = {
        "type": "LIQUIDATION_AGG",
        "exchange": "BINANCE_FUTURES",
        "raw_symbol": "BTCUSDT",
        "normalized_symbol": "BTC-USDT",
        "category": "PERPETUAL",
        "interval": "HOUR",
        "coin": "BTC",
        "denomination": "coin",
        "timestamp": 1774800000,
        "time": "2026-03-29T16:00:00.000Z",
    }
    assert records(feed, sample("kiyotaka/liquidation_agg"), span)[STREAM] == [
        common | {"side": "SELL", "liquidations": 0.223},
        common | {"side": "BUY", "liquidations": 1.529},
    ]


@pytest.mark.parametrize(
    ("point", "amount"),
    [
        ({}, 0),
        ({"liquidations": None}, 0),
        ({"liquidations": 0}, 0),
        ({"liquidations": "12.5"}, 12.5),
        ({"liquidations": 1e-7}, 1e-7),
    ],
)
def test_a_zero_may_be_left_out_and_a_number_may_be_a_string(point: dict[str, Any], amount: float) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"][0]["points"] = [{"Point": {**point, "timestamp": {"s": "1774800000"}}}]
    row, _ = records(feed, body, span)[STREAM]
    assert (row["liquidations"], row["timestamp"]) == (amount, 1774800000)
    assert records(feed, body, span)["liquidation_volumes"][0]["amount"] == amount


def grouped(*lacking: str) -> Any:
    body = sample("kiyotaka/liquidation_agg")
    for series in body["series"]:
        for name in lacking:
            del series["id"][name]
    return body


@pytest.mark.parametrize("how", ["absent", "null", "empty"])
def test_ids_that_a_sum_lacks_are_empty_or_those_of_the_request(how: str) -> None:
    feed, span = kiyotaka(SUM)
    names = ("exchange", "rawSymbol", "normalizedSymbol", "category", "coin", "interval", "type")
    body = grouped(*names)
    for series in body["series"]:
        series["id"] |= {} if how == "absent" else dict.fromkeys(names, None if how == "null" else "")
    by_stream = records(feed, body, span)
    for row in by_stream[STREAM]:
        assert (row["exchange"], row["raw_symbol"], row["category"]) == ("", "", "")
        assert (row["coin"], row["interval"], row["type"]) == ("BTC", "HOUR", "LIQUIDATION_AGG")
        assert row["normalized_symbol"] is None
        assert all(row[name] is not None for name in KEY)
    assert [(row["market"], row["exchange"], row["asset"]) for row in by_stream["liquidation_volumes"]] == [
        ("BINANCE_FUTURES+BYBIT/btc", "binance+bybit", "btc")
    ] * 2


def test_sums_over_exchanges_of_one_company_name_it_once() -> None:
    feed, span = kiyotaka("BINANCE_DELIVERY+BINANCE_FUTURES+BYBIT/BTC")
    (row, _) = records(feed, grouped("exchange", "rawSymbol"), span)["liquidation_volumes"]
    assert (row["market"], row["exchange"]) == ("BINANCE_DELIVERY+BINANCE_FUTURES+BYBIT/btc", "binance+bybit")


@pytest.mark.parametrize("market", [SUM, "BINANCE_FUTURES/BTCUSDT"])
def test_two_series_that_cannot_be_told_apart_are_an_error(market: str) -> None:
    """Without the side both would have the same key, and one would overwrite the other."""
    feed, span = kiyotaka(market)
    with pytest.raises(UnexpectedAnswer, match="2026-03-29T16:00:00Z") as raised:
        decoded(feed, grouped("side"), span)
    assert "one interval comes twice with different values" in str(raised.value)


def test_a_sum_is_keyed_as_a_sum_whatever_its_ids_carry() -> None:
    """Otherwise its rows would have the keys of one of its symbols. The sample's ids are those of a symbol."""
    feed, span = kiyotaka(SUM)
    body = sample("kiyotaka/liquidation_agg")
    by_stream = records(feed, body, span)
    assert by_stream == records(feed, grouped("exchange", "rawSymbol", "normalizedSymbol", "category"), span)
    for row in by_stream[STREAM]:
        assert [row[name] for name in ("exchange", "raw_symbol", "category", "coin")] == ["", "", "", "BTC"]
        assert row["normalized_symbol"] is None
    alone, its_span = kiyotaka("BINANCE_FUTURES/BTCUSDT")
    keys = [tuple(row[name] for name in KEY) for row in (*by_stream[STREAM], *records(alone, body, its_span)[STREAM])]
    assert len(set(keys)) == len(keys) == 4


@pytest.mark.parametrize("point", [{"liquidations": 7}, {"liquidations": 7.25}, {"liquidations": 0}, {}])
@pytest.mark.parametrize("apart", [False, True], ids=["one series", "two series"])
def test_an_interval_that_is_repeated_exactly_comes_once(point: dict[str, Any], apart: bool) -> None:
    feed, span = kiyotaka()
    points = [{**point, "timestamp": {"s": 1774800000 + 3600 * hour}} for hour in (0, 1, 1, 2, 0)]
    body = series_of({"side": "BUY"}, *points)
    if apart:
        body["series"] += series_of({"side": "BUY"}, *points[1:])["series"]
    for rows in records(feed, body, span).values():
        assert len(rows) == 3
    assert decoded(feed, body, span).rows.instants == [(1774800000 + 3600 * hour) * 10**9 for hour in range(3)]


@pytest.mark.parametrize("values", [(7, 8), (7, 0), (None, 7), ("7", 7.5)])
@pytest.mark.parametrize("apart", [False, True], ids=["one series", "two series"])
def test_an_interval_with_two_values_is_refused(values: tuple[Any, Any], apart: bool) -> None:
    feed, span = kiyotaka()
    points = [{"timestamp": {"s": 1774800000}, "liquidations": value} for value in values]
    body = series_of({"side": "BUY"}, *points[: 1 if apart else 2])
    if apart:
        body["series"] += series_of({"side": "BUY"}, points[1])["series"]
    with pytest.raises(UnexpectedAnswer, match="twice with different values: 2026-03-29T16:00:00Z"):
        decoded(feed, body, span)


def test_the_sides_have_the_same_intervals_each() -> None:
    feed, span = kiyotaka()
    point = {"timestamp": {"s": 1774800000}, "liquidations": 7}
    body = {"series": [series_of({"side": side}, point)["series"][0] for side in ("BUY", "SELL")]}
    assert [len(rows) for rows in records(feed, body, span).values()] == [2, 2]


@pytest.mark.parametrize(
    ("market", "identity"),
    [
        ("BYBIT/BTCUSDT", {"exchange": "OKEX_SWAP"}),
        ("BYBIT/BTCUSDT", {"exchange": "bybit"}),
        ("BYBIT/BTCUSDT", {"rawSymbol": "ETHUSDT"}),
        ("BYBIT/BTCUSDT", {"rawSymbol": 5}),
        ("BYBIT/BTCUSDT", {"interval": "DAY"}),
        (SUM, {"interval": "MINUTE"}),
        (SUM, {"coin": "ETH"}),
        (SUM, {"coin": {}}),
    ],
)
@pytest.mark.parametrize("points", [1, 0])
def test_an_answer_to_another_request_is_refused(market: str, identity: dict[str, Any], points: int) -> None:
    """Also one without points: it does not mean that the requested series is empty."""
    feed, span = kiyotaka(market)
    point = {"timestamp": {"s": 1774800000}, "liquidations": 7}
    body = series_of({"side": "BUY", **identity}, *[point] * points)
    (name,) = identity
    name = {"rawSymbol": "raw_symbol"}.get(name, name)
    with pytest.raises(UnexpectedAnswer, match=f"`{name}` is .* but '.*' was requested"):
        decoded(feed, body, span)


@pytest.mark.parametrize(
    ("series", "named"),
    [
        ({"id": 7}, "`id` of a series .* got `int`"),
        ({"points": "x"}, "`points` of a series .* got `str`"),
        ({"points": [7]}, r"`points` of a series .* got `int` - at `\$\[0\]`"),
        ({"points": [{"Point": 7}]}, "`Point` of a series .* got `int`"),
        ({"points": [{"Point": {"timestamp": {"s": "soon"}}}]}, r"`points` of a series .* at `\$\[0\].timestamp.s`"),
    ],
)
def test_a_member_of_another_shape_is_named(series: dict[str, Any], named: str) -> None:
    feed, span = kiyotaka()
    with pytest.raises(UnexpectedAnswer, match=named):
        decoded(feed, {"series": [series]}, span)


def test_a_number_beyond_all_doubles_is_no_text() -> None:
    """Nor an internal error: no decoder takes it."""
    feed, span = kiyotaka()
    body = json.dumps(sample("kiyotaka/liquidation_agg"))
    with pytest.raises(UnexpectedAnswer, match="`exchange` is '1e400', but 'BINANCE_FUTURES' was requested"):
        decoded(feed, body.replace('"BINANCE_FUTURES"', "1e400").encode(), span)
    _, (fault, *_) = partly(feed, body.replace('"SELL"', "1e400").encode(), span)["liquidation_volumes"]
    assert "`side` is '1e400', not text" in str(fault.error)


def test_a_coin_may_be_answered_in_other_letters() -> None:
    feed, span = kiyotaka("BYBIT+OKEX_SWAP/btc")
    point = {"timestamp": {"s": 1774800000}, "liquidations": 7}
    (row,) = records(feed, series_of({"side": "BUY", "coin": "BTC"}, point), span)[STREAM]
    assert row["coin"] == "BTC"
    assert dict(feed.endpoint.first_request(span).params)["coin"] == "btc"


@pytest.mark.parametrize("escaped", [False, True])
def test_the_request_may_be_echoed_in_another_form(escaped: bool) -> None:
    feed, span = kiyotaka("BINANCE_FUTURES/币安人生USDT")
    identity = {"exchange": "BINANCE_FUTURES", "rawSymbol": "币安人生USDT", "interval": "HOUR", "side": "BUY"}
    body = series_of(identity, {"timestamp": {"s": 1774800000}, "liquidations": 7})
    (row,) = records(feed, json.dumps(body, ensure_ascii=escaped).encode(), span)[STREAM]
    assert (row["raw_symbol"], row["liquidations"]) == ("币安人生USDT", 7)


def test_a_series_in_two_parts_is_refused() -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    later = json.loads(json.dumps(body["series"][0]))
    later["points"][0]["Point"]["timestamp"]["s"] += 3600
    body["series"].append(later)
    assert len(records(feed, body, span)[STREAM]) == 3


@pytest.mark.parametrize(
    ("name", "value", "arrives"),
    [
        ("side", "LONG", "LONG"),
        ("side", "", ""),
        ("side", "buy", "buy"),
        ("side", 5, 5),
        ("coin", 5, 5),
        ("normalizedSymbol", [1], [1]),
    ],
)
def test_no_side_is_guessed_for_liquidation_volumes_and_no_asset(name: str, value: Any, arrives: Any) -> None:
    """The vendor's rows arrive as they are; in the other shape the series is a fault, and the one beside it arrives."""
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    good = records(feed, body, span)
    points = body["series"][0]["points"]
    points.insert(0, {"Point": {"timestamp": {"s": 1774800000 + 3600}, "liquidations": 1}})
    body["series"][0]["id"][name] = value
    by_stream = partly(feed, body, span)
    column = "normalized_symbol" if name == "normalizedSymbol" else name
    rows, faults = by_stream[STREAM]
    assert not faults
    assert [row[column] for row in rows] == [arrives, arrives, good[STREAM][1][column]]
    rows, (fault,) = by_stream["liquidation_volumes"]
    assert rows == good["liquidation_volumes"][1:]
    assert fault.instant == 1774800000 * 10**9, "the first of its intervals"
    assert isinstance(fault.error, UnexpectedAnswer)
    assert f"`{column}` is " in str(fault.error)


def test_undocumented_fields_arrive() -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    for series in body["series"]:
        series["id"]["marginType"] = "LINEAR"
        series["points"][0]["Point"] |= {"trades": 7, "more": {"a": [1, None]}}
    for row in records(feed, body, span)[STREAM]:
        assert (row["margin_type"], row["trades"], row["more"]) == ("LINEAR", 7, {"a": [1, None]})


@pytest.mark.parametrize("beside", ["Point", "points"])
def test_undocumented_fields_beside_a_point_or_beside_the_points_arrive(
    beside: str, caplog: pytest.LogCaptureFixture
) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    documented = records(feed, body, span)
    novel = {"partial": True, "note": 7, "more": {"a": [1.50, None]}, "nothing": None}
    for series in body["series"]:
        (series["points"][0] if beside == "Point" else series).update(novel)
    for _ in range(2):
        by_stream = records(feed, body, span)
        assert by_stream[STREAM] == [{**row, **novel} for row in documented[STREAM]]
        assert by_stream["liquidation_volumes"] == documented["liquidation_volumes"]
    (warning,) = caplog.messages
    assert "undocumented fields, which arrive as sent: more, note, nothing, partial" in warning


def test_a_field_of_one_point_is_not_in_other_rows() -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    points = body["series"][0]["points"]
    points.append({"Point": {"timestamp": {"s": points[0]["Point"]["timestamp"]["s"] + 3600}}, "partial": True})
    assert [row.get("partial") for row in records(feed, body, span)[STREAM]] == [None, True]


def test_the_undocumented_field_that_is_nearest_to_the_number_arrives() -> None:
    """A row has each name once, though the answer may have it in four places."""
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    (series,) = body["series"]
    (entry,) = series["points"]
    for place, names in ((series, "abc"), (entry, "bc"), (entry["Point"], "c")):
        place.update(dict.fromkeys(names, len(names)))
    (raw,) = decoded(feed, body, span).rows.raw
    assert bytes(raw).endswith(b',"a":3,"b":2,"c":1}')
    series["id"]["c"] = None
    (raw,) = decoded(feed, body, span).rows.raw
    assert bytes(raw).count(b'"c":null') == bytes(raw).count(b'"c":') == 1


@pytest.mark.parametrize("place", ["series", "entry", "point", "id"])
def test_no_undocumented_field_gets_in_the_place_of_a_column(place: str, caplog: pytest.LogCaptureFixture) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    documented = records(feed, body, span)
    columns = {name for name in documented[STREAM][0] if "_" in name or place in ("series", "entry")}
    columns |= {"time", "denomination"}
    for series in body["series"]:
        entry = series["points"][0]
        at = {"series": series, "entry": entry, "point": entry["Point"], "id": series["id"]}[place]
        at.update(dict.fromkeys(columns, "theirs"))
    for _ in range(2):
        raw = decoded(feed, body, span).rows.raw
        assert all(bytes(row).count(f'"{name}":'.encode()) == 1 for row in raw for name in columns)
        assert records(feed, body, span) == documented
    (warning,) = caplog.messages
    assert warning == (
        "kiyotaka_liquidation_agg: dropped undocumented fields whose column names are blank or taken: "
        + ", ".join(map(repr, sorted(columns)))
    )


def test_a_field_that_differs_from_another_in_case_alone_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    (entry,) = body["series"][0]["points"]
    body["series"][0]["id"] |= {"Coin": 1, "Side": 2, "": 3, "_": 4}
    entry["Point"] |= {"Liquidations": 5, "novel": 6, "Novel": 7, " ": 8}
    entry["Raw_Symbol"] = 9
    for _ in range(2):
        (row,) = records(feed, body, span)[STREAM]
        assert len({name.lower() for name in row}) == len(row)
        assert all(name.strip() for name in row)
        assert (row["coin"], row["liquidations"], row["raw_symbol"]) == ("BTC", 0.223, "BTCUSDT")
        assert (row["side"], row["Novel"], "novel" in row) == ("SELL", 7, False)
    dropped = f"{STREAM}: dropped undocumented fields whose column names are blank or taken: "
    assert caplog.messages == [
        dropped + "'', 'coin', 'side'",
        f"{STREAM}: undocumented fields, which arrive as sent: Novel",
        dropped + "' ', 'Liquidations', 'Raw_Symbol', 'novel'",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"series": []},
        {"series": None},
        {"series": [{"id": {}}]},
        {"series": [{"id": {}, "points": []}]},
        {"series": [{"id": {}, "points": None}]},
        {"series": [{"id": {}, "points": None, "novel": 1}]},
        {"series": [{"points": None}, {"novel": 1}]},
    ],
)
def test_nothing_is_no_rows(body: Any) -> None:
    feed, span = kiyotaka()
    answer = decoded(feed, body, span)
    assert (len(answer.rows), answer.next_request) == (0, None)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"timestamp": {"s": 1774800000000}}, "timestamp"),
        ({"timestamp": {"s": "soon"}}, "timestamp"),
        ({"timestamp": {"s": 0}}, "timestamp"),
        ({"timestamp": {"s": 1774800000, "ns": 10**9}}, "timestamp"),
        ({"timestamp": 1774800000}, "timestamp"),
        ({}, "timestamp"),
    ],
)
def test_a_point_of_another_shape_is_an_error_that_names_the_field(point: Any, words: str) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"][0]["points"] = [{"Point": point}]
    with pytest.raises(UnexpectedAnswer, match=words):
        decoded(feed, body, span)


@pytest.mark.parametrize("value", ["much", {}, [], [1], True, "NaN", "Infinity", "1,5", "1e400", " 7"])
@pytest.mark.parametrize("novel", [{}, {"novel": 1}], ids=["documented", "with a new field"])
def test_a_value_that_is_no_number_is_a_fault_and_the_points_beside_it_arrive(
    value: Any, novel: dict[str, Any]
) -> None:
    feed, span = kiyotaka()
    values = [7, value, None, "8"]
    points = [{"timestamp": {"s": 1774800000 + 3600 * n}, "liquidations": v} for n, v in enumerate(values)]
    body = series_of({"side": "BUY"}, *({**point, **novel} for point in points))
    for stream, (rows, (fault,)) in partly(feed, body, span).items():
        amount, time = ("liquidations", "time") if stream == STREAM else ("amount", "interval_start")
        assert [row[amount] for row in rows] == [7, 0, 8]
        assert [timestamps.parse(row[time]) // 10**9 for row in rows] == [1774800000 + 3600 * n for n in (0, 2, 3)]
        assert fault.instant == (1774800000 + 3600) * 10**9
        assert isinstance(fault.error, UnexpectedAnswer)
        assert "`liquidations` of row 1 is " in str(fault.error)


@pytest.mark.parametrize("body", [[], {"series": {}}, {"series": [{"points": [{}]}]}])
def test_a_body_of_another_shape_is_an_error(body: Any) -> None:
    feed, span = kiyotaka()
    with pytest.raises(UnexpectedAnswer):
        decoded(feed, body, span)


# Markets.


def markets(offset: Any, rows: int = 1) -> Body[Any]:
    return Body(data=[None] * rows, nextOffset=offset)


def test_the_list_of_markets_is_followed_by_its_offset() -> None:
    filters = (("exchange", "BYBIT"),)
    first = first_page(filters)
    assert first.params == (("exchange", "BYBIT"), ("pageSize", "100"), ("pageOffset", "0"))
    assert next_request(first, markets(100)) == first.with_param("pageOffset", "100")
    assert next_request(first, markets("100")) == first.with_param("pageOffset", "100")
    assert next_request(first, markets(None)) is None
    assert next_request(first, markets(0)) is None
    assert next_request(first, markets(200, rows=0)) is None


@pytest.mark.parametrize("offset", [100, 50, "many"])
def test_an_offset_that_does_not_advance_is_an_error(offset: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        next_request(first_page().with_param("pageOffset", "100"), markets(offset))


# Refusals.


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        ("Point count exceeded", WindowTooLarge, "longer interval"),
        ("History range exceeded: your plan covers 30 days", OutOfReach, "`start_date`"),
        ("Data older than 7 days needs a larger plan", OutOfReach, "`start_date`"),
        ("from is too old for this plan", OutOfReach, "`start_date`"),
        ("Maximum lookback exceeded", OutOfReach, "`start_date`"),
    ],
)
def test_a_403_is_recognised_by_its_words(message: str, kind: type[Exception], advice: str) -> None:
    error = explain("kiyotaka", Response(403, {}, json.dumps({"error": "FORBIDDEN", "message": message}).encode()))
    assert type(error) is kind
    assert error is not None
    assert advice in error.message
    assert message in error.message


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "Aggregation over exchanges requires the Advanced plan"), (429, ""), (504, "")],
)
def test_other_answers_are_left_to_their_status(status: int, message: str) -> None:
    body = json.dumps({"error": "FORBIDDEN", "message": message}).encode()
    assert explain("kiyotaka", Response(status, {}, body)) is None


@pytest.mark.parametrize(("platform", "other"), [("kiyotaka", "openmarket"), ("openmarket", "kiyotaka")])
def test_a_key_that_is_refused_may_be_the_other_platforms(platform: str, other: str) -> None:
    body = json.dumps({"error": "UNAUTHORIZED", "message": "Unknown key"}).encode()
    error = endpoint_of(platform=platform).client.explain(Response(401, {}, body))
    assert isinstance(error, AccessRefused)
    assert (error.status, error.scope) == (401, "reading")
    assert "Unknown key" in error.message
    assert f"set `kiyotaka.platform` to {other}" in error.message


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({}, "kiyotaka.symbols"),
        ({"symbols": [], "coins": []}, "kiyotaka.symbols"),
        ({"coins": ["BTC"]}, "kiyotaka.coin_exchanges"),
    ],
)
def test_what_is_needed_is_named(section: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configured("kiyotaka", {"api_key": "k" * 8, **section})
    assert raised.value.field == field


# Answers that are not an empty list.


@pytest.mark.parametrize("body", [{}, {"series": []}, {"series": None}])
def test_an_empty_body_is_no_rows(body: Any) -> None:
    feed, span = kiyotaka()
    assert len(decoded(feed, body, span).rows) == 0


@pytest.mark.parametrize("body", [{"data": []}, {"status": "ok"}])
def test_a_body_of_something_else_is_refused(body: Any) -> None:
    feed, span = kiyotaka()
    with pytest.raises(UnexpectedAnswer, match="no `series`"):
        decoded(feed, body, span)


def series_of(identity: dict[str, Any], *points: dict[str, Any]) -> dict[str, Any]:
    return {"series": [{"id": identity, "points": [{"Point": point} for point in points]}]}


def test_added_fields_are_in_a_row_once() -> None:
    feed, span = kiyotaka("BYBIT/BTCUSDT")
    identity = {"exchange": "BYBIT", "side": "BUY", "coin": "BTC", "time": "x", "timestamp": 1, "liquidations": 2}
    point = {"timestamp": {"s": 1772928000, "ns": "0"}, "liquidations": 7, "side": "y", "time": "z", "extra": 1}
    (row,) = decoded(feed, series_of(identity, point), span).rows.raw
    members = json.loads(bytes(row), object_pairs_hook=list)
    assert len({name for name, _ in members}) == len(members), "no member twice"
    row = dict(members)
    assert (row["side"], row["liquidations"], row["timestamp"], row["extra"]) == ("BUY", 7, 1772928000, 1)
    assert row["time"] == "2026-03-08T00:00:00.000Z"


def test_a_sum_that_comes_exchange_by_exchange_is_refused() -> None:
    """It is not a sum, and it is unknown which of the two belongs to its key."""
    feed, span = kiyotaka(SUM)
    body = {
        "series": [
            series_of(
                {"exchange": name, "side": "BUY", "coin": "BTC"},
                {"timestamp": {"s": 1772928000}, "liquidations": amount},
            )["series"][0]
            for name, amount in (("BINANCE_FUTURES", 7), ("BYBIT", 8))
        ]
    }
    for amounts in ((7, 8), (7, 7)):
        for series, amount in zip(body["series"], amounts, strict=True):
            series["points"][0]["Point"]["liquidations"] = amount
        with pytest.raises(UnexpectedAnswer, match="two series of one answer have the same key"):
            decoded(feed, body, span)


@pytest.mark.parametrize(
    ("exchange", "symbol", "identity", "asset"),
    [
        ("BYBIT", "ETHUSDT", {}, "eth"),
        ("BYBIT", "BTCPERP", {}, "btc"),
        ("BYBIT", "BTCUSDT-27JUN25", {}, "btc"),
        ("BINANCE_FUTURES", "币安人生USDT", {}, "币安人生"),
        ("BITFINEX_DERIVATIVES", "tBTCF0:USTF0", {}, "btc"),
        ("HUOBI_DM", "BTC_CW", {}, "btc"),
        ("HYPERLIQUID_FUTURES", "kPEPE", {}, "kpepe"),
        ("BINANCE_FUTURES", "1000SHIBUSDT", {"coin": "SHIB"}, "shib"),  # the vendor's word
        ("BITMEX", "XBTUSD", {"coin": "XBT"}, "btc"),
        ("BINANCE_FUTURES", "WBTCUSDT", {"coin": "WBTC"}, "wbtc"),
        ("HYPERLIQUID_FUTURES", "BTC", {"coin": "BTC"}, "btc"),
        ("HYPERLIQUID_FUTURES", "xyz:TSLA", {"coin": "xyz:TSLA"}, "tsla"),
        ("BYBIT", "BTCUSDT", {"coin": "BTCUSDT"}, "btc"),  # a symbol is no coin
        ("BYBIT", "BTCUSDT-27JUN25", {"coin": "BTCUSDT"}, "btc"),
        ("BITGET", "WHATUMCBL", {"normalizedSymbol": "BTC-USDT"}, "btc"),
        ("BITGET", "BTCUSDT_UMCBL", {"normalizedSymbol": "BTCUSDT"}, "btc"),
        ("BITGET", "WHATEVER", {"normalizedSymbol": "WHATEVER"}, ""),
        ("BITGET", "WHATEVER", {"coin": "WHATEVER"}, ""),
        ("BITGET", "WHAT_EVER", {"coin": "WHAT_EVER", "normalizedSymbol": "WHAT-EVER"}, ""),
    ],
)
def test_the_asset_is_the_coin_or_that_of_the_symbol(
    exchange: str, symbol: str, identity: dict[str, str], asset: str
) -> None:
    feed, span = kiyotaka(f"{exchange}/{symbol}")
    body = series_of({"side": "SELL", **identity}, {"timestamp": {"s": 1772928000}, "liquidations": 7})
    (row,) = records(feed, body, span)["liquidation_volumes"]
    assert (row["market"], row["asset"]) == (f"{exchange}/{symbol}", asset)
