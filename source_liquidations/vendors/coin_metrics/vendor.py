"""Coin Metrics: key, hosts, budget, streams, check."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import origin
from source_liquidations.reading.coverage import COVERAGE, documented
from source_liquidations.unified import LIQUIDATION_VOLUMES, LIQUIDATIONS
from source_liquidations.vendors.coin_metrics import market_liquidations, markets, metrics
from source_liquidations.vendors.coin_metrics.market_liquidations import MarketLiquidations
from source_liquidations.vendors.coin_metrics.markets import Contracts, LiquidationMarkets
from source_liquidations.vendors.coin_metrics.metrics import LiquidationMetrics
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, reach_notes

PAID_HOST = "https://api.coinmetrics.io"
COMMUNITY_HOST = "https://community-api.coinmetrics.io"

PAID_BUDGET = (6000, 20.0)
COMMUNITY_BUDGET = (10, 6.0)


class CoinMetrics(Vendor):
    name = "coin_metrics"
    required = ("markets",)
    coverage = documented(
        "coin_metrics",
        "Coin Metrics, Market Level Liquidations",
        [
            ("deribit", "starts", "2018-08-14", None, "coverage begins"),
            ("ftx", "starts", "2019-04-19", None, "coverage begins"),
            ("bitfinex", "starts", "2019-08-01", None, "coverage begins"),
            ("binance", "starts", "2019-09-10", None, "coverage begins"),
            ("huobi", "starts", "2020-07-10", None, "coverage begins"),
            ("okx", "starts", "2020-10-01", None, "coverage begins"),
            ("bitmex", "starts", "2020-10-08", None, "coverage begins"),
            ("kraken", "starts", "2020-12-09", None, "coverage begins"),
            ("bybit", "starts", "2021-04-24", None, "coverage begins"),
            ("binance", "missing", "2021-04-27", "2021-05-11", "a breaking change of Binance's API"),
            ("binance", "under_reported", "2021-05-11", "2021-08-31", "only the last fill of each second was kept"),
            ("binance", "throttled", "2021-08-31", None, "at most one liquidation per symbol and second, summed"),
            ("okx", "under_reported", "2020-10-01", "2021-09-21", "identical neighbours were stored once"),
            ("bitmex", "under_reported", "2020-10-08", "2021-09-20", "rate limits of the exchange"),
            ("bybit", "missing", "2021-09-24", "2021-09-29", "an endpoint of the exchange was switched off"),
        ],
    )

    @classmethod
    def entry_problem(cls, field: str, entry: str) -> tuple[str, str] | None:
        if field != "markets" or not entry.endswith(("-spot", "-option")):
            return None
        return (
            f"{entry!r} is not a futures market, and only those have liquidations.",
            "Use an id such as binance-BTCUSDT-future, or a pattern such as binance-*-future.",
        )

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        frequency = config.get("metrics_frequency", metrics.DEFAULT_FREQUENCY)
        for level in metrics.LEVELS:
            if config.get(level.setting) and frequency not in level.frequencies:
                yield ConfigurationError(
                    "coin_metrics.metrics_frequency",
                    f"there are no liquidation metrics of {level.plural} at {frequency}.",
                    advice=f"Allowed: {' or '.join(level.frequencies)}; or leave `coin_metrics.{level.setting}` empty.",
                )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        key = config.get("api_key")
        client = self.client(
            PAID_HOST if key else COMMUNITY_HOST,
            self.budget(*(PAID_BUDGET if key else COMMUNITY_BUDGET)),
            key_params=(("api_key", key),) if key else (),
            own_origins=frozenset((origin(PAID_HOST), origin(COMMUNITY_HOST))),
            explain=metrics.refused_metric,
        )
        self._liquidations = MarketLiquidations(client, config)
        self._metrics = [LiquidationMetrics(client, config, level) for level in metrics.LEVELS]
        contracts = Contracts(client)
        # Not every key may read metrics: without a metrics field, `liquidation_volumes` does not request them.
        with_metrics = any(value for name, value in config.items() if name.startswith("metrics_"))
        self.feeds = (
            Feed(
                self._liquidations,
                market_liquidations.STREAM,
                {LIQUIDATIONS: partial(market_liquidations.to_liquidations, contracts)},
                contracts.prepare,
            ),
            *(
                Feed(each, each.level.stream, {LIQUIDATION_VOLUMES: each.to_volumes} if with_metrics else {})
                for each in self._metrics
            ),
            Feed(LiquidationMarkets(client), markets.STREAM, {COVERAGE: markets.to_coverage()}),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Request one row of the configured markets, and one of the entities that the metrics fields select.

        The metrics of markets are not requested: a key may be able to read the markets' liquidations only.
        """
        selected = [each for each in self._metrics if each.entries and each.level is not metrics.MARKET]
        for endpoint in (self._liquidations, *selected):
            endpoint.check(traffic)
        return reach_notes("coin_metrics", self._liquidations.reach, self._shared.start)
