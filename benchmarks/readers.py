"""The compared readers: the connector, its rivals and the floors, which no reader can undercut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import environments
from benchmarks.shapes import EVERYWHERE, Inputs

RIVALS = environments.ROOT / "benchmarks" / "rivals"
OURS = "source-liquidations"

Command = Callable[[str, Inputs], list[str]]


@dataclass(frozen=True)
class Reader:
    """`max_rows` limits a run of the headline shape, `max_rows_other` a run of another shape.

    `counts` is how its rows are counted: `records` (messages, or a count that it prints), `lines` or `nothing`.
    """

    name: str
    label: str
    command: Command
    environment: str = environments.HERE
    vendors: tuple[str, ...] = EVERYWHERE
    max_rows: int | None = None
    max_rows_other: int | None = None
    counts: str = "records"

    @property
    def missing(self) -> str:
        """Why the reader cannot run; empty if it can."""
        if self.name == OURS and not environments.script(OURS):
            return f"the script {OURS} is not installed"
        if not environments.exists(self.environment):
            return f"environment missing; create it with: python -m benchmarks.environments {self.environment}"
        return ""


def ours(_: str, inputs: Inputs) -> list[str]:
    script = environments.script(OURS) or OURS
    return [script, "read", "--config", str(inputs.config), "--catalog", str(inputs.catalog)]


def lowcode(vendor: str, inputs: Inputs) -> list[str]:
    run = environments.script("source-declarative-manifest") or "source-declarative-manifest"
    files = ["--config", str(inputs.rival_config), "--catalog", str(inputs.catalog)]
    return [run, "read", "--manifest-path", str(RIVALS / "lowcode" / f"{vendor}.yaml"), *files]


def http_stream(_: str, inputs: Inputs) -> list[str]:
    files = ["--config", str(inputs.rival_config), "--catalog", str(inputs.catalog)]
    return [environments.python(environments.HERE), str(RIVALS / "http_stream.py"), "read", *files]


def singer(_: str, inputs: Inputs) -> list[str]:
    return [environments.python("singer"), str(RIVALS / "singer_tap.py"), "--config", str(inputs.job)]


def rest_api(_: str, inputs: Inputs) -> list[str]:
    return [environments.python("dlt"), str(RIVALS / "dlt_rest_api.py"), str(inputs.job)]


def own_client(mode: str) -> Command:
    script = str(RIVALS / "coin_metrics_client.py")
    return lambda _, inputs: [environments.python("coinmetrics"), script, str(inputs.job), mode]


def floor(mode: str) -> Command:
    script = str(RIVALS / "floor.py")
    return lambda _, inputs: [environments.python(environments.HERE), script, str(inputs.job), mode, str(inputs.rows)]


def client(mode: str, label: str, max_rows_other: int) -> Reader:
    return Reader(
        f"client-{mode}",
        f"Coin Metrics client, {label}",
        own_client(mode),
        environment="coinmetrics",
        vendors=("coin_metrics",),
        max_rows_other=max_rows_other,
    )


READERS = (
    Reader(OURS, "this connector", ours),
    Reader("lowcode", "CDK low-code manifest", lowcode, max_rows=100_000, max_rows_other=40_000),
    Reader("http-stream", "CDK HttpStream", http_stream, max_rows=500_000, max_rows_other=200_000),
    Reader("singer", "singer-sdk tap", singer, "singer", max_rows=500_000, max_rows_other=200_000),
    Reader("dlt", "dlt rest_api, to files", rest_api, "dlt", max_rows=500_000, max_rows_other=200_000),
    client("memory", "pages in memory", 2_000_000),
    client("stream", "json_stream in memory", 500_000),
    client("file", "pages to file", 500_000),
    Reader("floor-json", "floor: requests, orjson in and out", floor("json"), counts="lines"),
    Reader("floor-get", "floor: requests alone", floor("get"), counts="nothing"),
    Reader("floor-write", "floor: writing the bytes alone", floor("write")),
)
