"""One shape for all vendors: sides, names, times and numbers, pinned against the vendors' own sample bodies."""

from __future__ import annotations

import calendar
import json
import re
import time
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations.errors import LiquidationsError, UnexpectedAnswer
from source_liquidations.numbers import are_numbers, column, literal_of
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.rows import Fault, Rows
from source_liquidations.unified import LIQUIDATION_VOLUMES, LIQUIDATIONS, interval_of
from unit_tests.vendors.bodies import (
    Row,
    changed,
    coin_metrics,
    feed_of,
    kaiko_events,
    kaiko_volumes,
    kiyotaka,
    kwery,
    records,
    sample,
    span_of,
)

LONG, SHORT = ("long", "sell"), ("short", "buy")  # position, and the order that closes it

# (vendor's market, exchange, base, quote)
KAIKO_VENUES = [
    ("bbit/perpetual-future/eth-usdt", "bybit", "eth", "usdt"),
    ("binc/perpetual-future/btc-usdt", "binance", "btc", "usdt"),
    ("okex/perpetual-future/sol-usdt", "okx", "sol", "usdt"),
    ("drbt/perpetual-future/btc-usd", "deribit", "btc", "usd"),
    ("bmex/perpetual-future/xbt-usd", "bitmex", "btc", "usd"),
    ("bfnx/perpetual-future/btcf0-ustf0", "bitfinex", "btc", "usdt"),
    ("huob/perpetual-future/btc-usdt", "huobi", "btc", "usdt"),
    ("krkn/future/btc-usd-261225", "kraken", "btc", "usd"),
    ("ftxx/perpetual-future/btc-usd", "ftx", "btc", "usd"),
    ("gtio/perpetual-future/btc-usdt", "gtio", "btc", "usdt"),  # not mapped: as the vendor writes it
    ("drbt/future/btc27jun25", "deribit", "btc", None),
    ("okex/future/btcusd250627", "okx", "btc", "usd"),
    ("binc/future/btc-week", "binance", None, None),  # a week is no quote
]
COIN_METRICS_VENUES = [
    ("binance-BTCUSDT-future", "binance", "btc", "usdt"),
    ("binance-BTCUSD_PERP-future", "binance", "btc", "usd"),
    ("bybit-ETHUSD-future", "bybit", "eth", "usd"),
    ("okex-BTC-USDT-SWAP-future", "okx", "btc", "usdt"),
    ("deribit-BTC-PERPETUAL-future", "deribit", "btc", None),
    ("bitmex-XBTUSD-future", "bitmex", "btc", "usd"),
    ("bitfinex-BTCF0:USTF0-future", "bitfinex", "btc", "usdt"),
    ("huobi-BTC-USDT-future", "huobi", "btc", "usdt"),
    ("kraken-PI_XBTUSD-future", "kraken", "btc", "usd"),
    ("ftx-UST-PERP-future", "ftx", "ust", None),  # Terra's: not Bitfinex's word for USDT
    ("bybit-BTCUSDT-27JUN25-future", "bybit", "btc", "usdt"),
    ("bybit-BTCPERP-future", "bybit", "btc", "usdc"),
    ("bitfinex-tBTCF0:USTF0-future", "bitfinex", "btc", "usdt"),
    ("binance-币安人生USDT-future", "binance", "币安人生", "usdt"),
    ("huobi-EOS210625_CQ-future", "huobi", "eos", None),
    ("ftx-BTC-MOVE-0325-future", "ftx", None, None),
]
KIYOTAKA_VENUES = [
    ("BINANCE_FUTURES", "binance"),
    ("BINANCE_DELIVERY", "binance"),
    ("BYBIT", "bybit"),
    ("OKEX_SWAP", "okx"),
    ("OKEX_FUTURES", "okx"),
    ("DERIBIT", "deribit"),
    ("BITMEX", "bitmex"),
    ("HUOBI_DM", "huobi"),
    ("HUOBI_DM_SWAP", "huobi"),
    ("HUOBI_DM_LINEAR_SWAP", "huobi"),
    ("BITGET", "bitget"),
    ("BITFINEX_DERIVATIVES", "bitfinex"),
    ("GATE_IO_FUTURES", "gate"),
    ("HYPERLIQUID_FUTURES", "hyperliquid"),
    ("BINANCE_OPTIONS", "BINANCE_OPTIONS"),  # not mapped: as the vendor writes it
]


def kaiko_case(market: str, side: str) -> tuple[list[Row], list[Row]]:
    feed, span = kaiko_events(market)
    by_stream = records(feed, changed(sample("kaiko/trades_page"), position_side=side), span)
    return by_stream[feed.stream.name], by_stream["liquidations"]


