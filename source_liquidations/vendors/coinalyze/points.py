"""Coinalyze, the body of GET /liquidation-history: a series of points for each symbol. A row for each point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Generic

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import encode
from source_liquidations.reading.rows import Column, Later, Rows
from source_liquidations.vendors.decoding import Fields, Row, RowDecoder, added_rows, without
from source_liquidations.vendors.instants import unix_instants


class Point(msgspec.Struct, gc=False):
    """One interval: its start in Unix seconds, and what was liquidated of longs and of shorts."""

    t: msgspec.Raw
    l: msgspec.Raw = numbers.NULL  # noqa: E741 - the vendor's name
    s: msgspec.Raw = numbers.NULL


class Series(msgspec.Struct, Generic[Row], rename={"data": "history"}):
    symbol: str
    data: list[Row] | None


_series = msgspec.json.Decoder(list[msgspec.Raw] | None)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_points = msgspec.json.Decoder(Series[dict[str, msgspec.Raw]])


def decoder_of(fields: Fields) -> RowDecoder[Point]:
    names = Point.__struct_fields__
    return RowDecoder(Series, Point, fields, numbers=("l", "s"), added=tuple(fields.own.difference(names)), ours=True)


def rows_of(answered: Answered, span: Span, known: Sequence[Mapping[str, Any]], decoder: RowDecoder[Point]) -> Rows:
    """The rows of an answer; `typed` has their points. Symbols come in any order, and some are left out.

    `known` has the members that each partition's rows get. Raises UnexpectedAnswer.
    """
    owner_of = {partition["symbol"]: index for index, partition in enumerate(span.partitions)}
    parts = []
    for series in answered.decoded(_series) or ():
        page = decoder.decode(_widened(Answered(answered.status, answered.headers, bytes(series))))
        symbol = page.body.symbol
        if symbol not in owner_of:
            raise UnexpectedAnswer(f"`symbol`: a series of {shown(symbol)}, which was not asked for.")
        owner = owner_of[symbol]
        instants, times = unix_instants("t", page.column("t"), "seconds")
        owners = [owner] * len(instants)
        parts.append(added_rows(page, instants, constant=known[owner], each=(b'"time":"', times, b'",'), owners=owners))
    return joined(parts)


def _widened(series: Answered) -> Answered:
    """A series whose points have what is undocumented in it; of the same name, the point's own."""
    around = series.decoded(_members)
    extra = without(around, ("symbol", "history", *Point.__struct_fields__))
    if not extra:
        return series
    points = [{**extra, **point} for point in series.decoded(_points).data or ()]
    return Answered(series.status, series.headers, encode({"symbol": around["symbol"], "history": points}))


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several parts, each with its own owners, as one page's."""
    columns = zip(*(part.added for part in parts), strict=True)
    return Rows(
        _chained(part.raw for part in parts),
        _chained(part.instants for part in parts),
        added=[_chained(map(_each, column, map(len, parts))) for column in columns],
        owners=_chained(part.owners or () for part in parts),
        typed=Later(lambda: _chained(part.typed for part in parts)),
        faults=_chained(part.faults for part in parts),
    )


def _chained(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


def _each(column: Column, count: int) -> Sequence[Any]:
    """A text for each row."""
    return [column] * count if isinstance(column, bytes) else column
