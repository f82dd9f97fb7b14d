"""Into JSON lines, with airbyte-serverless, which runs a connector without a platform. Run it again to continue.

    python examples/serverless.py config.json folder

airbyte-serverless itself writes to BigQuery or to the terminal; the small class below is another destination. It also
ignores the source's exit code and stream statuses, so a killed source looks like a finished one. This script checks
both. If streams are not complete, it names them and exits with 1; the next run continues them.
`make setup-demo` installs what it needs into .venv-demo. `python -m sandbox --config config.json` simulates the vendors
and writes a configuration to try it with.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from airbyte_serverless.destinations import BaseDestination
from airbyte_serverless.sources import AirbyteSourceException, Source

STREAMS = ("liquidations",)


class JsonLines(BaseDestination):  # type: ignore[misc]
    """One file for each stream, and one each for states and logs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.jsonl"):  # remove a last line that a kill cut off: the next one would be added to it
            os.truncate(file, file.read_bytes().rfind(b"\n") + 1)

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


class Checked:
    """The messages of a read, and how the source ended, which airbyte-serverless ignores."""

    def __init__(self, exit_code: Path) -> None:
        self._exit_code = exit_code
        self.statuses = dict.fromkeys(STREAMS, "NOT STARTED")
        self.error = ""

    def messages(self, extracted: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            for message in extracted:
                if status := message.get("trace", {}).get("stream_status"):
                    self.statuses[status["stream_descriptor"]["name"]] = status["status"]
                yield message
        except AirbyteSourceException as failed:  # at the first stream that fails
            self.error = json.loads(str(failed))["message"]

    def problem(self) -> str:
        """What is not complete, and why; empty if everything is."""
        incomplete = [name for name, status in self.statuses.items() if status != "COMPLETE"]
        code = self._exit_code.read_text().strip() if self._exit_code.exists() else "none yet"
        if not incomplete and not self.error and code == "0":
            return ""
        return f"Not complete: {', '.join(incomplete) or 'none'}. Exit code of the source: {code}. {self.error}".strip()


def main(config: Path, folder: Path) -> None:
    destination = JsonLines(folder)
    exit_code = folder / "exit_code"
    exit_code.unlink(missing_ok=True)
    program = Path(sys.executable).with_name("source-liquidations")
    # airbyte-serverless runs this in a shell and appends the command and its options.
    executable = shlex.join(["sh", "-c", f'"$0" "$@"; echo "$?" >{shlex.quote(str(exit_code))}', str(program)])
    source = Source(executable=executable, config=json.loads(config.read_text("utf-8")), streams=",".join(STREAMS))
    status = source.connection_status
    if status["status"] != "SUCCEEDED":
        sys.exit(status["message"])
    before = destination.rows("liquidations")
    checked = Checked(exit_code)
    extracted = source.extract(state=destination.get_state())
    destination.load(checked.messages(extracted))
    print(f"{destination.rows('liquidations') - before} rows written, {destination.rows('liquidations')} in all")
    if problem := checked.problem():
        sys.exit(problem)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