def coin_metrics_case(market: str, side: str) -> tuple[list[Row], list[Row]]:
    feed, span = coin_metrics(market)
    value: Any = ... if side == "(none)" else side
    body = changed(sample("coin_metrics/timeseries__market-liquidations.200"), market=market, side=value)
    by_stream = records(feed, body, span)
    return by_stream[feed.stream.name], by_stream["liquidations"]


def kwery_case(name: str, side: str) -> tuple[list[Row], list[Row]]:
    feed, span = kwery()
    by_stream = records(feed, changed(sample(f"kwery/{name}"), side=side), span)
    return by_stream[feed.stream.name], by_stream["liquidations"]


Case = Callable[[str, str], tuple[list[Row], list[Row]]]
EVENT_CASES: list[Any] = [
    *(
        (kaiko_case, "position_side", "kaiko", venue, word, side)
        for venue in KAIKO_VENUES
        for word, side in (("long", LONG), ("short", SHORT))
    ),
    *(
        (coin_metrics_case, "side", "coin_metrics", venue, word, side)
        for venue in COIN_METRICS_VENUES
        for word, side in (("sell", LONG), ("buy", SHORT), ("(none)", (None, None)))
    ),
    *(
        (kwery_case, "side", "kwery", (body, "binance", "btc", None), word, side)
        for body in ("docs_example_page", "liquidations")
        for word, side in (("long", LONG), ("short", SHORT))
    ),
]


@pytest.mark.parametrize(
    ("case", "column", "vendor", "venue", "word", "side"),
    EVENT_CASES,
    ids=lambda value: value if isinstance(value, str) else value[0] if isinstance(value, tuple) else "",
)
def test_sides_and_names_of_events(
    case: Case, column: str, vendor: str, venue: tuple[str, ...], word: str, side: tuple[str | None, str | None]
) -> None:
    market, exchange_name, base, quote = venue
    theirs, ours = case(market, word)
    assert theirs
    assert len(theirs) == len(ours)
    for row, unified in zip(theirs, ours, strict=True):
        assert row.get(column, "(none)") == word, "the vendor's own row is unaltered"
        assert (unified["position_side"], unified["order_side"]) == side
        assert unified["vendor"] == vendor
        assert (unified["exchange"], unified["base_asset"], unified["quote_asset"]) == (exchange_name, base, quote)
        assert unified["event_type"] == "trade"
        assert unified["market"] == ("binance_futures/BTC" if vendor == "kwery" else market)


def test_an_undocumented_side_is_reported_as_unknown() -> None:
    for case, venue in ((kaiko_case, KAIKO_VENUES[0][0]), (coin_metrics_case, COIN_METRICS_VENUES[0][0])):
        _, ours = case(venue, "both")
        assert {(row["position_side"], row["order_side"]) for row in ours} == {(None, None)}


@pytest.mark.parametrize(("code", "name"), KIYOTAKA_VENUES)
@pytest.mark.parametrize(("word", "position"), [("BUY", "long"), ("SELL", "short")])
def test_sides_of_kiyotaka_are_the_opposite_of_coin_metrics(code: str, name: str, word: str, position: str) -> None:
    feed, span = kiyotaka(f"{code}/BTCUSDT")
    body = sample("kiyotaka/liquidation_agg")
    body["series"] = [series for series in body["series"] if series["id"]["side"] == word]
    for series in body["series"]:
        series["id"]["exchange"] = code
    by_stream = records(feed, body, span)
    (theirs,), (ours,) = by_stream[feed.stream.name], by_stream["liquidation_volumes"]
    assert (theirs["side"], theirs["exchange"]) == (word, code)
    assert ours == {
        "vendor": "kiyotaka",
        "market": f"{code}/BTCUSDT",
        "exchange": name,
        "asset": "btc",
        "interval": "PT1H",
        "interval_start": "2026-03-29T16:00:00Z",
        "position_side": position,
        "amount": {"SELL": 0.223, "BUY": 1.529}[word],
        "unit": "coin",
        "liquidation_count": None,
    }


