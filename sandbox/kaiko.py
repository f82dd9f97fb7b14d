"""Kaiko: derivative liquidation events, and the vendor as a whole.

From the pages "Derivative liquidation events" and "Token-level liquidation volumes".
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from sandbox.http import Reply, Request, json_rows
from sandbox.instruments import Instrument
from sandbox.kaiko_calls import (
    ACCESS,
    ACCESS_START,
    ROOT,
    add_token,
    authorize,
    bad_parameter,
    read_query,
    refusal,
)
from sandbox.kaiko_reference import Reference
from sandbox.kaiko_volumes import Volumes
from sandbox.market import Block
from sandbox.series import Extras, Rendered, Series
from sandbox.times import HOUR, iso
from sandbox.world import World

CLASSES = ("future", "perpetual-future")
UNITS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


class Events:
    """`/trades/{exchange}/{instrument_class}/{instrument}`: one row for each liquidation."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._extras = Extras()
        instruments = (i for i in world.market.instruments.values() if i.exchange != "ftx")
        self.instruments: Mapping[tuple[str, str, str], Instrument] = {i.kaiko: i for i in instruments}

    def series(self, exchange: str, kind: str, code: str) -> Series:
        """The rows of an instrument; refused with 400 (unknown class) or 404 (unknown exchange or instrument)."""
        if kind not in CLASSES:
            raise bad_parameter("instrument_class", f"'{kind}' is not one of: {', '.join(CLASSES)}.")
        if exchange not in {names[0] for names in self.instruments}:
            raise refusal(404, f"Exchange '{exchange}' not found")
        instrument = self.instruments.get((exchange, kind, code))
        if instrument is None:
            raise refusal(404, f"Instrument '{code}' of class '{kind}' not found on exchange '{exchange}'")
        name = f"kaiko/{exchange}/{kind}/{code}"
        world = self._world
        return Series(world.market, instrument, name, self.render, world.rendered, self._extras, ACCESS_START)

    def answer(self, request: Request, exchange: str, kind: str, code: str) -> Reply:
        """One page of events."""
        series = self.series(exchange, kind, code)
        query, _ = read_query(request, self._world)
        read = series.ascending if query.sort == "asc" else series.descending
        page = read(query.start, query.end, query.page_size, query.position)
        now = self._world.now()
        body: dict[str, Any] = {
            "query": {
                "exchange": exchange,
                "instrument": code,
                "instrument_class": kind,
                "commodity": "liquidationEvents",
                "request_time": iso(now),
                "start_time": iso(query.start),
                "start_timestamp": query.start // 1_000_000,
                "end_time": iso(query.end),
                "end_timestamp": query.end // 1_000_000,
                "page_size": query.page_size,
                "sort": query.sort,
                "data_version": "v1",
            },
            "answer_time": iso(now),
            "answer_timestamp": now // 1_000_000,
            "access": ACCESS,
            "data": json_rows(page.rows),
        }
        token = query.token(page.next) if page.next else None
        add_token(body, request, token, self._world.options.kaiko_last_page)
        return Reply(body=body, rows=len(page.rows))

    def render(self, instrument: Instrument, block: Block) -> Rendered:
        """The events of a block in Kaiko's form."""
        unit = UNITS[self._world.options.kaiko_timestamp_unit]
        lots, ticks = 10**instrument.lot, 10**instrument.tick
        rows: list[bytes] = []
        hour, rate = -1, 1.0
        gap = self._world.gap("kaiko", instrument)
        kept: list[int] = []
        columns = zip(block.times, block.lots, block.fills, block.longs, strict=True)
        for n, (instant, size, fill, long) in enumerate(columns):
            if gap and gap.covers(instant):
                continue
            if instant // HOUR != hour:
                hour, rate = instant // HOUR, self._world.market.rate(instrument, instant)
            amount, price = size / lots, fill / ticks
            value = amount * price
            trade_id = sha256(f"{instrument.key}|{instant}|{n}".encode()).hexdigest()
            kept.append(n)
            rows.append(
                f'{{"amount":{amount},"amount_quote":{value},"amount_usd":{value * rate},"price":{price},'
                f'"rate":{rate},"position_side":"{"long" if long else "short"}","timestamp":{instant // unit},'
                f'"trade_id":"{trade_id}"}}'.encode()
            )
        times = block.times if not gap else array("q", [block.times[n] for n in kept])
        return Rendered(times, rows, kept if gap else None)

    def add_rows(self, market: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add events, with timestamps in ms, us or ns, to an instrument."""
        self._extras.add(f"kaiko/{market}", [(_row_time(row), msgspec.json.encode(row)) for row in rows])


def _row_time(row: Mapping[str, Any]) -> int:
    stamp = int(row["timestamp"])
    return stamp * next((unit for unit in (1_000_000, 1_000) if stamp * unit < 10**19), 1)


class Kaiko:
    """The market data host under `/kaiko`; the reference host, without a key, under `/kaiko-reference`."""

    name = "kaiko"
    prefixes: tuple[str, ...] = ("/kaiko", "/kaiko-reference")

    def __init__(self, world: World) -> None:
        self._world = world
        self.events = Events(world)
        self.volumes = Volumes(world)
        self._reference = Reference(world)

    def handle(self, request: Request) -> Reply:
        """Answer a request of either host."""
        if request.prefix == "/kaiko-reference":
            return self._reference.answer(request)
        authorize(request, self._world)
        if request.path.startswith(f"{ROOT}/"):
            segments = request.path[len(ROOT) + 1 :].split("/")
            if segments[0] == "trades" and len(segments) == 4:
                return self.events.answer(request, *segments[1:])
            if segments[0] == "token" and len(segments) == 2:
                return self.volumes.answer(request, segments[1])
        raise refusal(404)

    def error(self, status: int, message: str | None = None) -> Reply:
        """Kaiko's error body for a status."""
        return refusal(status, message).reply

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """Rows of `exchange/class/instrument`, or of `token/asset` with `interval`, oldest first."""
        if market.startswith("token/"):
            return self.volumes.expected(market.removeprefix("token/"), start, end, options.get("interval", "1h"))
        exchange, kind, code = market.split("/")
        return [msgspec.json.decode(row) for row in self.events.series(exchange, kind, code).all(start, end)]

    def add_rows(self, market: str, rows: Sequence[dict[str, Any]]) -> None:
        """Add events to an instrument."""
        self.events.add_rows(market, rows)
