"""Undocumented answers of every kind, at every vendor: no row is guessed, lost or duplicated."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from cases import (
    BITFINEX,
    CASES,
    COIN_METRICS,
    COINALYZE,
    EVENTS,
    GATE_ORDERS,
    GATE_STATS,
    KIYOTAKA,
    KWERY,
    VOLUMES,
    Case,
    config_of,
    covers,
    same,
)
from harness import Connector, Run, cleared, positions, slices

from sandbox import Sandbox
from sandbox.http import Reply, Request
from sandbox.layouts import shape_of
from sandbox.times import HOUR, MINUTE, NS, iso, parse

START, END = "2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z"
SUMS = (VOLUMES, KIYOTAKA, COINALYZE, GATE_STATS)


@pytest.fixture(scope="module")
def thin_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=1, now="2026-03-01T12:30:00Z", rows_per_day=600, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(thin_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(thin_sandbox)


def read(case: Case, connector: Connector, sandbox: Sandbox, **section: Any) -> Run:
    config = case.config(sandbox, START, END, num_workers=1)
    config[case.vendor] |= section
    # The values of Coin Metrics' own rows are text with any content.
    streams = ["liquidations"] if case is COIN_METRICS else [case.stream]
    return connector.read(config, streams)


def changed(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, case: Case, handle: Any) -> None:
    """Let `handle(request, plain)` make the replies of a vendor; `plain` is the vendor's own handler."""
    vendor = sandbox.app.vendors[case.vendor]
    plain = vendor.handle
    monkeypatch.setattr(vendor, "handle", lambda request: handle(request, plain))


def rewritten(case: Case, change: Callable[[Any, Reply, Any], Reply]) -> Callable[[Request, Any], Reply]:
    """For `changed`: what `change` makes of a page of rows: its body decoded, its reply, and the shape of the rows."""

    def handle(request: Request, plain: Any) -> Reply:
        reply: Reply = plain(request)
        shape = shape_of(case.vendor, request.path)
        if case.path not in request.path or shape is None:
            return reply
        return change(msgspec.json.decode(reply.encoded()), reply, shape)

    return handle


def edited(part: str, edit: Callable[[Any], None]) -> Callable[[Request, Any], Reply]:
    """For `changed`: the bodies of what has this part in its path, as `edit` leaves them."""

    def handle(request: Request, plain: Any) -> Reply:
        reply: Reply = plain(request)
        if part not in request.path:
            return reply
        body = msgspec.json.decode(reply.encoded())
        edit(body)
        return Reply(body=body)

    return handle


# Numbers.

NUMBERS = {
    EVENTS.stream: "price",
    VOLUMES.stream: "long_amount",
    COIN_METRICS.stream: "price",
    KWERY.stream: "avg_price",
    KIYOTAKA.stream: "liquidations",
    BITFINEX.stream: "amount",
    COINALYZE.stream: "s",
    GATE_ORDERS.stream: "order_price",
    GATE_STATS.stream: "short_liq_amount",
}


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "5\n"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_text_that_is_no_number_is_an_error_that_names_field_and_row(
    case: Case, value: str, connector: Connector, sandbox: Sandbox
) -> None:
    """For sums, only that bucket is omitted; the rest of its window does not count as read."""
    good = read(case, connector, sandbox)
    sandbox.fault(
        "wrong_types", vendor=case.vendor, path_contains=case.path, field=NUMBERS[case.stream], value=value, times=1
    )
    run = read(case, connector, sandbox)
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "system_error"
    said = rf"`{NUMBERS[case.stream]}` of row \d+ is .*{value.strip()}.*, not a number. No row was guessed"
    assert re.search(said, trace["message"]), trace["message"]
    missing = [row for row in good.records() if row not in run.records()]
    assert missing
    if case in SUMS:
        assert len(missing) == 1
    assert [row for row in run.records() if row not in good.records()] == []
    stream = "liquidations" if case is COIN_METRICS else case.stream
    assert slices(run.final_state, stream) != slices(good.final_state, stream)


