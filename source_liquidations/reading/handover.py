"""The queue between workers and the writer, bounded by what it holds."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

_TICK = 0.5


class Handover(Generic[T]):
    """First in, first out; holds up to `most` bytes, or one item that is larger by itself.

    `stop` ends the wait of whoever hands over: the item is dropped then.
    """

    def __init__(self, most: int, stop: threading.Event) -> None:
        self._most = most
        self._stop = stop
        self._items: deque[tuple[T, int]] = deque()
        self._held = 0
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> None:
        with self._changed:
            while self._held and self._held + size > self._most:
                if self._stop.is_set():
                    return
                self._changed.wait(_TICK)
            self._items.append((item, size))
            self._held += size
            self._changed.notify_all()

    def get(self) -> T | None:
        """The next item; None on timeout."""
        with self._changed:
            if not self._items:
                self._changed.wait(_TICK)
            if not self._items:
                return None
            item, size = self._items.popleft()
            self._held -= size
            self._changed.notify_all()
            return item
