"""Kaiko, "Derivative liquidation events".

GET /v2/data/liquidation.v1/trades/{exchange}/{instrument_class}/{instrument}
"""

from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import Any
from urllib.parse import quote

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.http.client import Client
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import LazySequence, Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import assets_of, exchange
from source_liquidations.unified import event_names, liquidations
from source_liquidations.vendors.contract_sizes import Contract, converted
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, added_rows
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.kaiko.calls import Body, KaikoEndpoint
from source_liquidations.vendors.kaiko.reference_data import instrument_names, matching_instruments
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import EventIds

STREAM = Stream(
    "kaiko_liquidation_events", ("exchange", "instrument_class", "instrument", "trade_id"), "time", declared_in=__name__
)
PATH = "/v2/data/liquidation.v1/trades"

_UNITS = ("milliseconds", "microseconds", "nanoseconds")  # the page's text and its examples contradict each other


class TradeRow(msgspec.Struct):
    timestamp: msgspec.Raw
    trade_id: str
    position_side: str | None = None
    amount: Number = NULL
    amount_quote: Number = NULL
    amount_usd: Number = NULL
    price: Number = NULL
    rate: Number = NULL


class LiquidationEvents(KaikoEndpoint):
    step = timestamps.MILLISECOND  # the precision of start_time and end_time

    def __init__(self, client: Client, reference: Client, instruments: Sequence[str]) -> None:
        added = ("exchange", "instrument_class", "instrument", "time", "time_ns")
        super().__init__(client, RowDecoder(Body, TradeRow, Fields(STREAM), added=added))
        self._reference = reference
        self._instruments = instruments
        self._ids = EventIds(STREAM.name)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        names_by = cache(partial(instrument_names, self._reference, traffic))  # patterns may need the same list
        matching = partial(matching_instruments, names_by)
        for name, where in self.resolve_entries("kaiko.instruments", self._instruments, is_pattern, matching):
            code, instrument_class, instrument = name.split("/", 2)
            yield Partition.of(exchange=code, instrument_class=instrument_class, instrument=instrument, entry=where)

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return exchange(partition["exchange"]), str(partition)

    def path(self, partition: Partition) -> str:
        return "/".join([PATH, *(quote(value, safe="") for _, value in partition.values)])

    def rows(self, page: Page[TradeRow], span: Span, memory: dict[Any, Any]) -> Rows:
        instants, times = unix_instants("timestamp", page.column("timestamp"), *_UNITS)
        ids = page.column("trade_id")
        self._ids.check(page.raw, memory, ids)
        constant = dict(span.partitions[0].values)
        each = (b'"time":"', times, b'","time_ns":', numbers.texts(instants), b",")
        return added_rows(page, instants, constant=constant, each=each, times=times, ids=ids)


def to_liquidations(rows: Rows, span: Span) -> Table:
    """`amount` is in the base asset, `price` is the execution price, `position_side` is what was liquidated."""
    partition = span.partitions[0]
    market, code = str(partition), partition["exchange"]
    base, quote_asset = assets_of(partition["instrument"], code)
    contracts = {market: Contract.of_base(quote_asset)}
    typed: Sequence[TradeRow] = rows.typed
    amount, price = [row.amount for row in typed], [row.price for row in typed]
    return liquidations(
        rows,
        names=event_names("kaiko", market, code, base, quote_asset, "trade", "base"),
        positions=[row.position_side for row in typed],
        price=price,
        amount=amount,
        amount_usd=[row.amount_usd for row in typed],
        amount_base=amount,
        computed_usd=LazySequence(lambda: converted(contracts, [market] * len(price), amount, price).notional_usd),
    )
