"""Checks of the connector against its targets: ideal times, constant memory, quick start-up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.environments import script
from benchmarks.measure import Failed, Output, Server, run
from benchmarks.readers import OURS, floor
from benchmarks.readers import ours as reading
from benchmarks.shapes import STREAMS, UNIFIED, WORKERS, Shape, Task, catalog, whole

IMPORT = "import airbyte_cdk.entrypoint"
REQUEST = "import airbyte_cdk.entrypoint, sys, requests; requests.get(sys.argv[1], timeout=10).raise_for_status()"
PAGE = 1_000


@dataclass(frozen=True)
class Check:
    """A measured `value` and its `limit`, both in `unit`; met if the value is at most the limit."""

    name: str
    detail: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Size:
    """The amounts that the checks read."""

    rounds: int = 5
    latency_partitions: int = 64
    latency_rows: int = 50_000
    long_rows: int = 2_000_000
    memory_rows: tuple[int, ...] = (100_000, 1_000_000, 5_000_000)
    idle_partitions: int = 10_000
    unified_rows: int = 1_000_000


QUICK = Size(
    rounds=2,
    latency_partitions=16,
    latency_rows=2_000,
    long_rows=20_000,
    memory_rows=(10_000, 50_000),
    idle_partitions=200,
    unified_rows=20_000,
)


def against_ideal(shape: Shape, folder: Path, *, rounds: int, limit: float) -> list[Check]:
    """Compare with the ideal time: requests times latency over workers."""
    with Server(shape.server_arguments) as server:
        command = reading(shape.vendor, whole(shape).write(folder, server.url))
        runs = [server.run(command) for _ in range(rounds)]
    wall, requests = median(done.wall for done in runs), max(done.requests for done in runs)
    ideal = requests * shape.latency / WORKERS
    detail = f"{wall:.2f} s for {requests:,} requests, ideal {ideal:.2f} s, {runs[-1].most_in_flight} at once"
    pages = shape.partitions * -(-shape.rows_each // PAGE)
    extra = f"{requests:,} requests for {pages:,} pages"
    return [
        Check(f"{shape.title}: time relative to the ideal", detail, wall / ideal, limit, "times"),
        Check(f"{shape.title}: requests beyond one a page", extra, requests - pages, WORKERS, ""),
    ]


def latency(folder: Path, size: Size) -> list[Check]:
    rows = size.latency_partitions * size.latency_rows
    shape = Shape("latency", "kaiko", rows, size.latency_partitions, latency=0.05)
    return against_ideal(shape, folder, rounds=size.rounds, limit=1.15)[:1]


def one_long_partition(folder: Path, size: Size) -> list[Check]:
    shape = Shape("long", "kaiko", size.long_rows, 1, latency=0.05)
    return against_ideal(shape, folder, rounds=size.rounds, limit=1.25)


def memory(folder: Path, size: Size) -> list[Check]:
    """The same partitions with more and more rows."""
    shape = Shape("memory", "kaiko", size.memory_rows[-1])
    peaks = []
    with Server(shape.server_arguments) as server:
        for rows in size.memory_rows:
            task = Task(shape, shape.partitions, rows // shape.partitions)
            command = reading(shape.vendor, task.write(folder / str(rows), server.url))
            peaks.append(server.run(command).peak_mb)
    detail = ", ".join(f"{rows:,} rows {peak:.0f} MB" for rows, peak in zip(size.memory_rows, peaks, strict=True))
    return [
        Check("peak memory", detail, max(peaks), 150, "MB"),
        Check("peak memory of the most rows relative to the fewest", detail, peaks[-1] / peaks[0], 1.1, "times"),
    ]


def start_up(folder: Path, size: Size) -> list[Check]:
    """Compare with a bare import of the CDK's entrypoint, plus one request if the command sends one."""
    shape = Shape("start", "kaiko", PAGE, 1)
    with Server(shape.server_arguments) as server:
        inputs = whole(shape).write(folder, server.url)
        ours, config = script(OURS) or OURS, ["--config", str(inputs.config)]
        url = f"{server.url}/coin_metrics/v4/catalog-v2/market-liquidations"
        commands = {
            "import": [sys.executable, "-c", IMPORT],
            "import and a request": [sys.executable, "-c", REQUEST, url],
            "spec": [ours, "spec"],
            "check": [ours, "check", *config],
            "discover": [ours, "discover", *config],
        }
        for command in commands.values():
            run(command)
        walls: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(size.rounds):
            for name, command in commands.items():
                walls[name].append(run(command).wall)
    seconds = {name: median(values) for name, values in walls.items()}
    compared = {"spec": "import", "check": "import and a request", "discover": "import"}
    return [
        Check(
            f"start-up of {name}",
            f"{seconds[name]:.2f} s; CDK: {base} {seconds[base]:.2f} s",
            seconds[name] / seconds[base],
            1.2,
            "times",
        )
        for name, base in compared.items()
    ]


