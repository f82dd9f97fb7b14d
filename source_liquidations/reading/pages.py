"""From rows to blocks of RECORD lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from source_liquidations.http.answers import MEMBERS
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.rows import Column, Fault, Rows
from source_liquidations.reading.slices import Slice

_MAX_RECORDS = 10_000  # of a block, so that a page of 100,000 is not in memory twice, as rows and as lines

_TAIL = b"}}\n"
_NULL = msgspec.Raw(b"null")
encode = msgspec.json.Encoder().encode
members_of = MEMBERS.decode


@dataclass(frozen=True)
class Table:
    """Rows as columns of JSON text (one per row, or one for all rows), and the rows that could not be made."""

    count: int
    columns: Sequence[Column]
    faults: Sequence[Fault] = ()

    def lines(self, before: bytes, after: bytes) -> bytes:
        """All rows as one text, each with `before` and `after` around it."""
        columns: list[Column] = [before]
        for column in (*self.columns, after):
            if isinstance(column, bytes) and isinstance(columns[-1], bytes):
                columns[-1] += column
            else:
                columns.append(column)
        pieces: list[Any] = [column if isinstance(column, bytes) else b"" for column in columns] * self.count
        for index, column in enumerate(columns):
            if not isinstance(column, bytes):
                pieces[index :: len(columns)] = column
        return b"".join(pieces)

    def parts(self, size: int) -> Iterator[Table]:
        """The same rows in tables of at most `size` rows."""
        for first in range(0, self.count, size):
            part = slice(first, first + size)
            yield Table(
                min(size, self.count - first),
                [column if isinstance(column, bytes) else column[part] for column in self.columns],
            )


# Makes a unified stream's rows from a page of the vendor's rows, and the span that was requested.
Mapper = Callable[[Rows, Span], Table]


@dataclass(frozen=True)
class Output:
    """One stream that a reading feeds: the vendor's own, or a unified one through `mapper`.

    `vendor` is set for a unified stream: it distinguishes the partitions of several vendors in one state.
    """

    stream: str
    mapper: Mapper | None = None
    vendor: str = ""

    def state_partition(self, partition: Partition) -> Partition:
        return Partition((("vendor", self.vendor), *partition.values)) if self.vendor else partition


class Covered(NamedTuple):
    """A slice that is complete once a block is written. Before `first_available`, the partition has no data to read."""

    partition: Partition
    part: Slice
    first_available: int


@dataclass
class Block:
    """RECORD lines of one stream, ready to be written, and the slices that they complete."""

    stream: str
    records: int
    data: bytes
    covers: Sequence[Covered] = ()
    position: int = 0  # that its window has reached, recorded as read or not
    reading: object = None

    @property
    def bytes_per_record(self) -> float:
        """The average size of a row, without the rest of its RECORD line."""
        return len(self.data) / self.records - len(_head(self.stream)) - len(_TAIL)


def render(output: Output, rows: Rows, span: Span, faults: list[Fault]) -> Iterator[Block]:
    """The RECORD lines of a page for one stream, in several blocks if it is large. Appends to `faults`."""
    rows = rows.to_write()
    if not len(rows):
        return
    if output.mapper is None:
        table = _vendor_rows(rows)
    else:
        table = output.mapper(replace(rows, faults=()), span)
        faults += table.faults
    for part in table.parts(_MAX_RECORDS):
        yield block(output.stream, part)


def block(stream: str, table: Table) -> Block:
    """RECORD lines of rows."""
    return Block(stream, table.count, table.lines(_head(stream), _TAIL))


def _head(stream: str) -> bytes:
    emitted_at = time.time_ns() // 1_000_000
    return b'{"type":"RECORD","record":{"stream":"%b","emitted_at":%d,"data":' % (stream.encode(), emitted_at)


def _vendor_rows(rows: Rows) -> Table:
    """The vendor's rows with the added fields spliced in: each literal, each unknown field and the order stay."""
    if not rows.added:
        return Table(len(rows), (rows.raw,))
    return Table(len(rows), (b"{", *rows.added, [bytes(row)[1:] for row in rows.raw]))


def merged(row: bytes | msgspec.Raw, added: Mapping[str, Any]) -> bytes:
    """A row with fields added, when the vendor has begun to send a field of the same name: the vendor's value stays.

    Unless it is null, because the added field may be part of the primary key. Literals stay as written.
    """
    sent = {name: value for name, value in members_of(row).items() if name not in added or value != _NULL}
    return encode({**{name: value for name, value in added.items() if name not in sent}, **sent})


def members(values: Mapping[str, Any]) -> bytes:
    """`{"a": 1}` as `"a":1,`, to splice into a row."""
    return encode(values)[1:-1] + b"," if values else b""
