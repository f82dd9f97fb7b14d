"""Kiyotaka: windows that fill but do not overflow, series into rows, what an id may lack, refusals."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_liquidations.reading.progress import StreamState
from source_liquidations.vendors.kiyotaka.markets import Body, following, page_at

from source_liquidations import planning, timestamps
from source_liquidations.config import Config
from source_liquidations.errors import AccessRefused, ConfigurationError, UnexpectedAnswer, WindowTooLarge
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import Output
from source_liquidations.vendors.kiyotaka.liquidation_agg import INTERVALS, KEY, LiquidationAgg
from source_liquidations.vendors.kiyotaka.vendor import explain
from unit_tests.vendors.bodies import configured, decoded, feed, kiyotaka, records, sample

STREAM = "kiyotaka_liquidation_agg"
START = timestamps.parse("2026-03-08T00:00:00Z")
SUM = "BINANCE_FUTURES+BYBIT/BTC"


def endpoint_of(market: str = "BYBIT/BTCUSDT", **section: Any) -> LiquidationAgg:
    held, _ = kiyotaka(market, **section)
    assert isinstance(held.endpoint, LiquidationAgg)
    return held.endpoint


# Requests.


def test_a_symbol() -> None:
    held, span = kiyotaka("BYBIT/BTCUSDT")
    assert held.endpoint.first(Span(span.partitions, START, START + 5 * timestamps.HOUR)) == Request(
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
    held, span = kiyotaka(SUM, denomination="usd", interval="DAY")
    assert held.endpoint.first(Span(span.partitions, START, START + timestamps.DAY)).params == (
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
    endpoint = feed(STREAM, {"api_key": "k" * 8, "interval": "DAY", "denomination": "usd", **section}).endpoint
    rest = (("interval", "DAY"), ("denomination", "usd"))
    found = list(endpoint.partitions(Traffic()))
    assert [partition.values for partition in found] == [
        (("exchange", "BYBIT"), ("raw_symbol", "BTCUSDT"), *rest),
        (("exchange", "BYBIT"), ("raw_symbol", "A/B"), *rest),
        (("coin", "BTC"), ("exchanges", "BYBIT+OKEX_SWAP"), *rest),
    ]
    assert [partition.entry for partition in found] == [
        "kiyotaka.symbols[0]",
        "kiyotaka.symbols[1]",
        "kiyotaka.coins[0]",
    ]


def test_exchanges_in_another_order_are_the_same_sum() -> None:
    """Else turning the list round would read everything again, under other keys in liquidation_volumes."""
    names = ["OKEX_SWAP", "BYBIT", "BINANCE_FUTURES"]
    one, other = (
        feed(STREAM, {"api_key": "k" * 8, "coins": ["BTC"], "coin_exchanges": given}).endpoint
        for given in (names, names[::-1])
    )
    assert list(one.partitions(Traffic())) == list(other.partitions(Traffic()))


# Windows.


def planned(endpoint: LiquidationAgg, start: int, end: int, saved: int | None, lookback: int) -> Run:
    config = Config(start=start, end=end, lookback=lookback, workers=1, vendors={})
    state = StreamState(STREAM, "time")
    (partition,) = endpoint.partitions(Traffic())
    if saved is not None:
        state.advance(partition, saved)
    (plan,) = planning._plan(config, endpoint, [Output(STREAM)], {STREAM: state}, [partition])
    return Run(endpoint, plan.span, plan.settled, cuts_left=8)


def asked(endpoint: LiquidationAgg, window: Window) -> tuple[int, int, int]:
    """A window's first request: from, to (seconds), and points over both sides."""
    params = dict(endpoint.first(window.span).params)
    start, period = int(params["from"]), int(params["period"])
    return start, start + period, 2 * period * timestamps.SECOND // endpoint.step


