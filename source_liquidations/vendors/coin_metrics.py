"""Coin Metrics: market liquidations.

Page: https://docs.coinmetrics.io, "Market Level Liquidations" (timeseries/market-liquidations).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, ConfigurationError, RequestRefused, UnexpectedAnswer
from source_liquidations.harmonized import LIQUIDATIONS, POSITIONS, Event, assets_of, event_lines, exchange, number
from source_liquidations.http.answers import Answered
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Client, Request, Traffic, origin
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import RowDecoder, iso_instants
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, base_url

PAID_HOST = "https://api.coinmetrics.io"
COMMUNITY_HOST = "https://community-api.coinmetrics.io"
TIMESERIES = "/v4/timeseries/market-liquidations"
CATALOG = "/v4/catalog-v2/market-liquidations"
CATALOG_ALL = "/v4/catalog-all-v2/market-liquidations"

PAGE_SIZE = "10000"
CATALOG_PAGE_SIZE = "1000"
PAID_BUDGET = (6000, 20.0)
COMMUNITY_BUDGET = (10, 6.0)
# A URL of more than 10,000 characters is refused (414); this much is for the market list.
LONGEST_MARKET_LIST = 9_000
# Over up to so much time, many markets are read by one request, ordered by (market, time). Over more, each market is
# read for itself, so that all workers have something to do and every page can be checkpointed.
LONGEST_BATCH = 2 * timestamps.DAY

T = TypeVar("T")


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


class CatalogRow(msgspec.Struct):
    market: str


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | msgspec.UnsetType = msgspec.UNSET
    next_page_token: str | None = None
    next_page_url: str | None = None


def following(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The request of the next page: the same with its token. next_page_url embeds the key, so it is not followed."""
    if body.next_page_url:
        client.check_origin(body.next_page_url)
    if not body.next_page_token:
        if body.next_page_url:
            raise UnexpectedAnswer(
                "`next_page_url` without a `next_page_token`.", advice="No page was guessed from it."
            )
        return None
    params = tuple(param for param in request.params if param[0] != "next_page_token")
    return Request(request.path, (*params, ("next_page_token", body.next_page_token)))


