"""Bitfinex: the liquidation rows of the whole exchange: a trigger and one or two matches for each event."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec

from sandbox.instruments import MS, Instrument
from sandbox.market import Block
from sandbox.numbers import decimal
from sandbox.series import Extras, Page, Rendered, Series, merged
from sandbox.times import DAY
from sandbox.world import World

NAME = "bitfinex"
# The elements of a row, in order.
FIELDS = (
    "type", "pos_id", "mts", "_3", "symbol", "amount", "base_price", "_7", "is_match", "is_market_sold", "_10",
    "price_acquired",
)  # fmt: skip
Step = tuple[int, int, int, int, str]  # instant, amount in lots, IS_MATCH, IS_MARKET_SOLD, PRICE_ACQUIRED


class Rows:
    """The rows of every Bitfinex market, merged and sorted by time; tests may add rows of any symbol."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._extras = Extras()
        instruments = (i for i in world.market.all_instruments.values() if i.exchange == NAME)
        self.instruments = {f"t{i.symbol}": i for i in instruments}

    def read(self, start: int, end: int, limit: int, *, newest: bool, symbol: str = "*") -> Page:
        """Up to `limit` rows of [start, end) of one symbol or of all, oldest or newest first."""
        series = [self._series(i) for name, i in self.instruments.items() if symbol in ("*", name)]
        now = self._world.now()
        extra = self._extras.between(NAME, start, min(end, now + 1))
        extra = [row for row in extra if symbol in ("*", msgspec.json.decode(row[1])[4])]
        return merged(series, start, end, limit, newest=newest, extra=extra)

    def _series(self, instrument: Instrument) -> Series:
        world = self._world
        days = world.options.bitfinex_history_days
        first = 0 if days is None else world.now() - int(days * DAY)
        name = f"{NAME}/{instrument.symbol}"
        return Series(world.market, instrument, name, self._render, world.rendered, Extras(), first)

    def _render(self, instrument: Instrument, block: Block) -> Rendered:
        gap = self._world.gap(NAME, instrument)
        rows: list[tuple[int, bytes, int]] = []
        columns = zip(block.times, block.lots, block.fills, block.longs, strict=True)
        for n, (instant, lots, fill, long) in enumerate(columns):
            if gap and gap.covers(instant):
                continue
            # A twin event gets the same number, so its rows are equal, too.
            number = crc32(f"{instrument.symbol}|{instant}|{lots}|{fill}".encode())
            entry = fill / 10**instrument.tick * (1 + (5 + number % 400) / (10_000 if long else -10_000))
            sign = "" if long else "-"
            for at, part, match, sold, price in self._steps(instant, lots, decimal(fill, instrument.tick), number):
                at, stamp = self._stamp(min(at, block.end - MS), number + match)
                elements = ('"pos"', str(number), stamp, "null", f'"t{instrument.symbol}"',
                            f"{sign}{decimal(part, instrument.lot)}", str(round(entry, 8)), "null", str(match),
                            str(sold), "null", price)[: self._world.options.bitfinex_elements]  # fmt: skip
                rows.append((at, f"[{','.join(elements)}]".encode(), n))
        rows.sort(key=lambda row: row[0])
        return Rendered(array("q", [row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows])

    def _steps(self, instant: int, lots: int, price: str, number: int) -> Iterator[Step]:
        """The trigger, then its matches a few milliseconds later. One event in six has two matches."""
        options = self._world.options
        by_system = number % 11 == 3
        sold = (0 if by_system else 1) if options.bitfinex_market_sold == "documented" else int(by_system)
        yield instant, lots, 0, 0 if options.bitfinex_market_sold == "documented" else 1, "null"
        instant += (1 + number % 5) * MS
        executed = max(1, lots * (5 + number % 90) // 400) if number % 6 == 0 and lots > 1 else lots
        yield instant, lots if options.bitfinex_match_amount == "left" else executed, 1, sold, price
        if executed < lots:
            yield instant + (1 + number // 7 % 5) * MS, lots - executed, 1, sold, price

    def _stamp(self, instant: int, number: int) -> tuple[int, str]:
        """An instant and its MTS, with four decimals if `bitfinex_fractional_ms` is set."""
        if not self._world.options.bitfinex_fractional_ms:
            return instant, str(instant // MS)
        instant += number % 10_000 * 100
        return instant, decimal(instant // 100, 4)

    def expected(self, market: str, start: int, end: int) -> list[Any]:
        """All rows of [start, end) of a symbol or of the whole exchange (`*`), oldest first."""
        if market != "*" and market not in self.instruments:
            raise KeyError(market)
        return [msgspec.json.decode(row) for row in self.read(start, end, 2**62, newest=False, symbol=market).rows]

    def add(self, market: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows of one symbol or (`*`) of any."""
        for row in rows:
            if market not in ("*", row[4]):
                raise ValueError(f"the row has symbol {row[4]}, not {market}")
        self._extras.add(NAME, [(int(Decimal(str(row[2])) * MS), msgspec.json.encode(row)) for row in rows])
