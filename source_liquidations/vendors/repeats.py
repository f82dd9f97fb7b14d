"""Rows that come again, each key once and never with two values; and ids for rows that have none."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.logs import logger
from source_liquidations.reading.rows import Rows


def each_once(rows: Rows, memory: dict[Any, Any], series: Sequence[Any] | None = None) -> Rows:
    """Rows of an aggregate, each interval once: repeats on this page and the last one are left out.

    `series` says of each row what it is an interval of, where its partition alone does not. Raises UnexpectedAnswer
    where one comes with two values.
    """
    before: dict[tuple[Any, int], bytes] = memory.get("last page", {})
    here: dict[tuple[Any, int], bytes] = {}
    keep = []
    for index, key in enumerate(zip(series or rows.owners or [0] * len(rows), rows.instants, strict=True)):
        row = bytes(rows.raw[index])
        other = here.get(key, before.get(key))
        if other is None:
            keep.append(index)
        elif other != row and msgspec.json.decode(other) != msgspec.json.decode(row):
            interval = timestamps.format_shortest(rows.instants[index])
            raise UnexpectedAnswer(f"one interval comes twice with different values: {interval}.")
        here[key] = row
    memory["last page"] = here
    return rows if len(keep) == len(rows) else rows.only(keep)


class EventIds:
    """Says once, with the key, that two events have one id: a destination that deduplicates keeps one of them."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._warned = False

    def check(self, raw: Sequence[Any], memory: dict[Any, Any], *keys: Sequence[Any]) -> None:
        """`keys` are the columns of the primary key, the most telling first. Exact repeats are no such events."""
        before, rows_before = memory.get("last page's ids", ([()] * len(keys), ()))
        memory["last page's ids"] = keys, raw
        first = set(keys[0])
        if self._warned or (len(first) == len(raw) and first.isdisjoint(before[0])):
            return
        seen = dict(zip(zip(*before, strict=True), rows_before, strict=True))
        for key, row in zip(zip(*keys, strict=True), raw, strict=True):
            if seen.setdefault(key, row) != row:
                self._warned = True
                logger.warning(
                    "%s: two different rows have the same key, %s: a destination that deduplicates keeps the later one",
                    self._stream,
                    "/".join(map(str, key)),
                )
                return


def ordinals(keys: Sequence[Hashable], tie: Callable[[int], Any], seen: dict[Any, int]) -> list[int]:
    """A number for each row, among the rows of its key. `seen` has the last number of each key so far.

    The order of rows is not documented, so equal keys are numbered in the order of what `tie` gives for a row's index.
    """
    order: Iterable[int] = range(len(keys))
    if len(set(keys)) < len(keys):
        order = sorted(order, key=tie)
    found = [0] * len(keys)
    for index in order:
        key = keys[index]
        found[index] = seen[key] = seen.get(key, -1) + 1
    return found


def identified(contents: Sequence[bytes], tie: Callable[[int], Any], seen: dict[Any, int]) -> list[str]:
    """A digest of the content and an ordinal for each row, the same on every re-read; the rest as in `ordinals`."""
    digests = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in contents]
    return [f"{digest}-{ordinal}" for digest, ordinal in zip(digests, ordinals(digests, tie, seen), strict=True)]
