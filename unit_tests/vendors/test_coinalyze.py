"""Coinalyze: symbols and seconds asked for, series into rows, calls counted, edges of the history, refusals."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, ConfigurationError, LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading import coverage
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.unified import LIQUIDATION_VOLUMES
from source_liquidations.vendors.coinalyze.liquidation_history import STREAM, LiquidationHistory, symbols_per_request
from source_liquidations.vendors.coinalyze.vendor import Coinalyze, budget_of, explain
from source_liquidations.vendors.vendor import Shared
from unit_tests.vendors.bodies import (
    EXCHANGES,
    MARKET,
    coinalyze,
    configured,
    decoded,
    feed_of,
    partly,
    records,
    response,
    sample,
)

START = timestamps.parse("2026-03-08T00:00:00Z")
HOUR = timestamps.HOUR
TEN = 1_772_964_000  # 2026-03-08T10:00:00Z
VOLUMES = "liquidation_volumes"


def endpoint_of(*symbols: str, **section: Any) -> LiquidationHistory:
    feed, _ = coinalyze(*symbols, **section)
    assert isinstance(feed.endpoint, LiquidationHistory)
    return feed.endpoint


def series(symbol: str = "BTCUSDT_PERP.A", *points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "history": list(points), **more}


def point(at: Any = TEN, long: Any = 1.5, short: Any = 0.5, **more: Any) -> dict[str, Any]:
    return {"t": at, "l": long, "s": short, **more}


# Requests.


@pytest.mark.parametrize(("denomination", "convert"), [("usd", "true"), ("native", "false")])
def test_several_symbols_of_one_window(denomination: str, convert: str) -> None:
    """Both bounds are inclusive, and seconds: in milliseconds, nothing would be found."""
    feed, span = coinalyze("BTCUSDT_PERP.A", "0.T", denomination=denomination)
    assert feed.endpoint.first_request(Span(span.partitions, START, START + 5 * HOUR)) == Request(
        "/v1/liquidation-history",
        (
            ("symbols", "BTCUSDT_PERP.A,0.T"),
            ("interval", "1hour"),
            ("from", "1772928000"),
            ("to", "1772945999"),
            ("convert_to_usd", convert),
        ),
        weight=2.0,
    )


def test_daily_dollars_by_default() -> None:
    feed, _ = coinalyze("BTCUSDT_PERP.A", interval="daily", denomination="usd")
    plain = Coinalyze({"api_key": "k" * 8, "symbols": ["BTCUSDT_PERP.A"]}, Shared()).feeds[0].endpoint
    span = Span((Partition.of(symbol="BTCUSDT_PERP.A"),), START, START + timestamps.DAY)
    assert feed.endpoint.first_request(span) == plain.first_request(span)
    assert plain.step == timestamps.DAY


# Partitions.

LISTED = [
    {**MARKET, "symbol": symbol, "symbol_on_exchange": symbol.split(".")[0].removesuffix("_PERP")}
    for symbol in ("BTCUSDT_PERP.A", "BTCUSDC_PERP.A", "BTCUSDT.6", "ETHUSDT_PERP.A", "0.T")
]


def partitions_of(*symbols: str, listed: Any = LISTED) -> tuple[LiquidationHistory, list[Partition]]:
    feed, span = coinalyze(*symbols, markets=listed)
    assert isinstance(feed.endpoint, LiquidationHistory)
    return feed.endpoint, list(span.partitions)


def test_patterns_are_matched_against_the_list_and_a_market_is_read_once() -> None:
    endpoint, partitions = partitions_of("0.T", "BTC*_PERP.*", "BTCUSDT_PERP.A", "???USDT.6")
    assert [(p["symbol"], p.entry) for p in partitions] == [
        ("0.T", "coinalyze.symbols[0]"),
        ("BTCUSDC_PERP.A", "coinalyze.symbols[1]"),
        ("BTCUSDT_PERP.A", "coinalyze.symbols[1]"),
        ("BTCUSDT.6", "coinalyze.symbols[3]"),
    ]
    assert {p.values[1:] for p in partitions} == {(("interval", "1hour"), ("denomination", "native"))}
    assert endpoint.entry_errors == []


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("ETHUSDT_PERP.B", ["'ETHUSDT_PERP.B' is not in Coinalyze's list of markets", "Did you mean ETHUSDT_PERP.A"]),
        ("BTCUSDT", ["'BTCUSDT' is not in", "Did you mean BTCUSDT.6 or BTCUSDT_PERP.A?"]),
        ("zzzz", ["'zzzz' is not in", "Compare it with the stream coinalyze_markets."]),
        ("DOGE*", ["no market of Coinalyze's list matches 'DOGE*'"]),
    ],
)
def test_what_the_list_does_not_have_is_named_and_the_others_are_read(symbol: str, words: list[str]) -> None:
    endpoint, partitions = partitions_of("0.T", symbol)
    assert [p["symbol"] for p in partitions] == ["0.T"]
    (error,) = endpoint.entry_errors
    assert error.failure_type == "config_error"
    for word in ("`coinalyze.symbols[1]`", *words):
        assert word in error.message
    with pytest.raises(ConfigurationError):
        endpoint.all_partitions(Traffic())


@pytest.mark.parametrize("empty", [None, []])
def test_an_empty_list_of_markets_has_no_symbol(empty: Any) -> None:
    endpoint, partitions = partitions_of("0.T", listed=empty)
    assert partitions == []
    assert len(endpoint.entry_errors) == 1


def test_more_than_two_thousand_markets_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    listed = [{**MARKET, "symbol": f"T{n}.A"} for n in range(2_001)]
    with caplog.at_level(logging.WARNING, "airbyte"):
        partitions_of("*", listed=listed[:2_000])
        assert caplog.messages == []
        partitions_of("*", listed=listed)
    assert caplog.messages == [
        "coinalyze: `coinalyze.symbols` matches 2,001 markets. Each costs a call, so every sync takes 53 minutes."
    ]


# Calls.


@given(st.integers(1, 65), st.integers(1, 120))
def test_a_request_names_no_more_symbols_than_fit_and_none_is_left_out(count: int, per_minute: int) -> None:
    symbols = [f"T{n}_PERP.A" for n in range(count)]
    endpoint = endpoint_of(*symbols, requests_per_minute=per_minute)
    batches = list(endpoint.batches(endpoint.partitions(Traffic()), 0, 1))
    assert [p["symbol"] for batch in batches for p in batch] == symbols
    most = symbols_per_request(per_minute)
    assert most <= 20
    assert all(len(batch) == most for batch in batches[:-1])
    for batch in batches:
        span = Span(batch, 0, HOUR)
        assert (
            endpoint.first_request(span).weight
            == len(batch)
            == len(endpoint.first_request(span).params[0][1].split(","))
        )
    assert endpoint.estimated_cost(1, 1_000, 7.0) == {"calls": 7}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.sampled_from([1, 2, 5, 38, 40]))
def test_never_more_symbols_in_a_minute_than_calls_and_hardly_less(sizes: list[int], per_minute: int) -> None:
    clock, budget = Clock(), budget_of(per_minute)
    budget._clock = clock  # type: ignore[assignment]
    sent: list[float] = []
    for size in sizes:
        size = min(size, symbols_per_request(per_minute))
        while wait := budget.reserve(float(size)):
            clock.now += wait
        sent += [clock.now] * size
    for at in sent:
        assert sum(at <= other < at + 60 for other in sent) <= per_minute
        assert sum(at <= other < at + 1 for other in sent) <= max(1, per_minute // 2) + per_minute / 60 + 1, "a burst"
    assert clock.now - 1_000 <= 61.3 * (1 + len(sent) / per_minute) * 2


def test_half_a_minutes_symbols_go_out_every_half_minute() -> None:
    clock, budget = Clock(), budget_of(38)
    budget._clock = clock  # type: ignore[assignment]
    assert [budget.reserve(19.0), 29 < budget.reserve(19.0) < 31] == [0.0, True]
    clock.now += 30.7
    assert budget.reserve(19.0) == 0.0
    clock.now += 30.7
    assert budget.reserve(19.0) == 0.0


# Rows.


def test_the_sample() -> None:
    feed, span = coinalyze()
    by_stream = records(feed, sample("coinalyze/liquidation-history.200"), span)
    names = {
        "symbol": "BTCUSDT_PERP.A",
        "interval": "1hour",
        "denomination": "native",
        "exchange": "A",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "oi_lq_vol_denominated_in": "BASE_ASSET",
    }
    time_text = "2025-10-23T10:00:00.000Z"
    assert by_stream[STREAM.name] == [{**names, "time": time_text, "t": 1761213600, "l": 0.068, "s": 0.088}]
    unified = {
        "vendor": "coinalyze",
        "market": "BTCUSDT_PERP.A",
        "exchange": "binance",
        "asset": "btc",
        "interval": "PT1H",
        "interval_start": "2025-10-23T10:00:00Z",
        "unit": "coin",
        "liquidation_count": None,
    }
    assert by_stream[VOLUMES] == [
        {**unified, "position_side": "long", "amount": 0.068},
        {**unified, "position_side": "short", "amount": 0.088},
    ]
    assert by_stream[STREAM.name][0].keys() == STREAM.json_schema()["properties"].keys()


@pytest.mark.parametrize(
    "body", [sample("coinalyze/liquidation-history.200.empty"), None, [series()], [series() | {"history": None}]]
)
def test_no_rows_in_every_form(body: Any) -> None:
    feed, span = coinalyze()
    assert records(feed, body, span) == {STREAM.name: [], VOLUMES: []}


def test_symbols_come_in_any_order_and_some_are_left_out() -> None:
    feed, span = coinalyze("A.A", "B.Y", "C.Q")
    body = [series("C.Q", point(TEN + 3600), point(TEN)), series("A.A", point(TEN, 3, 0))]
    by_stream = records(feed, body, span)
    assert [(row["symbol"], row["t"], row["l"]) for row in by_stream[STREAM.name]] == [
        ("C.Q", TEN + 3600, 1.5),
        ("C.Q", TEN, 1.5),
        ("A.A", TEN, 3),
    ]
    assert decoded(feed, body, span).rows.owners == [2, 2, 0]
    assert [(row["market"], row["position_side"], row["amount"]) for row in by_stream[VOLUMES][-2:]] == [
        ("A.A", "long", 3),
        ("A.A", "short", 0),
    ]


@pytest.mark.parametrize("literal", ["0.12345678901234567890123456789", "1E-7", "2.50", "-0.0", "7", "0e3"])
def test_numbers_keep_their_literals(literal: str) -> None:
    feed, span = coinalyze()
    body = json.dumps([series("BTCUSDT_PERP.A", point(long="@"))]).replace('"@"', literal).encode()
    (row,) = decoded(feed, body, span).rows.raw
    assert f'"l":{literal},' in bytes(row).decode().replace(" ", "")
    assert records(feed, body, span)[VOLUMES][0]["amount"] == float(literal)


@pytest.mark.parametrize(("given", "amount"), [("1.50", 1.5), (None, None), ("", None), (0, 0)])
def test_text_that_is_a_number_null_and_zero(given: Any, amount: Any) -> None:
    feed, span = coinalyze()
    by_stream = records(feed, [series("BTCUSDT_PERP.A", point(long=given))], span)
    assert by_stream[STREAM.name][0]["l"] == (None if given == "" else given)
    assert by_stream[VOLUMES][0]["amount"] == amount


def test_a_value_that_is_no_number_is_a_fault_of_its_row_alone() -> None:
    feed, span = coinalyze("A.A", "B.A")
    body = [series("A.A", point(TEN)), series("B.A", point(TEN), point(TEN + 3600, short={"a": 1}), point(TEN + 7200))]
    for stream, (rows, faults) in partly(feed, body, span).items():
        assert len(rows) == (3 if stream == STREAM.name else 6)
        (fault,) = faults
        assert fault.instant == (TEN + 3600) * 10**9
        assert fault.owners == [1]
        assert fault.error.message.startswith("`s` of row 2 is")
        assert "No row was guessed" in fault.error.message


@pytest.mark.parametrize("at", [TEN * 1000, -5, 0, "soon", True, 17.5, None, {}, str(TEN * 1000), TEN // 10])
def test_a_time_that_is_no_unix_second_is_an_error(at: Any) -> None:
    feed, span = coinalyze()
    with pytest.raises(UnexpectedAnswer, match=r"`t`|`int \| str`"):
        decoded(feed, [series("BTCUSDT_PERP.A", point(at))], span)


def test_a_time_as_text() -> None:
    feed, span = coinalyze()
    (row,) = records(feed, [series("BTCUSDT_PERP.A", point(str(TEN)))], span)[STREAM.name]
    assert (row["t"], row["time"]) == (str(TEN), "2026-03-08T10:00:00.000Z")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"series": []}, "array"),
        ([{"history": []}], "symbol"),
        ([{"symbol": "BTCUSDT_PERP.A"}], "history"),
        ([{"symbol": "BTCUSDT_PERP.A", "history": {}}], "history"),
        ([series("BTCUSDT_PERP.A", {"l": 1, "s": 2})], "`t`"),
        ([[1, 2]], "object"),
        ([{"symbol": "BTCUSDT_PERP.A", "history": [None]}], "object"),
        ([{"symbol": "BTCUSDT_PERP.A", "history": [None], "undocumented": 1}], "object"),
        ([series("ETHUSDT_PERP.A", point())], "'ETHUSDT_PERP.A', which was not requested"),
    ],
)
def test_bodies_of_another_shape_are_refused(body: Any, words: str) -> None:
    feed, span = coinalyze()
    with pytest.raises(UnexpectedAnswer, match=words):
        decoded(feed, body, span)


def test_an_interval_that_comes_twice() -> None:
    feed, span = coinalyze()
    twice = [series("BTCUSDT_PERP.A", point(), point()), series("BTCUSDT_PERP.A", point(TEN + 3600))]
    assert len(records(feed, twice, span)[STREAM.name]) == 2
    with pytest.raises(UnexpectedAnswer, match="one interval comes twice with different values"):
        decoded(feed, [series("BTCUSDT_PERP.A", point(), point(long=2))], span)
    with pytest.raises(UnexpectedAnswer, match="one interval comes twice with different values"):
        decoded(feed, [series("BTCUSDT_PERP.A", point()), series("BTCUSDT_PERP.A", point(long=2))], span)


def test_undocumented_fields_of_points_and_series_arrive(caplog: pytest.LogCaptureFixture) -> None:
    feed, span = coinalyze()
    body = [series("BTCUSDT_PERP.A", point(n=3, exchange="?"), point(TEN + 3600, o={"x": [1.50]}), n=7, interval=None)]
    text = json.dumps(body, indent=2).replace("\n", "\r\n").replace("1.5", "1.50").encode()
    with caplog.at_level(logging.WARNING, "airbyte"):
        first, second = records(feed, text, span)[STREAM.name]
    assert (first["n"], first["exchange"], first["interval"]) == (3, "?", "1hour"), "the vendor's, unless it is null"
    assert (second["n"], second["o"], second["exchange"]) == (7, {"x": [1.5]}, "A")
    assert b"\n" not in bytes(decoded(feed, text, span).rows.raw[0])
    assert sum("which arrive as sent" in message for message in caplog.messages) == 1, "n and o"


# Units.


@pytest.mark.parametrize(
    ("denomination", "counted", "quote", "unit"),
    [
        ("usd", "BASE_ASSET", "USDT", "usd"),
        ("usd", "QUOTE_ASSET", "USDT", "usd"),
        ("usd", None, None, "usd"),
        ("native", "BASE_ASSET", "USDT", "coin"),
        ("native", "QUOTE_ASSET", "USD", "usd"),
    ],
)
def test_units(denomination: str, counted: Any, quote: Any, unit: str) -> None:
    market = {**MARKET, "oi_lq_vol_denominated_in": counted, "quote_asset": quote}
    feed, span = coinalyze(markets=[market], denomination=denomination)
    by_stream = records(feed, sample("coinalyze/liquidation-history.200"), span)
    assert {row["unit"] for row in by_stream[VOLUMES]} == {unit}
    assert by_stream[STREAM.name][0]["oi_lq_vol_denominated_in"] == counted
    assert by_stream[STREAM.name][0]["denomination"] == denomination


@pytest.mark.parametrize(
    ("changes", "words", "kind"),
    [
        (
            {"oi_lq_vol_denominated_in": "QUOTE_ASSET"},
            "counted in USDT.*`coinalyze.denomination` to usd",
            "config_error",
        ),
        ({"oi_lq_vol_denominated_in": "CONTRACTS"}, "`oi_lq_vol_denominated_in` of X.A is 'CONTRACTS'", "system_error"),
        ({"oi_lq_vol_denominated_in": None}, "`oi_lq_vol_denominated_in` of X.A is 'null'", "system_error"),
    ],
)
def test_a_market_without_a_unit_fails_in_the_unified_stream_alone(
    changes: dict[str, Any], words: str, kind: str
) -> None:
    listed = [{**MARKET, "symbol": "X.A", **changes}, {**MARKET, "symbol": "Y.A"}]
    feed, span = coinalyze("X.A", "Y.A", markets=listed)
    body = [series("X.A", point(), point(TEN - 3600)), series("Y.A", point())]
    by_stream = partly(feed, body, span)
    assert len(by_stream[STREAM.name][0]) == 3
    assert by_stream[STREAM.name][1] == []
    rows, (fault,) = by_stream[VOLUMES]
    assert {row["market"] for row in rows} == {"Y.A"}
    assert fault.instant == (TEN - 3600) * 10**9
    assert fault.error.failure_type == kind
    with pytest.raises(LiquidationsError, match=words):
        raise fault.error
    assert partly(feed, [series("Y.A", point())], span)[VOLUMES][1] == [], "without rows, nothing is missing"


# Exchanges.


@pytest.mark.parametrize(
    ("code", "name"), [("A", "binance"), ("Y", "gate"), ("Q", "whitebit"), ("unheard-of", "unheard-of")]
)
def test_exchanges_are_named_by_the_vendors_list(code: str, name: str) -> None:
    feed, span = coinalyze(markets=[{**MARKET, "exchange": code}])
    by_stream = records(feed, sample("coinalyze/liquidation-history.200"), span)
    assert {row["exchange"] for row in by_stream[VOLUMES]} == {name}
    assert by_stream[STREAM.name][0]["exchange"] == code
    assert feed.endpoint.exchange_and_market(span.partitions[0]) == (name, "BTCUSDT_PERP.A")


def test_without_the_exchanges_names_only_the_unified_stream_fails() -> None:
    feed, span = coinalyze(exchanges=[{"name": "Binance"}])
    answer = decoded(feed, sample("coinalyze/liquidation-history.200"), span)
    assert len(answer.rows) == 1
    with pytest.raises(UnexpectedAnswer, match="code"):
        feed.mappers[LIQUIDATION_VOLUMES](answer.rows, span)


def test_a_refused_key_is_no_missing_list() -> None:
    feed, _ = coinalyze()

    def refuse(request: Request, *_: Any, **__: Any) -> Response:
        if request.path == "/v1/exchanges":
            raise AccessRefused("HTTP 401", status=401)
        return response([MARKET])

    feed.endpoint.client.fetch = refuse  # type: ignore[method-assign]
    with pytest.raises(AccessRefused):
        feed.endpoint.partitions(Traffic())


# The start of the history.


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "airbyte"):
        yield caplog


def observed(endpoint: Any) -> list[tuple[str, str, str, str, str | None]]:
    rows = map(json.loads, coverage.rows(endpoint.observations).lines(b"", b"\n").splitlines())
    return [(row["exchange"], row["market"], row["kind"], row["period_start"], row["period_end"]) for row in rows]


def window(span: Span, start: int, end: int) -> Span:
    return Span(span.partitions, start, end)


def test_intraday_rows_that_are_deleted_are_a_row_of_coverage_and_one_warning(said: pytest.LogCaptureFixture) -> None:
    feed, span = coinalyze("A.A", "B.Y", interval="1min")
    end = timestamps.floor_to(time.time_ns(), timestamps.MINUTE)
    start = end - timestamps.DAY * 3
    first = (end - 1_500 * timestamps.MINUTE) // 10**9
    body = [
        series("A.A", *(point(first + 60 * n) for n in range(1_500))),
        series("B.Y", *(point(first + 60 * n) for n in range(1_000))),
    ]
    decoded(feed, body, window(span, start, end))
    begins, since = timestamps.format_shortest(start), timestamps.format_shortest(first * 10**9)
    assert observed(feed.endpoint) == [("binance", "A.A", "missing", begins, since)], "B.Y has too few for a deletion"
    (message,) = said.messages
    for word in ("A.A", begins, since, "1min", "1,500 to 2,000 points", "liquidation_coverage"):
        assert word in message
    decoded(feed, body, window(span, start, end))
    assert len(said.messages) == 1


@pytest.mark.parametrize(
    ("minutes", "age"),
    [
        (60, timestamps.DAY * 30),  # it ends long ago: nothing was kept for sure
        (1_600, 0),
    ],
)
def test_an_empty_answer_of_an_old_intraday_window_is_reported(
    minutes: int, age: int, said: pytest.LogCaptureFixture
) -> None:
    feed, span = coinalyze(interval="1min")
    end = timestamps.floor_to(time.time_ns(), timestamps.MINUTE) - age
    decoded(feed, [], window(span, end - minutes * timestamps.MINUTE, end))
    assert (len(said.messages), len(feed.endpoint.observations)) == ((1, 1) if age else (0, 0))


def test_a_quiet_hour_of_an_hourly_sync_is_not_reported(said: pytest.LogCaptureFixture) -> None:
    feed, span = coinalyze(interval="1min")
    end = timestamps.floor_to(time.time_ns(), timestamps.MINUTE)
    last = end // 10**9 - 60
    decoded(feed, [series("BTCUSDT_PERP.A", point(last))], window(span, end - 2 * HOUR, end))
    assert (said.messages, feed.endpoint.observations) == ([], [])


def test_the_first_day_of_a_market_is_a_row_of_coverage() -> None:
    """Daily history is kept forever, so it is the market's first day; a later window says nothing about it."""
    section = {"api_key": "k" * 8, "symbols": ["BTCUSDT_PERP.A"]}
    feed, span = coinalyze(interval="daily", denomination="usd")
    endpoint = Coinalyze(section, Shared(start=START + HOUR)).feeds[0].endpoint
    endpoint.client.fetch = feed.endpoint.client.fetch  # type: ignore[method-assign]
    endpoint.partitions(Traffic())
    day = timestamps.DAY // 10**9
    first = START // 10**9 + 3 * day
    body = [series("BTCUSDT_PERP.A", point(first), point(first + 5 * day))]
    for start, count in ((START + timestamps.DAY, 0), (START, 1)):
        requested = Span(span.partitions, start, START + 30 * timestamps.DAY)
        endpoint.decode(response(body), requested, endpoint.first_request(requested), {})
        assert len(endpoint.observations) == count
    assert observed(endpoint) == [("binance", "BTCUSDT_PERP.A", "starts", "2026-03-11T00:00:00Z", None)]


