"""Kiyotaka, also sold as OpenMarket: aggregated liquidation volume, `/v1/points`, and `/v1/markets`.

From the page "LIQUIDATION_AGG".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.http import Params, Refusal, Reply, Request
from sandbox.instruments import Instrument
from sandbox.kiyotaka_sums import INTERVALS, SIDES, Buckets
from sandbox.times import DAY, NS, iso
from sandbox.world import World

HEADERS = {"/kiyotaka": "x-kiyotaka-key", "/openmarket": "x-openmarket-key"}
EXCHANGES = (
    "BINANCE_FUTURES", "BINANCE_DELIVERY", "BYBIT", "OKEX_SWAP", "OKEX_FUTURES", "DERIBIT", "BITMEX", "BITGET",
    "BITFINEX_DERIVATIVES", "GATE_IO_FUTURES", "HYPERLIQUID_FUTURES", "HUOBI_DM", "HUOBI_DM_SWAP",
    "HUOBI_DM_LINEAR_SWAP",
)  # fmt: skip
POINTS = (
    "type", "exchange", "rawSymbol", "coin", "interval", "from", "period", "sortDirection",
    "transform.normalize.quote", "transform.groupBy.type",
)  # fmt: skip
MARKETS = ("exchange", "coin", "category", "type", "pageSize", "pageOffset")
DIRECTIONS = ("SORT_DIRECTION_ASC", "SORT_DIRECTION_DESC")
CODES = {
    400: "INVALID_PARAMS",
    401: "INVALID_API_KEY",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    504: "TIMEOUT",
}
MESSAGES = {
    400: "Invalid parameters",
    401: "Invalid API key",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    429: "Rate limit exceeded",
    500: "Internal error",
    504: "Query timed out",
}


@dataclass(frozen=True)
class Plan:
    """A plan's quota: requests and weight a minute; a burst may have twice that weight."""

    name: str
    per_minute: int
    history_days: int | None
    aggregates: bool = False
    weight_per_day: int | None = None


PLANS = {
    "sandbox-kiyotaka-free": Plan("Free", 10, 7, weight_per_day=1_000),
    "sandbox-kiyotaka-basic": Plan("Basic", 50, 30),
    "sandbox-kiyotaka-standard": Plan("Standard", 100, 90),
    "sandbox-kiyotaka-advanced": Plan("Advanced", 750, 365, aggregates=True),
    # Only in the sandbox: Advanced with the whole history.
    "sandbox-kiyotaka-key": Plan("Advanced", 750, None, aggregates=True),
}


def refusal(status: int, code: str | None = None, message: str | None = None, **more: Any) -> Refusal:
    """A refusal with Kiyotaka's error body."""
    error = code or CODES.get(status, "INTERNAL_ERROR")
    return Refusal(Reply(status, {"error": error, "message": message or MESSAGES.get(status, "Error"), **more}))


def bad_parameter(name: str, why: str) -> Refusal:
    """A refusal that names the parameter."""
    return refusal(400, "INVALID_PARAMS", f"{name}: {why}")


@dataclass(frozen=True)
class Query:
    """A parsed request for points."""

    groups: list[tuple[dict[str, str], list[Instrument]]]
    interval: str
    start: int
    end: int
    usd: bool
    descending: bool
    grouped: bool = False
    exchanges: int = 1


