"""Reads liquidations into a DuckDB file, fast, and into Parquet files if you like. Run it again to continue.

    python examples/duckdb_lane.py config.json liquidations.duckdb --parquet lake

It needs this connector and `duckdb`, nothing else. Each stream becomes a table with the types of its schema. A row
replaces the row with the same primary key. Rows and the state that covers them are committed in one transaction, so
after a crash or `kill -9` the next run continues from the last commit: nothing is lost and nothing is repeated.

Besides the columns of the schema, each table has

  _emitted_at   when the connector wrote the row
  _record       the record as JSON if the columns cannot hold all of it: undocumented fields, nested objects, a value
                that does not have the documented type (its column is then NULL); else NULL
  _key          a digest of the primary key

Numbers are DOUBLE if the schema says number, and text if the vendor sends text. TIMESTAMPTZ columns have microseconds;
`time_ns` and `liquidated_at_ns` have nanoseconds.

Exit code: that of `source-liquidations read`; 1 if that is 0 but a stream is not complete.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

RECORD = b'{"type":"RECORD","record":{"stream":"'
BATCH_BYTES = 96 * 2**20  # of records; the next batch is read while one is stored
BATCH_SECONDS = 2.0
OWN_COLUMNS = {"_emitted_at": "TIMESTAMPTZ", "_record": "JSON", "_key": "UHUGEINT"}


class Failed(Exception):
    """The message says why, in one line."""


# Messages of the source


@dataclass
class Batch:
    """Records by stream, as lines, and the last state of each stream among or before them."""

    records: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, str] = field(default_factory=dict)
    size: int = 0


class Reading(threading.Thread):
    """Runs `source-liquidations read` and collects its output. Records are not parsed, all other messages are."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(daemon=True)
        self.statuses: dict[str, str] = {}
        self.errors: list[str] = []
        self.with_more_fields: set[str] = set()  # streams that have undocumented fields
        self._batch = Batch()
        self._ended = False
        self._changed = threading.Condition()
        # In its own session, so that Ctrl-C reaches the source only once, through `stop`.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, pipesize=2**20, start_new_session=True)
        self.start()

    def stop(self, *_: object) -> None:
        """Ask the source to end. It writes a last state of each stream first."""
        self.process.terminate()

    def next(self) -> Batch | None:
        """The batch collected so far; None after the last one."""
        deadline = time.monotonic() + BATCH_SECONDS
        with self._changed:
            while not self._ended and self._batch.size < BATCH_BYTES and time.monotonic() < deadline:
                self._changed.wait(max(0.0, deadline - time.monotonic()))
            batch, self._batch = self._batch, Batch()
            self._changed.notify()
            return None if self._ended and not batch.records and not batch.states else batch

    def run(self) -> None:
        assert self.process.stdout is not None
        rest = b""  # a line that a kill cut off is never stored; the next run reads it again
        try:
            while block := os.read(self.process.stdout.fileno(), 2**20):
                *lines, rest = (rest + block).split(b"\n")
                with self._changed:
                    for line in lines:
                        self._take(line)
                    if self._batch.size >= BATCH_BYTES:
                        self._changed.notify()
                        self._changed.wait_for(lambda: self._batch.size < BATCH_BYTES)
        finally:  # even if a line is not a message: records before it are stored, and the source ends
            self.process.stdout.close()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _take(self, line: bytes) -> None:
        if line.startswith(RECORD):
            stream = line[len(RECORD) : line.index(b'"', len(RECORD))].decode()
            self._batch.records[stream].append(line)
            self._batch.size += len(line)
        elif line:
            self._message(json.loads(line), line.decode())

    def _message(self, message: dict[str, Any], line: str) -> None:
        if message["type"] == "STATE":
            self._batch.states[message["state"]["stream"]["stream_descriptor"]["name"]] = line
        elif message["type"] == "TRACE" and "stream_status" in message["trace"]:
            status = message["trace"]["stream_status"]
            self.statuses[status["stream_descriptor"]["name"]] = status["status"]
        elif message["type"] == "TRACE" and "error" in message["trace"]:
            self.errors.append(message["trace"]["error"]["message"])
        elif message["type"] == "LOG" and message["log"]["level"] in {"WARN", "ERROR", "FATAL"}:
            text = message["log"]["message"]
            stream, undocumented, _ = text.partition(": undocumented fields")  # logged before the first such record
            if undocumented:
                self.with_more_fields.add(stream)
            print(text, file=sys.stderr)


