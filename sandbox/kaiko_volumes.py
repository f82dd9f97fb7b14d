"""Kaiko: token-level liquidation volumes, `/token/{asset}`, one row for each interval."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sandbox.http import Reply, Request
from sandbox.instruments import KAIKO_EXCHANGES, Instrument
from sandbox.kaiko_calls import ACCESS, PARAMETERS, Query, add_token, bad_parameter, read_query, refusal
from sandbox.times import HOUR, ceil, floor, iso, parse
from sandbox.world import World

FIRST = parse("2025-01-08")


def interval_hours(text: str) -> int:
    """The hours of an interval, `1h` to `24h` or `1d`."""
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in ("h", "d"):
        raise bad_parameter("interval", "it must be a number of hours or days, such as 1h or 1d.")
    hours = int(number) * (24 if unit == "d" else 1)
    if not 1 <= hours <= 24:
        raise bad_parameter("interval", "it must be between one hour and one day.")
    return hours


class Volumes:
    """The sums of an asset's events over all exchanges, broken down by exchange."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._instruments: dict[str, dict[str, list[Instrument]]] = {}
        for instrument in world.market.instruments.values():
            if instrument.exchange != "ftx":
                exchanges = self._instruments.setdefault(instrument.base, {})
                exchanges.setdefault(KAIKO_EXCHANGES[instrument.exchange], []).append(instrument)

    def answer(self, request: Request, asset: str) -> Reply:
        """One page of intervals. The window is widened to whole intervals; the answer has its bounds."""
        if asset not in self._instruments:
            raise refusal(404, f"Asset '{asset}' not found")
        query, params = read_query(request, self._world, (*PARAMETERS, "interval"))
        if not query.interval:
            query = replace(query, interval=params.text("interval", "1h"))
        step = interval_hours(query.interval) * HOUR
        data_start, data_end = floor(query.start, step), ceil(query.end, step)
        # Intervals that begin while a client pages must not shift its remaining pages.
        offset, newest = (query.position[1], query.position[0]) if query.position else (0, self._world.now() + 1)
        first, last = floor(max(data_start, FIRST), step), min(data_end, newest)
        starts = range(first, max(first, last), step)
        if query.sort == "desc":
            starts = starts[::-1]
        page = starts[offset : offset + query.page_size]
        rows = [self._row(asset, start, step) for start in page]
        body: dict[str, Any] = {
            "query": self._echo(query, asset, (data_start, data_end), (min(page), max(page) + step) if page else None),
            "answer_time": iso(self._world.now()),
            "answer_timestamp": self._world.now() // 1_000_000,
            "access": ACCESS,
            "data": rows,
        }
        next_offset = offset + len(page)
        token = query.token((newest, next_offset)) if next_offset < len(starts) else None
        add_token(body, request, token, self._world.options.kaiko_last_page)
        return Reply(body=body, rows=len(rows))

    def _echo(self, query: Query, asset: str, data: tuple[int, int], page: tuple[int, int] | None) -> dict[str, Any]:
        start, end = page or (data[0], data[0])
        return {
            "request_time": iso(self._world.now()),
            "query_start_time": query.time_texts[0] or iso(query.start),
            "query_end_time": query.time_texts[1] or iso(query.end),
            "data_start_time": iso(data[0], 0),
            "data_end_time": iso(data[1], 0),
            "start_time": iso(start, 0),
            "start_timestamp": start // 1_000_000,
            "end_time": iso(end, 0),
            "end_timestamp": end // 1_000_000,
            "page_size": query.page_size,
            "sort": query.sort,
            "token": asset,
            "interval": query.interval,
            "commodity": "liquidationEvents",
            "data_version": "v1",
        }

    def expected(self, asset: str, start: int, end: int, interval: str) -> list[dict[str, Any]]:
        """The rows of all intervals that overlap [start, end), oldest first."""
        step = interval_hours(interval) * HOUR
        first, last = floor(max(floor(start, step), FIRST), step), min(ceil(end, step), self._world.now() + 1)
        return [self._row(asset, instant, step) for instant in range(first, max(first, last), step)]

    def _row(self, asset: str, start: int, step: int) -> dict[str, Any]:
        exchanges = []
        for exchange, instruments in sorted(self._instruments[asset].items()):
            counts, amounts = self._sum(instruments, start // HOUR, (start + step) // HOUR)
            if sum(counts):
                exchanges.append({"exchange": exchange, **_six(counts, amounts)})
        counts = [sum(row[name] for row in exchanges) for name in ("short_trades", "long_trades")]
        amounts = [math.fsum(row[name] for row in exchanges) for name in ("short_amount", "long_amount")]
        return {
            "interval_time": iso(start, 0),
            "interval_timestamp": start,
            **_six(counts, amounts),
            "exchanges": exchanges,
        }

    def _sum(self, instruments: list[Instrument], first: int, last: int) -> tuple[list[int], list[float]]:
        """Counts and USD amounts of [shorts, longs] in the hours [first, last)."""
        market = self._world.market
        counts, amounts = [0, 0], [0.0, 0.0]
        for instrument in instruments:
            scale = 10 ** (instrument.lot + instrument.tick)
            for hour in range(first, last):
                sums = market.sums(instrument, hour)
                if not any(sums.counts):
                    continue
                rate = market.rate(instrument, hour * HOUR)
                for side in (0, 1):
                    counts[side] += sums.counts[side]
                    amounts[side] += sums.quote[side] / scale * rate
        return counts, amounts


def _six(counts: list[int], amounts: list[float]) -> dict[str, Any]:
    """Kaiko's six sums; a zero amount is the integer 0."""
    short, long = amounts
    return {
        "total_trades": sum(counts),
        "total_amount": short + long or 0,
        "long_trades": counts[1],
        "long_amount": long or 0,
        "short_trades": counts[0],
        "short_amount": short or 0,
    }
