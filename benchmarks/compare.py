"""Compares readers on one shape: interleaved rounds, medians, and the estimated time of a run of all rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Failed, Output, Run, Server
from benchmarks.readers import OURS, Reader
from benchmarks.shapes import HEADLINE, Inputs, Shape, Task, least, part

START_RUNS = 3


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


@dataclass
class Entry:
    """A reader's runs on a shape."""

    reader: Reader
    task: Task
    command: list[str]
    start_command: list[str]
    runs: list[Run] = field(default_factory=list)
    starts: list[Run] = field(default_factory=list)

    def summary(self) -> Summary:
        rows, all_rows = self.task.rows, self.task.shape.rows
        start = median(run.wall for run in self.starts)
        start_cpu = median(run.cpu for run in self.starts)
        wall = median(run.wall for run in self.runs)
        cpu = median(run.cpu for run in self.runs)
        walls = sorted(run.wall for run in self.runs)
        return Summary(
            name=self.reader.name,
            label=self.reader.label,
            rows=rows,
            wall=wall,
            wall_of_all=scaled(wall, start, rows, all_rows),
            spread=(walls[-1] - walls[0]) / wall,
            start=start,
            cpu_per_row=scaled(cpu, start_cpu, rows, all_rows) / all_rows,
            peak_mb=max(run.peak_mb for run in self.runs),
            requests=max(run.requests for run in self.runs),
            server_share=median(run.server_cpu / run.wall for run in self.runs),
            compressed_late=max(run.gzip_blocks for run in self.runs),
        )


@dataclass(frozen=True)
class Summary:
    """Seconds and megabytes; `wall_of_all` is for all rows of the shape, estimated if fewer were read."""

    name: str
    label: str
    rows: int
    wall: float
    wall_of_all: float
    spread: float
    start: float
    cpu_per_row: float
    peak_mb: float
    requests: int
    server_share: float
    compressed_late: int


@dataclass(frozen=True)
class Comparison:
    shape: Shape
    entries: Sequence[Entry]
    skipped: dict[str, str]

    def summaries(self) -> list[Summary]:
        return [entry.summary() for entry in self.entries]

    def as_dict(self) -> dict[str, Any]:
        return {
            "shape": {**vars(self.shape), "title": self.shape.title},
            "skipped": self.skipped,
            "readers": [
                {
                    **vars(entry.summary()),
                    "runs": [run.as_dict() for run in entry.runs],
                    "starts": [run.as_dict() for run in entry.starts],
                }
                for entry in self.entries
            ],
        }


def scaled(measured: float, start: float, rows: int, all_rows: int) -> float:
    """The estimate for all rows, with the start-up counted once."""
    return measured if rows == all_rows else start + max(measured - start, 0.0) / rows * all_rows


def compare(
    shape: Shape, readers: Sequence[Reader], *, rounds: int, folder: Path, max_rows: int | None = None
) -> Comparison:
    skipped = {reader.name: reader.missing for reader in readers if reader.missing}
    for name, why in skipped.items():
        say(f"  {name} is skipped: {why}")
    usable = [reader for reader in readers if shape.vendor in reader.vendors and not reader.missing]
    with Server(shape.server_arguments) as server:
        entries = [prepare(reader, shape, server, folder / reader.name, max_rows) for reader in usable]
        failed = {entry.reader.name: why for entry in entries if (why := warm_up(entry, server))}
        entries = [entry for entry in entries if entry.reader.name not in failed]
        for number in range(rounds):
            for entry in entries:
                entry.runs.append(server.run(entry.command))
                if number < START_RUNS:
                    entry.starts.append(server.run(entry.start_command))
            say(
                f"  round {number + 1} of {rounds}: "
                + ", ".join(f"{e.reader.name} {e.runs[-1].wall:.2f}" for e in entries)
            )
    return Comparison(shape, entries, {**skipped, **failed})


def prepare(reader: Reader, shape: Shape, server: Server, folder: Path, max_rows: int | None) -> Entry:
    bound = reader.max_rows if shape.name == HEADLINE else reader.max_rows_other
    if max_rows is not None:
        bound = max_rows if reader.max_rows or reader.max_rows_other else None
    task = part(shape, bound)

    def command(inputs: Inputs) -> list[str]:
        return reader.command(shape.vendor, inputs)

    return Entry(
        reader,
        task,
        command(task.write(folder / "all", server.url)),
        command(least(shape).write(folder / "start", server.url)),
    )


def warm_up(entry: Entry, server: Server) -> str:
    """An untimed run that fills caches and counts rows. Returns what went wrong, empty if nothing did.

    Only the connector may return a row twice, at an inclusive bound; that is printed.
    """
    output = Output(count=True)
    try:
        server.run(entry.command, output)
        server.run(entry.start_command)
    except Failed as error:
        say(f"  {error}")
        return str(error).splitlines()[-1]
    counted = {"records": output.records, "lines": output.lines, "nothing": entry.task.rows}[entry.reader.counts]
    if counted == entry.task.rows:
        return ""
    problem = f"returned {counted:,} rows, not {entry.task.rows:,}"
    say(f"  {entry.reader.name} {problem}")
    return "" if entry.reader.name == OURS and counted > entry.task.rows else problem