def test_markets_without_a_row_are_named_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    feed, span = coinalyze(*(f"T{n}.A" for n in range(9)), interval="daily")
    with caplog.at_level(logging.INFO, "airbyte"):
        decoded(feed, [series("T1.A", point())], window(span, START, START + timestamps.DAY))
    assert caplog.messages == [
        "coinalyze: no liquidations from 2026-03-08T00:00:00Z to 2026-03-09T00:00:00Z of T0.A, T2.A, T3.A, T4.A, T5.A"
        " and 3 more"
    ]


# The list of markets.


def test_the_list_of_markets_arrives_as_it_is() -> None:
    feed = feed_of("coinalyze_markets", {"api_key": "k" * 8, "symbols": ["*"]})
    span = Span((Partition(()),), 17, 18)
    body = [MARKET, {"symbol": "X.A", "expire_at": 1_798_185_600_000, "novel": [1.50]}]
    assert feed.endpoint.first_request(span) == Request("/v1/future-markets")
    answer = decoded(feed, body, span)
    assert [json.loads(bytes(row)) for row in answer.rows.raw] == body
    assert answer.next_request is None
    assert len(decoded(feed, None, span).rows) == 0
    with pytest.raises(UnexpectedAnswer, match="symbol"):
        decoded(feed, [{"exchange": "A"}], span)