@settings(max_examples=150)
@given(
    interval=st.sampled_from(list(INTERVALS)),
    market=st.sampled_from(["BYBIT/BTCUSDT", SUM]),
    start=st.integers(timestamps.parse("2019-09-10"), timestamps.parse("2026-01-01")),
    seconds=st.integers(1, 4 * 365 * 86_400),
    fraction=st.integers(0, 10**9 - 1),
    saved=st.one_of(st.none(), st.floats(0, 1)),
    lookback=st.sampled_from([0, timestamps.HOUR, 3 * timestamps.DAY]),
    most=st.integers(2, 100_000),
)
def test_windows_are_aligned_and_cover_the_range_without_a_gap_and_never_overflow(
    interval: str,
    market: str,
    start: int,
    seconds: int,
    fraction: int,
    saved: float | None,
    lookback: int,
    most: int,
) -> None:
    """`most` is what the vendor really takes: windows above it are refused, and halved."""
    most = max(most, seconds * timestamps.SECOND * 2 // INTERVALS[interval] // 500)  # a few hundred windows at most
    endpoint = endpoint_of(market, interval=interval)
    end = start + seconds * timestamps.SECOND + fraction
    position = None if saved is None else start + int(saved * (end - start))
    run = planned(endpoint, start, end, position, lookback)
    read: list[tuple[int, int]] = []
    refused = 0
    opened = run.open_window()
    assert opened is not None
    todo = [opened]
    while todo:
        window = todo.pop()
        first, last, points = asked(endpoint, window)
        assert points <= 100_000
        assert first * timestamps.SECOND % endpoint.step == 0
        assert last * timestamps.SECOND % endpoint.step == 0
        assert last > first
        if points > most:
            refused += 1
            later = run.halve(window)
            todo += [window] if later is None else [later, window]
            continue
        read.append((first, last))
        if not todo and (following := run.open_window()) is not None:
            todo.append(following)
    assert all(one[1] == other[0] for one, other in pairwise(read)), "a gap, or points read twice"
    since = start if position is None else max(start, position - lookback)
    assert read[0][0] * timestamps.SECOND == timestamps.floor_to(since, endpoint.step)
    assert read[-1][1] * timestamps.SECOND == timestamps.ceil_to(end, endpoint.step)
    assert refused <= 17, "halved once and for all, not for every window anew"


def test_a_window_is_filled() -> None:
    endpoint = endpoint_of(interval="MINUTE")
    run = planned(endpoint, START, START + 70 * timestamps.DAY, None, 0)
    windows = [run.open_window(), run.open_window(), run.open_window(), run.open_window()]
    assert [asked(endpoint, window)[2] for window in windows[:3] if window] == [100_000, 100_000, 1_600]
    assert windows[3] is None


def test_a_window_of_one_interval_cannot_be_halved() -> None:
    endpoint = endpoint_of()
    run = planned(endpoint, START, START + timestamps.HOUR, None, 0)
    window = run.open_window()
    assert window is not None
    with pytest.raises(ValueError, match="cannot be made smaller"):
        run.halve(window)


@pytest.mark.parametrize(("interval", "settled"), [("HOUR", 0), ("DAY", 0), ("WEEK", 7 * timestamps.DAY)])
def test_open_buckets_are_read_and_not_settled(interval: str, settled: int) -> None:
    endpoint = endpoint_of(interval=interval)
    end = START + 40 * timestamps.DAY + 90 * timestamps.MINUTE
    run = planned(endpoint, START, end, None, 0)
    assert run.span.end > end
    assert run.settled == timestamps.floor_to(end, endpoint.step) - settled <= end


@pytest.mark.parametrize(("points", "worth"), [(100, False), (1_000, False), (1_001, True)])
def test_only_large_queries_that_time_out_are_halved(points: int, worth: bool) -> None:
    held, span = kiyotaka()
    window = Span(span.partitions, START, START + points * timestamps.HOUR)
    assert held.endpoint.worth_halving(window) is worth


# Rows.


def test_the_documented_example() -> None:
    held, span = kiyotaka("BINANCE_FUTURES/BTCUSDT")
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
    assert records(held, sample("kiyotaka/liquidation_agg"), span)[STREAM] == [
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
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"][0]["points"] = [{"Point": {**point, "timestamp": {"s": "1774800000"}}}]
    row, _ = records(held, body, span)[STREAM]
    assert (row["liquidations"], row["timestamp"]) == (amount, 1774800000)
    assert records(held, body, span)["liquidation_volumes"][0]["amount"] == amount


def grouped(*lacking: str) -> Any:
    body = sample("kiyotaka/liquidation_agg")
    for series in body["series"]:
        for name in lacking:
            del series["id"][name]
    return body


@pytest.mark.parametrize("how", ["absent", "null", "empty"])
def test_ids_that_a_sum_lacks_are_empty_or_what_was_asked_for(how: str) -> None:
    held, span = kiyotaka(SUM)
    names = ("exchange", "rawSymbol", "normalizedSymbol", "category", "coin", "interval", "type")
    body = grouped(*names)
    for series in body["series"]:
        series["id"] |= {} if how == "absent" else dict.fromkeys(names, None if how == "null" else "")
    found = records(held, body, span)
    for row in found[STREAM]:
        assert (row["exchange"], row["raw_symbol"], row["category"]) == ("", "", "")
        assert (row["coin"], row["interval"], row["type"]) == ("BTC", "HOUR", "LIQUIDATION_AGG")
        assert row["normalized_symbol"] is None
        assert all(row[name] is not None for name in KEY)
    assert [(row["market"], row["exchange"], row["asset"]) for row in found["liquidation_volumes"]] == [
        ("BINANCE_FUTURES+BYBIT/btc", "binance+bybit", "btc")
    ] * 2


def test_sums_over_exchanges_of_one_company_name_it_once() -> None:
    held, span = kiyotaka("BINANCE_DELIVERY+BINANCE_FUTURES+BYBIT/BTC")
    (row, _) = records(held, grouped("exchange", "rawSymbol"), span)["liquidation_volumes"]
    assert (row["market"], row["exchange"]) == ("BINANCE_DELIVERY+BINANCE_FUTURES+BYBIT/btc", "binance+bybit")


def test_two_series_that_cannot_be_told_apart_are_an_error() -> None:
    """Without the side both would have one key, and one would overwrite the other."""
    held, span = kiyotaka(SUM)
    with pytest.raises(UnexpectedAnswer, match="same id"):
        decoded(held, grouped("side"), span)


def test_one_series_in_two_parts_is_none() -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    later = json.loads(json.dumps(body["series"][0]))
    later["points"][0]["Point"]["timestamp"]["s"] += 3600
    body["series"].append(later)
    assert len(records(held, body, span)[STREAM]) == 3


@pytest.mark.parametrize("side", ["LONG", "", "buy"])
def test_no_side_is_guessed_for_liquidation_volumes(side: str) -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    body["series"][0]["id"]["side"] = side
    with pytest.raises(UnexpectedAnswer, match="`side`"):
        records(held, body, span)


def test_undocumented_fields_arrive() -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    for series in body["series"]:
        series["id"]["marginType"] = "LINEAR"
        series["points"][0]["Point"] |= {"trades": 7, "more": {"a": [1, None]}}
    for row in records(held, body, span)[STREAM]:
        assert (row["margin_type"], row["trades"], row["more"]) == ("LINEAR", 7, {"a": [1, None]})


@pytest.mark.parametrize("beside", ["Point", "points"])
def test_undocumented_fields_beside_a_point_or_beside_the_points_arrive(
    beside: str, caplog: pytest.LogCaptureFixture
) -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    documented = records(held, body, span)
    novel = {"partial": True, "note": 7, "more": {"a": [1.50, None]}, "nothing": None}
    for series in body["series"]:
        (series["points"][0] if beside == "Point" else series).update(novel)
    for _ in range(2):
        found = records(held, body, span)
        assert found[STREAM] == [{**row, **novel} for row in documented[STREAM]]
        assert found["liquidation_volumes"] == documented["liquidation_volumes"]
    (told,) = caplog.messages
    assert "undocumented fields, which arrive as sent: more, note, nothing, partial" in told


def test_a_field_beside_one_point_is_that_points_alone() -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    points = body["series"][0]["points"]
    points.append({"Point": {"timestamp": {"s": points[0]["Point"]["timestamp"]["s"] + 3600}}, "partial": True})
    assert [row.get("partial") for row in records(held, body, span)[STREAM]] == [None, True]


def test_the_undocumented_field_that_is_nearest_to_the_number_arrives() -> None:
    """A row has each name once, though the answer may have it in four places."""
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = body["series"][:1]
    (series,) = body["series"]
    (entry,) = series["points"]
    for place, names in ((series, "abc"), (entry, "bc"), (entry["Point"], "c")):
        place.update(dict.fromkeys(names, len(names)))
    (raw,) = decoded(held, body, span).rows.raw
    assert bytes(raw).endswith(b',"a":3,"b":2,"c":1}')
    series["id"]["c"] = None
    (raw,) = decoded(held, body, span).rows.raw
    assert bytes(raw).count(b'"c":null') == bytes(raw).count(b'"c":') == 1


@pytest.mark.parametrize("place", ["series", "entry", "point", "id"])
def test_no_undocumented_field_gets_in_the_place_of_a_column(place: str, caplog: pytest.LogCaptureFixture) -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    documented = records(held, body, span)
    columns = {name for name in documented[STREAM][0] if "_" in name or place in ("series", "entry")}
    columns |= {"time", "denomination"}
    for series in body["series"]:
        entry = series["points"][0]
        at = {"series": series, "entry": entry, "point": entry["Point"], "id": series["id"]}[place]
        at.update(dict.fromkeys(columns, "theirs"))
    for _ in range(2):
        raw = decoded(held, body, span).rows.raw
        assert all(bytes(row).count(f'"{name}":'.encode()) == 1 for row in raw for name in columns)
        assert records(held, body, span) == documented
    (told,) = caplog.messages
    assert told.endswith(f"left out: {', '.join(sorted(columns))}")


@pytest.mark.parametrize("body", [{}, {"series": []}, {"series": [{"id": {}}]}, {"series": [{"id": {}, "points": []}]}])
def test_nothing_is_no_rows(body: Any) -> None:
    held, span = kiyotaka()
    answer = decoded(held, body, span)
    assert (len(answer.rows), answer.following) == (0, None)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"timestamp": {"s": 1774800000000}}, "timestamp"),
        ({"timestamp": {"s": "soon"}}, "timestamp"),
        ({"timestamp": {"s": 0}}, "timestamp"),
        ({"timestamp": {"s": 1774800000, "ns": 10**9}}, "timestamp"),
        ({"timestamp": 1774800000}, "timestamp"),
        ({}, "timestamp"),
        ({"timestamp": {"s": 1774800000}, "liquidations": "much"}, "liquidations"),
        ({"timestamp": {"s": 1774800000}, "liquidations": {}}, "liquidations"),
    ],
)
def test_a_point_of_another_shape_is_an_error_that_names_the_field(point: Any, words: str) -> None:
    held, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    body["series"][0]["points"] = [{"Point": point}]
    with pytest.raises(UnexpectedAnswer, match=words):
        decoded(held, body, span)


