"""Kwery: key, host, budget, error words, streams, check."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    OutOfReach,
    RequestRefused,
    UnexpectedAnswer,
)
from source_liquidations.http.answers import Response
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import status_and_words
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.coverage import COVERAGE, documented
from source_liquidations.unified import LIQUIDATIONS
from source_liquidations.vendors.kwery import liquidations, symbols
from source_liquidations.vendors.kwery.credits import CREDITS_PER_REQUEST, CREDITS_PER_ROW, Credits, cost
from source_liquidations.vendors.kwery.limits import Limits
from source_liquidations.vendors.kwery.liquidations import Liquidations
from source_liquidations.vendors.listing import rows_of
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, probe_at, reach_notes

HOST = "https://kwery-api.com"
REQUESTS_PER_MINUTE = 15  # of the Free plan, until /v1/limits returns the key's
LEAST_ROWS_PER_SYNC = 10
_NOT_FOUND = 404

# error code of the vendor: (error, status, advice)
_REFUSALS: dict[str, tuple[type[AccessRefused], int, str]] = {
    "tier_restricted": (
        AccessRefused,
        403,
        "A larger plan is needed. For `kwery.min_usd`, that is the Business plan: upgrade, or leave it empty.",
    ),
    "invalid_time_range": (OutOfReach, 403, "Set `start_date` within your plan's history, or upgrade the plan."),
    "credits_exhausted": (
        AccessRefused,
        402,
        "The credits of this billing cycle are spent: wait for the next one, or buy more. Everything read so far is"
        " kept; the next sync continues from there.",
    ),
}


def explain(response: Response) -> LiquidationsError | None:
    """The error that a refusal's code stands for."""
    words = status_and_words(response) if response.status < 429 else ""
    for code, (error, status, advice) in _REFUSALS.items():
        if code in words:
            return error(words, status=status, advice=advice)
    return None


class Kwery(Vendor):
    name = "kwery"
    required = ("api_key",)
    coverage = documented(
        "kwery",
        "Kwery, GET /v1/liquidations; Binance, forced order feed",
        [("binance", "throttled", "2024-01-15", None, "at most one liquidation per symbol and second")],
    )

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        limit = config.get("max_credits_per_sync")
        least = cost(LEAST_ROWS_PER_SYNC)
        if limit is not None and limit < least:
            yield ConfigurationError(
                "kwery.max_credits_per_sync",
                f"{limit} credits do not pay for {LEAST_ROWS_PER_SYNC} rows, so a sync could never make progress.",
                advice=f"Allowed: {least} or more ({CREDITS_PER_REQUEST} a request and {CREDITS_PER_ROW} a row).",
            )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        credits = Credits(config.get("max_credits_per_sync"))
        client = self.client(
            HOST,
            self.budget(REQUESTS_PER_MINUTE, 60.0),
            headers={"X-API-Key": config["api_key"]},
            other_key_params=(("api-key", config["api_key"]),),
            explain=explain,
            purse=credits,
        )
        self._liquidations = Liquidations(client, config, credits)
        self._symbols = symbols.symbol_list(client)
        self.feeds = (
            Feed(self._liquidations, liquidations.STREAM, {LIQUIDATIONS: liquidations.to_liquidations}),
            Feed(self._symbols, symbols.STREAM, {COVERAGE: symbols.to_coverage()}),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Two free calls: the key's plan, and the symbols. Without a plan, a paid one for the newest millisecond."""
        plan = self._plan(traffic)
        if plan.credits is not None and plan.credits.remaining == 0:
            raise ConfigurationError(
                "kwery.api_key",
                "the credits of this billing cycle are spent.",
                advice="Wait for the next cycle, or buy more.",
            )
        if self._config.get("min_usd") is not None and (plan.plan or "").lower() in {"free", "pro"}:
            raise ConfigurationError(
                "kwery.min_usd", f"the {plan.plan} plan does not include it.", advice="Leave it empty, or upgrade."
            )
        self._check_symbols(traffic)
        return reach_notes("kwery", plan.reach, self._shared.start)

    def _plan(self, traffic: Traffic) -> Limits:
        try:
            return self._liquidations.apply_plan(traffic)
        except UnexpectedAnswer:  # the key is good, and a sync works without the plan
            return Limits()
        except RequestRefused as error:
            if error.status != _NOT_FOUND:
                raise
            probe_at(self._liquidations, self._liquidations.configured_partitions()[0], time.time_ns(), traffic)
            return Limits()

    def _check_symbols(self, traffic: Traffic) -> None:
        try:
            names = [row.symbol for row, _ in rows_of(self._symbols, traffic)]
        except (RequestRefused, UnexpectedAnswer) as error:
            logger.info("kwery: the symbols were not compared with the vendor's list: %s", redact(error.cause))
            return
        for index, symbol in enumerate(self._config.get("symbols", ())):
            if names and symbol not in names:
                raise ConfigurationError(
                    f"kwery.symbols[{index}]",
                    f"{symbol!r} is not a symbol of Kwery.",
                    advice=f"Allowed: {', '.join(names)}.",
                )
