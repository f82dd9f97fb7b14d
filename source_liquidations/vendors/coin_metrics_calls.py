"""What Coin Metrics' calls share: bodies, page tokens, entity lists, catalogs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from source_liquidations.errors import AccessRefused, RequestRefused, UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span

CATALOG = "/v4/catalog-v2/"  # what the key sees
CATALOG_ALL = "/v4/catalog-all-v2/"  # all there is

PAGE_SIZE = "10000"
CATALOG_PAGE_SIZE = "1000"
# A URL of more than 10,000 characters is refused (414); this much is for the list of entities.
LONGEST_LIST = 9_000

T = TypeVar("T")
Page = TypeVar("Page")


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | msgspec.UnsetType = msgspec.UNSET
    next_page_token: str | None = None
    next_page_url: str | None = None


def following(client: Client, request: Request, body: Body[Any]) -> Request | None:
    """The request of the next page: the same with its token. next_page_url embeds the key, so it is not followed."""
    if body.next_page_url:
        client.check_origin(body.next_page_url)
    token = body.next_page_token
    if not token and not body.next_page_url:
        return None
    if not token:
        found = parse_qs(urlsplit(body.next_page_url or "").query).get("next_page_token")
        if not found:
            raise UnexpectedAnswer("`next_page_url` has no next_page_token.", advice="No page was guessed from it.")
        token = found[0]
    params = tuple(param for param in request.params if param[0] != "next_page_token")
    return Request(request.path, (*params, ("next_page_token", token)))


def catalog(
    client: Client,
    table: str,
    params: tuple[tuple[str, str], ...],
    decode: Callable[[Answered], tuple[Body[Any], Page]],
    traffic: Traffic,
) -> list[Page]:
    """Every page of what the key sees of a table; of all there is where the key may not ask what it sees."""
    params = (*params, ("page_size", CATALOG_PAGE_SIZE))
    try:
        return list(pages(client, Request(CATALOG + table, params), decode, traffic))
    except (AccessRefused, RequestRefused) as error:
        if error.status not in {403, 404}:
            raise
    return list(pages(client, Request(CATALOG_ALL + table, params), decode, traffic))


def pages(
    client: Client, request: Request, decode: Callable[[Answered], tuple[Body[Any], Page]], traffic: Traffic
) -> Iterator[Page]:
    """A list's pages, for what has to be known before anything is read."""
    after: Request | None = request
    seen: set[Request] = set()
    while after is not None:
        if after in seen:
            raise UnexpectedAnswer("the catalog repeats its page token.")
        seen.add(after)
        body, page = decode(client.fetch(after, traffic))
        yield page
        after = following(client, after, body)


def is_pattern(entry: str) -> bool:
    return "*" in entry


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by an entry; `*` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


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


def owners(field: str, entities: Iterable[str], span: Span) -> list[int] | None:
    """Each row's partition, where the request asked for several."""
    if len(span.partitions) == 1:
        return None
    index = {partition[field]: number for number, partition in enumerate(span.partitions)}
    try:
        return [index[entity] for entity in entities]
    except KeyError as error:
        raise UnexpectedAnswer(f"`{field}`: rows of {error}, which was not asked for.") from None
