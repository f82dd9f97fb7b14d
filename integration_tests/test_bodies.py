"""Bodies: the vendors' samples, and variants that vendors may send, arrive in the records of `read` unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import BITFINEX, CASES, COIN_METRICS, COINALYZE, EVENTS, KIYOTAKA, KWERY, VOLUMES, Case, same
from harness import Connector, Run, positions

from sandbox import Sandbox
from sandbox.times import NS, iso, parse

SAMPLES = Path(__file__).parents[1] / "unit_tests" / "samples"
KAIKO = "/v2/data/liquidation.v1"
EVENTS_PATH = f"{KAIKO}/trades/bbit/perpetual-future/eth-usdt"
CM_PATH = "/v4/timeseries/market-liquidations"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def exact(text: bytes | str) -> Any:
    """Parsed JSON with each number as its literal."""
    return json.loads(text, parse_float=lambda n: ("number", n), parse_int=lambda n: ("number", n))


def literal_rows(run: Run) -> list[dict[str, Any]]:
    """The records with each number as its printed literal."""
    found = [exact(line) for line in run.out.splitlines() if b'"RECORD"' in line[:20]]
    return [record["record"]["data"] for record in found]


def served(
    connector: Connector, sandbox: Sandbox, case: Case, path: str, bodies: list[Any], *, end: str, **section: Any
) -> Run:
    """Read one market of a stream whose requests are answered with these bodies."""
    sandbox.serve(case.vendor, path, bodies)
    config = case.config(sandbox, "2020-01-01", end, num_workers=1)
    config[case.vendor] |= section
    return connector.read(config, [case.stream])


# The vendors' samples.


def test_kaikos_sample_of_events(connector: Connector, sandbox: Sandbox) -> None:
    body = sample("kaiko/trades_page.json")
    market = {"instruments": ["bbit/perpetual-future/eth-usdt"]}
    last = {"data": [], "continuation_token": None, "next_url": None}
    run = served(connector, sandbox, EVENTS, EVENTS_PATH, [body, last], end="2025-03-01", **market)
    assert run.code == 0, run
    place = {"exchange": "bbit", "instrument_class": "perpetual-future", "instrument": "eth-usdt"}
    instants = [int(row["timestamp"][1]) * 10**6 for row in exact(body)["data"]]
    expected = [
        {**row, **place, "time": iso(instant, 3), "time_ns": ("number", str(instant))}
        for row, instant in zip(exact(body)["data"], instants, strict=True)
    ]
    assert len(expected) == 2
    same(literal_rows(run), json.loads(json.dumps(expected)))
    following = sandbox.requests("kaiko")[1]
    assert following.params == {"continuation_token": json.loads(body)["continuation_token"]}


def test_kaikos_sample_of_volumes(connector: Connector, sandbox: Sandbox) -> None:
    body = sample("kaiko/token_page.json")
    last = {"data": [], "continuation_token": "", "next_url": ""}
    run = served(connector, sandbox, VOLUMES, f"{KAIKO}/token/eth", [body, last], end="2025-03-01", assets=["eth"])
    assert run.code == 0, run
    expected = [{**row, "asset": "eth", "interval": "1h"} for row in exact(body)["data"]]
    same(literal_rows(run), json.loads(json.dumps(expected)))


def test_coin_metrics_sample(connector: Connector, sandbox: Sandbox) -> None:
    body = sample("coin_metrics/timeseries__market-liquidations.200.json")
    markets = ["binance-BTCUSDT-future"]
    run = served(connector, sandbox, COIN_METRICS, CM_PATH, [body], end="2025-03-01", markets=markets)
    assert run.code == 0, run
    same(run.records(), [{**row, "time_ns": parse(row["time"])} for row in json.loads(body)["data"]])


@pytest.mark.parametrize(
    ("name", "day", "digits"), [("docs_example_page", "2026-03-08", 3), ("liquidations", "2026-03-16", 6)]
)
def test_kwerys_samples_documented_and_recorded(
    name: str, day: str, digits: int, connector: Connector, sandbox: Sandbox
) -> None:
    body = sample(f"kwery/{name}.json")
    sandbox.serve("kwery", "/v1/limits", [sample("kwery/limits.json")])
    sandbox.serve("kwery", "/v1/liquidations", [body, {"data": [], "meta": {"next_cursor": None}}])
    config = KWERY.config(sandbox, f"{day}T00:00:00Z", f"{day}T23:00:00Z", num_workers=1)
    config["kwery"] |= {"symbols": ["BTC"]}
    run = connector.read(config, [KWERY.stream])
    assert run.code == 0, run
    for row, sent in zip(literal_rows(run), exact(body)["data"], strict=True):
        time, identity = row.pop("time"), row.pop("liquidation_id")
        assert row == sent
        assert time == iso(parse(sent["timestamp"]), digits)
        assert identity
    limits, first, second = sandbox.requests("kwery")
    assert limits.path == "/v1/limits"
    assert second.query == [*first.query, ("after", json.loads(body)["meta"]["next_cursor"])]


def test_kiyotakas_sample(connector: Connector, sandbox: Sandbox) -> None:
    body = sample("kiyotaka/liquidation_agg.json")
    sandbox.serve("kiyotaka", "/v1/points", [body])
    config = KIYOTAKA.config(sandbox, "2026-03-29T16:00:00Z", "2026-03-29T17:00:00Z", num_workers=1)
    config["kiyotaka"] |= {"symbols": ["BINANCE_FUTURES/BTCUSDT"], "coins": []}
    run = connector.read(config, [KIYOTAKA.stream])
    assert run.code == 0, run
    names = {
        "type": "LIQUIDATION_AGG",
        "exchange": "BINANCE_FUTURES",
        "raw_symbol": "BTCUSDT",
        "normalized_symbol": "BTC-USDT",
        "category": "PERPETUAL",
        "interval": "HOUR",
        "coin": "BTC",
        "denomination": "coin",
        "timestamp": ["number", "1774800000"],
        "time": "2026-03-29T16:00:00.000Z",
    }
    expected = [
        {**names, "side": "SELL", "liquidations": ["number", "0.223"]},
        {**names, "side": "BUY", "liquidations": ["number", "1.529"]},
    ]
    same(json.loads(json.dumps(literal_rows(run))), expected)


# Variants.


def pretty(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=3).replace("\n", "\r\n").encode()


EXTRA = {"novel": 'ünïcødé\n\t"\\ 漢字 \u2028', "nested": {"a": [1, 2.5, None, {"b": True}]}, "nothing": None}


@pytest.mark.parametrize("spaced", [False, True], ids=["compact", "pretty-printed"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_undocumented_fields_arrive(case: Case, spaced: bool, connector: Connector, sandbox: Sandbox) -> None:
    """Every row of every page gets extra fields; its other fields do not change."""
    if spaced:
        recorded = record_bodies(connector, sandbox, case)
        for path, bodies in recorded.items():
            sandbox.serve(case.vendor, path, [pretty(with_extras(case, body)) for body in bodies])
    else:
        sandbox.fault("unknown_fields", vendor=case.vendor, path_contains=case.path, times=None, fields=EXTRA)
    run = connector.read(case.config(sandbox, num_workers=1), [case.stream])
    assert run.code == 0, run
    assert run.err == b""
    # Coinalyze's rows are in series; a series' own fields arrive in each of its rows.
    around = {"new_in_envelope": True} if case is COINALYZE and not spaced else {}
    same(run.records(), [{**row, **extras_of(case), **around} for row in case.rows(sandbox)], case.ignored)
    assert sum("undocumented fields" in line for line in run.logs) == 1


def extras_of(case: Case) -> dict[str, Any]:
    """The extra fields by name; elements of Bitfinex' rows are named by their index."""
    return dict(zip(("_12", "_13", "_14"), EXTRA.values(), strict=True)) if case is BITFINEX else EXTRA


