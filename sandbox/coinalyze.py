"""Coinalyze: sums of liquidations per market and bucket, with a free key.

From the page "Coinalyze API (1.0)" and others' measurements of the live host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from sandbox.coinalyze_markets import EXCHANGES, Markets
from sandbox.coinalyze_points import INTERVALS, NAME, Points
from sandbox.http import Pairs, Params, Refusal, Reply, Request
from sandbox.times import NS
from sandbox.world import World

# Calls a minute of each key; each symbol in a request counts as one. 0: the key is forbidden.
KEYS = {
    "sandbox-coinalyze-key": 40,
    "sandbox-coinalyze-second-key": 40,
    "sandbox-coinalyze-limited": 5,
    "sandbox-coinalyze-forbidden": 0,
}
PARAMETERS = ("api_key", "symbols", "interval", "from", "to", "convert_to_usd")
MESSAGES = {
    400: "Bad request",
    401: "Invalid/Missing API key",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    429: "Too many requests",
    500: "Internal server error",
}


def refusal(status: int, message: str | None = None) -> Refusal:
    """A refusal with Coinalyze's error body."""
    return Refusal(Reply(status, {"message": message or MESSAGES.get(status, "Error")}))


def bad_parameter(name: str, why: str) -> Refusal:
    """A refusal that names the parameter."""
    return refusal(400, f"{name}: {why}")


class Coinalyze:
    """`/v1/exchanges`, `/v1/future-markets` and `/v1/liquidation-history`, under `/coinalyze`."""

    name = NAME
    prefixes: tuple[str, ...] = ("/coinalyze",)

    def __init__(self, world: World) -> None:
        self._world = world
        self._markets = Markets(world)
        self._points = Points(world, self._markets)

    def handle(self, request: Request) -> Reply:
        """Answer a request."""
        if request.method != "GET":
            raise refusal(405)
        key = request.headers.get("api_key") or dict(request.query).get("api_key", "")
        if key not in KEYS:
            raise refusal(401)
        if not KEYS[key]:
            raise refusal(403)
        if request.path == "/v1/liquidation-history":
            return self._history(request, key)
        tables = {"/v1/exchanges": _exchange_rows, "/v1/future-markets": self._markets.rows}
        if request.path not in tables:
            raise refusal(404)
        Params(request.query, ("api_key",), bad_parameter)
        self._count(key, 1)
        rows = tables[request.path]()
        return Reply(body=rows, rows=len(rows))

    def _count(self, key: str, calls: int) -> None:
        verdict = self._world.limits.take(NAME, key, KEYS[key], 60.0, cost=calls)
        if not verdict.allowed:
            raise Refusal(self._limited(verdict.wait))

    def _limited(self, wait: float, message: str | None = None) -> Reply:
        """The 429 response; `Retry-After` has decimals, has none, or is absent."""
        reply = refusal(429, message).reply
        forms = {"decimal": {"Retry-After": f"{wait:.3f}"}, "integer": {"Retry-After": str(math.ceil(wait))}}
        reply.headers.update(forms.get(self._world.options.coinalyze_retry_after, {}))
        return reply

    def _history(self, request: Request, key: str) -> Reply:
        options = self._world.options
        symbols = _symbols(request.query)
        if len(symbols) > options.coinalyze_max_symbols:
            raise bad_parameter("symbols", f"The maximum is {options.coinalyze_max_symbols}.")
        self._count(key, max(1, len(symbols)))
        params = Params(request.query, PARAMETERS, bad_parameter)
        if not symbols:
            raise bad_parameter("symbols", "The parameter is required.")
        interval = params.choice("interval", tuple(INTERVALS), "")
        usd = params.flag("convert_to_usd", False)
        start, to = params.integer("from", None, 0) * NS, params.integer("to", None, 0) * NS
        end = to + 1 if options.coinalyze_bounds == "inclusive" else to
        if start > self._world.now():
            return Reply(body=[])
        listed = self._markets.listed()
        if options.coinalyze_order == "shuffled":
            symbols = sorted(symbols, key=lambda symbol: crc32(symbol.encode()))
        series = [
            {"symbol": symbol, "history": self._points.rows(symbol, interval, start, end, usd=usd)}
            for symbol in dict.fromkeys(symbols)
            if symbol in listed
        ]
        if options.coinalyze_empty_series == "left_out":
            series = [entry for entry in series if entry["history"]]
        return Reply(body=series, rows=sum(len(entry["history"]) for entry in series))

    def error(self, status: int, message: str | None = None) -> Reply:
        """Coinalyze's error body for a status."""
        return self._limited(49.119, message) if status == 429 else refusal(status, message).reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Points of a symbol whose bucket starts in [start, end); options: `interval`, `convert_to_usd` (False)."""
        usd = bool(options.get("convert_to_usd", False))
        return self._points.rows(market, options.get("interval", "daily"), start, end, usd=usd)

    def add_rows(self, market: str, rows: Sequence[Any]) -> None:
        """Add points `{"t", "l", "s"}`, in the market's own unit, to the market's existing points."""
        self._points.add(market, rows)


def _symbols(query: Pairs) -> list[str]:
    return [symbol for symbol in dict(query).get("symbols", "").split(",") if symbol]


def _exchange_rows() -> list[dict[str, Any]]:
    return [{"name": name, "code": code} for code, name in EXCHANGES.items()]