class Kiyotaka:
    """The same API under `/kiyotaka` and `/openmarket`, each with its own key header."""

    name = "kiyotaka"
    prefixes: tuple[str, ...] = tuple(HEADERS)

    def __init__(self, world: World) -> None:
        self._world = world
        self._buckets = Buckets(world)
        instruments = (i for i in world.market.instruments.values() if i.kiyotaka_exchange)
        self._instruments = {(i.kiyotaka_exchange or "", i.symbol): i for i in instruments}

    def handle(self, request: Request) -> Reply:
        """Answer a request of either host."""
        if request.method != "GET":
            raise refusal(405)
        key = request.headers.get(HEADERS[request.prefix], "")
        if key not in PLANS:
            raise refusal(401)
        if request.path == "/v1/markets":
            return self._markets(request)
        if request.path != "/v1/points":
            raise refusal(404)
        return self._points(request, key)

    def _points(self, request: Request, key: str) -> Reply:
        plan = PLANS[key]
        query = self._query(Params(request.query, POINTS, bad_parameter, repeatable=("exchange",)), plan)
        step = INTERVALS[query.interval]
        starts = [self._buckets.starts(group, query.start, query.end, step) for _, group in query.groups]
        points = sum(len(buckets) * len(SIDES) for buckets in starts)
        if points > self._world.options.kiyotaka_max_points:
            raise refusal(403, message="Point count exceeded")
        requested = (query.end - query.start) // step * len(query.groups) * len(SIDES)
        self._weigh(key, math.ceil(requested / 1_000) * (1 + 0.2 * query.exchanges if query.grouped else 1.0))
        oldest = self._world.now() - (plan.history_days or 0) * DAY - step
        if plan.history_days is not None and query.start < oldest:
            raise refusal(403, message=f"History range exceeded: your plan covers {plan.history_days} days")
        series = [entry for group, buckets in zip(query.groups, starts, strict=True)
                  for entry in self._series(query, group, buckets)]  # fmt: skip
        return Reply(body={"series": series}, rows=points)

    def _weigh(self, key: str, weight: float) -> None:
        """Count a request and its weight. One page documents a limit of requests, another of weight: both apply."""
        plan, limits = PLANS[key], self._world.limits
        verdict = limits.take("kiyotaka", key, plan.per_minute, 60.0)
        wait = verdict.wait or limits.weigh("kiyotaka", key, weight, plan.per_minute, 2 * plan.per_minute)
        if plan.weight_per_day and not wait:
            per_minute = plan.weight_per_day / (24 * 60)
            wait = limits.weigh("kiyotaka", key, weight, per_minute, plan.weight_per_day)
        if wait:
            seconds = max(1, math.ceil(wait))
            refused = refusal(429, retry_after=seconds)
            refused.reply.headers["Retry-After"] = str(seconds)
            raise refused

    def _series(
        self, query: Query, group: tuple[dict[str, str], list[Instrument]], buckets: range
    ) -> list[dict[str, Any]]:
        names, instruments = group
        step = INTERVALS[query.interval]
        volumes = [(at, self._buckets.amounts(instruments, at, step, query.usd)) for at in buckets]
        if query.descending:
            volumes.reverse()
        series = []
        for side, column in SIDES:
            name = {"type": "LIQUIDATION_AGG", **names, "interval": query.interval, "side": side}
            order = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")
            points = [_point(at, amounts[column]) for at, amounts in volumes]
            series.append({"id": {n: name[n] for n in order if n in name}, "points": points})
        return series

    def _query(self, params: Params, plan: Plan) -> Query:
        params.choice("type", ("LIQUIDATION_AGG",), "")
        interval = params.text("interval")
        if interval not in INTERVALS:
            raise refusal(400, "INVALID_TIMEFRAME", f"Invalid interval '{interval}'")
        start = params.integer("from", None, 0) * NS
        end = start + params.integer("period", None, 1) * NS
        quote = params.choice("transform.normalize.quote", ("", "USD"), "")
        grouped = params.choice("transform.groupBy.type", ("", "GROUP_BY_TYPE_SUM"), "") != ""
        descending = params.choice("sortDirection", DIRECTIONS, DIRECTIONS[0]) == DIRECTIONS[1]
        exchanges = params.all("exchange")
        if not exchanges:
            raise bad_parameter("exchange", "required")
        for exchange in exchanges:
            if exchange not in EXCHANGES:
                raise refusal(400, "INVALID_EXCHANGE", f"Invalid exchange '{exchange}'")
        if ("rawSymbol" in params) == ("coin" in params):
            raise bad_parameter("rawSymbol", "give either rawSymbol or coin")
        if grouped and "coin" not in params:
            raise bad_parameter("transform.groupBy.type", "needs coin")
        if grouped and len(set(exchanges)) > 1 and not plan.aggregates:
            raise refusal(403, message="Aggregation over exchanges requires the Advanced plan")
        chosen = self._chosen(exchanges, params.text("rawSymbol"), params.text("coin"))
        groups = [({"coin": params.text("coin")}, chosen)] if grouped else [(_names(i), [i]) for i in chosen]
        return Query(groups, interval, start, end, quote == "USD", descending, grouped, len(set(exchanges)))

    def _chosen(self, exchanges: Sequence[str], symbol: str, coin: str) -> list[Instrument]:
        if symbol:
            for exchange in exchanges:
                if (exchange, symbol) not in self._instruments:
                    raise refusal(400, "INVALID_SYMBOL", f"Invalid symbol '{symbol}' for exchange '{exchange}'")
            return [self._instruments[exchange, symbol] for exchange in dict.fromkeys(exchanges)]
        markets = self._instruments.items()
        chosen = [i for (exchange, _), i in markets if exchange in exchanges and i.base.upper() == coin]
        if not chosen:
            raise refusal(400, "INVALID_SYMBOL", f"Invalid coin '{coin}'")
        return chosen

    def _markets(self, request: Request) -> Reply:
        params = Params(request.query, MARKETS, bad_parameter, repeatable=("exchange",))
        size = params.integer("pageSize", 50, 1, 100)
        offset = params.integer("pageOffset", 0, 0)
        rows = [{**_names(i), "availableSince": iso(i.starts, 0)} for i in self._instruments.values()]
        if params.text("type") in ("", "TRADE_AGG"):
            rows += [_spot(coin) for coin in ("BTC", "ETH", "SOL", "XRP")]
        rows = [row for row in rows if "exchange" not in params or row["exchange"] in params.all("exchange")]
        rows = [row for row in rows if all(row[n] == params.text(n) for n in ("coin", "category") if n in params)]
        names = ("exchange", "rawSymbol", "normalizedSymbol", "coin", "category", "availableSince")
        page = [{name: row[name] for name in names} for row in rows[offset : offset + size]]
        body: dict[str, Any] = {"symbols": page}
        if offset + size < len(rows):
            body["nextOffset"] = offset + size
        return Reply(body=body, rows=len(page))

    def error(self, status: int, message: str | None = None) -> Reply:
        """Kiyotaka's error body for a status; a 429 has `retry_after`."""
        if status != 429:
            return refusal(status, message=message).reply
        reply = refusal(status, message=message, retry_after=12).reply
        reply.headers["Retry-After"] = "12"
        return reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Both series of `EXCHANGE/rawSymbol`, or the grouped series of `EXCHANGE+EXCHANGE/coin`.

        They have the buckets that start in [start, end); options: `interval`, `denomination` (`coin` or `usd`).
        """
        interval, usd = options.get("interval", "HOUR"), options.get("denomination") == "usd"
        names, _, symbol = market.partition("/")
        exchanges = names.split("+")
        if (exchanges[0], symbol) in self._instruments:
            instrument = self._instruments[exchanges[0], symbol]
            group = (_names(instrument), [instrument])
        else:
            group = ({"coin": symbol}, self._chosen(exchanges, "", symbol))
        query = Query([group], interval, start, end, usd, False)
        return self._series(query, group, self._buckets.starts(group[1], start, end, INTERVALS[interval]))

    def add_rows(self, market: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add liquidated coins to `EXCHANGE/rawSymbol`: rows of side, timestamp (seconds), liquidations."""
        self._buckets.add(market, rows)


def _point(start: int, amount: float) -> dict[str, Any]:
    """A point as protocol-buffer JSON, which omits a zero."""
    stamp = {"timestamp": {"s": start // NS}}
    return {"Point": {"liquidations": amount, **stamp} if amount else stamp}


def _names(instrument: Instrument) -> dict[str, str]:
    coin, quote = instrument.base.upper(), instrument.quote.upper()
    return {
        "exchange": instrument.kiyotaka_exchange or "",
        "rawSymbol": instrument.symbol,
        "normalizedSymbol": f"{coin}-{quote}",
        "category": "FUTURE" if instrument.expiry else "PERPETUAL",
        "coin": coin,
    }


def _spot(coin: str) -> dict[str, str]:
    names = {"exchange": "BINANCE", "rawSymbol": f"{coin}USDT", "normalizedSymbol": f"{coin}-USDT"}
    return {**names, "category": "SPOT", "coin": coin, "availableSince": "2019-01-01T00:00:00Z"}
