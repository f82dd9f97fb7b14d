"""Kaiko, "Reference data": GET /v1/instruments and /v1/exchanges of reference-data-api.kaiko.io, without the key."""

from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from source_liquidations.http.client import Client, Params, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, RowDecoder
from source_liquidations.vendors.kaiko.calls import PAGE_SIZE, Body, next_request
from source_liquidations.vendors.listing import Listing, rows_of
from source_liquidations.vendors.patterns import is_pattern, matches, matching_names

INSTRUMENTS_STREAM = Stream("kaiko_instruments", ("exchange_code", "class", "code"), declared_in=__name__)
EXCHANGES_STREAM = Stream("kaiko_exchanges", ("code",), declared_in=__name__)
INSTRUMENTS = "/v1/instruments"
EXCHANGES = "/v1/exchanges"
# The classes of instruments that can be liquidated. A call takes one of them.
CLASSES = ("future", "perpetual-future")


class InstrumentRow(msgspec.Struct):
    exchange_code: str
    class_: str = msgspec.field(name="class")
    code: str


class ExchangeRow(msgspec.Struct):
    code: str


def exchange_list(client: Client) -> Listing:
    decoder = RowDecoder(Body, ExchangeRow, Fields(EXCHANGES_STREAM))
    return Listing(client, Request(EXCHANGES), decoder, partial(next_request, client))


class InstrumentList(Listing):
    """The derivatives in the list of instruments: a partition for each class, because a call takes one class."""

    def __init__(self, client: Client) -> None:
        decoder = RowDecoder(Body, InstrumentRow, Fields(INSTRUMENTS_STREAM))
        super().__init__(client, instruments_request(()), decoder, partial(next_request, client))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        return [Partition.of(instrument_class=instrument_class) for instrument_class in CLASSES]

    def first_request(self, span: Span) -> Request:
        return instruments_request((("class", span.partitions[0]["instrument_class"]),))


def instruments_request(filters: Params) -> Request:
    return Request(INSTRUMENTS, (*filters, ("page_size", PAGE_SIZE)))


def instrument_names(client: Client, traffic: Traffic, filters: Params) -> list[str]:
    """`exchange/class/code` of each instrument that passes the vendor's filters."""
    rows = rows_of(InstrumentList(client), traffic, instruments_request(filters))
    return [f"{row.exchange_code}/{row.class_}/{row.code}" for row, _ in rows]


def matching_instruments(names_by: Callable[[Params], list[str]], pattern: str, where: str) -> list[str]:
    """`exchange/class/code` of the derivatives that match a pattern. Raises ConfigurationError if none does."""
    exchange_code, instrument_class, _ = pattern.split("/", 2)
    filters = () if is_pattern(exchange_code) else (("exchange_code", exchange_code),)
    classes = [name for name in CLASSES if matches(instrument_class, name)]
    names = [name for class_ in classes for name in names_by((*filters, ("class", class_)))]
    advice = "Compare it with https://reference-data-api.kaiko.io/v1/instruments."
    return sorted(matching_names(pattern, names, where, "instrument of Kaiko's list", advice))
