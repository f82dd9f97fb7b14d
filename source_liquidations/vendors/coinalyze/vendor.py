"""Coinalyze: key, host, budget, error words, streams, check."""

import time
from collections.abc import Mapping
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, LiquidationsError
from source_liquidations.http.answers import Response
from source_liquidations.http.budgets import Allowance, Budget
from source_liquidations.http.statuses import status_and_words
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import throttled_at_binance
from source_liquidations.unified import LIQUIDATION_VOLUMES
from source_liquidations.vendors.coinalyze import liquidation_history, markets
from source_liquidations.vendors.coinalyze.liquidation_history import POINTS_KEPT, LiquidationHistory
from source_liquidations.vendors.decoding import Fields
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, reach_notes

HOST = "https://api.coinalyze.net"
KEY_HEADER = "api_key"
# The vendor allows 40 calls a minute and key; each symbol of a request is a call. Two are left for a check.
CALLS_PER_MINUTE = 38

_ADVICE = {
    401: f"Check the key. If it is right, a proxy may drop the header {KEY_HEADER}: some drop names with underscores.",
    403: "The key's plan does not cover this. Plans are not documented: ask the vendor.",
}


def budget_of(per_minute: int) -> Budget:
    """A budget of calls, spread over each minute: at most half of them may be sent at once."""
    calls = Allowance(per_minute, 60.0, capacity=float(max(1, per_minute // 2)))
    return Budget(per_minute, 60.0, calls, counts_weight=True)


class Coinalyze(Vendor):
    name = "coinalyze"
    required = ("api_key", "symbols")
    coverage = throttled_at_binance("coinalyze")

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        per_minute = config.get("requests_per_minute") or CALLS_PER_MINUTE
        headers = {KEY_HEADER: config["api_key"]}
        client = self.client(HOST, budget_of(per_minute), headers=headers, explain=explain)
        self._history = LiquidationHistory(client, config, per_minute=per_minute, start=shared.start)
        self.feeds = (
            Feed(self._history, liquidation_history.STREAM, {LIQUIDATION_VOLUMES: self._history.to_volumes}),
            Feed(markets.market_list(client, Fields(markets.STREAM)), markets.STREAM),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Request the list of markets: this one call proves the key and the entries."""
        history = self._history
        partitions = history.listed_partitions(traffic)
        history.raise_entry_errors()
        notes = history.duration_warnings(partitions)
        if history.step < timestamps.DAY:
            kept = timestamps.floor_to(time.time_ns() - POINTS_KEPT * history.step, timestamps.MINUTE)
            what = f"the {POINTS_KEPT:,} to 2,000 points that are kept of each market"
            older = "older ones may be gone. The daily interval is kept for good"
            notes += reach_notes("coinalyze", kept, self._shared.start, what=what, older=older)
        _, errors = history.names_of(partitions)
        without_unit = [partitions[index]["symbol"] for index in errors]
        if without_unit:
            notes.append(
                f"coinalyze: liquidation_volumes has no unit for the liquidations of {', '.join(without_unit[:5])}: it"
                " fails for them while `coinalyze.denomination` is native."
            )
        return notes


def explain(response: Response) -> LiquidationsError | None:
    """The error for a refused key. Every key may read all markets, so a 403 is about the key, too."""
    if response.status not in _ADVICE:
        return None
    return AccessRefused(
        status_and_words(response), status=response.status, advice=_ADVICE[response.status]
    ).of_reading()
