"""What `make dist` builds: a source archive, and a wheel that runs in an environment without this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cases import CASES, END, START, config_of, same
from harness import RUN_TIMEOUT, Run
from tools import ROOT

from sandbox import Sandbox
from source_liquidations import config as configuration

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UV = Path(sys.executable).with_name("uv")
# The configuration of Coin Metrics' streams that are not in CASES.
METRICS = {"metrics_exchange_assets": ["bybit-btc"], "metrics_pairs": ["btc-usdt"], "metrics_exchanges": ["bybit"]}
STEM = f"airbyte_source_liquidations-{PROJECT['version']}"


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    """Run a command without the environment variables that let it import from or write to this checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE"))}
    parts = [str(part) for part in command]
    return subprocess.run(parts, cwd=cwd, env=environment, capture_output=True, timeout=RUN_TIMEOUT, check=False)


def ran(*command: str | Path, cwd: Path = ROOT) -> str:
    """The standard output of a command that must succeed."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout.decode()


@dataclass(frozen=True)
class Built:
    """The two files of a release."""

    archive: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The files of `make dist`, without its `setup`, which has run for this environment."""
    out = tmp_path_factory.mktemp("dist")
    (out / "airbyte_source_liquidations-0.0.1.tar.gz").touch()
    ran("make", "-o", "setup", "dist", f"VENV={Path(sys.executable).parents[1]}", f"DIST={out}")
    files = {file.name for file in out.iterdir() if not file.name.startswith(".")}
    assert files == {f"{STEM}.tar.gz", f"{STEM}-py3-none-any.whl"}, "an older release must not be published again"
    return Built(out / f"{STEM}.tar.gz", out / f"{STEM}-py3-none-any.whl")


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked directory of the source archive."""
    directory = tmp_path_factory.mktemp("archive")
    with tarfile.open(built.archive) as archive:
        archive.extractall(directory, filter="data")
    (source,) = directory.iterdir()
    return source


def index_answers(python: Path) -> bool:
    probe = run(UV, "pip", "install", "--python", python, "--dry-run", "--no-deps", "--refresh", "idna")
    return probe.returncode == 0


@pytest.fixture(scope="module")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and its requirements in the locked versions."""
    environment = tmp_path_factory.mktemp("clean") / "venv"
    ran(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    lock = ROOT / "requirements.lock"
    done = run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", lock, built.wheel)
    if done.returncode != 0 and not index_answers(python):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr.decode()
    return environment


def files_of(package: Path) -> set[str]:
    """The files of a package, as a wheel names them."""
    found = (file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(package.parent)) for file in found}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    package = files_of(ROOT / "source_liquidations")
    assert {"source_liquidations/spec.json", "source_liquidations/schemas/liquidations.json"} <= package
    about = {f"{STEM}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    assert set(contents(built.wheel)) == package | about | {f"{STEM}.dist-info/licenses/LICENSE"}


def test_the_source_archive_holds_what_builds_the_wheel(unpacked: Path) -> None:
    assert unpacked.name == STEM
    present = {entry.name for entry in unpacked.iterdir()}
    assert present == {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", "source_liquidations"}
    assert files_of(unpacked / "source_liquidations") == files_of(ROOT / "source_liquidations")


def test_the_source_archive_builds_the_same_wheel(built: Built, unpacked: Path, tmp_path: Path) -> None:
    build = ("build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable)
    ran(UV, *build, "--out-dir", tmp_path, unpacked, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert again.name == built.wheel.name
    assert contents(again) == contents(built.wheel)


def test_the_version_is_that_of_the_project_and_of_the_image(built: Built, environment: Path, tmp_path: Path) -> None:
    metadata = yaml.safe_load((ROOT / "metadata.yaml").read_text("utf-8"))
    about = contents(built.wheel)[f"{STEM}.dist-info/METADATA"].decode()
    ask = "from importlib.metadata import version; print(version('airbyte-source-liquidations'))"
    installed = ran(environment / "bin" / "python", "-c", ask, cwd=tmp_path).strip()
    assert f"\nVersion: {PROJECT['version']}\n" in about
    assert installed == PROJECT["version"] == metadata["data"]["dockerImageTag"]


def test_the_clean_environment_holds_the_wheel_and_nothing_of_the_checkout(environment: Path, tmp_path: Path) -> None:
    ask = (
        "import importlib.util as u; names = 'source_liquidations', 'sandbox', 'benchmarks', 'unit_tests', 'pytest';"
        "print(*(spec.origin if (spec := u.find_spec(name)) else None for name in names))"
    )
    package, *others = ran(environment / "bin" / "python", "-c", ask, cwd=tmp_path).split()
    assert Path(package).is_relative_to(environment)
    assert others == ["None"] * 4


def test_the_installed_console_script_reads_every_stream(environment: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    def connector(*arguments: str) -> Run:
        done = run(environment / "bin" / "source-liquidations", *arguments, cwd=tmp_path)
        found = Run(done.returncode, done.stdout, done.stderr)
        assert found.code == 0, found
        return found

    content = config_of(CASES, sandbox, START, END)
    content["coin_metrics"] |= METRICS
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = ("--config", "config.json")

    assert connector("spec").spec["connectionSpecification"] == configuration.spec()["connectionSpecification"]
    assert connector("check", *config).status["status"] == "SUCCEEDED"
    discovered = connector("discover", *config)
    (tmp_path / "catalog.json").write_bytes(discovered.out)
    read = connector("read", *config, "--catalog", "catalog.json")
    assert set(discovered.catalog) == {file.stem for file in (ROOT / "source_liquidations").rglob("schemas/*.json")}
    for stream in discovered.catalog:
        assert read.statuses(stream)[-1] == "COMPLETE", stream
    for case in CASES:
        same(read.records(case.stream), case.rows(sandbox), case.ignored)
