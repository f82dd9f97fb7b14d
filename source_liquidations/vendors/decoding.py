"""Bodies into rows: typed and strict in C first; a page that brings something new takes the slower, lenient way."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered, vendor_words
from source_liquidations.numbers import NULL, column
from source_liquidations.reading.endpoint import Rows
from source_liquidations.reading.pages import members, merged
from source_liquidations.streams import Stream

logger = logging.getLogger("airbyte")

Row = TypeVar("Row")

NO_GUESS = "No row was guessed from it."
_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def one_line(valid: bytes | msgspec.Raw) -> msgspec.Raw:
    """JSON without line breaks, which stand between tokens only: a record is one line."""
    return msgspec.Raw(bytes(valid).translate(_NO_LINE_BREAKS))


def without(members: Mapping[str, msgspec.Raw], names: Collection[str]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in members.items() if name not in names}


def snake(name: str) -> str:
    """camelCase in snake_case."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Fields:
    """A stream's columns, documented (`own`) and not; what is new is logged once.

    Destinations compare names without regard to case. So an undocumented field that differs from another column only
    in case, or has no name, is left out: it would break the whole table.
    """

    def __init__(self, stream: str, own: Iterable[str]) -> None:
        self._stream = stream
        self.own = frozenset(own)
        self._columns = {name.lower(): name for name in self.own}
        self._left_out: set[str] = set()

    @classmethod
    def of(cls, stream: Stream) -> Fields:
        """Documented is what the stream's schema has."""
        return cls(stream.name, stream.json_schema()["properties"])

    def left_out(self, names: Iterable[str], taken: Iterable[str] = ()) -> set[str]:
        """Those of a row's fields that have to be left out: `taken` for sure, and of `names` what is no new column."""
        new = set(names) - self.own - set(taken)
        arriving = [name for name in sorted(new) if name.strip() and name.lower() not in self._columns]
        self._columns |= {name.lower(): name for name in reversed(arriving)}
        if arriving := [name for name in arriving if self._columns[name.lower()] == name]:
            logger.warning("%s: undocumented fields, which arrive as sent: %s", self._stream, ", ".join(arriving))
        found = {name for name in new if self._columns.get(name.lower()) != name} | set(taken)
        if unknown := found - self._left_out:
            self._left_out |= unknown
            logger.warning(
                "%s: undocumented fields that a table cannot hold beside its other columns, left out: %s",
                self._stream,
                ", ".join(map(repr, sorted(unknown))),
            )
        return found


class ListBody(msgspec.Struct, Generic[Row]):
    """A body that is a list, as `as_data` wraps it."""

    data: list[Row] | None


def as_data(answered: Answered) -> Answered:
    """The answer with its list as `data`, which is where decoders look for rows."""
    return Answered(answered.status, answered.headers, b'{"data":%b}' % answered.body)


class Page(msgspec.Struct, Generic[Row]):
    """A decoded body.

    body        its envelope; `data` are typed rows
    raw         the rows as written
    collides    whether a row has a field that the connector adds itself
    bad         by index, what is wrong with a row; it is still among the others
    """

    body: Any
    raw: list[msgspec.Raw]
    collides: bool
    bad: dict[int, LiquidationsError]

    @property
    def rows(self) -> list[Row]:
        found: list[Row] = self.body.data
        return found

    def must_be_good(self) -> None:
        """Raise what is wrong with the first bad row."""
        for error in self.bad.values():
            raise error


