"""Runs the connector's command line, and takes what it prints apart."""

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
LONGEST_RUN = 300.0
LEAST_TIMEOUT = 60.0  # for an answer: long, because a busy machine is no outage

Message = dict[str, Any]
Catalog = dict[str, Any]


class Process:
    """A run under way. `stdout` is a pipe that the test reads, or lets `collect` read."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout = io.BufferedReader(io.FileIO(stdout))
        self.stderr = io.BufferedReader(io.FileIO(stderr))

    def wait(self, timeout: float = LONGEST_RUN) -> int:
        """The exit code; minus the signal's number where one ended it."""
        raise NotImplementedError

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def collect(self, timeout: float = LONGEST_RUN, *, so_far: bytes = b"") -> Run:
        """Read everything that is still to come, and wait for the end."""
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

    def wait(self, timeout: float = LONGEST_RUN) -> int:
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

    def wait(self, timeout: float = LONGEST_RUN) -> int:
        return self._popen.wait(timeout)


def spawn(args: Sequence[str], env: Mapping[str, str]) -> Process:
    """The console script, as a platform starts it."""
    command = [str(SCRIPT), *args]
    return _Spawned(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env})
    )


class Warm:
    """Starts the command line in forks of one process that has imported it already."""

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
            told = json.loads(data)
            if "pid" in told:
                self._started[told["id"]].put(told["pid"])
            else:
                self._ended[told["id"]].put(told["code"])

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
    """What one run printed, and how it ended."""

    code: int
    out: bytes
    err: bytes

    @cached_property
    def messages(self) -> list[Message]:
        """All lines of standard output: every one must be a JSON object of a known type."""
        found = [msgspec.json.decode(line) for line in self.out.split(b"\n") if line]
        kinds = {
            "RECORD",
            "STATE",
            "LOG",
            "TRACE",
            "SPEC",
            "CONNECTION_STATUS",
            "CATALOG",
            "CONTROL",
            "ESTIMATE",
            "DEBUG",
        }
        assert all(message["type"] in kinds for message in found)
        return found

    @property
    def whole(self) -> Run:
        """Without a last line that was cut off, as a platform reads it after a kill."""
        return Run(self.code, self.out[: self.out.rfind(b"\n") + 1], self.err)

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    def records(self, stream: str | None = None) -> list[dict[str, Any]]:
        found = (message["record"] for message in self.of("RECORD"))
        return [record["data"] for record in found if stream in (None, record["stream"])]

    @property
    def states(self) -> list[Message]:
        return self.of("STATE")

    @property
    def traces(self) -> list[dict[str, Any]]:
        """The errors reported."""
        found = (message["trace"] for message in self.of("TRACE"))
        return [
            trace["error"] | {"stream": trace["error"].get("stream_descriptor")} for trace in found if "error" in trace
        ]

    @property
    def logs(self) -> list[str]:
        return [message["log"]["message"] for message in self.of("LOG")]

    def statuses(self, stream: str) -> list[str]:
        found = [m["trace"]["stream_status"] for m in self.of("TRACE") if "stream_status" in m["trace"]]
        return [told["status"] for told in found if told["stream_descriptor"]["name"] == stream]

    @property
    def final_state(self) -> list[Message]:
        return state_of(self.states)

    @property
    def status(self) -> dict[str, str]:
        """What `check` said."""
        (message,) = self.of("CONNECTION_STATUS")
        told: dict[str, str] = message["connectionStatus"]
        return told

    @property
    def spec(self) -> dict[str, Any]:
        (message,) = self.of("SPEC")
        told: dict[str, Any] = message["spec"]
        return told

    @property
    def catalog(self) -> dict[str, dict[str, Any]]:
        """What `discover` found, by name."""
        (message,) = self.of("CATALOG")
        return {stream["name"]: stream for stream in message["catalog"]["streams"]}

    def __repr__(self) -> str:
        tail = "\n".join([*self.logs[-8:], *(trace["message"] for trace in self.traces)])
        return f"<Run: code {self.code}\n{tail}\n{self.err.decode(errors='replace')[-2000:]}>"


def state_of(states: Sequence[Message]) -> list[Message]:
    """What a platform has stored after these STATE messages: the last of each stream."""
    return list({m["state"]["stream"]["stream_descriptor"]["name"]: m["state"] for m in states}.values())


def positions(state: Sequence[Message], stream: str) -> dict[tuple[tuple[str, str], ...], str]:
    """Cursor by partition, of one stream of a stored state."""
    for entry in state:
        if entry["stream"]["stream_descriptor"]["name"] == stream:
            return {
                tuple(sorted(held["partition"].items())): next(iter(held["cursor"].values()))
                for held in entry["stream"]["stream_state"]["states"]
            }
    return {}


def slices(state: Sequence[Message], stream: str) -> dict[tuple[tuple[str, str], ...], list[tuple[str, str]]]:
    """What was read, by partition, of one stream of a stored state."""
    (blob,) = [one["stream"]["stream_state"] for one in state if one["stream"]["stream_descriptor"]["name"] == stream]
    return {
        tuple(sorted(entry["partition"].items())): [(part["start"], part["end"]) for part in entry["slices"]]
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
    """For one test, and afterwards without the faults that it left: they would meet a fixture of the next module."""
    shared.clear()
    yield shared
    errors = list(shared.errors)
    shared.clear()
    assert errors == []


@dataclass
class Connector:
    """The command line, with files in a directory of its own."""

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
        signs_of_life: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Begin a run: of the console script, or (sooner) of the same in a fork.

        `patience` shortens pauses, of forks unless told otherwise. In a fork it shortens timeouts to no less than
        `least_timeout`; None leaves the connector's own, for tests of what does not answer. `signs_of_life` is the time
        between states in which nothing happens.
        """
        patience = patience or ("1" if script else PATIENCE)
        begin = spawn if script else self.warm.start
        env = {"SOURCE_LIQUIDATIONS_PATIENCE": patience}
        env |= {} if least_timeout is None else {"TEST_LEAST_TIMEOUT": str(least_timeout)}
        env |= {} if signs_of_life is None else {"TEST_SIGNS_OF_LIFE": str(signs_of_life)}
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
        """A `read` that has begun."""
        catalog = streams if isinstance(streams, dict) else catalog_of(streams, mode)
        args = ["read", "--config", self.file(config), "--catalog", self.file(catalog)]
        args += ["--state", self.file(state)] if state is not None else []
        return self.start([*args, *(["--debug"] if debug else [])], **how)

    def file(self, content: Any) -> str:
        """A file with this content: text as it is, anything else as JSON."""
        path = self.directory / f"{next(iter(self._numbers))}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)