def test_sides_of_kaikos_volumes() -> None:
    feed, span = kaiko_volumes()
    ours = records(feed, sample("kaiko/token_page"), span)["liquidation_volumes"]
    common = {
        "vendor": "kaiko",
        "asset": "eth",
        "interval": "PT1H",
        "interval_start": "2025-02-27T23:00:00Z",
        "unit": "usd",
    }
    expected = [
        ("all/eth", "all", "long", 11062.85615080547, 2),
        ("all/eth", "all", "short", 463457.50379719737, 38),
        ("bbit/eth", "bybit", "long", 0, 0),
        ("bbit/eth", "bybit", "short", 281481.78156436956, 17),
        ("okex/eth", "okx", "long", 11062.85615080547, 2),
        ("okex/eth", "okx", "short", 181975.72223282777, 21),
    ]
    names = ("market", "exchange", "position_side", "amount", "liquidation_count")
    assert ours == [common | dict(zip(names, row, strict=True)) for row in expected]


@pytest.mark.parametrize(("word", "position"), [("sell", "long"), ("buy", "short")])
def test_sides_of_coin_metrics_metrics(word: str, position: str) -> None:
    feed = feed_of(
        "coin_metrics_market_liquidation_metrics",
        {"api_key": "k" * 8, "markets": ["binance-BTCUSDT-future"], "metrics_frequency": "5m"},
    )
    span = span_of(Partition.of(market="binance-BTCUSDT-future", frequency="5m"))
    text = json.dumps(sample("coin_metrics/timeseries__market-metrics.200")).replace("_buy_", f"_{word}_")
    ours = records(feed, text.encode(), span).get("liquidation_volumes") or []
    assert {(row["position_side"], row["unit"], row["asset"], row["exchange"]) for row in ours} == {
        (position, "usd", "btc", "binance")
    }
    assert [row["amount"] for row in ours] == [1298.36866, 39713.60016, 29084.10932, 46294.99528]


INTERVALS = {
    "coin_metrics": ("metrics_frequency", {"5m": (300, "PT5M"), "1h": (3_600, "PT1H"), "1d": (86_400, "P1D")}),
    "kaiko": (
        "interval",
        {"1h": (3_600, "PT1H"), "4h": (14_400, "PT4H"), "24h": (86_400, "PT24H"), "1d": (86_400, "P1D")},
    ),
    "kiyotaka": (
        "interval",
        {
            "MINUTE": (60, "PT1M"),
            "FIVE_MINUTES": (300, "PT5M"),
            "FIFTEEN_MINUTES": (900, "PT15M"),
            "HOUR": (3_600, "PT1H"),
            "FOUR_HOURS": (14_400, "PT4H"),
            "DAY": (86_400, "P1D"),
            "WEEK": (604_800, "P1W"),
        },
    ),
    "gate": (
        "interval",
        {
            "1m": (60, "PT1M"),
            "5m": (300, "PT5M"),
            "15m": (900, "PT15M"),
            "30m": (1_800, "PT30M"),
            "1h": (3_600, "PT1H"),
            "4h": (14_400, "PT4H"),
            "1d": (86_400, "P1D"),
        },
    ),
    "coinalyze": (
        "interval",
        {
            "1min": (60, "PT1M"),
            "5min": (300, "PT5M"),
            "15min": (900, "PT15M"),
            "30min": (1_800, "PT30M"),
            "1hour": (3_600, "PT1H"),
            "2hour": (7_200, "PT2H"),
            "4hour": (14_400, "PT4H"),
            "6hour": (21_600, "PT6H"),
            "12hour": (43_200, "PT12H"),
            "daily": (86_400, "P1D"),
        },
    ),
}


@pytest.mark.parametrize("vendor", INTERVALS)
def test_intervals_are_what_their_names_say(vendor: str) -> None:
    """All that the configuration takes; their text in ISO 8601 is part of a primary key."""
    field, documented = INTERVALS[vendor]
    section = json.loads((resources.files("source_liquidations") / "vendors" / vendor / "config.json").read_text())
    allowed = section["properties"][field].get("enum")
    assert allowed is None or set(allowed) == set(documented)
    assert {name: interval_of(name) for name in documented} == {
        name: (seconds * 10**9, iso) for name, (seconds, iso) in documented.items()
    }


# Numbers: as the vendor wrote them.


