"""A cache of blocks, bounded by the total number of rows in them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything whose length is its number of rows."""

    def __len__(self) -> int: ...


V = TypeVar("V", bound=Sized)


class RowCache(Generic[V]):
    """A least-recently-used cache, bounded by the number of rows in its values."""

    def __init__(self, rows: int) -> None:
        self._limit = rows
        self._held = 0
        self._values: OrderedDict[object, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], V]) -> V:
        """The value of a key; a missing value is made outside the lock."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._held += len(value) + 20
            while self._held > self._limit and len(self._values) > 1:
                _, old = self._values.popitem(last=False)
                self._held -= len(old) + 20
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._held = 0
