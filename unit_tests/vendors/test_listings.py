"""Lists: first requests, following pages, rows as written; and the schema of every stream."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from source_liquidations.errors import ConfigurationError, UnexpectedAnswer
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import COVERAGE
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.coin_metrics.markets import LiquidationMarkets
from source_liquidations.vendors.kiyotaka.markets import market_names, matching_markets
from source_liquidations.vendors.vendor import Feed
from unit_tests.vendors.bodies import all_streams, feed_of, records, response, sample

KAIKO = {"api_key": "key", "instruments": ["bbit/perpetual-future/btc-usdt"]}
KIYOTAKA = {"api_key": "key", "symbols": ["BYBIT/BTCUSDT"]}
NOWHEN = Span((Partition(()),), 17, 18)


def page(feed: Feed, body: Any, request: Request | None = None, memory: Any = None, span: Span = NOWHEN) -> Answer:
    return feed.endpoint.decode(
        response(body), span, request or feed.endpoint.first_request(span), {} if memory is None else memory
    )


def raw(rows: Rows) -> list[str]:
    return [bytes(row).decode() for row in rows.raw]


# Kaiko.


def test_kaiko_asks_for_each_class_that_can_be_liquidated() -> None:
    feed = feed_of("kaiko_instruments", KAIKO)
    partitions = list(feed.endpoint.partitions(Traffic()))
    assert [feed.endpoint.first_request(Span((partition,), 0, 1)) for partition in partitions] == [
        Request("/v1/instruments", (("class", "future"), ("page_size", "1000"))),
        Request("/v1/instruments", (("class", "perpetual-future"), ("page_size", "1000"))),
    ]


def test_kaikos_exchanges_take_no_parameters() -> None:
    assert feed_of("kaiko_exchanges", KAIKO).endpoint.first_request(NOWHEN) == Request("/v1/exchanges")


@pytest.mark.parametrize(
    ("token", "url", "followed"),
    [
        ("t", "https://reference-data-api.kaiko.io/v1/exchanges?continuation_token=t", "t"),
        (None, "https://reference-data-api.kaiko.io/v1/exchanges?continuation_token=u", "u"),
        ("", "", None),
        (None, None, None),
    ],
)
def test_kaikos_token_is_all_that_a_following_page_needs(
    token: str | None, url: str | None, followed: str | None
) -> None:
    feed = feed_of("kaiko_exchanges", KAIKO)
    following = page(feed, {"data": [{"code": "bbit"}], "continuation_token": token, "next_url": url}).next_request
    expected = Request("/v1/exchanges", (("continuation_token", followed or ""),))
    assert following == (expected if followed else None)


def test_kaikos_token_elsewhere_is_refused() -> None:
    body = {"data": [], "continuation_token": "t", "next_url": "https://evil.example/v1/exchanges"}
    with pytest.raises(UnexpectedAnswer, match="another origin"):
        page(feed_of("kaiko_exchanges", KAIKO), body)


# Kiyotaka and Kwery.


@pytest.mark.parametrize("offset", [None, 0, "0", ""])
def test_kiyotakas_last_page_has_no_offset(offset: Any) -> None:
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    body = {"symbols": [{"exchange": "BYBIT", "rawSymbol": "BTCUSDT"}], "nextOffset": offset}
    assert page(feed, body).next_request is None
    assert page(feed, {}).next_request is None


@pytest.mark.parametrize("offset", [100, "100"])
def test_kiyotakas_following_page(offset: Any) -> None:
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    body = {"symbols": [{"exchange": "BYBIT", "rawSymbol": "BTCUSDT"}], "nextOffset": offset}
    assert page(feed, body).next_request == Request("/v1/markets", (("pageSize", "100"), ("pageOffset", "100")))
    assert page(feed, {**body, "symbols": []}).next_request is None


@pytest.mark.parametrize(("offset", "says"), [(100, "repeats"), (50, "repeats"), ("next", "not a number")])
def test_kiyotakas_offset_has_to_advance(offset: Any, says: str) -> None:
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    request = Request("/v1/markets", (("pageSize", "100"), ("pageOffset", "100")))
    body = {"symbols": [{"exchange": "BYBIT", "rawSymbol": "BTCUSDT"}], "nextOffset": offset}
    with pytest.raises(UnexpectedAnswer, match=says):
        page(feed, body, request)


def kiyotakas(*rows: str) -> list[str]:
    """Rows of the stream, from rows of the vendor's."""
    return raw(page(feed_of("kiyotaka_markets", KIYOTAKA), f'{{"symbols": [{", ".join(rows)}]}}'.encode()).rows)


