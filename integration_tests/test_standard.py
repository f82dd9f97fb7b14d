"""Airbyte's standard tests, in this process: `acceptance-test-config.yml` against a sandbox on any free port."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import Sandbox
from source_liquidations import SourceLiquidations
from source_liquidations.vendors import VENDORS

with warnings.catch_warnings():  # of marks that only their plugin registers
    warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
    from airbyte_cdk.test.models import ConnectorTestScenario
    from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

ROOT = Path(__file__).parents[1]
WRITTEN = "http://127.0.0.1:8900"
COMMANDS = {
    "test_check": "check",
    "test_config_matches_spec": "spec",
    "test_discover": "discover",
    "test_basic_read": "read",
    "test_fail_read_with_bad_catalog": "read",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test with the configurations that are listed for its command."""
    if "scenario" in metafunc.fixturenames:
        command = COMMANDS[metafunc.function.__name__]
        scenarios = [scenario for scenario in TestStandard.get_scenarios() if scenario.runs(command)]
        metafunc.parametrize("scenario", scenarios, ids=[scenario.id for scenario in scenarios])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Sandbox(now="2025-06-04T00:00:00Z", rows_per_day=2_000, limits=False) as sandbox:
        yield sandbox.url
        assert sandbox.errors == []


@pytest.fixture(autouse=True)
def at_this_sandbox(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: ConnectorTestScenario, *, connector_root: Path, empty_if_missing: bool) -> dict[str, Any]:
        if self.config_path is None:
            assert empty_if_missing
            return {}
        return yaml.safe_load((connector_root / self.config_path).read_text("utf-8").replace(WRITTEN, url))

    monkeypatch.setattr(ConnectorTestScenario, "get_config_dict", read)


def test_the_configuration_has_every_vendor() -> None:
    """Airbyte's tests read it, and scripts/record_release.py records its streams."""
    config = yaml.safe_load((ROOT / "integration_tests" / "acceptance" / "config.json").read_text("utf-8"))
    assert {vendor.name for vendor in VENDORS} <= set(config)


# Findings that the catalog checks do not enforce yet are errors here.
@pytest.mark.filterwarnings("error::airbyte_cdk.test.standard_tests._catalog_checks.DiscoveredCatalogWarning")
class TestStandard(SourceTestSuiteBase):
    connector = SourceLiquidations

    @classmethod
    def get_connector_root_dir(cls) -> Path:
        return ROOT


for name in dir(TestStandard):
    if name.startswith("test_docker_image"):  # scripts/image_without_docker.sh tests the image
        setattr(TestStandard, name, None)
