"""Request budgets: one per vendor and key, shared by all streams and workers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

# Requests are counted where they arrive, not where they leave: a window a little longer than the vendor's
# keeps jitter on the way from turning into a 429, at the price of this share of the throughput.
_SLACK = 1.02
_SHORTEST_WAIT = 0.001  # nought would say that a place was taken


class Budget:
    """At most `requests` in any `seconds`; less while the vendor asks for a pause. Thread-safe."""

    def __init__(self, requests: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests = requests
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._paused_until = 0.0

    def __repr__(self) -> str:
        return f"Budget({self.requests} requests per {self.seconds:g} s)"

    def reserve(self) -> float:
        """Take a place now and return 0, or take none and return the seconds until one may be free."""
        with self._lock:
            now = self._clock()
            if now < self._paused_until:
                return max(self._paused_until - now, _SHORTEST_WAIT)
            self._forget_before(now - self.seconds * _SLACK)
            if len(self._sent) >= self.requests:
                return max(self._sent[0] + self.seconds * _SLACK - now, _SHORTEST_WAIT)
            self._sent.append(now)
            return 0.0

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long: the vendor said so (429 with Retry-After or a reset time)."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def reported(self, remaining: int, reset_seconds: float) -> None:
        """What an answer's headers said is left, and when it is renewed.

        Nothing left is only news while our own count says otherwise: then somebody else uses the key.
        """
        with self._lock:
            now = self._clock()
            self._forget_before(now - self.seconds)
            others = remaining <= 0 and len(self._sent) < self.requests
        if others:
            self.pause(reset_seconds)

    def change(self, requests: int, seconds: float) -> None:
        """Replace the limit by what the vendor says it is."""
        with self._lock:
            self.requests, self.seconds = requests, seconds

    def _forget_before(self, instant: float) -> None:
        while self._sent and self._sent[0] <= instant:
            self._sent.popleft()
