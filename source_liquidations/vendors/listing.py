"""Lists that a vendor has: instruments, markets, symbols. Read whole, page after page, each time."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import RequestRefused, shown
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.paging import MOST_RESTARTS, Pages, tokens_refused
from source_liquidations.reading.rows import Rows

logger = logging.getLogger("airbyte")

# A member of a row that is no part of its key: it arrives whatever it is.
Unread = msgspec.Raw | msgspec.UnsetType

NOWHEN = Span((Partition(()),), 0, 1)


class Listing(Endpoint):
    """A list without times: one partition, one window, no progress to remember.

    `first_page` is its first request; `page` makes a body's rows, as JSON objects, and the next request.
    """

    ascending = False
    splittable = False

    def __init__(self, vendor: str, client: Client) -> None:
        self.vendor = vendor
        self.client = client

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        del traffic
        return [Partition(())]

    def first(self, span: Span) -> Request:
        del span
        return self.first_page()

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        rows, following = self.page(answered, request, memory)
        return Answer(Rows(rows, [span.start] * len(rows)), following)

    @abstractmethod
    def first_page(self) -> Request: ...

    @abstractmethod
    def page(
        self, answered: Answered, request: Request, memory: dict[Any, Any]
    ) -> tuple[Sequence[Any], Request | None]: ...


def rows_of(listing: Listing, traffic: Traffic, first: Request | None = None) -> Iterator[Any]:
    """Every row of a list, for what has to be known before anything is read. Raises NotAdvancing for endless pages.

    Some come again where a page token was refused: its life is not documented, so the list is read afresh.
    """
    first = first or listing.first_page()
    request: Request | None = first
    pages, memory, restarts = Pages(), {}, 0  # type: ignore[var-annotated]
    while request is not None:
        try:
            answered = listing.client.fetch(request, traffic)
        except RequestRefused as error:
            if request == first:
                raise
            restarts += 1
            if restarts > MOST_RESTARTS:
                raise tokens_refused(error) from None
            request, pages, memory = first, Pages(), {}
            continue
        answer = listing.decode(answered, NOWHEN, request, memory)
        pages.accept(request, answer)
        yield from answer.rows.raw
        if answer.problem is not None:
            raise answer.problem
        request = answer.following


class ListedDate:
    """A date in the rows of a list, in any form. One that cannot be read is logged once and counts as no date."""

    def __init__(self, stream: str, field: str) -> None:
        self._name = f"{stream}, `{field}`"
        self._warned = False

    def read(self, literal: Unread, market: str) -> int | None:
        """Nanoseconds since the epoch; None where there is no date, or none that can be read."""
        if isinstance(literal, msgspec.UnsetType):
            return None
        value = msgspec.json.decode(literal)
        if value is None or value == "":
            return None
        try:
            return timestamps.instant_of(value if isinstance(value, (str, int, float)) else str(value))
        except ValueError:
            if not self._warned:
                self._warned = True
                logger.warning(
                    "%s of %s is %s, not a date: it has no row of coverage", self._name, market, shown(bytes(literal))
                )
            return None
