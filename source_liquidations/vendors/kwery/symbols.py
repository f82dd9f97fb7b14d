"""Kwery, GET /v1/symbols: a free call with one page, for its own stream, for `check` and for `liquidation_coverage`."""

from collections.abc import Iterator
from functools import partial
from typing import Generic

import msgspec

from source_liquidations import numbers
from source_liquidations.http.client import Client, Request
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, Row, RowDecoder
from source_liquidations.vendors.listing import DateReader, ListedPeriod, Listing, coverage_of

STREAM = Stream("kwery_symbols", ("symbol",), declared_in=__name__)
PATH = "/v1/symbols"


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | None = msgspec.field(name="symbols")


class SymbolRow(msgspec.Struct):
    symbol: str
    earliest_data: msgspec.Raw = numbers.NULL


def symbol_list(client: Client) -> Listing:
    return Listing(client, Request(PATH), RowDecoder(Body, SymbolRow, Fields(STREAM)))


def _periods_of(row: SymbolRow, date: DateReader, end: int) -> Iterator[ListedPeriod]:
    first = date(row, "earliest_data", row.symbol)
    yield "binance", f"binance_futures/{row.symbol}", "starts", first, "earliest data, of any kind"


to_coverage = partial(coverage_of, "kwery", STREAM, PATH, _periods_of)
