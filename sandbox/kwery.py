"""Kwery: forced liquidations of Binance Futures, at most one per symbol and second.

From the page "GET /v1/liquidations" and recordings of 2026-03, which differ; `kwery_flavour` selects one.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from sandbox.draw import throttled
from sandbox.http import Params, Refusal, Reply, Request, json_rows
from sandbox.instruments import Instrument
from sandbox.kwery_plans import Accounts, Plan
from sandbox.market import Block
from sandbox.series import Extras, Position, Rendered, Series
from sandbox.times import DAY, MINUTE, iso, parse
from sandbox.world import World

EARLIEST = {"BTC": "2024-01-15", "ETH": "2024-02-01", "SOL": "2024-02-01", "XRP": "2024-02-01"}
NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana", "XRP": "XRP"}
SIDES = ("all", "long", "short")
PARAMETERS = ("api-key", "symbol", "start", "end", "side", "min_usd", "limit", "after")
SOURCES = ["binance", "binance_futures", "chainlink", "hyperliquid", "polymarket", "kalshi"]
INTERVALS = ["1s", "5m", "15m", "1h", "4h", "24h", "1d"]


class Kwery:
    """`/v1/liquidations` and the endpoints without cost, `/v1/limits` and `/v1/symbols`, under `/kwery`."""

    name = "kwery"
    prefixes: tuple[str, ...] = ("/kwery",)

    def __init__(self, world: World) -> None:
        self._world = world
        self._accounts = Accounts(world)
        self._extras: dict[str, list[dict[str, Any]]] = {}

    def handle(self, request: Request) -> Reply:
        """Answer a request."""
        if request.method != "GET":
            raise self._accounts.refusal(405)
        key = request.headers.get("x-api-key") or dict(request.query).get("api-key", "")
        plan = self._accounts.plan(key)
        if request.path == "/v1/limits":
            return Reply(body=self._accounts.limits_body(key), headers={"X-Credits-Used": "0"})
        if request.path == "/v1/symbols":
            return Reply(body={"symbols": [_symbol_row(s) for s in EARLIEST]}, headers={"X-Credits-Used": "0"})
        if request.path != "/v1/liquidations":
            raise self._accounts.refusal(404)
        self._accounts.count(key)
        return self._liquidations(request, key, plan)

    def _liquidations(self, request: Request, key: str, plan: Plan) -> Reply:
        params = Params(request.query, PARAMETERS, self._bad_parameter)
        symbol, side = params.text("symbol"), params.text("side", "all")
        if symbol not in EARLIEST:
            raise self._accounts.refusal(400, "invalid_symbol")
        if side not in SIDES:
            raise self._accounts.refusal(400, "invalid_side")
        series = self.series(symbol, side, self._min_usd(params, plan))
        start, end = self._window(params, plan, symbol)
        limit = params.integer("limit", 100, 1, 1000)
        cap = self._accounts.row_cap(plan)
        rows, cursor = self._page(series, start, end, min(limit, cap), params.text("after"))
        capped = limit > cap and cursor is not None
        cursor = None if capped else cursor
        headers = self._accounts.charge(key, len(rows))
        headers.update({"X-Rows-Returned": str(len(rows)), "X-Rows-Capped": "true" if capped else "false"})
        meta: dict[str, Any] = {"symbol": symbol, "source": "binance_futures"}
        if self._world.options.kwery_flavour == "recorded":
            meta.update(interval=None, count=len(rows), next_cursor=cursor)
        else:
            meta.update(returned=len(rows), next_cursor=cursor, has_more=cursor is not None)
        return Reply(body={"data": json_rows(rows), "meta": meta}, headers=headers, rows=len(rows))

    def _bad_parameter(self, name: str, why: str) -> Refusal:
        return self._accounts.refusal(400, "invalid_parameter", f"{name}: {why}")

    def _min_usd(self, params: Params, plan: Plan) -> float:
        if "min_usd" not in params:
            return 0.0
        if not plan.min_usd:
            message = "The min_usd filter requires the Business plan."
            raise self._accounts.refusal(403, "tier_restricted", message, required_tier="business")
        try:
            return float(params.text("min_usd"))
        except ValueError as error:
            raise self._bad_parameter("min_usd", "not a number.") from error

    def _window(self, params: Params, plan: Plan, symbol: str) -> tuple[int, int]:
        """[start, end) in nanoseconds. Time before the plan's history is refused or silently cut (`kwery_history`)."""
        now = self._world.now()
        days = self._accounts.history_days(plan)
        oldest = parse(EARLIEST[symbol]) if days is None else now - days * DAY
        try:
            start = parse(params.text("start")) if "start" in params else oldest
            end = parse(params.text("end")) if "end" in params else now + 1
        except ValueError as error:
            raise self._accounts.refusal(400, "invalid_time_range", str(error)) from error
        # Five minutes' grace: a client that requests exactly its plan's days must not be refused.
        too_old = days is not None and start < oldest - 5 * MINUTE
        if start > end or (too_old and self._world.options.kwery_history == "refuse"):
            raise self._accounts.refusal(400, "invalid_time_range")
        return (max(start, oldest) if too_old else start), end

    def _page(self, series: Series, start: int, end: int, limit: int, after: str) -> tuple[list[bytes], str | None]:
        backwards = self._world.options.kwery_order == "descending"
        try:
            cursor = msgspec.json.decode(base64.b64decode(after + "=" * (-len(after) % 4))) if after else {}
            if self._world.options.kwery_flavour == "recorded":
                offset = int(cursor.get("offset", 0))
                rows = series.sliced(start, end, offset, limit + 1, backwards=backwards)
                more = len(rows) > limit
                text = b'{"offset": %d}' % (offset + limit)
                return rows[:limit], base64.b64encode(text).decode() if more else None
            position = _position(cursor, backwards) if cursor else None
        except (ValueError, KeyError, AttributeError, msgspec.DecodeError) as error:
            raise self._bad_parameter("after", "not a cursor.") from error
        read = series.descending if backwards else series.ascending
        page = read(start, end, limit, position)
        return page.rows, _cursor(page.times, page.next) if page.next else None

    def series(self, symbol: str, side: str = "all", min_usd: float = 0.0) -> Series:
        """The rows of a symbol, filtered by side and minimum USD value."""
        world = self._world
        instrument = world.market.instruments[f"binance/{symbol}USDT"]
        name = f"kwery/{symbol}/{side}/{min_usd}"
        extras = Extras()
        added = (row for row in self._extras.get(symbol, ()) if side in ("all", row.get("side")))
        extras.add(name, [(parse(r["timestamp"]), msgspec.json.encode(r)) for r in added if r["usd_value"] >= min_usd])
        render = partial(self.render, symbol=symbol, side=side, min_usd=min_usd)
        return Series(world.market, instrument, name, render, world.rendered, extras, parse(EARLIEST[symbol]))

    def render(self, instrument: Instrument, block: Block, *, symbol: str, side: str, min_usd: float) -> Rendered:
        """The events of a block in Kwery's form: the last of each second, and its exact twins."""
        options = self._world.options
        recorded = options.kwery_flavour == "recorded"
        digits, zone = (6, "+00:00") if recorded else (3, "Z")
        scale, ticks = 10**instrument.lot, 10**instrument.tick
        gap = self._world.gap("kwery", instrument)
        events = list(zip(block.times, block.lots, block.fills, block.bankruptcies, block.longs, strict=True))
        times, rows, sources = array("q"), list[bytes](), array("q")
        for n in throttled(events):
            instant, lots, fill, bankruptcy, long = events[n]
            position = "long" if long else "short"
            usd = round(lots * fill / (scale * ticks), 8 if recorded else 2)
            if side not in ("all", position) or usd < min_usd or (gap and gap.covers(instant)):
                continue
            times.append(instant)
            sources.append(n)
            rows.append(
                f'{{"timestamp":"{iso(instant, digits, zone)}","symbol":"{symbol}","source":"binance_futures",'
                f'"side":"{position}","quantity":{lots / scale},"price":{bankruptcy / ticks},'
                f'"avg_price":{fill / ticks},"usd_value":{usd}}}'.encode()
            )
        return Rendered(times, rows, sources)

    def error(self, status: int, message: str | None = None) -> Reply:
        """Kwery's error body for a status."""
        return self._accounts.refusal(status, message=message).reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Rows of [start, end) of a symbol, oldest first; options: `side`, `min_usd`."""
        return [msgspec.json.decode(row) for row in self.series(market, **options).all(start, end)]

    def add_rows(self, market: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a symbol."""
        self._extras.setdefault(market, []).extend(dict(row) for row in rows)


def _cursor(times: list[int], position: Position) -> str:
    """The documented cursor: the last row's time, or, between rows of one instant, its time and the rows sent."""
    instant, sent = position
    body = {"t": iso(instant), "n": sent} if sent else {"t": iso(times[-1])}
    return base64.b64encode(msgspec.json.encode(body)).decode().rstrip("=")


def _position(cursor: dict[str, Any], backwards: bool) -> Position:
    instant = parse(cursor["t"])
    if "n" in cursor:
        return instant, int(cursor["n"])
    return (instant - 1 if backwards else instant + 1), 0


def _symbol_row(symbol: str) -> dict[str, Any]:
    small = symbol == "XRP"
    return {
        "symbol": symbol,
        "name": NAMES[symbol],
        "sources": SOURCES[:4] if small else SOURCES,
        "intervals": [name for name in INTERVALS if name != "24h"] if small else INTERVALS,
        "earliest_data": f"{EARLIEST[symbol]}T00:00:00Z",
    }
