"""Shared by Gate's futures endpoints: errors, the rate limit and its headers, the forms of sizes and times."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import msgspec

from sandbox.http import Pairs, Refusal, Reply, Request
from sandbox.instruments import Instrument
from sandbox.world import World

NAME = "gate"
LIMIT = (200, 10.0)
SIZE_HEADER = "x-gate-size-decimal"
LABELS = {
    400: "BAD_REQUEST",
    401: "INVALID_CREDENTIALS",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    500: "INTERNAL",
}
TEXTS = {404: "The requested resource was not found", 429: "Request Rate limit Exceeded", 500: "Internal server error"}
STAMPS = {"integer": "{}", "string": '"{}"', "decimal": "{}.000", "decimal_string": '"{}.000"'}


def settle_of(instrument: Instrument) -> str:
    """The settle currency of a contract; an inverse contract is settled in its base asset."""
    return instrument.base if instrument.face else instrument.quote


def places(instrument: Instrument) -> int:
    """The number of decimals of a quantity in contracts."""
    return 0 if instrument.face else max(0, instrument.lot - instrument.contract)


def wants_decimals(request: Request) -> bool:
    """Whether the request asks for contract counts as strings, with decimals."""
    return request.headers.get(SIZE_HEADER) == "1"


def size_text(size: Decimal, decimals: bool) -> str:
    """A contract count as JSON: a string, or an integer truncated toward zero."""
    if not decimals:
        return str(int(size))
    text = f"{size:f}"
    return f'"{text.rstrip("0").rstrip(".") if "." in text else text}"'


class Calls:
    """Refusals, rate limits and timestamps in the forms that the options select."""

    def __init__(self, world: World) -> None:
        self._world = world

    def refusal(self, status: int, label: str | None = None, text: str | None = None) -> Refusal:
        """A refusal with Gate's error body."""
        options = self._world.options
        label = label or LABELS.get(status, "SERVER_ERROR" if status >= 500 else "BAD_REQUEST")
        if status == 429:
            label = options.gate_rate_label
        return Refusal(Reply(status, {"label": label, options.gate_error_field: text or TEXTS.get(status, "Error")}))

    def bad_parameter(self, query: Pairs) -> Callable[[str, str], Refusal]:
        """A function that makes refusals of a query's parameters."""

        def refuse(name: str, why: str) -> Refusal:
            value = dict(query).get(name, "")
            return self.refusal(400, "INVALID_PARAM_VALUE", f"Invalid request parameter `{name}` value: {value}")

        return refuse

    def limited(self, request: Request, endpoint: str) -> dict[str, str]:
        """Count a request of an address to an endpoint and return the rate limit headers; raises over the limit."""
        limit, seconds = LIMIT
        verdict = self._world.limits.take(f"gate/{endpoint}", request.client, limit, seconds)
        headers = self.headers(verdict.remaining, 0 if verdict.allowed else verdict.reset)
        if not verdict.allowed:
            refused = self.refusal(429)
            refused.reply.headers.update(headers)
            raise refused
        return headers

    def headers(self, remaining: int, reset: int) -> dict[str, str]:
        """The rate limit headers. The reset is a wall clock time, because the limit uses the wall clock."""
        unit = 1000 if self._world.options.gate_reset_unit == "ms" else 1
        return {
            "X-Gate-RateLimit-Requests-Remain": str(remaining),
            "X-Gate-RateLimit-Limit": str(LIMIT[0]),
            "X-Gate-RateLimit-Reset-Timestamp": str(int((time.time() + reset) * unit)),
        }

    def stamp(self, seconds: int) -> msgspec.Raw:
        """Unix seconds in the form of the option `gate_time`."""
        return msgspec.Raw(STAMPS[self._world.options.gate_time].format(seconds).encode())
