"""The examples, as a user runs them: twice, the second time over more days."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from postgres import PASSWORD, USER, postgres
from tools import ROOT, TIMEOUT, python_with, run

from sandbox import Sandbox

START, MIDDLE, END = "2026-02-27T00:00:00Z", "2026-02-28T06:00:00Z", "2026-03-01T00:00:00Z"
INSTRUMENTS = ["bbit/perpetual-future/btc-usdt", "drbt/perpetual-future/btc-usd"]
MARKETS = ["bybit-BTCUSDT-future", "bitfinex-BTCF0:USTF0-future"]
SYMBOLS = ["BTC", "SOL"]

Configure = Callable[..., Path]
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def configure(sandbox: Sandbox, tmp_path: Path) -> Configure:
    """Writes a configuration up to a date."""

    def write(end: str, key: str = "sandbox-kaiko-key") -> Path:
        config = sandbox.config(START, ["kaiko", "kwery", "coin_metrics"], end_date=end)
        config["kaiko"].update(instruments=INSTRUMENTS, assets=["btc"], api_key=key)
        config["kwery"]["symbols"] = SYMBOLS
        config["coin_metrics"]["markets"] = MARKETS
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config), "utf-8")
        return path

    return write


def events(sandbox: Sandbox, end: str) -> int:
    """How many rows `liquidations` has by then."""
    asked = (("kaiko", INSTRUMENTS), ("kwery", SYMBOLS), ("coin_metrics", MARKETS))
    return sum(len(sandbox.expected(vendor, name, START, end)) for vendor, names in asked for name in names)


def in_all(done: Done, table: str = "liquidations") -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(rf"^{table}: (\d+) rows in all", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return int(found[1])


def rows_read(done: Done) -> int:
    found = re.search(r"^(\d+) rows (read|written)", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return int(found[1])


def clean_pyairbyte(tmp_path: Path) -> dict[str, str]:
    return {
        "AIRBYTE_CACHE_ROOT": str(tmp_path / "cache"),
        "AIRBYTE_LOGGING_ROOT": str(tmp_path / "logs"),
        "DO_NOT_TRACK": "1",
        "NO_LIVE_PROGRESS": "1",
    }


def test_pyairbyte_into_duckdb(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    command = [python_with("airbyte", ".venv-demo", "setup-demo"), "examples/pyairbyte_duckdb.py"]
    database = tmp_path / "liquidations.duckdb"
    first = run(*command, configure(MIDDLE), database, **clean_pyairbyte(tmp_path))
    assert in_all(first) == events(sandbox, MIDDLE)
    second = run(*command, configure(END), database, **clean_pyairbyte(tmp_path))
    assert in_all(second) == events(sandbox, END)
    assert rows_read(second) < rows_read(first)


def test_pyairbyte_says_why_a_check_failed(configure: Configure, tmp_path: Path) -> None:
    command = [python_with("airbyte", ".venv-demo", "setup-demo"), "examples/pyairbyte_duckdb.py"]
    config = configure(MIDDLE, key="not-a-key")
    done = run(*command, config, tmp_path / "none.duckdb", **clean_pyairbyte(tmp_path))
    assert done.returncode != 0
    assert "kaiko" in done.stderr
    assert "`kaiko.api_key`" in done.stderr
    assert "not-a-key" not in done.stdout + done.stderr


def test_pyairbyte_into_postgres(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    command = [python_with("airbyte", ".venv-demo", "setup-demo"), "examples/pyairbyte_postgres.py"]
    with postgres() as server:
        server.query("CREATE DATABASE warehouse")
        where = ["127.0.0.1", str(server.port), USER, "warehouse"]
        environment = {**clean_pyairbyte(tmp_path), "PGPASSWORD": PASSWORD.replace(" ", "")}
        first = run(*command, configure(MIDDLE), *where, **environment)
        assert in_all(first) == events(sandbox, MIDDLE)
        second = run(*command, configure(END), *where, **environment)
        assert in_all(second) == events(sandbox, END)
        assert rows_read(second) < rows_read(first)
        found = server.query(
            "SELECT vendor, count(*) FROM liquidations.liquidations GROUP BY 1 ORDER BY 1", "warehouse"
        )
        assert [vendor for vendor, _ in found] == ["coin_metrics", "kaiko", "kwery"]
        assert sum(int(count) for _, count in found) == events(sandbox, END)


def test_airbyte_serverless_into_json_lines(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    command = [python_with("airbyte_serverless", ".venv-demo", "setup-demo"), "examples/serverless.py"]
    first = run(*command, configure(MIDDLE), tmp_path / "lines")
    assert first.returncode == 0, first.stdout + first.stderr
    assert rows_read(first) == events(sandbox, MIDDLE)
    second = run(*command, configure(END), tmp_path / "lines")
    assert second.returncode == 0, second.stdout + second.stderr
    assert rows_read(second) < rows_read(first)

    lines = (tmp_path / "lines" / "_airbyte_raw_liquidations.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(json.loads(line)["_airbyte_data"]) for line in lines]
    assert len({(row["vendor"], row["market"], row["liquidation_id"]) for row in rows}) == events(sandbox, END)


SERVERLESS = "examples/serverless.py"


def test_airbyte_serverless_with_a_killed_source(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    python = python_with("airbyte_serverless", ".venv-demo", "setup-demo")
    config = configure(MIDDLE)
    sandbox.fault("slow_first_byte", seconds=2, after=4, times=None)
    command = [python, SERVERLESS, config, tmp_path / "lines"]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.kill(reading(process.pid), signal.SIGKILL)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, out + err
    assert err.splitlines()[-1] == "Not complete: liquidations. Exit code of the source: 137."

    sandbox.clear()
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "lines" / "_airbyte_raw_liquidations.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(json.loads(line)["_airbyte_data"]) for line in lines]
    assert len({(row["vendor"], row["market"], row["liquidation_id"]) for row in rows}) == events(sandbox, MIDDLE)


def test_airbyte_serverless_killed_in_a_line(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    command = [python_with("airbyte_serverless", ".venv-demo", "setup-demo"), SERVERLESS]
    first = run(*command, configure(MIDDLE), tmp_path / "lines")
    assert first.returncode == 0, first.stdout + first.stderr
    raw = tmp_path / "lines" / "_airbyte_raw_liquidations.jsonl"
    content = raw.read_bytes()
    raw.write_bytes(content[: content[:-1].rfind(b"\n") + 50])
    raw.with_name("_airbyte_states.jsonl").write_bytes(b'{"_airbyte_')  # no state covers that row yet

    done = run(*command, configure(MIDDLE), tmp_path / "lines")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(json.loads(line)["_airbyte_data"]) for line in raw.read_text("utf-8").splitlines()]
    assert len({(row["vendor"], row["market"], row["liquidation_id"]) for row in rows}) == events(sandbox, MIDDLE)


def reading(parent: int) -> int:
    """The process of `source-liquidations read` among the descendants of a process, once it is there."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        waiting = [parent]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"read" in words and words[1].endswith(b"source-liquidations"):
                    return pid
                waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        time.sleep(0.02)
    raise AssertionError("the source did not start")


def test_airbyte_serverless_with_a_failing_vendor(sandbox: Sandbox, configure: Configure, tmp_path: Path) -> None:
    python = python_with("airbyte_serverless", ".venv-demo", "setup-demo")
    sandbox.fault("status", vendor="kaiko", query_contains="page_size=1000", status=401, times=None)
    done = run(python, SERVERLESS, configure(MIDDLE), tmp_path / "lines")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Not complete: liquidations. Exit code of the source: " in done.stderr
    assert "`kaiko.api_key`: HTTP 401" in done.stderr.splitlines()[-1]
