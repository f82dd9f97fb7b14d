"""Runs the connector's command line and parses its output."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from sandbox import Sandbox

SCRIPT = Path(sys.executable).with_name("source-liquidations")
PATIENCE = "0.1"
RUN_TIMEOUT = 300.0
LEAST_TIMEOUT = 60.0  # seconds for a response: long, because a busy machine is not an outage

Message = dict[str, Any]
Catalog = dict[str, Any]


class Process:
    """A running command. Either the test or `collect` reads `stdout`."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = io.BufferedReader(io.FileIO(stdout))
        self.stderr = io.BufferedReader(io.FileIO(stderr))

    def wait(self, timeout: float = RUN_TIMEOUT) -> int:
        """The exit code; after a signal, its negative number."""
        raise NotImplementedError

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def collect(self, timeout: float = RUN_TIMEOUT, *, so_far: bytes = b"") -> Run:
        """Read the rest of the output and wait for the end; `so_far` is the output that the test has read."""
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()), daemon=True)
        reader.start()
        overdue = threading.Timer(timeout, self.signal, (signal.SIGKILL,))
        overdue.start()
        try:
            out = so_far + self.stdout.read()
            reader.join(timeout)
            code = self.wait(timeout)
        finally:
            overdue.cancel()
            self.close()
        return Run(code, out, b"".join(errors))

    def close(self) -> None:
        """Close both pipes."""
        for pipe in (self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


class _Forked(Process):
    def __init__(self, pid: int, stdout: int, stderr: int, ended: queue.Queue[int]) -> None:
        super().__init__(pid, stdout, stderr)
        self._ended = ended
        self._code: int | None = None

    def wait(self, timeout: float = RUN_TIMEOUT) -> int:
        if self._code is None:
            self._code = self._ended.get(timeout=timeout)
        return self._code


class _Spawned(Process):
    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        assert popen.stderr is not None
        super().__init__(popen.pid, os.dup(popen.stdout.fileno()), os.dup(popen.stderr.fileno()))
        popen.stdout.close()
        popen.stderr.close()
        self._popen = popen

    def wait(self, timeout: float = RUN_TIMEOUT) -> int:
        return self._popen.wait(timeout)


def spawn(args: Sequence[str], env: Mapping[str, str]) -> Process:
    """Start the console script, as a platform does."""
    command = [str(SCRIPT), *args]
    return _Spawned(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env})
    )


class Warm:
    """Starts the command line in forks of a process that has already imported it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(Path(__file__).with_name("warm.py")), str(theirs.fileno())]
        root = Path(__file__).parent.parent
        self._popen = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root, stdin=subprocess.DEVNULL)
        theirs.close()
        self._channel = ours
        self._numbers = itertools.count()
        self._started: dict[int, queue.Queue[int]] = {}
        self._ended: dict[int, queue.Queue[int]] = {}
        if not ours.recv(1 << 16):
            raise RuntimeError("the connector cannot be imported: see standard error")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while data := self._channel.recv(1 << 16):
            event = json.loads(data)
            if "pid" in event:
                self._started[event["id"]].put(event["pid"])
            else:
                self._ended[event["id"]].put(event["code"])

    def start(self, args: Sequence[str], env: Mapping[str, str]) -> Process:
        number = next(self._numbers)
        self._started[number], self._ended[number] = queue.Queue(), queue.Queue()
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        request = json.dumps({"id": number, "args": list(args), "env": dict(env)}).encode()
        socket.send_fds(self._channel, [request], [out_write, err_write])
        os.close(out_write)
        os.close(err_write)
        pid = self._started[number].get(timeout=300)
        return _Forked(pid, out_read, err_read, self._ended[number])

    def close(self) -> None:
        self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        self._popen.wait(120)


@dataclass(frozen=True)
class Run:
    """The exit code and the output of one run."""

    code: int
    out: bytes
    err: bytes

    @cached_property
    def messages(self) -> list[Message]:
        """All lines of standard output; each must be a JSON object of one of Airbyte's types."""
        messages = [msgspec.json.decode(line) for line in self.out.split(b"\n") if line]
        types = ("RECORD", "STATE", "LOG", "TRACE", "SPEC", "CONNECTION_STATUS", "CATALOG", "CONTROL", "ESTIMATE",
                 "DEBUG")  # fmt: skip
        assert all(message["type"] in types for message in messages)
        return messages

    @property
    def whole(self) -> Run:
        """The run without an incomplete last line, as a platform reads it after a kill."""
        return Run(self.code, self.out[: self.out.rfind(b"\n") + 1], self.err)

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    def records(self, stream: str | None = None) -> list[dict[str, Any]]:
        records = (message["record"] for message in self.of("RECORD"))
        return [record["data"] for record in records if stream in (None, record["stream"])]

    @property
    def states(self) -> list[Message]:
        return self.of("STATE")

    @property
    def traces(self) -> list[dict[str, Any]]:
        """The errors of the TRACE messages."""
        traces = (message["trace"] for message in self.of("TRACE"))
        errors = (trace["error"] for trace in traces if "error" in trace)
        return [error | {"stream": error.get("stream_descriptor")} for error in errors]

    @property
    def logs(self) -> list[str]:
        return [message["log"]["message"] for message in self.of("LOG")]

    def statuses(self, stream: str) -> list[str]:
        statuses = [m["trace"]["stream_status"] for m in self.of("TRACE") if "stream_status" in m["trace"]]
        return [status["status"] for status in statuses if status["stream_descriptor"]["name"] == stream]

    @property
    def final_state(self) -> list[Message]:
        return state_of(self.states)

    @property
    def status(self) -> dict[str, str]:
        """The result of `check`."""
        (message,) = self.of("CONNECTION_STATUS")
        status: dict[str, str] = message["connectionStatus"]
        return status

    @property
    def spec(self) -> dict[str, Any]:
        (message,) = self.of("SPEC")
        spec: dict[str, Any] = message["spec"]
        return spec

    @property
    def catalog(self) -> dict[str, dict[str, Any]]:
        """The streams of `discover`, by name."""
        (message,) = self.of("CATALOG")
        return {stream["name"]: stream for stream in message["catalog"]["streams"]}

    def __repr__(self) -> str:
        tail = "\n".join([*self.logs[-8:], *(trace["message"] for trace in self.traces)])
        return f"<Run: code {self.code}\n{tail}\n{self.err.decode(errors='replace')[-2000:]}>"


