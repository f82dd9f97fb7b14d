"""What Coin Metrics' calls share: bodies, page tokens, several entities in a request, catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Generic

import msgspec

from source_liquidations.errors import AccessRefused, RequestRefused, UnexpectedAnswer, shown
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.vendors.decoding import Row, RowDecoder
from source_liquidations.vendors.listing import Entry, Listing, rows_of
from source_liquidations.vendors.page_tokens import next_token

CATALOG = "/v4/catalog-v2/"  # what the key sees
CATALOG_ALL = "/v4/catalog-all-v2/"  # all there is
TOKEN = "next_page_token"  # nosec B105

PAGE_SIZE = "10000"
CATALOG_PAGE_SIZE = "1000"
# A URL of more than 10,000 characters is refused (414); this much is for the list of entities.
LONGEST_LIST = 9_000


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    next_page_token: str | None = None
    next_page_url: str | None = None


def following(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The request of the next page: the same with its token. next_page_url embeds the key, so it is not followed."""
    token = next_token(client, token=body.next_page_token, url=body.next_page_url, name=TOKEN)
    if token is None:
        return None
    params = tuple(param for param in request.params if param[0] != TOKEN)
    return Request(request.path, (*params, (TOKEN, token)))


class Catalog(Listing):
    """A table of the catalog."""

    def __init__(self, client: Client, table: str, decoder: RowDecoder[Any], params: Params = ()) -> None:
        params = (*params, ("page_size", CATALOG_PAGE_SIZE))
        super().__init__("coin_metrics", client, Request(CATALOG + table, params), decoder, partial(following, client))
        self._all = Request(CATALOG_ALL + table, params)

    def rows(self, traffic: Traffic) -> list[Entry]:
        """What the key sees of the table; all there is where the key may not ask what it sees."""
        try:
            return list(rows_of(self, traffic))
        except (AccessRefused, RequestRefused) as error:
            if error.status not in {403, 404}:
                raise
        return list(rows_of(self, traffic, self._all))


def batched(partitions: Sequence[Partition], field: str, most: int) -> list[tuple[Partition, ...]]:
    """Partitions in the vendor's order, as many together as a request may name, and `most` at the most."""
    batches: list[list[Partition]] = []
    length = 0
    for partition in sorted(partitions, key=lambda partition: partition[field]):
        length += len(partition[field]) + 1
        if not batches or length > LONGEST_LIST or len(batches[-1]) >= most:
            batches.append([])
            length = len(partition[field]) + 1
        batches[-1].append(partition)
    return [tuple(batch) for batch in batches]


def owners(field: str, entities: Sequence[str], span: Span) -> list[int] | None:
    """Each row's partition, where the request asked for several. Raises UnexpectedAnswer for a row of another."""
    index = {partition[field]: number for number, partition in enumerate(span.partitions)}
    for entity in set(entities) - index.keys():
        raise UnexpectedAnswer(f"`{field}`: rows of {shown(entity)}, which was not asked for.")
    return [index[entity] for entity in entities] if len(index) > 1 else None