# Tables


def shape_of(schema: Mapping[str, Any]) -> Any:
    """A JSON schema as the types that DuckDB's `from_json` accepts."""
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next(name for name in kinds if name != "null")
    if kind == "array":
        return [shape_of(schema.get("items", {}))]
    if kind == "object":
        return {name: shape_of(inner) for name, inner in schema.get("properties", {}).items()} or "JSON"
    if kind == "string":
        return {"date-time": "TIMESTAMPTZ", "date": "DATE"}.get(schema.get("format", ""), "VARCHAR")
    return {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}[kind]


def type_of(shape: Any) -> str:
    """The shape as the SQL type of a column."""
    if isinstance(shape, list):
        return f"{type_of(shape[0])}[]"
    if isinstance(shape, dict):
        return f"STRUCT({', '.join(f'{quoted(name)} {type_of(inner)}' for name, inner in shape.items())})"
    return str(shape)


def has_objects(shape: Any) -> bool:
    return isinstance(shape, dict) or (isinstance(shape, list) and has_objects(shape[0]))


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class Table:
    """A stream's table."""

    def __init__(self, stream: Mapping[str, Any]) -> None:
        self.name: str = stream["name"]
        self.sql = quoted(self.name)
        self.shape = shape_of(stream["json_schema"])
        self.is_list = "incremental" not in stream["supported_sync_modes"]
        cursor = stream.get("default_cursor_field")
        self.cursor = quoted(cursor[0]) if cursor else None
        keys = [quoted(path[0]) for path in stream["source_defined_primary_key"]]
        self.key = f"md5_number(concat_ws(chr(31), {', '.join(f'coalesce({key}::VARCHAR, chr(30))' for key in keys)}))"
        # The source does not log undocumented fields of nested objects, so records with nested objects are kept whole.
        self.nested = any(has_objects(inner) for inner in self.shape.values())

    def create(self, database: duckdb.DuckDBPyConnection) -> None:
        columns = {quoted(name): type_of(shape) for name, shape in self.shape.items()} | OWN_COLUMNS
        database.execute(f"CREATE TABLE IF NOT EXISTS {self.sql} ({', '.join(map(' '.join, columns.items()))})")
        for name, kind in columns.items():  # a newer version of the connector may have more
            database.execute(f"ALTER TABLE {self.sql} ADD COLUMN IF NOT EXISTS {name} {kind}")

    def load(self, database: duckdb.DuckDBPyConnection, lines: list[bytes], file: Path, *, all_fields: bool) -> str:
        """Put the last record of each primary key into a temporary table, and return the table's name."""
        file.write_bytes(b"\n".join(lines) + b"\n")
        try:
            if all_fields or self.nested:
                return self._load(database, file, "JSON", f"from_json(data, {text(json.dumps(self.shape))})", "data")
            return self._load(database, file, type_of(self.shape), "data", "NULL::JSON")
        except duckdb.InvalidInputException as error:  # a value that its column cannot hold
            if all_fields or self.nested:
                raise
            print(f"{self.name}: {str(error).splitlines()[0]} It is in the column _record.", file=sys.stderr)
            return self.load(database, lines, file, all_fields=True)

    def _load(self, database: duckdb.DuckDBPyConnection, file: Path, kind: str, row: str, record: str) -> str:
        batch = quoted(f"batch of {self.name}")
        columns = "{record: " + text(f"STRUCT(emitted_at BIGINT, data {kind})") + "}"
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {batch} AS SELECT *, {self.key} AS _key FROM ("
            f"SELECT unnest({row}), make_timestamp(emitted_at * 1000)::TIMESTAMPTZ AS _emitted_at, {record} AS _record "
            "FROM (SELECT unnest(record) FROM "
            f"read_json({text(str(file))}, format = 'newline_delimited', columns = {columns})))"
        )
        database.execute(f"DELETE FROM {batch} WHERE rowid NOT IN (SELECT max(rowid) FROM {batch} GROUP BY _key)")
        return batch