def state_of(states: Sequence[Message]) -> list[Message]:
    """The state that a platform stores after these STATE messages: the last of each stream."""
    return list({m["state"]["stream"]["stream_descriptor"]["name"]: m["state"] for m in states}.values())


def positions(state: Sequence[Message], stream: str) -> dict[tuple[tuple[str, str], ...], str]:
    """The cursors of one stream in a stored state, by partition."""
    for message in state:
        if message["stream"]["stream_descriptor"]["name"] == stream:
            return {
                tuple(sorted(entry["partition"].items())): next(iter(entry["cursor"].values()))
                for entry in message["stream"]["stream_state"]["states"]
            }
    return {}


def slices(state: Sequence[Message], stream: str) -> dict[tuple[tuple[str, str], ...], list[tuple[str, str]]]:
    """The slices of one stream in a stored state, by partition."""
    (blob,) = [m["stream"]["stream_state"] for m in state if m["stream"]["stream_descriptor"]["name"] == stream]
    return {
        tuple(sorted(entry["partition"].items())): [(each["start"], each["end"]) for each in entry["slices"]]
        for entry in blob["states"]
    }


def catalog_of(streams: Iterable[str], mode: str = "incremental") -> Catalog:
    """A configured catalog of these streams."""
    return {
        "streams": [
            {
                "stream": {
                    "name": name,
                    "json_schema": {},
                    "supported_sync_modes": ["full_refresh", "incremental"],
                    "source_defined_cursor": True,
                },
                "sync_mode": mode,
                "destination_sync_mode": "append",
            }
            for name in streams
        ]
    }


def cleared(shared: Sandbox) -> Iterator[Sandbox]:
    """A shared sandbox for one test, cleared before and after it, so that no fault reaches the next module."""
    shared.clear()
    yield shared
    errors = list(shared.errors)
    shared.clear()
    assert errors == []


@dataclass
class Connector:
    """The command line, with its files in one directory."""

    warm: Warm
    directory: Path
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    def start(
        self,
        args: Sequence[str],
        *,
        script: bool = False,
        patience: str | None = None,
        least_timeout: float | None = LEAST_TIMEOUT,
        heartbeat_seconds: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a run of the console script, or (faster) of the same command in a fork.

        `patience` scales pauses and timeouts (default: only in forks). In a fork, no timeout is shorter than
        `least_timeout`; None keeps the connector's own timeouts, for tests of a vendor that does not answer.
        `heartbeat_seconds` is the time between states while nothing happens.
        """
        patience = patience or ("1" if script else PATIENCE)
        begin = spawn if script else self.warm.start
        env = {"SOURCE_LIQUIDATIONS_PATIENCE": patience}
        env |= {} if least_timeout is None else {"TEST_LEAST_TIMEOUT": str(least_timeout)}
        env |= {} if heartbeat_seconds is None else {"TEST_HEARTBEATS": str(heartbeat_seconds)}
        return begin(args, env | dict(environment or {}))

    def spec(self, **how: Any) -> Run:
        return self.start(["spec"], **how).collect()

    def check(self, config: Any, *, debug: bool = False, **how: Any) -> Run:
        args = ["check", "--config", self.file(config), *(["--debug"] if debug else [])]
        return self.start(args, **how).collect()

    def discover(self, config: Any, **how: Any) -> Run:
        return self.start(["discover", "--config", self.file(config)], **how).collect()

    def read(self, config: Any, streams: Iterable[str] | Catalog, **how: Any) -> Run:
        return self.reading(config, streams, **how).collect()

    def reading(
        self,
        config: Any,
        streams: Iterable[str] | Catalog,
        *,
        state: Sequence[Message] | None = None,
        mode: str = "incremental",
        debug: bool = False,
        **how: Any,
    ) -> Process:
        """Start a `read`."""
        catalog = streams if isinstance(streams, dict) else catalog_of(streams, mode)
        args = ["read", "--config", self.file(config), "--catalog", self.file(catalog)]
        args += ["--state", self.file(state)] if state is not None else []
        return self.start([*args, *(["--debug"] if debug else [])], **how)

    def file(self, content: Any) -> str:
        """The path of a new file with this content: text as it is, anything else as JSON."""
        path = self.directory / f"{next(iter(self._numbers))}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)
