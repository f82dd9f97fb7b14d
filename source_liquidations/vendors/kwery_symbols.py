"""Kwery: its symbols, for their own stream, for the check, and for the stream of coverage. A free call, one page.

Page: https://kwery-api.com, "GET /v1/symbols".
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import Period
from source_liquidations.coverage import rows as coverage_rows
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Rows, Span
from source_liquidations.vendors.decoding import RowDecoder
from source_liquidations.vendors.listing import ListedDate, Listing, Unread

SYMBOLS = "/v1/symbols"

T = TypeVar("T")


class Body(msgspec.Struct, Generic[T]):
    data: list[T] = msgspec.field(name="symbols")


class SymbolRow(msgspec.Struct):
    symbol: str
    name: Unread = msgspec.UNSET
    sources: Unread = msgspec.UNSET
    intervals: Unread = msgspec.UNSET
    earliest_data: Unread = msgspec.UNSET


class SymbolList(Listing):
    def __init__(self, client: Client) -> None:
        super().__init__("kwery", client)
        self._decoder = RowDecoder("kwery_symbols", Body, SymbolRow)

    def first_page(self) -> Request:
        return Request(SYMBOLS)

    def page(self, answered: Answered, request: Request, memory: dict[Any, Any]) -> tuple[list[msgspec.Raw], None]:
        del request, memory
        return self._decoder.decode(answered)[1], None


def symbols(client: Client, traffic: Traffic) -> list[str]:
    decoder = msgspec.json.Decoder(Body[SymbolRow])
    body = client.fetch(Request(SYMBOLS), traffic).decoded(decoder)
    return [row.symbol for row in body.data]


class _Earliest(msgspec.Struct):
    symbol: str
    earliest_data: Unread = msgspec.UNSET


_earliest = msgspec.json.Decoder(_Earliest)
_earliest_data = ListedDate("kwery_symbols", "earliest_data")


def to_coverage(rows: Rows, span: Span) -> list[bytes]:
    """Since when the list of symbols says that each has data."""
    del span
    return coverage_rows(
        Period(
            vendor="kwery",
            exchange="binance",
            market=f"binance_futures/{row.symbol}",
            kind="starts",
            period_start=timestamps.format_shortest(since),
            note="earliest data, of any kind",
            source="/v1/symbols",
        )
        for row in map(_earliest.decode, rows.raw)
        if (since := _earliest_data.read(row.earliest_data, row.symbol)) is not None
    )
