"""Kiyotaka: key, hosts, budget, error words, streams, check."""

import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, ConfigurationError, LiquidationsError, OutOfReach, WindowTooLarge
from source_liquidations.http.answers import Response
from source_liquidations.http.budgets import Allowance
from source_liquidations.http.statuses import status_and_words
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import COVERAGE, throttled_at_binance
from source_liquidations.reading.endpoint import Partition
from source_liquidations.unified import LIQUIDATION_VOLUMES
from source_liquidations.vendors.kiyotaka import liquidation_agg, markets
from source_liquidations.vendors.kiyotaka.liquidation_agg import LiquidationAgg
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, probe_at

# platform: (host, header of the key)
PLATFORMS = {
    "kiyotaka": ("https://api.kiyotaka.ai", "X-Kiyotaka-Key"),
    "openmarket": ("https://api.openmarket.xyz", "X-OpenMarket-Key"),
}
ENTRIES_CHECKED = 25
# The smallest plan's limits: answers do not name the plan.
PER_MINUTE = 10
WEIGHT_PER_DAY = 1_000
# No page documents the vendor's words. A key that may not even read the newest day fails in any case.
_HISTORY_WORDS = re.compile(r"histor|look-?back|retention|\b(?:ranges?|window|days|old|older|earlier)\b", re.IGNORECASE)
BURST = 2  # minutes of weight that may be saved up and spent at once


class Kiyotaka(Vendor):
    name = "kiyotaka"
    required = ("api_key",)
    one_of = ("symbols", "coins")
    coverage = throttled_at_binance("kiyotaka")

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        if config.get("coins") and not config.get("coin_exchanges"):
            yield ConfigurationError(
                "kiyotaka.coin_exchanges",
                "is required with coins, but missing.",
                advice='Name the exchanges to sum over, e.g. ["BINANCE_FUTURES", "BYBIT"].',
            )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        platform = config.get("platform", "kiyotaka")
        host, header = PLATFORMS[platform]
        requests = config.get("requests_per_minute")
        weight = config.get("weight_per_minute", requests or PER_MINUTE)
        allowances = [Allowance(weight, 60.0, capacity=BURST * weight)]
        # A user who sets a limit does not have the smallest plan.
        per_day = config.get("weight_per_day", None if requests or "weight_per_minute" in config else WEIGHT_PER_DAY)
        if per_day is not None:
            allowances.append(Allowance(per_day, 86_400.0, capacity=per_day))
        budget = self.budget(PER_MINUTE, 60.0, *allowances)
        headers = {header: config["api_key"]}
        self._client = self.client(host, budget, headers=headers, explain=partial(explain, platform))
        most_weight = min(allowance.capacity for allowance in allowances)
        self._points = LiquidationAgg(self._client, config, most_weight=most_weight)
        self.feeds = (
            Feed(self._points, liquidation_agg.STREAM, {LIQUIDATION_VOLUMES: liquidation_agg.to_volumes}),
            Feed(markets.MarketList(self._client), markets.STREAM, {COVERAGE: markets.to_coverage()}),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Request one interval of the first entries, for at most half of a minute's budget.

        It is the current interval. But for the first entry it is the one at start_date, which shows whether the key's
        history goes back that far.
        """
        by_entry: dict[str, Partition] = {}
        for partition in self._points.all_partitions(traffic):
            by_entry.setdefault(partition.entry, partition)
        most = max(1, min(ENTRIES_CHECKED, self._client.budget.requests // 2 - bool(self._config.get("coins"))))
        symbols = [partition for entry, partition in by_entry.items() if "symbols" in entry]
        coins = [partition for entry, partition in by_entry.items() if "symbols" not in entry]
        first, *others = (*symbols[:most], *coins[:1])
        newest = time.time_ns()
        notes = []
        try:
            probe_at(self._points, first, self._shared.start, traffic)
        except OutOfReach as error:
            probe_at(self._points, first, newest, traffic)
            start = timestamps.format_shortest(self._shared.start)
            notes = [f"kiyotaka: the key's history begins after {start}: {error.cause}. Older data are not read."]
        for partition in others:
            probe_at(self._points, partition, newest, traffic)
        return notes


def explain(platform: str, response: Response) -> LiquidationsError | None:
    """The error for a refusal, by its words: the vendor uses 403 for the plan, the history and too many points."""
    words = status_and_words(response)
    if response.status == 401:
        other = next(name for name in PLATFORMS if name != platform)
        advice = f"Check the key. If it is one of {other}, set `kiyotaka.platform` to {other}."
        return AccessRefused(words, status=401, advice=advice)
    if response.status != 403:
        return None
    if "point count" in words.lower():
        return WindowTooLarge(f"{words}.", advice="Choose a longer interval.")
    if _HISTORY_WORDS.search(words):
        return OutOfReach(words, status=403, advice="Set `start_date` within your plan's history, or upgrade the plan.")
    return None
