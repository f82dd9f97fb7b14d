"""What surrounds the connector: Airbyte's form and trackers, its state envelopes, signals, pipes, disks, proxies."""

from __future__ import annotations

import json
import os
import re
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cases import BITFINEX, CASES, COIN_METRICS, COINALYZE, EVENTS, KIYOTAKA, KWERY, VOLUMES, Case, config_of, same
from harness import SCRIPT, Connector, Message, Run, positions

from sandbox import Sandbox

START, END = "2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"
ROOT = Path(__file__).parents[1]


def script(*args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The console script, run to its end."""
    return subprocess.run(
        [str(SCRIPT), *args],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **(env or {})},
        **options,
    )


def run_of(done: subprocess.CompletedProcess[bytes]) -> Run:
    return Run(done.returncode, done.stdout, done.stderr)


# The form.


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The configuration that Airbyte's untouched form makes of a schema."""
    values: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if "default" in field:
            values[name] = field["default"]
        elif field.get("type") == "object":
            values[name] = defaults(field)
    return values


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    schema: dict[str, Any] = run_of(script("spec")).spec["connectionSpecification"]
    return schema


@pytest.mark.parametrize("case", [EVENTS, KWERY, COIN_METRICS, KIYOTAKA, BITFINEX, COINALYZE], ids=str)
def test_a_form_with_one_vendor_filled_in(
    case: Case, spec: dict[str, Any], connector: Connector, sandbox: Sandbox
) -> None:
    """Every other section is present with its defaults."""
    form = defaults(spec)
    filled = case.config(sandbox, START, END)
    config = form | {name: value for name, value in filled.items() if name != case.vendor}
    config[case.vendor] = form[case.vendor] | filled[case.vendor]
    assert set(config) >= {"kaiko", "kwery", "coin_metrics", "kiyotaka", "coinalyze"}
    jsonschema.validate(config, spec)

    assert connector.check(config).status["status"] == "SUCCEEDED"
    streams = connector.discover(config).catalog
    assert case.stream in streams
    assert not any(other.stream in streams for other in CASES if other.vendor != case.vendor)
    run = connector.read(config, [case.stream])
    assert run.code == 0, run
    same(run.records(), case.rows(sandbox), case.ignored)


def test_the_form_untouched_validates_and_names_the_vendors(spec: dict[str, Any], connector: Connector) -> None:
    config = defaults(spec) | {"start_date": "2026-01-01"}
    jsonschema.validate(config, spec)
    message = connector.check(config).status["message"]
    assert all(vendor in message for vendor in ("kaiko", "kwery", "coin_metrics", "kiyotaka"))


def test_no_section_of_the_form_requires_anything(spec: dict[str, Any]) -> None:
    for section in spec["properties"].values():
        assert "required" not in section


def test_what_a_form_leaves_empty_is_not_given(connector: Connector, sandbox: Sandbox) -> None:
    config = EVENTS.config(sandbox, START, END) | {"lookback_window": "", "num_workers": "4", "kwery": None}
    config["kaiko"] |= {"region": None, "interval": "", "assets": [], "requests_per_minute": None}
    config["kaiko"]["instruments"] += config["kaiko"]["instruments"][:1]
    run = connector.read(config, [EVENTS.stream])
    assert run.code == 0, run
    same(run.records(), EVENTS.rows(sandbox))


def test_a_configuration_of_a_newer_version_is_accepted(connector: Connector, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox, START, END) | {"amberdata": {"api_key": "secret-of-amberdata"}}
    config["coin_metrics"]["fancy_new_option"] = True
    for run in (connector.check(config), connector.discover(config), connector.read(config, [COIN_METRICS.stream])):
        assert run.code == 0, run
        for field in ("`amberdata`", "`coin_metrics.fancy_new_option`"):
            assert sum(field in line for line in run.logs) == 1
        assert b"secret-of-amberdata" not in run.out


# The trackers.


def test_an_estimate_has_both_figures(connector: Connector, sandbox: Sandbox) -> None:
    cases = [VOLUMES, KIYOTAKA]
    run = connector.read(config_of(cases, sandbox, START, END), [case.stream for case in cases])
    estimates = [message["trace"]["estimate"] for message in run.of("TRACE") if "estimate" in message["trace"]]
    assert {estimate["name"] for estimate in estimates} == {case.stream for case in cases}
    for estimate in estimates:
        rows = run.records(estimate["name"])
        size = sum(len(json.dumps(row, separators=(",", ":"))) for row in rows)
        assert estimate["row_estimate"] == len(rows)
        assert size / 2 < estimate["byte_estimate"] < 2 * size


def test_a_sync_that_waits_shows_that_it_is_alive(connector: Connector, sandbox: Sandbox) -> None:
    """Airbyte counts records and states only; the same state, with no records, is the heartbeat."""
    sandbox.fault("status", vendor="kaiko", status=429, headers={"Retry-After": "3"}, path_contains="eth", times=1)
    config = config_of([EVENTS, COIN_METRICS], sandbox, START, END)
    streams = [EVENTS.stream, COIN_METRICS.stream]
    state = connector.read(config, streams).final_state
    # Not during the first request: before there is a state, none can be repeated.
    sandbox.fault("status", vendor="kaiko", status=429, headers={"Retry-After": "3"}, after=1, times=1)
    process = connector.reading(config, streams, state=state, heartbeat_seconds=0.5)
    run = process.collect()
    assert run.code == 0, run
    states = [m["state"] for m in run.states if m["state"]["stream"]["stream_descriptor"]["name"] == EVENTS.stream]
    idle = [state for state in states if state["sourceStats"]["recordCount"] == 0]
    assert len(idle) >= 3
    assert {json.dumps(state["stream"]) for state in idle[:3]} == {json.dumps(states[0]["stream"])}
    assert positions([idle[0]], EVENTS.stream) == positions(state, EVENTS.stream)


def test_what_is_declared_covers_the_longest_silence() -> None:
    from source_liquidations.reading.progress import SECONDS_BETWEEN_HEARTBEATS

    declared = yaml.safe_load((ROOT / "metadata.yaml").read_text())["data"]["maxSecondsBetweenMessages"]
    assert declared >= 2 * SECONDS_BETWEEN_HEARTBEATS


# State in another envelope.


def enveloped(state: list[Message], form: str) -> Any:
    streams = [entry["stream"] for entry in state]
    if form == "GLOBAL":
        return [{"type": "GLOBAL", "global": {"shared_state": {}, "stream_states": streams}}]
    if form == "LEGACY":
        return [{"type": "LEGACY", "data": {s["stream_descriptor"]["name"]: s["stream_state"] for s in streams}}]
    return [{"type": "STATE", "state": entry} for entry in state]


@pytest.mark.parametrize("form", ["GLOBAL", "LEGACY", "STATE"])
def test_a_state_in_another_envelope_is_resumed(form: str, connector: Connector, sandbox: Sandbox) -> None:
    cases = [EVENTS, COIN_METRICS]
    streams = [case.stream for case in cases]
    config = config_of(cases, sandbox, START, END, lookback_window="PT0S")
    state = connector.read(config, streams).final_state
    sandbox.clear()
    again = connector.read(config, streams, state=enveloped(state, form))
    assert again.code == 0, again
    assert sandbox.requests() == [], "everything has been read, and nothing is paid for again"
    for case in cases:
        assert positions(again.final_state, case.stream) == positions(state, case.stream)


def wrong_states(state: list[Message]) -> dict[str, Any]:
    return {
        "a bare STATE line": {"type": "STATE", "state": state[0]},
        "a bare state message": state[0],
        "the platform's own form": {"streamState": [{"streamDescriptor": {"name": "x"}, "streamState": {}}]},
        "the same as a list": [{"streamDescriptor": {"name": "x"}, "streamState": {}}],
        "a plain dict": {EVENTS.stream: {"states": []}},
        "text": "state",
        "a list of text": ["state"],
        "a message of nothing": [{"type": "STREAM"}],
    }


@pytest.mark.parametrize("form", wrong_states([{}]))
def test_a_state_of_no_known_form_is_refused(form: str, connector: Connector, sandbox: Sandbox) -> None:
    config = EVENTS.config(sandbox, START, END)
    state = connector.read(config, [EVENTS.stream]).final_state
    sandbox.clear()
    run = connector.read(config, [EVENTS.stream], state=wrong_states(state)[form])
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert '[{"type": "STREAM", "stream": {"stream_descriptor"' in trace["message"]
    assert sandbox.requests() == []


# The command line without a platform.


def test_discovers_output_is_a_catalog_and_reads_output_a_state(connector: Connector, sandbox: Sandbox) -> None:
    cases = [EVENTS, KWERY]
    config = connector.file(config_of(cases, sandbox, START, END, lookback_window="PT0S", unknown_option=1))
    catalog, out = str(connector.directory / "catalog.jsonl"), connector.directory / "out.jsonl"
    Path(catalog).write_bytes(script("discover", "--config", config).stdout)
    reading = ["read", "--config", config, "--catalog", catalog, "--state", str(out)]
    chosen = ["--streams", ",".join(case.stream for case in cases)]

    first = run_of(script(*reading, *chosen))
    assert first.code == 0, first
    for case in cases:
        same(first.records(case.stream), case.rows(sandbox), case.ignored)
    out.write_bytes(first.out + b'{"type":"RECORD","rec')  # the next run was killed in a line
    sandbox.clear()
    second = run_of(script(*reading, *chosen))
    assert second.code == 0, second
    assert not [request for request in sandbox.requests() if "/v1/limits" not in request.path]
    assert not second.records()

    everything = run_of(script(*reading))
    assert everything.code == 0, everything
    assert {m["record"]["stream"] for m in everything.of("RECORD")} > {"liquidations", "kaiko_exchanges"}


def test_messages_that_were_cut_off_are_left_out_of_a_state(connector: Connector, sandbox: Sandbox) -> None:
    """A kill or a full disk cuts a line, and what comes after it is appended: as a line, or to the same one."""
    given, out = arguments("read", connector, sandbox), connector.directory / "out.jsonl"
    first = connector.start(given).collect()
    lines = first.out.splitlines(keepends=True)
    (state,) = [line for line in lines if line.startswith(b'{"type":"STATE"')][-1:]
    out.write_bytes(first.out + state[:100] + b"\n" + state[:100] + lines[0] + b'{"ty')
    second = connector.start([*given, "--state", str(out)]).collect()
    assert second.code == 0, second
    cut = [line for line in second.logs if "was cut off and is left out" in line]
    assert [line.split(": ")[1] for line in cut] == [
        f"line {len(lines) + number} was cut off and is left out." for number in (1, 2, 3)
    ]
    assert len(second.records()) < len(first.records())


def test_a_first_read_that_failed_is_no_state_and_no_hindrance(connector: Connector, sandbox: Sandbox) -> None:
    good, out = EVENTS.config(sandbox, START, END), connector.directory / "out.jsonl"
    failed = connector.read({"start_date": START}, [EVENTS.stream])
    assert failed.code == 1
    for content in (failed.out, b"", b"\n"):
        out.write_bytes(content)
        args = ["--config", connector.file(good), "--catalog", connector.file(connector_catalog(EVENTS))]
        run = connector.start(["read", *args, "--state", str(out)]).collect()
        assert run.code == 0, run
        same(run.records(), EVENTS.rows(sandbox))


def connector_catalog(case: Case) -> dict[str, Any]:
    stream = {"name": case.stream, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    return {"streams": [stream]}


@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        ("config", "start_date: 2026-01-01\nkaiko:\n", "is not JSON"),
        ("config", '{"start_date": "2026', "is not JSON"),
        ("config", "[]", "a JSON object such as"),
        ("catalog", "streams:\n  - liquidations\n", "is not JSON"),
        ("catalog", '{"streams": [', "is not JSON"),
        ("catalog", '{"type": "LOG", "log": {}}', "has no catalog"),
        ("catalog", '{"streams": [{"nothing": 1}]}', "is not a catalog"),
        ("config", "[" * 100_000, "is not JSON"),
        ("catalog", "[" * 100_000, "is not JSON"),
        ("state", "[" * 100_000, "is not JSON"),
        ("state", "states: []\n", "is not JSON"),
        ("state", '[{"type": "STREAM"', "is not JSON"),
        ("state", '{"type":"STREAM"', "is not JSON"),
        ("state", '{"type": "LOG"}\nstates: []\n', "is not JSON (line 2: "),
        ("state", '{"type": "SPEC"}\n{"type": "SPEC"}\n', "an entry that is not a state message"),
    ],
)
def test_a_file_that_is_not_a_state_is_reported_in_a_sentence(
    option: str, content: str, says: str, connector: Connector, sandbox: Sandbox
) -> None:
    files: dict[str, Any] = {"config": EVENTS.config(sandbox, START, END), "catalog": connector_catalog(EVENTS)}
    files = files | {"state": []} | {option: content}
    args = [part for name, value in files.items() for part in (f"--{name}", connector.file(value))]
    run = connector.start(["read", *args]).collect()
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert trace["message"].startswith(f"`--{option} /")
    assert says in trace["message"]
    assert "Expected: " in trace["message"]
    assert "Error" not in trace["message"]
    assert "\n" not in trace["message"]


