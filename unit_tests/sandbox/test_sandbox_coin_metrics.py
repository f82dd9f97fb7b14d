"""Coin Metrics' documented rules, one by one, over HTTP."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Any

import pytest

MARKET = "bybit-BTCUSDT-future"
START, END = "2026-11-20T00:00:00Z", "2026-11-20T04:00:00Z"
WINDOW = {"start_time": START, "end_time": END}


def pages(api: Any, first: Any) -> list[dict[str, Any]]:
    found = [first.json()]
    while "next_page_token" in found[-1]:
        found.append(api.session.get(found[-1]["next_page_url"]).json())
    return found


def expected(api: Any, market: str = MARKET, start: str = START, end: str = "2026-11-20T04:00:00.000000001Z") -> Any:
    return api.sandbox.expected("coin_metrics", market, start, end)


def test_the_default_is_a_hundred_rows_from_the_end_in_ascending_order(shared: Any) -> None:
    body = shared.liquidations(**WINDOW).json()
    assert body["data"] == expected(shared)[-100:]


@pytest.mark.parametrize("paging_from", ["start", "end"])
def test_pages_cover_the_window_exactly_once(shared: Any, paging_from: str) -> None:
    found = pages(shared, shared.liquidations(page_size=83, paging_from=paging_from, **WINDOW))
    ordered = found if paging_from == "start" else found[::-1]
    assert [row for body in ordered for row in body["data"]] == expected(shared)
    assert all(len(body["data"]) == 83 for body in found[:-1])
    assert "next_page_url" not in found[-1]


@pytest.mark.parametrize("paging_from", ["start", "end"])
def test_several_markets_come_one_after_the_other(shared: Any, paging_from: str) -> None:
    markets = ["bybit-ETHUSDT-future", "bitfinex-BTCF0:USTF0-future", "okex-XRP-USDT-SWAP-future"]
    first = shared.liquidations(",".join(markets), page_size=50, paging_from=paging_from, **WINDOW)
    found = pages(shared, first)
    ordered = found if paging_from == "start" else found[::-1]
    rows = [row for body in ordered for row in body["data"]]
    assert rows == [row for market in sorted(markets) for row in expected(shared, market)]


@pytest.mark.parametrize(("flags", "first", "last"), [
    ({}, 0, 1),
    ({"start_inclusive": "false"}, 1, 1),
    ({"end_inclusive": "false"}, 0, 0),
])  # fmt: skip
def test_both_bounds_are_inclusive_by_default(shared: Any, flags: dict[str, str], first: int, last: int) -> None:
    times = sorted({row["time"] for row in expected(shared, "deribit-BTC-PERPETUAL-future")})
    bounds = {"start_time": times[3], "end_time": times[9]}
    body = shared.liquidations("deribit-BTC-PERPETUAL-future", page_size=1000, **bounds, **flags).json()
    found = sorted({row["time"] for row in body["data"]})
    assert found == times[3 + first : 9 + last]


def test_bounds_are_exact_to_the_nanosecond(shared: Any) -> None:
    row = next(r for r in expected(shared, "deribit-BTC-PERPETUAL-future") if not r["time"].endswith("000Z"))
    market = "deribit-BTC-PERPETUAL-future"
    exact = shared.liquidations(market, start_time=row["time"], end_time=row["time"]).json()["data"]
    assert row in exact
    later = row["time"][:-2] + str((int(row["time"][-2]) + 1) % 10) + "Z"
    if later > row["time"]:
        assert row not in shared.liquidations(market, start_time=later, end_time=later).json()["data"]


FORMATS = (
    "2026-11-20T00:00:00Z",
    "2026-11-20T00:00:00.000Z",
    "2026-11-20T00:00:00.123456Z",
    "2026-11-20T00:00:00.123456789Z",
    "2026-11-20",
    "20261120",
    "2026-11-20T00:00:00",
)


@pytest.mark.parametrize("text", FORMATS)
def test_documented_time_formats(shared: Any, text: str) -> None:
    body = shared.liquidations(start_time=text, end_time="2026-11-20T01:00:00Z", page_size=10_000).json()
    assert min(row["time"] for row in body["data"]) >= "2026-11-20T00:00:00"
    assert body["data"]


def test_the_timezone_moves_the_bounds_but_not_the_rows(shared: Any) -> None:
    body = shared.liquidations(
        start_time="2026-11-20T00:00:00", end_time="2026-11-20T01:00:00", timezone="America/New_York", page_size=10_000
    ).json()
    assert body["data"] == expected(shared, start="2026-11-20T05:00:00Z", end="2026-11-20T06:00:00.000000001Z")


def test_limit_per_market(shared: Any) -> None:
    markets = f"{MARKET},bybit-ETHUSDT-future"
    latest = shared.liquidations(markets, limit_per_market=2, **WINDOW).json()["data"]
    assert latest == expected(shared)[-2:] + expected(shared, "bybit-ETHUSDT-future")[-2:]
    first = shared.liquidations(markets, limit_per_market=2, paging_from="start", page_size=3, **WINDOW)
    rows = [row for body in pages(shared, first) for row in body["data"]]
    assert rows == expected(shared)[:2] + expected(shared, "bybit-ETHUSDT-future")[:2]


def test_patterns(shared: Any) -> None:
    body = shared.liquidations("bitfinex-*-future", page_size=10_000, **WINDOW).json()
    assert {row["market"] for row in body["data"]} == {"bitfinex-BTCF0:USTF0-future", "bitfinex-ETHF0:USTF0-future"}
    body = shared.liquidations("*SOLUSDT-future", page_size=10_000, **WINDOW).json()
    assert {row["market"] for row in body["data"]} == {"binance-SOLUSDT-future", "bybit-SOLUSDT-future"}


@pytest.mark.parametrize("unknown", ["nope-BTCUSDT-future", "binance-btc-usdt-spot", "nope-*"])
def test_one_unknown_market_fails_the_whole_call(shared: Any, unknown: str) -> None:
    answer = shared.liquidations(f"{MARKET},{unknown}", **WINDOW)
    assert answer.status_code == 400
    message = f"Bad parameter 'markets'. Market '{unknown}' is not supported."
    assert answer.json() == {"error": {"type": "bad_parameter", "message": message}}


@pytest.mark.parametrize(
    "bad",
    [
        {"page_size": "10001"},
        {"page_size": "0"},
        {"paging_from": "middle"},
        {"start_time": "noon"},
        {"start_inclusive": "yes"},
        {"timezone": "Mars/Olympus", "start_time": START},
        {"format": "xml"},
        {"next_page_token": "garbage"},
        {"limit_per_market": "x"},
        {"begin": START},
    ],
)
def test_bad_parameters_are_refused(shared: Any, bad: dict[str, str]) -> None:
    answer = shared.liquidations(**bad)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "bad_parameter"


def test_markets_are_required(shared: Any) -> None:
    assert shared.coin_metrics("timeseries/market-liquidations").status_code == 400


def test_a_url_over_ten_thousand_characters_is_refused(shared: Any) -> None:
    fixed = len(f"{shared.sandbox.url}/coin_metrics/v4/timeseries/market-liquidations?api_key=k&markets=")
    fits = shared.liquidations("x" * (10_000 - fixed), key="k")
    assert fits.status_code == 401
    answer = shared.liquidations("x" * (10_001 - fixed), key="k")
    assert answer.status_code == 414
    assert "10000" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("key", "status", "kind"),
    [
        (None, 401, "unauthorized"),
        ("wrong", 401, "wrong_credentials"),
        ("sandbox-coin-metrics-forbidden", 403, "forbidden"),
        ("sandbox-coin-metrics-limited", 403, "forbidden"),
    ],
)
def test_keys_that_are_refused(shared: Any, key: str | None, status: int, kind: str) -> None:
    answer = shared.liquidations(key=key, **WINDOW)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_a_limited_key_reads_its_markets(shared: Any) -> None:
    key = "sandbox-coin-metrics-limited"
    assert shared.liquidations("binance-BTCUSDT-future", key=key, **WINDOW).status_code == 200
    seen = shared.coin_metrics("catalog-v2/market-liquidations", key).json()["data"]
    everything = shared.coin_metrics("catalog-all-v2/market-liquidations", key).json()["data"]
    assert {row["market"] for row in seen} == {"binance-BTCUSDT-future", "binance-ETHUSDT-future"}
    assert len(everything) > 20


def test_a_key_with_special_characters_works_encoded_and_is_in_the_next_page_url(shared: Any) -> None:
    answer = shared.liquidations(key="cm+key/with=chars", **WINDOW)
    assert answer.status_code == 200
    assert "api_key=cm%2Bkey%2Fwith%3Dchars" in answer.json()["next_page_url"]
    path = f"/coin_metrics/v4/timeseries/market-liquidations?markets={MARKET}&api_key=cm+key/with=chars"
    assert shared.get(path).json()["error"]["type"] == "wrong_credentials"


def test_the_token_alone_is_not_a_query(shared: Any) -> None:
    token = shared.liquidations(**WINDOW).json()["next_page_token"]
    assert shared.coin_metrics("timeseries/market-liquidations", next_page_token=token).status_code == 400


def test_every_value_is_a_string_and_times_have_nine_digits(shared: Any) -> None:
    for row in shared.liquidations("bitmex-XBTUSD-future", page_size=1000, **WINDOW).json()["data"]:
        assert {type(value) for value in row.values()} == {str}
        assert len(row["time"]) == len("2020-10-10T15:44:42.105000000Z") == len(row["database_time"])
        assert row["database_time"] > row["time"]
        assert row["coin_metrics_id"].isdigit()


def test_types_of_rows_by_exchange(shared: Any) -> None:
    def types(market: str) -> set[str]:
        return {row["type"] for row in expected(shared, market)}

    assert types("bybit-BTCUSDT-future") == {"trade"}
    assert types("okex-BTC-USDT-SWAP-future") == {"order"}
    assert types("bitfinex-BTCF0:USTF0-future") == {"order", "trade"}


def test_an_order_and_its_trade_share_an_id(shared: Any) -> None:
    rows = expected(shared, "bitfinex-BTCF0:USTF0-future")
    assert set(Counter(row["coin_metrics_id"] for row in rows).values()) == {2}
    assert len({(row["coin_metrics_id"], row["type"]) for row in rows}) == len(rows)


def test_a_trade_has_the_price_of_execution_and_an_order_that_of_bankruptcy(shared: Any) -> None:
    rows = expected(shared, "bitfinex-BTCF0:USTF0-future", end=END)
    events = shared.sandbox.expected("kaiko", "bfnx/perpetual-future/btc-usdt", START, END)
    orders, trades = ([r for r in rows if r["type"] == kind] for kind in ("order", "trade"))
    assert [float(row["price"]) for row in trades] == [event["price"] for event in events]
    for order, trade in zip(orders, trades, strict=True):
        worse = float(trade["price"]) - float(order["price"])
        assert (worse >= 0) if trade.get("side") == "sell" else (worse <= 0) if "side" in trade else True
    assert sum(o["price"] != t["price"] for o, t in zip(orders, trades, strict=True)) > len(orders) / 2


def test_the_side_is_that_of_the_closing_order_and_sometimes_absent(shared: Any) -> None:
    rows = expected(shared, "okex-BTC-USDT-SWAP-future", end="2026-11-21T00:00:00Z")
    absent = [row for row in rows if "side" not in row]
    assert 0 < len(absent) < len(rows) / 10
    assert {row["side"] for row in rows if "side" in row} == {"buy", "sell"}
    assert all("side" in row for row in expected(shared))


def test_amounts_are_contracts(shared: Any) -> None:
    events = shared.sandbox.expected("kaiko", "okex/perpetual-future/btc-usdt", START, END)
    rows = expected(shared, "okex-BTC-USDT-SWAP-future", end=END)
    assert [float(r["amount"]) * 0.01 for r in rows] == pytest.approx([e["amount"] for e in events])
    inverse = expected(shared, "deribit-BTC-PERPETUAL-future", end=END)
    events = shared.sandbox.expected("kaiko", "drbt/perpetual-future/btc-usd", START, END)
    for row, event in zip(inverse, events, strict=True):
        assert abs(int(row["amount"]) * 10 - event["amount_quote"]) <= 10


def test_known_gaps(make: Any) -> None:
    api = make(rows_per_day=5000)
    assert expected(api, "binance-BTCUSDT-future", "2021-04-27", "2021-05-11") == []
    assert expected(api, "binance-BTCUSDT-future", "2021-05-11", "2021-05-13")
    assert expected(api, "bybit-BTCUSDT-future", "2021-09-24", "2021-09-29") == []
    assert expected(api, "bybit-BTCUSDT-future", "2021-09-29", "2021-10-01")


def test_bitmex_is_under_reported_before_its_correction(make: Any) -> None:
    api = make(rows_per_day=20_000)
    name, window = "bitmex-XBTUSD-future", ("2021-09-01", "2021-09-08")
    instrument = api.sandbox.market.instruments["bitmex/XBTUSD"]
    from sandbox.times import HOUR, parse

    hours = range(parse(window[0]) // HOUR, parse(window[1]) // HOUR)
    truth = sum(sum(api.sandbox.market.sums(instrument, hour).counts) for hour in hours)
    assert 0.5 * truth < len(expected(api, name, *window)) < 0.8 * truth


def test_csv(shared: Any) -> None:
    answer = shared.liquidations(format="csv", page_size=5, **WINDOW)
    assert answer.headers["content-type"] == "text/csv"
    assert list(csv.DictReader(io.StringIO(answer.text))) == expected(shared)[-5:]
    assert "next_page_token=" in answer.headers["x-next-page-url"]


def test_pretty(shared: Any) -> None:
    answer = shared.liquidations(pretty="true", page_size=1, **WINDOW)
    assert answer.text.count("\n") > 5
    assert answer.json()["data"] == expected(shared)[-1:]


class TestLimits:
    @pytest.mark.usefixtures("clock")
    def test_the_community_host_allows_ten_requests_in_six_seconds(self, make: Any) -> None:
        api = make(limits=True)
        answers = [api.community("catalog-v2/market-liquidations", page_size=1) for _ in range(11)]
        assert [a.status_code for a in answers] == [200] * 10 + [429]
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == [*map(str, range(9, -1, -1)), "0"]
        assert 1 <= int(answers[-1].headers["X-RateLimit-Reset"]) <= 6
        assert answers[-1].json()["error"]["type"] == "too_many_requests"

    def test_the_window_slides(self, make: Any, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
        monkeypatch.setattr("sandbox.coin_metrics_calls.COMMUNITY_LIMIT", (2, 0.3))
        api = make(limits=True)
        path = "catalog-v2/market-liquidations"
        assert [api.community(path, page_size=1).status_code for _ in range(3)] == [200, 200, 429]
        clock[0] += 0.35
        assert api.community(path, page_size=1).status_code == 200

    def test_the_paid_limit_is_counted_by_key(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sandbox.coin_metrics_calls.PAID_LIMIT", (1, 20.0))
        api = make(limits=True)
        assert api.liquidations(**WINDOW).status_code == 200
        assert api.liquidations(**WINDOW).status_code == 429
        assert api.liquidations(key="cm+key/with=chars", **WINDOW).status_code == 200

    def test_limits_can_be_off(self, make: Any) -> None:
        api = make(limits=False)
        statuses = {api.community("catalog-v2/market-liquidations", page_size=1).status_code for _ in range(15)}
        assert statuses == {200}


class TestCommunity:
    def test_the_last_day_without_a_key(self, shared: Any) -> None:
        path = "timeseries/market-liquidations"
        body = shared.community(path, markets=MARKET, start_time="2026-11-01", paging_from="start", page_size=1).json()
        assert "2026-11-20T02:30:00" <= body["data"][0]["time"] < "2026-11-20T02:35:00"

    def test_metrics_are_forbidden(self, shared: Any) -> None:
        query = {"metrics": "liquidations_reported_future_buy_usd_1h", "frequency": "1h"}
        answer = shared.community("timeseries/market-metrics", markets=MARKET, **query)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "forbidden")

    def test_the_catalog_shows_the_last_day(self, shared: Any) -> None:
        rows = shared.community("catalog-v2/market-liquidations").json()["data"]
        assert min(row["min_time"] for row in rows) >= "2026-11-20T02:30"
        assert "ftx-BTC-PERP-future" not in {row["market"] for row in rows}


class TestCatalog:
    @pytest.mark.parametrize("catalog", ["catalog-v2", "catalog-all-v2"])
    def test_pages(self, shared: Any, catalog: str) -> None:
        found = pages(shared, shared.coin_metrics(f"{catalog}/market-liquidations", page_size=7))
        rows = [row for body in found for row in body["data"]]
        assert [row["market"] for row in rows] == sorted({row["market"] for row in rows})
        assert len(rows) == 25
        assert set(rows[0]) == {"market", "min_time", "max_time"}

    def test_spans_are_those_of_the_rows(self, shared: Any) -> None:
        (row,) = shared.coin_metrics("catalog-v2/market-liquidations", markets="bitmex-XBTUSDT-future").json()["data"]
        latest = shared.liquidations("bitmex-XBTUSDT-future", page_size=1).json()["data"][0]
        oldest = shared.liquidations("bitmex-XBTUSDT-future", page_size=1, paging_from="start").json()["data"][0]
        assert (row["min_time"], row["max_time"]) == (oldest["time"], latest["time"])

    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            ({"exchange": "bybit"}, 4),
            ({"base": "sol"}, 3),
            ({"exchange": "okex", "quote": "usd"}, 1),
            ({"asset": "xrp"}, 3),
            ({"symbol": "BTCUSDT"}, 2),
            ({"markets": "bybit-*"}, 4),
            ({"type": "spot"}, 0),
        ],
    )
    def test_filters(self, shared: Any, filters: dict[str, str], count: int) -> None:
        assert len(shared.coin_metrics("catalog-v2/market-liquidations", **filters).json()["data"]) == count

    def test_reference_data_tell_contract_sizes(self, shared: Any) -> None:
        rows = [
            row
            for body in pages(shared, shared.coin_metrics("reference-data/markets", page_size=9))
            for row in body["data"]
        ]
        by_market = {row["market"]: row for row in rows}
        assert by_market["okex-BTC-USDT-SWAP-future"]["contract_size"] == "0.01"
        assert by_market["okex-XRP-USDT-SWAP-future"]["contract_size"] == "100"
        inverse = by_market["deribit-BTC-PERPETUAL-future"]
        assert (inverse["contract_size"], inverse["size_asset"], inverse["margin_asset"]) == ("10", "usd", "btc")
        assert "contract_size" not in by_market["binance-btc-usdt-spot"]

    def test_unknown_resources(self, shared: Any) -> None:
        for path in ("catalog-v2/market-trades", "timeseries/market-trades", "reference-data/assets", "nothing"):
            assert shared.coin_metrics(path).status_code == 404


METRIC = "liquidations_reported_future_{}_{}_{}"


class TestMetrics:
    @pytest.mark.parametrize(
        ("path", "parameter", "field", "entity", "frequency"),
        [
            ("market-metrics", "markets", "market", "binance-ETHUSDT-future", "5m"),
            ("exchange-asset-metrics", "exchange_assets", "exchange_asset", "bybit-btc", "1h"),
            ("pair-metrics", "pairs", "pair", "btc-usdt", "1h"),
            ("exchange-metrics", "exchanges", "exchange", "deribit", "1d"),
        ],
    )
    def test_pages_cover_the_window(
        self, shared: Any, path: str, parameter: str, field: str, entity: str, frequency: str
    ) -> None:
        metrics = [METRIC.format(side, unit, frequency) for side in ("buy", "sell") for unit in ("units", "usd")]
        query = {parameter: entity, "metrics": ",".join(metrics), "frequency": frequency, "page_size": 7}
        for paging_from in ("start", "end"):
            first = shared.coin_metrics(f"timeseries/{path}", paging_from=paging_from, **query, **WINDOW)
            found = pages(shared, first)
            rows = [row for body in (found if paging_from == "start" else found[::-1]) for row in body["data"]]
            end = "2026-11-20T04:00:00.000000001Z"
            options = {"frequency": frequency, "metrics": metrics}
            assert rows == shared.sandbox.expected("coin_metrics", f"{path}/{entity}", START, end, **options)
            assert rows
            assert list(rows[0]) == [field, "time", *metrics]

    def test_values_are_the_sums_of_the_rows(self, shared: Any) -> None:
        query = {"frequency": "1h", "metrics": [METRIC.format("sell", unit, "1h") for unit in ("units", "usd")]}
        window = ("2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z")
        (row,) = shared.sandbox.expected("coin_metrics", f"market-metrics/{MARKET}", *window, **query)
        events = shared.sandbox.expected("kaiko", "bbit/perpetual-future/btc-usdt", *window)
        longs = [e for e in events if e["position_side"] == "long"]
        assert float(row[METRIC.format("sell", "units", "1h")]) == pytest.approx(sum(e["amount"] for e in longs))
        assert float(row[METRIC.format("sell", "usd", "1h")]) == pytest.approx(sum(e["amount_usd"] for e in longs))

    def test_rows_are_sparse_and_values_nullable_strings(self, shared: Any) -> None:
        metrics = [METRIC.format(side, "usd", "5m") for side in ("buy", "sell")]
        rows = shared.sandbox.expected(
            "coin_metrics", "market-metrics/bitmex-XBTUSD-future", START, END, frequency="5m", metrics=metrics
        )
        assert 0 < len(rows) < 48
        assert all(any(row[m] is not None for m in metrics) for row in rows)
        assert {type(row[m]) for row in rows for m in metrics} == {str, type(None)}

    def test_patterns(self, shared: Any) -> None:
        metric = METRIC.format("buy", "usd", "1h")
        body = shared.coin_metrics(
            "timeseries/exchange-asset-metrics", exchange_assets="bybit-*", metrics=metric, frequency="1h", **WINDOW
        ).json()
        assert {row["exchange_asset"] for row in body["data"]} == {f"bybit-{a}" for a in ("btc", "eth", "sol", "xrp")}

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            ("market-metrics", {"markets": MARKET, "metrics": METRIC.format("buy", "usd", "5m"), "frequency": "1h"}),
            ("market-metrics", {"markets": MARKET, "metrics": METRIC.format("buy", "usd", "1d"), "frequency": "2d"}),
            ("market-metrics", {"markets": MARKET, "metrics": "volume_usd_1d"}),
            ("market-metrics", {"markets": "nope", "metrics": METRIC.format("buy", "usd", "1d")}),
            ("market-metrics", {"markets": MARKET}),
            ("pair-metrics", {"pairs": "btc-usdt", "metrics": METRIC.format("buy", "usd", "5m"), "frequency": "5m"}),
            (
                "market-metrics",
                {
                    "markets": MARKET,
                    "metrics": METRIC.format("buy", "usd", "1h") + "," + METRIC.format("buy", "usd", "1d"),
                    "frequency": "1h",
                },
            ),
        ],
    )
    def test_what_is_refused(self, shared: Any, path: str, query: dict[str, str]) -> None:
        answer = shared.coin_metrics(f"timeseries/{path}", **query)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "bad_parameter")

    def test_the_default_frequency_is_a_day(self, shared: Any) -> None:
        metric = METRIC.format("buy", "usd", "1d")
        body = shared.coin_metrics("timeseries/exchange-metrics", exchanges="bybit", metrics=metric, page_size=1).json()
        assert body["data"][0]["time"] == "2026-11-21T00:00:00.000000000Z"

    def test_catalogs_of_metrics(self, shared: Any) -> None:
        body = shared.coin_metrics("catalog-v2/pair-metrics", pairs="btc-usdt").json()
        (row,) = body["data"]
        assert {m["metric"].rpartition("_")[2] for m in row["metrics"]} == {"1h", "1d"}
        assert len(row["metrics"]) == 8
        rows = shared.coin_metrics("catalog-v2/market-metrics", page_size=1).json()["data"]
        assert len(rows[0]["metrics"]) == 12
        assert shared.community("catalog-v2/exchange-metrics").json()["data"] == []
        assert len(shared.community("catalog-all-v2/exchange-metrics").json()["data"]) == 9
