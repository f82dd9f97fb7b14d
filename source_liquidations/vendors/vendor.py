"""What a vendor declares: its configuration, streams, endpoints and check."""

import ipaddress
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError, LiquidationsError
from source_liquidations.http.budgets import Allowance, Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import Period
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Mapper
from source_liquidations.reading.reading import Prepare
from source_liquidations.streams import Stream

_LEAST_USE = 0.85  # of a configured rate limit


@dataclass(frozen=True)
class Feed:
    """An endpoint, the vendor stream that gets its rows unchanged, and the mappers into unified streams.

    `prepare` requests what the mappers have to know about the partitions.
    """

    endpoint: Endpoint
    stream: Stream
    mappers: Mapping[Stream, Mapper] = field(default_factory=dict)
    prepare: Prepare | None = None


@dataclass(frozen=True)
class Shared:
    """What all vendors share: the first instant to read, and the event that stops the sync."""

    start: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class Vendor(ABC):
    """One vendor, configured.

    name        its section in the configuration
    required    fields that a section must have (Airbyte's form sends every section, so the schema requires none)
    one_of      fields of which a section must have at least one
    coverage    gaps in its data that it documents with dates
    feeds       all that this configuration can read; set by `__init__`
    """

    name: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    one_of: ClassVar[tuple[str, ...]] = ()
    coverage: ClassVar[tuple[Period, ...]] = ()
    feeds: Sequence[Feed]

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        """Why a section cannot be used although its schema allows it. Invalid fields have been removed from it."""
        return ()

    @classmethod
    def entry_problem(cls, field: str, entry: str) -> tuple[str, str] | None:
        """What is wrong with a list entry that its schema allows, and what to do; None if nothing is wrong."""
        return None

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        self._config = config
        self._shared = shared

    def budget(self, requests: int, seconds: float, *allowances: Allowance) -> Budget:
        """The documented rate limit, or the configured one in whole parts of a minute, none shorter than documented.

        Parts of another length would let a minute hold more than is configured. Only whole requests fit into a part:
        the shortest parts that use most of the limit are taken.
        """
        if per_minute := int(self._config.get("requests_per_minute") or 0):
            parts = next(n for n in range(int(60 / seconds), 0, -1) if per_minute // n * n >= _LEAST_USE * per_minute)
            requests, seconds = per_minute // parts, 60.0 / parts
        return Budget(requests, seconds, *allowances)

    def client(
        self, host: str, budget: Budget, *, field: str = "base_url", kind: type[Client] = Client, **options: Any
    ) -> Client:
        """A client of the documented host, or of the URL that a configuration field sets instead."""
        base = self._config.get(field) or host
        return kind(vendor=self.name, base=base, budget=budget, stop=self._shared.stop, **options)

    @abstractmethod
    def check(self, traffic: Traffic) -> list[str]:
        """Make the cheapest real call that proves the key and the entries. Returns notes, which are not errors.

        Raises a LiquidationsError.
        """


def reach_notes(
    vendor: str, first: int | None, start: int, *, what: str = "data", older: str = "what is older is not read"
) -> list[str]:
    """A note for `check` if the data begins more than a minute after start_date."""
    if first is None or first - start < timestamps.MINUTE:
        return []
    first_text, start_text = timestamps.format_shortest(first), timestamps.format_shortest(start)
    return [f"{vendor}: {what} reach back to {first_text}. start_date is {start_text}; {older}."]


def problem_with_base_url(url: str) -> str | None:
    """What is wrong with a configured base URL; None if nothing. Only http on loopback may replace https."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        requests.Request("GET", url).prepare()
    except ValueError as error:  # `requests` raises subclasses of ValueError
        return f"is not a URL ({error})"
    if re.fullmatch(r"(?i:https?)://[^\x00-\x20\x7f\\@?#/]+(/[^\x00-\x20\x7f\\?#]*)?", url) is None:
        return "must be an absolute https URL without spaces, a user, a password, a query or a fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must be https, or http on a loopback address (127.0.0.1, ::1, localhost)"
    return None


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def probe(endpoint: Endpoint, request: Request, span: Span, traffic: Traffic) -> Answer:
    """The decoded answer to a request of `check`. Errors name the entries of the configuration that cause them."""
    try:
        return endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except LiquidationsError as error:
        raise endpoint.located(error, span.partitions) from None


def probe_at(endpoint: Endpoint, partition: Partition, at: int, traffic: Traffic) -> Answer:
    """The decoded answer to the shortest window at an instant."""
    span = endpoint.span_at((partition,), at)
    return probe(endpoint, endpoint.first_request(span), span, traffic)
