"""Kaiko: the envelope of all its answers, and the key-less reference data: instruments, exchanges.

Page: https://docs.kaiko.com, "Reference data" (reference-data-api.kaiko.io/v1/instruments, /v1/exchanges).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from source_liquidations.errors import ConfigurationError, UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.vendors.decoding import RowDecoder
from source_liquidations.vendors.listing import Listing, Unread, is_pattern

INSTRUMENTS = "/v1/instruments"
EXCHANGES = "/v1/exchanges"

PAGE_SIZE = "1000"
# The classes of instruments that can be liquidated; one a call.
CLASSES = ("future", "perpetual-future")

T = TypeVar("T")


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | msgspec.UnsetType = msgspec.UNSET
    continuation_token: str | None = None
    next_url: str | None = None
    access: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class InstrumentRow(msgspec.Struct):
    exchange_code: str
    class_: str = msgspec.field(name="class")
    code: str
    base_asset: Unread = msgspec.UNSET
    quote_asset: Unread = msgspec.UNSET
    exchange_pair_code: Unread = msgspec.UNSET
    trade_start_time: Unread = msgspec.UNSET
    trade_start_timestamp: Unread = msgspec.UNSET
    trade_end_time: Unread = msgspec.UNSET
    trade_end_timestamp: Unread = msgspec.UNSET
    trade_count: Unread = msgspec.UNSET


class ExchangeRow(msgspec.Struct):
    code: str
    name: Unread = msgspec.UNSET
    kaiko_legacy_slug: Unread = msgspec.UNSET


def next_token(client: Client, body: Body[Any]) -> str | None:
    """The token of the next page; absent, null or empty on the last. A next_url elsewhere is refused."""
    if body.next_url:
        client.check_origin(body.next_url)
    if body.continuation_token:
        return body.continuation_token
    if not body.next_url:
        return None
    found = parse_qs(urlsplit(body.next_url).query).get("continuation_token")
    if not found:
        raise UnexpectedAnswer("`next_url` has no continuation_token.", advice="No page was guessed from it.")
    return found[0]


class ReferenceList(Listing):
    """A list on the reference host, read without a key."""

    page_size = int(PAGE_SIZE)

    def __init__(self, client: Client, path: str, decoder: RowDecoder[Any]) -> None:
        super().__init__("kaiko", client)
        self._path = path
        self._decoder = decoder

    def first_page(self) -> Request:
        return Request(self._path, host="reference")

    def page(
        self, answered: Answered, request: Request, memory: dict[Any, Any]
    ) -> tuple[list[msgspec.Raw], Request | None]:
        del memory
        body, raw, _ = self._decoder.decode(answered)
        token = next_token(self.client, body)
        return raw, Request(request.path, (("continuation_token", token),), "reference") if token else None


def exchanges(client: Client) -> ReferenceList:
    return ReferenceList(client, EXCHANGES, RowDecoder("kaiko_exchanges", Body, ExchangeRow))


class InstrumentList(ReferenceList):
    """The derivatives of the list of instruments: one partition for each class, as the vendor's filter takes one."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, INSTRUMENTS, RowDecoder("kaiko_instruments", Body, InstrumentRow))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        del traffic
        return [Partition.of(instrument_class=instrument_class) for instrument_class in CLASSES]

    def first(self, span: Span) -> Request:
        params = (("class", span.partitions[0]["instrument_class"]), ("page_size", PAGE_SIZE))
        return Request(self._path, params, "reference")


class Instruments:
    """The list of instruments, for wildcards; read once a sync, and only if there is one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._decoder = msgspec.json.Decoder(Body[InstrumentRow])
        self._names: dict[str, list[str]] = {}

    def matching(self, pattern: str, field: str, traffic: Traffic) -> list[str]:
        """`exchange/class/code` of the derivatives that match. Raises ConfigurationError where none does."""
        wanted_exchange, wanted_class, _ = pattern.split("/", 2)
        found = []
        for instrument_class in CLASSES:
            if not fnmatchcase(instrument_class, wanted_class):
                continue
            filters = [("class", instrument_class)]
            if not is_pattern(wanted_exchange):
                filters.insert(0, ("exchange_code", wanted_exchange))
            found += [name for name in self._all(tuple(filters), traffic) if fnmatchcase(name, pattern)]
        if not found:
            raise ConfigurationError(
                field,
                f"no instrument of Kaiko's list matches {pattern!r}.",
                advice="Compare it with https://reference-data-api.kaiko.io/v1/instruments.",
            )
        return sorted(set(found))

    def _all(self, filters: tuple[tuple[str, str], ...], traffic: Traffic) -> list[str]:
        key = repr(filters)
        if key not in self._names:
            self._names[key] = list(self._read(filters, traffic))
        return self._names[key]

    def _read(self, filters: tuple[tuple[str, str], ...], traffic: Traffic) -> Iterable[str]:
        request: Request | None = Request(INSTRUMENTS, (*filters, ("page_size", PAGE_SIZE)), host="reference")
        tokens: set[str] = set()
        while request is not None:
            body = self._client.fetch(request, traffic).decoded(self._decoder)
            for row in body.data or ():
                yield f"{row.exchange_code}/{row.class_}/{row.code}"
            token = next_token(self._client, body)
            if token in tokens:
                raise UnexpectedAnswer("the instruments list repeats its continuation token.")
            tokens.add(token or "")
            request = Request(INSTRUMENTS, (("continuation_token", token),), host="reference") if token else None
