"""The rows that the benchmark server serves: the same for every reader, at a fixed spacing in time.

Row `i` of a partition is at `ORIGIN_NS + i * spacing`, so a window is a pair of row numbers, and the rows of a page are
one slice of bytes that were rendered before the first request.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from itertools import islice

ORIGIN_NS = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z
SECOND_NS = 1_000_000_000
KIYOTAKA_INTERVAL = "MINUTE"
KIYOTAKA_INTERVAL_NS = 60 * SECOND_NS
EVENT_SPACING_NS = SECOND_NS
KIYOTAKA_SIDES = ("SELL", "BUY")

Row = dict[str, object]


def kaiko_instrument(partition: int) -> str:
    return f"bbit/perpetual-future/m{partition:05d}-usdt"


def coin_metrics_market(partition: int) -> str:
    return f"binance-M{partition:05d}USDT-future"


def kwery_symbol(partition: int) -> str:
    """All symbols have the same length, so that `Table.renamed` works."""
    return f"M{partition:05d}"


def kiyotaka_symbol(partition: int) -> str:
    return f"BINANCE_FUTURES/M{partition:05d}USDT"


def iso(instant_ns: int, digits: int) -> str:
    """ISO 8601 in UTC, with `digits` decimals of a second."""
    seconds, fraction = divmod(instant_ns, SECOND_NS)
    whole = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09d}"[: 20 + digits] + "Z" if digits else f"{whole}Z"


def nanoseconds(text: str) -> int:
    """The exact nanoseconds of an ISO 8601 text in UTC."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
    return seconds * SECOND_NS + int(fraction.ljust(9, "0") or 0)


@dataclass(frozen=True)
class Table:
    """Rows in ascending time, each followed by a comma, and their offsets."""

    rendered: bytes
    offsets: array[int]

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    def cut(self, first: int, last: int) -> memoryview:
        """Rows `first` to `last` (exclusive), without the brackets of a JSON array."""
        return self.cut_lines(first, last)[:-1]

    def cut_lines(self, first: int, last: int) -> memoryview:
        """The same, with a comma after the last row."""
        return memoryview(self.rendered)[self.offsets[first] : self.offsets[last]]

    def renamed(self, old: str, new: str) -> Table:
        """The same rows under another name of the same length."""
        return Table(self.rendered.replace(old.encode(), new.encode()), self.offsets)


def render(rows: Iterable[Row]) -> Table:
    offsets, blocks, end = array("Q", [0]), [], 0
    rows = iter(rows)
    encode = json.JSONEncoder(separators=(",", ":")).encode
    while block := [encode(row).encode() + b"," for row in islice(rows, 10_000)]:
        for line in block:
            end += len(line)
            offsets.append(end)
        blocks.append(b"".join(block))
    return Table(b"".join(blocks), offsets)


def kaiko_rows(count: int) -> Iterable[Row]:
    for i in range(count):
        amount, price = (i % 97 + 1) / 100, 9000 + (i * 7 % 10_007) / 100
        rate = 0.9999708029791101
        yield {
            "amount": amount,
            "amount_quote": amount * price,
            "amount_usd": amount * price * rate,
            "price": price,
            "rate": rate,
            "position_side": "long" if i % 3 else "short",
            "timestamp": (ORIGIN_NS + i * EVENT_SPACING_NS) // 1_000_000,
            "trade_id": sha256(i.to_bytes(8, "big")).hexdigest(),
        }


def coin_metrics_rows(count: int) -> Iterable[Row]:
    market = coin_metrics_market(0)
    for i in range(count):
        instant = ORIGIN_NS + i * EVENT_SPACING_NS
        yield {
            "market": market,
            "time": iso(instant, 9),
            "coin_metrics_id": str(instant),
            "amount": str((i % 97 + 1) / 1000),
            "price": str(9000 + (i * 7 % 10_007) / 100),
            "type": "trade",
            "database_time": iso(instant + 3_004_122_000, 9),
            "side": "buy" if i % 3 else "sell",
        }


def kwery_rows(count: int) -> Iterable[Row]:
    symbol = kwery_symbol(0)
    for i in range(count):
        quantity, price = (i % 97 + 1) / 1000, 9000 + (i * 7 % 10_007) / 100
        yield {
            "timestamp": iso(ORIGIN_NS + i * EVENT_SPACING_NS, 3),
            "symbol": symbol,
            "source": "binance_futures",
            "side": "long" if i % 3 else "short",
            "quantity": quantity,
            "price": price + 5,
            "avg_price": price,
            "usd_value": round(quantity * price, 2),
        }


def kiyotaka_points(count: int, side: str) -> Iterable[Row]:
    scale = 1000 if side == "SELL" else 700
    for i in range(count):
        seconds = (ORIGIN_NS + i * KIYOTAKA_INTERVAL_NS) // SECOND_NS
        yield {"Point": {"liquidations": (i * 7 % 9_973) / scale, "timestamp": {"s": seconds}}}


class Dataset:
    """`rows` rows in each of `partitions` partitions; a vendor's rows are rendered at their first use."""

    def __init__(self, *, rows: int, partitions: int) -> None:
        self.rows = rows
        self.partitions = partitions
        self._tables: dict[str, Table] = {}

    def _table(self, name: str, make: Callable[[], Table]) -> Table:
        if name not in self._tables:
            self._tables[name] = make()
        return self._tables[name]

    def kaiko(self) -> Table:
        """A row does not name its instrument, so all instruments share the table."""
        return self._table("kaiko", lambda: render(kaiko_rows(self.rows)))

    def coin_metrics(self, partition: int) -> Table:
        return self._named(coin_metrics_market, partition, coin_metrics_rows)

    def kwery(self, partition: int) -> Table:
        return self._named(kwery_symbol, partition, kwery_rows)

    def _named(self, name_of: Callable[[int], str], partition: int, rows: Callable[[int], Iterable[Row]]) -> Table:
        """Rows that contain their partition's name: those of the first partition, renamed."""
        first = self._table(name_of(0), lambda: render(rows(self.rows)))
        name = name_of(partition)
        return first if partition == 0 else self._table(name, lambda: first.renamed(name_of(0), name))

    def kiyotaka(self, side: str) -> Table:
        """A side has half of the rows, because a symbol's rows are its points of both sides."""
        return self._table(f"kiyotaka {side}", lambda: render(kiyotaka_points(self.rows // 2, side)))

    def prepare(self, vendor: str) -> None:
        """Render all rows of a vendor now, so that no reader waits for it."""
        if vendor == "kaiko":
            self.kaiko()
        elif vendor in ("coin_metrics", "kwery"):
            table = self.coin_metrics if vendor == "coin_metrics" else self.kwery
            for partition in range(self.partitions):
                table(partition)
        else:
            for side in KIYOTAKA_SIDES:
                self.kiyotaka(side)


def bounds(start_ns: int | None, end_ns: int | None, *, spacing: int, rows: int) -> tuple[int, int]:
    """The row numbers of [start, end); None means no bound."""

    def row_at(instant_ns: int) -> int:
        return min(max(-((ORIGIN_NS - instant_ns) // spacing), 0), rows)

    first = 0 if start_ns is None else row_at(start_ns)
    last = rows if end_ns is None else row_at(end_ns)
    return first, max(first, last)
