"""Bodies into rows: typed and strict in C first; a page that brings something new takes the slower, lenient way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.answers import Answered, vendor_words
from source_liquidations.reading.endpoint import Rows
from source_liquidations.reading.pages import members, merged

logger = logging.getLogger("airbyte")

Row = TypeVar("Row")
Body = TypeVar("Body", bound=msgspec.Struct)

# What a documented number may be: some endpoints send it as a string, and any may be null.
Number = float | str | None

_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def one_line(valid: bytes | msgspec.Raw) -> msgspec.Raw:
    """JSON without line breaks, which stand between tokens only: a record is one line."""
    return msgspec.Raw(bytes(valid).translate(_NO_LINE_BREAKS))


class Fields:
    """A stream's columns, documented (`own`) and not; what is new is logged once.

    Destinations compare names without regard to case. So an undocumented field that differs from another column only
    in case, or has no name, is left out: it would break the whole table.
    """

    def __init__(self, stream: str, own: Iterable[str]) -> None:
        self._stream = stream
        self._own = frozenset(own)
        self._columns = {name.lower(): name for name in self._own}
        self._left_out: set[str] = set()

    def left_out(self, names: Iterable[str], taken: Iterable[str] = ()) -> set[str]:
        """Those of a row's fields that have to be left out: `taken` for sure, and of `names` what is no new column."""
        new = set(names) - self._own - set(taken)
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


def without(members: Mapping[str, msgspec.Raw], names: Collection[str]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in members.items() if name not in names}


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def snake(name: str) -> str:
    """camelCase in snake_case."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class RowDecoder(Generic[Row]):
    """Decodes bodies of the generic struct `body` (its `data` a list of rows) with rows of the struct `row`.

    `added` names the members that the connector adds to each row: should the vendor begin to send one of these
    itself, the vendor's stays. `fields` is given where several bodies make one row.
    """

    def __init__(
        self,
        name: str,
        body: Any,
        row: type[Row],
        *,
        added: Sequence[str] = (),
        fields: Fields | None = None,
    ) -> None:
        strict = msgspec.defstruct(f"Strict{row.__name__}", [], bases=(row,), forbid_unknown_fields=True)
        self._strict = msgspec.json.Decoder(body[strict])
        self._lenient = msgspec.json.Decoder(body[row])
        self._raw = msgspec.json.Decoder(body[msgspec.Raw])
        self._known = {field.encode_name for field in msgspec.structs.fields(row)}  # type: ignore[arg-type]
        self._added = frozenset(added)
        self._fields = fields or Fields(name, self._known | self._added)

    def decode(self, answered: Answered) -> tuple[Any, list[msgspec.Raw], bool]:
        """The typed body, its rows as written, and whether a row has a field that the connector adds itself."""
        try:
            typed, new = self._strict.decode(answered.body), False
        except (msgspec.DecodeError, UnicodeDecodeError):
            typed, new = answered.decoded(self._lenient), True
        raw = self._raw.decode(answered.body).data
        if raw is msgspec.UNSET:
            words = vendor_words(answered.body)
            raise UnexpectedAnswer(f"the answer has no `data`: {words}.", advice="No row was guessed from it.")
        if b"\n" in answered.body or b"\r" in answered.body:
            raw = [one_line(row) for row in raw]
        if not new:
            return typed, raw, False
        names = {name for row in raw for name in _decode_members(row)}
        if surplus := self._fields.left_out(names):
            raw = [msgspec.Raw(_encode(without(_decode_members(row), surplus))) for row in raw]
        return typed, raw, bool(names & self._added - self._known)


def added_rows(
    raw: list[msgspec.Raw],
    instants: list[int],
    *,
    constant: dict[str, str],
    each: list[dict[str, str]] | list[bytes] | None = None,
    typed: Sequence[Any] = (),
    collides: bool = False,
) -> Rows:
    """Rows with members added: `constant` to all of them, `each` to each (as bytes: ready to splice)."""
    if not collides:
        ready = not each or isinstance(each[0], bytes)
        fragments: Any = each if ready else [members(values) for values in each or () if not isinstance(values, bytes)]
        return Rows(raw, instants, constant=members(constant), added=fragments, typed=typed)
    decode: Callable[[bytes], dict[str, str]] = msgspec.json.Decoder(dict[str, str]).decode
    own = [decode(b"{" + e[:-1] + b"}") if isinstance(e, bytes) else e for e in each or [{}] * len(raw)]
    whole = [merged(row, {**constant, **mine}) for row, mine in zip(raw, own)]  # noqa: B905 - equal lengths
    return Rows(whole, instants, typed=typed)


def unix_instants(name: str, values: list[int]) -> tuple[list[int], list[bytes]]:
    """Unix timestamps in ms, µs or ns as (nanoseconds, RFC 3339 texts with all their digits).

    Raises UnexpectedAnswer, naming the field, where one is of no known unit.
    """
    try:
        low, high = timestamps.unix_unit(min(values)), timestamps.unix_unit(max(values))
        if low != high:
            instants, units = zip(
                *((v * timestamps.unix_unit(v)[0], timestamps.unix_unit(v)[1]) for v in values), strict=True
            )
            return list(instants), [
                timestamps.format_instant(t, digits).encode() for t, digits in zip(instants, units, strict=True)
            ]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice="No row was guessed from it.") from None
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


def iso_instants(name: str, texts: list[str]) -> list[int]:
    """ISO 8601 texts as nanoseconds. Raises UnexpectedAnswer, naming the field, where one is none."""
    try:
        return [timestamps.parse(text) for text in texts]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice="No row was guessed from it.") from None
