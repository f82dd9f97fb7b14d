"""Pages: the unit that flows. Rows in, encoded RECORD lines out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from source_liquidations.reading.endpoint import Partition, Rows, Span

_MOST_RECORDS = 10_000  # of a block: a page of 100,000 is not held as rows and as lines at once

_TAIL = b"}}\n"
_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# A unified stream's shape of a page: (rows of the vendor, what was asked for) to rows of the stream.
Mapper = Callable[[Rows, Span], Sequence[bytes]]


@dataclass(frozen=True)
class Output:
    """One stream that a reading feeds: in the vendor's own shape, or through `mapper` in a unified one.

    `vendor` is set where the stream holds several vendors' partitions, to tell them apart in its state. A reading that
    fails does not fail a stream that it feeds only in passing.
    """

    stream: str
    mapper: Mapper | None = None
    vendor: str = ""
    in_passing: bool = False

    def state_partition(self, partition: Partition) -> Partition:
        return Partition((("vendor", self.vendor), *partition.values)) if self.vendor else partition


@dataclass
class Block:
    """RECORD lines of one stream, ready to be written."""

    stream: str
    records: int
    data: bytes

    @property
    def bytes_per_record(self) -> float:
        """Of the rows alone, without what stands around them in each line."""
        return len(self.data) / self.records - len(_head(self.stream)) - len(_TAIL)


def render(outputs: Sequence[Output], rows: Rows, span: Span) -> Iterator[Block]:
    """The RECORD lines of a page, stream by stream; of a large page in several blocks."""
    for output in outputs:
        if output.mapper is None:
            for part in rows.parts(_MOST_RECORDS):
                yield Block(output.stream, len(part), _vendor_lines(output.stream, part))
        elif len(rows):
            mapped = output.mapper(rows, span)
            for first in range(0, len(mapped), _MOST_RECORDS):
                yield block(output.stream, mapped[first : first + _MOST_RECORDS])


def block(stream: str, objects: Sequence[bytes]) -> Block:
    """Rows that are JSON already as a block."""
    return Block(stream, len(objects), _lines(stream, objects))


def _head(stream: str) -> bytes:
    emitted_at = time.time_ns() // 1_000_000
    return b'{"type":"RECORD","record":{"stream":"%b","emitted_at":%d,"data":' % (stream.encode(), emitted_at)


def _lines(stream: str, objects: Sequence[Any]) -> bytes:
    """One line per JSON object."""
    pieces = [_head(stream)] * (3 * len(objects))
    pieces[1::3] = objects
    pieces[2::3] = [_TAIL] * len(objects)
    return b"".join(pieces)


def _vendor_lines(stream: str, rows: Rows) -> bytes:
    if not rows.constant and rows.added is None:
        return _lines(stream, rows.raw)
    # Splicing keeps every literal, every unknown field and their order, and decodes nothing again.
    pieces = [_head(stream) + b"{" + rows.constant] * (4 * len(rows))
    pieces[1::4] = rows.added if rows.added is not None else [b""] * len(rows)
    pieces[2::4] = [bytes(row)[1:] for row in rows.raw]
    pieces[3::4] = [_TAIL] * len(rows)
    return b"".join(pieces)


def merged(row: bytes | msgspec.Raw, ours: Mapping[str, Any]) -> bytes:
    """A row with members of ours added, where the vendor has begun to send a field of the same name: theirs stays.

    Not where it is null, since ours may be a key. Literals stay as written.
    """
    theirs = {name: value for name, value in _decode_members(row).items() if name not in ours or value != _NULL}
    return _encode({**{name: value for name, value in ours.items() if name not in theirs}, **theirs})


def members(values: Mapping[str, Any]) -> bytes:
    """`{"a": 1}` as `"a":1,`: members to splice into a row."""
    return _encode(values)[1:-1] + b"," if values else b""
