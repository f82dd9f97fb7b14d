"""The cost of a sync (`estimate`, the report, ESTIMATE messages), and the gaps in its data (`liquidation_coverage`)."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from cases import COINALYZE, GATE_ORDERS, GATE_STATS, KIYOTAKA, KWERY, VOLUMES, Case
from harness import Connector, Run, catalog_of, positions, state_of

from sandbox import Sandbox
from sandbox.times import DAY, NS, iso, parse

START, END = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"
HOURS = 48


def config(sandbox: Sandbox, vendors: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    return sandbox.config(start_date=START, vendors=vendors, end_date=END, lookback_window="PT1H", **fields)


def estimates(connector: Connector, made: dict[str, Any], *args: str, **files: Any) -> list[dict[str, Any]]:
    given = [part for name, content in files.items() for part in (f"--{name}", connector.file(content))]
    run = connector.start(["estimate", "--config", connector.file(made), "--json", *given, *args]).collect()
    assert run.code == 0, run
    entries: list[dict[str, Any]] = json.loads(run.out)["estimates"]
    return entries


def by_stream(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {stream: entry for entry in entries for stream in entry["streams"]}


def report(run: Run) -> list[dict[str, Any]]:
    (line,) = [log for log in run.logs if log.startswith("sync report as JSON: ")]
    streams: list[dict[str, Any]] = json.loads(line.removeprefix("sync report as JSON: "))["streams"]
    return streams


def test_an_estimate_sends_no_request_that_costs(connector: Connector, sandbox: Sandbox) -> None:
    by_name = by_stream(estimates(connector, config(sandbox)))

    assert {request.path for request in sandbox.requests("kwery")} == {"/v1/limits"}
    assert not [r for r in sandbox.requests() if "/data/" in r.path or "timeseries" in r.path or "/points" in r.path]
    assert by_name["kaiko_liquidation_events"]["rows"] is None
    assert by_name["kaiko_liquidation_events"]["requests"] == len(config(sandbox)["kaiko"]["instruments"])
    assert by_name["kwery_liquidations"]["cost"] == {"credits": 25 * by_name["kwery_liquidations"]["windows"]}


def test_estimated_rows_of_aggregates_are_exact(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, ["kaiko", "kiyotaka"])
    streams = ["kaiko_token_liquidation_volumes", "kiyotaka_liquidation_agg"]

    by_name = by_stream(estimates(connector, made, catalog=catalog_of(streams)))
    run = connector.read(made, streams)

    volumes, points = (by_name[stream] for stream in streams)
    assert volumes["rows"] == HOURS * len(made["kaiko"]["assets"]) == len(run.records(streams[0]))
    partitions = len(made["kiyotaka"]["symbols"]) + len(made["kiyotaka"]["coins"])
    assert points["rows"] == HOURS * 2 * partitions == len(run.records(streams[1]))
    assert points["requests"] == partitions == len(sandbox.requests("kiyotaka"))
    sent = {m["trace"]["estimate"]["name"]: m["trace"]["estimate"] for m in run.of("TRACE") if "estimate" in m["trace"]}
    assert {name: estimate["row_estimate"] for name, estimate in sent.items()} == {
        stream: by_name[stream]["rows"] for stream in streams
    }


def test_no_page_has_rows_of_two_partitions(connector: Connector, sandbox: Sandbox) -> None:
    """59 days of hours fill a page and a half, for each asset."""
    made = {**config(sandbox, ["kaiko"]), "start_date": "2026-01-01", "end_date": "2026-03-01"}
    made["kaiko"]["assets"] = ["btc", "eth", "sol"]

    (estimate,) = estimates(connector, made, catalog=catalog_of([VOLUMES.stream]))
    run = connector.read(made, [VOLUMES.stream])

    assert estimate["rows"] == 3 * 59 * 24 == len(run.records(VOLUMES.stream))
    assert estimate["requests"] == 3 * 2 == len(sandbox.requests("kaiko"))


@pytest.mark.parametrize("case", [VOLUMES, KIYOTAKA, GATE_STATS, COINALYZE], ids=str)
def test_the_size_of_a_unified_stream_is_not_that_of_the_vendors_own(
    case: Case, connector: Connector, sandbox: Sandbox
) -> None:
    """One vendor row becomes several rows or none in liquidation_volumes, so its size cannot be estimated."""
    run = connector.read(case.config(sandbox, START, END), [case.stream, "liquidation_volumes"])
    assert run.code == 0, run
    assert run.records("liquidation_volumes")
    announced = [m["trace"]["estimate"]["name"] for m in run.of("TRACE") if "estimate" in m["trace"]]
    assert announced == [case.stream]


def test_an_estimate_of_the_unified_stream_alone_counts_the_vendors_rows(
    connector: Connector, sandbox: Sandbox
) -> None:
    made = config(sandbox, ["kiyotaka"])
    alone, both = (
        by_stream(estimates(connector, made, catalog=catalog_of(streams)))["liquidation_volumes"]
        for streams in (["liquidation_volumes"], ["liquidation_volumes", "kiyotaka_liquidation_agg"])
    )
    assert alone["rows"] == both["rows"] > 0
    assert alone["cost"] == both["cost"]


def test_the_weight_of_a_sum_is_part_of_its_price_and_time(connector: Connector, sandbox: Sandbox) -> None:
    """1 for each 1,000 points, and 1.4 times that of a sum over two exchanges."""
    made = config(sandbox, ["kiyotaka"]) | {"start_date": "2026-01-30T00:00:00Z"}
    section = {"coins": ["BTC"], "coin_exchanges": ["BINANCE_FUTURES", "BYBIT"], "interval": "MINUTE"}
    made["kiyotaka"] |= {**section, "symbols": [], "requests_per_minute": 600, "weight_per_minute": 600}

    (estimate,) = estimates(connector, made, catalog=catalog_of(["kiyotaka_liquidation_agg"]))
    run = connector.read(made, ["kiyotaka_liquidation_agg"])

    assert run.code == 0, run
    points = [2 * int(request.params["period"]) // 60 for request in sandbox.requests("kiyotaka")]
    assert estimate["cost"] == {"weight": math.ceil(sum(1.4 * math.ceil(count / 1_000) for count in points))}
    assert estimate["cost"]["weight"] == 122
    made["kiyotaka"]["weight_per_minute"] = 10
    (slow,) = estimates(connector, made, catalog=catalog_of(["kiyotaka_liquidation_agg"]))
    assert slow["requests"] == 7
    assert slow["cost"] == {"weight": 122}
    assert slow["seconds"] == pytest.approx((121.8 - 2 * 10) * 6, rel=0.03), "what two minutes have is there at once"


def test_a_sample_costs_few_requests_and_is_nearly_right(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, ["coin_metrics"])
    stream = "coin_metrics_market_liquidations"

    (estimate,) = estimates(connector, made, "--sample", catalog=catalog_of([stream]))
    sampled = [request for request in sandbox.requests() if "timeseries" in request.path]
    rows = len(connector.read(made, [stream]).records(stream))

    assert len(sampled) == estimate["sampled"]["requests"] == 3
    assert rows / 10 < estimate["rows"] < rows * 10
    assert "3 samples" in estimate["assumes"]


def test_an_estimate_starts_from_a_state(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, ["kiyotaka"])
    stream = "kiyotaka_liquidation_agg"
    state = connector.read(made, [stream]).final_state

    (estimate,) = estimates(connector, made, catalog=catalog_of([stream]), state=state)

    assert estimate["rows"] == 2 * estimate["partitions"], "the lookback of one hour"


def test_the_estimate_is_printed_as_a_table(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.start(["estimate", "--config", connector.file(config(sandbox))]).collect()

    head, *rows = run.out.decode().splitlines()
    assert head.split() == ["streams", "partitions", "windows", "rows", "requests", "cost", "time", "assumes"]
    assert any("kwery_liquidations, liquidations" in row and "≥ " in row and " credits" in row for row in rows)


def test_a_bad_configuration_is_reported_like_in_other_commands(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.start(["estimate", "--config", connector.file({"start_date": START})]).collect()

    assert run.code == 1
    assert "no vendor is configured" in run.traces[0]["message"]
    assert run.traces[0]["failure_type"] == "config_error"


def test_the_report_agrees_with_the_records_and_requests(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, ["kaiko", "kwery"])
    streams = ["kaiko_liquidation_events", "kwery_liquidations", "liquidations"]

    run = connector.read(made, streams)
    entries = {(entry["vendor"], entry["stream"]): entry for entry in report(run)}

    for vendor, stream in (("kaiko", "kaiko_liquidation_events"), ("kwery", "kwery_liquidations")):
        own, unified = entries[vendor, stream], entries[vendor, "liquidations"]
        assert own["rows"] == len(run.records(stream)) == unified["rows"] > 0
        assert (own["requests"], unified["requests"]) == (len(sandbox.requests(vendor)), 0)
        assert (own["requests_of"], unified["requests_of"]) == (None, stream)
        assert own["position"] == unified["position"] == END
        assert own["status"] == unified["status"] == "COMPLETE"
        assert own["bytes"] > 100 * own["rows"]
        assert [own[f"partitions_{what}"] for what in ("done", "failed", "unread")] == [
            len(positions(state_of(run.states), stream)),
            0,
            0,
        ]
        assert own["errors"] == unified["errors"] == []
    spent = sum(25 + 2 * r.rows for r in sandbox.requests("kwery") if r.path == "/v1/liquidations")
    assert entries["kwery", "kwery_liquidations"]["spent"]["credits used"] == spent
    assert any(log.startswith("sync report\nvendor") for log in run.logs)


def test_a_failed_sync_has_a_report(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="kaiko", path_contains="/trades/", status=503, times=None)
    run = connector.read(config(sandbox, ["kaiko"]), ["kaiko_liquidation_events"])

    (one,) = report(run)
    assert run.code == 1
    assert (one["status"], one["rows"]) == ("INCOMPLETE", 0)
    assert one["retries"] > 0
    assert one["seconds_waited"] > 0


def test_a_partition_with_a_faulty_row_is_not_done(connector: Connector, sandbox: Sandbox) -> None:
    made = config(sandbox, ["kiyotaka"])
    made["kiyotaka"] |= {"symbols": ["BYBIT/BTCUSDT", "BYBIT/ETHUSDT"], "coins": []}
    at = parse(START) // NS + 3 * 3600
    bad = {"Point": {"liquidations": "NaN", "timestamp": {"s": at}}}
    sandbox.serve("kiyotaka", "/v1/points", [{"series": [{"id": {"side": "BUY"}, "points": [bad]}]}])
    run = connector.read(made, [KIYOTAKA.stream, "liquidation_volumes"])

    assert run.code == 1
    for one in report(run):
        assert [one[f"partitions_{what}"] for what in ("done", "failed", "unread")] == [1, 1, 0]
        assert (one["position"], one["status"]) == (iso(at * NS, 0), "INCOMPLETE")


COVERAGE = "liquidation_coverage"


def coverage(run: Run) -> list[dict[str, Any]]:
    assert run.code == 0, run
    assert run.statuses(COVERAGE) == ["STARTED", "RUNNING", "COMPLETE"]
    return run.records(COVERAGE)


def test_coverage_has_the_documented_gaps_and_the_catalogs(connector: Connector, sandbox: Sandbox) -> None:
    rows = coverage(connector.read(config(sandbox), [COVERAGE], mode="full_refresh"))

    binance = [row for row in rows if row["vendor"] == "coin_metrics" and row["exchange"] == "binance"]
    assert {(row["kind"], row["period_start"], row["period_end"]) for row in binance if row["market"] == "all"} >= {
        ("missing", "2021-04-27T00:00:00Z", "2021-05-11T00:00:00Z"),
        ("under_reported", "2021-05-11T00:00:00Z", "2021-08-31T00:00:00Z"),
        ("throttled", "2021-08-31T00:00:00Z", None),
    }
    starts = {row["market"] for row in rows if row["kind"] == "starts"}
    assert {"binance-BTCUSDT-future", "BINANCE_FUTURES/BTCUSDT", "binance_futures/BTC"} <= starts
    keys = [tuple(row[name] for name in ("vendor", "exchange", "market", "kind", "period_start")) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(row["note"] and row["source"] for row in rows)


def test_coverage_without_a_catalog_is_incomplete_and_has_the_rest(connector: Connector, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="coin_metrics", path_contains="/catalog", status=403, times=None)
    run = connector.read(config(sandbox, ["coin_metrics", "kwery"]), [COVERAGE], mode="full_refresh")

    assert run.code == 1
    assert run.statuses(COVERAGE)[-1] == "INCOMPLETE"
    assert "coin_metrics: HTTP 403" in run.traces[0]["message"]
    assert {row["market"] for row in run.records(COVERAGE) if row["vendor"] == "coin_metrics"} == {"all"}
    assert {row["market"] for row in run.records(COVERAGE)} > {"all"}, "those of the other vendor came"


@pytest.mark.parametrize("history", ["refuse", "clamp"])
def test_coverage_has_the_period_that_the_plan_omits(connector: Connector, history: str) -> None:
    # A plan's history is counted back from now, also by the connector's clock.
    start = iso(time.time_ns() // DAY * DAY - 60 * DAY, 0)
    with Sandbox(seed=1, rows_per_day=500, limits=False, kwery_history=history) as sandbox:
        made = sandbox.config(start_date=start, vendors=["kwery"])
        made["kwery"] |= {"api_key": "sandbox-kwery-pro", "symbols": ["BTC"]}
        run = connector.read(made, ["kwery_liquidations", COVERAGE])
        calls = [request for request in sandbox.requests("kwery") if request.path == "/v1/liquidations"]

    missing = [row for row in run.records(COVERAGE) if row["kind"] == "missing"]
    assert [(row["market"], row["period_start"]) for row in missing] == [("binance_futures/BTC", start)]
    assert missing[0]["source"] == "seen by this sync"
    assert run.statuses(COVERAGE)[-1] == "COMPLETE"
    assert run.statuses("kwery_liquidations")[-1] == "COMPLETE"
    assert parse(missing[0]["period_end"]) // 10**9 == pytest.approx(time.time() - 30 * 86400, abs=120)
    (line,) = [log for log in run.logs if "data reach back to" in log]
    assert missing[0]["period_end"] in line
    assert all(parse(r.params["start"]) >= parse(missing[0]["period_end"]) for r in calls), "no request for the rest"


def seen(run: Run) -> list[dict[str, Any]]:
    assert run.code == 0, run
    return [row for row in run.records(COVERAGE) if row["source"] == "seen by this sync"]


def test_coverage_of_a_later_sync_excludes_what_an_earlier_one_read(connector: Connector) -> None:
    """Data that was read in time is not missing, however old it is now."""
    now = time.time_ns() // DAY * DAY
    with Sandbox(seed=1, rows_per_day=100, limits=False) as sandbox:
        made = sandbox.config(start_date=iso(now - 95 * DAY, 0), vendors=["kwery", "gate"], lookback_window="PT0S")
        made["kwery"] |= {"api_key": "sandbox-kwery-pro", "symbols": ["BTC"]}
        made["gate"] |= {"contracts": ["usdt/BTC_USDT"], "requests_per_minute": 100_000}
        streams = ["kwery_liquidations", "gate_liquidation_orders", COVERAGE]
        first = connector.read(made, streams)
        assert {row["kind"] for row in seen(first)} == {"missing", "under_reported"}
        time.sleep(1.1)
        second = connector.read(made, streams, state=first.final_state)
    (missing,) = [row for row in seen(first) if row["kind"] == "missing"]
    assert seen(second) == [missing], "Gate's orders of that time were read by the first"
    assert not [log for log in second.logs if "keeps all rows only since" in log]


@pytest.mark.parametrize(
    ("case", "section", "back", "kinds"),
    [
        (KWERY, {"api_key": "sandbox-kwery-pro", "symbols": ["BTC"]}, 60, {"missing"}),
        (GATE_ORDERS, {"contracts": ["usdt/BTC_USDT"]}, 105, {"missing", "under_reported"}),
        (GATE_STATS, {"contracts": ["usdt/BTC_USDT"], "interval": "1d"}, 400, {"missing"}),
        (COINALYZE, {"symbols": ["BTCUSDT.6"], "interval": "1min"}, 10, {"missing"}),
    ],
    ids=lambda value: str(value) if isinstance(value, Case) else "",
)
def test_a_start_that_moves_with_the_clock_adds_no_rows_to_coverage(
    case: Case, section: dict[str, Any], back: int, kinds: set[str], connector: Connector
) -> None:
    """The start of a period is part of the key: a destination that upserts would keep one row of each sync."""
    now = time.time_ns() // NS * NS
    end = iso(now - 98 * DAY, 0) if case is GATE_ORDERS else None
    with Sandbox(seed=1, now=iso(now, 0), rows_per_day=2_000, limits=False, coinalyze_points=1_500) as sandbox:
        periods = []
        for _ in range(2):
            made = case.config(sandbox, f"P{back}D", end)
            made[case.vendor] |= section
            run = connector.read(made, [case.stream, COVERAGE], mode="full_refresh")
            periods.append({(row["market"], row["kind"], row["period_start"]) for row in seen(run)})
            time.sleep(1.1)
        assert periods[0] == periods[1]
        assert {kind for _, kind, _ in periods[0]} == kinds
        assert {start for _, _, start in periods[0]} == {"1970-01-01T00:00:00Z"}


def test_coverage_says_what_a_kaiko_key_may_not_read(connector: Connector) -> None:
    with Sandbox(seed=1, now="2026-03-01T12:30:00Z", rows_per_day=50, limits=False) as sandbox:
        made = sandbox.config(start_date="2023-07-01T00:00:00Z", vendors=["kaiko"], end_date="2023-07-06T00:00:00Z")
        made["kaiko"] |= {"instruments": ["bbit/perpetual-future/btc-usdt"], "assets": ["btc"], "interval": "1d"}
        run = connector.read(made, ["kaiko_liquidation_events", "kaiko_token_liquidation_volumes", COVERAGE])

    assert run.code == 0, run
    seen = [row for row in run.records(COVERAGE) if row["source"] == "seen by this sync"]
    period = ("missing", "2023-07-01T00:00:00Z", "2023-07-04T00:00:00Z")
    assert {tuple(row[n] for n in ("market", "exchange", "kind", "period_start", "period_end")) for row in seen} == {
        ("bbit/perpetual-future/btc-usdt", "bybit", *period),
        ("all/btc", "all", *period),
    }
    warnings = [log for log in run.logs if "kaiko: data reach back to 2023-07-04T00:00:00Z" in log]
    assert len(warnings) == 2, "one for each stream"


def test_coverage_of_every_vendor_mentions_binances_own_feed(connector: Connector, sandbox: Sandbox) -> None:
    rows = coverage(connector.read(config(sandbox), [COVERAGE], mode="full_refresh"))
    throttled = {row["vendor"] for row in rows if row["kind"] == "throttled" and row["exchange"] == "binance"}
    assert throttled == {"kaiko", "kwery", "coin_metrics", "kiyotaka"}