class MarketLiquidations(Endpoint):
    vendor = "coin_metrics"
    page_size = int(PAGE_SIZE)

    def __init__(self, client: Client, entries: Sequence[str], *, community: bool) -> None:
        self.client = client
        self._entries = entries
        self._community = community
        self._catalog = msgspec.json.Decoder(Body[CatalogRow])
        self._decoder = RowDecoder("coin_metrics_market_liquidations", Body, LiquidationRow)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        found: dict[Partition, None] = {}
        for index, entry in enumerate(self._entries):
            where = f"coin_metrics.markets[{index}]"
            markets = self._matching(entry, where, traffic) if "*" in entry else [entry]
            for market in markets:
                found.setdefault(Partition.of(market=market, entry=where))
        return list(found)

    def _matching(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        """The markets with liquidations that match, of those that the key can see."""
        try:
            markets = list(self._catalog_markets(CATALOG, pattern, traffic))
        except (AccessRefused, RequestRefused) as error:
            if error.status not in {403, 404}:
                raise error.named(f"`{where}`") from None
            markets = list(self._catalog_markets(CATALOG_ALL, pattern, traffic))
        if not markets:
            raise ConfigurationError(
                where,
                f"no market with liquidations matches {pattern!r}.",
                advice="Compare it with the catalog (catalog-v2/market-liquidations), e.g. binance-*-future.",
            )
        return markets

    def _catalog_markets(self, path: str, pattern: str, traffic: Traffic) -> Iterable[str]:
        request: Request | None = Request(path, (("markets", pattern), ("page_size", CATALOG_PAGE_SIZE)))
        seen: set[Request] = set()
        while request is not None:
            if request in seen:
                raise UnexpectedAnswer("the catalog repeats its page token.")
            seen.add(request)
            body = self.client.fetch(request, lambda answered: answered.decoded(self._catalog), traffic=traffic)
            yield from (row.market for row in body.data or ())
            request = following(self.client, request, body)

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        if end - start > LONGEST_BATCH and not self._community:
            return [(partition,) for partition in partitions]
        batches: list[list[Partition]] = []
        length = 0
        for partition in sorted(partitions, key=lambda partition: partition["market"]):
            length += len(partition["market"]) + 1
            if not batches or length > LONGEST_MARKET_LIST:
                batches.append([])
                length = len(partition["market"]) + 1
            batches[-1].append(partition)
        return [tuple(batch) for batch in batches]

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
        body, raw, _ = self._decoder.decode(answered)
        instants = iso_instants("time", [row.time for row in body.data])
        rows = Rows(raw, instants, owners=owners(body.data, span), typed=body.data)
        return Answer(rows, following(self.client, request, body))


def owners(rows: Sequence[LiquidationRow], span: Span) -> list[int] | None:
    """Each row's partition, where the request asked for several."""
    if len(span.partitions) == 1:
        return None
    index = {partition["market"]: number for number, partition in enumerate(span.partitions)}
    try:
        return [index[row.market] for row in rows]
    except KeyError as error:
        raise UnexpectedAnswer(f"`market`: rows of {error}, which was not asked for.") from None


# liquidations: side is the order that closed the position (a sell closed a long); the amount counts contracts.
_POSITION_OF = {order: position for position, order in POSITIONS.items()}


def to_liquidations(rows: Rows, span: Span) -> list[bytes]:
    del span
    events = []
    for row, instant in zip(rows.typed, rows.instants, strict=True):
        code, _, symbol = row.market.partition("-")
        base_asset, quote_asset = assets_of(symbol.removesuffix("-future"))
        events.append(
            Event(
                market=row.market,
                liquidation_id=f"{row.coin_metrics_id}:{row.type}",
                exchange=exchange(code),
                base_asset=base_asset,
                quote_asset=quote_asset,
                liquidated_at=row.time,
                liquidated_at_ns=instant,
                position_side=_POSITION_OF.get(row.side or ""),
                event_type=row.type,
                price=number("price", row.price.encode() if row.price else None),
                amount=number("amount", row.amount.encode() if row.amount else None),
                amount_unit="contracts",
                amount_usd=None,
            )
        )
    return event_lines("coin_metrics", events)


class CoinMetrics(Vendor):
    name = "coin_metrics"
    streams = (Stream("coin_metrics_market_liquidations", ("market", "coin_metrics_id", "type"), "time"),)
    unified = (LIQUIDATIONS,)

    @classmethod
    def validate(cls, config: Mapping[str, Any]) -> None:
        for index, entry in enumerate(config["markets"]):
            if entry.endswith(("-spot", "-option")):
                raise ConfigurationError(
                    f"coin_metrics.markets[{index}]",
                    f"{entry!r} is no futures market, and only those have liquidations.",
                    advice="Use an id such as binance-BTCUSDT-future, or a pattern such as binance-*-future.",
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
            connections=shared.workers,
            stop=shared.stop,
        )
        self._entries = tuple(config["markets"])
        self._community = not key

    def feeds(self) -> Sequence[Feed]:
        endpoint = MarketLiquidations(self._client, self._entries, community=self._community)
        return (Feed(endpoint, "coin_metrics_market_liquidations", {LIQUIDATIONS.name: to_liquidations}),)

    def check(self, traffic: Traffic) -> None:
        """One row of as many of the named markets as one request takes; patterns must match something."""
        endpoint = self.feeds()[0].endpoint
        partitions = list(endpoint.partitions(traffic))
        batch = next(iter(endpoint.batches(partitions, 0, 0)))
        markets = ",".join(partition["market"] for partition in batch)
        request = Request(TIMESERIES, (("markets", markets), ("limit_per_market", "1"), ("page_size", "1")))
        try:
            self._client.fetch(
                request, lambda answered: endpoint.decode(answered, Span(batch, 0, 1), request, {}), traffic=traffic
            )
        except RequestRefused as error:
            named = [p.entry for p in batch if f"'{p['market']}'" in error.cause] or ["coin_metrics.markets"]
            raise error.named(", ".join(f"`{entry}`" for entry in named)) from None
