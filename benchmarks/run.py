"""The benchmark: `python -m benchmarks.run` compares readers, checks the connector and writes a report.

By default it runs the headline shape (Kaiko, 2,000,000 rows in 8 partitions) and all checks; `--shapes all` runs all.
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
QUICK_MAX_ROWS = 8_000


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", default=HEADLINE, help=f"comma-separated, `all` or `none`: {', '.join(all_shapes(0))}"
    )
    parser.add_argument("--readers", default="all", help=", ".join(reader.name for reader in READERS))
    parser.add_argument("--checks", default="all", help=f"comma-separated, `all` or `none`: {', '.join(CHECKS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of each shape")
    parser.add_argument("--full", action="store_true", help="let slow readers read all rows")
    parser.add_argument("--quick", action="store_true", help="few rows and rounds: only shows that it works")
    parser.add_argument("--output", type=Path, default=environments.ROOT / "build" / "benchmarks")
    return parser.parse_args()


def chosen(text: str, names: Sequence[str]) -> list[str]:
    chosen_names = [name for name in text.split(",") if name and name != "none"]
    if chosen_names == ["all"]:
        return list(names)
    if unknown := set(chosen_names) - set(names):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}. Allowed: {', '.join(names)}")
    return chosen_names


def record_failure(what: str, error: Failed, failures: list[str]) -> None:
    """A failed part is reported and does not stop the others."""
    failures.append(f"{what}: {error}")
    say(f"  failed: {error}")


def compare_all(
    shapes: Sequence[Shape], readers: Sequence[Reader], args: argparse.Namespace, failures: list[str]
) -> list[Comparison]:
    rounds = 2 if args.quick else args.rounds
    max_rows = args.rows if args.full else QUICK_MAX_ROWS if args.quick else None
    results = []
    for shape in shapes:
        say(shape.title)
        with tempfile.TemporaryDirectory() as folder:
            try:
                results.append(compare(shape, readers, rounds=rounds, folder=Path(folder), max_rows=max_rows))
            except Failed as error:
                record_failure(shape.title, error, failures)
    return results


def check_all(names: Sequence[str], args: argparse.Namespace, failures: list[str]) -> list[Check]:
    if names and not environments.script(OURS):
        record_failure("checks", Failed(f"the script {OURS} is not installed"), failures)
        return []
    size = QUICK if args.quick else Size(rounds=args.rounds)
    checks: list[Check] = []
    for name in names:
        say(f"checking {name}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                checks += CHECKS[name](Path(folder), size)
            except Failed as error:
                record_failure(f"check {name}", error, failures)
    return checks


def draw(results: Path, picture: Path) -> None:
    if not environments.exists("plot"):
        say("no picture; create its environment with: python -m benchmarks.environments plot")
        return
    script = environments.ROOT / "benchmarks" / "picture.py"
    subprocess.run([environments.python("plot"), script, results, picture], check=True)


def main() -> None:
    args = options()
    failures: list[str] = []
    about_machine = {**machine(), "quick": args.quick, "rounds": args.rounds, "failures": failures}
    shapes = all_shapes(QUICK_ROWS if args.quick else args.rows)
    readers = {reader.name: reader for reader in READERS}
    names = chosen(args.readers, list(readers))
    chosen_shapes = [shapes[name] for name in chosen(args.shapes, list(shapes))]
    comparisons = compare_all(chosen_shapes, [readers[name] for name in names], args, failures)
    checks = check_all(chosen(args.checks, list(CHECKS)), args, failures)
    used = {readers[name].environment for name in names} | {environments.HERE}
    versions = {name: environments.versions(name) for name in sorted(used) if environments.exists(name)}
    results = (comparisons, checks, about_machine, versions)
    args.output.mkdir(parents=True, exist_ok=True)
    results_file = args.output / "results.json"
    results_file.write_text(json.dumps(report.as_dict(*results), indent=1))
    (args.output / "results.md").write_text(report.everything(*results))
    print(report.everything(*results))
    draw(results_file, args.output / "results.png")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