class Lane:
    """The database, and the tables of the streams that are read."""

    def __init__(self, path: Path, tables: Iterable[Table]) -> None:
        try:
            self.database = duckdb.connect(str(path))
        except duckdb.Error as error:
            raise Failed(f"{path}: {str(error).splitlines()[0]}") from None
        self.tables = {table.name: table for table in tables}
        self.rows: dict[str, int] = defaultdict(int)
        self.newest: dict[str, datetime] = {}
        # Only one process at a time can open the database, so no other one uses this folder.
        self.folder = path.with_name(f"{path.name}.lane")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.database.execute("SET TimeZone = 'UTC'")
        # A commit is durable in the log. Moving the log into the file after each commit would dominate the run time.
        self.database.execute("SET checkpoint_threshold = '1GB'")
        self.database.execute("CREATE TABLE IF NOT EXISTS _lane_state (stream VARCHAR, state VARCHAR)")
        for table in self.tables.values():
            table.create(self.database)

    def state_file(self) -> Path:
        """Write the last committed states to a file, in the source's format."""
        states = self.database.execute("SELECT stream, state FROM _lane_state").fetchall()
        file = self.folder / "state.jsonl"
        file.write_text("".join(f"{state}\n" for stream, state in states if stream in self.tables), "utf-8")
        return file

    def store(self, batch: Batch, with_more_fields: set[str]) -> None:
        """Upsert a batch, and save its states, in one transaction."""
        loaded = {}
        for name, lines in batch.records.items():
            file = self.folder / "batch.jsonl"
            loaded[name] = self.tables[name].load(self.database, lines, file, all_fields=name in with_more_fields)
        self.database.execute("BEGIN")
        for name, rows in loaded.items():
            table = self.tables[name].sql
            self.database.execute(f"DELETE FROM {table} USING {rows} WHERE {table}._key = {rows}._key")
            self.database.execute(f"INSERT INTO {table} BY NAME FROM {rows}")
        for name, state in batch.states.items():
            self.database.execute("DELETE FROM _lane_state WHERE stream = ?", [name])
            self.database.execute("INSERT INTO _lane_state VALUES (?, ?)", [name, state])
        self.database.execute("COMMIT")
        for name, rows in loaded.items():
            self.rows[name] += len(batch.records[name])
            if cursor := self.tables[name].cursor:
                self.newest[name] = self._value(f"SELECT max({cursor}) FROM {rows}")
            self.database.execute(f"DROP TABLE {rows}")

    def drop_old_entries(self, name: str, since: int) -> None:
        """Delete entries that a list no longer has, after a complete read. Coverage keeps what earlier syncs found."""
        if self.tables[name].is_list and name != "liquidation_coverage":
            self.database.execute(f"DELETE FROM {self.tables[name].sql} WHERE epoch_ms(_emitted_at) < {since}")

    def count(self, name: str) -> int:
        return int(self._value(f"SELECT count(*) FROM {self.tables[name].sql}"))

    def export(self, folder: Path) -> int:
        """Write a Parquet file for each changed day of a stream, and one for each list. Return their number.

        A file's modification time is the newest `_emitted_at` in it.
        """
        written = 0
        for name, table in self.tables.items():
            day = f"{table.cursor}::DATE" if table.cursor else "NULL::DATE"
            query = f"SELECT {day}, epoch_ms(max(_emitted_at)) * 1000000 FROM {table.sql} GROUP BY 1 ORDER BY 1"
            for value, newest in self.database.execute(query).fetchall():
                file = folder / name / (f"day={value}/data.parquet" if value else "data.parquet")
                if not table.is_list and file.exists() and file.stat().st_mtime_ns == newest:
                    continue
                self._write(table, value, file, newest)
                written += 1
        return written

    def _write(self, table: Table, day: date | None, file: Path, newest: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        where = f"WHERE {table.cursor} >= DATE '{day}' AND {table.cursor} < DATE '{day}' + 1" if day else ""
        rows = f"SELECT * EXCLUDE (_key) FROM {table.sql} {where} ORDER BY {table.cursor or '_key'}, _key"
        self.database.execute(f"COPY ({rows}) TO {text(str(part))} (FORMAT parquet)")
        os.utime(part, ns=(newest, newest))
        part.replace(file)

    def _value(self, query: str) -> Any:
        row = self.database.execute(query).fetchone()
        assert row is not None
        return row[0]

    def close(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# One sync


def program() -> str:
    """The connector in the directory of this interpreter, else the one on the PATH."""
    beside = Path(sys.executable).with_name("source-liquidations")
    path = str(beside) if beside.exists() else shutil.which("source-liquidations")
    if path is None:
        raise Failed("source-liquidations is not installed: run `pip install .` in its repository.")
    return path


def discovered(source: str, config: Path, names: str | None) -> tuple[str, list[Table]]:
    """The output of `discover`, and the tables of the chosen streams. Raises Failed."""
    command = [source, "discover", "--config", str(config)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
    except OSError as error:
        raise Failed(f"{source}: {error.strerror}") from None
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [message["trace"]["error"]["message"] for message in messages if message["type"] == "TRACE"]
    if done.returncode:
        raise Failed(errors[-1] if errors else f"discover ended with exit code {done.returncode}")
    (catalog,) = [message["catalog"] for message in messages if message["type"] == "CATALOG"]
    streams = {stream["name"]: stream for stream in catalog["streams"]}
    chosen = [name.strip() for name in names.split(",")] if names else list(streams)
    for name in chosen:
        if name not in streams:
            raise Failed(f"--streams: {name} is not a stream of this configuration. Available: {', '.join(streams)}.")
    return done.stdout, [Table(streams[name]) for name in dict.fromkeys(chosen)]


def sync(source: str, config: Path, lane: Lane, catalog: str) -> tuple[int, dict[str, str]]:
    """Read and store. Returns the exit code and the status of each stream."""
    file = lane.folder / "catalog.jsonl"
    file.write_text(catalog, "utf-8")
    began, began_ms = time.monotonic(), time.time_ns() // 10**6
    command = [source, "read", "--config", str(config), "--catalog", str(file)]
    reading = Reading([*command, "--state", str(lane.state_file()), "--streams", ",".join(lane.tables)])
    signal.signal(signal.SIGTERM, reading.stop)
    signal.signal(signal.SIGINT, reading.stop)
    try:
        while (batch := reading.next()) is not None:
            lane.store(batch, reading.with_more_fields)
            if batch.records:
                total, name = sum(lane.rows.values()), list(batch.records)[-1]
                at = f", {name} at {lane.newest[name]:%Y-%m-%d %H:%M:%S}" if name in lane.newest else ""
                print(f"{total:,} rows, {total / (time.monotonic() - began):,.0f} rows/s{at}", file=sys.stderr)
    except BaseException:
        reading.process.kill()
        raise
    code = reading.process.wait()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 128 - code if code < 0 else code
    statuses = {name: reading.statuses.get(name, "NOT STARTED") for name in lane.tables}
    incomplete = [name for name, status in statuses.items() if status != "COMPLETE"]
    for name in statuses.keys() - incomplete:
        lane.drop_old_entries(name, began_ms)
    for error in reading.errors:
        print(error, file=sys.stderr)
    if incomplete:
        print(f"Not complete: {', '.join(incomplete)}. The next run continues them.", file=sys.stderr)
    return code or (1 if incomplete else 0), statuses


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="the configuration of the connector, a JSON file")
    parser.add_argument("database", type=Path, help="the DuckDB file; it is created if it does not exist")
    parser.add_argument("--streams", help="names of streams, joined by commas; without it, all streams")
    parser.add_argument("--source", metavar="PROGRAM", help="the connector, if it is not beside this Python")
    parser.add_argument("--parquet", type=Path, metavar="FOLDER", help="also write FOLDER/stream/day=…/data.parquet")
    args = parser.parse_args(arguments)
    try:
        source = args.source or program()
        catalog, tables = discovered(source, args.config, args.streams)
        lane = Lane(args.database, tables)
        try:
            code, statuses = sync(source, args.config, lane, catalog)
            files = lane.export(args.parquet) if args.parquet else None
            for name, status in statuses.items():
                print(f"{name}: {lane.rows[name]:,} rows read, {lane.count(name):,} rows in all, {status.lower()}")
        finally:
            lane.close()
    except (Failed, OSError, duckdb.Error) as error:  # committed rows and states are safe
        print(error, file=sys.stderr)
        return 1
    if files is not None:
        print(f"{args.parquet}: {files:,} files written")
    return code


if __name__ == "__main__":
    sys.exit(main())
