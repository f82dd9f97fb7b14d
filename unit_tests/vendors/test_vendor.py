"""The checks that all vendors share."""

from __future__ import annotations

from source_liquidations import timestamps
from source_liquidations.vendors.vendor import reach_notes


def test_an_unknown_reach_is_not_reported_even_for_a_start_before_1970() -> None:
    start = timestamps.parse("1969-12-31T00:00:00Z")
    assert reach_notes("acme", None, start) == []
    assert reach_notes("acme", start, start) == []
    (told,) = reach_notes("acme", timestamps.parse("2024-01-01T00:00:00Z"), start)
    assert told.startswith("acme: data reach back to 2024-01-01T00:00:00Z. start_date is 1969-12-31T00:00:00Z;")
