"""Rate limits, counted in a window that slides with the wall clock."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a request is within the limit, how many more are, and when (seconds) the next place is free."""

    allowed: bool
    remaining: int
    reset: int


class SlidingWindow:
    """At most `limit` requests in any `seconds`, for each caller on its own."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> Verdict:
        """Count a request if it is within the limit. A refused one does not count."""
        now = time.monotonic()
        with self._lock:
            seen = self._seen.setdefault(caller, deque())
            while seen and seen[0] <= now - self.seconds:
                seen.popleft()
            allowed = len(seen) < self.limit
            if allowed:
                seen.append(now)
            reset = max(0, math.ceil(seen[0] + self.seconds - now)) if seen else 0
            return Verdict(allowed, self.limit - len(seen), reset)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._seen.clear()


class Limits:
    """All sliding windows of a sandbox by name, with one switch."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._windows: dict[tuple[str, int, float], SlidingWindow] = {}

    def take(self, name: str, caller: str, limit: int, seconds: float) -> Verdict:
        """Count a request of a caller against a limit; always allowed while limits are off."""
        if not self.enabled:
            return Verdict(True, limit, 0)
        window = self._windows.setdefault((name, limit, seconds), SlidingWindow(limit, seconds))
        return window.take(caller)

    def clear(self) -> None:
        """Forget all requests."""
        for window in list(self._windows.values()):
            window.clear()