@pytest.mark.parametrize("name", ["symbol_on_exchange", "exchange", "base_asset", "quote_asset"])
@pytest.mark.parametrize("value", [1, 1.5, True, [], {"a": [1]}])
def test_an_odd_market_of_the_list_stops_no_other(name: str, value: Any) -> None:
    listed = [{**MARKET, "symbol": "ODD.A", name: value}, MARKET]
    assert checked(0, listed) == []
    assert checked(0, listed, denomination="native") == []
    feed, span = coinalyze("ODD.A", MARKET["symbol"], markets=listed)
    by_stream = records(feed, [series(symbol, point()) for symbol in ("ODD.A", MARKET["symbol"])], span)
    assert [row["symbol"] for row in by_stream[STREAM.name]] == ["ODD.A", MARKET["symbol"]]
    assert {row["exchange"] for row in by_stream[VOLUMES]} == ({"", "binance"} if name == "exchange" else {"binance"})
    bases = ["" if name == "base_asset" else "btc"] * 2 + ["btc"] * 2
    assert [row["asset"] for row in by_stream[VOLUMES]] == bases


@pytest.mark.parametrize("unit", [1, ["BASE_ASSET"], {"a": 1}])
def test_a_unit_that_is_no_text_fails_its_own_market(unit: Any) -> None:
    listed = [{**MARKET, "symbol": "ODD.A", "oi_lq_vol_denominated_in": unit}, MARKET]
    (note,) = checked(0, listed, denomination="native")
    assert "ODD.A" in note
    feed, span = coinalyze("ODD.A", MARKET["symbol"], markets=listed)
    rows, faults = partly(feed, [series(one, point()) for one in ("ODD.A", MARKET["symbol"])], span)[VOLUMES]
    assert {row["market"] for row in rows} == {MARKET["symbol"]}
    (fault,) = faults
    assert f"`oi_lq_vol_denominated_in` of ODD.A is {str(unit)!r}" in fault.error.message


