"""Coinalyze, the body of GET /liquidation-history: a series of points for each symbol. A row for each point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import members
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.decoding import NO_GUESS, Fields, ListBody, as_data, good_rows, one_line, without

_POINT = ("t", "l", "s")
_SERIES = ("symbol", "history")


class Point(msgspec.Struct, gc=False):
    """One interval: its start in Unix seconds, and what was liquidated of longs and of shorts."""

    t: int | str
    l: msgspec.Raw = numbers.NULL  # noqa: E741 - the vendor's name
    s: msgspec.Raw = numbers.NULL


class StrictPoint(Point, forbid_unknown_fields=True, gc=False):
    """What is documented and nothing else."""


class Series(msgspec.Struct, forbid_unknown_fields=True):
    symbol: str
    history: list[StrictPoint] | None


class LenientSeries(msgspec.Struct):
    symbol: str
    history: list[Point] | None


class RawSeries(msgspec.Struct):
    history: list[msgspec.Raw] | None


_strict = msgspec.json.Decoder(ListBody[Series])
_lenient = msgspec.json.Decoder(ListBody[LenientSeries])
_raw = msgspec.json.Decoder(ListBody[RawSeries])
_whole = msgspec.json.Decoder(ListBody[dict[str, msgspec.Raw]])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def rows_of(answered: Answered, span: Span, known: Sequence[Mapping[str, Any]], fields: Fields) -> Rows:
    """The rows of an answer; `typed` has their points. Symbols come in any order, and some are left out.

    `known` has the members that each partition's rows get. Raises UnexpectedAnswer.
    """
    body = as_data(answered)
    around: Iterable[Mapping[str, msgspec.Raw] | None]
    try:
        series: Sequence[Series | LenientSeries] = _strict.decode(body.body).data or []
        around = [None] * len(series)
    except (msgspec.DecodeError, UnicodeDecodeError):
        series = body.decoded(_lenient).data or []
        around = [without(one, _SERIES) for one in _whole.decode(body.body).data or []]
    literals = _raw.decode(body.body).data or []
    owner_of = {partition["symbol"]: index for index, partition in enumerate(span.partitions)}
    rows = Rows([], [], added=[[]], owners=[], typed=[])
    bad: dict[int, LiquidationsError] = {}
    spaced = b"\n" in body.body or b"\r" in body.body
    for one, literal, rest in zip(series, literals, around, strict=True):
        if one.symbol not in owner_of:
            raise UnexpectedAnswer(
                f"`symbol`: a series of {shown(one.symbol)}, which was not asked for.", advice=NO_GUESS
            )
        owner = owner_of[one.symbol]
        raw = list(literal.history or ())
        if rest is not None:
            raw = [_widened(point, rest, known[owner], fields) for point in raw]
        _add(rows, one, [one_line(point) for point in raw] if spaced else raw, owner, known[owner], bad)
    if len(span.partitions) == 1:
        rows.owners = None
    return good_rows(rows, bad)


def _add(
    rows: Rows,
    series: Series | LenientSeries,
    raw: list[msgspec.Raw],
    owner: int,
    known: Mapping[str, Any],
    bad: dict[int, LiquidationsError],
) -> None:
    """Add a series' rows, column by column."""
    points: Sequence[Any] = series.history or ()
    times = [_time(point.t) for point in points]
    first = len(rows.instants)
    for name in ("l", "s"):
        values = [getattr(point, name) for point in points]
        wrong: dict[int, LiquidationsError] = {}
        literals = numbers.column(name, values, wrong)
        if literals is not values:
            for index, (point, literal, value) in enumerate(zip(points, literals, values, strict=True)):
                setattr(point, name, literal)
                if literal == numbers.NULL != value:
                    raw[index] = msgspec.Raw(_encode({**_members(raw[index]), name: literal}))
        for index, error in wrong.items():
            bad.setdefault(first + index, error)
    head = members(known)
    rows.raw += raw  # type: ignore[operator]
    rows.instants += [instant for instant, _ in times]
    rows.added[0] += [head + member for _, member in times]  # type: ignore[index, operator]
    rows.owners += [owner] * len(points)  # type: ignore[operator]
    rows.typed += points  # type: ignore[operator]


@lru_cache(maxsize=65536)
def _time(start: int | str) -> tuple[int, bytes]:
    """A point's start as nanoseconds, and as the member `"time":"…",`. Raises UnexpectedAnswer for no Unix seconds."""
    try:
        seconds = int(start)
    except ValueError:
        seconds = -1
    if not timestamps.is_unix_second(seconds):
        raise UnexpectedAnswer(f"`t` is {start!r}, not a Unix time in seconds.", advice=NO_GUESS)
    instant = seconds * timestamps.SECOND
    return instant, b'"time":"%b",' % timestamps.format_instant(instant, 3).encode()


def _widened(
    literal: msgspec.Raw, around: Mapping[str, msgspec.Raw], known: Mapping[str, Any], fields: Fields
) -> msgspec.Raw:
    """A point with what is undocumented in it and in its series; of the same name, the point's own.

    What would take the place of one of the row's own columns is left out.
    """
    point = _members(literal)
    extra = {**around, **without(point, _POINT)}
    own = {"time", *known, *_POINT}
    kept = without(extra, fields.left_out(extra, extra.keys() & own))
    return msgspec.Raw(_encode({**{name: point[name] for name in _POINT if name in point}, **kept}))
