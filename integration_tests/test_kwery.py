"""Kwery through the command line: flavours, plans, twins, credits."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from cases import KWERY, Row, same
from harness import Connector, Message, Run, positions

from sandbox import Sandbox
from sandbox.app import Canned, Recorded
from sandbox.http import Request as Arrived
from sandbox.server import Answer
from sandbox.times import iso, parse

STREAM = KWERY.stream
NOW = "2026-03-01T12:30:00Z"
START, END = "2026-02-28T00:00:00Z", "2026-03-01T06:00:00Z"
PATH = "/v1/liquidations"


def kwery_sandbox(**options: Any) -> Sandbox:
    return Sandbox(**{"seed": 3, "now": NOW, "rows_per_day": 4_000, "limits": False, **options})


def config_of(sandbox: Sandbox, start: str = START, end: str | None = END, **section: Any) -> dict[str, Any]:
    config = KWERY.config(sandbox, start, end)
    config["kwery"] |= section
    return config


def paid(sandbox: Sandbox) -> list[Recorded]:
    return [request for request in sandbox.requests("kwery") if request.path == PATH]


def credits_of(requests: Iterable[Recorded]) -> int:
    """The cost of these requests by the vendor's price list."""
    return sum(25 + 2 * request.rows for request in requests if request.status == 200)


def by_id(run: Run) -> dict[str, Row]:
    return {row["liquidation_id"]: row for row in run.records(STREAM)}


# Flavours.

FLAVOURS = [
    {"kwery_flavour": flavour, "kwery_order": order, "kwery_errors": errors}
    for flavour, order, errors in (
        ("documented", "ascending", "flat"),
        ("documented", "descending", "detail"),
        ("recorded", "ascending", "detail"),
        ("recorded", "descending", "flat"),
    )
]


def test_ids_are_the_same_in_every_flavour_order_page_and_window(connector: Connector) -> None:
    ids_read = []
    for number, flavour in enumerate(FLAVOURS):
        with kwery_sandbox(**flavour) as sandbox:
            if number % 2:  # other pages: the plan's
                sandbox.serve("kwery", "/v1/limits", [{"max_rows_per_request": 61}])
            config = config_of(sandbox, "2026-02-28T00:00:00Z" if number < 3 else "2026-02-28T07:31:00.5Z")
            run = connector.read(config, [STREAM])
            assert run.code == 0, run
            same(run.records(), KWERY.rows(sandbox, config["start_date"], END), KWERY.ignored)
            ids = by_id(run)
            assert len(ids) == len(run.records()), "twins share an id"
            assert any(not identity.endswith("-0") for identity in ids), "no twins among the rows"
            assert {request.params["limit"] for request in paid(sandbox)} == {"61" if number % 2 else "1000"}
            ids_read.append(ids)
    assert set(ids_read[0]) == set(ids_read[1]) == set(ids_read[2])
    assert set(ids_read[3]) < set(ids_read[0])


@pytest.mark.parametrize("flavour", FLAVOURS[1:3], ids=lambda flavour: flavour["kwery_flavour"])
def test_a_lookback_repeats_rows_under_their_ids_and_finds_late_ones(
    flavour: dict[str, str], connector: Connector
) -> None:
    with kwery_sandbox(**flavour) as sandbox:
        config = config_of(sandbox, symbols=["BTC"])
        first = connector.read(config, [STREAM])
        last = sandbox.expected("kwery", "BTC", START, END)[-1]
        new = {**last, "timestamp": last["timestamp"].replace("T05", "T05"), "quantity": 77.5}
        sandbox.add_rows("kwery", "BTC", [new, last])  # one that is new, and a twin of one already read
        second = connector.read(config, [STREAM], state=first.final_state)
        assert first.code == second.code == 0
    before, again = by_id(first), by_id(second)
    late = {identity: row for identity, row in again.items() if identity not in before}
    assert Counter(row["quantity"] for row in late.values()) == Counter([77.5, last["quantity"]])
    assert len(again) > 20, "the lookback"
    for identity in set(again) & set(before):
        assert again[identity] == before[identity]
    assert [identity[-2:] for identity, row in late.items() if row["quantity"] != 77.5] == ["-1"]


