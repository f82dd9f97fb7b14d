"""What Kaiko's calls share: the envelope of answers, page tokens, what the key may read."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.decoding import Page, Row, RowDecoder
from source_liquidations.vendors.listing import next_token

PAGE_SIZE = "1000"
TOKEN = "continuation_token"  # nosec B105


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    continuation_token: str | None = None
    next_url: str | None = None
    access: msgspec.Raw = numbers.NULL

    def bound(self, name: str) -> int | None:
        """Of what the key may read, in nanoseconds; None where there is none, or none that can be read."""
        try:
            return timestamps.instant_of(str(msgspec.json.decode(self.access)["access_range"][name])) or None
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):  # nothing that a row depends on
            return None


def following(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The next page's request: a token carries all parameters, so it stands alone."""
    token = next_token(client, token=body.continuation_token, url=body.next_url, name=TOKEN)
    return Request(request.path, ((TOKEN, token),)) if token else None


class KaikoEndpoint(Endpoint):
    """What both data endpoints share: ascending pages of 1,000. `params` go with every request but those of a token."""

    title = "Kaiko"
    codes = "binc bbit okex drbt bmex btmx bfnx huob hbdm krkn ftxx"

    def __init__(self, client: Client, decoder: RowDecoder[Any], params: Params = ()) -> None:
        self.client = client
        self._decoder = decoder
        self._params = params
        self._reaching_further: set[Partition] = set()  # than its access range, as rows show

    @abstractmethod
    def path(self, partition: Partition) -> str: ...

    @abstractmethod
    def rows(self, page: Page[Any], span: Span, memory: dict[Any, Any]) -> Rows: ...

    def first_request(self, span: Span) -> Request:
        # start_time is inclusive, end_time exclusive, in milliseconds; `sort` defaults to desc.
        return Request(
            self.path(span.partitions[0]),
            (
                *self._params,
                ("start_time", timestamps.format_instant(span.start, 3)),
                ("end_time", timestamps.format_instant(span.end, 3)),
                ("sort", "asc"),
                ("page_size", PAGE_SIZE),
            ),
        )

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(answered)
        rows = self.rows(page, span, memory)
        readable = self._readable(page.body, span, rows.instants)
        return Answer.with_next(rows, partial(following, self.client, request, page.body), readable)

    def _readable(self, body: Body[Any], span: Span, instants: Sequence[int]) -> tuple[int | None, int | None]:
        """Since when and until when the key may read, if no row shows otherwise.

        No page says what becomes of rows from outside; they are just not there.
        """
        partition, since, until = span.partitions[0], body.bound("start_timestamp"), body.bound("end_timestamp")
        if since and instants and instants[0] < since:
            self._reaching_further.add(partition)
        since = None if partition in self._reaching_further else since
        until = None if until and instants and instants[-1] >= until else until
        return since, until
