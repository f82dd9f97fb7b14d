"""What all unit tests share: the libraries' own warnings at import are not ours to fix."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says nothing on a machine that others use, too.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


def pytest_configure(config: pytest.Config) -> None:
    for line in ("ignore:This class is experimental", "default::DeprecationWarning:airbyte_protocol.*"):
        config.addinivalue_line("filterwarnings", line)
