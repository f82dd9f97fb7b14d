"""Into JSON lines, with airbyte-serverless, which runs a connector without a platform. Run it again, and it goes on.

    python examples/serverless.py config.json folder

airbyte-serverless itself writes to BigQuery or to the terminal; a destination of one's own is the small class below.
`make setup-demo` installs what it needs into .venv-demo. `python -m sandbox --config config.json` serves simulated
vendors and writes a configuration to try it with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airbyte_serverless.destinations import BaseDestination
from airbyte_serverless.sources import Source


class JsonLines(BaseDestination):  # type: ignore[misc]
    """One file for each stream, and one each for states and logs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get_state(self) -> list[dict[str, Any]]:
        """The last state of each stream."""
        states: dict[str, dict[str, Any]] = {}
        for line in self._lines("_airbyte_states"):
            state = json.loads(line["_airbyte_data"])
            states[state["stream"]["stream_descriptor"]["name"]] = state
        return list(states.values())

    def rows(self, stream: str) -> int:
        return len(self._lines(f"_airbyte_raw_{stream}"))

    def _write(self, record_type: str, records: list[dict[str, Any]]) -> None:
        with (self._folder / f"{record_type}.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def _lines(self, record_type: str) -> list[dict[str, Any]]:
        file = self._folder / f"{record_type}.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def main(config: Path, folder: Path) -> None:
    source = Source(
        executable=str(Path(sys.executable).with_name("source-liquidations")),
        config=json.loads(config.read_text("utf-8")),
        streams="liquidations",
    )
    status = source.connection_status
    if status["status"] != "SUCCEEDED":
        sys.exit(status["message"])
    destination = JsonLines(folder)
    before = destination.rows("liquidations")
    destination.load(source.extract(state=destination.get_state()))
    print(f"{destination.rows('liquidations') - before} rows written, {destination.rows('liquidations')} in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
