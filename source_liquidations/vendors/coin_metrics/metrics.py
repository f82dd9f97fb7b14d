"""Coin Metrics: liquidation metrics, sums per interval of a market, an exchange's asset, a pair or an exchange.

Pages: https://docs.coinmetrics.io, "Liquidation Metrics"; timeseries/market-metrics and its three siblings.

A row of the streams is the vendor's: one entity and interval, with a column for each metric under the vendor's name,
and `frequency` added. `liquidation_volumes` has long rows instead, one per side and unit. The three frequencies share
the table: `frequency` is in the primary key, and the columns of the two that a row does not have are null.
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
from source_liquidations.http.answers import Answered, vendor_words
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
UNITS = {"units": "coin", "usd": "usd"}  # the vendor's word, and that of liquidation_volumes
# How a value may be written: as text, as a rule; what the text says is for liquidation_volumes to know.
_WRITTEN_AS = {str, int, float, type(None)}

# What liquidation_volumes says of an entity: (market, exchange, asset).
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Level:
    """What is summed over, and the endpoint that has it.

    field           of its rows, its partitions and its stream
    setting         the field of the configuration that asks for it
    place           an entity in liquidation_volumes. A sum over markets says what it is: nobody may add it to theirs
    """

    field: str
    words: str
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
    "exchange_asset", "assets of exchanges", "metrics_exchange_assets", ("5m", "1h", "1d"),
    of_exchange_asset,
)  # fmt: skip
PAIR = Level("pair", "pairs", "metrics_pairs", ("1h", "1d"), of_pair)
EXCHANGE = Level("exchange", "exchanges", "metrics_exchanges", ("1h", "1d"), of_exchange)
LEVELS = (MARKET, EXCHANGE_ASSET, PAIR, EXCHANGE)


def metrics_of(frequency: str) -> tuple[str, ...]:
    """The four metrics of one frequency; a call has one."""
    return tuple(f"liquidations_reported_future_{side}_{unit}_{frequency}" for side in SIDES for unit in UNITS)


class KnownMetric(msgspec.Struct):
    metric: str


class LiquidationMetrics(Timeseries):
    """The metrics of one level at one frequency.

    Entities that the configuration names are asked for as they are: what the key may not see is refused, with the
    entry. Markets are configured for their liquidations, not for metrics; so one of their patterns that the catalog
    has no metrics for is said and left out. Without a key the catalog alone tells which of them there are, and nothing
    is asked that is not in it.
    """

    rows_per_step = 1  # at the most: an interval without liquidations has no row

    def __init__(self, client: Client, config: Mapping[str, Any], level: Level) -> None:
        self.level = level
        self.frequency = config.get("metrics_frequency", DEFAULT_FREQUENCY)
        self._optional = level is MARKET
        is_on = not self._optional or config.get("metrics_for_markets", True)
        self.entries: Sequence[str] = config.get(level.setting, ()) if is_on else ()
        names = metrics_of(self.frequency)
        fields: list[Any] = [(level.field, str), ("time", str), *((name, Any, None) for name in names)]
        row = msgspec.defstruct("MetricsRow", fields)
        decoder: RowDecoder[Any] = RowDecoder(Body, row, Fields(level.stream), added=("frequency",))
        step, _ = interval_of(self.frequency)
        super().__init__(client, config, level.table, level.field, decoder, step)
        self._only_known = self._optional and not self.has_key

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        if not self.entries:
            switch = "metrics_for_markets" if self.level is MARKET else self.level.setting
            logger.info(
                "coin_metrics: no metrics of %s are configured (`coin_metrics.%s`): none are read",
                self.level.words,
                switch,
            )
            return
        is_looked_up = (lambda entry: True) if self._only_known else is_pattern
        known = self._known(traffic) if any(map(is_looked_up, self.entries)) else []
        what = f"entity with liquidation metrics at {self.frequency}{' without a key' if self._only_known else ''}"
        advice = f"Compare it with the catalog (catalog-v2/{self.level.table})."

        def matching(entry: str, where: str) -> list[str]:
            try:
                return matching_names(entry, known, where, what, advice)
            except ConfigurationError as error:
                if not self._optional:
                    raise
                logger.info("coin_metrics: %s None are read of it", error)
                return []

        setting = f"coin_metrics.{self.level.setting}"
        for name, where in self.resolve_entries(setting, self.entries, is_looked_up, matching):
            yield Partition.of(**{self.level.field: name}, frequency=self.frequency, entry=where)

    def _known(self, traffic: Traffic) -> list[str]:
        """The entities that the key sees these metrics of."""
        wanted = metrics_of(self.frequency)
        fields: list[Any] = [(self.level.field, str), ("metrics", list[KnownMetric] | None, None)]
        decoder: RowDecoder[Any] = RowDecoder(Body, msgspec.defstruct("KnownEntity", fields))
        table = Catalog(self.client, self.level.table, decoder, (("metrics", ",".join(wanted)),))
        try:
            rows = list(rows_of(table, traffic)) if self._only_known else table.rows(traffic)
        except (AccessRefused, RequestRefused) as error:
            if self._only_known:
                return []
            raise error.named(f"`coin_metrics.{self.level.setting}`") from None
        return [
            getattr(row, self.level.field)
            for row, _ in rows
            if any(known.metric in wanted for known in row.metrics or ())
        ]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """Not the entity alone: a market's liquidations have another history."""
        entity = partition[self.level.field]
        _, code, _ = self.level.place(entity)
        return code, f"{self.level.table}/{entity}"

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """As many together as fit on one page: least requests, and none that another worker could not have helped."""
        return batched(partitions, self.level.field, max(1, self.page_size * self.step // (end - start)))

    def asked(self, partitions: Sequence[Partition]) -> Params:
        metrics = (("metrics", ",".join(metrics_of(self.frequency))), ("frequency", self.frequency))
        return super().asked(partitions) + metrics

    def rows(self, page: Page[Any], owners: list[int] | None, memory: dict[Any, Any]) -> Rows:
        instants, _ = iso_instants("time", page.column("time"))
        for name in metrics_of(self.frequency):
            values = page.column(name)
            if _WRITTEN_AS.issuperset(map(type, values)):
                continue
            for index, value in enumerate(values):
                if type(value) not in _WRITTEN_AS:
                    page.bad[index] = UnexpectedAnswer(f"`{name}` of row {index} is {shown(str(value))}, not a number.")
        return each_once(added_rows(page, instants, constant={"frequency": self.frequency}, owners=owners), memory)

    def to_volumes(self, rows: Rows, span: Span) -> Table:
        """A row for every side and unit that has a value.

        The side is that of the closing order: a sell closed a long. Units are the base asset's.
        """
        _, interval = interval_of(self.frequency)
        series = [(POSITION_OF[side], unit) for side in SIDES for unit in UNITS.values()]
        entities = [getattr(row, self.level.field) for row in rows.typed]
        places = {entity: self.level.place(entity) for entity in set(entities)}
        names_of = {
            entity: [volume_names(self.vendor, *place, interval, position, unit) for position, unit in series]
            for entity, place in places.items()
        }
        columns = metrics_of(self.frequency)
        bad: dict[int, LiquidationsError] = {}
        values = [numbers.column_of_texts(name, [getattr(row, name) for row in rows.typed], bad) for name in columns]
        names, instants, amounts = [], [], []
        for index, (row, instant) in enumerate(zip(rows.typed, rows.instants, strict=True)):
            if index in bad:
                continue
            for column, name, amount in zip(columns, names_of[entities[index]], values, strict=True):
                if getattr(row, column) not in (None, ""):
                    names.append(name)
                    instants.append(instant)
                    amounts.append(amount[index])
        return volumes(names=names, instants=instants, amount=amounts, faults=rows.without(bad).faults)


def refused_metric(answered: Answered) -> LiquidationsError | None:
    """A plan without a metric, recognized by the vendor's words; what to take out of the configuration."""
    words = vendor_words(answered.body)
    if answered.status != 403 or "liquidations_reported" not in words:
        return None
    return AccessRefused(
        f"HTTP 403: {words}",
        status=403,
        advice="The key's plan does not have this metric: take the entry out of `coin_metrics.metrics_…`, for markets "
        "switch `coin_metrics.metrics_for_markets` off, or ask the vendor.",
    )
