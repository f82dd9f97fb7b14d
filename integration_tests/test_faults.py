"""The fault matrix: a fault of one stream is named in its error, loses no row, and the other streams complete.

Each test reads all streams at once. A transient fault hits all of them; a permanent one hits one half of them, while
the other half must complete, and then the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from harness import LEAST_TIMEOUT, Connector, Run, cleared

from sandbox import Sandbox

START, END = "2026-02-25T12:00:00Z", "2026-02-28T00:00:00Z"
STREAMS = [case.stream for case in CASES]
QUICK = "0.001"


@dataclass(frozen=True)
class Broken:
    """A fault of the sandbox, and the text that its message must have."""

    kind: str
    says: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def least_timeout(self) -> float | None:
        """The connector's own timeout if no response arrives in time."""
        return None if "seconds" in self.details else LEAST_TIMEOUT

    def __str__(self) -> str:
        return "-".join([self.kind, *(str(value) for value in self.details.values())]).replace(" ", "_")


def status(code: int, says: str = "", **details: Any) -> Broken:
    return Broken("status", says or f"HTTP {code}", {"status": code, **details})


PASSING = [
    Broken("refused", "Connection"),
    Broken("reset", "Connection"),
    Broken("reset_mid_body", "(Connection|IncompleteRead|Protocol)"),
    Broken("cut", "(IncompleteRead|not JSON)"),
    Broken("cut", "not JSON", {"length": "cut"}),
    Broken("bad_gzip", "gzip"),
    Broken("silent", "no answer in", {"seconds": 30}),
    Broken("slow_first_byte", "no answer in", {"seconds": 30}),
    Broken("slow_drip", "(no answer in|too slowly)", {"seconds": 30, "chunk": 16}),
    Broken("html", "text/html.*not JSON"),
    status(429, headers={"Retry-After": "0.2"}),
    status(429, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}),
    status(429, headers={}),
    status(500),
    status(502, body="<html><h1>Bad Gateway</h1></html>"),
    status(503),
    status(504),
]


