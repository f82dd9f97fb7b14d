"""Kaiko, "Reference data", key-less: GET /v1/instruments and /v1/exchanges of reference-data-api.kaiko.io."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, RowDecoder
from source_liquidations.vendors.kaiko.calls import PAGE_SIZE, Body, following
from source_liquidations.vendors.listing import Listing, rows_of
from source_liquidations.vendors.patterns import is_pattern, matches

INSTRUMENTS_STREAM = Stream("kaiko_instruments", ("exchange_code", "class", "code"), declared_in=__name__)
EXCHANGES_STREAM = Stream("kaiko_exchanges", ("code",), declared_in=__name__)
HOST = "reference"
INSTRUMENTS = "/v1/instruments"
EXCHANGES = "/v1/exchanges"
# The classes of instruments that can be liquidated; one a call.
CLASSES = ("future", "perpetual-future")


class InstrumentRow(msgspec.Struct):
    exchange_code: str
    class_: str = msgspec.field(name="class")
    code: str


class ExchangeRow(msgspec.Struct):
    code: str


class ReferenceList(Listing):
    """A list on the reference host, read without a key."""

    page_size = int(PAGE_SIZE)

    def __init__(self, client: Client, path: str, decoder: RowDecoder[Any]) -> None:
        super().__init__("kaiko", client)
        self._path = path
        self._decoder = decoder

    def first_page(self) -> Request:
        return Request(self._path, host=HOST)

    def page(
        self, answered: Answered, request: Request, memory: dict[Any, Any]
    ) -> tuple[list[msgspec.Raw], Request | None]:
        del memory
        page = self._decoder.decode(answered)
        return page.raw, following(self.client, page.body, request)


def exchange_list(client: Client) -> ReferenceList:
    return ReferenceList(client, EXCHANGES, RowDecoder(Body, ExchangeRow, Fields.of(EXCHANGES_STREAM)))


class InstrumentList(ReferenceList):
    """The derivatives of the list of instruments: one partition for each class, as the vendor's filter takes one."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, INSTRUMENTS, RowDecoder(Body, InstrumentRow, Fields.of(INSTRUMENTS_STREAM)))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        del traffic
        return [Partition.of(instrument_class=instrument_class) for instrument_class in CLASSES]

    def first(self, span: Span) -> Request:
        return instruments_request((("class", span.partitions[0]["instrument_class"]),))


def instruments_request(filters: tuple[tuple[str, str], ...]) -> Request:
    return Request(INSTRUMENTS, (*filters, ("page_size", PAGE_SIZE)), HOST)


_row = msgspec.json.Decoder(InstrumentRow)


def matching_instruments(
    client: Client, traffic: Traffic, lists: dict[Request, list[str]], pattern: str, where: str
) -> list[str]:
    """`exchange/class/code` of the derivatives that match a pattern. Raises ConfigurationError where none does.

    `lists` keeps what was listed already: several patterns may need the same.
    """
    exchange_code, instrument_class, _ = pattern.split("/", 2)
    found: set[str] = set()
    for name in CLASSES:
        if not matches(instrument_class, name):
            continue
        filters = () if is_pattern(exchange_code) else (("exchange_code", exchange_code),)
        request = instruments_request((*filters, ("class", name)))
        if request not in lists:
            rows = map(_row.decode, rows_of(InstrumentList(client), traffic, request))
            lists[request] = [f"{row.exchange_code}/{row.class_}/{row.code}" for row in rows]
        found.update(name for name in lists[request] if matches(pattern, name))
    if not found:
        raise ConfigurationError(
            where,
            f"no instrument of Kaiko's list matches {pattern!r}.",
            advice="Compare it with https://reference-data-api.kaiko.io/v1/instruments.",
        )
    return sorted(found)
