"""Coin Metrics: market liquidations, and the vendor as a whole.

Page: https://docs.coinmetrics.io, "Market Level Liquidations" (timeseries/market-liquidations).
Beside this file: the metrics, the list of markets, and what the calls share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import COVERAGE, documented
from source_liquidations.errors import AccessRefused, ConfigurationError, RequestRefused
from source_liquidations.harmonized import LIQUIDATION_VOLUMES, LIQUIDATIONS, POSITIONS, EventMaker, number
from source_liquidations.http.answers import Answered
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import origin
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.streams import Stream
from source_liquidations.symbols import assets_of
from source_liquidations.vendors.coin_metrics_calls import (
    PAGE_SIZE,
    Body,
    batched,
    catalog,
    following,
    is_pattern,
    matches,
    owners,
)
from source_liquidations.vendors.coin_metrics_catalog import CatalogRow, LiquidationMarkets, to_coverage
from source_liquidations.vendors.coin_metrics_metrics import (
    DEFAULT_FREQUENCY,
    EXCHANGE,
    EXCHANGE_ASSET,
    LEVELS,
    MARKET,
    PAIR,
    Level,
    LiquidationMetrics,
    refused_metric,
    to_volumes,
)
from source_liquidations.vendors.decoding import RowDecoder, added_rows, iso_instants
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, base_url

PAID_HOST = "https://api.coinmetrics.io"
COMMUNITY_HOST = "https://community-api.coinmetrics.io"
TIMESERIES = "/v4/timeseries/market-liquidations"

PAID_BUDGET = (6000, 20.0)
COMMUNITY_BUDGET = (10, 6.0)
# Over up to so much time, many markets are read by one request, ordered by (market, time). Over more, each market is
# read for itself, so that all workers have something to do and every page can be checkpointed.
LONGEST_BATCH = 2 * timestamps.DAY

Filters = tuple[tuple[str, str], ...]


class LiquidationRow(msgspec.Struct):
    """Every value is a string; `side` may be absent."""

    market: str
    time: str
    coin_metrics_id: str
    type: str
    amount: str | None = None
    price: str | None = None
    database_time: str | None = None
    side: str | None = None


class MarketLiquidations(Endpoint):
    vendor = "coin_metrics"
    page_size = int(PAGE_SIZE)

    def __init__(self, client: Client, entries: Sequence[str], *, community: bool) -> None:
        self.client = client
        self._entries = entries
        self._community = community
        self._catalog = msgspec.json.Decoder(Body[CatalogRow])
        self._lists: dict[Filters, list[str]] = {}
        self._decoder = RowDecoder("coin_metrics_market_liquidations", Body, LiquidationRow, added=("time_ns",))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        found: dict[Partition, None] = {}
        matching = partial(self._matching, traffic=traffic)
        for market, where in self.resolved("coin_metrics.markets", self._entries, is_pattern, matching):
            found.setdefault(Partition.of(market=market, entry=where))
        return list(found)

    def _matching(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        """The markets with liquidations that match, of those that the key can see.

        That the catalog's filter takes a pattern is written nowhere: where it does not, its list is matched here.
        """
        code = pattern.partition("-")[0]
        try:
            markets = self._filtered(pattern, traffic)
            if not markets:
                listed = self._listed(() if is_pattern(code) else (("exchange", code),), traffic)
                markets = [market for market in listed if matches(pattern, market)]
        except (AccessRefused, RequestRefused) as error:
            raise error.named(f"`{where}`") from None
        if not markets:
            raise ConfigurationError(
                where,
                f"no market with liquidations matches {pattern!r}.",
                advice="Compare it with the catalog (catalog-v2/market-liquidations), e.g. binance-*-future.",
            )
        return markets

    def _filtered(self, pattern: str, traffic: Traffic) -> list[str]:
        """What the catalog has of a pattern; nothing where it refuses it as no market."""
        try:
            listed = self._listed((("markets", pattern),), traffic)
        except RequestRefused as error:
            if error.status != 400:
                raise
            return []
        return [market for market in listed if matches(pattern, market)]

    def _listed(self, filters: Filters, traffic: Traffic) -> list[str]:
        """The markets of the catalog, asked for once: several patterns may need the same ones."""
        if filters not in self._lists:
            found = catalog(self.client, "market-liquidations", filters, self._decode_catalog, traffic)
            self._lists[filters] = [market for page in found for market in page]
        return self._lists[filters]

    def _decode_catalog(self, answered: Answered) -> tuple[Body[CatalogRow], list[str]]:
        body = answered.decoded(self._catalog)
        return body, [row.market for row in body.data or ()]

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        if end - start > LONGEST_BATCH and not self._community:
            return [(partition,) for partition in partitions]
        return batched(partitions, "market", len(partitions))

    def first(self, span: Span) -> Request:
        # Both bounds are inclusive by default, and pages begin at the end of the time asked for.
        return Request(
            TIMESERIES,
            (
                ("markets", ",".join(partition["market"] for partition in span.partitions)),
                ("start_time", timestamps.format_instant(span.start)),
                ("end_time", timestamps.format_instant(span.end)),
                ("end_inclusive", "false"),
                ("paging_from", "start"),
                ("page_size", PAGE_SIZE),
            ),
        )

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        del memory
        body, raw, collides = self._decoder.decode(answered)
        instants = iso_instants("time", [row.time for row in body.data])
        each = [b'"time_ns":%d,' % instant for instant in instants]
        rows = added_rows(raw, instants, constant={}, each=each, typed=body.data, collides=collides)
        rows.owners = owners("market", (row.market for row in body.data), span)
        return Answer.before(rows, partial(following, self.client, request, body))


# liquidations: side is the order that closed the position (a sell closed a long); the amount counts contracts.
_POSITION_OF = {order: position for position, order in POSITIONS.items()}


_event = EventMaker("coin_metrics", amount_unit="contracts")


@lru_cache(maxsize=16384)
def _names(market: str, event_type: str) -> bytes:
    code, _, symbol = market.partition("-")
    return _event.names(market, code, *assets_of(symbol.removesuffix("-future"), code), event_type)


def to_liquidations(rows: Rows, span: Span) -> list[bytes]:
    del span
    return [
        _event.row(
            _names(row.market, row.type),
            f"{row.coin_metrics_id}:{row.type}",
            row.time.encode(),
            instant,
            _POSITION_OF.get(row.side or ""),
            number("price", row.price.encode() if row.price else None),
            number("amount", row.amount.encode() if row.amount else None),
            b"null",
        )
        for row, instant in zip(rows.typed, rows.instants, strict=True)
    ]


def feeds_volumes(config: Mapping[str, Any]) -> bool:
    """Whether metrics go into liquidation_volumes, too: where the configuration asks for any.

    Not every key may read them, and who reads Kaiko's and Kiyotaka's volumes need not ask for them.
    """
    return any(value for name, value in config.items() if name.startswith("metrics_"))


class CoinMetrics(Vendor):
    name = "coin_metrics"
    required = ("markets",)
    streams = (
        Stream("coin_metrics_market_liquidations", ("market", "coin_metrics_id", "type"), "time"),
        *(level.stream for level in LEVELS),
        Stream("coin_metrics_liquidation_markets", ("market",)),
    )
    unified = (LIQUIDATIONS, LIQUIDATION_VOLUMES)
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
    def unified_streams(cls, config: Mapping[str, Any]) -> tuple[Stream, ...]:
        return cls.unified if feeds_volumes(config) else (LIQUIDATIONS,)

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
        frequency = config.get("metrics_frequency", DEFAULT_FREQUENCY)
        for level in (EXCHANGE_ASSET, PAIR, EXCHANGE):
            if config.get(level.setting) and frequency not in level.frequencies:
                yield ConfigurationError(
                    "coin_metrics.metrics_frequency",
                    f"there are no liquidation metrics of {level.words} at {frequency}.",
                    advice=f"Allowed: {' or '.join(level.frequencies)}; or leave `coin_metrics.{level.setting}` empty.",
                )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        key = config.get("api_key")
        per_minute = config.get("requests_per_minute")
        self._client = Client(
            vendor="coin_metrics",
            hosts={"data": base_url(config, PAID_HOST if key else COMMUNITY_HOST)},
            key_params=(("api_key", key),) if key else (),
            own_origins=frozenset((origin(PAID_HOST), origin(COMMUNITY_HOST))),
            budget=Budget(per_minute, 60.0) if per_minute else Budget(*(PAID_BUDGET if key else COMMUNITY_BUDGET)),
            explain=refused_metric,
            connections=shared.workers,
            stop=shared.stop,
        )
        self._config = config
        self._community = not key

    def feeds(self) -> Sequence[Feed]:
        metrics = (self._metrics(level) for level in LEVELS)
        return (
            Feed(self._liquidations(), "coin_metrics_market_liquidations", {LIQUIDATIONS.name: to_liquidations}),
            *(
                Feed(
                    endpoint,
                    endpoint.level.stream.name,
                    {LIQUIDATION_VOLUMES.name: to_volumes(endpoint.level, endpoint.frequency)}
                    if feeds_volumes(self._config)
                    else {},
                )
                for endpoint in metrics
            ),
            Feed(LiquidationMarkets(self._client), "coin_metrics_liquidation_markets", {COVERAGE.name: to_coverage}),
        )

    def _liquidations(self) -> MarketLiquidations:
        return MarketLiquidations(self._client, tuple(self._config["markets"]), community=self._community)

    def _metrics(self, level: Level) -> LiquidationMetrics:
        wanted = level is not MARKET or self._config.get("metrics_for_markets", True)
        entries = tuple(self._config.get(level.setting, ())) if wanted else ()
        frequency = self._config.get("metrics_frequency", DEFAULT_FREQUENCY)
        return LiquidationMetrics(self._client, level, entries, frequency, community=self._community)

    def check(self, traffic: Traffic) -> None:
        """One row of as many of the named markets as one request takes; patterns must match something.

        Likewise of the entities whose metrics are configured. The markets' metrics are not asked for: who reads the
        markets' liquidations alone need not have them.
        """
        endpoint = self._liquidations()
        partitions = endpoint.all_partitions(traffic)
        batch = next(iter(endpoint.batches(partitions, 0, 0)))
        markets = ",".join(partition["market"] for partition in batch)
        request = Request(TIMESERIES, (("markets", markets), ("limit_per_market", "1"), ("page_size", "1")))
        try:
            endpoint.decode(self._client.fetch(request, traffic), Span(batch, 0, 1), request, {})
        except RequestRefused as error:
            named = [p.entry for p in batch if f"'{p['market']}'" in error.cause] or ["coin_metrics.markets"]
            raise error.named(", ".join(f"`{entry}`" for entry in named)) from None
        for level in (EXCHANGE_ASSET, PAIR, EXCHANGE):
            metrics = self._metrics(level)
            if metrics.entries:
                metrics.check(traffic)