def test_no_state_is_a_first_read_and_no_other_file_may_be_missing(connector: Connector, sandbox: Sandbox) -> None:
    given = arguments("read", connector, sandbox)
    first = connector.start([*given, "--state", ""]).collect()
    assert first.code == 0, first
    run = connector.start([*given, "--catalog", ""]).collect()
    assert run.code == 1
    assert "`--catalog `: cannot be read (No such file" in run.traces[0]["message"]


def test_an_inaccessible_state_is_reported(connector: Connector, sandbox: Sandbox) -> None:
    """It must not count as a first sync, which would read and pay for everything again."""
    run = connector.start([*arguments("read", connector, sandbox), "--state", "a" * 300]).collect()
    assert run.code == 1
    (trace,) = run.traces
    assert trace["failure_type"] == "config_error"
    assert "cannot be read (File name too long)" in trace["message"]
    assert not run.records()


@pytest.mark.parametrize("command", ["check", "discover"])
def test_a_path_that_is_not_valid_text_is_reported(command: str) -> None:
    run = run_of(script(command, "--config", os.fsdecode(b"Schl\xfcssel.json")))
    message = run.status["message"] if command == "check" else run.traces[0]["message"]
    assert message.startswith("`--config Schl\\udcfcssel.json`: cannot be read (No such file or directory).")
    assert run.code == (0 if command == "check" else 1)
    assert run.err == b""


