"""Kwery, GET /v1/limits: what the key's plan allows. The call is free."""

import time

import msgspec

from source_liquidations import timestamps

PATH = "/v1/limits"


class RateLimits(msgspec.Struct):
    """Here and below, zero and negative numbers mean no limit."""

    requests_per_second: float | None = None
    requests_per_minute: float | None = None


class CreditsLeft(msgspec.Struct):
    remaining: float | None = None


class Limits(msgspec.Struct):
    plan: str | None = None
    credits: CreditsLeft | None = None
    max_rows_per_request: int | None = None
    max_history_days: int | None = None
    rate_limits: RateLimits | None = None

    @property
    def reach(self) -> int | None:
        """The first instant of the plan's history; None if the plan does not name a limit."""
        days = self.max_history_days or 0
        return timestamps.ceil_to(time.time_ns(), timestamps.SECOND) - days * timestamps.DAY if days > 0 else None

    @property
    def rate(self) -> tuple[int, float] | None:
        """(requests, seconds), spread evenly: the plan has a limit per second too, whether it names it or not."""
        limits = self.rate_limits or RateLimits()
        per_minute, per_second = (max(0.0, n or 0.0) for n in (limits.requests_per_minute, limits.requests_per_second))
        rate = min(filter(None, (per_minute / 60, per_second)), default=0.0)
        if not rate:
            return None
        burst = max(1, int(rate if rate >= 1 else per_second or per_minute))
        return burst, burst / rate


decoder = msgspec.json.Decoder(Limits, strict=False)  # accepts numbers in text, too
