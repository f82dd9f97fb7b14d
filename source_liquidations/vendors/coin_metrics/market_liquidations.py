"""Coin Metrics, "Market Level Liquidations": GET /v4/timeseries/market-liquidations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, RequestRefused
from source_liquidations.http.client import Client, Params
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import LazySequence, Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import assets_of, exchange
from source_liquidations.unified import POSITION_OF, event_names, liquidations
from source_liquidations.vendors.coin_metrics.calls import Body, Catalog, Timeseries, batched
from source_liquidations.vendors.coin_metrics.markets import CatalogRow, Contracts
from source_liquidations.vendors.contract_sizes import converted
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, added_rows
from source_liquidations.vendors.instants import iso_instants
from source_liquidations.vendors.patterns import is_pattern, matches, matching_names
from source_liquidations.vendors.repeats import EventIds

STREAM = Stream("coin_metrics_market_liquidations", ("market", "coin_metrics_id", "type"), "time", declared_in=__name__)
SETTING = "coin_metrics.markets"

# Up to this length, one window reads many markets; its rows are ordered by (market, time). A longer window reads one
# market, so that all workers are busy and every page is a checkpoint.
LONGEST_BATCH = 2 * timestamps.DAY


class LiquidationRow(msgspec.Struct):
    """The page documents every value as a string. `side` may be absent."""

    market: str
    time: str
    coin_metrics_id: str | int
    type: str
    amount: str | float | None = None
    price: str | float | None = None
    database_time: str | None = None
    side: str | None = None


class MarketLiquidations(Timeseries):
    one_row_params = (("limit_per_market", "1"), ("page_size", "1"))

    def __init__(self, client: Client, config: Mapping[str, Any]) -> None:
        decoder = RowDecoder(Body, LiquidationRow, Fields(STREAM), added=("time_ns",))
        super().__init__(client, config, "market-liquidations", "market", decoder)
        self._entries = config["markets"]
        self._ids = EventIds(STREAM.name)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        listed = cache(partial(self._listed, traffic))  # patterns may need the same list
        matching = partial(self._matching, listed)
        for market, where in self.resolve_entries(SETTING, self._entries, is_pattern, matching):
            yield Partition.of(market=market, entry=where)

    def _matching(self, listed: Callable[[Params], list[str]], pattern: str, where: str) -> list[str]:
        """The markets with liquidations that match a pattern, of those that the key may read.

        No page says whether the catalog's filter accepts patterns, and none mentions `?`. If the filter returns
        nothing, or refuses the pattern (400), the connector matches the whole list itself.
        """
        code, markets = pattern.partition("-")[0], []
        try:
            filtered = [] if "?" in pattern else listed((("markets", pattern),))
            markets = [market for market in filtered if matches(pattern, market)]
        except RequestRefused as error:
            if error.status != 400:
                raise
        markets = markets or listed(() if is_pattern(code) else (("exchange", code),))
        advice = "Compare it with the catalog (catalog-v2/market-liquidations), e.g. binance-*-future."
        return matching_names(pattern, markets, where, "market with liquidations", advice)

    def _listed(self, traffic: Traffic, filters: Params) -> list[str]:
        """The markets of the catalog that pass the vendor's filters."""
        catalog = Catalog(self.client, "market-liquidations", RowDecoder(Body, CatalogRow), filters)
        return [row.market for row, _ in catalog.rows(traffic)]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return exchange(partition["market"].partition("-")[0]), partition["market"]

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        if end - start > LONGEST_BATCH and self.has_key:
            return [(partition,) for partition in partitions]
        return batched(partitions, "market", len(partitions))

    def rows(self, page: Page[LiquidationRow], owners: list[int] | None, memory: dict[Any, Any]) -> Rows:
        instants, times = iso_instants("time", page.column("time"))
        keys = [page.column(name) for name in ("coin_metrics_id", "market", "type")]
        self._ids.check(page.raw, memory, *keys)
        each = (b'"time_ns":', numbers.texts(instants), b",")
        ids = LazySequence(lambda: [f"{name}:{kind}" for name, kind in zip(keys[0], keys[2], strict=True)])
        return added_rows(page, instants, constant={}, each=each, times=times, ids=ids, owners=owners)


def to_liquidations(contracts: Contracts, rows: Rows, span: Span) -> Table:
    """`amount` counts contracts. `side` is the side of the order that closed the position: a sell closed a long."""
    bad: dict[int, LiquidationsError] = {}
    price = numbers.column_of_texts("price", [row.price for row in rows.typed], bad)
    amount = numbers.column_of_texts("amount", [row.amount for row in rows.typed], bad)
    if bad:
        price, amount = ([literal for i, literal in enumerate(column) if i not in bad] for column in (price, amount))
    rows = rows.without(bad)
    typed: Sequence[LiquidationRow] = rows.typed
    markets = [row.market for row in typed]
    in_base_and_usd = converted(contracts.by_market, markets, amount, price)
    return liquidations(
        rows,
        names=list(map(_names, markets, [row.type for row in typed])),
        positions=[POSITION_OF.get(row.side or "") for row in typed],
        price=price,
        amount=amount,
        amount_base=in_base_and_usd.amount_base,
        computed_usd=in_base_and_usd.notional_usd,
    )


@lru_cache(maxsize=16384)
def _names(market: str, event_type: str) -> bytes:
    code, _, symbol = market.partition("-")
    assets = assets_of(symbol.removesuffix("-future"), code)
    return event_names("coin_metrics", market, code, *assets, event_type, "contracts")