@given(st.decimals(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_number_keeps_its_value_in_whatever_way_it_is_written(value: Decimal, quoted: bool) -> None:
    text = str(value)
    literal = literal_of(f'"{text}"'.encode() if quoted else text.encode())
    assert Decimal(literal.decode()) == value
    assert json.loads(literal, parse_float=Decimal, parse_int=Decimal) == value


@given(st.integers(0, 10**30), st.integers(0, 12), st.integers(0, 5))
def test_superfluous_zeros_go_and_digits_stay(whole: int, decimals: int, zeros: int) -> None:
    text = f"{'0' * zeros}{whole}" + (f".{'7' * decimals}" if decimals else "")
    assert json.loads(literal_of(f'"{text}"'.encode()), parse_int=Decimal, parse_float=Decimal) == Decimal(text)


@pytest.mark.parametrize("literal", [b"null", b'""'])
def test_nothing_is_null(literal: bytes) -> None:
    assert literal_of(literal) == b"null"


@pytest.mark.parametrize(
    "literal",
    [
        b'"NaN"',
        b'"Infinity"',
        b'"-inf"',
        b"1e400",
        b'"-1e400"',
        b'"abc"',
        b"true",
        b"{}",
        b"[1]",
        b'"1,5"',
        b'"1_000"',
        b'"0x10"',
        b'" 1"',
        b'" "',
        '"\u0661"'.encode(),
    ],
)
def test_no_number_is_guessed(literal: bytes) -> None:
    with pytest.raises(ValueError, match="not a number"):
        literal_of(literal)
    bad: dict[int, LiquidationsError] = {}
    assert list(map(bytes, column("price", [b"1.5", literal], bad))) == [b"1.5", b"null"]
    (error,) = bad.values()
    assert list(bad) == [1]
    assert error.cause.startswith("`price` of row 1 is ")


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**20), 10**20))))
def test_a_column_of_numbers_stays_as_it_is(values: list[Any]) -> None:
    literals = [json.dumps(value).encode() for value in values]
    assert are_numbers(literals)
    assert column("price", literals, {}) is literals


def test_rows_that_share_an_error_are_one_fault_of_the_earliest() -> None:
    error = UnexpectedAnswer("no side")
    rows = Rows([b"1", b"2", b"3"], [9, 0, 4], owners=[1, 0, 1]).without({0: error, 2: error})
    assert (rows.raw, rows.instants, rows.owners) == ([b"2"], [0], [0])
    assert rows.faults == [Fault(4, error, [1])]


def test_text_in_a_column_becomes_a_number() -> None:
    literals = column("price", [b"1.50", b'"2.50"', b'""', b"null"], {})
    assert list(map(bytes, literals)) == [b"1.50", b"2.50", b"null", b"null"]


# Times: exact to the nanosecond.

seconds = st.integers(1_577_836_800, 1_893_455_999)


