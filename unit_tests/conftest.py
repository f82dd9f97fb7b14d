"""What all unit tests share: the libraries' own warnings at import are not ours to mend; a slow machine is no failure."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    for line in ("ignore:This class is experimental", "default::DeprecationWarning:airbyte_protocol.*"):
        config.addinivalue_line("filterwarnings", line)
