"""Coin Metrics: liquidation metrics, sums per interval of a market, an exchange's asset, a pair or an exchange.

Pages: https://docs.coinmetrics.io, "Liquidation Metrics"; timeseries/market-metrics and its three siblings.

A row of these streams is the vendor's: one entity and interval, a column for each metric under the vendor's name, and
`frequency`, which the connector adds to the primary key. The three frequencies share a table: a row has only the
columns of its own. `liquidation_volumes` has one row per side and unit instead.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    shown,
)
from source_liquidations.http.answers import Response, vendor_words
from source_liquidations.http.client import Client, Params
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.unified import POSITION_OF, interval_of, volume_names, volumes
from source_liquidations.vendors.coin_metrics.calls import Body, Catalog, Timeseries, batched
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, added_rows
from source_liquidations.vendors.instants import iso_instants
from source_liquidations.vendors.listing import rows_of
from source_liquidations.vendors.patterns import is_pattern, matching_names
from source_liquidations.vendors.repeats import each_once

DEFAULT_FREQUENCY = "1h"
SIDES = ("buy", "sell")
UNITS = {"units": "coin", "usd": "usd"}  # the vendor's word (units of the base asset): the one of liquidation_volumes
# The types that a value may have; it is usually text. Only liquidation_volumes needs the text to be a number.
_VALUE_TYPES = {str, int, float, type(None)}

# An entity's (market, exchange, asset) in liquidation_volumes.
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Level:
    """A kind of entity that the metrics sum up, with an endpoint and a stream of its own.

    field           names the entity in rows, partitions and the stream's name
    plural          names the entities in messages
    setting         the field of the configuration that selects entities
    place           an entity's place. `market` says what a sum covers, so that nobody adds it to its own markets
    """

    field: str
    plural: str
    setting: str
    frequencies: tuple[str, ...]
    place: Callable[[str], Place]

    @property
    def table(self) -> str:
        return f"{self.field.replace('_', '-')}-metrics"

    @property
    def stream(self) -> Stream:
        return Stream(
            f"coin_metrics_{self.field}_liquidation_metrics", (self.field, "frequency", "time"), "time", __name__
        )


def of_market(entity: str) -> Place:
    code, _, symbol = entity.partition("-")
    return entity, exchange(code), assets_of(symbol.removesuffix("-future"), code)[0] or ""


def of_exchange_asset(entity: str) -> Place:
    code, _, name = entity.rpartition("-")
    return f"exchange_asset/{entity}", exchange(code), asset(name)


def of_pair(entity: str) -> Place:
    return f"pair/{entity}", "all", asset(entity.partition("-")[0])


def of_exchange(entity: str) -> Place:
    return f"exchange/{entity}", exchange(entity), "all"


MARKET = Level("market", "markets", "markets", ("5m", "1h", "1d"), of_market)
EXCHANGE_ASSET = Level(
    "exchange_asset", "assets of exchanges", "metrics_exchange_assets", ("5m", "1h", "1d"), of_exchange_asset
)
PAIR = Level("pair", "pairs", "metrics_pairs", ("1h", "1d"), of_pair)
EXCHANGE = Level("exchange", "exchanges", "metrics_exchanges", ("1h", "1d"), of_exchange)
LEVELS = (MARKET, EXCHANGE_ASSET, PAIR, EXCHANGE)


def metrics_of(frequency: str) -> tuple[str, ...]:
    """The four metrics of one frequency. A request has a single frequency."""
    return tuple(f"liquidations_reported_future_{side}_{unit}_{frequency}" for side in SIDES for unit in UNITS)


class CatalogMetric(msgspec.Struct):
    metric: str


class LiquidationMetrics(Timeseries):
    """The metrics of one level at one frequency.

    An entity that the configuration names is requested without asking the catalog: if the key may not read it, the
    vendor refuses it, and the error names the entry. Users configure markets for their liquidations, not for metrics.
    So a pattern of markets without metrics is logged and left out, and without a key only markets in the catalog are
    requested.
    """

    rows_per_step = 1  # at most: an interval without liquidations has no row

    def __init__(self, client: Client, config: Mapping[str, Any], level: Level) -> None:
        self.level = level
        self.frequency = config.get("metrics_frequency", DEFAULT_FREQUENCY)
        self._is_optional = level is MARKET
        is_on = not self._is_optional or config.get("metrics_for_markets", True)
        self.entries: Sequence[str] = config.get(level.setting, ()) if is_on else ()
        self._metrics = metrics_of(self.frequency)
        fields: list[Any] = [(level.field, str), ("time", str), *((metric, Any, None) for metric in self._metrics)]
        row = msgspec.defstruct("MetricsRow", fields)
        decoder: RowDecoder[Any] = RowDecoder(Body, row, Fields(level.stream), added=("frequency",))
        step, _ = interval_of(self.frequency)
        super().__init__(client, config, level.table, level.field, decoder, step)
        self._only_in_catalog = self._is_optional and not self.has_key

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        if not self.entries:
            switch = "metrics_for_markets" if self._is_optional else self.level.setting
            logger.info(
                "coin_metrics: no metrics of %s are read, because `coin_metrics.%s` selects none",
                self.level.plural,
                switch,
            )
            return
        needs_catalog = (lambda entry: True) if self._only_in_catalog else is_pattern
        entities = self._catalog_entities(traffic) if any(map(needs_catalog, self.entries)) else []
        what = f"entity with liquidation metrics at {self.frequency}{' without a key' if self._only_in_catalog else ''}"
        advice = f"Compare it with the catalog (catalog-v2/{self.level.table})."

        def matching(entry: str, where: str) -> list[str]:
            try:
                return matching_names(entry, entities, where, what, advice)
            except ConfigurationError as error:
                if not self._is_optional:
                    raise
                logger.info("coin_metrics: %s No metrics are read for it", error)
                return []

        setting = f"coin_metrics.{self.level.setting}"
        for name, where in self.resolve_entries(setting, self.entries, needs_catalog, matching):
            yield Partition.of(**{self.level.field: name}, frequency=self.frequency, entry=where)

    def _catalog_entities(self, traffic: Traffic) -> list[str]:
        """The entities with any of these metrics, of those that the key may read."""
        fields: list[Any] = [(self.level.field, str), ("metrics", list[CatalogMetric] | None, None)]
        decoder: RowDecoder[Any] = RowDecoder(Body, msgspec.defstruct("CatalogEntity", fields))
        table = Catalog(self.client, self.level.table, decoder, (("metrics", ",".join(self._metrics)),))
        try:
            rows = list(rows_of(table, traffic)) if self._only_in_catalog else table.rows(traffic)
        except (AccessRefused, RequestRefused) as error:
            if self._only_in_catalog:
                return []
            raise error.named(f"`coin_metrics.{self.level.setting}`") from None
        return [
            getattr(row, self.level.field)
            for row, _ in rows
            if any(listed.metric in self._metrics for listed in row.metrics or ())
        ]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """The market includes the table: the metrics of an entity and its liquidations have different coverage."""
        entity = partition[self.level.field]
        _, code, _ = self.level.place(entity)
        return code, f"{self.level.table}/{entity}"

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """As many entities as fit on one page. With larger batches, a single worker would read all of their pages."""
        return batched(partitions, self.level.field, max(1, self.page_size * self.step // (end - start)))

    def entity_params(self, partitions: Sequence[Partition]) -> Params:
        metrics = ",".join(self._metrics)
        return (*super().entity_params(partitions), ("metrics", metrics), ("frequency", self.frequency))

    def rows(self, page: Page[Any], owners: list[int] | None, memory: dict[Any, Any]) -> Rows:
        instants, _ = iso_instants("time", page.column("time"))
        for metric in self._metrics:
            values = page.column(metric)
            if _VALUE_TYPES.issuperset(map(type, values)):
                continue
            for index, value in enumerate(values):
                if type(value) not in _VALUE_TYPES:
                    problem = f"`{metric}` of row {index} is {shown(str(value))}, not a number."
                    page.bad[index] = UnexpectedAnswer(problem)
        return each_once(added_rows(page, instants, constant={"frequency": self.frequency}, owners=owners), memory)

    def to_volumes(self, rows: Rows, span: Span) -> Table:
        """A row for each side and unit with a value. The side is the closing order's: a sell closed a long."""
        _, interval = interval_of(self.frequency)
        series = [(POSITION_OF[side], unit) for side in SIDES for unit in UNITS.values()]
        entities = [getattr(row, self.level.field) for row in rows.typed]
        places = {entity: self.level.place(entity) for entity in set(entities)}
        names_of = {
            entity: [volume_names(self.vendor, *place, interval, position, unit) for position, unit in series]
            for entity, place in places.items()
        }
        bad: dict[int, LiquidationsError] = {}
        columns = [[getattr(row, metric) for row in rows.typed] for metric in self._metrics]
        literals = [numbers.column_of_texts(*column, bad) for column in zip(self._metrics, columns, strict=True)]
        names, instants, amounts = [], [], []
        for index, (entity, instant) in enumerate(zip(entities, rows.instants, strict=True)):
            if index in bad:
                continue
            for name, column, amount in zip(names_of[entity], columns, literals, strict=True):
                if column[index] not in (None, ""):
                    names.append(name)
                    instants.append(instant)
                    amounts.append(amount[index])
        return volumes(names=names, instants=instants, amount=amounts, faults=rows.without(bad).faults)


def refused_metric(response: Response) -> LiquidationsError | None:
    """The error for a plan without a metric, recognized by the vendor's words, with advice on the configuration."""
    words = vendor_words(response.body)
    if response.status != 403 or "liquidations_reported" not in words:
        return None
    return AccessRefused(
        f"HTTP 403: {words}",
        status=403,
        advice="The key's plan does not have this metric: take the entry out of `coin_metrics.metrics_…`, for markets "
        "switch `coin_metrics.metrics_for_markets` off, or ask the vendor.",
    )
