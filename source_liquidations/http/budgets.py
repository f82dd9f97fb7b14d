"""Request budgets: what may be sent within a vendor's rate limit, shared by all streams and workers of a key."""

import threading
import time
from collections import deque
from collections.abc import Callable
from heapq import merge
from itertools import islice

# Vendors count requests when they arrive. A window slightly longer than the vendor's keeps network jitter from causing
# a 429, and costs this share of the throughput.
_SLACK = 1.02
# Seconds between requests after a 429. Another 429 doubles the spacing, up to the delay that the vendor asks for; each
# good answer reduces it, until it is gone.
_FIRST_SPACING = 0.05
_MAX_SPACING = 10.0
_SPACING_DECAY = 0.97
_SHORTEST_WAIT = 0.001  # seconds; zero would mean that a place was taken
_LONGEST_UNSENT = 60.0  # seconds that connecting may take. A request that has not left then never will
_UNSENT_WAIT = 0.1  # seconds, while an older request that has not left keeps its place


class Allowance:
    """A token bucket of request weight: `weight` flows in every `seconds`, up to `capacity`."""

    def __init__(self, weight: float, seconds: float, *, capacity: float) -> None:
        self.capacity = capacity
        self._per_second = weight / (seconds * _SLACK)
        self._available = capacity
        self._updated_at: float | None = None

    def wait_for(self, weight: float, now: float) -> float:
        """Seconds until this weight is available; until the bucket is full if the weight exceeds its capacity."""
        refill = (now - (self._updated_at or now)) * self._per_second
        self._available = min(self.capacity, self._available + refill)
        self._updated_at = now
        return max(0.0, min(weight, self.capacity) - self._available) / self._per_second

    def seconds_for(self, weight: float) -> float:
        """How long it takes to spend this weight, starting with a full bucket."""
        return max(0.0, weight - self.capacity) / self._per_second

    def spend(self, weight: float) -> None:
        self._available -= min(weight, self.capacity)

    def give_back(self, weight: float) -> None:
        """Undo a `spend`."""
        self._available = min(self.capacity, self._available + min(weight, self.capacity))


class Budget:
    """At most `requests` in any `seconds`, within each allowance, none during a requested pause. Thread-safe."""

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
        self._reserved: deque[float] = deque()  # places of requests that are not sent yet
        self._sent: deque[float] = deque()
        self._paused_until = 0.0
        self._spacing = 0.0
        self._next_at = 0.0

    def seconds_for(self, requests: int, weight: float) -> float:
        """How long this many requests take, with this weight in total."""
        counted = max(requests, weight) if self._counts_weight else requests
        return max(
            counted * self.seconds / self.requests,
            *(allowance.seconds_for(weight) for allowance in self._allowances),
            0.0,
        )

    def reserve(self, weight: float = 1.0) -> float:
        """Take a place and return 0, or return the seconds until one may be free."""
        places = self._places(weight)
        with self._lock:
            now = self._clock()
            free_at = max(self._paused_until, self._next_at)
            if now < free_at:
                return max(free_at - now, _SHORTEST_WAIT)
            period = self.seconds * _SLACK
            for taken, seconds in ((self._reserved, max(period, _LONGEST_UNSENT)), (self._sent, period)):
                while taken and taken[0] + seconds <= now:
                    taken.popleft()
            surplus = len(self._reserved) + len(self._sent) + places - self.requests
            wait = 0.0
            if surplus > 0:
                last = next(islice(merge(self._reserved, self._sent), surplus - 1, None))
                wait = last + period - now if last + period > now else _UNSENT_WAIT
            wait = max([wait, *(allowance.wait_for(weight, now) for allowance in self._allowances)])
            if surplus > 0 or wait > 0.0:
                return max(wait, _SHORTEST_WAIT)
            self._reserved.extend([now] * places)
            for allowance in self._allowances:
                allowance.spend(weight)
            self._next_at = now + self._spacing
            return 0.0

    def sending(self, weight: float = 1.0) -> None:
        """A request with a reserved place leaves now, perhaps much later: to connect takes time. It counts from now."""
        places = self._places(weight)
        with self._lock:
            for _ in range(min(places, len(self._reserved))):
                self._reserved.popleft()
            self._sent.extend([self._clock()] * places)

    def _places(self, weight: float) -> int:
        return min(round(weight), self.requests) if self._counts_weight else 1

    def give_back(self, weight: float = 1.0) -> None:
        """Undo the last `reserve`: the request did not reach the vendor."""
        with self._lock:
            for _ in range(min(self._places(weight), len(self._reserved))):
                self._reserved.pop()
            for allowance in self._allowances:
                allowance.give_back(weight)

    def pause(self, seconds: float) -> None:
        """Send nothing for this many seconds: the vendor asks for it (429 with Retry-After or a reset time)."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def refused(self, seconds: float) -> None:
        """After a 429 despite the budget: pause, then continue more slowly. Concurrent 429s count once."""
        with self._lock:
            if self._clock() >= self._paused_until:
                max_spacing = min(max(seconds, _FIRST_SPACING), _MAX_SPACING)
                self._spacing = min(max(2 * self._spacing, _FIRST_SPACING), max_spacing)
        self.pause(seconds)

    def succeeded(self) -> None:
        """After a good answer: reduce the spacing that a 429 caused."""
        if self._spacing:
            with self._lock:
                self._spacing = self._spacing * _SPACING_DECAY if self._spacing > _FIRST_SPACING / 4 else 0.0

    def note_remaining(self, remaining: int, reset_seconds: float) -> None:
        """Pause if the vendor reports that no requests remain while our own count says otherwise.

        Then somebody else uses the key too.
        """
        with self._lock:
            period_start = self._clock() - self.seconds
            taken = sum(at > period_start for at in (*self._reserved, *self._sent))
            is_shared = remaining <= 0 and taken < self.requests
        if is_shared:
            self.pause(reset_seconds)

    def change(self, requests: int, seconds: float) -> None:
        """Replace the limit by the one that the vendor reports."""
        with self._lock:
            self.requests, self.seconds = requests, seconds
