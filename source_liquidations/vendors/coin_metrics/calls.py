"""What Coin Metrics' calls share: bodies, page tokens, batches of entities, catalogs, timeseries."""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Generic
from urllib.parse import quote

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, RequestRefused, UnexpectedAnswer, shown
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.decoding import Page, Row, RowDecoder
from source_liquidations.vendors.listing import Entry, Listing, next_token, rows_of
from source_liquidations.vendors.vendor import probe

CATALOG = "/v4/catalog-v2/"  # entities that the key may read
CATALOG_ALL = "/v4/catalog-all-v2/"  # all entities
TOKEN = "next_page_token"  # nosec B105

PAGE_SIZE = "10000"
CATALOG_PAGE_SIZE = "1000"
# The vendor refuses a URL of more than 10,000 characters (414). The list of entities may take this many.
LONGEST_LIST = 9_000
COMMUNITY_HISTORY = timestamps.DAY


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    next_page_token: str | None = None
    next_page_url: str | None = None


def next_request(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The next page's request: the same with its token. next_page_url embeds the key, so it is never requested."""
    token = next_token(client, token=body.next_page_token, url=body.next_page_url, name=TOKEN)
    return request.with_param(TOKEN, token) if token else None


class Catalog(Listing):
    def __init__(self, client: Client, table: str, decoder: RowDecoder[Any], params: Params = ()) -> None:
        params = (*params, ("page_size", CATALOG_PAGE_SIZE))
        super().__init__(client, Request(CATALOG + table, params), decoder, partial(next_request, client))
        self._all = Request(CATALOG_ALL + table, params)

    def rows(self, traffic: Traffic) -> list[Entry]:
        """The table's entities that the key may read. All entities if the vendor refuses that request."""
        try:
            return list(rows_of(self, traffic))
        except (AccessRefused, RequestRefused) as error:
            if error.status not in {403, 404}:
                raise
        return list(rows_of(self, traffic, self._all))


def batched(partitions: Sequence[Partition], field: str, largest: int) -> list[tuple[Partition, ...]]:
    """Batches that one request can name, of at most `largest` partitions, sorted by entity as the vendor's rows are."""
    batches: list[list[Partition]] = []
    list_length = 0
    for partition in sorted(partitions, key=lambda partition: partition[field]):
        length = len(quote(partition[field])) + 1
        if not batches or list_length + length > LONGEST_LIST or len(batches[-1]) >= largest:
            batches.append([])
            list_length = 0
        list_length += length
        batches[-1].append(partition)
    return [tuple(batch) for batch in batches]


class Timeseries(Endpoint):
    """A timeseries. `table` is the end of its path; `field` names the entity in its rows and partitions.

    Without a key, the vendor silently leaves out rows older than a day.

    one_row_params   the parameters that make `check` read as little as possible
    """

    codes = "binance bybit okex deribit bitmex bitfinex huobi kraken ftx"
    page_size = int(PAGE_SIZE)
    one_row_params: Params = (("page_size", "1"),)

    def __init__(
        self, client: Client, config: Mapping[str, Any], table: str, field: str, decoder: RowDecoder[Any], step: int = 1
    ) -> None:
        self.client = client
        self.has_key = bool(config.get("api_key"))
        self._path = f"/v4/timeseries/{table}"
        self._field = field
        self._decoder = decoder
        self.step = step
        community_start = timestamps.ceil_to(time.time_ns(), timestamps.SECOND) - COMMUNITY_HISTORY
        self.reach = None if self.has_key else timestamps.ceil_to(community_start, step)

    def entity_params(self, partitions: Sequence[Partition]) -> Params:
        """A request's parameters without its time and page size."""
        return ((f"{self._field}s", ",".join(partition[self._field] for partition in partitions)),)

    def first_request(self, span: Span) -> Request:
        # By default both bounds are inclusive, and the first page is the newest.
        params = (
            ("start_time", timestamps.format_instant(span.start)),
            ("end_time", timestamps.format_instant(span.end)),
            ("end_inclusive", "false"),
            ("paging_from", "start"),
            ("page_size", PAGE_SIZE),
        )
        return Request(self._path, (*self.entity_params(span.partitions), *params))

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(response)
        entities = page.column(self._field)
        index = {partition[self._field]: number for number, partition in enumerate(span.partitions)}
        for entity in set(entities) - index.keys():
            raise UnexpectedAnswer(f"`{self._field}`: rows of {shown(entity)}, which was not requested.")
        owners = [index[entity] for entity in entities] if len(index) > 1 else None
        rows = self.rows(page, owners, memory)
        return Answer.with_next(rows, partial(next_request, self.client, request, page.body))

    @abstractmethod
    def rows(self, page: Page[Any], owners: list[int] | None, memory: dict[Any, Any]) -> Rows:
        """The rows of a page. `owners` are the indices of their partitions, if the request has several."""

    def check(self, traffic: Traffic) -> None:
        """Request one row of as many entities as one request can name. Raises a refusal, with the entries at fault."""
        for batch in batched(self.all_partitions(traffic), self._field, self.page_size)[:1]:
            params = (*self.entity_params(batch), *self.one_row_params)
            probe(self, Request(self._path, params), Span(batch, 0, 1), traffic)
