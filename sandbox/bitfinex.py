"""Bitfinex: liquidations of the whole exchange, without a key.

From the page "Liquidations" (reference/rest-public-liquidations) and others' measurements of the live host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sandbox.bitfinex_rows import Rows
from sandbox.http import Params, Refusal, Reply, Request, json_rows
from sandbox.instruments import MS, Instrument
from sandbox.prices import price_at
from sandbox.times import DAY, HOUR
from sandbox.world import World

HIST, STATUS, CONF = "/v2/liquidations/hist", "/v2/platform/status", "/v2/conf/"
CANDLES = "/v2/candles/"
PARAMETERS = ("start", "end", "sort", "limit")
# Documented: 3 a minute. Measured: the second of two simultaneous requests is refused, so one every 20 seconds.
HIST_SECONDS = 20.0
STATUS_LIMIT = CANDLES_LIMIT = (30, 60.0)
CONF_LIMIT = (90, 60.0)
NESTINGS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "each": lambda rows: [b"[" + row + b"]" for row in rows],
    "one": lambda rows: [b"[" + b",".join(rows) + b"]"] if rows else [],
    "flat": lambda rows: rows,
}
INVALID, GENERIC, MAINTENANCE, RATE = 10020, 10001, 20060, 11010
TEXTS = {400: "request: invalid", 404: "path: invalid", 405: "method: invalid", 500: "ERR_GENERIC"}


def refusal(status: int, code: int, text: str) -> Refusal:
    """A refusal with Bitfinex' error array."""
    return Refusal(Reply(status, ["error", code, text]))


def bad_parameter(name: str, why: str) -> Refusal:
    """The refusal of one parameter; Bitfinex does not say why."""
    return refusal(500, INVALID, f"{name}: invalid")


class Bitfinex:
    """`/v2/liquidations/hist`, `/v2/platform/status`, lists of `/v2/conf/…` and daily candles, under `/bitfinex`."""

    name = "bitfinex"
    prefixes: tuple[str, ...] = ("/bitfinex",)

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows = Rows(world)

    def handle(self, request: Request) -> Reply:
        """Answer a request."""
        options = self._world.options
        if request.method != "GET":
            raise Refusal(self.error(405))
        if request.path == STATUS:
            self._limit(request, STATUS, *STATUS_LIMIT)
            return Reply(body=[0 if options.bitfinex_maintenance else 1])
        if request.path.startswith(CONF):
            self._limit(request, CONF, *CONF_LIMIT)
            return self._lists(request)
        if request.path.startswith(CANDLES):
            self._limit(request, CANDLES, *CANDLES_LIMIT)
            return self._candles(request)
        if request.path != HIST:
            raise Refusal(self.error(404))
        burst = options.bitfinex_burst
        self._limit(request, HIST, burst, burst * HIST_SECONDS)
        if options.bitfinex_maintenance:
            raise refusal(500, MAINTENANCE, "maintenance")
        return self._liquidations(request)

    def _limit(self, request: Request, endpoint: str, limit: int, seconds: float) -> None:
        """Count a request; a request over the limit blocks the address from the endpoint for a while."""
        limits, block = self._world.limits, self._world.options.bitfinex_block_seconds
        if not limits.take(f"bitfinex{endpoint}", request.client, limit, seconds, block=block).allowed:
            raise Refusal(self.error(429))

    def _liquidations(self, request: Request) -> Reply:
        options = self._world.options
        params = Params(request.query, PARAMETERS, bad_parameter)
        start = params.integer("start", 0, 0) * MS
        # Both bounds are inclusive: a fraction of a millisecond after `end` is outside.
        end = params.integer("end", None, 0) * MS + 1 if "end" in params else self._world.now() + 1
        if "start" in params and "end" not in params and options.bitfinex_start_days is not None:
            end = min(end, start + int(options.bitfinex_start_days * DAY) + 1)
        sort = params.choice("sort", ("1", "-1"), str(options.bitfinex_default_sort))
        limit = params.integer("limit", options.bitfinex_default_limit, 1, options.bitfinex_max_limit)
        rows = self._rows.read(start, end, limit, newest=sort == "-1").rows
        return Reply(body=json_rows(NESTINGS[options.bitfinex_nesting](rows)), rows=len(rows))

    def _lists(self, request: Request) -> Reply:
        """One array for each requested name: symbols without their `t`, or pairs of a code and its meaning."""
        Params(request.query, (), bad_parameter)
        now = self._world.now()
        pairs = sorted(i.symbol for i in self._rows.instruments.values() if i.ends is None or i.ends > now)
        futures = [pair for pair in pairs if "F0" in pair]
        codes = sorted({code for pair in futures for code in pair.split(":")})
        tables: dict[str, list[Any]] = {
            "pub:list:pair:futures": futures,
            "pub:list:pair:margin": [pair for pair in pairs if pair not in futures],
            "pub:map:currency:sym": [["UST", "USDt"], ["USTF0", "USDt"]],
            "pub:map:currency:undl": [[code, code.removesuffix("F0")] for code in codes],
        }
        names = request.path.removeprefix(CONF).split(",")
        if any(name not in tables for name in names):
            raise bad_parameter("keys", "unknown")
        return Reply(body=[tables[name] for name in names], rows=sum(len(tables[name]) for name in names))

    def _candles(self, request: Request) -> Reply:
        """The newest daily candles of a pair, even if it is delisted; none for an unknown pair."""
        limit = Params(request.query, PARAMETERS, bad_parameter).integer("limit", 100, 1, 10_000)
        key, _, section = request.path.removeprefix(CANDLES).partition("/")
        kind, frame, symbol = (*key.split(":", 2), "", "")[:3]
        if (kind, frame, section) != ("trade", "1D", "hist"):
            raise bad_parameter("key", "unknown")
        instrument = self._rows.instruments.get(symbol)
        now = self._world.now()
        if instrument is None or instrument.starts > now:
            return Reply(body=[])
        days = range(min(now, instrument.ends or now) // DAY * DAY, instrument.starts, -DAY)[:limit]
        candles = [[day // MS, *self._prices(instrument, day)] for day in days]
        return Reply(body=candles, rows=len(candles))

    def _prices(self, instrument: Instrument, day: int) -> list[float]:
        """Open, close, high, low and volume of a day. All four prices are the day's first one."""
        price = price_at(self._world.market.seed, instrument.base, day // HOUR)
        return [round(price, instrument.tick)] * 4 + [1.0]

    def error(self, status: int, message: str | None = None) -> Reply:
        """Bitfinex' error body for a status; for a rate limit or a 503 it may be an object."""
        options = self._world.options
        if status == 429:
            in_array = options.bitfinex_rate_body == "array"
            body: Any = ["error", RATE, message or "ratelimit: error"] if in_array else {"error": "ERR_RATE_LIMIT"}
            return Reply(options.bitfinex_rate_status, body)
        if status == 503:
            text = message or "The service is not available."
            return Reply(503, {"code": 503, "error": "temporarily_unavailable", "error_description": text})
        code = INVALID if status in (400, 404, 405) else GENERIC
        return Reply(status, ["error", code, message or TEXTS.get(status, "ERR_GENERIC")])

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Rows of [start, end) as arrays, oldest first: of a symbol such as `tBTCF0:USTF0`, or of all (`*`)."""
        return self._rows.expected(market, start, end)

    def add_rows(self, market: str, rows: Sequence[Any]) -> None:
        """Add rows, as arrays in Bitfinex' form, to one symbol or (`*`) to the symbols that the rows name."""
        self._rows.add(market, rows)
