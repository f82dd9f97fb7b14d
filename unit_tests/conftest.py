"""Shared by all unit tests: hypothesis' deadline, and filters for the libraries' own warnings at import."""

from __future__ import annotations

import pytest
from hypothesis import settings

# On a shared machine, an example may take any time.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


def pytest_configure(config: pytest.Config) -> None:
    for line in ("ignore:This class is experimental", "default::DeprecationWarning:airbyte_protocol.*"):
        config.addinivalue_line("filterwarnings", line)