def nothing_new(folder: Path, size: Size) -> list[Check]:
    """Many partitions that a first sync has read to the end: the second one needs one request for each."""
    shape = Shape("idle", "kaiko", size.idle_partitions, size.idle_partitions, latency=0.05)
    with Server(shape.server_arguments) as server:
        inputs = whole(shape).write(folder, server.url)
        command = reading(shape.vendor, inputs)
        first = Output(count=True)
        server.run(command, first)
        state = folder / "state.json"
        state.write_text(json.dumps([json.loads(first.last_state)["state"]]))
        again = server.run([*command, "--state", str(state)])
        bare = server.run(floor("get")(shape.vendor, inputs))
    ideal = again.requests * shape.latency / WORKERS
    detail = (
        f"{again.wall:.2f} s for {again.requests:,} requests, ideal {ideal:.2f} s, floor {bare.wall:.2f} s; "
        f"CPU {again.cpu / again.requests * 1e3:.2f} ms a request, floor {bare.cpu / bare.requests * 1e3:.2f} ms"
    )
    name = f"{shape.partitions:,} partitions without new rows: time relative to the ideal"
    return [Check(name, detail, again.wall / ideal, 1.25, "times")]


def unified(folder: Path, size: Size) -> list[Check]:
    """Compare a unified stream, alone and with the vendor's stream, with the vendor's stream alone."""
    checks = []
    for vendor, name in UNIFIED.items():
        shape = Shape("unified", vendor, size.unified_rows)
        chosen = {"own": [STREAMS[vendor]], "alone": [name], "both": [STREAMS[vendor], name]}
        with Server(shape.server_arguments) as server:
            commands = {}
            for what, streams in chosen.items():
                inputs = whole(shape).write(folder / vendor / what, server.url)
                inputs.catalog.write_text(json.dumps(catalog(*streams)))
                commands[what] = reading(vendor, inputs)
                rows = Output(count=True)
                server.run(commands[what], rows)
                if rows.records != len(streams) * shape.partitions * shape.rows_each:
                    raise Failed(f"{vendor}, {', '.join(streams)}: {rows.records:,} rows")
            walls: dict[str, list[float]] = {what: [] for what in commands}
            for _ in range(size.rounds):
                for what, command in commands.items():
                    walls[what].append(server.run(command).wall)
        seconds = {what: median(values) for what, values in walls.items()}
        detail = f"{shape.rows:,} rows: " + ", ".join(f"{what} {seconds[what]:.2f} s" for what in chosen)
        for what, limit in (("alone", 1.3), ("both", 1.6)):
            title = f"{vendor}: `{name}` " + ("alone" if what == "alone" else "with the vendor's stream")
            checks.append(Check(title, detail, seconds[what] / seconds["own"], limit, "times"))
    return checks


CHECKS: dict[str, Callable[[Path, Size], list[Check]]] = {
    "latency": latency,
    "long": one_long_partition,
    "memory": memory,
    "start": start_up,
    "idle": nothing_new,
    "unified": unified,
}