# Configuration, check, refusals.


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"symbols": ["BTCUSDT_PERP.A"]}, ["`coinalyze.api_key`", "is required"]),
        ({"api_key": "k" * 8}, ["`coinalyze.symbols`", "is required", "BTCUSDT_PERP.A"]),
        ({"api_key": "k" * 8, "symbols": ["A.A,B.A"]}, ["`coinalyze.symbols[0]`", "a symbol of Coinalyze"]),
        ({"api_key": "k" * 8, "symbols": ["A.A"], "interval": "1day"}, ["`coinalyze.interval`", "daily"]),
        ({"api_key": "k" * 8, "symbols": ["A.A"], "denomination": "coin"}, ["`coinalyze.denomination`", "native"]),
    ],
)
def test_configurations_that_cannot_be_used(section: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configured("coinalyze", section)
    for word in words:
        assert word in raised.value.message


def checked(start: int, listed: Any, **section: Any) -> list[str]:
    """What `check` says of a configuration with this list of markets."""
    vendor = Coinalyze({"api_key": "k" * 8, "symbols": ["*"], **section}, Shared(start=start))
    requested_paths: list[str] = []

    def fetch(request: Request, *_: Any, **__: Any) -> Response:
        requested_paths.append(request.path)
        return response(listed)

    vendor.feeds[0].endpoint.client.fetch = fetch  # type: ignore[method-assign]
    notes = vendor.check(Traffic())
    assert requested_paths == ["/v1/future-markets"], "one call"
    return notes


def test_check_says_what_an_interval_may_lose() -> None:
    now = time.time_ns()
    assert checked(0, [MARKET]) == []
    assert checked(now - HOUR, [MARKET], interval="1min") == []
    (note,) = checked(now - 26 * HOUR, [MARKET], interval="1min")
    assert "1,500 to 2,000 points" in note
    assert "daily" in note


def test_check_says_what_has_no_unit_and_what_takes_long() -> None:
    odd = {**MARKET, "oi_lq_vol_denominated_in": "QUOTE_ASSET"}
    assert checked(0, [odd]) == []
    (note,) = checked(0, [odd], denomination="native")
    assert "BTCUSDT_PERP.A" in note
    (note,) = checked(0, [{**MARKET, "symbol": f"T{n}.A"} for n in range(2_001)])
    assert "2,001 markets" in note


@pytest.mark.parametrize(("status", "words"), [(401, "underscore"), (403, "ask the vendor")])
def test_a_refused_key_ends_the_reading_at_once(status: int, words: str) -> None:
    body = json.dumps(sample("coinalyze/exchanges.401")).encode()
    error = explain(Response(status, {}, body))
    assert isinstance(error, AccessRefused)
    assert error.scope == "reading"
    assert "Invalid/Missing API key" in error.message
    assert words in error.message


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
def test_other_answers_are_left_to_their_status(status: int) -> None:
    assert explain(Response(status, {}, b'{"message": "x"}')) is None


def test_the_key_goes_into_a_header() -> None:
    client = Coinalyze({"api_key": "secret-key", "symbols": ["*"]}, Shared()).feeds[0].endpoint.client
    assert client.headers == {"api_key": "secret-key"}
    assert client.key_params == client.other_key_params == ()
    assert "secret" not in repr(client)


def test_the_exchanges_of_the_sample() -> None:
    feed, span = coinalyze(exchanges=sample("coinalyze/exchanges.200"))
    assert feed.endpoint.exchange_and_market(span.partitions[0])[0] == "binance"
    assert EXCHANGES[0] == sample("coinalyze/exchanges.200")[0]