@pytest.mark.parametrize("literal", ["1.50", "12345678901234567890.10", "1e400", '"\\u00e9"', "null", "[1, {}]"])
def test_kiyotakas_rows_have_columns_in_snake_case_and_values_as_written(literal: str) -> None:
    given = {"exchange": '"x"', "rawSymbol": '"y"', "category": '"PERPETUAL"'}
    given |= dict.fromkeys(("normalizedSymbol", "coin", "marginType"), literal)
    columns = ("exchange", "raw_symbol", "category", "normalized_symbol", "coin", "margin_type")
    written = ",\n ".join(f'"{name}": {value}' for name, value in given.items())
    row = ",".join(f'"{column}":{value}' for column, value in zip(columns, given.values(), strict=True))
    assert kiyotakas(f"{{{written}}}", f"{{{written}}}") == [f"{{{row}}}"] * 2


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("1568102400", '"1568102400"'),
        ("1.50", '"1.50"'),
        ("12345678901234567890.10", '"12345678901234567890.10"'),
        ("1e400", '"1e400"'),
        ("true", '"true"'),
        ('{"s": 1}', r'"{\"s\": 1}"'),
        ("[1, {}]", '"[1, {}]"'),
        ('"2019-09-10"', '"2019-09-10"'),
        ('"\\u00e9"', '"\\u00e9"'),
        ("null", "null"),
    ],
)
def test_kiyotakas_start_of_a_market_is_text_in_every_form(literal: str, text: str) -> None:
    (row,) = kiyotakas(f'{{"exchange": "x", "rawSymbol": "y", "availableSince": {literal}}}')
    assert row == f'{{"exchange":"x","raw_symbol":"y","available_since":{text}}}'


def test_a_field_that_kiyotaka_leaves_out_is_in_no_row() -> None:
    assert kiyotakas('{"exchange": "x", "rawSymbol": "y"}') == ['{"exchange":"x","raw_symbol":"y"}']


