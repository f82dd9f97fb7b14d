"""Rate limits in sliding windows of the wall clock, and weights that refill."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a request is allowed, how many remain, and in how many seconds the oldest one expires (`reset`).

    `wait` is the exact number of seconds until the same request would be allowed; 0 if it was.
    """

    allowed: bool
    remaining: int
    reset: int
    wait: float = 0.0


class SlidingWindow:
    """At most `limit` requests of each caller in any `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._taken_at: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, cost: int = 1, block: float = 0.0) -> Verdict:
        """Count a request as `cost` units if it is allowed. A refused request does not count.

        A refused request blocks its caller for `block` seconds; requests during the block do not extend it.
        """
        now = time.monotonic()
        with self._lock:
            taken = self._taken_at.setdefault(caller, deque())
            while taken and taken[0] <= now - self.seconds:
                taken.popleft()
            if now < self._blocked.get(caller, now):
                wait = self._blocked[caller] - now
                return Verdict(False, 0, math.ceil(wait), wait)
            wait = self._wait(taken, cost, now)
            if wait and block:
                self._blocked[caller] = now + block
                return Verdict(False, 0, math.ceil(block), block)
            if not wait:
                taken.extend([now] * cost)
            reset = max(0, math.ceil(taken[0] + self.seconds - now)) if taken else 0
            return Verdict(not wait, self.limit - len(taken), reset, wait)

    def _wait(self, taken: deque[float], cost: int, now: float) -> float:
        """Seconds until `cost` units are free; a cost above the limit never fits."""
        if len(taken) + cost <= self.limit:
            return 0.0
        if cost > self.limit:
            return self.seconds
        return taken[len(taken) + cost - self.limit - 1] + self.seconds - now

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._taken_at.clear()
            self._blocked.clear()


class TokenBucket:
    """The weight of each caller, which refills by `per_minute`, up to `capacity`."""

    def __init__(self, per_minute: float, capacity: float) -> None:
        self._per_second = per_minute / 60
        self._capacity = capacity
        self._remaining: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, weight: float) -> float:
        """Take the weight and return 0, or return the seconds until it is available."""
        now = time.monotonic()
        with self._lock:
            remaining, at = self._remaining.get(caller, (self._capacity, now))
            remaining = min(self._capacity, remaining + (now - at) * self._per_second)
            wait = max(0.0, weight - remaining) / self._per_second
            self._remaining[caller] = (remaining if wait else remaining - weight, now)
            return wait

    def clear(self) -> None:
        """Refill the weight of every caller."""
        with self._lock:
            self._remaining.clear()


class Limits:
    """All limits of a sandbox by name, with one switch."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._windows: dict[tuple[str, int, float], SlidingWindow] = {}
        self._buckets: dict[tuple[str, float, float], TokenBucket] = {}

    def take(self, name: str, caller: str, limit: int, seconds: float, *, cost: int = 1, block: float = 0.0) -> Verdict:
        """Count a request of a caller against a limit; every request is allowed while limits are off."""
        if not self.enabled:
            return Verdict(True, limit, 0)
        window = self._windows.setdefault((name, limit, seconds), SlidingWindow(limit, seconds))
        return window.take(caller, cost, block)

    def weigh(self, name: str, caller: str, weight: float, per_minute: float, capacity: float) -> float:
        """Take the weight and return 0, or return the seconds until it is available."""
        if not self.enabled:
            return 0.0
        limit = (per_minute, capacity)
        return self._buckets.setdefault((name, *limit), TokenBucket(*limit)).take(caller, weight)

    def clear(self) -> None:
        """Forget all requests."""
        limits: list[SlidingWindow | TokenBucket] = [*self._windows.values(), *self._buckets.values()]
        for limit in limits:
            limit.clear()
