"""What a user gains: 500,000 rows into DuckDB, by `examples/duckdb_lane.py` and by PyAirbyte, also from `HttpStream`.

`python -m benchmarks.end_to_end`. The read is what a user waits for each time: PyAirbyte's `read`; of the lane all but
the start of its interpreter. PyAirbyte's process also loads PyAirbyte and asks the connector for its spec, a check and
its streams. Each connector's output into a pipe that only takes it in stands beside that, so that it shows how much of
the time is the connector's and how much its consumer's.
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
        runs, alone = ([run.as_dict() for run in found] for found in (self.runs, self.alone_runs))
        return {"label": self.label, "into_duckdb": runs, "read_seconds": self.reads, "alone": alone}


def pipeline(
    label: str, script: str, executable: str, config: Path, alone: Command, inputs: Inputs, folder: Path
) -> Pipeline:
    reader = [environments.python(ENVIRONMENT), str(RIVALS / script), executable, str(config)]
    return Pipeline(label, [*reader, STREAMS["kaiko"]], alone("kaiko", inputs), folder)


def wrapper(folder: Path) -> str:
    """PyAirbyte wants one executable file."""
    path = folder / "source-http-stream"
    script = f'#!/bin/sh\nexec "{environments.python(environments.HERE)}" "{RIVALS / "http_stream.py"}" "$@"\n'
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def pipelines(inputs: Inputs, folder: Path) -> list[Pipeline]:
    found = []
    if script := environments.script(OURS):
        for label, reader in (("DuckDB lane", "lane_read.py"), ("PyAirbyte", "pyairbyte_read.py")):
            found.append(pipeline(f"this connector, {label}", reader, script, inputs.config, ours, inputs, folder))
    else:
        say(f"the script {OURS} is not installed: it is left out")
    rival = wrapper(folder)
    others = ("CDK HttpStream, PyAirbyte", "pyairbyte_read.py", rival, inputs.rival_config, http_stream)
    return [*found, pipeline(*others, inputs, folder)]


def measure(one: Pipeline, server: Server, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Output(count=True)
        one.runs.append(server.run([*one.into_duckdb, folder], output))
    if output.records != rows:
        raise Failed(f"{one.label}: {output.records:,} rows in the table, not {rows:,}")
    one.reads.append(output.notes["read_seconds"])
    one.alone_runs.append(server.run(one.alone))


def measured(rows: int, rounds: int) -> Sequence[Pipeline]:
    shape = Shape("end-to-end", "kaiko", rows)
    with tempfile.TemporaryDirectory() as name, Server(shape.server_arguments) as server:
        folder = Path(name)
        found = pipelines(whole(shape).write(folder, server.url), folder)
        for number in range(rounds):
            for one in found:
                measure(one, server, rows)
            say(
                f"round {number + 1} of {rounds}: " + ", ".join(f"{one.label} {one.runs[-1].wall:.1f}" for one in found)
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=environments.ROOT / "build" / "benchmarks")
    asked = parser.parse_args()
    if not environments.exists(ENVIRONMENT):
        raise SystemExit(f"no environment: python -m benchmarks.environments {ENVIRONMENT}")
    try:
        found = measured(asked.rows, asked.rounds)
    except Failed as error:
        raise SystemExit(str(error)) from error
    has = {name: environments.versions(name) for name in (ENVIRONMENT, environments.HERE)}
    text = report.table(COLUMNS, [one.cells(asked.rows) for one in found])
    asked.output.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "versions": has, "rows": asked.rows, "readers": [one.as_dict() for one in found]}
    (asked.output / "end_to_end.json").write_text(json.dumps(results, indent=1))
    text = f"### Into DuckDB, kaiko, {asked.rows:,} rows\n\n{text}\n\n{report.versions(has)}\n"
    (asked.output / "end_to_end.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
