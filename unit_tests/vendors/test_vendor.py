"""The checks that all vendors share."""

from __future__ import annotations

import pytest

from source_liquidations import timestamps
from source_liquidations.errors import RequestRefused, VendorUnavailable
from source_liquidations.http.budgets import Budget
from source_liquidations.reading.endpoint import Partition
from source_liquidations.vendors.bitfinex.vendor import Bitfinex
from source_liquidations.vendors.vendor import Shared, reach_notes


def most_in_a_minute(budget: Budget) -> int:
    """The maximum number of requests in a minute, if each is sent as early as the budget allows."""
    now = 0.0
    budget._clock = lambda: now
    sent: list[float] = []
    while now < 180.0:
        wait = budget.reserve()
        if wait == 0.0:
            budget.sending()
            sent.append(now)
        now += wait
    return max(sum(at <= other < at + 60.0 for other in sent) for at in sent)


@pytest.mark.parametrize("seconds", [6.0, 10.0, 20.0, 60.0])
@pytest.mark.parametrize("per_minute", [1, 2, 5, 7, 10, 19, 59, 95, 100, 399])
def test_no_minute_holds_more_than_the_configured_limit_and_hardly_less(per_minute: int, seconds: float) -> None:
    config = {"symbols": ["*"], "requests_per_minute": per_minute}
    budget = Bitfinex(config, Shared()).budget(100, seconds)
    assert budget.seconds >= seconds, "more than the limit in the vendor's own period"
    assert 0.8 * per_minute <= most_in_a_minute(budget) <= per_minute


def test_an_unknown_reach_is_not_reported_even_for_a_start_before_1970() -> None:
    start = timestamps.parse("1969-12-31T00:00:00Z")
    assert reach_notes("acme", None, start) == []
    assert reach_notes("acme", start, start) == []
    (told,) = reach_notes("acme", timestamps.parse("2024-01-01T00:00:00Z"), start)
    assert told.startswith("acme: data reach back to 2024-01-01T00:00:00Z. start_date is 1969-12-31T00:00:00Z;")


def test_an_error_of_several_partitions_without_entries_names_only_the_vendor() -> None:
    endpoint = Bitfinex({"symbols": ["*"]}, Shared()).feeds[0].endpoint
    partitions = [Partition.of(symbol="tBTCF0:USTF0"), Partition.of(symbol="tETHF0:USTF0")]
    error = endpoint.located(RequestRefused("bad request"), partitions).of_vendor("bitfinex")
    assert error.who == "bitfinex"


def test_an_outage_is_not_blamed_on_the_setting_of_several_partitions() -> None:
    endpoint = Bitfinex({"symbols": ["*"]}, Shared()).feeds[0].endpoint
    partitions = [Partition.of(symbol=f"t{n}F0:USTF0", entry=f"bitfinex.symbols[{n}]") for n in range(2)]
    refused = endpoint.located(RequestRefused("bad request"), partitions).of_vendor("bitfinex")
    outage = endpoint.located(VendorUnavailable("HTTP 503"), partitions).of_vendor("bitfinex")
    assert [refused.who, outage.who] == ["bitfinex, `bitfinex.symbols`", "bitfinex"]