def test_the_last_minute_costs_a_few_windows_where_pages_are_small(connector: Connector) -> None:
    """A page has ten rows, at most one a second: ten seconds a window, however long the minute takes to settle."""
    with Sandbox(seed=3, rows_per_day=100, limits=False) as sandbox:
        sandbox.serve("kwery", "/v1/limits", [{"max_rows_per_request": 10}])
        start = iso(sandbox.now() - 3600 * 10**9, 3)
        run = connector.read(config_of(sandbox, start, None, symbols=["BTC"]), [STREAM])
        assert run.code == 0, run
        assert len([request for request in paid(sandbox) if "after" not in request.params]) <= 8


def hold_back_the_second_page(sandbox: Sandbox) -> tuple[threading.Event, threading.Event]:
    """An event that is set when the second page is ready, and one that releases it."""
    made, go_on = threading.Event(), threading.Event()
    answer = sandbox.app.answer

    def held(request: Arrived) -> Answer:
        reply = answer(request)
        if "after" in dict(request.query) and not made.is_set():
            made.set()
            go_on.wait(120)
        return reply

    sandbox.app.answer = held  # type: ignore[method-assign]
    return made, go_on


def test_a_row_that_arrives_between_two_pages_is_no_twin(connector: Connector) -> None:
    """Recorded cursors are offsets: a row in front of them repeats one, if the newest rows are on the pages."""
    with Sandbox(
        seed=3, rows_per_day=30_000, limits=False, kwery_flavour="recorded", kwery_order="descending"
    ) as sandbox:
        sandbox.serve("kwery", "/v1/limits", [{"max_rows_per_request": 200}])
        second, go_on = hold_back_the_second_page(sandbox)
        config = config_of(sandbox, iso(sandbox.now() - 3600 * 10**9, 3), None, symbols=["BTC"])
        reading = connector.reading(config, [STREAM])
        assert second.wait(120)
        end = parse(paid(sandbox)[0].params["end"])
        late = {**sandbox.expected("kwery", "BTC", end - 3600 * 10**9, end)[-1], "quantity": 77.5}
        late["timestamp"] = iso(sandbox.now() - 20 * 10**9, 6, "+00:00")
        sandbox.add_rows("kwery", "BTC", [late])
        go_on.set()
        run = reading.collect()
        assert run.code == 0, run
        held = sandbox.expected("kwery", "BTC", config["start_date"], end)
        contents = Counter(row["timestamp"] + row["side"] + str(row["avg_price"]) for row in held)
        counts = Counter(row["timestamp"] + row["side"] + str(row["avg_price"]) for row in by_id(run).values())
        assert not {key for key in counts & contents if counts[key] > contents[key]}, "a row became two"
        assert max(parse(request.params["end"]) for request in paid(sandbox)) - end > 30 * 10**9


# Requests.


def test_every_request_of_a_sync(connector: Connector) -> None:
    with kwery_sandbox(rows_per_day=12_000) as sandbox:
        run = connector.read(config_of(sandbox, side="long", min_usd=100), [STREAM], script=True)
        assert run.code == 0, run
        first = sandbox.requests("kwery")[0]
        assert (first.method, first.path) == ("GET", "/v1/limits")
        windows: dict[str, set[tuple[str, str]]] = {"BTC": set(), "ETH": set()}
        for request in paid(sandbox):
            names = ["symbol", "start", "end", "side", "min_usd", "limit"]
            assert [name for name, _ in request.query] in (names, [*names, "after"])
            assert (request.params["side"], request.params["min_usd"], request.params["limit"]) == (
                "long",
                "100",
                "1000",
            )
            windows[request.params["symbol"]].add((request.params["start"], request.params["end"]))
        for spans in windows.values():
            bounds = sorted(spans)
            assert bounds[0][0] == "2026-02-28T00:00:00.000Z"
            assert bounds[-1][1] == "2026-03-01T06:00:00.000Z"
            assert all(one[1] == other[0] for one, other in pairwise(bounds)), "contiguous"
        for request in sandbox.requests("kwery"):
            assert request.headers["x-api-key"] == "sandbox-kwery-business"
            assert "sandbox-kwery" not in request.target
        assert b"sandbox-kwery-business" not in run.out + run.err
        rows = [
            row
            for symbol in ("BTC", "ETH")
            for row in sandbox.expected("kwery", symbol, START, END, side="long", min_usd=100)
        ]
        assert Counter(row["timestamp"] for row in run.records()) == Counter(row["timestamp"] for row in rows)
        assert {row["side"] for row in run.records()} == {"long"}
        assert {tuple(dict(key).items()) for key in positions(run.final_state, STREAM)} == {
            (("min_usd", "100"), ("side", "long"), ("symbol", symbol)) for symbol in ("BTC", "ETH")
        }


