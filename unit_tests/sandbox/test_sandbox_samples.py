"""The sandbox's bodies have the shape of the vendors' sample bodies: the same fields with the same kinds of values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).parents[1] / "samples"
METRIC = "liquidations_reported_future_buy_usd_{}"


def shape(value: Any) -> Any:
    """Field names and types; a list has the types of its first item, a string the kind of its text."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value):
            return re.sub(r"\d", "0", value)
        return "number" if re.fullmatch(r"-?\d+(\.\d+)?", value) else "text"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "n"
    return type(value).__name__


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


def renamed(body: Any, names: dict[str, str]) -> Any:
    text = json.dumps(body)
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return json.loads(text)


KAIKO = {"start_time": "2026-11-20T00:00:00.000Z", "end_time": "2026-11-20T06:00:00.000Z", "page_size": 2}
CASES: dict[str, Callable[[Any], Any]] = {
    "kaiko/trades_page.json": lambda api: api.trades(**KAIKO),
    "kaiko/token_page.json": lambda api: api.kaiko(
        "token/eth", start_time="2026-11-20T00:00:01Z", end_time="2026-11-20T05:59:59Z", page_size=2
    ),
    "kiyotaka/liquidation_agg.json": lambda api: api.points(**{"from": 1795132800, "period": 3600}),
    "kwery/docs_example_page.json": lambda api: api.kwery(symbol="BTC", limit=3, start="2026-11-20T00:00:00Z"),
    "kwery/symbols.json": lambda api: api.kwery(path="symbols"),
    "coin_metrics/catalog-v2__market-liquidations.200.json": lambda api: api.coin_metrics(
        "catalog-v2/market-liquidations", page_size=3
    ),
    "coin_metrics/timeseries__market-liquidations.400.json": lambda api: api.liquidations("sdvwbtc-as-asd-spot"),
    "coin_metrics/timeseries__market-liquidations.401.unauthorized.json": lambda api: api.liquidations(key=None),
    "coin_metrics/timeseries__market-liquidations.401.wrong_credentials.json": lambda api: api.liquidations(key="no"),
    "coin_metrics/timeseries__market-liquidations.403.json": lambda api: api.liquidations(
        key="sandbox-coin-metrics-forbidden"
    ),
    "coin_metrics/catalog-v2__market-liquidations.401.unauthorized.json": lambda api: api.coin_metrics(
        "catalog-v2/market-liquidations", key=None
    ),
    "coin_metrics/catalog-v2__market-liquidations.401.wrong_credentials.json": lambda api: api.coin_metrics(
        "catalog-v2/market-liquidations", key="no"
    ),
    "coin_metrics/timeseries__market-metrics.403.json": lambda api: api.coin_metrics(
        "timeseries/market-metrics", "sandbox-coin-metrics-limited",
        markets="binance-BTCUSDT-future", metrics=METRIC.format("1d"),
    ),
    "coin_metrics/timeseries__market-metrics.200.json": lambda api: api.coin_metrics(
        "timeseries/market-metrics", markets="binance-BTCUSDT-future", metrics=METRIC.format("5m"), frequency="5m",
        start_time="2026-11-20T00:00:00Z", end_time="2026-11-20T02:00:00Z",
    ),
    "bitfinex/conf__list_pair_futures.200.json": lambda api: api.get("/bitfinex/v2/conf/pub:list:pair:futures"),
    "bitfinex/platform__status.200.json": lambda api: api.get("/bitfinex/v2/platform/status"),
    "bitfinex/liquidations__hist.500.json": lambda api: api.hist(limit=501),
    "gate/futures__usdt__liq_orders.200.json": lambda api: api.gate("usdt/liq_orders", decimals=False, limit=1),
    "gate/futures__usdt__liq_orders.200.strings.json": lambda api: api.gate("usdt/liq_orders", limit=2),
    "gate/futures__usdt__liq_orders.400.window.json": lambda api: api.gate("usdt/liq_orders", from_=0, to=3601),
    "gate/futures__usdt.400.limit.json": lambda api: api.gate("usdt/liq_orders", limit=1001),
    "gate/futures__usdt__contract_stats.400.retention.json": lambda api: api.gate(
        "usdt/contract_stats", contract="BTC_USDT", from_=1500000000
    ),
    "coinalyze/exchanges.200.json": lambda api: api.coinalyze("exchanges"),
    "coinalyze/exchanges.401.json": lambda api: api.coinalyze("exchanges", key=None),
    "coinalyze/future-markets.200.json": lambda api: api.coinalyze("future-markets"),
    "coinalyze/liquidation-history.200.json": lambda api: api.coinalyze(
        "liquidation-history", symbols="BTCUSDT_PERP.A", interval="1hour", from_=1795132800, to=1795132800
    ),
    "coinalyze/liquidation-history.200.empty.json": lambda api: api.coinalyze(
        "liquidation-history", symbols="BTCUSDT_PERP.A", interval="1hour", from_=1795132800000, to=1795136400000
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_shape_of_a_sample(shared: Any, name: str) -> None:
    answer, expected = CASES[name](shared), sample(name)
    assert shape(answer.json()) == shape(expected)
    status = re.search(r"\.(\d{3})\.", name)
    assert answer.status_code == int(status.group(1) if status else 200)


@pytest.mark.parametrize("name", [name for name in CASES if any(s in name for s in (".400.", ".401.", ".500."))])
def test_errors_are_word_for_word(shared: Any, name: str) -> None:
    assert CASES[name](shared).json() == sample(name)


def test_market_liquidations_have_the_sample_rows_fields_in_order(shared: Any) -> None:
    answer = shared.liquidations("binance-BTCUSDT-future", start_time="2026-11-20", page_size=1)
    expected = sample("coin_metrics/timeseries__market-liquidations.200.json")["data"][0]
    row = answer.json()["data"][0]
    assert list(row) == list(expected)
    assert shape(row) == shape(expected)


@pytest.mark.parametrize(
    ("name", "path", "parameter", "entity"),
    [
        ("exchange-asset-metrics", "exchange-asset-metrics", "exchange_assets", "binance-btc"),
        ("pair-metrics", "pair-metrics", "pairs", "btc-usdt"),
        ("exchange-metrics", "exchange-metrics", "exchanges", "binance"),
    ],
)
def test_other_metrics_have_the_sample_shape(shared: Any, name: str, path: str, parameter: str, entity: str) -> None:
    """The samples hold other metrics of the same endpoints."""
    expected = sample(f"coin_metrics/timeseries__{name}.200.json")
    other = next(field for field in expected["data"][0] if field not in ("pair", "exchange", "exchange_asset", "time"))
    metric = METRIC.format("1d")
    query = {parameter: entity, "metrics": metric, "start_time": "2026-11-18", "end_time": "2026-11-19"}
    body = shared.coin_metrics(f"timeseries/{path}", **query).json()
    assert shape(body) == shape(renamed(expected, {other: metric}))


def test_reference_data_have_the_fields_of_the_sample(shared: Any) -> None:
    expected = {row["type"]: row for row in sample("coin_metrics/reference-data__markets.200.json")["data"]}
    rows = shared.coin_metrics("reference-data/markets", page_size=1000).json()["data"]
    found = {row["type"]: row for row in rows if "expiration" not in row}
    assert list(found["spot"]) == list(expected["spot"])
    shared_fields = [name for name in expected["future"] if name in found["future"]]
    assert list(found["future"]) == shared_fields
    assert {"contract_size", "size_asset", "margin_asset", "base", "quote"} <= set(shared_fields)


def test_recorded_kwery_bodies(make: Any) -> None:
    api = make(kwery_flavour="recorded")
    body = api.kwery(symbol="BTC", limit=1, start="2026-11-20T00:00:00Z").json()
    assert shape(body) == shape(sample("kwery/liquidations.json"))
    assert shape(api.kwery(path="limits").json()) == shape(sample("kwery/limits.json"))


def test_symbols_are_the_recorded_ones(shared: Any) -> None:
    assert shared.kwery(path="symbols").json() == sample("kwery/symbols.json")


def test_kiyotakas_429(make: Any) -> None:
    api = make()
    api.sandbox.fault("status", vendor="kiyotaka", status=429)
    answer = api.points(**{"from": 1795132800, "period": 3600})
    assert answer.json() == sample("kiyotaka/error_429.json")
    assert answer.headers["Retry-After"] == "12"


def elements(body: Any) -> Any:
    """The nesting of positional rows, and the kind of each of their elements."""
    if body and body[0] == "pos":
        return tuple(shape(value) for value in body)
    return [elements(item) for item in body]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("liquidations__hist.200.json", {}),
        ("liquidations__hist.200.trigger_and_matches.json", {}),
        ("liquidations__hist.200.one_array.json", {"bitfinex_nesting": "one"}),
        ("liquidations__hist.200.flat.json", {"bitfinex_nesting": "flat"}),
        ("liquidations__hist.200.fractional_ms.json", {"bitfinex_fractional_ms": True}),
    ],
)
def test_rows_of_bitfinex(make: Any, name: str, options: dict[str, Any]) -> None:
    """Every kind of row of a sample comes in the sample's nesting."""
    expected = elements(sample(f"bitfinex/{name}"))
    found = elements(make(**options).hist(limit=500).json())
    if name.endswith("one_array.json"):
        assert len(found) == len(expected) == 1
        expected, found = expected[0], found[0]
    assert all(item in found for item in expected)
    if options.get("bitfinex_fractional_ms"):
        assert "." in str(sample(f"bitfinex/{name}")[0][0][2])


