"""Keeps what a release promises, its specification and its catalog, for the next one to be compared with.

    .venv/bin/python scripts/record_release.py

Run it when a version is released; integration_tests/test_compatibility.py compares each release with the one before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "integration_tests" / "acceptance" / "config.json"
RELEASES = ROOT / "integration_tests" / "releases"


def promises() -> dict[str, Any]:
    """Of the connector as it is here. No vendor is asked."""
    (spec,) = _messages("spec")
    (found,) = _messages("discover", "--config", str(CONFIG))
    streams = {stream["name"]: stream for stream in found["catalog"]["streams"]}
    return {"spec": spec["spec"]["connectionSpecification"], "streams": streams}


def _messages(*command: str) -> list[dict[str, Any]]:
    program = str(Path(sys.executable).with_name("source-liquidations"))
    done = subprocess.run([program, *command], capture_output=True, text=True, check=True)
    return [message for message in map(json.loads, done.stdout.splitlines()) if message["type"] in {"SPEC", "CATALOG"}]


def main() -> None:
    path = RELEASES / f"{version('airbyte-source-liquidations')}.json"
    name = path.relative_to(ROOT)
    if path.exists():
        sys.exit(f"{name} exists. Once released, it never changes; delete it only if that version is not released yet.")
    path.write_text(json.dumps(promises(), indent=1, sort_keys=True) + "\n")
    print(f"written: {name}")


if __name__ == "__main__":
    main()
