"""Bodies into rows: typed and strict in C first; a page that brings something new takes the slower, lenient way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Answered, vendor_words
from source_liquidations.logs import logger
from source_liquidations.numbers import NULL, column
from source_liquidations.reading.pages import Table, encode, members, members_of, merged
from source_liquidations.reading.rows import Column, Later, Rows
from source_liquidations.streams import Stream

Row = TypeVar("Row")

_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def one_line(valid: bytes | msgspec.Raw) -> msgspec.Raw:
    """JSON without line breaks, which stand between tokens only: a record is one line."""
    return msgspec.Raw(bytes(valid).translate(_NO_LINE_BREAKS))


def without(members: Mapping[str, msgspec.Raw], names: Collection[str]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in members.items() if name not in names}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def column_name(name: str) -> str:
    """What destinations make of a name: lower case, `_` for all but letters and digits."""
    return re.sub(r"\W", "_", name.lower())


class Fields:
    """A stream's columns, documented (`own`: its schema has them) and not; what is new is logged once.

    An undocumented field whose column has the name of another one, or none, is left out: it would break the whole
    table, or overwrite the other column.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream.name
        self.own = frozenset(stream.json_schema()["properties"])
        self._columns = {column_name(name): name for name in self.own}
        self._left_out: set[str] = set()

    def left_out(self, names: Iterable[str], taken: Iterable[str] = ()) -> set[str]:
        """Those of a row's fields that have to be left out: `taken` for sure, and of `names` what is no new column."""
        new = set(names) - self.own - set(taken)
        columns = {name: column_name(name) for name in sorted(new)}
        arriving = [name for name, column in columns.items() if name.strip() and column not in self._columns]
        self._columns |= {columns[name]: name for name in reversed(arriving)}
        if arriving := [name for name in arriving if self._columns[columns[name]] == name]:
            logger.warning("%s: undocumented fields, which arrive as sent: %s", self._stream, ", ".join(arriving))
        found = {name for name, column in columns.items() if self._columns.get(column) != name} | set(taken)
        if unknown := found - self._left_out:
            self._left_out |= unknown
            logger.warning(
                "%s: undocumented fields that a table cannot hold beside its other columns, left out: %s",
                self._stream,
                ", ".join(map(repr, sorted(unknown))),
            )
        return found


class ListBody(msgspec.Struct, Generic[Row]):
    """A body that is a list: a RowDecoder makes it the `data` of an object, where rows are looked for."""

    data: list[Row] | None


@dataclass
class Page(Generic[Row]):
    """A decoded body.

    body        its envelope
    raw         the rows as written
    rows        the rows decoded, their numbers as literals
    collides    whether a row has a field that the connector adds itself
    bad         by index, what is wrong with a row; `added_rows` leaves it out
    """

    body: Any
    raw: list[msgspec.Raw]
    rows: Sequence[Row]
    collides: bool = False
    bad: dict[int, LiquidationsError] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """A field of all rows, that is no number."""
        return [getattr(row, name) for row in self.body.data]

    def floats(self, name: str) -> list[float | None]:
        """A field that is one: `body` has literals where it was decoded leniently, else values."""
        values = self.column(name)
        return numbers.floats(values) if self.rows is self.body.data else values


