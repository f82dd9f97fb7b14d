"""What one reading's requests cost, and what its workers wait for."""

import threading
import time
from dataclasses import dataclass, field

_REASONS_SHOWN = 3


@dataclass
class Traffic:
    """What one reading's requests cost so far, and what its workers and the scheduler wait for, if anything."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds_waited: float = 0.0
    waits: dict[object, tuple[str, float]] = field(default_factory=dict, repr=False)  # by who waits: why, since when
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, requests: int = 0, retries: int = 0, received: int = 0) -> None:
        """What came on top; `received` are bytes."""
        with self.lock:
            self.requests += requests
            self.retries += retries
            self.bytes += received

    def note(self, reason: str, who: object = None) -> None:
        """What this thread, or somebody else, waits for from now on; nothing where the reason is empty."""
        who, now = who or threading.get_ident(), time.monotonic()
        with self.lock:
            self.seconds_waited += now - self.waits.pop(who, ("", now))[1]
            if reason:
                self.waits[who] = reason, now

    @property
    def waiting(self) -> str:
        with self.lock:
            reasons = sorted({reason for reason, _ in self.waits.values()})
        more = [f"{len(reasons) - _REASONS_SHOWN} more"] if len(reasons) > _REASONS_SHOWN else []
        return "; ".join(reasons[:_REASONS_SHOWN] + more)
