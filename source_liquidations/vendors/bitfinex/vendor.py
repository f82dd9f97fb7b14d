"""Bitfinex: host, budget, error words, streams, check. There is no key.

`check` uses "Platform Status" (maintenance), "Configs" (today's pairs) and "Candles" (delisted pairs). Pages:
reference/rest-public-platform-status, -conf and -candles of https://docs.bitfinex.com.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec

from source_liquidations.errors import (
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
    first_few,
    shown,
)
from source_liquidations.http.answers import Response
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import status_and_words
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.coverage import documented
from source_liquidations.unified import LIQUIDATIONS
from source_liquidations.vendors.bitfinex import liquidations
from source_liquidations.vendors.bitfinex.liquidations import Liquidations
from source_liquidations.vendors.patterns import is_pattern, matching_names
from source_liquidations.vendors.vendor import Feed, Shared, Vendor

STATUS = "/v2/platform/status"
PAIRS = "/v2/conf/pub:list:pair:futures,pub:list:pair:margin"
CANDLES = "/v2/candles/trade:1D:{}/hist"
EVERYTHING = "*"

_status = msgspec.json.Decoder(list[int])
_pairs = msgspec.json.Decoder(list[list[str] | None])
_candles = msgspec.json.Decoder(list[msgspec.Raw])


class Busy(VendorUnavailable):
    """A 429 during `check`: the vendor can be reached, but the check cannot be completed now."""


HOST = "https://api-pub.bitfinex.com"
# The page allows 3 requests a minute and address. Measured: the second of two requests sent at once is refused, and the
# pause after it lasts minutes. So requests are spaced this far apart, and the delays after a 429 are this long.
SECONDS_BETWEEN_REQUESTS = 25.0
DELAYS = (60.0, 240.0)
PLATFORM_REQUESTS_PER_MINUTE = 30  # for status and candles; lists allow 90

# A body of rows begins with two brackets and may contain any number, 11010 included.
_RATE_LIMIT = re.compile(rb"(?!\s*\[\s*\[).*(ERR_RATE_LIMIT|\b11010\b)", re.DOTALL)
_BAD_PARAMETER = re.compile(r"\b10020\b")

# status: what to do
_REFUSALS = {
    401: "Bitfinex needs no key. Check the key of the proxy, if `bitfinex.base_url` is one.",
    402: "Bitfinex needs no key. Check the key of the proxy, if `bitfinex.base_url` is one.",
    403: "Bitfinex needs no key and no plan. It may not cover this address or its country.",
}

_budgets: dict[str, Budget] = {}  # by base URL: all commands of a process share the limit of its address


def budget_of(url: str, seconds: float) -> Budget:
    """The budget of this process: one request every `seconds`."""
    budget = _budgets.setdefault(url.rstrip("/"), Budget(1, seconds))
    budget.change(1, seconds)
    return budget


def translated(response: Response) -> Response:
    """A rate limit as a 429: for the body with code 11010, the vendor's status is unknown."""
    return response if _RATE_LIMIT.match(response.body) is None else replace(response, status=429)


def explain(response: Response) -> LiquidationsError | None:
    """The error for an answer that a retry would not change; None for other answers.

    Requests name no symbol, so the error is about the address or the request.
    """
    status, words = response.status, status_and_words(response)
    is_refused = 400 <= status < 500 and status not in {408, 429}
    if not is_refused and not (status >= 500 and _BAD_PARAMETER.search(words)):
        return None
    advice = _REFUSALS.get(status, "Report this with the connector's version.")
    return RequestRefused(words, status=status, advice=advice).of_reading()


def explain_at_once(response: Response) -> LiquidationsError | None:
    """Like `explain`, but a 429 is an error too: `check` must not wait for minutes."""
    return Busy(status_and_words(response), status=429) if response.status == 429 else explain(response)


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
        platform_budget = Budget(PLATFORM_REQUESTS_PER_MINUTE, 60.0)
        self._platform = self.client(HOST, platform_budget, explain=explain_at_once, translate=translated)
        endpoint = Liquidations(client, self._symbols, shared.start)
        self.feeds = (Feed(endpoint, liquidations.STREAM, {LIQUIDATIONS: liquidations.to_liquidations}),)

    def check(self, traffic: Traffic) -> list[str]:
        """Request the platform's status and, unless all entries are `*`, the lists of pairs.

        A symbol that is in no list may be delisted: it then has candles. These calls have rate limits of their own, so
        a read right after the check can send its first request. A 429 proves that the vendor can be reached.
        """
        try:
            self._must_be_operative(traffic)
        except Busy as error:
            logger.info("bitfinex: the platform's status could not be read: %s", redact(error.cause))
        if all(entry == EVERYTHING for entry in self._symbols):
            return []
        try:
            delisted = self._delisted(traffic)
        except Busy as error:
            return [f"bitfinex: the symbols were not compared with the vendor's lists of pairs: {error.cause}."]
        note = f"bitfinex: {first_few(delisted)}: not among today's pairs, so there are only earlier liquidations."
        return [note] if delisted else []

    def _must_be_operative(self, traffic: Traffic) -> None:
        """Raises VendorUnavailable during maintenance."""
        response = self._platform.fetch(Request(STATUS), traffic)
        status = response.decoded(_status)
        if status == [0]:
            raise VendorUnavailable("the platform is in maintenance.", advice="Try again later.")
        if status != [1]:
            raise UnexpectedAnswer(f"`status` of the platform is {shown(response.body)}, neither [1] nor [0].")

    def _delisted(self, traffic: Traffic) -> list[str]:
        """The entries that are not among today's pairs, but were traded before.

        Raises ConfigurationError for the first entry that is neither.
        """
        lists = self._platform.fetch(Request(PAIRS), traffic).decoded(_pairs)
        listed = [f"t{pair}" for pairs in lists for pair in pairs or ()]
        delisted: list[str] = []
        for index, entry in enumerate(self._symbols):
            where = f"bitfinex.symbols[{index}]"
            if is_pattern(entry) and entry != EVERYTHING:
                advice = "E.g. t*F0:USTF0 for perpetuals quoted in USDT, or * for the whole exchange."
                matching_names(entry, listed, where, "pair that Bitfinex lists", advice)
            if is_pattern(entry) or entry in listed:
                continue
            close = next((symbol for symbol in listed if symbol.lower() == entry.lower()), None)
            if close is not None or not self._was_traded(entry, traffic):
                raise ConfigurationError(
                    where,
                    f"{entry!r} is not among the pairs that Bitfinex lists, and has no candles.",
                    advice=f"Did you mean {close}?" if close else "E.g. tBTCF0:USTF0, or * for the whole exchange.",
                )
            delisted.append(entry)
        return delisted

    def _was_traded(self, symbol: str, traffic: Traffic) -> bool:
        """Whether the exchange has a daily candle of a symbol: delisted symbols have some, unknown ones never."""
        request = Request(CANDLES.format(quote(symbol, safe=":")), (("limit", "1"),))
        try:
            return bool(self._platform.fetch(request, traffic).decoded(_candles))
        except RequestRefused:  # an unknown symbol
            return False
