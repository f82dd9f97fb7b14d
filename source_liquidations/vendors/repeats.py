"""Rows that come more than once: each interval is kept once, events are checked for equal keys or get ids."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.logs import logger
from source_liquidations.reading.rows import Rows


def each_once(rows: Rows, memory: dict[Any, Any], series: Sequence[Any] | None = None) -> Rows:
    """Drops rows of an aggregate whose interval was on this page already, or on the last one.

    `series` names what each row is an interval of, if the row's partition does not. Raises UnexpectedAnswer if an
    interval comes with two different values.
    """
    last_page: dict[tuple[Any, int], bytes] = memory.get("last page", {})
    this_page: dict[tuple[Any, int], bytes] = {}
    keep = []
    for index, key in enumerate(zip(series or rows.owners or [0] * len(rows), rows.instants, strict=True)):
        row = bytes(rows.raw[index])
        earlier = this_page.get(key, last_page.get(key))
        if earlier is None:
            keep.append(index)
        elif earlier != row and msgspec.json.decode(earlier) != msgspec.json.decode(row):
            interval = timestamps.format_shortest(rows.instants[index])
            raise UnexpectedAnswer(f"one interval comes twice with different values: {interval}.")
        this_page[key] = row
    memory["last page"] = this_page
    return rows if len(keep) == len(rows) else rows.only(keep)


class EventIds:
    """Warns once if two different events have the same primary key: a deduplicating destination keeps one of them."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._warned = False

    def check(self, raw: Sequence[Any], memory: dict[Any, Any], *keys: Sequence[Any]) -> None:
        """`keys` are the columns of the primary key, the most selective first. Identical rows are no reason to warn."""
        last_keys, last_rows = memory.get("last page's ids", ([()] * len(keys), ()))
        memory["last page's ids"] = keys, raw
        first = set(keys[0])
        if self._warned or (len(first) == len(raw) and first.isdisjoint(last_keys[0])):
            return
        row_by_key = dict(zip(zip(*last_keys, strict=True), last_rows, strict=True))
        for key, row in zip(zip(*keys, strict=True), raw, strict=True):
            if row_by_key.setdefault(key, row) != row:
                self._warned = True
                logger.warning(
                    "%s: two different rows have the same key, %s: a destination that deduplicates keeps the later one",
                    self._stream,
                    "/".join(map(str, key)),
                )
                return


def ordinals(keys: Sequence[Hashable], tie: Callable[[int], Any], last: dict[Any, int]) -> list[int]:
    """Numbers each row among the rows with the same key. `last` holds the last number of each key, and is updated.

    The order of rows is not documented, so rows with the same key are numbered in the order of `tie(index)`.
    """
    order: Iterable[int] = range(len(keys))
    if len(set(keys)) < len(keys):
        order = sorted(order, key=tie)
    numbered = [0] * len(keys)
    for index in order:
        key = keys[index]
        numbered[index] = last[key] = last.get(key, -1) + 1
    return numbered


def content_ids(contents: Sequence[bytes], tie: Callable[[int], Any], last: dict[Any, int]) -> list[str]:
    """Ids from a digest of each row's content and its ordinal: the same on every re-read. See `ordinals`."""
    digests = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in contents]
    return [f"{digest}-{ordinal}" for digest, ordinal in zip(digests, ordinals(digests, tie, last), strict=True)]
