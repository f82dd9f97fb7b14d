"""How long to wait for a vendor."""

from __future__ import annotations

import os
from dataclasses import dataclass

MAX_BUDGET_WAIT = 1_800.0  # seconds to wait for the budget: a daily quota that is spent is left to the next sync
_MIN_TIMEOUT = 1.0  # seconds, at any scale: a busy machine is no outage


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. `SOURCE_LIQUIDATIONS_PATIENCE` scales it, for tests."""

    connect: float = 10.0
    answer: float = 60.0  # for the head of the answer, and between two bytes of it
    slowest_bytes_per_second: float = 16_384.0  # a body that is slower for longer than `answer` times out
    tries: int = 6
    first_pause: float = 1.0
    longest_pause: float = 60.0
    longest_total: float = 1_800.0  # for one request, including the delays that the vendor asks for
    scale: float = 1.0  # for the delays that a vendor's module defines

    @classmethod
    def from_environment(cls) -> Patience:
        scale = float(os.environ.get("SOURCE_LIQUIDATIONS_PATIENCE", "1"))
        return cls(
            connect=max(cls.connect * scale, _MIN_TIMEOUT),
            answer=max(cls.answer * scale, _MIN_TIMEOUT),
            first_pause=cls.first_pause * scale,
            longest_pause=cls.longest_pause * scale,
            scale=scale,
        )
