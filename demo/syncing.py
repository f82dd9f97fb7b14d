"""Runs this connector with PyAirbyte, with a DuckDB file as the destination."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from demo.accounts import Account, Accounts

CONNECTOR = "source-liquidations"
SECONDS_BETWEEN_PROGRESS = 2.0

Say = Callable[[str], None]


class SyncFailed(Exception):
    """A command of the connector failed; the message is the connector's own."""


class Syncing:
    """check, discover and read with one configuration, into one file. PyAirbyte's own output goes to a log."""

    def __init__(self, config: Mapping[str, Any], output: Path, say: Say) -> None:
        self._say = say
        self._config = dict(config)
        self._output = output
        self.log = output / "pyairbyte.log"
        self.database = output / "demo.duckdb"
        for old in (self.log, self.database, output / "demo.duckdb.wal"):
            old.unlink(missing_ok=True)
        with self._quiet():
            self._airbyte = _import_airbyte(output)
            self._source = self._airbyte.get_source(
                CONNECTOR, config=dict(config), local_executable=Path(sys.executable).with_name(CONNECTOR)
            )
            self._cache = self._airbyte.DuckDBCache(db_path=self.database)
        self._accounts = Accounts(say)
        logging.getLogger(f"airbyte.{CONNECTOR}").addHandler(self._accounts)

    @property
    def version(self) -> str:
        """PyAirbyte's version."""
        return str(self._airbyte.version.get_version())

    def check(self) -> None:
        with self._quiet(), self._failures():
            self._source.check()

    def discover(self) -> list[str]:
        with self._quiet(), self._failures():
            return list(self._source.get_available_streams())

    def estimate(self) -> list[dict[str, Any]]:
        """The cost of the first sync, from the command `estimate`, which PyAirbyte does not have."""
        config, program = self._output / "config.json", Path(sys.executable).with_name(CONNECTOR)
        config.write_text(json.dumps(self._config))
        command = [str(program), "estimate", "--config", str(config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SyncFailed(done.stderr.strip())
        estimates: list[dict[str, Any]] = json.loads(done.stdout)["estimates"]
        return estimates

    def select(self, streams: list[str]) -> None:
        with self._quiet(), self._failures():
            self._source.select_streams(streams)

    def read(self, requests: Callable[[], int | None]) -> dict[str, Account]:
        """One sync, incremental for each stream with a state in the file. Reports its progress."""
        self._accounts.restart()
        selected = len(self._source.get_selected_streams())

        def progress() -> None:
            if len(self._accounts.ended) == selected:
                self._say("…          PyAirbyte is loading the rows into DuckDB")
            elif sent := requests():
                self._say(f"…          {sent:,} requests so far")
            else:
                self._say("…          the connector is reading")

        with self._quiet(), self._failures(), _repeating(progress):
            self._source.read(cache=self._cache)
        return self._accounts.ended

    @property
    def report(self) -> list[dict[str, Any]]:
        """The connector's report of the last sync."""
        return self._accounts.report

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query on the file."""
        return [dict(row) for row in self._cache.run_sql_query(sql)]

    def rows(self, stream: str) -> int:
        """The number of rows in the stream's table."""
        return int(self.query(f'SELECT count(*) AS rows FROM main."{stream}"')[0]["rows"])

    def close(self) -> None:
        """Close the file, so that others can open it."""
        self._cache.close()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        with self.log.open("a") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
            yield

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except self._airbyte.exceptions.AirbyteConnectorCheckFailedError as error:
            reason = (error.context or {}).get("failure_reason")
            raise SyncFailed(reason or self._last_error(error)) from None
        except self._airbyte.exceptions.PyAirbyteError as error:
            raise SyncFailed(self._last_error(error)) from None

    def _last_error(self, error: Exception) -> str:
        return self._accounts.errors[-1] if self._accounts.errors else str(error)


def _import_airbyte(output: Path) -> Any:
    os.environ["AIRBYTE_OFFLINE_MODE"] = "1"  # otherwise it requests a connector registry even for a local executable
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["NO_LIVE_PROGRESS"] = "1"
    os.environ["AIRBYTE_LOGGING_ROOT"] = str(output.absolute() / "logs")
    os.environ["AIRBYTE_CACHE_ROOT"] = str(output.absolute() / "cache")
    import airbyte
    import airbyte.version

    return airbyte


@contextlib.contextmanager
def _repeating(action: Callable[[], None]) -> Iterator[None]:
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(SECONDS_BETWEEN_PROGRESS):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
