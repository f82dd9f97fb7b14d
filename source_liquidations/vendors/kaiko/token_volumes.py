"""Kaiko, "Token-level liquidation volumes": GET /v2/data/liquidation.v1/token/{asset}. Amounts are US dollars."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.client import Client
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.coverage import ALL
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, exchange
from source_liquidations.unified import POSITIONS, interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, added_rows
from source_liquidations.vendors.instants import iso_instants
from source_liquidations.vendors.kaiko.calls import Body, KaikoEndpoint
from source_liquidations.vendors.repeats import each_once

STREAM = Stream(
    "kaiko_token_liquidation_volumes", ("asset", "interval", "interval_time"), "interval_time", declared_in=__name__
)
PATH = "/v2/data/liquidation.v1/token"


class Counts(msgspec.Struct):
    total_trades: Number = NULL
    total_amount: Number = NULL
    long_trades: Number = NULL
    long_amount: Number = NULL
    short_trades: Number = NULL
    short_amount: Number = NULL


class ExchangeCounts(Counts, kw_only=True):
    exchange: str


class TokenRow(Counts, kw_only=True):
    interval_time: str
    interval_timestamp: Number = NULL
    exchanges: list[ExchangeCounts] | None = None


class TokenVolumes(KaikoEndpoint):
    rows_per_step = 1

    def __init__(self, client: Client, assets: Sequence[str], interval: str) -> None:
        decoder = RowDecoder(Body, TokenRow, Fields(STREAM), added=("asset", "interval"))
        super().__init__(client, decoder, (("interval", interval),))
        self._assets = assets
        self._interval = interval
        self.step, _ = interval_of(interval)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        for index, name in enumerate(self._assets):
            yield Partition.of(asset=name, interval=self._interval, entry=f"kaiko.assets[{index}]")

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return ALL, f"all/{partition['asset']}"

    def path(self, partition: Partition) -> str:
        return f"{PATH}/{quote(partition['asset'], safe='')}"

    def rows(self, page: Page[TokenRow], span: Span, memory: dict[Any, Any]) -> Rows:
        instants, _ = iso_instants("interval_time", page.column("interval_time"))
        for index, row in enumerate(page.rows):
            _check_exchanges(row, index, page.bad)
        return each_once(added_rows(page, instants, constant=dict(span.partitions[0].values)), memory)


def _check_exchanges(row: TokenRow, index: int, bad: dict[int, LiquidationsError]) -> None:
    """Check the counts of a row's exchanges: a number in text counts as a number, and each exchange comes once."""
    exchanges = row.exchanges or ()
    for field in Counts.__struct_fields__ if exchanges else ():
        errors: dict[int, LiquidationsError] = {}
        literals = numbers.column(field, [getattr(counts, field) for counts in exchanges], errors)
        for counts, literal in zip(exchanges, literals, strict=True):
            setattr(counts, field, literal)
        for error in errors.values():
            bad.setdefault(index, UnexpectedAnswer(f"`exchanges` of row {index}: {error.cause}"))
    by_name = {counts.exchange: counts for counts in exchanges}
    if len(by_name) == len(exchanges):
        return
    for counts in exchanges:
        if counts != by_name[counts.exchange]:
            problem = f"`exchanges` of row {index}: {shown(counts.exchange)} comes twice with different values."
            bad.setdefault(index, UnexpectedAnswer(problem))
    row.exchanges = list(by_name.values())


def to_volumes(rows: Rows, span: Span) -> Table:
    """For each interval and side: a row for all exchanges together, then one for each exchange."""
    partition = span.partitions[0]
    code = partition["asset"]
    _, interval = interval_of(partition["interval"])
    names: list[bytes] = []
    instants: list[int] = []
    amounts: list[msgspec.Raw] = []
    counted: list[msgspec.Raw] = []
    for row, instant in zip(rows.typed, rows.instants, strict=True):
        for place, counts in (("all", row), *((counts.exchange, counts) for counts in row.exchanges or ())):
            for side in POSITIONS:
                names.append(
                    volume_names("kaiko", f"{place}/{code}", exchange(place), asset(code), interval, side, "usd")
                )
                instants.append(instant)
            amounts += (counts.long_amount, counts.short_amount)
            counted += (counts.long_trades, counts.short_trades)
    return volumes(names=names, instants=instants, amount=amounts, count=counted)