@pytest.mark.parametrize("body", [[], {"series": {}}, {"series": [{"points": [{}]}]}])
def test_a_body_of_another_shape_is_an_error(body: Any) -> None:
    held, span = kiyotaka()
    with pytest.raises(UnexpectedAnswer):
        decoded(held, body, span)


# Markets.


def markets(offset: Any, rows: int = 1) -> Body[Any]:
    return Body(data=[None] * rows, nextOffset=offset)


def test_the_list_of_markets_is_followed_by_its_offset() -> None:
    filters = (("exchange", "BYBIT"),)
    first = page_at(0, filters)
    assert first.params == (("exchange", "BYBIT"), ("pageSize", "100"), ("pageOffset", "0"))
    assert following(first, markets(100)) == page_at(100, filters)
    assert following(first, markets("100")) == page_at(100, filters)
    assert following(first, markets(None)) is None
    assert following(first, markets(0)) is None
    assert following(first, markets(200, rows=0)) is None


@pytest.mark.parametrize("offset", [100, 50, "many"])
def test_an_offset_that_does_not_advance_is_an_error(offset: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        following(page_at(100), markets(offset))


# Refusals.


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        ("Point count exceeded", WindowTooLarge, "longer interval"),
        ("History range exceeded: your plan covers 30 days", AccessRefused, "`start_date`"),
    ],
)
def test_a_403_is_told_by_its_words(message: str, kind: type[Exception], advice: str) -> None:
    error = explain(Answered(403, {}, json.dumps({"error": "FORBIDDEN", "message": message}).encode()))
    assert isinstance(error, kind)
    assert advice in error.message
    assert message in error.message


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "Aggregation over exchanges requires the Advanced plan"), (401, ""), (429, ""), (504, "")],
)
def test_other_answers_are_left_to_their_status(status: int, message: str) -> None:
    assert explain(Answered(status, {}, json.dumps({"error": "FORBIDDEN", "message": message}).encode())) is None


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


