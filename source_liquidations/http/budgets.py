"""Request budgets: one per vendor and key, shared by all streams and workers."""

import threading
import time
from collections import deque
from collections.abc import Callable

# Requests are counted where they arrive, not where they leave: a window a little longer than the vendor's
# keeps jitter on the way from turning into a 429, at the price of this share of the throughput.
_SLACK = 1.02
# After a 429, requests keep a distance: doubled by another 429, up to the delay that the vendor asks for; less with
# each good answer, until it is gone.
_FIRST_DISTANCE = 0.05
_LONGEST_DISTANCE = 10.0
_LESS = 0.97
_SHORTEST_WAIT = 0.001  # zero would say that a place was taken


class Allowance:
    """Weight that may be spent: so much in so many seconds, saved up to `most`."""

    def __init__(self, weight: float, seconds: float, *, most: float) -> None:
        self.most = most
        self._per_second = weight / (seconds * _SLACK)
        self._left = most
        self._at: float | None = None

    def wait_for(self, weight: float, now: float) -> float:
        """Seconds until so much weight is there; of what is more than can be saved up, all that can."""
        self._left = min(self.most, self._left + (now - (self._at or now)) * self._per_second)
        self._at = now
        return max(0.0, min(weight, self.most) - self._left) / self._per_second

    def seconds_for(self, weight: float) -> float:
        """How long so much weight takes, from what is saved up on."""
        return max(0.0, weight - self.most) / self._per_second

    def spend(self, weight: float) -> None:
        self._left -= min(weight, self.most)

    def give_back(self, weight: float) -> None:
        """What was spent was not needed."""
        self._left = min(self.most, self._left + min(weight, self.most))


class Budget:
    """At most `requests` in any `seconds`, and no more weight than the allowances have. Thread-safe.

    Less while the vendor asks for a pause.
    """

    def __init__(
        self,
        requests: int,
        seconds: float,
        *allowances: Allowance,
        counts_weight: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = requests
        self.seconds = seconds
        self._allowances = allowances
        self._counts_weight = counts_weight
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._paused_until = 0.0
        self._distance = 0.0
        self._next = 0.0

    def seconds_for(self, requests: int, weight: float) -> float:
        """How long so many requests take that weigh so much together."""
        counted = max(requests, weight) if self._counts_weight else requests
        return max(
            counted * self.seconds / self.requests,
            *(allowance.seconds_for(weight) for allowance in self._allowances),
            0.0,
        )

    def reserve(self, weight: float = 1.0) -> float:
        """Take a place now and return 0, or take none and return the seconds until one may be free."""
        places = self._places(weight)
        with self._lock:
            now = self._clock()
            free = max(self._paused_until, self._next)
            if now < free:
                return max(free - now, _SHORTEST_WAIT)
            while self._sent and self._sent[0] <= now - self.seconds * _SLACK:
                self._sent.popleft()
            surplus = len(self._sent) + places - self.requests
            wait = self._sent[surplus - 1] + self.seconds * _SLACK - now if surplus > 0 else 0.0
            wait = max([wait, *(allowance.wait_for(weight, now) for allowance in self._allowances)])
            if surplus > 0 or wait > 0.0:
                return max(wait, _SHORTEST_WAIT)
            self._sent.extend([now] * places)
            for allowance in self._allowances:
                allowance.spend(weight)
            self._next = now + self._distance
            return 0.0

    def _places(self, weight: float) -> int:
        return min(round(weight), self.requests) if self._counts_weight else 1

    def unused(self, weight: float = 1.0) -> None:
        """What was reserved last was for a request that did not get to the vendor."""
        with self._lock:
            for _ in range(min(self._places(weight), len(self._sent))):
                self._sent.pop()
            for allowance in self._allowances:
                allowance.give_back(weight)

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds: the vendor asks for it (429 with Retry-After or a reset time)."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def refused(self, seconds: float) -> None:
        """A 429 in spite of the budget: pause, then continue more slowly. Concurrent 429s count once."""
        with self._lock:
            if self._clock() >= self._paused_until:
                longest = min(max(seconds, _FIRST_DISTANCE), _LONGEST_DISTANCE)
                self._distance = min(max(2 * self._distance, _FIRST_DISTANCE), longest)
        self.pause(seconds)

    def went_well(self) -> None:
        """A good answer: reduce the distance that a 429 has made."""
        if self._distance:
            with self._lock:
                self._distance = self._distance * _LESS if self._distance > _FIRST_DISTANCE / 4 else 0.0

    def reported(self, remaining: int, reset_seconds: float) -> None:
        """What an answer's headers said is left, and when it is renewed.

        Nothing left is only news while our own count says otherwise: then somebody else uses the key.
        """
        with self._lock:
            since = self._clock() - self.seconds
            others = remaining <= 0 and sum(at > since for at in self._sent) < self.requests
        if others:
            self.pause(reset_seconds)

    def change(self, requests: int, seconds: float) -> None:
        """Replace the limit by what the vendor says it is."""
        with self._lock:
            self.requests, self.seconds = requests, seconds
