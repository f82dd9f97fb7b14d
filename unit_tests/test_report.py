"""The report of a sync, as JSON. Its numbers are tested in integration_tests/test_account.py."""

from __future__ import annotations

import json
import logging
from importlib.metadata import PackageNotFoundError

import pytest

from source_liquidations.reading import report
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.report import Outcome, log_report


@pytest.mark.parametrize("installed", [True, False])
def test_a_checkout_that_is_not_installed_has_no_version(
    installed: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if not installed:
            raise PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(report, "version", version)
    with caplog.at_level(logging.INFO, "airbyte"):
        log_report([Outcome(StreamState("kwery_symbols", None), [])], seconds=1.25)
    logged = json.loads(caplog.messages[-1].removeprefix("sync report as JSON: "))
    assert logged.pop("version", None) == ("1.2.3" if installed else None)
    assert logged["seconds"] == 1.2
    assert [stream["stream"] for stream in logged["streams"]] == ["kwery_symbols"]