@pytest.mark.parametrize("value", [True, [1]], ids=str)
def test_a_metric_that_is_no_text_leaves_out_its_bucket_alone(
    value: Any, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    config = COIN_METRICS.config(sandbox, START, END)
    config["coin_metrics"]["metrics_for_markets"] = True
    streams = ["coin_metrics_market_liquidation_metrics", "liquidation_volumes"]
    good = connector.read(config, streams)

    odd = {"liquidations_reported_future_buy_usd_1h": value}
    changed(monkeypatch, sandbox, COIN_METRICS, edited("/market-metrics", lambda body: body["data"][1].update(odd)))
    run = connector.read(config, streams)
    assert run.code == 1
    assert "`liquidations_reported_future_buy_usd_1h` of row 1 is" in run.traces[0]["message"]
    assert len(run.records(streams[0])) == len(good.records(streams[0])) - 1
    assert 1 <= len(good.records(streams[1])) - len(run.records(streams[1])) <= 4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_empty_text_is_no_number_and_no_error(case: Case, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault(
        "wrong_types", vendor=case.vendor, path_contains=case.path, field=NUMBERS[case.stream], value="", times=1
    )
    run = read(case, connector, sandbox)
    assert run.code == 0, run
    field = "price" if case is COIN_METRICS else NUMBERS[case.stream]
    empty = [row for row in run.records() if row[field] is None]
    if case is KIYOTAKA:  # a zero may be left out
        assert empty == []
    elif case is GATE_ORDERS:
        assert [row for row in run.records() if row[field] in (None, "")]
    else:
        assert empty


# Empty lists and byte order marks.


@pytest.mark.parametrize("case", CASES, ids=str)
def test_null_is_an_empty_list(case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any) -> None:
    def handle(request: Request, plain: Any) -> Reply:
        reply: Reply = plain(request)
        if case.path not in request.path:
            return reply
        names = {"kiyotaka": {"series": None}, "kaiko": {"data": None}, "kwery": {"data": None}}
        return Reply(body=names.get(case.vendor, {"data": None} if case is COIN_METRICS else None))

    changed(monkeypatch, sandbox, case, handle)
    run = read(case, connector, sandbox)
    assert run.code == 0, run
    assert run.records() == []


def test_null_is_an_empty_list_within_a_list_too(connector: Connector, sandbox: Sandbox, monkeypatch: Any) -> None:
    """Coin Metrics' catalog of an entity without metrics, and Bitfinex' lists of pairs."""

    none = {"metrics": None}
    changed(monkeypatch, sandbox, COIN_METRICS, edited("/catalog", lambda body: body["data"][0].update(none)))
    config = COIN_METRICS.config(sandbox, START, END)
    config["coin_metrics"] |= {"markets": ["bybit-*-future"], "metrics_pairs": ["*-usdt"]}
    streams = ["coin_metrics_market_liquidation_metrics", "coin_metrics_pair_liquidation_metrics"]
    run = connector.read(config, streams)
    assert run.code == 0, run
    assert run.records(streams[0])
    assert run.records(streams[1])

    def one_list(request: Request, plain: Any) -> Reply:
        return Reply(body=[None, ["BTCUSD"]]) if "/conf/" in request.path else plain(request)

    changed(monkeypatch, sandbox, BITFINEX, one_list)
    config = BITFINEX.config(sandbox, START, END)
    config["bitfinex"]["symbols"] = ["tBTCUSD"]
    assert connector.check(config).status == {"status": "SUCCEEDED"}


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("/v1/limits", lambda body: body["credits"].update(remaining=12.5)),
        ("/v1/limits", lambda body: body.update(credits="unlimited")),
        ("/v1/symbols", lambda body: body.update(symbols=[])),
        ("/v1/symbols", lambda body: body.update(symbols=["BTC"])),
    ],
)
def test_what_a_read_works_without_fails_no_check(
    part: str, edit: Callable[[Any], None], connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """Kwery's free calls."""
    changed(monkeypatch, sandbox, KWERY, edited(part, edit))
    config = KWERY.config(sandbox, START, END)
    assert connector.check(config).status == {"status": "SUCCEEDED"}
    run = connector.read(config, [KWERY.stream])
    assert run.code == 0, run
    same(run.records(), KWERY.rows(sandbox, START, END), KWERY.ignored)


def test_a_byte_order_mark_is_skipped(connector: Connector, sandbox: Sandbox, monkeypatch: Any) -> None:
    def marked(request: Request, plain: Any) -> Reply:
        reply: Reply = plain(request)
        return Reply(reply.status, b"\xef\xbb\xbf" + reply.encoded(), reply.headers, reply.rows, reply.content_type)

    for case in {case.vendor: case for case in CASES}.values():
        changed(monkeypatch, sandbox, case, marked)
    run = connector.read(config_of(CASES, sandbox, START, END), [case.stream for case in CASES])
    assert run.code == 0, run
    for case in CASES:
        same(run.records(case.stream), case.rows(sandbox, START, END), case.ignored)


# Times.

BOUNDS = {"start_time": -1, "start": -1, "from": -1, "end_time": 1, "end": 1, "to": 1}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_outside_the_requested_time_are_dropped_and_counted(
    case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """The vendor answers as if the window were longer at both ends."""
    more = 10 * MINUTE if case is GATE_ORDERS else 3 * HOUR

    def handle(request: Request, plain: Any) -> Reply:
        if case.path in request.path:
            request.query = [(name, widened(name, value, more)) for name, value in request.query]
        reply: Reply = plain(request)
        return reply

    changed(monkeypatch, sandbox, case, handle)
    end = "2026-02-27T00:30:00Z" if case is GATE_ORDERS else END
    run = connector.read(case.config(sandbox, START, end), [case.stream])
    assert run.code == 0, run
    same(run.records(), case.rows(sandbox, START, end), case.ignored)
    (told,) = [log for log in run.logs if "outside the requested time" in log]
    assert re.search(r" [1-9][\d,]* rows outside the requested time", told), told


def widened(name: str, value: str, more: int) -> str:
    if name == "period":
        return str(int(value) + 2 * more // NS)
    by = BOUNDS.get(name, 0) * more
    if not value.isdigit():
        return iso(parse(value) + by, 9) if by else value
    return str(int(value) + by // (10**6 if len(value) == 13 else NS))


ODD_TIMES = {
    COIN_METRICS.stream: "2026-02-27T06:00:00.123456789+05:30",
    KWERY.stream: "2026-02-27 00:30:00.123456789",
    VOLUMES.stream: "2026-02-27T05:30:00.000000000+05:00",
    GATE_ORDERS.stream: "1772152200.123456789",
    GATE_STATS.stream: "1772152200.000",
    COINALYZE.stream: "1772152200",
}


@pytest.mark.parametrize("case", [case for case in CASES if case.stream in ODD_TIMES], ids=str)
def test_unified_times_are_in_utc_whatever_the_vendor_writes(
    case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """The instant is 00:30, to the nanosecond where the vendor writes it so."""

    def handle(body: Any, reply: Reply, shape: Any) -> Reply:
        for rows in shape.lists(body):
            del rows[1:]
        for row in shape.rows(body):
            shape.put(row, shape.time_fields[0], ODD_TIMES[case.stream])
        if case is KWERY:
            body["meta"].pop("returned", None)
        return Reply(reply.status, body)

    changed(monkeypatch, sandbox, case, rewritten(case, handle))
    unified, field = ("liquidation_volumes", "interval_start") if case in SUMS else ("liquidations", "liquidated_at")
    run = connector.read(case.config(sandbox, START, "2026-02-27T01:00:00Z", num_workers=1), [case.stream, unified])
    assert run.code == 0, run
    digits = 0 if case in SUMS else 9
    assert {row[field] for row in run.records(unified)} == {iso(parse(START) + 30 * MINUTE + 123456789, digits)}


LISTS = {
    "kaiko_instruments": ("/v1/instruments", "trade_start_time"),
    "kwery_symbols": ("/v1/symbols", "earliest_data"),
    "coin_metrics_liquidation_markets": ("/market-liquidations", "min_time"),
    "kiyotaka_markets": ("/v1/markets", "availableSince"),
    "gate_contracts": ("/contracts", "launch_time"),
    "coinalyze_markets": ("/future-markets", "expire_at"),
}


@pytest.mark.parametrize("value", [[], {"a": 1}, True, 10**40, -5, 1e300, "soon", "", " "], ids=str)
def test_one_odd_date_never_loses_a_list(value: Any, connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(CASES, sandbox, START, END)
    streams = [*LISTS, "liquidation_coverage"]
    good = connector.read(config, streams, mode="full_refresh")
    assert good.code == 0, good
    for stream, (path, field) in LISTS.items():
        vendor = next(case.vendor for case in CASES if stream.startswith(case.vendor))
        vendor = "kaiko-reference" if vendor == "kaiko" else vendor
        sandbox.fault("wrong_types", vendor=vendor, path_contains=path, field=field, value=value, times=1)
    run = connector.read(config, streams, mode="full_refresh")
    assert run.code == 0, run
    assert sum(request.fault is not None for request in sandbox.requests()) == len(LISTS)
    for stream in LISTS:
        assert len(run.records(stream)) == len(good.records(stream)) > 0, stream
    lost = len(good.records("liquidation_coverage")) - len(run.records("liquidation_coverage"))
    assert 0 <= lost <= 4


# Rows of one key.


def twice(case: Case, change: Callable[[Any], None]) -> Callable[[Request, Any], Reply]:
    """The vendor's replies with a changed copy of the last row."""

    def handle(body: Any, reply: Reply, shape: Any) -> Reply:
        for rows in shape.lists(body):
            again = copy.deepcopy(rows[-1:])
            for row in again:
                change(row["Point"] if case is KIYOTAKA else row)
            rows.extend(again)
        return Reply(reply.status, body, reply.headers, reply.rows)

    return rewritten(case, handle)


def turned_round(row: Any) -> None:
    for name in list(row)[::-1]:
        row[name] = row.pop(name)


@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS, KWERY], ids=str)
def test_a_last_page_that_repeats_an_earlier_one_is_not_the_end(
    case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """Rows that should have come in its place are missing; and Kwery's would be twins of themselves."""
    pages: dict[Any, Any] = {}

    def handle(request: Request, plain: Any) -> Reply:
        params = dict(request.query)
        name = request.path, params.get("symbol")
        if "more" in params.values():
            return Reply(body=pages[name])
        reply: Reply = plain(request)
        if case.path not in request.path:
            return reply
        body = msgspec.json.decode(reply.encoded())
        pages[name] = copy.deepcopy(body)
        if case is KWERY:
            body["meta"] |= {"next_cursor": "more", "has_more": True}
        else:
            body["next_page_token" if case is COIN_METRICS else "continuation_token"] = "more"
        return Reply(body=body)

    changed(monkeypatch, sandbox, case, handle)
    run = connector.read(case.config(sandbox, START, END), [case.stream])
    assert run.code == 1
    assert "a page repeats the rows of" in run.traces[0]["message"]
    same(run.records(), case.rows(sandbox, START, END), case.ignored)
    if case is not COIN_METRICS:  # whose request asks for several markets: all but the last were followed by another
        assert all(end < END for parts in slices(run.final_state, case.stream).values() for _, end in parts)


@pytest.mark.parametrize("change", [lambda row: None, turned_round], ids=["as it is", "in another order"])
@pytest.mark.parametrize("case", SUMS, ids=str)
def test_an_interval_that_is_repeated_comes_once(
    case: Case, change: Callable[[Any], None], connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    changed(monkeypatch, sandbox, case, twice(case, change))
    run = connector.read(case.config(sandbox, START, END), [case.stream])
    assert run.code == 0, run
    same(run.records(), case.rows(sandbox, START, END))


@pytest.mark.parametrize("case", SUMS, ids=str)
def test_an_interval_with_two_values_is_no_interval(
    case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    changed(monkeypatch, sandbox, case, twice(case, lambda row: row.update({NUMBERS[case.stream]: 17.5})))
    run = connector.read(case.config(sandbox, START, END), [case.stream])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "system_error"
    assert "one interval comes twice with different values" in trace["message"]
    assert run.records() == []


@pytest.mark.parametrize("amount", [None, 17.5])
def test_an_exchange_that_is_named_twice_in_a_bucket(
    amount: float | None, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """Equal counts are taken once; of different counts neither is guessed, and that bucket is omitted."""
    expected = connector.read(VOLUMES.config(sandbox, START, END), ["liquidation_volumes"]).records()
    named = set()

    def repeat(body: Any, reply: Reply, _: Any) -> Reply:
        row = next(row for row in body["data"] if row["exchanges"])
        named.add(row["interval_time"].replace(".000Z", "Z"))
        row["exchanges"].append({**row["exchanges"][0], **({} if amount is None else {"long_amount": amount})})
        return Reply(reply.status, body, reply.headers, reply.rows)

    changed(monkeypatch, sandbox, VOLUMES, rewritten(VOLUMES, repeat))
    run = connector.read(VOLUMES.config(sandbox, START, END), ["liquidation_volumes"])
    if amount is None:
        assert run.code == 0, run
        same(run.records(), expected)
        return
    assert run.code == 1
    assert "`exchanges` of row" in run.traces[0]["message"]
    left_out = [row for row in expected if row not in run.records()]
    assert {row["interval_start"] for row in left_out} == named
    assert [row for row in run.records() if row not in expected] == []


def test_two_series_that_are_one_in_the_unified_stream(
    connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """The category is part of the vendor stream's key only."""

    def both(body: Any, reply: Reply, _: Any) -> Reply:
        again = copy.deepcopy(body["series"])
        for series in again:
            series["id"]["category"] = "FUTURE"
        return Reply(body={"series": body["series"] + again}, rows=reply.rows)

    changed(monkeypatch, sandbox, KIYOTAKA, rewritten(KIYOTAKA, both))
    config = KIYOTAKA.config(sandbox, START, END)
    config["kiyotaka"] |= {"symbols": ["BYBIT/BTCUSDT"], "coins": []}
    run = connector.read(config, [KIYOTAKA.stream, "liquidation_volumes"])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["stream"]["name"] == "liquidation_volumes"
    assert "category" in trace["message"]
    keys = [tuple(row[name] for name in KIYOTAKA.key) for row in run.records(KIYOTAKA.stream)]
    assert len(keys) == len(set(keys)) == 4 * 24
    starts = [(row["position_side"], row["interval_start"]) for row in run.records("liquidation_volumes")]
    assert len(starts) == len(set(starts))


# Page tokens, and the end of the data.

TOKENS = {
    EVENTS.stream: "continuation_token",
    COIN_METRICS.stream: "next_page_token",
    KWERY.stream: "after",
}


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS, KWERY], ids=str)
def test_a_page_token_that_is_refused_is_a_bounded_restart(
    case: Case, status: int, connector: Connector, dense_sandbox: Sandbox
) -> None:
    """With each restart, rows that come in order advance; without an order, the next restart may not help."""
    start = "2026-02-27T12:00:00Z"
    config = case.config(dense_sandbox, start, END, num_workers=1, lookback_window="PT0S")
    rows = case.rows(dense_sandbox, start, END)
    for times in (1, None):
        dense_sandbox.clear()
        dense_sandbox.fault(
            "status", vendor=case.vendor, query_contains=TOKENS[case.stream], status=status, times=times
        )
        run = connector.read(config, [case.stream])
        assert run.code == int(case is KWERY and times is None), run
        refused = [request for request in dense_sandbox.requests(case.vendor) if request.status == status]
        assert 1 <= len(refused) <= (times or len(rows) / case.page_size + 3)
        if not run.code:
            covers(run.records(), rows, case)
    if case is not KWERY:
        return
    assert {trace["failure_type"] for trace in run.traces} == {"transient_error"}
    assert "page tokens are refused again and again" in run.traces[0]["message"]
    dense_sandbox.app.faults.clear()
    again = connector.read(config, [case.stream], state=run.final_state)
    assert again.code == 0, again
    covers(run.records() + again.records(), rows, case)


LISTED = {
    EVENTS.stream: ({"instruments": ["bbit/perpetual-future/t0*"]}, "kaiko-reference", "continuation_token"),
    COIN_METRICS.stream: ({"markets": ["bybit-T0*-future"]}, "coin_metrics", "next_page_token"),
}


@pytest.mark.parametrize(("status", "times", "code"), [(400, 2, 0), (401, 2, 0), (403, 2, 0), (400, None, 1)])
@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS], ids=str)
def test_a_page_token_of_a_list_that_is_refused(
    case: Case, status: int, times: int | None, code: int, connector: Connector
) -> None:
    section, vendor, token = LISTED[case.stream]
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=10, limits=False, tiny_markets=1_200) as sandbox:
        sandbox.fault("status", vendor=vendor, query_contains=f"{token}=", status=status, times=times)
        config = case.config(sandbox, "2026-02-28T23:00:00Z", "2026-03-01T00:00:00Z")
        config[case.vendor] |= section
        run = connector.read(config, [case.stream])
        assert run.code == code, run
        assert len([request for request in sandbox.requests(vendor) if token in request.params]) == 3
        if code:
            assert "page tokens are refused again and again" in run.traces[0]["message"]
        else:
            assert len(positions(run.final_state, case.stream)) == 1_200


@pytest.mark.parametrize("lie", ["X-Rows-Returned", "returned"])
def test_a_last_page_that_reports_missing_rows_is_not_the_end(
    lie: str, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    def handle(body: Any, reply: Reply, _: Any) -> Reply:
        lost = 1 if not body["data"] else len(body["data"])
        headers = dict(reply.headers) | {"X-Rows-Returned": str(lost if lie == "X-Rows-Returned" else 0)}
        body["meta"]["returned"] = lost if lie == "returned" else 0
        return Reply(reply.status, {**body, "data": []}, headers)

    changed(monkeypatch, sandbox, KWERY, rewritten(KWERY, handle))
    run = connector.read(KWERY.config(sandbox, START, END), [KWERY.stream])
    assert run.code == 1
    assert f"`{lie}` is " in run.traces[0]["message"]
    assert positions(run.final_state, KWERY.stream) == {}


def test_a_last_page_with_fewer_rows_than_it_says_is_reported(
    connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    def handle(body: Any, reply: Reply, _: Any) -> Reply:
        return Reply(reply.status, {**body, "data": body["data"][:1]}, reply.headers)

    changed(monkeypatch, sandbox, KWERY, rewritten(KWERY, handle))
    run = connector.read(KWERY.config(sandbox, START, END), [KWERY.stream])
    assert run.code == 0, run
    assert [log for log in run.logs if "but the last page has 1 rows" in log]


def test_a_faulty_row_outside_the_requested_time_is_ignored(
    connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """Gate's sums continue after the end of the window, because it has no parameter for the end."""

    def handle(body: Any, reply: Reply, _: Any) -> Reply:
        assert body[-1]["time"] > parse(END) // NS
        body[-1]["long_liq_usd"] = "NaN"
        return Reply(body=body, rows=reply.rows)

    changed(monkeypatch, sandbox, GATE_STATS, rewritten(GATE_STATS, handle))
    run = read(GATE_STATS, connector, sandbox)
    assert run.code == 0, run
    same(run.records(), GATE_STATS.rows(sandbox, START, END))


def put_odd_time(case: Case, market: str, body: Any) -> None:
    """Give one row of a market an invalid time."""
    if case is COINALYZE:
        for series in body:
            if series["symbol"] == market:
                series["history"][0]["t"] = "yesterday"
        return
    row = next((row for row in body["data"] if row["market"] == market), {})
    row["time"] = "yesterday"


@pytest.mark.parametrize("case", [COIN_METRICS, COINALYZE], ids=str)
def test_a_row_without_a_time_costs_no_other_market_its_rows(
    case: Case, connector: Connector, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """If a request has several markets, the others are requested again without the faulty one."""
    odd, *others = case.markets

    def handle(body: Any, reply: Reply, _: Any) -> Reply:
        put_odd_time(case, odd, body)
        return Reply(reply.status, body, reply.headers, reply.rows)

    changed(monkeypatch, sandbox, case, rewritten(case, handle))
    run = connector.read(case.config(sandbox, START, END), [case.stream])
    assert run.code == 1
    (trace,) = run.traces
    assert "yesterday" in trace["message"]
    assert odd in trace["message"]
    same(run.records(), [row for market in others for row in case.rows(sandbox, START, END, [market])], case.ignored)
    assert len(positions(run.final_state, case.stream)) == len(others)
    asked = len([request for request in sandbox.requests(case.vendor) if case.path in request.path])
    assert asked <= 2 * len(case.markets).bit_length() + 2


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "reset"}, {"kind": "cut"}], ids=str)
@pytest.mark.parametrize("case", [COIN_METRICS, COINALYZE], ids=str)
def test_a_server_error_of_one_market_costs_no_other_market_its_rows(
    case: Case, fault: dict[str, Any], connector: Connector, sandbox: Sandbox
) -> None:
    odd, *others = case.markets
    sandbox.fault(vendor=case.vendor, path_contains=case.path, query_contains=odd, times=None, **fault)
    run = connector.read(case.config(sandbox, START, END), [case.stream], patience="0.005")
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "transient_error"
    assert odd in trace["message"]
    same(run.records(), [row for market in others for row in case.rows(sandbox, START, END, [market])], case.ignored)
    assert len(positions(run.final_state, case.stream)) == len(others)


@pytest.mark.parametrize("case", [COIN_METRICS, COINALYZE], ids=str)
def test_an_outage_is_not_taken_for_the_fault_of_a_market(case: Case, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor=case.vendor, path_contains=case.path, status=500, times=None)
    run = connector.read(case.config(sandbox, START, END, num_workers=1), [case.stream], patience="0.005")
    assert run.code == 1
    asked = {str(request.params) for request in sandbox.requests(case.vendor) if case.path in request.path}
    assert len(asked) <= 6, "as many failures in a row end the reading"
