"""`examples/liquidations.ipynb`, executed from top to bottom."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tools import ROOT, python_with, run

NOTEBOOK = ROOT / "examples" / "liquidations.ipynb"
PAGE = ROOT / "docs" / "cross-check.md"
LARGEST = 400_000  # bytes, with the outputs that are stored
Notebook = dict[str, Any]


def load(path: Path) -> Notebook:
    """Its code cells by id."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return {cell["id"]: cell for cell in cells if cell["cell_type"] == "code"}


def source(notebook: Notebook, cell: str) -> str:
    return "".join(notebook[cell]["source"])


def printed(notebook: Notebook, cell: str) -> str:
    return "".join("".join(out["text"]) for out in notebook[cell]["outputs"] if out["output_type"] == "stream")


def shown(notebook: Notebook, cell: str, kind: str) -> str:
    """What a cell shows as an image, or as a table in text."""
    (data,) = [out["data"] for out in notebook[cell]["outputs"] if kind in out.get("data", {})]
    return "".join(data[kind])


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    for module in ("ipykernel", "airbyte"):
        python_with(module, ".venv-demo", "setup-demo")
    python = python_with("nbclient", ".venv-demo", "setup-demo")
    path = tmp_path_factory.mktemp("notebook") / "executed.ipynb"
    done = run(python, "examples/run_notebook.py", NOTEBOOK, path)
    assert done.returncode == 0, done.stdout + done.stderr
    return load(path)


def test_it_runs_and_draws(executed: Notebook) -> None:
    assert executed.keys() == load(NOTEBOOK).keys()
    for cell in ("cascades-picture", "sides", "verdict-picture"):
        assert len(shown(executed, cell, "image/png")) > 10_000
    assert shown(executed, "cascades", "text/plain").count("\n") == 8


def test_it_finds_the_known_disagreement(executed: Notebook) -> None:
    sentence = printed(executed, "verdict").splitlines()[0]
    found = re.match(r"Coin Metrics has none of the (\d+) Binance BTC/USDT .* between 21:00:\d\d and 21:59:", sentence)
    assert found, sentence
    hours = re.findall(r"coin_metrics +\S+ (2025-10-10 \d\d):\S+ +(\d+)", shown(executed, "known", "text/plain"))
    assert [hour for hour, events in hours if events == "0"] == ["2025-10-10 21"], hours
    assert "zero" in shown(executed, "known", "text/plain")


def test_stored_outputs_are_those_of_a_run(executed: Notebook) -> None:
    """If they are not, `examples/run_notebook.py examples/liquidations.ipynb` stores new ones."""
    stored = load(NOTEBOOK)
    assert printed(stored, "verdict") == printed(executed, "verdict")
    for cell in ("tables", "cascades", "known"):
        assert shown(stored, cell, "text/plain") == shown(executed, cell, "text/plain")


def test_stored_file_is_small_and_says_that_its_data_is_simulated() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < LARGEST
    assert "**All data here is simulated.**" in "".join(json.loads(text)["cells"][0]["source"])
    assert not re.search(r"/(home|root|tmp|work)/", text)
    stored = load(NOTEBOOK)
    for cell in ("cascades-picture", "sides", "verdict-picture"):
        assert shown(stored, cell, "image/png")
    assert "Simulated data" in source(stored, "cascades-picture")
    assert "Simulated data" in source(stored, "verdict-picture")


def test_its_query_is_that_of_the_page() -> None:
    (page,) = re.findall(r"```sql\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (own,) = re.findall(r'"""\n(.+?)"""', source(load(NOTEBOOK), "known"), re.DOTALL)
    times = re.compile(r"TIMESTAMP '[^']+'")
    assert times.sub("", own) == times.sub("", page)
