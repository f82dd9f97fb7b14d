"""The results as Markdown and as one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.checks import Check
from benchmarks.compare import Comparison, Summary
from benchmarks.readers import OURS

COLUMNS = ("reader", "wall s", "rows/s", "times ours", "CPU µs/row", "peak MB", "start s", "server CPU", "spread")

QUICK = "**A quick run: it only shows that the benchmark works.**"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ruler, *rows])


def comparison(result: Comparison) -> str:
    summaries = result.summaries()
    ours = next((summary.wall_of_all for summary in summaries if summary.name == OURS), None)
    lines = [f"### {result.shape.title}", "", table(COLUMNS, [cells(s, result.shape.rows, ours) for s in summaries])]
    fewer = [f"{s.label} {s.rows:,}" for s in summaries if s.rows != result.shape.rows]
    if fewer:
        lines += ["", f"\\* Read fewer rows ({'; '.join(fewer)}): start-up counted once, the rest scaled."]
    if any(s.compressed_late for s in summaries):
        lines += ["", "The server compressed some pages during timed runs: " + ", ".join(late(summaries)) + "."]
    if result.skipped:
        lines += ["", "Skipped: " + "; ".join(f"{name} ({why})" for name, why in result.skipped.items()) + "."]
    return "\n".join(lines)


def late(summaries: Sequence[Summary]) -> list[str]:
    return [f"{s.label} {s.compressed_late}" for s in summaries if s.compressed_late]


def cells(summary: Summary, rows: int, ours: float | None) -> list[str]:
    return [
        summary.label + ("" if summary.rows == rows else " \\*"),
        f"{summary.wall_of_all:.2f}",
        f"{rows / summary.wall_of_all:,.0f}",
        f"{summary.wall_of_all / ours:.2f}" if ours else "",
        f"{summary.cpu_per_row * 1e6:.2f}",
        f"{summary.peak_mb:.0f}",
        f"{summary.start:.2f}",
        f"{summary.server_share:.0%}",
        f"{summary.spread:.0%}",
    ]


def checks_table(checks: Sequence[Check]) -> str:
    rows = [
        [check.name, f"{check.value:.2f} {check.unit}", f"≤ {check.limit:g} {check.unit}", verdict(check), check.detail]
        for check in checks
    ]
    return table(("check", "measured", "target", "met", "details"), rows)


def verdict(check: Check) -> str:
    return "yes" if check.met else "**no**"


def versions_table(versions: dict[str, dict[str, str]]) -> str:
    rows = [
        [name, ", ".join(f"{package} {number}" for package, number in each.items())] for name, each in versions.items()
    ]
    return table(("environment", "versions"), rows)


def everything(results: Sequence[Comparison], checks: Sequence[Check], machine: dict[str, Any], versions: Any) -> str:
    sections = [*([QUICK] if machine["quick"] else [])]
    load = f"load {machine['load'][0]:.1f} at the start"
    sections += [f"Machine: {machine['cpu']}, {machine['cores']} cores, Linux {machine['system']}; {load}."]
    sections += [versions_table(versions), *(comparison(result) for result in results)]
    sections += ["### Checks of the connector", checks_table(checks)] if checks else []
    sections += ["### Failed", *(f"- {failure}" for failure in machine["failures"])] if machine["failures"] else []
    return "\n\n".join(sections) + "\n"


def as_dict(
    results: Sequence[Comparison], checks: Sequence[Check], machine: dict[str, Any], versions: Any
) -> dict[str, Any]:
    return {
        "machine": machine,
        "versions": versions,
        "shapes": [result.as_dict() for result in results],
        "checks": [{**vars(check), "met": check.met} for check in checks],
    }
