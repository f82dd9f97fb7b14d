"""Shared by the tests of the demo and the examples: find an interpreter that has a module, and run a command."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TIMEOUT = 900.0


@cache
def python_with(module: str, environment: str, target: str) -> Path:
    """This interpreter or that of `environment`, whichever has the module; skips the test if neither has."""
    for python in (Path(sys.executable), ROOT / environment / "bin" / "python"):
        probe = f"import sys, importlib.util as u; sys.exit(u.find_spec({module!r}) is None)"
        if python.exists() and subprocess.run([python, "-c", probe], check=False).returncode == 0:
            return python
    pytest.skip(f"{module} is not installed here: `make {target}` installs it")


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output as text."""
    return subprocess.run(
        [str(argument) for argument in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