def test_streams_that_are_not_in_the_catalog_are_reported(connector: Connector, sandbox: Sandbox) -> None:
    config = connector.file(EVENTS.config(sandbox, START, END))
    catalog = connector.file(connector_catalog(EVENTS))
    run = connector.start(["read", "--config", config, "--catalog", catalog, "--streams", "nonesuch"]).collect()
    assert run.code == 1
    assert f"'nonesuch' is not in the catalog. Available: {EVENTS.stream}." in run.traces[0]["message"]


def test_an_empty_catalog_is_reported(connector: Connector, sandbox: Sandbox) -> None:
    given = [*arguments("read", connector, sandbox), "--streams", " , "]
    run = connector.start(given).collect()
    assert run.code == 1
    assert "`--streams`: names no stream. Available: " in run.traces[0]["message"]


@pytest.mark.parametrize("mode", ["overwrite_dedup", "a mode of the future", None])
def test_the_destination_sync_mode_does_not_matter(mode: str | None, connector: Connector, sandbox: Sandbox) -> None:
    (stream,) = connector_catalog(COIN_METRICS)["streams"]
    catalog = {"streams": [{"stream": stream, "sync_mode": "incremental", "destination_sync_mode": mode}]}
    given = ["--config", connector.file(COIN_METRICS.config(sandbox, START, END)), "--catalog", connector.file(catalog)]
    run = connector.start(["read", *given]).collect()
    assert run.code == 0
    assert run.records()


