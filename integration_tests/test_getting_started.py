"""The commands of README.md and docs/getting-started.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tools import ROOT, python_with, run

from sandbox import Sandbox

README = (ROOT / "README.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def block(text: str, heading: str, language: str) -> str:
    """The first block of a section."""
    section = re.split(rf"^#+ {heading}\n", text, flags=re.M)[1]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)
    assert found is not None
    return found[1]


def community(sandbox: Sandbox, shown: str) -> dict[str, Any]:
    """A configuration that a page shows, with the simulated community API in place of the real one."""
    config: dict[str, Any] = json.loads(shown)
    config["coin_metrics"]["base_url"] = f"{sandbox.url}/coin_metrics_community"
    return config


@pytest.fixture
def ticking() -> Any:
    """The community API has the last 24 hours by the clock."""
    with Sandbox(seed=1, ticking=True, rows_per_day=2_000) as running:
        yield running


def records(path: Path) -> list[dict[str, Any]]:
    messages = map(json.loads, path.read_text("utf-8").splitlines())
    return [message["record"]["data"] for message in messages if message["type"] == "RECORD"]


def shell(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    done = run("sh", "-ec", script, cwd=directory, PATH=PATH)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_command_line_reads_twice_and_the_second_time_only_what_is_new(ticking: Sandbox, tmp_path: Path) -> None:
    shown = block(PAGE, "Getting started", "json")
    (tmp_path / "config.json").write_text(json.dumps(community(ticking, shown)))
    commands = block(PAGE, "Command line", "sh")

    done = shell(commands, tmp_path)
    first = records(tmp_path / "new.jsonl")
    shell("\n".join(commands.splitlines()[-2:]), tmp_path)
    second = records(tmp_path / "new.jsonl")

    assert '"SUCCEEDED"' in done.stdout
    assert "WARN" not in done.stdout
    assert "liquidated_at" in first[0]
    assert 0 < len(second) < len(first)
    assert min(row["liquidated_at"] for row in second) > first[0]["liquidated_at"]
    kept = (tmp_path / "state.jsonl").read_text("utf-8")
    assert kept.count('"type":"STATE"') >= 2
    assert "RECORD" not in kept


def test_the_readme_shows_three_rows(ticking: Sandbox, tmp_path: Path) -> None:
    install, written, *commands = block(README, "Real data, without a key", "sh").splitlines()
    assert install.endswith("pip install .")
    found = re.fullmatch(r"echo '(.*)' > config\.json", written)
    assert found is not None
    assert json.loads(found[1]) == json.loads(block(PAGE, "Getting started", "json")), "one first configuration"
    (tmp_path / "config.json").write_text(json.dumps(community(ticking, found[1])))

    done = shell("\n".join(commands), tmp_path)

    rows = [json.loads(line)["record"] for line in done.stdout.splitlines()]
    assert [row["stream"] for row in rows] == ["liquidations"] * 3


def test_pyairbyte_shows_a_frame(ticking: Sandbox, tmp_path: Path) -> None:
    python = python_with("airbyte", ".venv-demo", "setup-demo")
    shown = block(PAGE, "Getting started", "json")
    (tmp_path / "config.json").write_text(json.dumps(community(ticking, shown)))
    script = block(PAGE, "PyAirbyte", "python")
    done = run(
        python,
        "-c",
        script,
        cwd=tmp_path,
        PATH=f"{python.parent}:{os.environ['PATH']}",
        DO_NOT_TRACK="1",
        NO_LIVE_PROGRESS="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "binance-BTCUSDT-future" in done.stdout or "coin_metrics" in done.stdout
