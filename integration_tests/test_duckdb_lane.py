"""`examples/duckdb_lane.py`: whole after any kill, equal to its Parquet files, honest about failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tools import ROOT, TIMEOUT, python_with, run

from sandbox import Sandbox
from source_liquidations.logs import logger
from source_liquidations.source import SourceLiquidations

START, MIDDLE, END = "2026-02-27T00:00:00Z", "2026-02-28T06:00:00Z", "2026-03-01T00:00:00Z"
LANE = "examples/duckdb_lane.py"
Row = list[Any]
Command = Callable[[str], list[str]]  # kill → what to run

# The lane with small batches. It kills itself before (or after) the nth statement that starts with the given words.
RUN = """
import os, signal, sys
sys.path.insert(0, "examples")
import duckdb_lane, duckdb

class Database:
    def __init__(self, path):
        self.real, self.left = duckdb_connect(path), int(number)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def execute(self, statement, *parameters):
        matches = words and statement.startswith(words)
        self.left -= bool(matches)
        if matches and not self.left and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = self.real.execute(statement, *parameters)
        if matches and not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

when, words, number = sys.argv.pop(1).split(":")
duckdb_connect, duckdb.connect = duckdb.connect, Database
duckdb_lane.BATCH_BYTES, duckdb_lane.BATCH_SECONDS = 100_000, 0.5
sys.exit(duckdb_lane.main())
"""
# The results of queries on databases and Parquet files, as JSON.
QUERY = """
import json, sys
import duckdb

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
for number, path in enumerate(sys.argv[2:]):
    connection.execute(f"ATTACH '{path}' AS {'ab'[number]} (READ_ONLY)")
json.dump([connection.execute(query).fetchall() for query in json.loads(sys.argv[1])], sys.stdout, default=str)
"""
KILLS = (
    "after:INSERT INTO _lane_state:1",
    "before:COMMIT:3",
    "after:COMMIT:4",
    "after:DROP TABLE:30",
    "before:COPY:6",
    "after:COPY:9",
)


@dataclass(frozen=True)
class Streams:
    """All of them: their names, and those that are lists."""

    names: list[str]
    lists: list[str]


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("duckdb", ".venv-demo", "setup-demo")


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with Sandbox(seed=1, now="2026-03-01T12:30:00Z", rows_per_day=300, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(vendors: Sandbox) -> Iterator[Sandbox]:
    vendors.clear()
    yield vendors
    vendors.clear()


def write_config(path: Path, sandbox: Sandbox, end: str = END, **sections: dict[str, Any]) -> Path:
    """All vendors that both the connector and the sandbox know, without waiting for their rate limits."""
    known = SourceLiquidations().spec(logger).connectionSpecification["properties"]
    config = sandbox.config(START, [name for name in sandbox.app.vendors if name in known], end_date=end)
    for name in ("kwery", "kiyotaka", "bitfinex", "gate", "coinalyze"):
        config[name]["requests_per_minute"] = 6_000
    for name, fields in sections.items():
        config[name] |= fields
    path.write_text(json.dumps(config), "utf-8")
    return path


def lane(command: Command, *arguments: str | Path, kill: str = "before::0") -> subprocess.CompletedProcess[str]:
    return run(*command(kill), *arguments, SOURCE_LIQUIDATIONS_PATIENCE="0.1")


def query(python: Path, queries: Sequence[str], *databases: Path) -> list[list[Row]]:
    done = run(python, "-c", QUERY, json.dumps(queries), *databases)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[list[Row]] = json.loads(done.stdout)
    return found


def rows_read(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """By stream, what the summary says."""
    found = re.findall(r"^(\w+): ([\d,]+) rows read, ", done.stdout, re.M)
    return {name: int(number.replace(",", "")) for name, number in found}


def same_tables(python: Path, streams: Streams, left: Path, right: Path) -> None:
    """Assert equal rows, except for the time of writing and rows seen by a single sync: they depend on the clock."""
    queries = []
    for name in streams.names:
        seen = "WHERE source <> 'seen by this sync'" if name == "liquidation_coverage" else ""
        queries.append(
            differences(name, *(f"SELECT * EXCLUDE (_emitted_at) FROM {side}.{name} {seen}" for side in "ab"))
        )
    assert [row for ((*row,),) in query(python, queries, left, right) if row[1:] != [0, 0]] == []


def differences(name: str, one: str, other: str) -> str:
    """A query that returns 0, 0 if both have the same rows equally often: the same number, and none in only one."""
    more = f"(SELECT count(*) FROM ({one})) - (SELECT count(*) FROM ({other}))"
    return f"SELECT '{name}', {more}, (SELECT count(*) FROM ({one} EXCEPT ALL {other}))"


def same_files(python: Path, streams: Streams, database: Path, lake: Path) -> None:
    """Assert that the Parquet files have the tables' rows, each day in its folder, and no other files."""
    queries = []
    for name in streams.names:
        table = f"SELECT * EXCLUDE (_key) FROM a.{name}"
        files = f"SELECT * FROM read_parquet('{lake}/{name}/**/*.parquet', hive_partitioning = false)"
        if any((lake / name).rglob("*.parquet")):
            queries.append(differences(name, table, files))
        else:
            queries.append(f"SELECT '{name}', count(*), 0 FROM a.{name}")
    assert any(lake.rglob("*.parquet"))
    assert [row for ((*row,),) in query(python, queries, database) if row[1:] != [0, 0]] == []
    assert {path.name for path in lake.rglob("*") if path.is_file()} == {"data.parquet"}