class RowDecoder(Generic[Row]):
    """Decodes bodies of the generic struct `body` (its `data` a list of rows) with rows of the struct `row`.

    fields    the columns of the stream that the rows become; None where they become none, and anything may be in them
    numbers   fields of the struct that hold numbers, and are Raw: so their literals stay. Each is checked; text that is
              a number is one in the struct, and arrives as it is
    added     members that the connector adds to each row; should the vendor send one of these itself, it stays
    """

    def __init__(
        self,
        body: Any,
        row: type[Row],
        fields: Fields | None = None,
        *,
        numbers: Sequence[str] = (),
        added: Sequence[str] = (),
    ) -> None:
        known = {field.encode_name for field in msgspec.structs.fields(row)}  # type: ignore[arg-type]
        others = sorted((fields.own if fields else set()) - known - set(added))
        # What is documented and not read here may be anything.
        unread: list[Any] = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in others]
        strict = msgspec.defstruct(
            f"Strict{row.__name__}", unread, bases=(row,), forbid_unknown_fields=True, kw_only=True
        )
        self._strict = msgspec.json.Decoder(body[strict if fields else row])
        self._lenient = msgspec.json.Decoder(body[row])
        self._raw = msgspec.json.Decoder(body[msgspec.Raw])
        self._numbers = numbers
        self._added = frozenset(added) - known
        self._fields = fields or Fields("", ())

    def decode(self, answered: Answered) -> Page[Row]:
        """The page, its numbers checked. Raises UnexpectedAnswer for another shape."""
        try:
            typed, new = self._strict.decode(answered.body), False
        except (msgspec.DecodeError, UnicodeDecodeError):
            typed, new = answered.decoded(self._lenient), True
        raw = self._raw.decode(answered.body).data
        if raw is msgspec.UNSET:
            raise UnexpectedAnswer(f"the answer has no `data`: {vendor_words(answered.body)}.", advice=NO_GUESS)
        if raw is None:  # null for an empty list
            raw = typed.data = []
        if b"\n" in answered.body or b"\r" in answered.body:
            raw = [one_line(row) for row in raw]
        page: Page[Row] = Page(typed, raw, False, {})
        for field in self._numbers:
            self._check(page, field)
        if new:
            self._note_fields(page)
        return page

    def _check(self, page: Page[Row], field: str) -> None:
        """Check a column of numbers: a number as text counts as a number, and empty text as null."""
        values = [getattr(row, field) for row in page.rows]
        literals = column(field, values, page.bad)
        if literals is values:
            return
        for index, (row, literal, value) in enumerate(zip(page.rows, literals, values, strict=True)):
            setattr(row, field, literal)
            if literal == NULL != value:
                page.raw[index] = msgspec.Raw(_encode({**_decode_members(page.raw[index]), field: literal}))

    def _note_fields(self, page: Page[Row]) -> None:
        names = {name for row in page.raw for name in _decode_members(row)}
        if surplus := self._fields.left_out(names):
            page.raw[:] = [msgspec.Raw(_encode(without(_decode_members(row), surplus))) for row in page.raw]
        page.collides = bool(names & self._added)


def added_rows(
    page: Page[Any],
    instants: list[int],
    *,
    constant: Mapping[str, str],
    each: list[dict[str, str]] | list[bytes] | None = None,
) -> Rows:
    """Rows with members added: `constant` to all of them, `each` to each (as bytes: ready to splice)."""
    if not page.collides:
        ready = not each or isinstance(each[0], bytes)
        fragments: Any = each if ready else [members(values) for values in each or () if not isinstance(values, bytes)]
        return Rows(page.raw, instants, constant=members(constant), added=fragments, typed=page.rows)
    own = [_spliced(e) if isinstance(e, bytes) else e for e in each or [{}] * len(page.raw)]
    whole = [merged(row, {**constant, **mine}) for row, mine in zip(page.raw, own)]  # noqa: B905 - equal lengths
    return Rows(whole, instants, typed=page.rows)


def _spliced(fragment: bytes) -> dict[str, Any]:
    return dict(_decode_members(b"{" + fragment[:-1] + b"}"))


def good_rows(rows: Rows, bad: Mapping[int, LiquidationsError]) -> Rows:
    """Without the bad ones, which are its faults: the others arrive, and nothing from the first bad one on counts."""
    if not bad:
        return rows
    found = rows.only([index for index in range(len(rows)) if index not in bad])
    found.faults = rows.faults_of(bad)
    return found


