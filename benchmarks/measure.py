"""Measures one process: its time, CPU, memory and output.

The kernel counts a child's peak memory from that of its parent, so this process imports and keeps nothing large, and
another process draws the picture.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.environments import ROOT

CHUNK = 1 << 20
RECORD = re.compile(rb'^\{"type": ?"RECORD"')
STATE = re.compile(rb'^\{"type": ?"STATE"')
TRACE = re.compile(rb'^\{"type": ?"TRACE".*"type": ?"ERROR"')


class Failed(Exception):
    """A reader failed."""


@dataclass(frozen=True)
class Run:
    wall: float
    cpu: float
    peak_mb: float
    written: int
    requests: int = 0
    most_in_flight: int = 0
    server_cpu: float = 0.0
    gzip_blocks: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Output:
    """Consumes a reader's output. Only untimed runs count records, because counting takes time."""

    count: bool = False
    written: int = 0
    lines: int = 0
    records: int = 0
    last_state: bytes = b""
    last_error: bytes = b""
    notes: dict[str, Any] = field(default_factory=dict)

    def drain(self, pipe: IO[bytes]) -> None:
        if self.count:
            self._count(pipe)
            return
        buffer = bytearray(CHUNK)
        while size := os.readv(pipe.fileno(), [buffer]):
            self.written += size

    def _count(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self.written += len(line)
            self.lines += 1
            if RECORD.match(line):
                self.records += 1
            elif STATE.match(line):
                self.last_state = line
            elif TRACE.match(line):
                self.last_error = line
            elif line.startswith(b'{"rows":'):
                self.notes = json.loads(line)
                self.records = self.notes["rows"]


def run(command: Sequence[str], output: Output | None = None) -> Run:
    """Run a command and consume its output from a pipe, as a platform does."""
    output = output or Output()
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout
        with process.stdout as pipe:
            output.drain(pipe)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            tail = (output.last_error or errors.read())[-2_000:].decode(errors="replace")
            raise Failed(f"{' '.join(command)} exited with {process.returncode}: {tail}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.written)


class Server:
    """The loopback server in its own process."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.server", *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout
        ready = self._process.stdout.readline()
        if not ready:
            raise Failed("the server did not start")
        self.url = f"http://127.0.0.1:{json.loads(ready)['port']}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def stats(self) -> dict[str, float]:
        try:
            with urllib.request.urlopen(f"{self.url}/stats", timeout=60) as answer:
                stats: dict[str, float] = json.load(answer)
        except OSError as error:
            raise Failed(f"the server does not answer (its exit code: {self._process.poll()}): {error}") from error
        return stats

    def run(self, command: Sequence[str], output: Output | None = None) -> Run:
        """Like `run`, with the server's counts of the run's requests."""
        before = self.stats()
        done = run(command, output)
        after = self.stats()
        return Run(
            **{
                **done.as_dict(),
                "requests": int(after["requests"] - before["requests"]),
                "most_in_flight": int(after["most_in_flight"]),
                "server_cpu": after["cpu_seconds"] - before["cpu_seconds"],
                "gzip_blocks": int(after["gzip_blocks"] - before["gzip_blocks"]),
            }
        )


def machine() -> dict[str, Any]:
    model = next(
        (line.partition(":")[2].strip() for line in read_lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "system": os.uname().release, "load": os.getloadavg()}


def read_lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