def test_help_shows_every_command(connector: Connector) -> None:
    done = script("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in (b"spec", b"check", b"discover", b"read", b"estimate"))
    assert b"--sample" in connector.start(["estimate", "--help"]).collect().out
    assert connector.start(["nonsense"]).collect().code == 2


# Signals.


@pytest.fixture
def blocked(connector: Connector, dense_sandbox: Sandbox) -> Iterator[subprocess.Popen[bytes]]:
    """A read that is blocked because nobody reads its output."""
    config = config_of([EVENTS, COIN_METRICS], dense_sandbox, START, END)
    args = ["--config", connector.file(config), "--catalog", connector.file(connector_catalog(EVENTS))]
    process = subprocess.Popen([str(SCRIPT), "read", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not dense_sandbox.requests("kaiko") and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_nobody_reads_the_pipe(number: signal.Signals, blocked: Any) -> None:
    stopped_at = time.monotonic()
    blocked.send_signal(number)
    assert blocked.wait(8) == -number
    assert time.monotonic() - stopped_at < 5.5


def test_a_second_signal_ends_it_at_once(blocked: Any) -> None:
    blocked.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert blocked.poll() is None
    blocked.send_signal(signal.SIGTERM)
    assert blocked.wait(1) == -signal.SIGTERM


def test_a_slow_reader_gets_whole_lines(blocked: Any) -> None:
    blocked.send_signal(signal.SIGTERM)
    data = b""
    while piece := os.read(blocked.stdout.fileno(), 16_384):
        data += piece
        time.sleep(0.1)
    assert blocked.wait(30) == -signal.SIGTERM
    assert data.endswith(b"\n")
    run = Run(0, data, b"")
    assert run.statuses(EVENTS.stream)[-1] == "INCOMPLETE"
    assert run.states


def test_process_one_ends_with_the_usual_code(connector: Connector, sandbox: Sandbox) -> None:
    """The kernel does not let a signal end the first process of a container."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    sandbox.fault("silent", vendor="kaiko", times=None, seconds=60)
    args = ["--config", connector.file(EVENTS.config(sandbox, START, END))]
    args += ["--catalog", connector.file(connector_catalog(EVENTS))]
    command = ["unshare", "--pid", "--fork", "--kill-child", str(SCRIPT), "read", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not sandbox.requests("kaiko") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is not None and b"unshare" in process.communicate()[1]:
        pytest.skip("no process namespaces here")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert process.wait(15) == 143
    process.communicate()


# Output, disks, warnings.


@pytest.mark.parametrize("command", ["spec", "check", "discover", "read", "estimate"])
def test_a_full_disk_is_one_line(command: str, connector: Connector, sandbox: Sandbox) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(SCRIPT), *arguments(command, connector, sandbox)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == b"source-liquidations: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["spec", "check", "read"])
def test_a_closed_output_is_one_line(command: str, connector: Connector, sandbox: Sandbox) -> None:
    shell = 'exec "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", str(SCRIPT), *arguments(command, connector, sandbox)],
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == b"source-liquidations: standard output cannot be written: Bad file descriptor\n"


def test_no_output_is_sent_to_a_vendor_when_standard_output_is_closed(connector: Connector, sandbox: Sandbox) -> None:
    """A connection must not get the descriptor of the closed standard output."""
    received: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(65536):
                received.append(data)
                self.request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    config = COIN_METRICS.config(sandbox, START, END)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as vendor:
        threading.Thread(target=vendor.serve_forever, daemon=True).start()
        config["coin_metrics"]["base_url"] = f"http://127.0.0.1:{vendor.server_address[1]}"
        command = [str(SCRIPT), "check", "--config", connector.file(config)]
        environment = {**os.environ, "SOURCE_LIQUIDATIONS_PATIENCE": "0.1"}
        shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        done = subprocess.run(shell, stderr=subprocess.PIPE, check=False, timeout=60, env=environment)
        vendor.shutdown()
    assert received
    assert b'"type"' not in b"".join(received)  # a line about a retry, for instance
    assert done.returncode == 1
    assert done.stderr == b"source-liquidations: standard output cannot be written: Bad file descriptor\n"


def arguments(command: str, connector: Connector, sandbox: Sandbox) -> list[str]:
    config = ["--config", connector.file(COIN_METRICS.config(sandbox, START, END))]
    catalog = ["--catalog", connector.file(connector_catalog(COIN_METRICS))]
    return [command, *(config if command != "spec" else []), *(catalog if command in ("read", "estimate") else [])]


NO_TEMPORARY_DIRECTORY = """
import sys, tempfile
tempfile._candidate_tempdir_list = lambda: []
from source_liquidations.run import run
run(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["spec", "check", "discover", "read"])
def test_no_temporary_directory_is_needed_and_nothing_is_warned_of(
    command: str, connector: Connector, sandbox: Sandbox
) -> None:
    given = ["-W", "error", "-c", NO_TEMPORARY_DIRECTORY, *arguments(command, connector, sandbox)]
    done = subprocess.run([sys.executable, *given], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# Certificates and proxies.


class Proxy(ThreadingHTTPServer):
    """Refuses everything with one status."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_CONNECT

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a self-signed certificate."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files],
        check=True,
        capture_output=True,
    )
    server = Proxy(200)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SURROUNDINGS: dict[str, tuple[dict[str, str], str]] = {
    "no bundle": ({"REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem"}, "REQUESTS_CA_BUNDLE"),
    "a bundle of something else": ({"REQUESTS_CA_BUNDLE": __file__}, "REQUESTS_CA_BUNDLE"),
    "no host": ({"HTTP_PROXY": "http://user:pass-word-1@"}, "HTTP_PROXY"),
    "a password with a slash": ({"HTTP_PROXY": "http://user:pa/ss-word@127.0.0.1:3128"}, "HTTP_PROXY"),
    "a short one": ({"HTTP_PROXY": "http://user:q/z@host"}, "HTTP_PROXY"),
    "a password with a hash": ({"HTTP_PROXY": "http://user:pa#ss-word@host:3128"}, "HTTP_PROXY"),
    "a password with a bracket": ({"HTTP_PROXY": "http://user:pass-word[1@127.0.0.1:3128"}, "HTTP_PROXY"),
    "no port": ({"HTTP_PROXY": "http://user:pass-word@host:port"}, "HTTP_PROXY"),
    "no scheme": ({"HTTP_PROXY": "user:pass-word@127.0.0.1:3128"}, "HTTP_PROXY"),
    "a name and a port": ({"HTTP_PROXY": "localhost:3128"}, "HTTP_PROXY"),
    "a password with a backslash": ({"HTTP_PROXY": "http://user:pass-word\\word-1@127.0.0.1:3128"}, "HTTP_PROXY"),
    "a password in other letters": ({"HTTP_PROXY": "http://user:ключ@127.0.0.1:3128"}, "HTTP_PROXY"),
    "another scheme": ({"HTTP_PROXY": "ftp://user:pass-word@host:21"}, "HTTP_PROXY"),
    "socks": ({"HTTP_PROXY": "socks5://user:pass-word@127.0.0.1:1"}, "HTTP_PROXY"),
    "socks for all": ({"ALL_PROXY": "socks5h://user:pass-word@127.0.0.1:1"}, "ALL_PROXY"),
    "nobody listens": ({"HTTP_PROXY": "http://user:pass-word@127.0.0.1:1"}, "HTTP_PROXY"),
    "a refusal": ({"HTTP_PROXY": "http://user:pass-word@127.0.0.1:{407}"}, "HTTP_PROXY"),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.parametrize("command", ["check", "read"])
def test_problems_of_the_environment_are_reported_immediately(
    name: str, command: str, connector: Connector, sandbox: Sandbox
) -> None:
    env, variable = SURROUNDINGS[name]
    refusing = Proxy(407)
    env = {key: value.replace("{407}", str(refusing.server_port)) for key, value in env.items()}
    started = time.monotonic()
    run = connector.start(
        arguments(command, connector, sandbox),
        script=name in ("no bundle", "a refusal"),
        patience="1",
        least_timeout=None,
        environment={**env, "NO_PROXY": "", "no_proxy": ""},
    ).collect()
    assert time.monotonic() - started < 15, "no six tries"
    expect_error(run, command, variable)
    assert not [request for request in sandbox.requests() if request.status == 200]
    for secret in (b"pass-word", b"word-1", b"ss-word", b"q/z", b"'q'"):
        assert secret not in run.out + run.err
    refusing.shutdown()
    refusing.server_close()


def expect_error(run: Run, command: str, variable: str) -> None:
    if command == "check":
        assert run.code == 0, run
        assert run.status["status"] == "FAILED"
        message = run.status["message"]
    else:
        assert run.code == 1, run
        (trace,) = run.traces
        assert trace["failure_type"] == "config_error"
        message = trace["message"]
    assert f"`{variable}`" in message
    assert "ask the vendor" not in message
    assert b"Traceback" not in run.out + run.err


@pytest.mark.parametrize("command", ["check", "read"])
def test_an_untrusted_certificate_is_reported_immediately(
    command: str, untrusted: str, connector: Connector, sandbox: Sandbox
) -> None:
    config = COIN_METRICS.config(sandbox, START, END)
    config["coin_metrics"]["base_url"] = untrusted
    files = ["--config", connector.file(config)]
    files += ["--catalog", connector.file(connector_catalog(COIN_METRICS))] if command == "read" else []
    run = connector.start([command, *files], patience="1").collect()
    expect_error(run, command, "REQUESTS_CA_BUNDLE")
    assert b"try 2" not in run.out


def test_a_tunnel_that_a_proxy_refuses_is_reported_immediately(connector: Connector, sandbox: Sandbox) -> None:
    refusing = Proxy(407)
    config = COIN_METRICS.config(sandbox, START, END)
    config["coin_metrics"]["base_url"] = "https://api.example.com"
    address = f"http://user:pass-word@127.0.0.1:{refusing.server_port}"
    done = script("check", "--config", connector.file(config), env={"HTTPS_PROXY": address, "NO_PROXY": ""})
    expect_error(run_of(done), "check", "HTTPS_PROXY")
    assert b"407" in done.stdout
    assert b"pass-word" not in done.stdout + done.stderr
    refusing.shutdown()
    refusing.server_close()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_vendor_that_a_proxy_does_not_reach_is_retried(status: int, connector: Connector, sandbox: Sandbox) -> None:
    with_outage = Proxy(status)
    config = COIN_METRICS.config(sandbox, START, END)
    config["coin_metrics"]["base_url"] = "https://api.example.com"
    environment = {"HTTPS_PROXY": f"http://user:pass-word@127.0.0.1:{with_outage.server_port}", "NO_PROXY": ""}
    files = ["--config", connector.file(config), "--catalog", connector.file(connector_catalog(COIN_METRICS))]
    run = connector.start(["read", *files], patience="0.01", environment=environment).collect()
    assert run.code == 1, run
    (trace,) = run.traces
    assert trace["failure_type"] == "transient_error"
    assert "in 6 tries: ProxyError" in trace["message"]
    assert str(status) in trace["message"]
    assert b"pass-word" not in run.out + run.err
    with_outage.shutdown()
    with_outage.server_close()


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"], ids=["silence", "another protocol"])
def test_a_server_that_is_not_a_proxy_is_reported_immediately(
    words: bytes, connector: Connector, sandbox: Sandbox
) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(words)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        config = COIN_METRICS.config(sandbox, START, END)
        config["coin_metrics"]["base_url"] = "https://api.example.com"
        address = f"http://127.0.0.1:{other.server_address[1]}"
        started = time.monotonic()
        environment = {"HTTPS_PROXY": address, "NO_PROXY": ""}
        run = connector.check(config, patience="1", least_timeout=None, environment=environment)
        assert time.monotonic() - started < 15, "no six tries"
        other.shutdown()
    expect_error(run, "check", "HTTPS_PROXY")


# Columns that a destination cannot distinguish.


@pytest.mark.parametrize(
    ("case", "path"),
    [(EVENTS, "/trades/"), (VOLUMES, "/token/"), (COIN_METRICS, COIN_METRICS.path), (KWERY, KWERY.path)],
    ids=str,
)
def test_fields_that_a_table_cannot_hold_are_left_out(
    case: Case, path: str, connector: Connector, sandbox: Sandbox
) -> None:
    odd = {"": 1, " ": 2, "novel": 3, "Novel": 4, case.cursor.upper(): 5, case.key[-1].title(): 6, "数量": 7}
    # PyAirbyte would write these into the column of the documented field.
    odd |= {name.replace("_", character): 9 for name in case.key if "_" in name for character in " -."}
    sandbox.fault("unknown_fields", vendor=case.vendor, path_contains=path, fields=odd, times=None)
    run = connector.read(case.config(sandbox, START, END), [case.stream])
    assert run.code == 0, run
    rows = run.records()
    assert len(rows) == len(case.rows(sandbox))
    for row in rows:
        names = [re.sub(r"\W", "_", name.lower()) for name in row]
        assert len(set(names)) == len(names)
        assert all(name.strip("_") for name in names)
        assert row["数量"] == 7
        assert "novel" in names
        assert row[case.cursor] != 5
    warned = [line for line in run.logs if "dropped undocumented fields" in line]
    assert len(warned) == 1
    assert "''" in warned[0]


def test_kiyotakas_points_have_no_such_fields_either(connector: Connector, sandbox: Sandbox) -> None:
    row = {"timestamp": {"s": 1772150400}, "liquidations": 1.5, "Liquidations": 2, "": 3, "RAW_SYMBOL": 4, "New": 5}
    names = {"exchange": "BYBIT", "rawSymbol": "BTCUSDT", "side": "BUY", "interval": "HOUR", "new": 6, "Coin": 7}
    body = {"series": [{"id": names, "points": [{"Point": row}]}]}
    sandbox.serve("kiyotaka", "/v1/points", [body])
    config = KIYOTAKA.config(sandbox, START, END)
    config["kiyotaka"] |= {"symbols": ["BYBIT/BTCUSDT"], "coins": []}
    run = connector.read(config, [KIYOTAKA.stream])
    assert run.code == 0, run
    (row,) = run.records()
    assert len({name.lower() for name in row}) == len(row)
    assert (row["liquidations"], row["raw_symbol"], row["new"], row["coin"]) == (1.5, "BTCUSDT", 6, "")
