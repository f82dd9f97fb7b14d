"""Kwery: plans, API keys, credits and rate limits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from sandbox.http import Refusal, Reply
from sandbox.world import World

CREDITS_A_REQUEST = 25
CREDITS_A_ROW = 2


@dataclass(frozen=True)
class Plan:
    """A plan's quota and features."""

    name: str
    history_days: int | None
    requests_per_minute: int
    row_cap: int
    credits: int
    min_usd: bool = False


PLANS = {
    "free": Plan("free", 1, 15, 250, 10_000),
    "pro": Plan("pro", 30, 50, 1000, 5_000_000),
    "business": Plan("business", None, 150, 2500, 50_000_000, min_usd=True),
}
# Each key's plan; the last key has no credits left.
KEYS = {
    "sandbox-kwery-free": "free",
    "sandbox-kwery-pro": "pro",
    "sandbox-kwery-business": "business",
    "sandbox-kwery-exhausted": "business",
}
MESSAGES = {
    "invalid_symbol": "The symbol parameter is missing or not recognized.",
    "invalid_side": "The side parameter is not one of long, short, all.",
    "invalid_time_range": "start is after end, or the range exceeds your plan's history depth.",
    "invalid_parameter": "A parameter is not valid.",
    "unauthorized": "Missing or invalid api-key.",
    "credits_exhausted": "Your credits for this billing cycle are used up.",
    "tier_restricted": "Your plan does not support the requested feature.",
    "not_found": "Not found.",
    "method_not_allowed": "Method not allowed.",
    "rate_limited": "You have exceeded your plan's request rate.",
    "internal_error": "Internal server error.",
    "service_unavailable": "Service unavailable.",
}
CODES = {
    400: "invalid_parameter",
    401: "unauthorized",
    402: "credits_exhausted",
    403: "tier_restricted",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limited",
    503: "service_unavailable",
}


class Accounts:
    """The plan and the remaining credits of each key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        fixed = world.options.kwery_credits
        self._used = dict.fromkeys(KEYS, 0)
        self._limits = {key: PLANS[plan].credits if fixed is None else fixed for key, plan in KEYS.items()}
        self._used["sandbox-kwery-exhausted"] = self._limits["sandbox-kwery-exhausted"]

    def refusal(self, status: int, code: str | None = None, message: str | None = None, **more: str) -> Refusal:
        """A refusal with Kwery's error body, flat or under `detail`."""
        code = code or CODES.get(status, "internal_error")
        body: dict[str, Any] = {"error": code, "message": message or MESSAGES[code], **more}
        nested = self._world.options.kwery_errors == "detail"
        return Refusal(Reply(status, {"detail": body} if nested else body))

    def plan(self, key: str) -> Plan:
        """The plan of a key; an invalid key is refused."""
        if key not in KEYS:
            raise self.refusal(401)
        return PLANS[KEYS[key]]

    def count(self, key: str) -> None:
        """Count a request against the key's rate limits."""
        for limit, seconds in self._rates(self.plan(key)):
            verdict = self._world.limits.take("kwery", key, limit, seconds)
            if not verdict.allowed:
                refused = self.refusal(429)
                refused.reply.headers["Retry-After"] = str(max(1, verdict.reset))
                raise refused

    def _rates(self, plan: Plan) -> list[tuple[int, float]]:
        """Rate limits as (requests, seconds); the recorded Business plan differs from the documented one."""
        if plan.name == "business" and self._world.options.kwery_flavour == "recorded":
            return [(600, 60.0), (20, 1.0)]
        return [(plan.requests_per_minute, 60.0)]

    def history_days(self, plan: Plan) -> int | None:
        """Days of history that the plan may read; None for all."""
        if plan.name == "business" and self._world.options.kwery_flavour == "recorded":
            return 90
        return plan.history_days

    def row_cap(self, plan: Plan) -> int:
        """The plan's maximum of rows in a response."""
        fixed = self._world.options.kwery_row_cap
        return plan.row_cap if fixed is None else fixed

    def charge(self, key: str, rows: int) -> dict[str, str]:
        """Charge the credits of a request, or refuse it, and return the credit headers."""
        cost = CREDITS_A_REQUEST + CREDITS_A_ROW * rows
        with self._lock:
            if self._used[key] + cost > self._limits[key]:
                raise self.refusal(402)
            self._used[key] += cost
            return {"X-Credits-Used": str(cost), "X-Credits-Remaining": str(self._limits[key] - self._used[key])}

    def limits_body(self, key: str) -> dict[str, Any]:
        """The body of `/v1/limits`."""
        plan = self.plan(key)
        rates = self._rates(plan)
        paid = plan.name == "business"
        spans = ("s500ms", "s1", "m5", "m15", "h1", "h4", "h24")
        return {
            "plan": plan.name,
            "max_rows_per_request": self.row_cap(plan),
            "max_history_days": self.history_days(plan),
            "credits": {
                "used": self._used[key],
                "limit": self._limits[key],
                "remaining": self._limits[key] - self._used[key],
            },
            "rate_limits": {
                "requests_per_second": rates[1][0] if len(rates) > 1 else None,
                "requests_per_minute": rates[0][0],
            },
            "features": {
                "orderbook_snapshots": paid,
                "binance_1s_ticker": paid,
                "kalshi_orderbook": paid,
                "snapshots_500ms": paid,
                "trade_ticks": paid,
            },
            "snapshot_history": dict.fromkeys(spans),
        }
