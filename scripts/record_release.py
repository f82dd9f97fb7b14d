"""Records a release's specification and catalog, with which the next release must be compatible.

    .venv/bin/python scripts/record_release.py

Run it for every release; integration_tests/test_compatibility.py compares each release with the previous one.
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
    """The specification and the streams of the present code. It sends no request."""
    (spec,) = _messages("spec")
    (discovered,) = _messages("discover", "--config", str(CONFIG))
    streams = {stream["name"]: stream for stream in discovered["catalog"]["streams"]}
    return {"spec": spec["spec"]["connectionSpecification"], "streams": streams}


def _messages(*command: str) -> list[dict[str, Any]]:
    program = str(Path(sys.executable).with_name("source-liquidations"))
    done = subprocess.run([program, *command], capture_output=True, text=True, check=True)
    return [message for message in map(json.loads, done.stdout.splitlines()) if message["type"] in {"SPEC", "CATALOG"}]


def main() -> None:
    path = RELEASES / f"{version('airbyte-source-liquidations')}.json"
    name = path.relative_to(ROOT)
    if path.exists():
        sys.exit(f"{name} exists. A released file never changes; delete it only if that version is not yet released.")
    path.write_text(json.dumps(promises(), indent=1, sort_keys=True) + "\n")
    print(f"written: {name}")


if __name__ == "__main__":
    main()
