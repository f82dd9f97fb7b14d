"""Decodes bodies into rows: with a strict typed decoder, in C; pages with anything new take a slower, lenient one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Response, vendor_words
from source_liquidations.logs import logger
from source_liquidations.numbers import NULL, Number, column
from source_liquidations.reading.pages import Table, encode, members, members_of, merged
from source_liquidations.reading.rows import Column, LazySequence, Rows
from source_liquidations.streams import Stream

Row = TypeVar("Row")


def without(members: Mapping[str, msgspec.Raw], names: Collection[str]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in members.items() if name not in names}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def column_name(name: str) -> str:
    """The column that destinations make of a field: lower case, `_` for all but letters and digits."""
    return re.sub(r"\W", "_", name.lower())


class Fields:
    """The fields of a stream: those in its schema (`documented`) and new ones, each of which is logged once.

    A new field is dropped if its name is blank or makes the column of another field. Destinations would fail on the
    whole table, or overwrite the other column.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream.name
        self.documented = frozenset(stream.json_schema()["properties"])
        self._columns = {column_name(name): name for name in self.documented}
        self._reported: set[str] = set()  # dropped fields that were logged

    def to_drop(self, names: Set[str], reserved: Set[str] = frozenset()) -> Set[str]:
        """Which fields to drop: those that are `reserved`, and new ones that cannot have their own column."""
        dropped, accepted = {*(names & reserved)}, []
        for name in sorted(names - self.documented - dropped):
            column = column_name(name)
            if name.strip() and column not in self._columns:
                self._columns[column] = name
                accepted.append(name)
            elif self._columns.get(column) != name:
                dropped.add(name)
        if accepted:
            logger.warning("%s: undocumented fields, which arrive as sent: %s", self._stream, ", ".join(accepted))
        if unreported := dropped - self._reported:
            self._reported |= unreported
            logger.warning(
                "%s: dropped undocumented fields whose column names are blank or taken: %s",
                self._stream,
                ", ".join(map(repr, sorted(unreported))),
            )
        return dropped


class ListBody(msgspec.Struct, Generic[Row]):
    """A body that is a bare list. RowDecoder first makes it the `data` of an object."""

    data: list[Row] | None


@dataclass
class Page(Generic[Row]):
    """A decoded body.

    body        its envelope
    raw         rows as the vendor wrote them
    rows        rows decoded, with their numbers as literals
    collides    whether a row has a field that the connector adds itself
    bad         what is wrong with a row, by its index; `added_rows` drops the row
    """

    body: Any
    raw: list[msgspec.Raw]
    rows: Sequence[Row]
    collides: bool = False
    bad: dict[int, LiquidationsError] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """One field of all rows, not a number."""
        return [getattr(row, name) for row in self.body.data]

    def floats(self, name: str) -> list[float | None]:
        """One numeric field of all rows. `body` has literals after lenient decoding, else values."""
        values = self.column(name)
        return numbers.floats(values) if self.rows is self.body.data else values


class RowDecoder(Generic[Row]):
    """Decodes bodies of the generic struct `body`, whose `data` is a list of rows of the struct `row`.

    Each `Number` of `row` is checked. A number in text becomes a number in the struct, and is written as sent.

    fields      fields of the stream; None if rows are not written to a stream, so that any field is allowed
    added       members that the connector adds to each row. If the vendor sends one of them, the vendor's value is kept
    """

    def __init__(self, body: Any, row: type[Row], fields: Fields | None = None, *, added: Sequence[str] = ()) -> None:
        columns = msgspec.structs.fields(row)  # type: ignore[arg-type]
        in_struct = {field.encode_name for field in columns}
        unread = sorted((fields.documented if fields else set()) - in_struct - set(added))
        # Documented fields that are not read here may hold anything. Decoding a number checks it.
        members: list[Any] = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in unread]
        numeric = [field for field in columns if field.type == Number]
        members += [(field.name, float | None, msgspec.field() if field.required else None) for field in numeric]
        self._numbers = [field.name for field in numeric]
        strict = msgspec.defstruct(
            f"Strict{row.__name__}", members, bases=(row,), forbid_unknown_fields=True, kw_only=True
        )
        self._is_list = body is ListBody
        self._strict = msgspec.json.Decoder(body[strict if fields else row])
        self._lenient = msgspec.json.Decoder(body[row])
        encode_names = {field.name: field.encode_name for field in msgspec.structs.fields(body[row])}
        # `Response.rows` already has the rows of `data`. Under another name they are decoded here.
        self._raw = None if encode_names["data"] == "data" else msgspec.json.Decoder(body[msgspec.Raw])
        self._added = frozenset(added) - in_struct
        self._fields = fields

    def decode(self, response: Response) -> Page[Row]:
        """The page, its numbers checked. Raises UnexpectedAnswer for a body of another shape."""
        if self._is_list:
            response = replace(response, body=b'{"data":%b}' % response.body)
        try:
            body, is_strict = self._strict.decode(response.body), True
        except (msgspec.DecodeError, UnicodeDecodeError):
            body, is_strict = response.decoded(self._lenient), False
        if body.data is msgspec.UNSET:
            raise UnexpectedAnswer(f"the answer has no `data`: {vendor_words(response.body)}.")
        raw = response.rows if self._raw is None else self._raw.decode(response.body).data
        if raw is None:  # null for an empty list
            raw = body.data = []
        if is_strict and self._numbers:  # only unified streams need literals, and they may not be selected
            return Page(body, raw, LazySequence(lambda: self._lenient.decode(response.body).data or []))
        page: Page[Row] = Page(body, raw, body.data)
        if not is_strict and self._fields is not None:
            for field in self._numbers:
                self._check(page, field)
            self._drop_fields(page, self._fields)
        return page

    def _check(self, page: Page[Row], field: str) -> None:
        """Check a column of numbers: a number in text counts as a number, and empty text as null."""
        values = page.column(field)
        literals = column(field, values, page.bad)
        if literals is values:
            return
        for index, (row, literal, value) in enumerate(zip(page.rows, literals, values, strict=True)):
            setattr(row, field, literal)
            if literal == NULL != value:
                page.raw[index] = msgspec.Raw(encode({**members_of(page.raw[index]), field: literal}))

    def _drop_fields(self, page: Page[Row], fields: Fields) -> None:
        names = {name for row in page.raw for name in members_of(row)}
        if dropped := fields.to_drop(names):
            page.raw[:] = [msgspec.Raw(encode(without(members_of(row), dropped))) for row in page.raw]
        page.collides = bool(names & self._added)


def added_rows(
    page: Page[Any],
    instants: list[int],
    *,
    constant: Mapping[str, str],
    each: Sequence[Column] = (),
    times: Sequence[bytes] = (),
    ids: Sequence[str] = (),
    owners: list[int] | None = None,
    matched_by: Sequence[Sequence[int] | None] | None = None,
) -> Rows:
    """A page's rows with members added: `constant` to all of them, `each` to each. Bad rows become faults.

    The columns of `each` are JSON text. Joined row by row, they make members, each with a comma behind it.
    """
    columns = (members(constant), *each)
    rows = Rows(page.raw, instants, columns, owners, page.rows, times, ids, matched_by=matched_by)
    if page.collides:
        added = Table(len(page.raw), columns).lines(b"", b"\n").splitlines()
        pairs = zip(page.raw, added, strict=True)
        rows.raw, rows.added = [merged(row, members_of(b"{%b}" % ours[:-1])) for row, ours in pairs], ()
    return rows.without(page.bad)
