"""A Postgres server from the machine's package, started for one test on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "tester"
PASSWORD = "pass word"  # never checked: the server trusts loopback


@dataclass(frozen=True)
class Postgres:
    port: int
    programs: Path
    account: str | None

    def query(self, sql: str, database: str = "postgres") -> list[list[str]]:
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-AtXq", "-c", sql]
        return [line.split("|") for line in run(self.programs, self.account, command).splitlines()]


def run(programs: Path, account: str | None, command: list[str]) -> str:
    path = f"{programs}:{os.environ['PATH']}"
    program = shutil.which(command[0], path=path)
    assert program is not None, command[0]
    done = subprocess.run(
        [program, *command[1:]],
        user=account,
        env={"PATH": path, "LC_ALL": "C"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server, as another account if this one is root; skips the test if no server is installed."""
    folders = [Path(p).resolve().parent for p in [shutil.which("initdb")] if p]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = next((path for path in folders if (path / "pg_ctl").exists()), None)
    if programs is None:
        pytest.skip("no Postgres server is installed here (Debian, Ubuntu: apt install postgresql)")
    account = None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if os.getuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        account = "postgres" if "postgres" in names else "nobody"
        shutil.chown(folder, account)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ["pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-w", "-t", "600"]
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    try:
        run(programs, account, ["initdb", "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "-N"])
        # The server's output must not keep a pipe of this process open.
        run(programs, account, [*server, "-o", options, "start"])
        yield Postgres(port, programs, account)
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run(programs, account, [*server, "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)
