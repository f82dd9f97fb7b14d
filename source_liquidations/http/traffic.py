"""What one reading's requests cost, and what its workers wait for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

_REASONS_SHOWN = 3


@dataclass
class Traffic:
    """What one reading's requests cost so far.

    `waiting` says what its workers wait for, if anything; `queued` is the part of it that is the scheduler's.
    """

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds_waited: float = 0.0
    queued: str = ""
    reasons: dict[int, str] = field(default_factory=dict, repr=False)  # by thread
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, requests: int = 0, retries: int = 0, received: int = 0, waited: float = 0.0) -> None:
        """What came on top; `received` are bytes, `waited` seconds."""
        with self.lock:
            self.requests += requests
            self.retries += retries
            self.bytes += received
            self.seconds_waited += waited

    def note(self, reason: str) -> None:
        """What this thread waits for from now on; nothing where the reason is empty."""
        with self.lock:
            self.reasons[threading.get_ident()] = reason

    @property
    def waiting(self) -> str:
        with self.lock:
            reasons = sorted({*self.reasons.values(), self.queued} - {""})
        more = [f"{len(reasons) - _REASONS_SHOWN} more"] if len(reasons) > _REASONS_SHOWN else []
        return "; ".join(reasons[:_REASONS_SHOWN] + more)