def test_refusals_of_bitfinex(make: Any) -> None:
    """Word for word; the status of the array is not known."""
    for options, name in (({}, "429"), ({"bitfinex_rate_body": "array"}, "error.11010")):
        api = make(limits=True, **options)
        assert [api.hist(limit=1).status_code for _ in range(2)] == [200, 429]
        assert api.hist(limit=1).json() == sample(f"bitfinex/liquidations__hist.{name}.json")


def test_gates_orders_without_their_size(make: Any) -> None:
    body = make(gate_order_size=False).gate("usdt/liq_orders", decimals=False, limit=1).json()
    assert shape(body) == shape(sample("gate/futures__usdt__liq_orders.200.no_order_size.json"))


def test_gates_sums_before_they_had_more_fields(make: Any) -> None:
    api = make(now="2026-04-20T00:00:00Z", gate_mark_price="string")
    body = api.gate("usdt/contract_stats", decimals=False, contract="BTC_USDT", limit=1).json()
    expected = sample("gate/futures__usdt__contract_stats.200.json")
    assert shape(body) == shape(expected)
    assert list(body[0]) == list(expected[0])


@pytest.mark.parametrize("settle", ["usdt", "btc"])
def test_gates_contracts_have_the_fields_of_the_sample(shared: Any, settle: str) -> None:
    (expected,) = sample(f"gate/futures__{settle}__contracts.200.json")
    row = shared.gate(f"{settle}/contracts", decimals=False).json()[0]
    assert row["name"] == expected["name"]
    assert row["quanto_multiplier"] == expected["quanto_multiplier"]
    assert shape({name: row[name] for name in expected}) == shape(expected)


def test_every_sample_is_compared() -> None:
    text = Path(__file__).read_text()
    for file in SAMPLES.rglob("*.json"):
        name = f"{file.parent.name}/{file.name}"
        stem = file.name.split(".")[0].split("__")[-1]
        assert name in text or stem in text, name
