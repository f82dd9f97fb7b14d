"""Where the rows and times stand in bodies that are arrays: of Gate, Coinalyze and Bitfinex. None of them has pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.http import Request
from sandbox.shapes import Row, Shape


@dataclass(frozen=True)
class ListShape(Shape):
    """An array of rows. Times are numbers, or their text: `per_second` of them are a second."""

    per_second: int = 1

    def fits(self, body: Any) -> bool:
        """An array of arrays or objects; not an error such as `["error", code, text]`."""
        return isinstance(body, list) and all(isinstance(item, list | dict) for item in body)

    def mark(self, body: Any) -> None:
        """Nothing holds the rows but the array."""

    def pad(self, body: Any, text: str) -> None:
        """Make the first row large."""
        for row in self.rows(body)[:1]:
            self.widen(row, {"padding": text})

    def lists(self, body: Any) -> list[list[Any]]:
        """The array itself."""
        return [body]

    def empty(self, body: Any) -> None:
        """Take all rows away."""
        body.clear()

    def token(self, body: Any) -> Any:
        """There is none."""
        return None

    def set_token(self, body: Any, token: str | None, request: Request, origin: str | None = None) -> None:
        """There is no place for one."""

    def value(self, row: Any, name: str) -> Any:
        """A field of a row."""
        return row.get(name)

    def shift(self, row: Any, seconds: float) -> None:
        """Move a row in time; a number stays a number of its kind, a text a text."""
        for name in self.time_fields:
            old = self.value(row, name)
            if old is not None:
                moved = Decimal(str(old)) + Decimal(str(seconds)) * self.per_second
                self.put(row, name, str(moved) if isinstance(old, str) else type(old)(moved))

    def strange_time(self, row: Any, value: Any) -> None:
        """Give a row a time in another unit: seconds instead of milliseconds, and the other way round."""
        for name in self.time_fields:
            old = self.value(row, name)
            if value is not None:
                self.put(row, name, value)
            elif old is not None:
                other = Decimal(str(old)) * 1000 if self.per_second == 1 else Decimal(str(old)) // self.per_second
                self.put(row, name, str(other) if isinstance(old, str) else int(other))


@dataclass(frozen=True)
class SeriesShape(ListShape):
    """An array of series, each an object with its points in an array."""

    points: str = "history"

    def mark(self, body: Any) -> None:
        """Put an unknown field into every series."""
        for series in body:
            series["new_in_envelope"] = True

    def lists(self, body: Any) -> list[list[Any]]:
        """Each series' points."""
        return [series[self.points] for series in body]


@dataclass(frozen=True)
class PositionalShape(ListShape):
    """An array of rows that are arrays themselves, in whatever nesting. `fields` says what stands where."""

    fields: Sequence[str] = ()
    first: str = ""  # what every row begins with

    def lists(self, body: Any) -> list[list[Any]]:
        """The innermost array that holds more than a row: what can be put out of order."""
        only = body[0] if len(body) == 1 else None
        return [only if only and isinstance(only[0], list) else body]

    def rows(self, body: Any) -> list[Any]:
        """All rows, whatever holds them."""
        if body and body[0] == self.first:
            return [body]
        return [row for item in body for row in self.rows(item)]

    def value(self, row: Any, name: str) -> Any:
        """The element of a name; None if the row is too short."""
        at = self.fields.index(name)
        return row[at] if at < len(row) else None

    def put(self, row: Any, name: str, value: Any) -> None:
        """Set the element of a name; an unknown name, or a row that is too short, gets a further one."""
        at = self.fields.index(name) if name in self.fields else len(row)
        row[at : at + 1] = [value]

    def remove(self, row: Any, name: str) -> None:
        """Make an element null; the last one goes."""
        at = self.fields.index(name)
        row[at : at + 1] = [None] if at + 1 < len(row) else []

    def widen(self, row: Any, fields: Row) -> None:
        """Append the values: names have no place."""
        row.extend(fields.values())