@pytest.fixture(scope="module")
def thin_sandbox() -> Iterator[Sandbox]:
    """Few rows, yet several requests for each stream."""
    with Sandbox(seed=1, now="2026-03-01T12:30:00Z", rows_per_day=900, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(thin_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(thin_sandbox)


_rows: dict[str, list[Any]] = {}


def rows_of(case: Case, sandbox: Sandbox) -> list[Any]:
    """The rows of a stream in this module's sandbox."""
    if case.stream not in _rows:
        _rows[case.stream] = case.rows(sandbox, START, END)
    return _rows[case.stream]


def everything(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    return config_of(CASES, sandbox, START, END, **fields)


def break_it(sandbox: Sandbox, case: Case, fault: Broken, *, after: int = 0, times: int | None = 1) -> None:
    details = dict(fault.details)
    if details.get("status") == 429:
        # Kiyotaka has Retry-After in the body, too.
        details = {"body": '{"error":"RATE_LIMITED","message":"Too many."}', **details}
    sandbox.fault(fault.kind, vendor=case.vendor, path_contains=case.path, after=after, times=times, **details)


def all_complete(run: Run, sandbox: Sandbox, but: Sequence[Case] = ()) -> None:
    for case in CASES:
        if case not in but:
            assert run.statuses(case.stream)[-1] == "COMPLETE", case
            covers(run.records(case.stream), rows_of(case, sandbox), case)


def broken(run: Run, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
    """Assert that these streams and no others failed; their traces by stream."""
    assert run.code == 1, run
    assert b"Traceback" not in run.err
    assert sorted(trace["stream"]["name"] for trace in run.traces) == sorted(case.stream for case in cases)
    for case in cases:
        assert run.statuses(case.stream)[-1] == "INCOMPLETE"
    return {trace["stream"]["name"]: trace for trace in run.traces}


def failed(run: Run, case: Case, failure_type: str, says: str) -> str:
    """Assert that this stream failed so; its message."""
    trace = next(trace for trace in run.traces if trace["stream"]["name"] == case.stream)
    assert trace["failure_type"] == failure_type, trace
    assert trace["message"].startswith(f"{case.stream}: {case.vendor}"), trace["message"]
    assert re.search(says, trace["message"]), trace["message"]
    if failure_type != "system_error":
        assert not trace.get("stack_trace")
    return str(trace["message"])


def resumes(connector: Connector, sandbox: Sandbox, run: Run, cases: Sequence[Case]) -> None:
    """Assert that, after the fault, a sync from the last state reads the missing rows."""
    sandbox.app.faults.clear()
    again = connector.read(everything(sandbox), [case.stream for case in cases], state=run.final_state)
    assert again.code == 0, again
    for case in cases:
        covers(run.records(case.stream) + again.records(case.stream), rows_of(case, sandbox), case)


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_transient_fault_has_no_effect(fault: Broken, connector: Connector, sandbox: Sandbox) -> None:
    for case in CASES:
        break_it(sandbox, case, fault)
        break_it(sandbox, case, fault, after=1)
    run = connector.read(everything(sandbox), STREAMS, patience="0.02", least_timeout=fault.least_timeout)
    assert run.code == 0, run
    assert run.traces == []
    all_complete(run, sandbox)
    hit = [request for request in sandbox.requests() if request.fault]
    for case in CASES:
        assert any(request.vendor == case.vendor and case.path in request.path for request in hit), case


HALVES = [(EVENTS, COIN_METRICS, KIYOTAKA, COINALYZE), (VOLUMES, KWERY, BITFINEX, GATE_ORDERS, GATE_STATS)]
halves = pytest.mark.parametrize("half", HALVES, ids=lambda half: "+".join(case.vendor for case in half))


# Retry-After is not scaled. Of the slow faults, one runs with all streams and the others with some.
LASTING = [
    (fault, half)
    for fault in PASSING
    for half in HALVES
    if not fault.details.get("headers") and not (fault.kind.startswith("slow") and half is HALVES[0])
]


@pytest.mark.parametrize(("fault", "half"), LASTING, ids=lambda value: str(value) if isinstance(value, Broken) else "")
def test_a_permanent_fault_is_reported_and_loses_no_row(
    fault: Broken, half: Sequence[Case], connector: Connector, sandbox: Sandbox
) -> None:
    for case in half:
        break_it(sandbox, case, fault, after=1, times=None)
    config = everything(sandbox, num_workers=6)
    run = connector.read(config, STREAMS, patience=QUICK, least_timeout=fault.least_timeout)
    broken(run, half)
    for case in half:
        message = failed(run, case, "transient_error", fault.says)
        is_waited_out = case is BITFINEX and fault.details.get("status") == 429
        assert f"in {31 if is_waited_out else 6} tries" in message
        assert "next sync resumes" in message
    all_complete(run, sandbox, but=half)
    resumes(connector, sandbox, run, half)


def test_a_host_that_refuses_connections(connector: Connector, sandbox: Sandbox) -> None:
    config = everything(sandbox)
    config["coin_metrics"]["base_url"] = f"{sandbox.closed_url()}/coin_metrics"
    run = connector.read(config, STREAMS, patience=QUICK)
    broken(run, [COIN_METRICS])
    failed(run, COIN_METRICS, "transient_error", "Connection")
    all_complete(run, sandbox, but=[COIN_METRICS])
    assert run.records(COIN_METRICS.stream) == []


# Refusals during a sync.

REFUSALS = [
    (401, "Check the key"),
    (402, "(Check the key|credits)"),
    (403, "(plan|covers?)"),
]


@halves
@pytest.mark.parametrize(("code", "advice"), REFUSALS)
def test_a_refusal_in_mid_sync(
    code: int, advice: str, half: Sequence[Case], connector: Connector, sandbox: Sandbox
) -> None:
    words = "these are the vendor's very own words"
    for case in half:
        break_it(sandbox, case, status(code, message=words), after=1, times=None)
    run = connector.read(everything(sandbox, num_workers=1), STREAMS)
    broken(run, half)
    for case in half:
        message = failed(run, case, "config_error", f"HTTP {code}: .*{words}")
        assert re.search(advice, message), message
        tried = [r for r in sandbox.requests(case.vendor) if r.status == code and case.path in r.path]
        # A page token, and the fresh request in its place; of a key's 401, once.
        most = {401: 2, 402: 1, 403: 2 * len(case.markets)}[code]
        assert len(tried) <= most, "a refused key is not tried again"
    all_complete(run, sandbox, but=half)
    resumes(connector, sandbox, run, half)


# Requests to Bitfinex have no symbols.
UNKNOWN = {
    EVENTS.stream: ("instruments", "bbit/perpetual-future/nonesuch", "kaiko.instruments[1]"),
    VOLUMES.stream: ("assets", "nonesuch", "kaiko.assets[1]"),
    COIN_METRICS.stream: ("markets", "binance-NONESUCH-future", "coin_metrics.markets[1]"),
    KWERY.stream: ("symbols", "NONESUCH", "kwery.symbols[1]"),
    KIYOTAKA.stream: ("symbols", "BYBIT/NONESUCH", "kiyotaka.symbols[1]"),
    COINALYZE.stream: ("symbols", "NONESUCH_PERP.A", "coinalyze.symbols[1]"),
    GATE_ORDERS.stream: ("contracts", "usdt/NONESUCH_USDT", "gate.contracts[1]"),
    GATE_STATS.stream: ("contracts", "usdt/NONESUCH_USDT", "gate.contracts[1]"),
}


@halves
def test_an_unknown_market_is_named_and_the_others_are_read(
    half: Sequence[Case], connector: Connector, sandbox: Sandbox
) -> None:
    half = [case for case in half if case.stream in UNKNOWN]
    config = everything(sandbox)
    for case in half:
        field_name, unknown, _ = UNKNOWN[case.stream]
        entries = config[case.vendor][field_name]
        config[case.vendor][field_name] = [entries[0], unknown, *entries[1:]]
    run = connector.read(config, STREAMS)
    broken(run, half)
    for case in half:
        says = "not in Coinalyze's list" if case is COINALYZE else "HTTP 40[04]: "
        message = failed(run, case, "config_error", says)
        assert f"`{UNKNOWN[case.stream][2]}`" in message
        assert "nonesuch" in message.lower()
    all_complete(run, sandbox, but=half)
    for case in half:
        covers(run.records(case.stream), rows_of(case, sandbox), case)


# Pages that do not advance or have a next page on another origin.

TOKENS = (EVENTS, VOLUMES, COIN_METRICS)


@pytest.mark.parametrize("case", [EVENTS, COIN_METRICS, KWERY, BITFINEX], ids=str)
def test_a_page_that_repeats_its_token(case: Case, connector: Connector, dense_sandbox: Sandbox) -> None:
    start, end = "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"
    dense_sandbox.fault("repeat_token", vendor=case.vendor, path_contains=case.path, times=None, after=1)
    config = case.config(dense_sandbox, start, end, num_workers=1)
    run = connector.read(config, [case.stream])
    broken(run, [case])
    failed(run, case, "system_error", "repeats .*the sync would never end")
    assert len(dense_sandbox.requests(case.vendor)) < 40
    dense_sandbox.app.faults.clear()
    again = connector.read(config, [case.stream], state=run.final_state)
    covers(run.records() + again.records(), case.rows(dense_sandbox, start, end), case)


def test_a_few_empty_pages_with_a_token_are_followed(connector: Connector, sandbox: Sandbox) -> None:
    for case in TOKENS:
        sandbox.fault("empty_page", vendor=case.vendor, path_contains=case.path, times=3)
    run = connector.read(everything(sandbox), STREAMS)
    assert run.code == 0, run
    all_complete(run, sandbox)


def test_empty_pages_without_end(connector: Connector, sandbox: Sandbox) -> None:
    for case in TOKENS:
        sandbox.fault("empty_page", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, TOKENS)
    for case in TOKENS:
        failed(run, case, "system_error", "empty pages in a row")
    all_complete(run, sandbox, but=TOKENS)
    resumes(connector, sandbox, run, TOKENS)


def test_a_next_page_elsewhere_is_refused(connector: Connector, sandbox: Sandbox) -> None:
    for case in TOKENS:
        sandbox.fault("foreign_next_url", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, TOKENS)
    for case in TOKENS:
        message = failed(run, case, "system_error", "another origin was refused: http://localhost")
        assert "The key was not sent there" in message
    assert {request.headers["host"] for request in sandbox.requests()} == {sandbox.url.removeprefix("http://")}
    all_complete(run, sandbox, but=TOKENS)
    resumes(connector, sandbox, run, TOKENS)


@halves
def test_a_redirect_elsewhere_is_refused(half: Sequence[Case], connector: Connector, sandbox: Sandbox) -> None:
    for case in half:
        sandbox.fault("redirect", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, half)
    for case in half:
        failed(run, case, "system_error", "redirect to another origin was refused")
    assert {request.headers["host"] for request in sandbox.requests()} == {sandbox.url.removeprefix("http://")}
    all_complete(run, sandbox, but=half)
    resumes(connector, sandbox, run, half)


# Rows that are not as documented.

NUMBER = {
    VOLUMES.stream: "total_amount",
    KIYOTAKA.stream: "liquidations",
    KWERY.stream: "quantity",
    BITFINEX.stream: "amount",
    COINALYZE.stream: "`l`",
    GATE_STATS.stream: "long_liq_usd",
}
TIME = {
    VOLUMES.stream: "interval_time",
    COIN_METRICS.stream: "time",
    BITFINEX.stream: "mts",
    COINALYZE.stream: "t",
    GATE_ORDERS.stream: "time",
    GATE_STATS.stream: "time",
}


@halves
def test_a_value_of_the_wrong_type(half: Sequence[Case], connector: Connector, sandbox: Sandbox) -> None:
    for case in half:
        # Bitfinex' first row may be of an unselected symbol, and its second page may only be compared.
        after, rows = (0, 1_000) if case is BITFINEX else (1, 1)
        sandbox.fault("wrong_types", vendor=case.vendor, path_contains=case.path, after=after, times=None, rows=rows)
    run = connector.read(everything(sandbox, num_workers=1), STREAMS)
    broken(run, half)
    for case in half:
        failed(run, case, "system_error", rf"{NUMBER.get(case.stream, 'price')}.*No row was guessed")
    all_complete(run, sandbox, but=half)
    resumes(connector, sandbox, run, half)


@halves
def test_a_time_of_no_known_unit(half: Sequence[Case], connector: Connector, sandbox: Sandbox) -> None:
    for case in half:
        sandbox.fault("timestamp_unit", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, half)
    for case in half:
        failed(run, case, "system_error", rf"`{TIME.get(case.stream, 'timestamp')}.*No row was guessed")
        assert run.records(case.stream) == []
    all_complete(run, sandbox, but=half)


OPTIONAL = {
    EVENTS.stream: ["rate", "amount_usd", "position_side"],
    VOLUMES.stream: ["exchanges", "interval_timestamp", "long_trades"],
    COIN_METRICS.stream: ["side", "database_time", "price"],
    KWERY.stream: ["source", "usd_value"],
    KIYOTAKA.stream: ["liquidations"],
    BITFINEX.stream: ["base_price", "price_acquired"],
    COINALYZE.stream: ["s"],
    GATE_ORDERS.stream: ["order_size"],
    GATE_STATS.stream: ["lsr_taker", "long_liq_usd", "mark_price"],
}
REQUIRED = {
    EVENTS.stream: "trade_id",
    VOLUMES.stream: "interval_time",
    COIN_METRICS.stream: "coin_metrics_id",
    KWERY.stream: "timestamp",
    KIYOTAKA.stream: "timestamp",
    BITFINEX.stream: "mts",
    COINALYZE.stream: "t",
    GATE_ORDERS.stream: "left",
    GATE_STATS.stream: "time",
}


def test_optional_fields_may_be_missing(connector: Connector, sandbox: Sandbox) -> None:
    for case in CASES:
        sandbox.fault(
            "missing_fields", vendor=case.vendor, path_contains=case.path, times=None, fields=OPTIONAL[case.stream]
        )
    run = connector.read(everything(sandbox), STREAMS)
    assert run.code == 0, run
    for case in CASES:
        rows = rows_of(case, sandbox)
        if case is KIYOTAKA:  # a zero may be left out
            expected = [{**row, "liquidations": 0} for row in rows]
        elif case is BITFINEX:  # an element has its place
            expected = [{**row, "base_price": None, "price_acquired": None} for row in rows]
        else:
            expected = [{k: v for k, v in row.items() if k not in OPTIONAL[case.stream]} for row in rows]
        same(run.records(case.stream), expected, case.ignored)


@halves
def test_a_required_field_is_missing(half: Sequence[Case], connector: Connector, sandbox: Sandbox) -> None:
    for case in half:
        name = REQUIRED[case.stream]
        sandbox.fault("missing_fields", vendor=case.vendor, path_contains=case.path, times=None, fields=[name], rows=1)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, half)
    for case in half:
        failed(run, case, "system_error", f"`{REQUIRED[case.stream]}`.*No row was guessed")
    all_complete(run, sandbox, but=half)
    resumes(connector, sandbox, run, half)


def test_rows_out_of_order_are_all_read(connector: Connector, sandbox: Sandbox) -> None:
    for case in CASES:
        sandbox.fault("unordered", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    assert run.code == 0, run
    all_complete(run, sandbox)


def test_a_page_of_another_time_does_not_count_as_read(connector: Connector, sandbox: Sandbox) -> None:
    """Rows 400 days off say nothing about the requested time, which must not count as read."""
    for case in CASES:
        sandbox.fault("out_of_window", vendor=case.vendor, path_contains=case.path, after=1, times=1)
    run = connector.read(everything(sandbox, num_workers=1), STREAMS)
    broken(run, CASES)
    for case in CASES:
        failed(run, case, "system_error", "outside the requested time")
    resumes(connector, sandbox, run, CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_page_of_fifty_megabytes(case: Case, connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("big_page", vendor=case.vendor, path_contains=case.path, times=1, megabytes=50)
    run = connector.read(everything(sandbox), [case.stream])
    assert run.code == 0, run
    rows = run.records()
    # If a body is a list, a row has the padding: as an undocumented field, which arrives, or as Bitfinex' 13th value.
    padding = [len(row.pop(name)) for row in rows for name in ("padding", "_12") if name in row]
    assert padding in ([], [50_000_000])
    same(rows, rows_of(case, sandbox), case.ignored)


def test_kaikos_error_with_status_200_is_retried(connector: Connector, sandbox: Sandbox) -> None:
    for case in (EVENTS, VOLUMES):
        sandbox.fault("error_in_200", vendor=case.vendor, path_contains=case.path, after=1, times=2)
    run = connector.read(everything(sandbox), STREAMS)
    assert run.code == 0, run
    all_complete(run, sandbox)


def test_kaikos_permanent_error_with_status_200_is_reported_in_its_words(
    connector: Connector, sandbox: Sandbox
) -> None:
    words = "the backend is out to lunch"
    for case in (EVENTS, VOLUMES):
        sandbox.fault("error_in_200", vendor=case.vendor, path_contains=case.path, after=1, times=None, message=words)
    run = connector.read(everything(sandbox), STREAMS, patience=QUICK)
    broken(run, [EVENTS, VOLUMES])
    for case in (EVENTS, VOLUMES):
        failed(run, case, "transient_error", words)
    all_complete(run, sandbox, but=[EVENTS, VOLUMES])
    resumes(connector, sandbox, run, [EVENTS, VOLUMES])


def test_a_200_without_a_list_of_rows_is_not_an_empty_page(connector: Connector, sandbox: Sandbox) -> None:
    """Kiyotaka is the exception: it omits empty lists."""
    for case in (COIN_METRICS, KWERY):
        sandbox.fault("error_in_200", vendor=case.vendor, path_contains=case.path, times=None)
    run = connector.read(everything(sandbox), STREAMS)
    broken(run, [COIN_METRICS, KWERY])
    for case in (COIN_METRICS, KWERY):
        failed(run, case, "transient_error", "in 6 tries: a 200 with an error")
    all_complete(run, sandbox, but=[COIN_METRICS, KWERY])


def test_an_expired_token_is_replaced_by_a_fresh_request(connector: Connector) -> None:
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=30_000, limits=False, kaiko_token_seconds=0.0) as sandbox:
        config = EVENTS.config(sandbox, "2026-02-28T00:00:00Z", "2026-02-28T03:00:00Z", num_workers=1)
        run = connector.read(config, [EVENTS.stream])
        assert run.code == 0, run
        covers(run.records(), EVENTS.rows(sandbox, "2026-02-28T00:00:00Z", "2026-02-28T03:00:00Z"), EVENTS)


def test_windows_that_a_vendor_refuses_as_too_large_are_cut(connector: Connector) -> None:
    with Sandbox(seed=1, now="2026-03-01", rows_per_day=1_000, limits=False, kiyotaka_max_points=50) as sandbox:
        run = connector.read(KIYOTAKA.config(sandbox), [KIYOTAKA.stream])
        assert run.code == 0, run
        same(run.records(), KIYOTAKA.rows(sandbox))


def test_retry_after_is_respected(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="kaiko", status=429, headers={"Retry-After": "1"}, times=1)
    run = connector.read(EVENTS.config(sandbox, START, END, num_workers=1), [EVENTS.stream])
    assert run.code == 0, run
    refused, again = sandbox.requests("kaiko")[:2]
    assert refused.status == 429
    assert again.time - refused.time >= 1.0
