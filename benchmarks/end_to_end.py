"""Reads 500,000 rows into DuckDB with `examples/duckdb_lane.py` and with PyAirbyte, also from `HttpStream`.

`python -m benchmarks.end_to_end`. "Its read" is what a user waits for in each sync: PyAirbyte's `read`, or the whole
lane without the start of its interpreter. PyAirbyte's process also imports PyAirbyte and runs the connector's spec,
check and discover. "Connector alone" is the time of the connector with its output discarded, which separates the
connector's share of the time from its consumer's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import environments, report
from benchmarks.compare import say
from benchmarks.measure import Failed, Output, Run, Server, machine
from benchmarks.readers import OURS, RIVALS, Command, http_stream, ours
from benchmarks.shapes import STREAMS, Inputs, Shape, whole

COLUMNS = ("reader", "whole process s", "its read s", "rows/s of the read", "CPU µs/row", "connector alone s")
ENVIRONMENT = "airbyte"


@dataclass
class Pipeline:
    label: str
    into_duckdb: list[str]
    alone: list[str]
    folder: Path
    runs: list[Run] = field(default_factory=list)
    alone_runs: list[Run] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)

    def cells(self, rows: int) -> list[str]:
        wall, cpu = (median(getattr(run, name) for run in self.runs) for name in ("wall", "cpu"))
        read, alone = median(self.reads), median(run.wall for run in self.alone_runs)
        numbers = f"{wall:.1f}", f"{read:.1f}", f"{rows / read:,.0f}", f"{cpu / rows * 1e6:.1f}", f"{alone:.1f}"
        return [self.label, *numbers]

    def as_dict(self) -> dict[str, object]:
        runs, alone = ([run.as_dict() for run in timed] for timed in (self.runs, self.alone_runs))
        return {"label": self.label, "into_duckdb": runs, "read_seconds": self.reads, "alone": alone}


def pipeline(
    label: str, script: str, executable: str, config: Path, alone: Command, inputs: Inputs, folder: Path
) -> Pipeline:
    reader = [environments.python(ENVIRONMENT), str(RIVALS / script), executable, str(config)]
    return Pipeline(label, [*reader, STREAMS["kaiko"]], alone("kaiko", inputs), folder)


def wrapper(folder: Path) -> str:
    """PyAirbyte needs a single executable file."""
    path = folder / "source-http-stream"
    script = f'#!/bin/sh\nexec "{environments.python(environments.HERE)}" "{RIVALS / "http_stream.py"}" "$@"\n'
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def pipelines(inputs: Inputs, folder: Path) -> list[Pipeline]:
    ours_first = []
    if script := environments.script(OURS):
        for label, reader in (("DuckDB lane", "lane_read.py"), ("PyAirbyte", "pyairbyte_read.py")):
            ours_first.append(pipeline(f"this connector, {label}", reader, script, inputs.config, ours, inputs, folder))
    else:
        say(f"the script {OURS} is not installed: skipped")
    rival = wrapper(folder)
    others = ("CDK HttpStream, PyAirbyte", "pyairbyte_read.py", rival, inputs.rival_config, http_stream)
    return [*ours_first, pipeline(*others, inputs, folder)]


def measure(timed: Pipeline, server: Server, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Output(count=True)
        timed.runs.append(server.run([*timed.into_duckdb, folder], output))
    if output.records != rows:
        raise Failed(f"{timed.label}: {output.records:,} rows in the table, not {rows:,}")
    timed.reads.append(output.notes["read_seconds"])
    timed.alone_runs.append(server.run(timed.alone))


def measured(rows: int, rounds: int) -> Sequence[Pipeline]:
    shape = Shape("end-to-end", "kaiko", rows)
    with tempfile.TemporaryDirectory() as name, Server(shape.server_arguments) as server:
        folder = Path(name)
        compared = pipelines(whole(shape).write(folder, server.url), folder)
        for number in range(rounds):
            for each in compared:
                measure(each, server, rows)
            walls = ", ".join(f"{each.label} {each.runs[-1].wall:.1f}" for each in compared)
            say(f"round {number + 1} of {rounds}: {walls}")
    return compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=environments.ROOT / "build" / "benchmarks")
    args = parser.parse_args()
    if not environments.exists(ENVIRONMENT):
        raise SystemExit(f"environment missing; create it with: python -m benchmarks.environments {ENVIRONMENT}")
    try:
        readers = measured(args.rows, args.rounds)
    except Failed as error:
        raise SystemExit(str(error)) from error
    versions = {name: environments.versions(name) for name in (ENVIRONMENT, environments.HERE)}
    text = report.table(COLUMNS, [reader.cells(args.rows) for reader in readers])
    args.output.mkdir(parents=True, exist_ok=True)
    rows = [reader.as_dict() for reader in readers]
    results = {"machine": machine(), "versions": versions, "rows": args.rows, "readers": rows}
    (args.output / "end_to_end.json").write_text(json.dumps(results, indent=1))
    text = f"### Into DuckDB, kaiko, {args.rows:,} rows\n\n{text}\n\n{report.versions_table(versions)}\n"
    (args.output / "end_to_end.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
