"""What Kaiko's calls share: the envelope of answers, page tokens, the access range of the key."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.decoding import Page, Row, RowDecoder
from source_liquidations.vendors.listing import next_token

PAGE_SIZE = "1000"  # the documented maximum
TOKEN = "continuation_token"  # nosec B105


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    continuation_token: str | None = None
    next_url: str | None = None
    access: msgspec.Raw = numbers.NULL

    def bound(self, name: str) -> int | None:
        """A bound of `access.access_range`, what the key may read, in nanoseconds; None if absent or malformed."""
        try:
            return timestamps.instant_of(str(msgspec.json.decode(self.access)["access_range"][name])) or None
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):  # no row depends on it
            return None


def next_request(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The next page's request. The token is its only parameter, since it stands for all the others."""
    token = next_token(client, token=body.continuation_token, url=body.next_url, name=TOKEN)
    return Request(request.path, ((TOKEN, token),)) if token else None


class KaikoEndpoint(Endpoint):
    """What both data endpoints share: ascending pages of 1,000 rows. `params` go with every first request."""

    codes = "binc bbit okex drbt bmex btmx bfnx huob hbdm krkn ftxx"

    def __init__(self, client: Client, decoder: RowDecoder[Any], params: Params = ()) -> None:
        self.client = client
        self._decoder = decoder
        self._params = params
        self._older_than_range: set[Partition] = set()  # partitions with rows from before their access range

    @abstractmethod
    def path(self, partition: Partition) -> str: ...

    @abstractmethod
    def rows(self, page: Page[Any], span: Span, memory: dict[Any, Any]) -> Rows: ...

    def first_request(self, span: Span) -> Request:
        # `start_time` is inclusive, `end_time` exclusive, both in milliseconds. `sort` defaults to desc.
        start, end = (timestamps.format_instant(instant, 3) for instant in (span.start, span.end))
        window = (("start_time", start), ("end_time", end), ("sort", "asc"), ("page_size", PAGE_SIZE))
        return Request(self.path(span.partitions[0]), (*self._params, *window))

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(response)
        rows = self.rows(page, span, memory)
        readable_range = self._readable_range(page.body, span, rows.instants)
        return Answer.with_next(rows, partial(next_request, self.client, request, page.body), readable_range)

    def _readable_range(self, body: Body[Any], span: Span, instants: Sequence[int]) -> tuple[int | None, int | None]:
        """The access range as [start, end), without the bounds that rows disprove.

        Kaiko does not document what happens to rows outside the range; they are silently absent.
        """
        partition, start, end = span.partitions[0], body.bound("start_timestamp"), body.bound("end_timestamp")
        if start and instants and instants[0] < start:
            self._older_than_range.add(partition)
        start = None if partition in self._older_than_range else start
        end = None if end and instants and instants[-1] >= end else end
        return start, end
