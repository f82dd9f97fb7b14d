"""Ids for rows that come without one: a digest of the content, and an ordinal among rows of one content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any


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
    """An id for each row of this content, the same on every re-read; `tie` and `seen` as in `ordinals`."""
    digests = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in contents]
    return [f"{digest}-{ordinal}" for digest, ordinal in zip(digests, ordinals(digests, tie, seen), strict=True)]