def record_bodies(connector: Connector, sandbox: Sandbox, case: Case) -> dict[str, list[bytes]]:
    """The vendor's bodies in this read, by path, in order."""
    found: dict[str, list[bytes]] = {}
    vendor = sandbox.app.vendors[case.vendor]
    plain: Callable[[Any], Any] = vendor.handle

    def handle(request: Any) -> Any:
        reply = plain(request)
        found.setdefault(request.path, []).append(reply.encoded())
        return reply

    vendor.handle = handle  # type: ignore[method-assign]
    try:
        assert connector.read(case.config(sandbox, num_workers=1), [case.stream]).code == 0
    finally:
        vendor.handle = plain  # type: ignore[method-assign]
    sandbox.clear()
    return {path: bodies for path, bodies in found.items() if case.path in path}


def with_extras(case: Case, body: bytes) -> bytes:
    whole = json.loads(body)
    if case is BITFINEX:
        return json.dumps([[[*row, *EXTRA.values()]] for (row,) in whole]).encode()
    if case is KIYOTAKA:
        rows = [point["Point"] for series in whole["series"] for point in series["points"]]
    elif case is COINALYZE:
        rows = [point for series in whole for point in series["history"]]
    else:
        rows = whole if isinstance(whole, list) else whole["data"]
    for row in rows:
        row.update(EXTRA)
    return json.dumps(whole).encode()


