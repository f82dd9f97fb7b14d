"""Bitfinex: host, budget, error words, streams, check. There is no key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from source_liquidations.coverage import documented
from source_liquidations.errors import LiquidationsError, RequestRefused
from source_liquidations.http.answers import Answered
from source_liquidations.http.budgets import Budget
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import words_of
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.unified import LIQUIDATIONS
from source_liquidations.vendors.bitfinex import liquidations, platform
from source_liquidations.vendors.bitfinex.liquidations import Liquidations
from source_liquidations.vendors.vendor import Feed, Shared, Vendor

HOST = "https://api-pub.bitfinex.com"
# Documented are 3 requests a minute and address; measured, the second of two at once is refused, and the pause that
# follows lasts minutes. So requests keep this distance, and a 429 is waited out for as long.
SECONDS_BETWEEN_REQUESTS = 25.0
DELAYS = (60.0, 240.0)
PLATFORM_REQUESTS_PER_MINUTE = 30  # of its status, and of candles; lists have 90

# In a body of rows, which begins with two brackets, any number may stand.
_RATE_LIMIT = re.compile(rb"(?!\s*\[\s*\[).*(ERR_RATE_LIMIT|\b11010\b)", re.DOTALL)
_BAD_PARAMETER = re.compile(r"\b10020\b")

# status: what may refuse a request that needs no key
_REFUSALS = {
    401: "Bitfinex needs no key. Check the key of the proxy, if `bitfinex.base_url` is one.",
    402: "Bitfinex needs no key. Check the key of the proxy, if `bitfinex.base_url` is one.",
    403: "Bitfinex needs no key and no plan. It may not cover this address or its country.",
}

_budgets: dict[str, Budget] = {}  # by base URL: the limit is one of the address, whichever command spends it


def budget_of(url: str, seconds: float) -> Budget:
    """The budget of this process: one request at a time, with so many seconds between two."""
    budget = _budgets.setdefault(url.rstrip("/"), Budget(1, seconds))
    budget.change(1, seconds)
    return budget


def translated(answered: Answered) -> Answered:
    """A rate limit as a 429; one of its bodies has been seen with a status that is not known."""
    return answered if _RATE_LIMIT.match(answered.body) is None else replace(answered, status=429)


def explain(answered: Answered) -> LiquidationsError | None:
    """What an error means that another try would not change.

    It is one of the address or of the request, never of a symbol.
    """
    status, words = answered.status, words_of(answered)
    is_refused = 400 <= status < 500 and status not in {408, 429}
    if not is_refused and not (status >= 500 and _BAD_PARAMETER.search(words)):
        return None
    advice = _REFUSALS.get(status, "Report this with the connector's version.")
    return RequestRefused(words, status=status, advice=advice).of_reading()


def explain_at_once(answered: Answered) -> LiquidationsError | None:
    """As `explain`; and a check does not wait for minutes."""
    return platform.Busy(words_of(answered), status=429) if answered.status == 429 else explain(answered)


class Bitfinex(Vendor):
    name = "bitfinex"
    required = ("symbols",)
    coverage = documented(
        "bitfinex",
        "bfx-api-node-rest, pull request 32; Coin Metrics, Market Level Liquidations",
        [("bitfinex", "starts", "2019-08-01", None, "the first liquidations are of this month")],
    )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        self._symbols: Sequence[str] = config["symbols"]
        per_minute = config.get("requests_per_minute")
        seconds = 60.0 / per_minute if per_minute else SECONDS_BETWEEN_REQUESTS
        budget = budget_of(config.get("base_url", HOST), seconds)
        client = self.client(HOST, budget, explain=explain, translate=translated, delays=DELAYS)
        own = Budget(PLATFORM_REQUESTS_PER_MINUTE, 60.0)
        self._platform = self.client(HOST, own, explain=explain_at_once, translate=translated)
        self._liquidations = Liquidations(client, self._symbols, shared.start)

    def feeds(self) -> Sequence[Feed]:
        return (Feed(self._liquidations, liquidations.STREAM, {LIQUIDATIONS: liquidations.to_liquidations}),)

    def check(self, traffic: Traffic) -> list[str]:
        """The platform's status and, unless the whole exchange is wanted, its lists of pairs.

        A symbol that is in none of them may have been delisted: its candles tell. All of these calls have limits of
        their own, so that a read right after has its first request. A 429 means reachable.
        """
        try:
            platform.must_be_operative(self._platform, traffic)
        except platform.Busy as error:
            logger.info("bitfinex: the platform's status is not known: %s", redact(error.cause))
        if all(entry == platform.EVERYTHING for entry in self._symbols):
            return []
        try:
            listed = platform.symbols(self._platform, traffic)
            was_traded = partial(platform.was_traded, self._platform, traffic=traffic)
            return platform.check_entries(self._symbols, listed, was_traded)
        except platform.Busy as error:
            return [f"bitfinex: the symbols were not compared with the vendor's lists: {error.cause}."]
