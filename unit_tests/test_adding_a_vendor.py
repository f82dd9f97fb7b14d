"""docs/adding-a-vendor.md, followed to the letter: its example vendor is written, tested, checked and read."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "docs" / "adding-a-vendor.md"

# Tests of every vendor: they must pass after the page was followed to the letter.
LOOK_AT_EVERY_VENDOR = (
    "unit_tests/test_adding_a_vendor.py",
    "unit_tests/test_config.py",
    "unit_tests/test_docs.py",
    "unit_tests/test_metadata.py",
    "unit_tests/test_unified.py",
    "unit_tests/vendors/test_acme.py",
    "unit_tests/vendors/test_listings.py",
)
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "build", "demo-output")


# A paragraph that starts with a path, and the block after it.
SHOWN = re.compile(r"^`(?P<path>[\w./-]+)`(?:(?!\n\n).)*\n\n(?P<fence>```+)\w+\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)


def files_of(page: str) -> dict[str, str]:
    """Path and content of each file that a page shows; of a list, the line that is new in it."""
    return {found["path"]: found["text"] for found in SHOWN.finditer(page)}


def with_line(text: str, after: str, line: str) -> str:
    """A text with a line behind the first that begins so."""
    found = re.search(rf"^{after}.*\n", text, re.M)
    assert found is not None, after
    return text[: found.end()] + line + text[found.end() :]


def listed(path: str, text: str) -> str:
    """A file that names the vendors, with the page's vendor in it: the page's second section, and its row."""
    if path == "metadata.yaml":
        return with_line(text, "    hosts:", "      - api.acme.example\n")
    if path == "source_liquidations/vendors/__init__.py":
        text, changed = re.subn(r"(VENDORS: .*= \([^)]*?),?(\s*)\)", r"\1, Acme\2)", text)
        assert changed == 1
        return text.replace("from", "from source_liquidations.vendors.acme.vendor import Acme\nfrom", 1)
    return with_line(text, r"\|---", files_of(VENDOR.read_text("utf-8"))[path])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the page was followed."""
    root = tmp_path_factory.mktemp("further") / "copy"
    shutil.copytree(ROOT, root, ignore=NOT_COPIED)
    for path, text in files_of(VENDOR.read_text("utf-8")).items():
        target = root / path
        if path in LISTS:
            continue
        assert not target.exists(), f"{path}: nothing but the lists is changed"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, "utf-8")
    for path in LISTS:
        target = root / path
        target.write_text(listed(path, target.read_text("utf-8")), "utf-8")
    done = python(root, "scripts/stream_tables.py")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


LISTS = ("metadata.yaml", "source_liquidations/vendors/__init__.py", "docs/choose-a-vendor.md")


def python(tree: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_page_shows_every_file_that_a_vendor_takes() -> None:
    page = VENDOR.read_text("utf-8")
    assert set(files_of(page)) == {
        "source_liquidations/vendors/acme/__init__.py",
        "source_liquidations/vendors/acme/vendor.py",
        "source_liquidations/vendors/acme/liquidations.py",
        "source_liquidations/vendors/acme/config.json",
        "source_liquidations/vendors/acme/schemas/acme_liquidations.json",
        "unit_tests/samples/acme/liquidations.json",
        "unit_tests/vendors/test_acme.py",
        "docs/vendors/acme.md",
        "docs/choose-a-vendor.md",
    }
    assert all(f"`{path}`" in page for path in LISTS)


@pytest.mark.parametrize("name", ["bitfinex", "gate", "coinalyze"])
def test_a_vendor_is_named_in_few_files(name: str) -> None:
    """The page says in which; those of vendors' own folders do not count."""
    package = ROOT / "source_liquidations"
    files = {ROOT / "metadata.yaml", *package.rglob("*.py"), *package.rglob("*.json")}
    files -= {*package.glob("vendors/*/**/*")}
    named = {str(file.relative_to(ROOT)) for file in files if re.search(rf"(?i)\b{name}\b", file.read_text("utf-8"))}
    lists = {"metadata.yaml", "source_liquidations/vendors/__init__.py", "source_liquidations/symbols.py"}
    assert named - lists == ({"source_liquidations/schemas/liquidations.json"} if name == "bitfinex" else set())


def test_where_the_page_is_followed_every_test_of_all_vendors_passes(tree: Path) -> None:
    # Without the tests of this file that make such a tree, which would make another one there.
    chosen = "not further and not the_pages and not followed and not is_documented"
    done = python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *LOOK_AT_EVERY_VENDOR)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_code_is_as_clean_as_ours(tree: Path) -> None:
    for how in (["check"], ["format", "--check"]):
        files = ["source_liquidations/vendors", "unit_tests/vendors/test_acme.py"]
        done = python(tree, "-m", "ruff", *how, "--config", str(ROOT / "pyproject.toml"), *files)
        assert done.returncode == 0, done.stdout