# Answers that are no empty list.


@pytest.mark.parametrize("body", [{}, {"series": []}, {"series": None}])
def test_an_empty_body_is_no_rows(body: Any) -> None:
    held, span = kiyotaka()
    assert len(decoded(held, body, span).rows) == 0


@pytest.mark.parametrize("body", [{"data": []}, {"message": "hello"}])
def test_a_body_of_something_else_is_refused(body: Any) -> None:
    held, span = kiyotaka()
    with pytest.raises(UnexpectedAnswer, match="no `series`"):
        decoded(held, body, span)


def series_of(identity: dict[str, Any], *points: dict[str, Any]) -> dict[str, Any]:
    return {"series": [{"id": identity, "points": [{"Point": point} for point in points]}]}


def test_what_the_connector_says_itself_is_in_a_row_once() -> None:
    held, span = kiyotaka("BYBIT/BTCUSDT")
    identity = {"exchange": "BYBIT", "side": "BUY", "coin": "BTC", "time": "x", "timestamp": 1, "liquidations": 2}
    point = {"timestamp": {"s": 1772928000, "ns": "0"}, "liquidations": 7, "side": "y", "time": "z", "extra": 1}
    (row,) = decoded(held, series_of(identity, point), span).rows.raw
    members = json.loads(bytes(row), object_pairs_hook=list)
    assert len({name for name, _ in members}) == len(members), "no member twice"
    found = dict(members)
    assert (found["side"], found["liquidations"], found["timestamp"], found["extra"]) == ("BUY", 7, 1772928000, 1)
    assert found["time"] == "2026-03-08T00:00:00.000Z"


def test_a_sum_that_comes_exchange_by_exchange_is_told_apart() -> None:
    held, span = kiyotaka(SUM)
    point = {"timestamp": {"s": 1772928000}, "liquidations": 7}
    body = {
        "series": [
            series_of({"exchange": name, "side": "BUY", "coin": "BTC"}, point)["series"][0]
            for name in ("BINANCE_FUTURES", "BYBIT")
        ]
    }
    volumes = records(held, body, span)["liquidation_volumes"]
    assert [(row["market"], row["exchange"]) for row in volumes] == [
        ("BINANCE_FUTURES/btc", "binance"),
        ("BYBIT/btc", "bybit"),
    ]


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
def test_the_asset_is_the_coin_or_what_the_symbol_tells(
    exchange: str, symbol: str, identity: dict[str, str], asset: str
) -> None:
    held, span = kiyotaka(f"{exchange}/{symbol}")
    body = series_of({"side": "SELL", **identity}, {"timestamp": {"s": 1772928000}, "liquidations": 7})
    (row,) = records(held, body, span)["liquidation_volumes"]
    assert (row["market"], row["asset"]) == (f"{exchange}/{symbol}", asset)
