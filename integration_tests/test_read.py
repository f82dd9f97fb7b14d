"""Every stream, through the command line: what is read equals what the vendor has, field for field."""

from __future__ import annotations

import pytest
from cases import CASES, Case, config_of, same
from harness import Connector, positions

from sandbox import Sandbox


@pytest.mark.parametrize("mode", ["full_refresh", "incremental"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stream_brings_every_row_as_the_vendor_has_it(
    case: Case, mode: str, connector: Connector, sandbox: Sandbox
) -> None:
    run = connector.read(case.config(sandbox), [case.stream], mode=mode)
    assert run.code == 0, run
    assert run.err == b""
    same(run.records(case.stream), case.rows(sandbox), case.ignored)
    assert len({case.identity(row) for row in run.records()}) == len(run.records()), "keys are not unique"
    assert run.statuses(case.stream) == ["STARTED", "RUNNING", "COMPLETE"]
    held = positions(run.final_state, case.stream)
    assert held == {tuple(sorted(case.partition(market).items())): "2026-03-01T00:00:00Z" for market in case.markets}


def test_all_streams_at_once(connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(config_of(CASES, sandbox), [case.stream for case in CASES], script=True)
    assert run.code == 0, run
    assert run.err == b""
    for case in CASES:
        same(run.records(case.stream), case.rows(sandbox), case.ignored)
        assert run.statuses(case.stream)[-1] == "COMPLETE"
