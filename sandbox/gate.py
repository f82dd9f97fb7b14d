"""Gate: liquidation orders, sums and contracts of perpetuals, without a key.

From the pages "Query liquidation order history", "Futures statistics" and "Query all futures contracts" of API v4, and
others' measurements of the live host.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from sandbox.gate_calls import NAME, Calls, wants_decimals
from sandbox.gate_contracts import Contracts
from sandbox.gate_orders import Orders
from sandbox.gate_stats import HISTORY, STEPS, Stats
from sandbox.http import Params, Refusal, Reply, Request, json_rows
from sandbox.times import NS
from sandbox.world import World

ROOT = "/api/v4/futures/"
SETTLES = ("usdt", "btc", "usd", "usd1")
# Paths that were public and need a key since 2026-09.
CLOSED = ("open_interest", "liquidates")
MAX_SECONDS = 3600  # longest window of liq_orders


class Gate:
    """`/api/v4/futures/{settle}/` `liq_orders`, `contract_stats` and `contracts`, under `/gate`."""

    name = NAME
    prefixes: tuple[str, ...] = ("/gate",)

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls = Calls(world)
        self._orders = Orders(world, self._calls)
        self._stats = Stats(world, self._calls, self._orders)
        self._contracts = Contracts(world, self._calls, self._orders)

    def handle(self, request: Request) -> Reply:
        """Answer a request; every response has the rate limit headers."""
        settle, _, endpoint = request.path.removeprefix(ROOT).partition("/")
        headers = self._calls.limited(request, endpoint)
        try:
            reply = self._answer(request, settle, endpoint)
        except Refusal as refused:
            reply = refused.reply
        reply.headers.update(headers)
        return reply

    def _answer(self, request: Request, settle: str, endpoint: str) -> Reply:
        answers = {"liq_orders": self._liq_orders, "contract_stats": self._contract_stats, "contracts": self._list}
        if request.method != "GET":
            raise self._calls.refusal(405)
        if request.path.startswith(ROOT) and endpoint in CLOSED:
            raise self._calls.refusal(400, "MISSING_REQUIRED_HEADER", "Missing required header: KEY")
        if not request.path.startswith(ROOT) or endpoint not in answers:
            raise self._calls.refusal(404)
        if settle not in SETTLES:
            text = f"Invalid request parameter `settle` value: {settle}"
            raise self._calls.refusal(400, "INVALID_PARAM_VALUE", text)
        return answers[endpoint](request, settle)

    def _liq_orders(self, request: Request, settle: str) -> Reply:
        options, now = self._world.options, self._world.now() // NS
        refuse = self._calls.bad_parameter(request.query)
        # An offset is accepted and ignored.
        params = Params(request.query, ("contract", "from", "to", "limit", "offset"), refuse)
        limit = params.integer("limit", 100, 1, 1000)
        to = params.integer("to", now, 0)
        start = params.integer("from", max(0, to - MAX_SECONDS), 0)
        if start > to:
            raise refuse("from", "after to")
        too_old = options.gate_old_windows == "refuse" and start * NS < self._orders.oldest
        if to - start > MAX_SECONDS or too_old:
            raise self._calls.refusal(400, "INVALID_PARAM_VALUE", "range from/to must in 1 hour")
        names = [self._contract(settle, params)] if params.text("contract") else self._orders.of_settle(settle)
        newest, decimals = options.gate_kept == "newest", wants_decimals(request)
        rows = self._orders.read(names, start * NS, to * NS + 1, limit, newest=newest, decimals=decimals)
        if options.gate_order == "shuffled":
            random.Random(start).shuffle(rows)
        elif options.gate_order == "descending":
            rows.reverse()
        return Reply(body=json_rows(rows), rows=len(rows))

    def _contract(self, settle: str, params: Params) -> str:
        name = f"{settle}/{params.text('contract')}"
        if name not in self._orders.instruments:
            raise self._calls.refusal(400, "CONTRACT_NOT_FOUND", f"contract {params.text('contract')} not found")
        return name

    def _contract_stats(self, request: Request, settle: str) -> Reply:
        options, now = self._world.options, self._world.now()
        params = Params(
            request.query,
            ("contract", "interval", "from", "to", "limit"),
            self._calls.bad_parameter(request.query),
        )
        if not params.text("contract"):
            raise self._calls.refusal(400, "MISSING_REQUIRED_PARAM", "Missing required parameter: contract")
        name = self._contract(settle, params)
        interval = params.choice("interval", tuple(STEPS), "5m")
        limit = params.integer("limit", 30, 1, options.gate_stats_max_limit)
        start = params.integer("from", 0, 0) * NS if "from" in params else None
        to = params.integer("to", now // NS, 0)
        if start is not None and now - start > HISTORY:
            raise self._calls.refusal(400, "INVALID_PARAM_VALUE", "from time exceeds 180-day limit")
        end = to * NS + 1 if options.gate_stats_to else now + 1
        rows = self._stats.read(name, interval, start, end, limit, decimals=wants_decimals(request))
        return Reply(body=rows, rows=len(rows))

    def _list(self, request: Request, settle: str) -> Reply:
        params = Params(request.query, ("limit", "offset"), self._calls.bad_parameter(request.query))
        rows = self._contracts.rows(settle, decimals=wants_decimals(request))
        limit = params.integer("limit", self._world.options.gate_contracts_default or 1000, 1, 1000)
        if "limit" not in params and self._world.options.gate_contracts_default is None:
            limit = len(rows)
        offset = params.integer("offset", 0, 0)
        page = rows[offset : offset + limit]
        return Reply(body=page, rows=len(page))

    def error(self, status: int, message: str | None = None) -> Reply:
        """Gate's error body for a status; a 429 says that the limit resets in two seconds."""
        reply = self._calls.refusal(status, text=message).reply
        if status == 429:
            reply.headers.update(self._calls.headers(0, 2))
        return reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Rows of [start, end), oldest first, of `settle/CONTRACT`, or of all contracts of a `settle`.

        Of `contract_stats/settle/CONTRACT` with `interval`: the buckets that start there. `decimals=False` gives the
        sizes of requests without the header.
        """
        decimals = options.get("decimals", True)
        if market.startswith("contract_stats/"):
            name = market.removeprefix("contract_stats/")
            return self._stats.expected(name, start, end, options.get("interval", "1h"), decimals)
        names = self._orders.of_settle(market) if "/" not in market else [market]
        rows = self._orders.read(names, start, end, 2**62, newest=False, decimals=decimals)
        return [msgspec.json.decode(row) for row in rows]

    def add_rows(self, market: str, rows: Sequence[Any]) -> None:
        """Add orders to `settle/CONTRACT`; its sums grow by the filled amounts."""
        self._orders.add(market, rows)
