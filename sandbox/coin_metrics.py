"""Coin Metrics: market liquidations, and the vendor as a whole.

From the page "Market Level Liquidations" and its known data issues.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any

import msgspec

from sandbox.coin_metrics_calls import (
    PAGE_PARAMETERS,
    TIME_PARAMETERS,
    answer_page,
    authorize,
    bad_parameter,
    limited,
    read_page,
    read_window,
    refusal,
    select,
)
from sandbox.coin_metrics_catalog import Catalog
from sandbox.coin_metrics_metrics import Metrics
from sandbox.http import Params, Refusal, Reply, Request
from sandbox.instruments import EXCHANGE_STARTS, Instrument
from sandbox.market import Block
from sandbox.numbers import contracts, decimal
from sandbox.series import Extras, Rendered, Series
from sandbox.times import DAY, NS, parse, second_text
from sandbox.world import World

# Exchanges that report orders (not necessarily executed) or both orders and trades; the others report trades.
TYPES = {"bitmex": ("order",), "okx": ("order",), "bitfinex": ("order", "trade")}
# An exchange without numeric ids of its own gets ids from the time; other exchanges' ids become long numbers.
TIME_IDS = ("binance", "bybit", "okx", "huobi", "ftx")
SIDE_SOMETIMES_ABSENT = ("bitfinex", "huobi", "okx")
MISSING = (
    ("binance", parse("2021-04-27"), parse("2021-05-11")),
    ("bybit", parse("2021-09-24"), parse("2021-09-29")),
)
# Every third liquidation is absent here.
UNDER_REPORTED = (
    ("binance", parse("2021-05-11"), parse("2021-08-31")),
    ("bitmex", 0, parse("2021-09-20")),
)
OKEX_TWINS_SINCE = parse("2021-09-21")
PATH = "/v4/timeseries/market-liquidations"


class CoinMetrics:
    """The paid host under `/coin_metrics`; the community host, without a key, under `/coin_metrics_community`."""

    name = "coin_metrics"
    prefixes: tuple[str, ...] = ("/coin_metrics", "/coin_metrics_community")

    def __init__(self, world: World) -> None:
        self._world = world
        self._extras = Extras()
        # Ten concurrent requests of one caller are served; more wait.
        self._slots: dict[str, threading.Semaphore] = {}
        self.markets = {i.coin_metrics: i for i in world.market.instruments.values()}
        self.metrics = Metrics(world, self.missing)
        self._catalog = Catalog(world, self.series, self.metrics)

    def handle(self, request: Request) -> Reply:
        """Answer a request of either host."""
        community = request.prefix == "/coin_metrics_community"
        allowed = authorize(request, community)
        headers = limited(request, self._world, community)
        caller = request.client if community else str(dict(request.query).get("api_key"))
        with self._slots.setdefault(caller, threading.Semaphore(10)):
            try:
                reply = self._answer(request, community, allowed)
            except Refusal as refused:
                reply = refused.reply
        reply.headers.update(headers)
        return reply

    def _answer(self, request: Request, community: bool, allowed: tuple[str, ...]) -> Reply:
        if request.path == PATH:
            return self._liquidations(request, community, allowed)
        if request.path.startswith("/v4/timeseries/"):
            return self.metrics.answer(request, community, allowed)
        return self._catalog.answer(request, community, allowed)

    def _liquidations(self, request: Request, community: bool, allowed: tuple[str, ...]) -> Reply:
        parameters = ("markets", *TIME_PARAMETERS, *PAGE_PARAMETERS, "limit_per_market")
        params = Params(request.query, parameters, bad_parameter)
        if not params.text("markets"):
            raise bad_parameter("markets", "The parameter is required.")
        names = select(params.text("markets"), list(self.markets), _unknown_market)
        permitted = [name for name in names if any(fnmatchcase(name, pattern) for pattern in allowed)]
        if not permitted or (len(permitted) < len(names) and "*" not in params.text("markets")):
            raise refusal(403)
        window = read_window(params, self._world, community, "limit_per_market")
        rows, token = read_page([self.series(name) for name in permitted], window)
        return answer_page(request, params, rows, token)

    def series(self, market: str) -> Series:
        """The rows of a market."""
        instrument = self.markets[market]
        name = f"coin_metrics/{market}"
        first = parse(EXCHANGE_STARTS[instrument.exchange])
        world = self._world
        return Series(world.market, instrument, name, self.render, world.rendered, self._extras, first)

    def missing(self, instrument: Instrument, instant: int) -> bool:
        """Whether an instant lies in a gap of Coin Metrics' data."""
        gap = self._world.gap("coin_metrics", instrument)
        if gap and gap.covers(instant):
            return True
        return any(name == instrument.exchange and start <= instant < end for name, start, end in MISSING)

    def render(self, instrument: Instrument, block: Block) -> Rendered:
        """The rows of a block: one for each event and each type that the exchange reports."""
        times, rows, sources = array("q"), list[bytes](), array("q")
        types = TYPES.get(instrument.exchange, ("trade",))
        second, prefix, ordinal, previous = -1, "", 0, (-1, -1, -1)
        timed, tick = instrument.exchange in TIME_IDS, instrument.tick
        maybe_sideless = instrument.exchange in SIDE_SOMETIMES_ABSENT
        holes = self._has_holes(instrument, block)
        columns = zip(block.times, block.lots, block.fills, block.bankruptcies, block.longs, strict=True)
        for n, (instant, lots, fill, bankruptcy, long) in enumerate(columns):
            ordinal = ordinal + 1 if instant == previous[0] else 0
            twin = previous == (instant, lots, fill)
            previous = (instant, lots, fill)
            if holes and self._lost(instrument, instant, n, twin):
                continue
            if instant // NS != second:
                second = instant // NS
                prefix = second_text(second)
            number = instant + ordinal if timed else _long_id(instrument, instant, n)
            stored = self._world.market.arrival(instant, n)
            side = "" if maybe_sideless and number % 50 == 7 else f',"side":"{"sell" if long else "buy"}"'
            start = (
                f'{{"market":"{instrument.coin_metrics}","time":"{prefix}.{instant % NS:09d}Z",'
                f'"coin_metrics_id":"{number}","amount":"{contracts(instrument, lots, fill)}","price":"'
            )
            end = f'"database_time":"{second_text(stored // NS)}.{stored % NS:09d}Z"{side}}}'
            for kind in types:
                price = decimal(fill if kind == "trade" else bankruptcy, tick)
                times.append(instant)
                rows.append(f'{start}{price}","type":"{kind}",{end}'.encode())
                sources.append(n)
        return Rendered(times, rows, sources)

    def _has_holes(self, instrument: Instrument, block: Block) -> bool:
        gap = self._world.options.disagreement
        if gap and gap.instrument == instrument.key and block.start < gap.end and block.end > gap.start:
            return True
        return block.start < OKEX_TWINS_SINCE + 30 * DAY

    def _lost(self, instrument: Instrument, instant: int, ordinal: int, twin: bool) -> bool:
        if self.missing(instrument, instant) or (twin and instrument.exchange == "okx" and instant < OKEX_TWINS_SINCE):
            return True
        spans = (span for span in UNDER_REPORTED if span[0] == instrument.exchange)
        return any(start <= instant < end and (instant + ordinal) % 3 == 0 for _, start, end in spans)

    def error(self, status: int, message: str | None = None) -> Reply:
        """Coin Metrics' error body for a status."""
        return refusal(status, message=message).reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Rows of [start, end) of a market, or of metrics such as `pair-metrics/btc-usdt`, oldest first."""
        if "-metrics/" in market:
            return self.metrics.expected(market, start, end, **options)
        return [msgspec.json.decode(row) for row in self.series(market).all(start, end)]

    def add_rows(self, market: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows to a market."""
        if market not in self.markets:
            raise KeyError(market)
        self._extras.add(f"coin_metrics/{market}", [(parse(r["time"]), msgspec.json.encode(r)) for r in rows])


def _long_id(instrument: Instrument, instant: int, ordinal: int) -> int:
    text = f"{instrument.key}|{instant}|{ordinal}"
    return int.from_bytes(blake2b(text.encode(), digest_size=11).digest(), "big")


def _unknown_market(market: str) -> Refusal:
    return bad_parameter("markets", f"Market '{market}' is not supported.")
