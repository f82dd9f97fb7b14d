"""A small Airbyte destination: a SQLite file with one table for each stream, a row for each primary key.

    python examples/destination_sqlite.py write --config destination.json --catalog catalog.json

where destination.json is {"path": "liquidations.sqlite"}. It is built on the destination side of Airbyte's CDK, which
comes with the connector and parses every message; examples/pipe.sh puts the connector in front of it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from airbyte_cdk.destinations import Destination
from airbyte_cdk.models import (
    AirbyteConnectionStatus,
    AirbyteMessage,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    Status,
    Type,
)

ROWS_HELD = 10_000
SPEC = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["path"],
    "properties": {"path": {"type": "string", "description": "The SQLite file, made if it is not there."}},
}


class DestinationSqlite(Destination):
    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        return ConnectorSpecification(connectionSpecification=SPEC)

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        try:
            sqlite3.connect(config["path"]).execute("SELECT 1")
        except sqlite3.Error as error:
            return AirbyteConnectionStatus(status=Status.FAILED, message=str(error))
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def write(
        self,
        config: Mapping[str, Any],
        configured_catalog: ConfiguredAirbyteCatalog,
        input_messages: Iterable[AirbyteMessage],
    ) -> Iterable[AirbyteMessage]:
        """Upsert the records. A state goes out only after everything before it is stored."""
        keys: dict[str, list[str]] = {}
        held: list[tuple[str, str, str]] = []
        database = sqlite3.connect(config["path"])
        for configured in configured_catalog.streams:
            stream = configured.stream
            keys[stream.name] = [path[0] for path in stream.source_defined_primary_key or []]
            database.execute(f'CREATE TABLE IF NOT EXISTS "{stream.name}" (key TEXT PRIMARY KEY, data TEXT)')
        for message in input_messages:
            if message.type == Type.RECORD and message.record is not None:
                data = message.record.data
                key = json.dumps([data[field] for field in keys[message.record.stream]])
                held.append((message.record.stream, key, json.dumps(data)))
                if len(held) >= ROWS_HELD:
                    _store(database, held)
            elif message.type == Type.STATE:
                _store(database, held)
                yield message
        _store(database, held)
        database.close()


def _store(database: sqlite3.Connection, held: list[tuple[str, str, str]]) -> None:
    with database:
        for stream, key, data in held:
            database.execute(f'INSERT OR REPLACE INTO "{stream}" VALUES (?, ?)', (key, data))
    held.clear()


if __name__ == "__main__":
    DestinationSqlite().run(sys.argv[1:])
