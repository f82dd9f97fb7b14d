"""Kaiko, "Reference data", key-less: GET /v1/instruments and /v1/exchanges of reference-data-api.kaiko.io."""

from collections.abc import Iterable
from functools import partial

import msgspec

from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, RowDecoder
from source_liquidations.vendors.kaiko.calls import PAGE_SIZE, Body, following
from source_liquidations.vendors.listing import Listing, rows_of
from source_liquidations.vendors.patterns import is_pattern, matches, meant

INSTRUMENTS_STREAM = Stream("kaiko_instruments", ("exchange_code", "class", "code"), declared_in=__name__)
EXCHANGES_STREAM = Stream("kaiko_exchanges", ("code",), declared_in=__name__)
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


def exchange_list(client: Client) -> Listing:
    decoder = RowDecoder(Body, ExchangeRow, Fields.of(EXCHANGES_STREAM))
    return Listing("kaiko", client, Request(EXCHANGES), decoder, partial(following, client))


class InstrumentList(Listing):
    """The derivatives of the list of instruments: one partition for each class, as the vendor's filter takes one."""

    def __init__(self, client: Client) -> None:
        decoder = RowDecoder(Body, InstrumentRow, Fields.of(INSTRUMENTS_STREAM))
        super().__init__("kaiko", client, instruments_request(()), decoder, partial(following, client))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        return [Partition.of(instrument_class=instrument_class) for instrument_class in CLASSES]

    def first(self, span: Span) -> Request:
        return instruments_request((("class", span.partitions[0]["instrument_class"]),))


def instruments_request(filters: tuple[tuple[str, str], ...]) -> Request:
    return Request(INSTRUMENTS, (*filters, ("page_size", PAGE_SIZE)))


def matching_instruments(
    client: Client, traffic: Traffic, lists: dict[Request, list[str]], pattern: str, where: str
) -> list[str]:
    """`exchange/class/code` of the derivatives that match a pattern. Raises ConfigurationError where none does.

    `lists` keeps what was listed already: several patterns may need the same.
    """
    exchange_code, instrument_class, _ = pattern.split("/", 2)
    listed: list[str] = []
    for name in CLASSES:
        if not matches(instrument_class, name):
            continue
        filters = () if is_pattern(exchange_code) else (("exchange_code", exchange_code),)
        request = instruments_request((*filters, ("class", name)))
        if request not in lists:
            rows = rows_of(InstrumentList(client), traffic, request)
            lists[request] = [f"{row.exchange_code}/{row.class_}/{row.code}" for row, _ in rows]
        listed += lists[request]
    advice = "Compare it with https://reference-data-api.kaiko.io/v1/instruments."
    return sorted(meant(pattern, listed, where, "instrument of Kaiko's list", advice))
