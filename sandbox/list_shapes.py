"""Rows and times in bodies that are arrays: of Gate, Coinalyze and Bitfinex. None of these has page tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.http import Request
from sandbox.shapes import Row, Shape


@dataclass(frozen=True)
class ListShape(Shape):
    """An array of rows. Times are numbers, or numbers as text; a second has `per_second` of their units."""

    per_second: int = 1

    def fits(self, body: Any) -> bool:
        """Whether the body is an array of arrays or objects, not an error such as `["error", code, text]`."""
        return isinstance(body, list) and all(isinstance(item, list | dict) for item in body)

    def mark(self, body: Any) -> None:
        """Do nothing: an array has no place for an unknown field."""

    def pad(self, body: Any, text: str) -> None:
        """Make the first row large."""
        for row in self.rows(body)[:1]:
            self.widen(row, {"padding": text})

    def lists(self, body: Any) -> list[list[Any]]:
        """The array itself."""
        return [body]

    def empty(self, body: Any) -> None:
        """Remove all rows."""
        body.clear()

    def token(self, body: Any) -> Any:
        """None: these bodies have no page token."""
        return None

    def set_token(self, body: Any, token: str | None, request: Request, origin: str | None = None) -> None:
        """Do nothing: these bodies have no page token."""

    def value(self, row: Any, name: str) -> Any:
        """A field of a row."""
        return row.get(name)

    def shift(self, row: Any, seconds: float) -> None:
        """Move a row in time; the type of its time stays the same."""
        for name in self.time_fields:
            old = self.value(row, name)
            if old is not None:
                moved = Decimal(str(old)) + Decimal(str(seconds)) * self.per_second
                self.put(row, name, str(moved) if isinstance(old, str) else type(old)(moved))

    def strange_time(self, row: Any, value: Any) -> None:
        """Set a row's time to `value`, or write it in milliseconds instead of seconds or the reverse."""
        for name in self.time_fields:
            old = self.value(row, name)
            if value is not None:
                self.put(row, name, value)
            elif old is not None:
                new = Decimal(str(old)) * 1000 if self.per_second == 1 else Decimal(str(old)) // self.per_second
                self.put(row, name, str(new) if isinstance(old, str) else int(new))


@dataclass(frozen=True)
class SeriesShape(ListShape):
    """An array of series; a series is an object with an array of points."""

    points: str = "history"

    def mark(self, body: Any) -> None:
        """Add an unknown field to every series."""
        for series in body:
            series["new_in_envelope"] = True

    def lists(self, body: Any) -> list[list[Any]]:
        """Each series' points."""
        return [series[self.points] for series in body]


@dataclass(frozen=True)
class PositionalShape(ListShape):
    """Rows that are arrays, at any nesting. `fields` names the elements of a row."""

    fields: Sequence[str] = ()
    first: str = ""  # the first element of every row

    def lists(self, body: Any) -> list[list[Any]]:
        """The innermost array that contains rows, so that they can be shuffled."""
        only = body[0] if len(body) == 1 else None
        return [only if only and isinstance(only[0], list) else body]

    def rows(self, body: Any) -> list[Any]:
        """All rows, at any nesting."""
        if body and body[0] == self.first:
            return [body]
        return [row for item in body for row in self.rows(item)]

    def value(self, row: Any, name: str) -> Any:
        """The named element; None if the row is too short."""
        at = self.fields.index(name)
        return row[at] if at < len(row) else None

    def put(self, row: Any, name: str, value: Any) -> None:
        """Set the named element; append one for an unknown name or a row that is too short."""
        at = self.fields.index(name) if name in self.fields else len(row)
        row[at : at + 1] = [value]

    def remove(self, row: Any, name: str) -> None:
        """Set an element to null, or remove it if it is the last one."""
        at = self.fields.index(name)
        row[at : at + 1] = [None] if at + 1 < len(row) else []

    def widen(self, row: Any, fields: Row) -> None:
        """Append the values; an array has no place for the names."""
        row.extend(fields.values())