LITERALS = ["0.12345678901234567890123456789", "123456789012345678901234567890.5", "1E-7", "2.50", "-0.0", "7", "0e3"]


@pytest.mark.parametrize("literal", LITERALS)
def test_kaikos_numbers_keep_their_literals(literal: str, connector: Connector, sandbox: Sandbox) -> None:
    row = '{"amount":%s, "amount_quote":%s,"amount_usd":"%s","price":%s,"rate":null,"position_side":"long",'
    row += '"timestamp":1735700000000,"trade_id":"t1"}'
    body = '{"data":[' + row % (literal, literal, literal, literal) + "]}"
    market = {"instruments": ["bbit/perpetual-future/eth-usdt"]}
    run = served(connector, sandbox, EVENTS, EVENTS_PATH, [body], end="2025-03-01", **market)
    assert run.code == 0, run
    (found,) = literal_rows(run)
    number = ("number", literal)
    assert (found["amount"], found["amount_quote"], found["price"]) == (number, number, number)
    assert (found["amount_usd"], found["rate"]) == (literal, None)


@pytest.mark.parametrize("literal", LITERALS)
def test_kiyotakas_numbers_keep_their_literals(literal: str, connector: Connector, sandbox: Sandbox) -> None:
    body = sample("kiyotaka/liquidation_agg.json").replace(b"0.223", literal.encode())
    sandbox.serve("kiyotaka", "/v1/points", [body])
    config = KIYOTAKA.config(sandbox, "2026-03-29T16:00:00Z", "2026-03-29T17:00:00Z", num_workers=1)
    config["kiyotaka"] |= {"symbols": ["BINANCE_FUTURES/BTCUSDT"], "coins": []}
    run = connector.read(config, [KIYOTAKA.stream, "liquidation_volumes"])
    assert run.code == 0, run
    amounts = [row["liquidations"] for row in literal_rows(run) if row.get("side") == "SELL"]
    assert amounts == [("number", literal)]


def test_coin_metrics_texts_stay_texts(connector: Connector, sandbox: Sandbox) -> None:
    row = {
        "market": "binance-BTCUSDT-future",
        "time": "2024-01-01T00:00:00.123456789Z",
        "coin_metrics_id": "1704067200123456789",
        "amount": "0.1000000000000000000000000000001",
        "price": "00042.50",
        "type": "trade",
        "database_time": "2024-01-01T00:00:01.000000001Z",
    }
    run = served(
        connector, sandbox, COIN_METRICS, CM_PATH, [{"data": [row]}], end="2025-03-01", markets=[row["market"]]
    )
    assert run.code == 0, run
    assert run.records() == [{"time_ns": parse(row["time"]), **row}]


@pytest.mark.parametrize(("unit", "digits"), [("ms", 3), ("us", 6), ("ns", 9)])
def test_kaikos_time_units(unit: str, digits: int, connector: Connector) -> None:
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=3_000, limits=False, kaiko_timestamp_unit=unit) as sandbox:
        start, end = "2026-02-28T00:00:00Z", "2026-02-28T12:00:00Z"
        run = connector.read(EVENTS.config(sandbox, start, end), [EVENTS.stream])
        assert run.code == 0, run
        same(run.records(), EVENTS.rows(sandbox, start, end))
        assert {len(row["time"].partition(".")[2]) - 1 for row in run.records()} == {digits}


