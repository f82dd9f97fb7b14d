"""What a vendor's file declares: its streams, its configuration, its endpoints and its check."""

import ipaddress
import math
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError, LiquidationsError, RequestRefused
from source_liquidations.http.budgets import Allowance, Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import Period
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Mapper
from source_liquidations.reading.reading import Prepare
from source_liquidations.streams import Stream


@dataclass(frozen=True)
class Feed:
    """An endpoint, the vendor stream that takes its rows as they are, and the unified streams with their mappers.

    `prepare` asks for what the mappers have to know of the partitions.
    """

    endpoint: Endpoint
    stream: Stream
    mappers: Mapping[Stream, Mapper] = field(default_factory=dict)
    prepare: Prepare | None = None


@dataclass(frozen=True)
class Shared:
    """What all vendors get: from when on data is wanted, when to stop."""

    start: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class Vendor(ABC):
    """One vendor, configured.

    name        its section in the configuration
    required    the fields that a section needs (Airbyte's form sends every section, so the schema requires none)
    one_of      the fields of which a section needs at least one
    coverage    what it documents about gaps in its data, with dates
    """

    name: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    one_of: ClassVar[tuple[str, ...]] = ()
    coverage: ClassVar[tuple[Period, ...]] = ()

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        """Why a section that is valid by its schema cannot be used. Fields that are not valid are not in it."""
        return ()

    @classmethod
    def entry_problem(cls, field: str, entry: str) -> tuple[str, str] | None:
        """What is wrong with an entry of a list that is valid by its schema, and what to do; None if nothing."""
        return None

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        self._config = config
        self._shared = shared

    def budget(self, requests: int, seconds: float, *allowances: Allowance) -> Budget:
        """The documented limit, or the configured one in its place, over about as long a time, and no shorter."""
        if per_minute := self._config.get("requests_per_minute"):
            requests = math.ceil(per_minute * seconds / 60.0)
            seconds = requests * 60.0 / per_minute
        return Budget(requests, seconds, *allowances)

    def client(
        self, host: str, budget: Budget, *, field: str = "base_url", kind: type[Client] = Client, **options: Any
    ) -> Client:
        """A client of the documented host, or of the URL that a field of the configuration has in its place."""
        base = self._config.get(field) or host
        return kind(vendor=self.name, base=base, budget=budget, stop=self._shared.stop, **options)

    @abstractmethod
    def feeds(self) -> Sequence[Feed]:
        """What this configuration can read."""

    @cached_property
    def cached_feeds(self) -> Sequence[Feed]:
        """The feeds, made once: their endpoints read schemas and build decoders."""
        return self.feeds()

    @abstractmethod
    def check(self, traffic: Traffic) -> list[str]:
        """Make the cheapest real call that proves the key and the entries. Returns notes that are no errors.

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
    """What is wrong with a replaced base URL, or None. https, or http on loopback; no user, query or fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        requests.Request("GET", url).prepare()
    except ValueError as error:  # requests' own are of this class, too
        return f"is no URL ({error})"
    if re.fullmatch(r"(?i:https?)://[^\x00-\x20\x7f\\@?#/]+(/[^\x00-\x20\x7f\\?#]*)?", url) is None:
        return "must be an absolute https URL without blanks, a user, a password, a query or a fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must be https, or http on a loopback address (127.0.0.1, ::1, localhost)"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def probe(endpoint: Endpoint, request: Request, span: Span, traffic: Traffic) -> Answer:
    """What the endpoint answers. Raises what is wrong, naming the entries of the configuration that it is about."""
    try:
        return endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except LiquidationsError as error:
        if error.scope == "reading":  # the key itself
            raise
        if isinstance(error, RequestRefused):
            for partition in span.partitions:
                endpoint.with_code_hint(error, str(partition))
        raise error.named(", ".join(_at_fault(span.partitions, error.cause))) from None


def probe_at(endpoint: Endpoint, partition: Partition, at: int, traffic: Traffic) -> Answer:
    """What the endpoint answers to its shortest window at an instant."""
    span = endpoint.span_at((partition,), at)
    return probe(endpoint, endpoint.first_request(span), span, traffic)


def _at_fault(partitions: Sequence[Partition], words: str) -> list[str]:
    """The entry of a partition; of several, the entries that the vendor's words quote, else the setting of them all."""
    first = partitions[0]
    if len(partitions) == 1:
        return [f"`{first.entry}` ({first})"]
    quoted = [f"`{one.entry}`" for one in partitions if f"'{one.values[0][1]}'" in words]
    return quoted or [f"`{first.entry.partition('[')[0]}`"]
