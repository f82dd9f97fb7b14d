"""Bodies into rows: typed and strict in C first; a page that brings something new takes the slower, lenient way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
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


class FieldLog:
    """Says once which undocumented fields a stream has begun to bring."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._reported: set[str] = set()

    def note(self, names: Iterable[str], known: Iterable[str]) -> None:
        new = set(names) - set(known) - self._reported
        if new:
            self._reported |= new
            logger.warning("%s: undocumented fields, which arrive as sent: %s", self._stream, ", ".join(sorted(new)))


class RowDecoder(Generic[Row]):
    """Decodes bodies of the generic struct `body` (its `data` a list of rows) with rows of the struct `row`.

    `added` names the members that the connector adds to each row: should the vendor begin to send one of these
    itself, the vendor's stays.
    """

    def __init__(
        self,
        name: str,
        body: Any,
        row: type[Row],
        *,
        added: Sequence[str] = (),
    ) -> None:
        strict = msgspec.defstruct(f"Strict{row.__name__}", [], bases=(row,), forbid_unknown_fields=True)
        self._strict = msgspec.json.Decoder(body[strict])
        self._lenient = msgspec.json.Decoder(body[row])
        self._raw = msgspec.json.Decoder(body[msgspec.Raw])
        self._members = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._known = {field.encode_name for field in msgspec.structs.fields(row)}  # type: ignore[arg-type]
        self._added = frozenset(added)
        self._fields = FieldLog(name)

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
        return typed, raw, new and self._collides(raw)

    def _collides(self, raw: list[msgspec.Raw]) -> bool:
        names = {name for row in raw for name in self._members.decode(row)}
        self._fields.note(names, self._known)
        return bool(names & self._added - self._known)


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
    """Unix timestamps in ms, µs or ns as (nanoseconds, `"time":"…",` members with all their digits).

    Raises UnexpectedAnswer, naming the field, where one is of no known unit.
    """
    try:
        low, high = timestamps.unix_unit(min(values)), timestamps.unix_unit(max(values))
        if low != high:
            instants, units = zip(
                *((v * timestamps.unix_unit(v)[0], timestamps.unix_unit(v)[1]) for v in values), strict=True
            )
            return list(instants), [_time_member(t, digits) for t, digits in zip(instants, units, strict=True)]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice="No row was guessed from it.") from None
    per_unit, digits = low
    scaled = [value * per_unit for value in values]
    if digits != 3:
        return scaled, [_time_member(instant, digits) for instant in scaled]
    return scaled, [
        _hour_member(value // 3_600_000) + _MINUTES_SECONDS[value // 1000 % 3600] + _MILLISECONDS[value % 1000]
        for value in values
    ]


# A row's time is put together from these; formatting each by itself would cost more than decoding the row.
_MINUTES_SECONDS = [b"%02d:%02d." % divmod(second, 60) for second in range(3600)]
_MILLISECONDS = [b'%03dZ",' % millisecond for millisecond in range(1000)]


@lru_cache(maxsize=8192)
def _hour_member(hours: int) -> bytes:
    return b'"time":"%b' % timestamps.format_instant(hours * timestamps.HOUR, 0)[:14].encode()


def _time_member(instant: int, digits: int) -> bytes:
    return b'"time":"%b",' % timestamps.format_instant(instant, digits).encode()


def iso_instants(name: str, texts: list[str]) -> list[int]:
    """ISO 8601 texts as nanoseconds. Raises UnexpectedAnswer, naming the field, where one is none."""
    try:
        return [timestamps.parse(text) for text in texts]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice="No row was guessed from it.") from None