def test_units_may_differ_within_a_page(connector: Connector, sandbox: Sandbox) -> None:
    instant = parse("2025-01-01T00:00:00Z")
    stamps = [instant // 10**6, instant // 10**3 + 1, instant + 2, str(instant // 10**6 + 1)]
    rows = [{"timestamp": stamp, "trade_id": f"t{n}", "price": 1.5} for n, stamp in enumerate(stamps)]
    market = {"instruments": ["bbit/perpetual-future/eth-usdt"]}
    run = served(connector, sandbox, EVENTS, EVENTS_PATH, [{"data": rows}], end="2025-03-01", **market)
    assert run.code == 0, run
    assert [row["time"] for row in run.records()] == [
        "2025-01-01T00:00:00.000Z",
        "2025-01-01T00:00:00.000001Z",
        "2025-01-01T00:00:00.000000002Z",
        "2025-01-01T00:00:00.001Z",
    ]
    assert [row["timestamp"] for row in run.records()] == stamps


def test_a_vendors_field_wins_over_an_added_field_of_the_same_name(connector: Connector, sandbox: Sandbox) -> None:
    row = {"timestamp": 1735700000000, "trade_id": "t", "exchange": "theirs", "time": "their time"}
    market = {"instruments": ["bbit/perpetual-future/eth-usdt"]}
    run = served(connector, sandbox, EVENTS, EVENTS_PATH, [{"data": [row]}], end="2025-03-01", **market)
    assert run.code == 0, run
    ours = {"instrument_class": "perpetual-future", "instrument": "eth-usdt", "time_ns": 1735700000000 * 10**6}
    assert run.records() == [row | ours]


@pytest.mark.parametrize("last_page", ["absent", "null", "empty"])
def test_kaikos_last_page_in_every_form(last_page: str, connector: Connector) -> None:
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=30_000, limits=False, kaiko_last_page=last_page) as sandbox:
        config = EVENTS.config(sandbox, "2026-02-28T00:00:00Z", "2026-02-28T02:00:00Z", num_workers=1)
        run = connector.read(config, [EVENTS.stream])
        assert run.code == 0, run
        same(run.records(), EVENTS.rows(sandbox, "2026-02-28T00:00:00Z", "2026-02-28T02:00:00Z"))


KAIKO_ROW = {"timestamp": 1735700000000, "trade_id": "t1", "price": 1.5}
KAIKO_TOKEN_ROW = {"interval_time": "2025-02-27T23:00:00.000Z", "total_trades": 1}
BOTH_KAIKO = ("kaiko.instruments[0]", "kaiko.assets[0]")


def checked(connector: Connector, sandbox: Sandbox, field: str, body: Any, times: int = 1) -> Run:
    """The run of `check` when Kaiko answers one entry of the configuration with this body, `times` times."""
    config = EVENTS.config(sandbox)
    config["kaiko"] |= {"instruments": ["bbit/perpetual-future/eth-usdt"], "assets": ["eth"]}
    paths = [EVENTS_PATH, f"{KAIKO}/token/eth"]
    sandbox.serve("kaiko", paths[BOTH_KAIKO.index(field)], [body] * times)
    run = connector.check(config)
    asked = list(dict.fromkeys((request.path, tuple(request.query)) for request in sandbox.requests("kaiko")))
    assert asked == [(path, (("page_size", "1"),)) for path in paths[: len(asked)]]
    return run


