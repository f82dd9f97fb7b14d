"""Coinalyze, the body of GET /liquidation-history: a series of points for each symbol. A row for each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import encode, members, members_of
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows, without
from source_liquidations.vendors.instants import unix_instants


class Point(msgspec.Struct, gc=False):
    """One interval: its start in Unix seconds, and what was liquidated of longs and of shorts."""

    t: msgspec.Raw
    l: msgspec.Raw = numbers.NULL  # noqa: E741 - the vendor's name
    s: msgspec.Raw = numbers.NULL


class Series(msgspec.Struct):
    symbol: str
    history: list[msgspec.Raw] | None


_body = msgspec.json.Decoder(list[msgspec.Raw] | None)
_series = msgspec.json.Decoder(Series)


def decoder_of(fields: Fields) -> RowDecoder[Point]:
    names = Point.__struct_fields__
    return RowDecoder(ListBody, Point, fields, numbers=("l", "s"), added=tuple(fields.own.difference(names)), ours=True)


def rows_of(answered: Answered, span: Span, known: Sequence[Mapping[str, Any]], decoder: RowDecoder[Point]) -> Rows:
    """The rows of an answer; `typed` has their points. Symbols come in any order, and some are left out.

    `known` has the members that each partition's rows get. Raises UnexpectedAnswer.
    """
    owner_of = {partition["symbol"]: index for index, partition in enumerate(span.partitions)}
    points: list[msgspec.Raw | bytes] = []
    owners: list[int] = []
    for literal in answered.decoded(_body) or ():
        series = Answered(200, {}, bytes(literal)).decoded(_series)
        if series.symbol not in owner_of:
            raise UnexpectedAnswer(f"`symbol`: a series of {shown(series.symbol)}, which was not asked for.")
        around = without(members_of(literal), (*Series.__struct_fields__, *Point.__struct_fields__))
        held = series.history or []
        # What is undocumented in a series is in its points; of the same name, the point's own.
        points += [encode({**around, **members_of(point)}) for point in held] if around else held
        owners += [owner_of[series.symbol]] * len(held)
    page = decoder.decode(Answered(200, {}, b"[%b]" % b",".join(points)))
    instants, times = unix_instants("t", page.column("t"), "seconds")
    ours = [members(values) for values in known]
    each = (b'"time":"', times, b'",', [ours[owner] for owner in owners])
    return added_rows(page, instants, constant={}, each=each, owners=owners)