class Once:
    """Rows of one key: exact repeats once, differing ones never. By key, the rows of this page and the last one."""

    def __init__(self, stream: str) -> None:
        self._stream = stream

    def intervals(self, rows: Rows, keys: Sequence[Any], memory: dict[Any, Any]) -> Rows:
        """Rows of an aggregate, each interval once. Raises UnexpectedAnswer where one comes with two values."""
        before: dict[Any, bytes] = memory.get("last page", {})
        here: dict[Any, bytes] = {}
        keep = []
        for index, key in enumerate(keys):
            row = bytes(rows.raw[index])
            other = here.get(key, before.get(key))
            if other is None:
                keep.append(index)
            elif other != row:
                raise UnexpectedAnswer(
                    f"one interval comes twice with different values: {shown(str(key))}.", advice=NO_GUESS
                )
            here[key] = row
        memory["last page"] = here
        return rows if len(keep) == len(keys) else rows.only(keep)


class EventIds:
    """Says once, with the key, that two events have one id: a destination that deduplicates keeps one of them."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._warned = False

    def check(self, ids: Sequence[Any], raw: Sequence[Any], memory: dict[Any, Any]) -> None:
        """`ids` are the rows' keys; rows that are repeated exactly are no such events."""
        before: dict[Any, Any] = memory.get("last page", {})
        here = dict(zip(ids, raw, strict=True))
        memory["last page"] = here
        if self._warned or (len(here) == len(ids) and here.keys().isdisjoint(before)):
            return
        seen = dict(before)
        for key, row in zip(ids, raw, strict=True):
            if seen.setdefault(key, row) != row:
                self._warned = True
                logger.warning(
                    "%s: two different rows have the same key, %s: a destination that deduplicates keeps the later one",
                    self._stream,
                    key,
                )
                return


def unix_instants(name: str, values: list[int]) -> tuple[list[int], list[bytes]]:
    """Unix timestamps in ms, µs or ns as (nanoseconds, RFC 3339 texts with all their digits).

    Raises UnexpectedAnswer, naming the field, where one is of no known unit.
    """
    if not values:
        return [], []
    try:
        low, high = timestamps.unix_unit(min(values)), timestamps.unix_unit(max(values))
        if low != high:
            units = [timestamps.unix_unit(value) for value in values]
            instants = [value * unit[0] for value, unit in zip(values, units, strict=True)]
            pairs = zip(instants, units, strict=True)
            return instants, [timestamps.format_instant(instant, unit[1]).encode() for instant, unit in pairs]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice=NO_GUESS) from None
    per_unit, digits = low
    scaled = [value * per_unit for value in values]
    if digits != 3:
        return scaled, [timestamps.format_instant(instant, digits).encode() for instant in scaled]
    return scaled, [
        _hour(value // 3_600_000) + _MINUTES_SECONDS[value // 1000 % 3600] + _MILLISECONDS[value % 1000]
        for value in values
    ]


# A row's time is put together from these; formatting each by itself would cost more than decoding the row.
_MINUTES_SECONDS = [b"%02d:%02d." % divmod(second, 60) for second in range(3600)]
_MILLISECONDS = [b"%03dZ" % millisecond for millisecond in range(1000)]


@lru_cache(maxsize=8192)
def _hour(hours: int) -> bytes:
    return timestamps.format_instant(hours * timestamps.HOUR, 0)[:14].encode()


def time_members(times: Sequence[bytes], instants: Sequence[int]) -> list[bytes]:
    """`"time":"…","time_ns":…,` for each row: exact also where a destination cuts times to microseconds."""
    return [b'"time":"%b","time_ns":%d,' % pair for pair in zip(times, instants, strict=True)]


def iso_instants(name: str, texts: Sequence[str]) -> list[int]:
    """ISO 8601 texts as nanoseconds. Raises UnexpectedAnswer, naming the field, for any other text."""
    try:
        return [timestamps.parse(text) for text in texts]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice=NO_GUESS) from None


def utc_times(texts: Sequence[str], instants: Sequence[int]) -> list[bytes]:
    """Each time in UTC with a `Z`, with the digits that the vendor gave, but at least three."""
    return [
        text.encode()
        if len(text) > _SHORTEST_TIME and text[-1] == "Z" and text[10] == "T"
        else timestamps.format_instant(instant, fraction_digits(text)).encode()
        for text, instant in zip(texts, instants, strict=True)
    ]


_SHORTEST_TIME = len("2024-01-01T00:00:00.00Z")


def fraction_digits(text: str) -> int:
    """Fraction digits of a time, at least three."""
    fraction = text.partition(".")[2]
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    return max(3, digits)
