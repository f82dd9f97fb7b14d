"""The protocol: spec, discover, statuses, counts, progress; and the same messages in process as on the command line."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import jsonschema
import pytest
from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, ConfiguredAirbyteCatalogSerializer
from cases import CASES, COIN_METRICS, EVENTS, KWERY, VOLUMES, config_of, same
from harness import Connector, Message, catalog_of

from sandbox import Sandbox
from source_liquidations import SourceLiquidations
from source_liquidations.http.client import Client
from source_liquidations.reading import loop

START, END = "2026-02-28T00:00:00Z", "2026-02-28T12:00:00Z"
STREAMS = [case.stream for case in CASES]
UNIFIED = ["liquidations", "liquidation_volumes"]


# spec


def fields_of(schema: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    fields = {}
    for name, field in schema["properties"].items():
        fields[f"{path}{name}"] = field
        if "properties" in field:
            fields |= fields_of(field, f"{path}{name}.")
    return fields


def test_the_specification(connector: Connector) -> None:
    run = connector.spec(script=True)
    assert run.code == 0
    assert run.err == b""
    schema = run.spec["connectionSpecification"]
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["required"] == ["start_date"]
    assert set(schema["properties"]) >= {
        "start_date",
        "end_date",
        "lookback_window",
        "num_workers",
        "kaiko",
        "kwery",
        "coin_metrics",
        "kiyotaka",
        "bitfinex",
        "gate",
    }
    groups = {group["id"] for group in schema["groups"]}
    for name, field in schema["properties"].items():
        assert field["group"] in groups, name


def test_every_field_is_described_ordered_and_exemplified(connector: Connector) -> None:
    fields = fields_of(connector.spec().spec["connectionSpecification"])
    for path, field in fields.items():
        assert field["title"], path
        assert field["description"], path
        assert isinstance(field["order"], int), path
        name = path.rpartition(".")[2]
        assert bool(field.get("airbyte_secret")) == (name == "api_key"), path
        assert bool(field.get("airbyte_hidden")) == name.endswith("base_url"), path
        for holder in (field, field.get("items", {})):
            assert ("pattern" in holder) == ("pattern_descriptor" in holder), path
            assert "format" not in holder, f"{path}: the platform checks formats, and a plain date is no date-time"
        if "properties" in field or "enum" in field or field["type"] == "boolean" or name == "api_key":
            continue
        assert field["examples"], path
        for example in field["examples"]:
            jsonschema.Draft7Validator(field).validate(example)
    sections: dict[str, list[int]] = {}
    for path, field in fields.items():
        sections.setdefault(path.rpartition(".")[0], []).append(field["order"])
    assert all(len(set(orders)) == len(orders) for orders in sections.values()), "two fields in one place"


def test_defaults_are_valid_and_as_promised(connector: Connector) -> None:
    fields = fields_of(connector.spec().spec["connectionSpecification"])
    for field in fields.values():
        if "default" in field:
            jsonschema.Draft7Validator(field).validate(field["default"])
    promised = {
        "lookback_window": "PT1H",
        "num_workers": 8,
        "kaiko.region": "us",
        "kaiko.interval": "1h",
        "kwery.symbols": ["BTC"],
        "kwery.side": "all",
        "kiyotaka.platform": "kiyotaka",
        "kiyotaka.interval": "HOUR",
        "kiyotaka.denomination": "coin",
        "coinalyze.interval": "daily",
        "coinalyze.denomination": "usd",
        "gate.interval": "1h",
    }
    assert {path: fields[path].get("default") for path in promised} == promised


# discover


def test_discover_lists_streams_of_configured_vendors_only(connector: Connector, sandbox: Sandbox) -> None:
    for case in CASES:
        catalog = connector.discover(case.config(sandbox)).catalog
        assert case.stream in catalog
        others = {other.stream for other in CASES if other.vendor != case.vendor}
        assert not others & catalog.keys()
    assert sandbox.requests() == []


def test_discover_has_keys_cursors_and_every_field(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.discover(config_of(CASES, sandbox), script=True)
    assert run.code == 0
    catalog = run.catalog
    assert catalog.keys() >= {*STREAMS, *UNIFIED}
    for case in CASES:
        stream = catalog[case.stream]
        assert stream["source_defined_primary_key"] == [[name] for name in case.key]
        assert stream["default_cursor_field"] == [case.cursor]
        assert stream["source_defined_cursor"] is True
        assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
    for name, stream in catalog.items():
        schema = stream["json_schema"]
        jsonschema.Draft7Validator.check_schema(schema)
        assert schema["additionalProperties"] is True, name
        described(schema, name)
        for key in stream.get("source_defined_primary_key") or []:
            assert key[0] in schema["properties"], name


def described(schema: dict[str, Any], path: str) -> None:
    for name, field in schema.get("properties", {}).items():
        assert field.get("description"), f"{path}.{name}"
        described(field, f"{path}.{name}")
        described(field.get("items", {}), f"{path}.{name}[]")


def test_records_are_as_discover_says(connector: Connector, sandbox: Sandbox) -> None:
    config = config_of(CASES, sandbox, START, END)
    catalog = connector.discover(config).catalog
    run = connector.read(config, [*STREAMS, *UNIFIED])
    assert run.code == 0, run
    for name in (*STREAMS, *UNIFIED):
        records = run.records(name)
        assert records, name
        validator = jsonschema.Draft7Validator(catalog[name]["json_schema"], format_checker=None)
        documented = set(catalog[name]["json_schema"]["properties"])
        for record in records[:200]:
            validator.validate(record)
        assert set().union(*records) <= documented, "every field is described"
        keys = [tuple(r[key[0]] for key in catalog[name]["source_defined_primary_key"]) for r in records]
        assert len(set(keys)) == len(keys), name
        cursors = {record[catalog[name]["default_cursor_field"][0]] for record in records}
        assert all(isinstance(cursor, str) and cursor.endswith("Z") for cursor in cursors)


# Statuses and counts.


def in_order(messages: list[Message], stream: str) -> list[str]:
    """The messages about a stream, without repeats."""
    events: list[str] = []
    for message in messages:
        event = None
        if message["type"] == "RECORD" and message["record"]["stream"] == stream:
            event = "RECORD"
        elif message["type"] == "STATE" and message["state"]["stream"]["stream_descriptor"]["name"] == stream:
            event = "STATE"
        elif message["type"] == "TRACE" and "stream_status" in message["trace"]:
            status = message["trace"]["stream_status"]
            event = status["status"] if status["stream_descriptor"]["name"] == stream else None
        if event and events[-1:] != [event]:
            events.append(event)
    return events


def test_statuses_frame_records_and_states(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config_of(CASES, sandbox, START, END), STREAMS)
    for case in CASES:
        said = in_order(run.messages, case.stream)
        assert said[:3] == ["STARTED", "RUNNING", "RECORD"]
        assert said[-2:] == ["STATE", "COMPLETE"]
        assert run.statuses(case.stream) == ["STARTED", "RUNNING", "COMPLETE"]


def test_a_stream_without_rows_says_so_and_has_a_state(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(COIN_METRICS.config(sandbox, "2010-01-01", "2011-01-01"), [COIN_METRICS.stream])
    assert run.code == 0
    assert in_order(run.messages, COIN_METRICS.stream) == ["STARTED", "STATE", "COMPLETE"]


def test_counts_are_the_records_since_the_state_before(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config_of(CASES, sandbox), [*STREAMS, *UNIFIED])
    counts = dict.fromkeys([*STREAMS, *UNIFIED], 0)
    states = dict.fromkeys(counts, 0)
    for message in run.messages:
        if message["type"] == "RECORD":
            counts[message["record"]["stream"]] += 1
        elif message["type"] == "STATE":
            name = message["state"]["stream"]["stream_descriptor"]["name"]
            assert message["state"]["sourceStats"] == {"recordCount": counts[name]}
            counts[name] = 0
            states[name] += 1
    assert set(counts.values()) == {0}, "no record without a state after it"
    assert all(number >= 1 for number in states.values())


def test_what_is_asked_for_and_not_there_is_told(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(EVENTS.config(sandbox, START, END), [EVENTS.stream, "nonesuch"])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert "nonesuch" in trace["message"]
    assert EVENTS.stream in trace["message"], "what there is"
    assert sandbox.requests() == []


@pytest.mark.parametrize("wrong", ["config", "catalog", "state"])
def test_unreadable_files_are_reported(wrong: str, connector: Connector, sandbox: Sandbox) -> None:
    files = {
        "config": connector.file(EVENTS.config(sandbox, START, END)),
        "catalog": connector.file(catalog_of([EVENTS.stream])),
        "state": connector.file([]),
    }
    nowhere = str(connector.directory / ("nonesuch.json" if wrong != "state" else ""))  # no state is a first sync
    for bad in (nowhere, connector.file("{"), connector.file("[1]"), connector.file("start_date: 2026-01-01")):
        given = {**files, wrong: bad}
        args = [part for name, path in given.items() for part in (f"--{name}", path)]
        run = connector.start(["read", *args]).collect()
        assert run.code == 1, (wrong, bad)
        (trace,) = run.traces
        assert trace["failure_type"] == "config_error", trace
        assert b"Traceback" not in run.out + run.err


# Progress log.


def read_in_process(config: dict[str, Any], streams: list[str]) -> list[AirbyteMessage]:
    catalog = ConfiguredAirbyteCatalogSerializer.load(catalog_of(streams))
    return list(SourceLiquidations().read(logging.getLogger("airbyte"), config, catalog, None))


def pauses_until_reported(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    """Let no pause end before a progress line of the stream reports it, however slow the machine is."""
    reported = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text.startswith(stream) and "waiting for" in text:
                reported.set()

    def sleep(self: Client, seconds: float) -> None:
        reported.wait(60)
        plain(self, seconds)

    plain, logger = Client._sleep, logging.getLogger("airbyte")
    monkeypatch.setattr(Client, "_sleep", sleep)
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, Listener()])


def test_a_long_read_reports_its_progress(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert loop.SECONDS_BETWEEN_PROGRESS <= 30
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_PROGRESS", 0.15)
    monkeypatch.setenv("SOURCE_LIQUIDATIONS_PATIENCE", "1")
    sandbox.fault("status", vendor="coin_metrics", status=503, times=1)
    sandbox.fault("slow_first_byte", vendor="kaiko", seconds=0.5, times=None)
    caplog.set_level(logging.INFO, logger="airbyte")
    pauses_until_reported(monkeypatch, COIN_METRICS.stream)
    config = config_of([EVENTS, COIN_METRICS], sandbox, num_workers=2)
    read_in_process(config, [EVENTS.stream, COIN_METRICS.stream])
    lines = [record.getMessage() for record in caplog.records]
    so_far = [line for line in lines if "so far" in line and line.startswith(EVENTS.stream)]
    assert len(so_far) >= 2
    assert any(
        "requests" in line and "rows" in line and "partitions" in line and " at 2026-" in line for line in so_far
    )
    waits = [line for line in lines if line.startswith(COIN_METRICS.stream) and "waiting for" in line]
    assert any("try 2 of 6" in line and "HTTP 503" in line for line in waits)
    ends = [line for line in lines if line.startswith(f"{EVENTS.stream}: ") and "so far" not in line]
    assert any(f"{len(EVENTS.rows(sandbox)):,} rows" in line for line in ends)


def test_waiting_for_a_budget_is_reported(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_PROGRESS", 0.1)
    caplog.set_level(logging.INFO, logger="airbyte")
    pauses_until_reported(monkeypatch, VOLUMES.stream)
    sandbox.fault("status", vendor="kaiko", status=429, headers={"Retry-After": "1.2"}, times=1)
    config = VOLUMES.config(sandbox, START, END, num_workers=2)
    read_in_process(config, [VOLUMES.stream])
    lines = [record.getMessage() for record in caplog.records]
    waits = re.compile("waiting for (the request budget, |a retry in .* after: HTTP 429)")
    assert any(waits.search(line) for line in lines), "\n".join(lines)


# In process.


def test_in_process_and_on_the_command_line_the_messages_are_the_same(connector: Connector, sandbox: Sandbox) -> None:
    cases = [EVENTS, VOLUMES, COIN_METRICS, KWERY]
    streams = [case.stream for case in cases]
    config = config_of(cases, sandbox, START, END, num_workers=1)
    inside = [as_object(message) for message in read_in_process(config, [*streams, *UNIFIED])]
    outside = connector.read(config, [*streams, *UNIFIED]).messages
    for name in (*streams, *UNIFIED):
        mine = [m["record"]["data"] for m in inside if m["type"] == "RECORD" and m["record"]["stream"] == name]
        theirs = [m["record"]["data"] for m in outside if m["type"] == "RECORD" and m["record"]["stream"] == name]
        assert theirs
        same(mine, theirs)
        assert in_order(inside, name) == in_order(outside, name)
    last = []
    for messages in (inside, outside):
        states = [message["state"] for message in messages if message["type"] == "STATE"]
        last.append({s["stream"]["stream_descriptor"]["name"]: s["stream"]["stream_state"] for s in states})
    assert last[0] == last[1]


def as_object(message: AirbyteMessage) -> Message:
    """A message as an object. The CDK's serializer omits nulls of a record, so the record is taken unchanged."""
    written: Message = AirbyteMessageSerializer.dump(message)
    if message.record is not None:
        written["record"]["data"] = message.record.data
    return written


def test_an_error_in_process_is_airbytes_own(sandbox: Sandbox) -> None:
    from airbyte_cdk.utils.traced_exception import AirbyteTracedException

    config = EVENTS.config(sandbox, START, END)
    config["kaiko"]["api_key"] = "wrong-kaiko-key"
    with pytest.raises(AirbyteTracedException) as caught:
        read_in_process(config, [EVENTS.stream])
    assert caught.value.failure_type is not None
    assert caught.value.failure_type.value == "config_error"
    assert "HTTP 401" in (caught.value.message or "")
