"""A faulty row stops the progress of its own market, not of others in the same request or of other streams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from cases import BITFINEX, COIN_METRICS, COINALYZE, END, GATE_ORDERS, START, VOLUMES, Case, covers
from harness import Connector, positions, slices

from sandbox import Sandbox

EVENTS, SUMS = "liquidations", "liquidation_volumes"


@dataclass(frozen=True)
class Batch:
    """Markets of one request, and a numeric field of their rows."""

    case: Case
    unified: str
    field: str
    section: dict[str, Any]

    def __str__(self) -> str:
        return self.case.stream


BATCHES = [
    Batch(COIN_METRICS, EVENTS, "amount", {}),
    Batch(COINALYZE, SUMS, "l", {"symbols": ["BTCUSDT_PERP.A", "BTCUSDT.6"]}),
    Batch(BITFINEX, EVENTS, "amount", {}),
    Batch(GATE_ORDERS, EVENTS, "size", {"contracts": ["usdt/BTC_*", "usdt/ETH_*"]}),
]


def read_of(state: Any, stream: str) -> dict[str, list[tuple[str, str]]]:
    """The slices that have been read, by market."""
    found = {}
    for partition, parts in slices(state, stream).items():
        named = dict(partition)
        found[named.get("market") or named.get("symbol") or named["contract"]] = parts
    return found


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_a_faulty_row_stops_only_its_own_market(batch: Batch, connector: Connector, sandbox: Sandbox) -> None:
    case = batch.case
    config = case.config(sandbox, START, END, num_workers=1)
    config[case.vendor] |= batch.section
    streams = [case.stream, batch.unified]
    good = connector.read(config, streams)
    assert good.code == 0, good
    everything = read_of(good.final_state, batch.unified)
    assert len(everything) > 1

    sandbox.fault("wrong_types", vendor=case.vendor, path_contains=case.path, field=batch.field, value="NaN", times=1)
    run = connector.read(config, streams)
    assert run.code == 1
    found = read_of(run.final_state, batch.unified)
    (market,) = [name for name, parts in everything.items() if found.get(name) != parts]
    message = next(trace["message"] for trace in run.traces if trace["stream"]["name"] == batch.unified)
    assert re.search(f"{re.escape(market)}.*`{batch.field}` of row \\d+ is .*NaN.*, not a number", message), message
    assert message.count(f"(`{case.vendor}.") == 1, message

    again = connector.read({**config, "lookback_window": "PT0S"}, streams, state=run.final_state)
    assert again.code == 0, again
    unified = run.records(batch.unified) + again.records(batch.unified)
    assert [row for row in good.records(batch.unified) if row not in unified] == []
    assert len({row["market"] for row in again.records(batch.unified)}) == 1


def test_a_page_of_only_faulty_rows_counts_as_unread(connector: Connector, sandbox: Sandbox) -> None:
    """No row of the first page is valid, and the following pages are read to the end."""
    start = "2026-01-01T00:00:00Z"
    config = VOLUMES.config(sandbox, start, END, num_workers=1)
    config["kaiko"] |= {"assets": ["btc"]}
    sandbox.fault("wrong_types", vendor="kaiko", path_contains="/token/", rows=1_000, times=1)
    run = connector.read(config, [VOLUMES.stream])
    assert run.code == 1
    assert len(sandbox.requests("kaiko")) == 2
    assert positions(run.final_state, VOLUMES.stream) == {}
    again = connector.read(config, [VOLUMES.stream], state=run.final_state)
    assert again.code == 0, again
    covers(run.records() + again.records(), VOLUMES.rows(sandbox, start, END, ["btc@1h"]), VOLUMES)


def test_a_faulty_row_of_an_unselected_symbol_is_ignored(connector: Connector, sandbox: Sandbox) -> None:
    """Bitfinex' answers have the rows of all symbols."""
    rows = sandbox.expected("bitfinex", "*", START, END)
    first = next(number for number, row in enumerate(rows) if row[4] not in BITFINEX.markets)
    assert first < 500
    bad = [row if number != first else [*row[:5], "NaN", *row[6:]] for number, row in enumerate(rows[:500])]
    sandbox.serve("bitfinex", "/v2/liquidations/hist", [bad])
    run = connector.read(BITFINEX.config(sandbox, START, END), [BITFINEX.stream])
    assert run.code == 0, run
    covers(run.records(), BITFINEX.rows(sandbox, START, END), BITFINEX)