@pytest.mark.parametrize("first", [False, True], ids=["behind", "in front"])
def test_no_undocumented_field_gets_in_the_place_of_a_column_of_kiyotakas(
    first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its name: in snake case, in another case, or no possible column name."""
    odd = '"raw_symbol": "theirs", "Exchange": "theirs", "RawSymbol": 1, "available_since": 2, "_": 3, "": 4, " ": 5'
    own = '"exchange": "x", "rawSymbol": "y", "novelOne": 6'
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    row = f"{{{odd}, {own}}}" if first else f"{{{own}, {odd}}}"
    for _ in range(2):
        rows = raw(page(feed, f'{{"symbols": [{row}, {row}]}}'.encode()).rows)
        # `RawSymbol` is `raw_symbol`, too, and there is one of each.
        assert [json.loads(found) for found in rows] == [{"exchange": "x", "raw_symbol": "y", "novel_one": 6}] * 2
        assert all(found.count('"raw_symbol"') == 1 for found in rows)
    assert caplog.messages == [
        "kiyotaka_markets: undocumented fields, which arrive as sent: novel_one",
        "kiyotaka_markets: dropped undocumented fields whose column names are blank or taken: "
        "'', ' ', 'available_since', 'exchange', 'raw_symbol'",
    ]


@pytest.mark.parametrize("body", [{}, {"symbols": []}, {"symbols": None}, {"symbols": None, "nextOffset": 100}])
def test_nothing_is_no_rows_of_kiyotakas(body: Any) -> None:
    answer = page(feed_of("kiyotaka_markets", KIYOTAKA), body)
    assert (len(answer.rows), answer.next_request) == (0, None)


def test_a_list_of_kiyotakas_under_another_name_is_not_an_empty_one() -> None:
    with pytest.raises(UnexpectedAnswer, match="no `symbols`"):
        page(feed_of("kiyotaka_markets", KIYOTAKA), {"markets": [], "nextOffset": 100})


@pytest.mark.parametrize("row", [{"exchange": "x"}, {"rawSymbol": "y"}, {"exchange": 1, "rawSymbol": "y"}, []])
def test_kiyotakas_markets_of_another_shape(row: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        page(feed_of("kiyotaka_markets", KIYOTAKA), {"symbols": [row]})


@pytest.mark.parametrize(
    ("since", "period_start"),
    [
        (1568102400, "2019-09-10T08:00:00Z"),
        ("1568102400", "2019-09-10T08:00:00Z"),
        (1568102400123, "2019-09-10T08:00:00.123Z"),
        ("2019-09-10T08:00:00Z", "2019-09-10T08:00:00Z"),
        ("2019-09-10", "2019-09-10T00:00:00Z"),
    ],
)
def test_kiyotakas_start_of_a_market_is_coverage(since: Any, period_start: str) -> None:
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    body = {"symbols": [{"exchange": "BINANCE_FUTURES", "rawSymbol": "BTCUSDT", "availableSince": since}]}
    (row,) = records(feed, body, NOWHEN)["liquidation_coverage"]
    assert row == {
        "vendor": "kiyotaka",
        "exchange": "binance",
        "market": "BINANCE_FUTURES/BTCUSDT",
        "kind": "starts",
        "period_start": period_start,
        "period_end": None,
        "note": "available since, of any kind of data",
        "source": "/v1/markets",
    }


def test_a_market_without_a_date_has_no_coverage_and_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    feed = feed_of("kiyotaka_markets", KIYOTAKA)
    dates = ("lately", "soon", None, "", ..., {"s": 1}, True)
    rows = [
        {"exchange": "x", "rawSymbol": f"m{n}", **({} if date is ... else {"availableSince": date})}
        for n, date in enumerate(dates)
    ]
    found = records(feed, {"symbols": rows}, NOWHEN)
    assert len(found["kiyotaka_markets"]) == len(dates)
    assert found["liquidation_coverage"] == []
    (told,) = caplog.messages
    assert told.startswith("kiyotaka_markets, `availableSince` of x/m0 is ")
    assert "lately" in told


@pytest.mark.parametrize("literal", ["1e400", "[1e400]"])
def test_a_date_that_is_neither_number_nor_text_is_none(literal: str, caplog: pytest.LogCaptureFixture) -> None:
    feed = feed_of("kwery_symbols", {"api_key": "key"})
    body = f'{{"symbols": [{{"symbol": "A", "earliest_data": {literal}}}]}}'.encode()
    answer = page(feed, body)
    mapped = feed.mappers[COVERAGE](answer.rows, NOWHEN)
    assert mapped.count == 0
    assert caplog.messages == [
        f"kwery_symbols, `earliest_data` of A is {literal!r}, not a date: liquidation_coverage has no row for it"
    ]


def matching(pattern: str, *pages: Any) -> tuple[list[str], list[Request]]:
    """The markets that match a pattern, and what was asked for them; the list is answered with these pages."""
    client = feed_of("kiyotaka_markets", KIYOTAKA).endpoint.client
    waiting, sent = [response(body) for body in pages], []

    def fetch(request: Request, *_: Any) -> Response:
        sent.append(request)
        return waiting.pop(0)

    client.fetch = fetch  # type: ignore[method-assign, assignment]
    return matching_markets(partial(market_names, client, Traffic()), pattern, "kiyotaka.symbols[0]"), sent


def listed(*markets: str, **more: Any) -> dict[str, Any]:
    rows = [dict(zip(("exchange", "rawSymbol", "category"), market.split("/"), strict=False)) for market in markets]
    return {"symbols": rows, **more}


def test_kiyotakas_patterns_match_every_market_but_spot_once() -> None:
    first = listed("BYBIT/ETHUSDT/PERPETUAL", "BYBIT/BTCUSDT/SPOT", "BYBIT/BTCUSD/PERPETUAL", nextOffset=100)
    found, sent = matching("BYBIT/*USDT", first, listed("BYBIT/ETHUSDT/PERPETUAL", "BYBIT/ADAUSDT", "OKEX/AUSDT"))
    assert found == ["BYBIT/ADAUSDT", "BYBIT/ETHUSDT"]
    assert [request.params for request in sent] == [
        (("exchange", "BYBIT"), ("pageSize", "100"), ("pageOffset", offset)) for offset in ("0", "100")
    ]


@pytest.mark.parametrize("category", [1, True, [], {"a": [1]}])
def test_an_odd_market_of_kiyotakas_stops_no_other(category: Any) -> None:
    rows = [{"exchange": "BYBIT", "rawSymbol": "ODD", "category": category}, {"exchange": "BYBIT", "rawSymbol": "A"}]
    assert [json.loads(row) for row in kiyotakas(*map(json.dumps, rows))] == [
        {"exchange": "BYBIT", "raw_symbol": "ODD", "category": category},
        {"exchange": "BYBIT", "raw_symbol": "A"},
    ]
    assert matching("BYBIT/*", {"symbols": rows})[0] == ["BYBIT/A", "BYBIT/ODD"]


def test_several_patterns_ask_kiyotaka_for_a_list_once() -> None:
    symbols = ["BYBIT/*USDT", "BYBIT/B*", "*/BTCUSDT", "?YBIT/E*"]
    feed = feed_of("kiyotaka_liquidation_agg", {"api_key": "key", "symbols": symbols})
    sent = []

    def fetch(request: Request, *_: Any) -> Response:
        sent.append(dict(request.params).get("exchange"))
        return response(listed("BYBIT/BTCUSDT", "BYBIT/ETHUSDT"))

    feed.endpoint.client.fetch = fetch  # type: ignore[method-assign, assignment]
    markets = {partition["raw_symbol"] for partition in feed.endpoint.partitions(Traffic())}
    assert markets == {"BTCUSDT", "ETHUSDT"}
    assert sent == ["BYBIT", None]


def test_a_pattern_of_kiyotakas_exchanges_asks_for_the_whole_list() -> None:
    found, sent = matching("B?BIT/BTCUSDT", listed("BYBIT/BTCUSDT", "BXBIT/BTCUSDT", "BITGET/BTCUSDT"))
    assert found == ["BXBIT/BTCUSDT", "BYBIT/BTCUSDT"]
    assert [request.params for request in sent] == [(("pageSize", "100"), ("pageOffset", "0"))]


def test_a_pattern_that_matches_no_market_of_kiyotakas_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"`kiyotaka\.symbols\[0\]`.*'BYBIT/\*'"):
        matching("BYBIT/*", listed("BYBIT/BTCUSDT/SPOT"))


def test_kwerys_recording() -> None:
    feed = feed_of("kwery_symbols", {"api_key": "key"})
    body = sample("kwery/symbols")
    answer = page(feed, body)
    assert [json.loads(row) for row in raw(answer.rows)] == body["symbols"]
    assert answer.next_request is None
    assert feed.endpoint.first_request(NOWHEN) == Request("/v1/symbols")


@pytest.mark.parametrize("body", [{}, {"symbols": {}}, {"symbols": [{"name": "Bitcoin"}]}])
def test_kwerys_symbols_of_another_shape(body: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="symbol"):
        page(feed_of("kwery_symbols", {"api_key": "key"}), body)


# Coin Metrics.


def markets(*pages: Any) -> Feed:
    """The list, its catalog answered with these pages."""
    feed = feed_of("coin_metrics_liquidation_markets", {"api_key": "key", "markets": ["a-B-future"]})
    waiting = [response(body) for body in pages]
    feed.endpoint.client.fetch = lambda *_: waiting.pop(0)  # type: ignore[method-assign]
    return feed


def test_the_vendors_samples_joined() -> None:
    catalog = sample("coin_metrics/catalog-v2__market-liquidations.200")
    catalog.pop("next_page_token")
    catalog.pop("next_page_url")
    catalog["data"].append({"market": "binance-1000FLOKIUSDT-future", "min_time": "2023-05-06T00:00:01.000000000Z"})
    reference = sample("coin_metrics/reference-data__markets.200")
    feed = markets(catalog)
    assert list(feed.endpoint.partitions(Traffic())) == [Partition(())]
    memory: dict[Any, Any] = {}
    first = page(feed, reference, memory=memory)
    floki = next(row for row in reference["data"] if row["market"] == "binance-1000FLOKIUSDT-future")
    assert [json.loads(row) for row in raw(first.rows)] == [{**floki, **catalog["data"][-1]}]
    assert first.rows.instants == [17]
    assert first.next_request is not None
    token = reference["next_page_token"]
    assert first.next_request.params == (("type", "future"), ("page_size", "10000"), ("next_page_token", token))
    last = page(feed, {"data": []}, first.next_request, memory)
    assert [json.loads(row) for row in raw(last.rows)] == catalog["data"][:-1]
    assert last.next_request is None


def test_a_window_that_is_read_again_restarts_the_join() -> None:
    feed = markets({"data": [{"market": "a"}]})
    list(feed.endpoint.partitions(Traffic()))
    for _ in range(2):
        assert raw(page(feed, {"data": [{"market": "a", "base": "b"}]}).rows) == ['{"base":"b","market":"a"}']


def test_an_empty_catalog_needs_no_reference_data() -> None:
    assert list(markets({"data": []}).endpoint.partitions(Traffic())) == []


def test_a_catalog_of_another_shape() -> None:
    with pytest.raises(UnexpectedAnswer, match="market"):
        list(markets({"data": [{"min_time": "2026-01-01"}]}).endpoint.partitions(Traffic()))


def test_it_is_an_endpoint_of_its_own() -> None:
    assert isinstance(markets().endpoint, LiquidationMarkets)


# Rows of any list.

LISTS = [
    ("kaiko_exchanges", KAIKO, "data", '{"code": "x", "n": %s}'),
    ("kaiko_instruments", KAIKO, "data", '{"exchange_code": "x", "class": "future", "code": "y", "trade_count": %s}'),
    ("kwery_symbols", {"api_key": "key"}, "symbols", '{"symbol": "x", "earliest_data": %s}'),
]


@pytest.mark.parametrize(("stream", "section", "field", "row"), LISTS)
@pytest.mark.parametrize("literal", ["1.50", "12345678901234567890.10", "1e400", '"\\u00e9"', "null", "[1, {}]"])
def test_rows_are_as_written(stream: str, section: dict[str, Any], field: str, row: str, literal: str) -> None:
    feed = feed_of(stream, section)
    written = row % literal
    partition = next(iter(feed.endpoint.partitions(Traffic())))
    span = Span((partition,), 17, 18)
    body = Response(200, {}, f'{{"{field}": [{written},\n {written}]}}'.encode())
    answer = feed.endpoint.decode(body, span, feed.endpoint.first_request(span), {})
    assert raw(answer.rows) == [written, written]
    assert answer.rows.instants == [17, 17]


# Schemas.

STREAMS = all_streams()


@pytest.mark.parametrize("name", STREAMS)
def test_every_field_is_described(name: str) -> None:
    stream = STREAMS[name]
    schema = stream.json_schema()
    assert schema["title"]
    assert schema["additionalProperties"] is True
    properties = schema["properties"]
    assert {*stream.primary_key, *([stream.cursor_field] if stream.cursor_field else [])} <= set(properties)
    for field, described in properties.items():
        assert described["description"].endswith((".", ")")), field
        assert "null" in described["type"], field
