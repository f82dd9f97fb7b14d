"""What a sample says of all the rows, when the page that it brings is not all of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from source_liquidations import estimate, planning
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.pages import Output
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from unit_tests.simulated import STREAM, FakeVendor

END = 10_000


@pytest.mark.parametrize("page_size", [100, 700, 5_000])
@pytest.mark.parametrize("habits", [{}, {"ascending": False, "newest_first": True}, {"ascending": False}, {"batch": 2}])
def test_a_full_page_is_not_all_of_its_window(habits: dict[str, Any], page_size: int) -> None:
    endpoint = FakeVendor({name: range(0, END, 10) for name in "ab"}, page_size=page_size, **habits)
    states = {STREAM: StreamState(STREAM, "time")}
    plan = partial(planning.gaps, states=states, lookback=0)
    reading = Reading(endpoint, (Output(STREAM),), 0, END, plan)
    spans = planning.reachable(plan(reading, list(endpoint.partitions(Traffic()))))
    rows, _, _ = estimate._sampled_rows(endpoint, spans)
    assert rows == pytest.approx(2_000, rel=0.05)
