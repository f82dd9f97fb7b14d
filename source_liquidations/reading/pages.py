"""Blocks: the unit that flows. Rows in, encoded RECORD lines out."""

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

_MOST_RECORDS = 10_000  # of a block: a page of 100,000 is not held as rows and as lines at once

_TAIL = b"}}\n"
_NULL = msgspec.Raw(b"null")
encode = msgspec.json.Encoder().encode
members_of = MEMBERS.decode


@dataclass(frozen=True)
class Table:
    """Rows as columns of JSON text: each a text for every row, or one for all of them; and what could not be put in."""

    count: int
    columns: Sequence[Column]
    faults: Sequence[Fault] = ()

    def lines(self, before: bytes, after: bytes) -> bytes:
        """All rows, each between the same two texts, in one piece."""
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

    def parts(self, most: int) -> Iterator[Table]:
        """The same rows in turn, at most so many at once."""
        for first in range(0, self.count, most):
            part = slice(first, first + most)
            yield Table(
                min(most, self.count - first),
                [column if isinstance(column, bytes) else column[part] for column in self.columns],
            )


# A unified stream's shape of a page, from the vendor's rows and what was asked for.
Mapper = Callable[[Rows, Span], Table]


@dataclass(frozen=True)
class Output:
    """One stream that a reading feeds: in the vendor's own shape, or through `mapper` in a unified one.

    `vendor` is set where the stream holds several vendors' partitions, to tell them apart in its state.
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
    """RECORD lines of one stream, ready to be written, and what they cover."""

    stream: str
    records: int
    data: bytes
    covers: Sequence[Covered] = ()
    position: int = 0  # how far it brings its window, counted as read or not
    reading: object = None  # which brought them

    @property
    def bytes_per_record(self) -> float:
        """Of the rows alone, without what stands around them in each line."""
        return len(self.data) / self.records - len(_head(self.stream)) - len(_TAIL)


def render(output: Output, rows: Rows, span: Span, faults: list[Fault]) -> Iterator[Block]:
    """The RECORD lines of a page for one stream; of a large page in several blocks. Adds to `faults`."""
    rows = rows.to_write()
    if not len(rows):
        return
    if output.mapper is None:
        table = _vendor_rows(rows)
    else:
        table = output.mapper(replace(rows, faults=()), span)
        faults += table.faults
    for part in table.parts(_MOST_RECORDS):
        yield block(output.stream, part)


def block(stream: str, table: Table) -> Block:
    """RECORD lines of rows."""
    return Block(stream, table.count, table.lines(_head(stream), _TAIL))


def _head(stream: str) -> bytes:
    emitted_at = time.time_ns() // 1_000_000
    return b'{"type":"RECORD","record":{"stream":"%b","emitted_at":%d,"data":' % (stream.encode(), emitted_at)


def _vendor_rows(rows: Rows) -> Table:
    """The vendor's rows with what is added. Splicing keeps every literal, every unknown field and their order."""
    if not rows.added:
        return Table(len(rows), (rows.raw,))
    return Table(len(rows), (b"{", *rows.added, [bytes(row)[1:] for row in rows.raw]))


def merged(row: bytes | msgspec.Raw, ours: Mapping[str, Any]) -> bytes:
    """A row with members of ours added, where the vendor has begun to send a field of the same name: theirs stays.

    Not where it is null, since ours may be a key. Literals stay as written.
    """
    theirs = {name: value for name, value in members_of(row).items() if name not in ours or value != _NULL}
    return encode({**{name: value for name, value in ours.items() if name not in theirs}, **theirs})


def members(values: Mapping[str, Any]) -> bytes:
    """`{"a": 1}` as `"a":1,`: members to splice into a row."""
    return encode(values)[1:-1] + b"," if values else b""
