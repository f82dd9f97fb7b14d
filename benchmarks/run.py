"""The benchmark: `python -m benchmarks.run` compares readers, checks the connector, and writes what it found.

By default the headline, Kaiko with 2,000,000 rows in 8 partitions, and all checks; `--shapes all` for every shape.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import environments, report
from benchmarks.checks import CHECKS, QUICK, Check, Size
from benchmarks.compare import Comparison, compare, say
from benchmarks.measure import Failed, machine
from benchmarks.readers import OURS, READERS, Reader
from benchmarks.shapes import HEADLINE, Shape, all_shapes

QUICK_ROWS = 40_000
QUICK_MOST_ROWS = 8_000


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", default=HEADLINE, help=f"comma-separated, `all` or `none`: {', '.join(all_shapes(0))}"
    )
    parser.add_argument("--readers", default="all", help=", ".join(reader.name for reader in READERS))
    parser.add_argument("--checks", default="all", help=f"comma-separated, `all` or `none`: {', '.join(CHECKS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2_000_000, help="of each shape")
    parser.add_argument("--full", action="store_true", help="let slow readers read all rows, too")
    parser.add_argument("--quick", action="store_true", help="few rows and rounds: only to see that it works")
    parser.add_argument("--output", type=Path, default=environments.ROOT / "build" / "benchmarks")
    return parser.parse_args()


def chosen(text: str, names: Sequence[str]) -> list[str]:
    wanted = [name for name in text.split(",") if name and name != "none"]
    if wanted == ["all"]:
        return list(names)
    if unknown := set(wanted) - set(names):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    return wanted


def give_up(what: str, error: Failed, failures: list[str]) -> None:
    """One part that fails must neither stop the others nor be missing silently."""
    failures.append(f"{what}: {error}")
    say(f"  given up: {error}")


def compare_all(
    shapes: Sequence[Shape], readers: Sequence[Reader], asked: argparse.Namespace, failures: list[str]
) -> list[Comparison]:
    rounds = 2 if asked.quick else asked.rounds
    most_rows = asked.rows if asked.full else QUICK_MOST_ROWS if asked.quick else None
    results = []
    for shape in shapes:
        say(shape.title)
        with tempfile.TemporaryDirectory() as folder:
            try:
                results.append(compare(shape, readers, rounds=rounds, folder=Path(folder), most_rows=most_rows))
            except Failed as error:
                give_up(shape.title, error, failures)
    return results


def check_all(names: Sequence[str], asked: argparse.Namespace, failures: list[str]) -> list[Check]:
    if names and not environments.script(OURS):
        give_up("checks", Failed(f"the script {OURS} is not installed"), failures)
        return []
    size = QUICK if asked.quick else Size(rounds=asked.rounds)
    found: list[Check] = []
    for name in names:
        say(f"checking {name}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                found += CHECKS[name](Path(folder), size)
            except Failed as error:
                give_up(f"check {name}", error, failures)
    return found


def draw(results: Path, picture: Path) -> None:
    if not environments.exists("plot"):
        say("no picture: python -m benchmarks.environments plot")
        return
    script = environments.ROOT / "benchmarks" / "picture.py"
    subprocess.run([environments.python("plot"), script, results, picture], check=True)


def main() -> None:
    asked = options()
    failures: list[str] = []
    about_machine = {**machine(), "quick": asked.quick, "rounds": asked.rounds, "failures": failures}
    shapes = all_shapes(QUICK_ROWS if asked.quick else asked.rows)
    readers = {reader.name: reader for reader in READERS}
    names = chosen(asked.readers, list(readers))
    wanted = [shapes[name] for name in chosen(asked.shapes, list(shapes))]
    comparisons = compare_all(wanted, [readers[name] for name in names], asked, failures)
    found = check_all(chosen(asked.checks, list(CHECKS)), asked, failures)
    used = {readers[name].environment for name in names} | {environments.HERE}
    has = {name: environments.versions(name) for name in sorted(used) if environments.exists(name)}
    about = (comparisons, found, about_machine, has)
    asked.output.mkdir(parents=True, exist_ok=True)
    results = asked.output / "results.json"
    results.write_text(json.dumps(report.as_dict(*about), indent=1))
    (asked.output / "results.md").write_text(report.everything(*about))
    print(report.everything(*about))
    draw(results, asked.output / "results.png")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