class RowDecoder(Generic[Row]):
    """Decodes bodies of the generic struct `body` (its `data` a list of rows) with rows of the struct `row`.

    fields    the columns of the stream that the rows become; None where they become none, and anything may be in them
    numbers   fields of the struct that hold numbers, and are Raw: so their literals stay. Each is checked; text that is
              a number is one in the struct, and arrives as it is
    added     members that the connector adds to each row; should the vendor send one of these itself, it stays
    ours      ... unless this is set: then it is left out
    """

    def __init__(
        self,
        body: Any,
        row: type[Row],
        fields: Fields | None = None,
        *,
        numbers: Sequence[str] = (),
        added: Sequence[str] = (),
        ours: bool = False,
    ) -> None:
        known = {field.encode_name for field in msgspec.structs.fields(row)}  # type: ignore[arg-type]
        others = sorted((fields.own if fields else set()) - known - set(added))
        # What is documented and not read here may be anything. Numbers are checked by decoding them.
        quick: list[Any] = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in others]
        quick += [(name, float | None, None) for name in numbers]
        strict = msgspec.defstruct(
            f"Strict{row.__name__}", quick, bases=(row,), forbid_unknown_fields=True, kw_only=True
        )
        self._is_list = body is ListBody
        self._strict = msgspec.json.Decoder(body[strict if fields else row])
        self._lenient = msgspec.json.Decoder(body[row])
        named = {field.name: field.encode_name for field in msgspec.structs.fields(body[row])}
        # An answer knows the rows of its `data` already.
        self._raw = None if named["data"] == "data" else msgspec.json.Decoder(body[msgspec.Raw])
        self._numbers = tuple(numbers)
        self._added = frozenset(added) - known
        self._ours = self._added if ours else frozenset()
        self._fields = fields

    def decode(self, answered: Answered) -> Page[Row]:
        """The page, its numbers checked. Raises UnexpectedAnswer for another shape."""
        if self._is_list:
            answered = replace(answered, body=b'{"data":%b}' % answered.body)
        try:
            body, new = self._strict.decode(answered.body), False
        except (msgspec.DecodeError, UnicodeDecodeError):
            body, new = answered.decoded(self._lenient), True
        if body.data is msgspec.UNSET:
            raise UnexpectedAnswer(f"the answer has no `data`: {vendor_words(answered.body)}.")
        raw = answered.rows if self._raw is None else self._raw.decode(answered.body).data
        if raw is None:  # null for an empty list
            raw = body.data = []
        if b"\n" in answered.body or b"\r" in answered.body:
            raw = [one_line(row) for row in raw]
        if new or not self._numbers:
            page: Page[Row] = Page(body, raw, body.data)
        else:  # literals are for the unified streams, which may not be selected
            page = Page(body, raw, Later(lambda: self._lenient.decode(answered.body).data or []))
        if new and self._fields is not None:
            for field in self._numbers:
                self._check(page, field)
            self._note_fields(page, self._fields)
        return page

    def _check(self, page: Page[Row], field: str) -> None:
        """Check a column of numbers: a number as text counts as a number, and empty text as null."""
        values = page.column(field)
        literals = column(field, values, page.bad)
        if literals is values:
            return
        for index, (row, literal, value) in enumerate(zip(page.rows, literals, values, strict=True)):
            setattr(row, field, literal)
            if literal == NULL != value:
                page.raw[index] = msgspec.Raw(encode({**members_of(page.raw[index]), field: literal}))

    def _note_fields(self, page: Page[Row], fields: Fields) -> None:
        names = {name for row in page.raw for name in members_of(row)}
        if surplus := fields.left_out(names, names & self._ours):
            page.raw[:] = [msgspec.Raw(encode(without(members_of(row), surplus))) for row in page.raw]
        page.collides = bool(names & (self._added - self._ours))


def added_rows(
    page: Page[Any],
    instants: list[int],
    *,
    constant: Mapping[str, str],
    each: Sequence[Column] = (),
    times: Sequence[bytes] = (),
    ids: Sequence[str] = (),
    owners: list[int] | None = None,
    wanted: Sequence[Sequence[int] | None] | None = None,
) -> Rows:
    """Rows with members added: `constant` to all of them, `each` to each. Bad rows are faults, and not among them.

    The columns of `each` are JSON text which, row by row, makes members with a comma behind them.
    """
    columns = (members(constant), *each)
    rows = Rows(page.raw, instants, columns, owners, page.rows, times, ids, wanted=wanted)
    if page.collides:
        ours = Table(len(page.raw), columns).lines(b"", b"\n").splitlines()
        pairs = zip(page.raw, ours, strict=True)
        rows.raw, rows.added = [merged(row, members_of(b"{%b}" % mine[:-1])) for row, mine in pairs], ()
    return rows.without(page.bad)
