"""One reading's traffic: its requests so far, and what its workers wait for."""

import threading
import time
from dataclasses import dataclass, field

_REASONS_SHOWN = 3


@dataclass
class Traffic:
    """One reading's requests so far, and what its workers and the scheduler wait for, if anything."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds_waited: float = 0.0
    waits: dict[object, tuple[str, float]] = field(default_factory=dict, repr=False)  # waiter: reason, start
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, requests: int = 0, retries: int = 0, received: int = 0) -> None:
        """Add to the totals; `received` is in bytes."""
        with self.lock:
            self.requests += requests
            self.retries += retries
            self.bytes += received

    def note(self, reason: str, waiter: object = None) -> None:
        """This thread, or the given waiter, starts to wait for this reason; an empty reason ends its wait."""
        waiter, now = waiter or threading.get_ident(), time.monotonic()
        with self.lock:
            self.seconds_waited += now - self.waits.pop(waiter, ("", now))[1]
            if reason:
                self.waits[waiter] = reason, now

    @property
    def waiting(self) -> str:
        with self.lock:
            reasons = sorted({reason for reason, _ in self.waits.values()})
        more = [f"{len(reasons) - _REASONS_SHOWN} more"] if len(reasons) > _REASONS_SHOWN else []
        return "; ".join(reasons[:_REASONS_SHOWN] + more)
