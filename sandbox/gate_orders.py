"""Gate: the rows of `liq_orders`. Most events are one order; some are staged, partly filled, or not filled."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from zlib import crc32

import msgspec

from sandbox.gate_calls import NAME, Calls, places, settle_of, size_text
from sandbox.instruments import NS, Instrument
from sandbox.market import Block
from sandbox.numbers import decimal, inverse_contracts
from sandbox.series import Extras, Rendered, Series, merged
from sandbox.times import DAY
from sandbox.world import World

SIZES = ("size", "order_size", "left")
Step = tuple[int, int, int]  # size, order_size and left, in the smallest fraction of a contract


@dataclass(frozen=True)
class Fill:
    """The contracts that an added row filled, and their price, for the sums."""

    instant: int
    side: int
    contracts: Decimal
    price: Decimal


class Orders:
    """The liquidation orders of every contract, for the last `gate_event_days`."""

    def __init__(self, world: World, calls: Calls) -> None:
        self._world = world
        self._calls = calls
        self._extras = Extras()
        self._fills: dict[str, list[Fill]] = {}
        instruments = (i for i in world.market.all_instruments.values() if i.exchange == NAME)
        self.instruments = {f"{settle_of(i)}/{i.symbol}": i for i in instruments}

    @property
    def oldest(self) -> int:
        """The first instant that still has orders."""
        return self._world.now() - int(self._world.options.gate_event_days * DAY)

    def of_settle(self, settle: str) -> list[str]:
        """The names of all contracts of a settle currency, delisted ones included."""
        return [name for name in self.instruments if name.startswith(f"{settle}/")]

    def read(
        self, names: Sequence[str], start: int, end: int, limit: int, *, newest: bool, decimals: bool
    ) -> list[bytes]:
        """Up to `limit` of the newest or oldest rows of [start, end), sorted oldest first."""
        page = merged([self._series(name, decimals) for name in names], start, end, limit, newest=newest)
        working = self._world.now() - int(self._world.options.gate_working_seconds * NS)
        rows = [_half_left(row) if at > working else row for row, at in zip(page.rows, page.times, strict=True)]
        return rows[::-1] if newest else rows

    def _series(self, name: str, decimals: bool) -> Series:
        world = self._world
        render = partial(self._render, decimals=decimals)
        key = _key(name, decimals)
        return Series(world.market, self.instruments[name], key, render, world.rendered, self._extras, self.oldest)

    def _render(self, instrument: Instrument, block: Block, *, decimals: bool) -> Rendered:
        gap, scale = self._world.gap(NAME, instrument), places(instrument)
        times, rows, sources = array("q"), list[bytes](), array("q")
        columns = zip(block.times, block.lots, block.fills, block.bankruptcies, block.longs, strict=True)
        for n, (instant, lots, fill, bankruptcy, long) in enumerate(columns):
            if gap and gap.covers(instant):
                continue
            # The order's limit price is the bankruptcy price: below the fill for a long, above it for a short.
            limit = decimal(bankruptcy if bankruptcy != fill else fill - 1 if long else fill + 1, instrument.tick)
            units = inverse_contracts(instrument, lots, fill) if instrument.face else lots
            number = crc32(f"{instrument.symbol}|{instant}|{lots}|{fill}".encode())
            sign = 1 if long else -1
            for size, order, left in _steps(units, number):
                price = decimal(fill, instrument.tick) if left < order else "0"
                sizes = (sign * size, -sign * order, left)
                texts = [size_text(Decimal(count).scaleb(-scale), decimals) for count in sizes]
                order_size = f'"order_size":{texts[1]},' if self._world.options.gate_order_size else ""
                times.append(instant)
                sources.append(n)
                rows.append(
                    b'{"time":%b' % bytes(self._calls.stamp(instant // NS))
                    + f',"contract":"{instrument.symbol}","size":{texts[0]},{order_size}"order_price":"{limit}",'
                    f'"fill_price":"{price}","left":{texts[2]}}}'.encode()
                )
        return Rendered(times, rows, sources)

    def fills(self, name: str, start: int, end: int) -> list[Fill]:
        """The fills of added rows in [start, end), up to now."""
        end = min(end, self._world.now() + 1)
        return [fill for fill in self._fills.get(name, ()) if start <= fill.instant < end]

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add orders to a contract; each request gets their sizes in the form that it asks for."""
        if name not in self.instruments:
            raise KeyError(name)
        for decimals in (True, False):
            encoded = [(_instant(row), msgspec.json.encode(_sized(row, decimals))) for row in rows]
            self._extras.add(_key(name, decimals), encoded)
        self._fills.setdefault(name, []).extend(_fill(row) for row in rows)


def _key(name: str, decimals: bool) -> str:
    return f"{NAME}/{name}/{decimals}"


def _steps(units: int, number: int) -> Iterator[Step]:
    """The orders of an event; together they fill `units`."""
    if number % 25 == 0 and units > 1:
        # Staged: `size` is the whole position in both rows.
        first = max(1, units * (20 + number % 60) // 100)
        yield units, first, 0
        yield units, units - first, 0
    elif number % 40 == 1:
        left = max(1, units // 3)
        yield units + left, units + left, left
    else:
        if number % 160 == 2:
            yield units, units, units
        yield units, units, 0


def _instant(row: Mapping[str, Any]) -> int:
    return int(Decimal(str(row["time"])) * NS)


def _sized(row: Mapping[str, Any], decimals: bool) -> dict[str, Any]:
    texts = {name: size_text(Decimal(str(row[name])), decimals) for name in SIZES if name in row}
    return {**row, **{name: msgspec.Raw(text.encode()) for name, text in texts.items()}}


def _fill(row: Mapping[str, Any]) -> Fill:
    order = abs(Decimal(str(row.get("order_size", row["size"]))))
    filled = order - abs(Decimal(str(row.get("left", 0))))
    price = Decimal(row["fill_price"]) or Decimal(row["order_price"])
    return Fill(_instant(row), int(Decimal(str(row["size"])) > 0), filled, price)


def _half_left(row: bytes) -> bytes:
    """The row of an order that is still working: at least half of the order is `left`."""
    fields = msgspec.json.decode(row)
    order = abs(Decimal(str(fields.get("order_size", fields["size"]))))
    left = max(Decimal(str(fields["left"])), order // 2)
    fields["left"] = msgspec.Raw(size_text(left, isinstance(fields["size"], str)).encode())
    return msgspec.json.encode(fields)