@pytest.mark.parametrize(
    ("field", "body", "words"),
    [
        *((field, {}, "no `data`") for field in BOTH_KAIKO),
        *((field, {"result": "success"}, "no `data`") for field in BOTH_KAIKO),
        ("kaiko.instruments[0]", {"data": [KAIKO_ROW | {"timestamp": "yesterday"}]}, "`timestamp`"),
        ("kaiko.instruments[0]", {"data": [KAIKO_ROW | {"timestamp": 17}]}, "`timestamp`"),
        ("kaiko.instruments[0]", {"data": [{"timestamp": 1735700000000, "price": 1.5}]}, "trade_id"),
        ("kaiko.assets[0]", {"data": [{"interval_time": "today"}]}, "`interval_time`"),
        ("kaiko.assets[0]", {"data": [{"total_trades": 1}]}, "interval_time"),
    ],
    ids=str,
)
def test_kaikos_check_refuses_what_a_read_refuses(
    field: str, body: Any, words: str, connector: Connector, sandbox: Sandbox
) -> None:
    run = checked(connector, sandbox, field, body)
    assert run.status["status"] == "FAILED"
    for word in ("kaiko", f"`{field}`", words):
        assert word in run.status["message"], run.status["message"]


@pytest.mark.parametrize("field", BOTH_KAIKO)
def test_check_also_retries_an_error_with_status_200(field: str, connector: Connector, sandbox: Sandbox) -> None:
    assert checked(connector, sandbox, field, {"error": "x"}).status == {"status": "SUCCEEDED"}
    run = checked(connector, sandbox, field, {"error": "x"}, times=6)
    assert run.status["status"] == "FAILED"
    for word in ("kaiko", f"`{field}`", "in 6 tries", "a 200 with an error: x"):
        assert word in run.status["message"], run.status["message"]


@pytest.mark.parametrize(
    ("field", "rows"),
    [*((field, []) for field in BOTH_KAIKO), (BOTH_KAIKO[0], [KAIKO_ROW]), (BOTH_KAIKO[1], [KAIKO_TOKEN_ROW])],
    ids=str,
)
def test_kaikos_check_accepts_what_a_read_accepts(
    field: str, rows: list[Any], connector: Connector, sandbox: Sandbox
) -> None:
    """It requests no time range, so it does not warn of data that the key may not read."""
    access = {"access_range": {"start_timestamp": 1735689600000, "end_timestamp": 1735776000000}}
    run = checked(connector, sandbox, field, {"data": rows, "access": access})
    assert run.status == {"status": "SUCCEEDED"}
    assert not [line for line in run.logs if "may read" in line]


KWERY_FORMS = [
    {"kwery_flavour": "documented"},
    {"kwery_flavour": "recorded"},
    {"kwery_order": "descending"},
    {"kwery_flavour": "recorded", "kwery_order": "descending"},
    {"kwery_row_cap": 90},
]


@pytest.mark.parametrize("form", KWERY_FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_kwery_in_every_form(form: dict[str, Any], connector: Connector) -> None:
    """Documented or recorded, oldest or newest first, and with pages that the plan cuts."""
    start, end = "2026-02-28T00:00:00Z", "2026-02-28T12:00:00Z"
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=20_000, limits=False, **form) as sandbox:
        run = connector.read(KWERY.config(sandbox, start, end), [KWERY.stream])
        assert run.code == 0, run
        covered = {row["liquidation_id"]: row for row in run.records()}
        same(covered.values(), KWERY.rows(sandbox, start, end), KWERY.ignored)


def test_the_state_keeps_the_nanoseconds_of_a_page(connector: Connector, sandbox: Sandbox) -> None:
    """A sync that fails after its first page has the last row's exact time as its cursor."""
    market = "deribit-BTC-PERPETUAL-future"
    instant = parse("2024-01-01T00:00:00Z") + 123_456_789
    rows = [
        {"market": market, "time": iso(instant + n * NS, 9), "coin_metrics_id": str(n), "type": "trade"}
        for n in range(3)
    ]
    sandbox.serve("coin_metrics", CM_PATH, [{"data": rows, "next_page_token": "more"}])
    sandbox.fault("status", vendor="coin_metrics", status=401, after=1, times=None)
    config = COIN_METRICS.config(sandbox, "2023-12-31", num_workers=1)
    config["coin_metrics"]["markets"] = [market]
    run = connector.read(config, [COIN_METRICS.stream])
    assert run.code == 1
    assert run.records() == [{"time_ns": parse(row["time"]), **row} for row in rows]
    held = positions(run.final_state, COIN_METRICS.stream)
    assert held == {(("market", market),): "2024-01-01T00:00:02.123456789Z"}