def exact(text: str) -> int:
    """Nanoseconds of an RFC 3339 text in UTC, by other means than the connector's."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)", text)
    assert match is not None, text
    whole = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    return whole * 10**9 + int((match[2] or "0").ljust(9, "0"))


def iso(second: int, fraction: str, zone: str) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + (f".{fraction}" if fraction else "") + zone


def check_time(unified: Row, instant: int, digits: int) -> None:
    assert unified["liquidated_at_ns"] == instant
    assert exact(unified["liquidated_at"]) == instant
    assert unified["liquidated_at"].endswith("Z")
    assert len(unified["liquidated_at"].partition(".")[2].removesuffix("Z")) == digits


@given(seconds, st.integers(0, 10**9 - 1), st.sampled_from([3, 6, 9]), st.booleans())
def test_kaikos_time_to_the_nanosecond(second: int, fraction: int, digits: int, quoted: bool) -> None:
    stamp = (second * 10**9 + fraction) // 10 ** (9 - digits)
    feed, span = kaiko_events()
    body = changed(sample("kaiko/trades_page"), timestamp=str(stamp) if quoted else stamp)
    by_stream = records(feed, body, span)
    for row, unified in zip(by_stream[feed.stream.name], by_stream["liquidations"], strict=True):
        check_time(unified, stamp * 10 ** (9 - digits), digits)
        assert row["time"] == unified["liquidated_at"]
        assert (row["time_ns"], row["timestamp"]) == (unified["liquidated_at_ns"], str(stamp) if quoted else stamp)


@given(seconds, st.integers(0, 10**9 - 1))
def test_coin_metrics_time_to_the_nanosecond(second: int, fraction: int) -> None:
    feed, span = coin_metrics()
    text = iso(second, f"{fraction:09d}", "Z")
    body = changed(sample("coin_metrics/timeseries__market-liquidations.200"), time=text)
    for unified in records(feed, body, span)["liquidations"]:
        check_time(unified, second * 10**9 + fraction, 9)
        assert unified["liquidated_at"] == text


@pytest.mark.parametrize(
    ("text", "unified"),
    [
        ("2025-11-02T02:00:00.123456789-04:00", "2025-11-02T06:00:00.123456789Z"),
        ("2025-11-02 06:00:00+00:00", "2025-11-02T06:00:00.000Z"),
        ("2025-11-02", "2025-11-02T00:00:00.000Z"),
        ("2025-11-02T06:00:00Z", "2025-11-02T06:00:00.000Z"),
        ("2025-11-02T06:00:00.5Z", "2025-11-02T06:00:00.500Z"),
        ("2025-11-02T06:00:00.1234Z", "2025-11-02T06:00:00.1234Z"),
    ],
)
def test_unified_times_are_written_from_the_instant(text: str, unified: str) -> None:
    feed, span = coin_metrics()
    by_stream = records(feed, changed(sample("coin_metrics/timeseries__market-liquidations.200"), time=text), span)
    assert {row["liquidated_at"] for row in by_stream["liquidations"]} == {unified}
    assert {row["time"] for row in by_stream[feed.stream.name]} == {text}, "the vendor's row is unaltered"
    feed, span = kwery()
    assert (
        records(feed, changed(sample("kwery/liquidations"), timestamp=text), span)["liquidations"][0]["liquidated_at"]
        == unified
    )


@pytest.mark.parametrize("text", ["2025-02-27T23:00:00.000Z", "2025-02-27T18:00:00-05:00", "2025-02-27 23:00:00+00:00"])
def test_an_hour_has_one_spelling(text: str) -> None:
    feed, span = kaiko_volumes()
    rows = records(feed, changed(sample("kaiko/token_page"), interval_time=text), span)["liquidation_volumes"]
    assert {row["interval_start"] for row in rows} == {"2025-02-27T23:00:00Z"}


@given(seconds, st.integers(0, 9), st.data(), st.sampled_from(["Z", "+00:00"]))
def test_kwerys_time_to_the_nanosecond(second: int, digits: int, data: st.DataObject, zone: str) -> None:
    fraction = data.draw(st.text("0123456789", min_size=digits, max_size=digits))
    feed, span = kwery()
    body = changed(sample("kwery/liquidations"), timestamp=iso(second, fraction, zone))
    by_stream = records(feed, body, span)
    (row,), (unified,) = by_stream[feed.stream.name], by_stream["liquidations"]
    check_time(unified, second * 10**9 + int(fraction.ljust(9, "0")), max(3, digits))
    assert row["time"] == unified["liquidated_at"]


@given(seconds, st.one_of(st.just(0), st.integers(0, 10**9 - 1)))
def test_kiyotakas_time_to_the_nanosecond(second: int, fraction: int) -> None:
    feed, span = kiyotaka()
    body = sample("kiyotaka/liquidation_agg")
    for series in body["series"]:
        series["points"][0]["Point"]["timestamp"] = {"s": second, **({"ns": fraction} if fraction else {})}
    by_stream = records(feed, body, span)
    for row, unified in zip(by_stream[feed.stream.name], by_stream["liquidation_volumes"], strict=True):
        assert exact(row["time"]) == second * 10**9 + fraction
        assert unified["interval_start"] == iso(second, "", "Z"), "one form, since it is in the key"


# The schemas describe the records.


def all_samples() -> list[Row]:
    rows_by_stream: list[tuple[str, Row]] = []
    for (feed, span), body in (
        (kaiko_events(), "kaiko/trades_page"),
        (kaiko_volumes(), "kaiko/token_page"),
        (coin_metrics(), "coin_metrics/timeseries__market-liquidations.200"),
        (kwery(), "kwery/docs_example_page"),
        (kwery(), "kwery/liquidations"),
        (kiyotaka(), "kiyotaka/liquidation_agg"),
        (kiyotaka("BINANCE_FUTURES+BYBIT/BTC"), "kiyotaka/liquidation_agg"),
    ):
        rows_by_stream += [(name, row) for name, rows in records(feed, sample(body), span).items() for row in rows]
    return [{"stream": name, "data": row} for name, row in rows_by_stream]


@pytest.mark.parametrize("stream", ["liquidations", "liquidation_volumes"])
def test_every_row_has_every_field_of_the_schema_and_no_other(stream: str) -> None:
    text = (resources.files("source_liquidations") / "schemas" / f"{stream}.json").read_text()
    schema = json.loads(text)
    keys = {stream.name: stream.primary_key for stream in (LIQUIDATIONS, LIQUIDATION_VOLUMES)}
    rows = [row["data"] for row in all_samples() if row["stream"] == stream]
    assert {row["vendor"] for row in rows} >= {"kaiko", "kwery" if stream == "liquidations" else "kiyotaka"}
    for row in rows:
        jsonschema.Draft7Validator(schema).validate(row)
        assert set(row) == set(schema["properties"])
        assert all(row[name] is not None for name in keys[stream]), "a key column is null"