def test_check_sends_no_request_that_costs(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.check(config_of(sandbox))
    assert run.status == {"status": "SUCCEEDED"}
    assert [(request.path, request.query) for request in sandbox.requests()] == [
        ("/v1/limits", []),
        ("/v1/symbols", []),
    ]


def test_check_requests_a_millisecond_without_free_calls(connector: Connector, sandbox: Sandbox) -> None:
    """The documentation of liquidations mentions neither."""
    for path in ("/v1/limits", "/v1/symbols"):
        sandbox.fault("status", vendor="kwery", path_contains=path, status=404, times=None)
    config = config_of(sandbox)
    assert connector.check(config).status == {"status": "SUCCEEDED"}
    (request,) = paid(sandbox)
    assert request.params["symbol"] == "BTC"
    assert parse(request.params["end"]) - parse(request.params["start"]) == 10**6
    run = connector.check({**config, "kwery": {**config["kwery"], "symbols": ["DOGE"]}})
    assert run.status["status"] == "FAILED"
    assert "invalid_symbol" in run.status["message"]


@pytest.mark.parametrize("errors", ["flat", "detail"])
def test_check_says_what_is_wrong(errors: str, connector: Connector) -> None:
    with kwery_sandbox(kwery_errors=errors) as sandbox:
        for section, words in (
            ({"api_key": "no-such-key"}, ["kwery", "`kwery.api_key`", "HTTP 401", "Missing or invalid api-key"]),
            ({"symbols": ["BTC", "DOGE"]}, ["`kwery.symbols[1]`", "'DOGE'", "Allowed: BTC, ETH, SOL, XRP"]),
            ({"api_key": "sandbox-kwery-pro", "min_usd": 5}, ["`kwery.min_usd`", "pro plan", "upgrade"]),
            ({"max_credits_per_sync": 44}, ["`kwery.max_credits_per_sync`", "45 or more"]),
        ):
            run = connector.check(config_of(sandbox, **section))
            assert run.status["status"] == "FAILED"
            for word in words:
                assert word in run.status["message"]
        assert paid(sandbox) == []


# Plans.


def refused(run: Run, *words: str) -> str:
    """Assert one config_error that says all these words; its message."""
    assert run.code == 1, run
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert not trace.get("stack_trace")
    for word in (STREAM, "kwery", *words):
        assert word in trace["message"]
    assert run.statuses(STREAM)[-1] == "INCOMPLETE"
    return str(trace["message"])


@pytest.mark.parametrize(("plan", "limit"), [("free", 250), ("pro", 1000), ("business", 1000)])
def test_every_plan_reads_what_it_may(plan: str, limit: int, connector: Connector) -> None:
    with kwery_sandbox(rows_per_day=8_000) as sandbox:
        start = "2026-02-28T13:00:00Z"
        config = config_of(sandbox, start, NOW, api_key=f"sandbox-kwery-{plan}")
        if plan == "free":
            config["kwery"]["symbols"] = ["ETH"]
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        same(run.records(), KWERY.rows(sandbox, start, NOW, config["kwery"]["symbols"]), KWERY.ignored)
        assert {request.params["limit"] for request in paid(sandbox)} == {str(limit)}


@pytest.mark.parametrize(("plan", "days"), [("free", 1), ("pro", 30)])
def test_history_that_a_plan_refuses(plan: str, days: int, connector: Connector) -> None:
    """The sandbox's clock differs from the connector's, so the reach must be found with requests."""
    with kwery_sandbox(rows_per_day=100) as sandbox:
        # The plan is not returned either, because its rate limit would make the halvings slow.
        sandbox.serve("kwery", "/v1/limits", [Canned({"error": "not_found"}, 404)])
        reach = parse(NOW) - days * 86_400 * 10**9
        start = iso(reach - 5 * 3600 * 10**9, 0)
        run = connector.read(config_of(sandbox, start, NOW, api_key=f"sandbox-kwery-{plan}"), [STREAM])
        assert run.code == 0, run
        (line,) = [log for log in run.logs if "data reach back to" in log]
        assert "invalid_time_range" in line
        since = parse(line.split("reach back to ")[1].split(". ")[0])
        assert abs(since - reach) < 6 * 60 * 10**9
        same(run.records(), KWERY.rows(sandbox, iso(since, 9), NOW), KWERY.ignored)
        refused_ones = [request for request in paid(sandbox) if request.status == 400]
        assert 1 < len(refused_ones) <= 16, "halved, once for both symbols"


def test_history_that_a_plan_refuses_even_of_the_newest_day(connector: Connector, sandbox: Sandbox) -> None:
    body = {"error": "invalid_time_range", "message": "start is after end, or the range exceeds your plan's history."}
    sandbox.serve("kwery", PATH, [Canned(body, 400)] * 40)
    run = connector.read(config_of(sandbox, START, END, symbols=["BTC"]), [STREAM])
    refused(run, "HTTP 400", "invalid_time_range", "`start_date`", "`kwery.symbols[0]`")


def test_history_that_a_plan_omits_silently(connector: Connector) -> None:
    """The plan and the connector both count back from now, by the real clock."""
    with Sandbox(seed=3, rows_per_day=4_000, limits=False, kwery_history="clamp") as sandbox:
        now = sandbox.now()
        start, end = iso(now - 3 * 86_400 * 10**9, 3), iso(now - 3600 * 10**9, 3)
        config = config_of(sandbox, start, end, api_key="sandbox-kwery-free", symbols=["ETH"])
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        (line,) = [line for line in run.logs if "kwery: data reach back to " in line]
        assert "Older data are not read" in line
        covered = [row["time"] for row in run.records()]
        assert covered
        assert parse(min(covered)) >= now - 86_400 * 10**9
        sandbox.clear()
        within = connector.read({**config, "start_date": iso(now - 80_000 * 10**9, 3)}, [STREAM])
        assert not [line for line in within.logs if "reach back" in line]


@pytest.mark.parametrize("flavour", ["documented", "recorded"])
def test_capped_answers_are_requested_again_in_smaller_windows(flavour: str, connector: Connector) -> None:
    """If /v1/limits does not return the plan's row cap."""
    with kwery_sandbox(kwery_row_cap=50, kwery_flavour=flavour) as sandbox:
        sandbox.serve("kwery", "/v1/limits", [Canned({"error": "not_found"}, 404)])
        config = config_of(sandbox, START, "2026-02-28T12:00:00Z", symbols=["BTC"])
        run = connector.read(config, [STREAM])
        assert run.code == 0, run
        expected = KWERY.rows(sandbox, START, "2026-02-28T12:00:00Z", ["BTC"])
        same(run.records(), expected, KWERY.ignored)
        assert len(by_id(run)) == len(expected) > 200
        windows = {(request.params["start"], request.params["end"]) for request in paid(sandbox)}
        rows = sum(request.rows for request in paid(sandbox))
        assert rows < 3 * len(expected), f"{rows} rows paid for {len(expected)}"
        assert len(windows) == len(paid(sandbox)), "no window twice"


def test_a_cap_that_no_window_fits_is_an_error(connector: Connector) -> None:
    with kwery_sandbox(kwery_row_cap=2, rows_per_day=500) as sandbox:
        sandbox.serve("kwery", "/v1/limits", [Canned({"error": "not_found"}, 404)])
        row = sandbox.expected("kwery", "BTC", START, END)[0]
        sandbox.add_rows("kwery", "BTC", [row, row])
        start = iso(parse(row["timestamp"]) - 10**9, 3)
        end = iso(parse(row["timestamp"]) + 10**9, 3)
        run = connector.read(config_of(sandbox, start, end, symbols=["BTC"]), [STREAM])
        assert run.code == 1
        (trace,) = run.traces
        assert trace["failure_type"] == "system_error"
        for word in (STREAM, "kwery", "BTC", "X-Rows-Capped", "(for the smallest possible window", "larger plan"):
            assert word in trace["message"]
        assert len(paid(sandbox)) < 15


def test_min_usd_needs_the_business_plan(connector: Connector) -> None:
    with kwery_sandbox() as sandbox:
        run = connector.read(config_of(sandbox, api_key="sandbox-kwery-pro", min_usd=1000), [STREAM])
        refused(run, "HTTP 403", "`kwery.min_usd`", "Business plan", "leave it empty")


def test_used_up_credits_end_the_stream_and_keep_its_rows(connector: Connector) -> None:
    with kwery_sandbox() as sandbox:
        run = connector.read(config_of(sandbox, api_key="sandbox-kwery-exhausted"), [STREAM])
        refused(run, "HTTP 402", "credits_exhausted", "buy more", "next sync continues")
        assert len(paid(sandbox)) <= 2, "not tried again"
    with kwery_sandbox(kwery_credits=9_000) as sandbox:
        config = config_of(sandbox, "2026-02-20T00:00:00Z", symbols=["BTC"])
        run = connector.read(config, [STREAM])
        refused(run, "HTTP 402")
        (position,) = positions(run.final_state, STREAM).values()
        assert parse(position) > parse("2026-02-20T12:00:00Z")
        read = KWERY.rows(sandbox, "2026-02-20T00:00:00Z", position, ["BTC"])
        assert {row["time"] for row in read} <= {row["time"] for row in run.records()}


# Credits.


def test_credits_are_summed_and_logged(connector: Connector) -> None:
    with kwery_sandbox() as sandbox:
        run = connector.read(config_of(sandbox), [STREAM])
        spent = credits_of(paid(sandbox))
        (line,) = [line for line in run.logs if line.startswith(f"{STREAM}: ")]
        assert f"{spent:,} credits used" in line
        assert f"{50_000_000 - spent:,} credits left" in line
        assert len(KWERY.rows(sandbox, START, END)) * 2 + 25 * len(paid(sandbox)) == spent


def one_sync(
    connector: Connector, sandbox: Sandbox, config: dict[str, Any], state: list[Message] | None
) -> tuple[Run, int]:
    """Assert that a sync succeeds within its limit; returns it and its cost."""
    sandbox.app.log.clear()
    run = connector.read(config, [STREAM], state=state)
    assert run.code == 0, run
    assert run.traces == []
    assert run.statuses(STREAM)[-1] == "COMPLETE"
    cost = credits_of(paid(sandbox))
    assert cost <= config["kwery"]["max_credits_per_sync"]
    return run, cost


@pytest.mark.parametrize(
    ("most", "symbols", "minutes", "flavour"),
    [
        (45, ["BTC"], 2, "documented"),
        (100, ["BTC", "ETH"], 25, "recorded"),
        (400, ["BTC", "ETH", "SOL", "XRP"], 120, "documented"),
        (2_500, ["BTC", "ETH"], 1_200, "recorded"),
    ],
)
def test_the_limit_is_kept_and_every_sync_advances_until_all_is_read(
    most: int, symbols: list[str], minutes: int, flavour: str, connector: Connector
) -> None:
    with kwery_sandbox(kwery_flavour=flavour, kwery_order="descending", rows_per_day=6_000) as sandbox:
        end = iso(parse(START) + minutes * 60 * 10**9, 3)
        config = config_of(sandbox, START, end, symbols=symbols, max_credits_per_sync=most)
        expected = KWERY.rows(sandbox, START, end, symbols)
        state: list[Message] | None = None
        rows: dict[str, Row] = {}
        total = 0
        before: dict[Any, str] = {}
        syncs = 0
        while syncs < 60:
            syncs += 1
            run, cost = one_sync(connector, sandbox, config, state)
            state = run.final_state
            rows |= by_id(run)
            total += cost
            after = positions(state, STREAM)
            stopped = [line for line in run.logs if "kwery.max_credits_per_sync" in line]
            if not stopped:
                break
            assert len(stopped) == 1
            assert re.search(r"kwery: stopped before spending more than `kwery\.max_credits_per_sync`", stopped[0])
            assert f"of {most:,} credits are spent" in stopped[0]
            assert "the next sync continues from there" in stopped[0]
            assert sum(map(parse, after.values())) > sum(map(parse, before.values())), "no progress"
            before = {symbol: before.get(symbol, START) for symbol in after} | after
            assert all(after[symbol] >= before.get(symbol, "") for symbol in after), "a position went back"
        else:
            pytest.fail("never done")
        assert syncs > 2
        same(rows.values(), expected, KWERY.ignored)
        assert set(after.values()) == {iso(parse(end), 0)}
        least = 2 * len(expected) + 25 * len(symbols)
        assert total < 3 * least + 150 * syncs, f"{total} credits in {syncs} syncs for what costs {least} at the least"


def test_lost_answers_count_toward_the_limit(connector: Connector) -> None:
    """The vendor may have charged for them."""
    with kwery_sandbox(rows_per_day=12_000) as sandbox:
        config = config_of(sandbox, START, END, symbols=["BTC"], max_credits_per_sync=8_000)
        sandbox.fault("cut", vendor="kwery", path_contains=PATH, after=1, times=None)
        run = connector.read(config, [STREAM])
        cost = credits_of(paid(sandbox))
        (read, *lost) = paid(sandbox)
        assert len(lost) == 3, "a fourth might have been too much"
        assert cost == credits_of([read]) + 3 * credits_of(lost[:1]) > 2_000
        (trace,) = run.traces
        assert trace["failure_type"] == "transient_error", "answers got lost: that is no end to be content with"
        assert "may have cost up to 6,075 credits" in trace["message"]
        assert "`kwery.max_credits_per_sync`" in trace["message"]
        assert run.statuses(STREAM)[-1] == "INCOMPLETE"
        sandbox.app.faults.clear()
        again, _ = one_sync(connector, sandbox, config, run.final_state)
        held = positions(run.final_state, STREAM), positions(again.final_state, STREAM)
        assert max(held[1].values()) > max(held[0].values())


def test_a_limit_used_up_by_lost_answers_fails_the_sync(connector: Connector) -> None:
    with kwery_sandbox() as sandbox:
        config = config_of(sandbox, symbols=["BTC", "ETH", "SOL"], max_credits_per_sync=2_500)
        sandbox.fault("cut", vendor="kwery", path_contains=PATH, times=None)
        run = connector.read(config, [STREAM])
        assert run.code == 1
        assert len(paid(sandbox)) == 2, "and then for as many rows as were left"
        (trace,) = run.traces
        assert trace["failure_type"] == "transient_error"
        assert "may have cost up to" in trace["message"]
        assert run.statuses(STREAM)[-1] == "INCOMPLETE"


def test_an_unreachable_host_costs_no_credits(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(sandbox, symbols=["BTC"], max_credits_per_sync=100, base_url=f"{sandbox.closed_url()}/kwery")
    run = connector.read(config, [STREAM], patience="0.005")
    (trace,) = run.traces
    assert trace["failure_type"] == "transient_error", "the outage, not the limit"


def test_both_streams_share_one_limit(connector: Connector) -> None:
    with kwery_sandbox() as sandbox:
        config = config_of(sandbox, symbols=["BTC"], max_credits_per_sync=1_000)
        run = connector.read(config, [STREAM, "liquidations"])
        assert run.code == 0, run
        assert credits_of(paid(sandbox)) <= 1_000
        assert {row["liquidation_id"] for row in run.records("liquidations")} == set(by_id(run))