@pytest.fixture(scope="module")
def streams(vendors: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Streams:
    config = write_config(tmp_path_factory.mktemp("discover") / "config.json", vendors)
    found = SourceLiquidations().discover(logger, json.loads(config.read_text())).streams
    lists = [stream.name for stream in found if len(stream.supported_sync_modes) == 1]
    return Streams([stream.name for stream in found], lists)


@pytest.fixture(scope="module")
def command(python: Path, vendors: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command of `RUN`. Its source has the result of discover in a file, because it never changes."""
    folder = tmp_path_factory.mktemp("source")
    connector, source, catalog = python.with_name("source-liquidations"), folder / "source", folder / "catalog.jsonl"
    discovered = run(connector, "discover", "--config", write_config(folder / "config.json", vendors))
    assert discovered.returncode == 0, discovered.stdout + discovered.stderr
    catalog.write_text(discovered.stdout, "utf-8")
    source.write_text(f'#!/bin/sh\n[ "$1" = discover ] && exec cat {catalog}\nexec {connector} "$@"\n')
    source.chmod(0o755)
    return lambda kill: [str(python), "-c", RUN, kill, "--source", str(source)]


@pytest.fixture(scope="module")
def whole(python: Path, vendors: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of one run; its output and its Parquet files are next to it."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_config(folder / "config.json", vendors)
    done = run(python, LANE, config, folder / "whole.duckdb", "--parquet", folder / "lake")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    return folder / "whole.duckdb"


def test_all_streams_of_all_vendors(python: Path, streams: Streams, sandbox: Sandbox, whole: Path) -> None:
    summary = whole.with_name("out").read_text()
    assert re.findall(r"^(\w+): .*, complete$", summary, re.M) == streams.names
    counts = query(python, [f"SELECT count(*) FROM a.{name}" for name in streams.names], whole)
    for name, ((count,),) in zip(streams.names, counts, strict=True):
        assert f"{name}: {count:,} rows read, {count:,} rows in all, complete" in summary
    assert sum(bool(rows[0][0]) for rows in counts) > len(streams.names) / 2
    assert re.search(r"^[\d,]+ rows, [\d,]+ rows/s", whole.with_name("err").read_text(), re.M)
    instruments = json.loads(whole.with_name("config.json").read_text())["kaiko"]["instruments"]
    ((total,),) = query(python, ["SELECT count(*) FROM a.kaiko_liquidation_events"], whole)
    assert total == [sum(len(sandbox.expected("kaiko", name, START, END)) for name in instruments)]


def test_types_are_those_of_the_schemas(python: Path, whole: Path) -> None:
    described = "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = 'a' AND table_name = '{}'"
    names = ("liquidations", "coin_metrics_market_liquidations", "kaiko_token_liquidation_volumes")
    found = [dict(map(tuple, rows)) for rows in query(python, [described.format(name) for name in names], whole)]
    assert found[0]["liquidated_at"] == "TIMESTAMP WITH TIME ZONE"
    assert found[0]["liquidated_at_ns"] == "BIGINT"
    assert found[0]["notional_usd"] == "DOUBLE"
    assert found[1]["amount"] == "VARCHAR"
    assert found[2]["exchanges"].startswith("STRUCT(exchange VARCHAR")
    assert found[2]["exchanges"].endswith("[]")
    same = "SELECT count(*), sum((epoch_ns(liquidated_at) // 1000 = liquidated_at_ns // 1000)::INT) FROM a.liquidations"
    (((count, equal),),) = query(python, [same], whole)
    assert count == equal > 0


def test_parquet_files_hold_the_tables(python: Path, streams: Streams, whole: Path) -> None:
    lake = whole.with_name("lake")
    same_files(python, streams, whole, lake)
    days = {path.parent.name for path in (lake / "liquidations").rglob("*.parquet")}
    assert days == {"day=2026-02-27", "day=2026-02-28"}
    day = f"read_parquet('{lake}/liquidations/day=2026-02-27/data.parquet', hive_partitioning = false)"
    ((row,),) = query(python, [f"SELECT min(liquidated_at)::DATE, max(liquidated_at)::DATE FROM {day}"])
    assert row == ["2026-02-27", "2026-02-27"]


def test_the_next_run_adds_what_is_new(
    python: Path, command: Command, streams: Streams, sandbox: Sandbox, whole: Path, tmp_path: Path
) -> None:
    database, lake = tmp_path / "rows.duckdb", tmp_path / "lake"
    first = lane(command, write_config(tmp_path / "config.json", sandbox, MIDDLE), database, "--parquet", lake)
    assert first.returncode == 0, first.stdout + first.stderr
    old = {path: path.stat().st_mtime_ns for path in (lake / "liquidations").glob("day=2026-02-27/*")}
    assert old
    stale = 'import duckdb, sys; duckdb.connect(sys.argv[1]).execute("INSERT INTO kaiko_exchanges (code, _emitted_at)'
    run(python, "-c", stale + " VALUES ('gone', '2026-01-01')\")", database)

    second = lane(command, write_config(tmp_path / "config.json", sandbox), database, "--parquet", lake)
    assert second.returncode == 0, second.stdout + second.stderr
    assert rows_read(second)["liquidations"] < rows_read(first)["liquidations"]
    same_tables(python, streams, whole, database)
    same_files(python, streams, database, lake)
    assert {path: path.stat().st_mtime_ns for path in old} == old  # a day without new rows is not written again


@pytest.mark.parametrize("kill", KILLS)
def test_a_run_killed_anywhere_is_continued(
    kill: str, python: Path, command: Command, streams: Streams, sandbox: Sandbox, whole: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "config.json", sandbox)
    database, lake = tmp_path / "rows.duckdb", tmp_path / "lake"
    killed = lane(command, config, database, "--parquet", lake, kill=kill)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    for file in lake.rglob("*.parquet"):
        assert file.read_bytes()[-4:] == b"PAR1"
    keys = [f"SELECT count(*) - count(DISTINCT _key) FROM a.{name}" for name in streams.names]
    assert {repeated for ((repeated,),) in query(python, keys, database)} == {0}

    done = lane(command, config, database, "--parquet", lake)
    assert done.returncode == 0, done.stdout + done.stderr
    same_tables(python, streams, whole, database)
    same_files(python, streams, database, lake)
    if "COPY" in kill:  # all rows were committed: what is read again is the lookback
        assert sum(rows_read(done).values()) < sum(rows_read_of(whole).values())


def rows_read_of(whole: Path) -> dict[str, int]:
    return rows_read(subprocess.CompletedProcess([], 0, whole.with_name("out").read_text()))


@pytest.mark.parametrize(("who", "batches"), [("source", 1), ("source", 4), ("lane: SIGTERM", 2), ("both", 3)])
def test_an_interrupted_source_fails_the_run_and_is_continued(
    who: str,
    batches: int,
    python: Path,
    command: Command,
    streams: Streams,
    sandbox: Sandbox,
    whole: Path,
    tmp_path: Path,
) -> None:
    config, database = write_config(tmp_path / "config.json", sandbox), tmp_path / "rows.duckdb"
    sandbox.fault("slow_first_byte", seconds=0.3, times=None)  # so that there is something left to interrupt
    arguments = [*command("before::0"), str(config), str(database)]
    environment = {**os.environ, "SOURCE_LIQUIDATIONS_PATIENCE": "0.1"}
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment, text=True, stdout=-1, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = ""
    while batches:
        said += (line := process.stderr.readline())
        assert line, said
        batches -= "rows/s" in line
    (source,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    if who == "both":
        process.kill()
    os.kill(*((process.pid, signal.SIGTERM) if "lane" in who else (source, signal.SIGKILL)))
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == {"source": 137, "lane: SIGTERM": 143, "both": -signal.SIGKILL}[who], said + out + err
    if who != "both":
        (line,) = re.findall(r"^Not complete: (.+)\. The next run continues them\.$", err, re.M)
        unfinished = re.findall(r"^(\w+): .* (?:running|started|not started|incomplete)$", out, re.M)
        assert line.split(", ") == unfinished
        assert unfinished

    sandbox.clear()
    done = lane(command, config, database)
    assert done.returncode == 0, done.stdout + done.stderr
    same_tables(python, streams, whole, database)


def test_a_failing_vendor_fails_the_run_and_no_other_vendor(
    python: Path, command: Command, streams: Streams, sandbox: Sandbox, whole: Path, tmp_path: Path
) -> None:
    config, database = tmp_path / "config.json", tmp_path / "rows.duckdb"
    failed = lane(command, write_config(config, sandbox, kaiko={"api_key": "not-the-key"}), database)
    assert failed.returncode == 1
    assert re.search(r"^kaiko_liquidation_events: kaiko, `kaiko\.api_key`: ", failed.stderr, re.M), failed.stderr
    assert re.search(r"^Not complete: kaiko_liquidation_events, ", failed.stderr, re.M)
    assert "kaiko_liquidation_events: 0 rows read, 0 rows in all, incomplete" in failed.stdout
    assert "not-the-key" not in failed.stdout + failed.stderr
    assert rows_read(failed)["kwery_liquidations"] == rows_read_of(whole)["kwery_liquidations"]

    done = lane(command, write_config(config, sandbox), database)
    assert done.returncode == 0, done.stdout + done.stderr
    same_tables(python, streams, whole, database)


def test_what_the_columns_cannot_hold_is_kept(python: Path, command: Command, sandbox: Sandbox, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.json", sandbox)
    extra = {"novel": "漢字 \u2028", "nested": {"a": [1, 2.5, None]}}
    sandbox.fault("unknown_fields", vendor="kaiko", path_contains="/trades/", fields=extra, times=None)
    sandbox.fault("wrong_types", vendor="kaiko", path_contains="/instruments", field="trade_count", value=10**30)
    names = ("kaiko_liquidation_events", "kaiko_instruments", "liquidations")
    done = lane(command, config, tmp_path / "rows.duckdb", "--streams", ",".join(names))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kaiko_instruments: Invalid Input Error: " in done.stderr
    events, nulls, large = query(
        python,
        [
            "SELECT _record ->> 'novel', (_record -> 'nested')::VARCHAR, count(*), count(trade_id), "
            "count(*) FILTER (_record ->> 'trade_id' = trade_id) FROM a.kaiko_liquidation_events GROUP BY ALL",
            "SELECT count(*) FROM a.liquidations WHERE _record IS NOT NULL",
            "SELECT trade_count, _record ->> 'trade_count' FROM a.kaiko_instruments WHERE trade_count IS NULL",
        ],
        tmp_path / "rows.duckdb",
    )
    ((novel, nested, *counts),) = events
    assert (novel, json.loads(nested)) == (extra["novel"], extra["nested"])
    assert counts == [rows_read(done)["kaiko_liquidation_events"]] * 3
    assert nulls == [[0]]
    assert large == [[None, str(10**30)]]


def test_a_wrong_configuration_is_one_line(python: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    good = write_config(tmp_path / "config.json", sandbox)
    (tmp_path / "text.json").write_text("nothing")
    (tmp_path / "field.json").write_text(json.dumps({"start_date": START, "kaiko": {"api_key": "k", "asset": ["btc"]}}))
    cases = (
        ([tmp_path / "absent.json"], "cannot be read"),
        ([tmp_path / "text.json"], "is not JSON"),
        ([tmp_path / "field.json"], "`kaiko.asset`"),
        ([good, "--source", "nowhere"], "nowhere: No such file or directory"),
        ([good, "--streams", "liquidation"], "liquidation is not a stream of this configuration. Available: kaiko_"),
    )
    for arguments, words in cases:
        done = run(python, LANE, arguments[0], tmp_path / "rows.duckdb", *arguments[1:])
        assert done.returncode == 1, words
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert words in line
    assert not (tmp_path / "rows.duckdb").exists()


def test_a_lake_that_cannot_be_written_is_one_line(
    python: Path, command: Command, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "config.json", sandbox)
    (tmp_path / "lake").write_text("a file")
    arguments = ("--streams", "kaiko_instruments", "--parquet", str(tmp_path / "lake"))
    done = lane(command, config, tmp_path / "rows.duckdb", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    *_, line = done.stderr.splitlines()
    assert "lake/kaiko_instruments" in line
    assert "Traceback" not in done.stderr
    ((rows,),) = query(python, ["SELECT count(*) FROM a.kaiko_instruments"], tmp_path / "rows.duckdb")[0]
    assert rows, "what was read is saved"


def test_a_database_in_use_is_one_line(python: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [str(python), "-c", holding, str(tmp_path / "rows.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        done = run(python, LANE, write_config(tmp_path / "config.json", sandbox), tmp_path / "rows.duckdb")
        other.communicate("")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "rows.duckdb: IO Error: Could not set lock on file" in line


def test_a_line_that_is_not_a_message_ends_the_run(python: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    source = tmp_path / "source"
    # It keeps writing more than a pipe can hold.
    source.write_text(
        f'#!/bin/sh\n[ "$1" != read ] && exec {python.with_name("source-liquidations")} "$@"\n'
        "while echo 'no message'; do :; done\n"
    )
    source.chmod(0o755)
    config = write_config(tmp_path / "config.json", sandbox)
    done = run(python, LANE, config, tmp_path / "rows.duckdb", "--streams", "kwery_symbols", "--source", source)
    assert done.returncode != 0
    assert "Not complete: kwery_symbols." in done.stderr


def test_a_signal_ends_the_writing_of_parquet_files(python: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
sys.path.insert(0, "examples")
import duckdb_lane
duckdb_lane.Lane.export = lambda *_: [os.kill(os.getpid(), signal.SIGTERM), time.sleep(30)]
sys.exit(duckdb_lane.main())
"""
    config = write_config(tmp_path / "config.json", sandbox)
    arguments = [config, tmp_path / "rows.duckdb", "--streams", "kwery_symbols", "--parquet", tmp_path / "lake"]
    done = run(python, "-c", code, *arguments)
    assert done.returncode == -signal.SIGTERM
