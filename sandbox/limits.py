"""Rate limits, counted in a window that slides with the wall clock."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a request is within the limit, how many more are, and when (seconds) the next place is free.

    `wait` is the exact number of seconds after which the same request fits; 0 if it did.
    """

    allowed: bool
    remaining: int
    reset: int
    wait: float = 0.0


class SlidingWindow:
    """At most `limit` requests in any `seconds`, for each caller on its own."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._seen: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, cost: int = 1, block: float = 0.0) -> Verdict:
        """Count a request as `cost` of the limit's units if it fits. A refused one does not count.

        With `block`, a refused request shuts its caller out for so many seconds; requests meanwhile do not prolong it.
        """
        now = time.monotonic()
        with self._lock:
            seen = self._seen.setdefault(caller, deque())
            while seen and seen[0] <= now - self.seconds:
                seen.popleft()
            if now < self._blocked.get(caller, now):
                wait = self._blocked[caller] - now
                return Verdict(False, 0, math.ceil(wait), wait)
            wait = self._wait(seen, cost, now)
            if wait and block:
                self._blocked[caller] = now + block
                return Verdict(False, 0, math.ceil(block), block)
            if not wait:
                seen.extend([now] * cost)
            reset = max(0, math.ceil(seen[0] + self.seconds - now)) if seen else 0
            return Verdict(not wait, self.limit - len(seen), reset, wait)

    def _wait(self, seen: deque[float], cost: int, now: float) -> float:
        """Seconds until `cost` units fit; a cost above the limit never does."""
        if len(seen) + cost <= self.limit:
            return 0.0
        if cost > self.limit:
            return self.seconds
        return seen[len(seen) + cost - self.limit - 1] + self.seconds - now

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._seen.clear()
            self._blocked.clear()


class Store:
    """Weight that refills by `per_minute`, up to `most`, for each caller on its own."""

    def __init__(self, per_minute: float, most: float) -> None:
        self._per_second = per_minute / 60
        self._most = most
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, weight: float) -> float:
        """Seconds until so much weight is there; where it is, it is taken, and this is 0."""
        now = time.monotonic()
        with self._lock:
            left, at = self._left.get(caller, (self._most, now))
            left = min(self._most, left + (now - at) * self._per_second)
            wait = max(0.0, weight - left) / self._per_second
            self._left[caller] = (left if wait else left - weight, now)
            return wait

    def clear(self) -> None:
        """Every caller has all of it again."""
        with self._lock:
            self._left.clear()


class Limits:
    """All limits of a sandbox by name, with one switch."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._windows: dict[tuple[str, int, float], SlidingWindow] = {}
        self._stores: dict[tuple[str, float, float], Store] = {}

    def take(self, name: str, caller: str, limit: int, seconds: float, *, cost: int = 1, block: float = 0.0) -> Verdict:
        """Count a request of a caller against a limit; always allowed while limits are off."""
        if not self.enabled:
            return Verdict(True, limit, 0)
        window = self._windows.setdefault((name, limit, seconds), SlidingWindow(limit, seconds))
        return window.take(caller, cost, block)

    def weigh(self, name: str, caller: str, weight: float, per_minute: float, most: float) -> float:
        """Seconds that a caller has to wait for so much weight; 0 where it was taken."""
        if not self.enabled:
            return 0.0
        return self._stores.setdefault((name, per_minute, most), Store(per_minute, most)).take(caller, weight)

    def clear(self) -> None:
        """Forget all requests."""
        for window in list(self._windows.values()):
            window.clear()
        for store in list(self._stores.values()):
            store.clear()
