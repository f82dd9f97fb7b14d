"""Request budgets: one per vendor and key, shared by all streams and workers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

# Requests are counted where they arrive, not where they leave: a window a little longer than the vendor's
# keeps jitter on the way from turning into a 429, at the price of this share of the throughput.
_SLACK = 1.02
# After a 429, requests keep a distance: doubled by another 429, up to the pause that the vendor tells; less with each
# good answer, until it is gone.
_FIRST_DISTANCE = 0.05
_LONGEST_DISTANCE = 10.0
_LESS = 0.97
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
        self._distance = 0.0
        self._next = 0.0

    def __repr__(self) -> str:
        return f"Budget({self.requests} requests per {self.seconds:g} s)"

    def reserve(self) -> float:
        """Take a place now and return 0, or take none and return the seconds until one may be free."""
        with self._lock:
            now = self._clock()
            free = max(self._paused_until, self._next)
            if now < free:
                return max(free - now, _SHORTEST_WAIT)
            self._forget_before(now - self.seconds * _SLACK)
            if len(self._sent) >= self.requests:
                return max(self._sent[0] + self.seconds * _SLACK - now, _SHORTEST_WAIT)
            self._sent.append(now)
            self._next = now + self._distance
            return 0.0

    def unused(self) -> None:
        """The place last taken was for a request that did not get to the vendor."""
        with self._lock:
            if self._sent:
                self._sent.pop()

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long: the vendor said so (429 with Retry-After or a reset time)."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def refused(self, seconds: float) -> None:
        """A 429 in spite of the budget: pause for so long, and go on more slowly. Of several at once, one counts."""
        with self._lock:
            if self._clock() >= self._paused_until:
                longest = min(max(seconds, _FIRST_DISTANCE), _LONGEST_DISTANCE)
                self._distance = min(max(2 * self._distance, _FIRST_DISTANCE), longest)
        self.pause(seconds)

    def went_well(self) -> None:
        """A good answer: a distance that a 429 made is not needed for ever."""
        if self._distance:
            with self._lock:
                self._distance = self._distance * _LESS if self._distance > _FIRST_DISTANCE / 4 else 0.0

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