class Acme(http.server.BaseHTTPRequestHandler):
    """The vendor of the page: 2,500 liquidations, one a minute, in pages of a thousand."""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        offset = int(asked.get("cursor", ["0"])[0])
        found = range(offset, min(offset + 1000, 2500))
        rows = [
            {
                "id": f"a{n}",
                "time": f"2026-03-{8 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00.000Z",
                "side": ("sell", "buy")[n % 2],
                "size": n,
                "price": 92145.30,
                "usd": n * 92145.30,
            }
            for n in found
        ]
        body = {"data": rows, "cursor": str(found.stop) if found.stop < 2500 else None}
        known = self.headers["X-Acme-Key"] == "acme-secret"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body if known else {"error": "who are you"}).encode())

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def acme() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Acme)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_further_vendor_is_checked_discovered_and_read(tree: Path, acme: str) -> None:
    streams = ["acme_liquidations", "liquidations"]

    def run(command: str, key: str = "acme-secret") -> list[dict[str, Any]]:
        section = {"api_key": key, "markets": ["BTC-USDT"], "base_url": acme}
        config = {"start_date": "2026-03-08", "end_date": "2026-03-11", "acme": section}
        selected = [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["incremental"]},
                "sync_mode": "incremental",
                "destination_sync_mode": "append",
            }
            for name in streams
        ]
        (tree / "config.json").write_text(json.dumps(config))
        (tree / "catalog.json").write_text(json.dumps({"streams": selected}))
        args = ["--config", "config.json", *(["--catalog", "catalog.json"] if command == "read" else [])]
        done = python(tree, "-c", "from source_liquidations.run import run; run()", command, *args)
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()]

    (status,) = [m["connectionStatus"] for m in run("check") if m["type"] == "CONNECTION_STATUS"]
    assert status == {"status": "SUCCEEDED"}
    (status,) = [m["connectionStatus"] for m in run("check", "wrong") if m["type"] == "CONNECTION_STATUS"]
    assert "acme, `acme.api_key`: HTTP 401: who are you" in status["message"]
    (catalog,) = [m["catalog"] for m in run("discover") if m["type"] == "CATALOG"]
    assert [stream["name"] for stream in catalog["streams"]][:2] == streams
    messages = run("read")
    found = {
        name: [m["record"]["data"] for m in messages if m.get("record", {}).get("stream") == name] for name in streams
    }
    assert {name: len({row.get("id", row.get("liquidation_id")) for row in rows}) for name, rows in found.items()} == {
        "acme_liquidations": 2500,
        "liquidations": 2500,
    }
    assert found["liquidations"][1]["position_side"] == "short"
    states = [m["state"]["stream"]["stream_state"]["states"] for m in messages if m["type"] == "STATE"]
    whole = {"start": "2026-03-08T00:00:00Z", "end": "2026-03-11T00:00:00Z"}
    entry = {"partition": {"market": "BTC-USDT"}, "cursor": {"time": whole["end"]}, "slices": [whole]}
    assert [entry] in states
