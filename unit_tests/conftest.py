"""What all unit tests share: the libraries' own warnings at import are not ours to mend."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for line in ("ignore:This class is experimental", "default::DeprecationWarning:airbyte_protocol.*"):
        config.addinivalue_line("filterwarnings", line)
