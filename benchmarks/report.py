"""The results as Markdown and as one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.checks import Check
from benchmarks.compare import Comparison, Summary
from benchmarks.readers import OURS

COLUMNS = ("reader", "wall s", "rows/s", "times ours", "CPU µs/row", "peak MB", "start s", "server CPU", "spread")

QUICK = "**A quick run: it shows that the benchmark works, and nothing else.**"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ruler, *rows])


def comparison(result: Comparison) -> str:
    summaries = result.summaries()
    ours = next((summary.wall_of_all for summary in summaries if summary.name == OURS), None)
    lines = [f"### {result.shape.title}", "", table(COLUMNS, [cells(s, result.shape.rows, ours) for s in summaries])]
    fewer = [f"{s.label} {s.rows:,}" for s in summaries if s.rows != result.shape.rows]
    if fewer:
        lines += ["", f"\\* Read fewer rows ({'; '.join(fewer)}): start-up once, the rest in proportion."]
    if any(s.compressed_late for s in summaries):
        lines += ["", "The server compressed some pages while it was timed: " + ", ".join(late(summaries)) + "."]
    if result.skipped:
        lines += ["", "Left out: " + "; ".join(f"{name} ({why})" for name, why in result.skipped.items()) + "."]
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


def checks(found: Sequence[Check]) -> str:
    rows = [
        [check.name, f"{check.value:.2f} {check.unit}", f"≤ {check.limit:g} {check.unit}", verdict(check), check.detail]
        for check in found
    ]
    return table(("check", "measured", "target", "met", "how"), rows)


def verdict(check: Check) -> str:
    return "yes" if check.met else "**no**"


def versions(found: dict[str, dict[str, str]]) -> str:
    rows = [
        [name, ", ".join(f"{package} {number}" for package, number in each.items())] for name, each in found.items()
    ]
    return table(("environment", "versions"), rows)


def everything(results: Sequence[Comparison], found: Sequence[Check], machine: dict[str, Any], has: Any) -> str:
    parts = [*([QUICK] if machine["quick"] else [])]
    load = f"load {machine['load'][0]:.1f} when it began"
    parts += [f"Machine: {machine['cpu']}, {machine['cores']} cores, Linux {machine['system']}; {load}.", versions(has)]
    parts += [comparison(result) for result in results]
    parts += ["### Checks of the connector", checks(found)] if found else []
    parts += ["### Given up", *(f"- {failure}" for failure in machine["failures"])] if machine["failures"] else []
    return "\n\n".join(parts) + "\n"


def as_dict(results: Sequence[Comparison], found: Sequence[Check], machine: dict[str, Any], has: Any) -> dict[str, Any]:
    return {
        "machine": machine,
        "versions": has,
        "shapes": [result.as_dict() for result in results],
        "checks": [{**vars(check), "met": check.met} for check in found],
    }
