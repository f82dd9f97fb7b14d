"""Fixtures: the connector's command line, and the simulated vendors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Connector, Warm, cleared

from sandbox import Sandbox

NOW = "2026-03-01T12:30:00Z"


def pytest_configure(config: pytest.Config) -> None:
    # Each run would take 40 ms to load the machine's certificates, which the simulated vendors do not need.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    for line in ("ignore:This class is experimental", "default::DeprecationWarning:airbyte_protocol.*"):
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    started = Warm()
    yield started
    started.close()


@pytest.fixture
def connector(warm: Warm, tmp_path: Path) -> Connector:
    return Connector(warm, tmp_path)


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    """Few rows, no rate limits; for tests that add no rows and do not move the clock."""
    with Sandbox(seed=1, now=NOW, rows_per_day=3_000, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(shared_sandbox)


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """A sandbox of one test, which may change it."""
    with Sandbox(seed=1, now=NOW, rows_per_day=3_000, limits=False) as running:
        yield running
        assert running.errors == []


@pytest.fixture(scope="session")
def shared_dense_sandbox() -> Iterator[Sandbox]:
    """Many rows a day: several pages for every vendor."""
    with Sandbox(seed=2, now=NOW, rows_per_day=30_000, limits=False) as running:
        yield running


@pytest.fixture
def dense_sandbox(shared_dense_sandbox: Sandbox) -> Iterator[Sandbox]:
    yield from cleared(shared_dense_sandbox)
