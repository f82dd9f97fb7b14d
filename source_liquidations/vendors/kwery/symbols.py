"""Kwery, GET /v1/symbols: a free call, one page. For its own stream, for the check, and for the stream of coverage."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations.coverage import Period
from source_liquidations.coverage import rows as coverage_rows
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import Mapped, Mapper
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, RowDecoder
from source_liquidations.vendors.listing import ListedDate, Listing, Unread, rows_of

STREAM = Stream("kwery_symbols", ("symbol",), declared_in=__name__)
PATH = "/v1/symbols"

T = TypeVar("T")


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | None = msgspec.field(name="symbols")


class SymbolRow(msgspec.Struct):
    symbol: str
    earliest_data: Unread = msgspec.UNSET


_row = msgspec.json.Decoder(SymbolRow)


class SymbolList(Listing):
    def __init__(self, client: Client) -> None:
        super().__init__("kwery", client)
        self._decoder = RowDecoder(Body, SymbolRow, Fields.of(STREAM))

    def first_page(self) -> Request:
        return Request(PATH)

    def page(self, answered: Answered, request: Request, memory: dict[Any, Any]) -> tuple[list[msgspec.Raw], None]:
        del request, memory
        return self._decoder.decode(answered).raw, None


def symbols(client: Client, traffic: Traffic) -> list[str]:
    return [_row.decode(row).symbol for row in rows_of(SymbolList(client), traffic)]


def to_coverage() -> Mapper:
    """Since when the list of symbols says that each has data."""
    return partial(_to_coverage, ListedDate(STREAM.name, "earliest_data"))


def _to_coverage(date: ListedDate, rows: Rows, span: Span) -> Mapped:
    del span
    return Mapped(
        coverage_rows(
            Period.at(
                "kwery",
                "binance",
                f"binance_futures/{row.symbol}",
                "starts",
                since,
                "earliest data, of any kind",
                PATH,
            )
            for row in map(_row.decode, rows.raw)
            if (since := date.read(row.earliest_data, row.symbol)) is not None
        )
    )
