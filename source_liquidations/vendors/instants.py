"""The times of a page's rows: what vendors write, as nanoseconds and as RFC 3339 text. Whole columns, in C."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np

from source_liquidations import numbers, timestamps
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.reading.rows import Column, Later
from source_liquidations.vendors.decoding import NO_GUESS

_FORM = b"0000-00-00T00:00:00.000000000"
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FEWEST_DIGITS = 3
_UNITS = {3: "ms", 6: "us", 9: "ns"}  # by their fraction digits
_MOST_DIGITS = 9
_PER_SECOND = {"seconds": 0, "milliseconds": 3}  # as a power of ten


def unix_instants(name: str, values: Sequence[int]) -> tuple[list[int], list[bytes]]:
    """Unix timestamps in ms, µs or ns as (nanoseconds, RFC 3339 texts with all their digits).

    Raises UnexpectedAnswer, naming the field, where one is of no known unit.
    """
    if not values:
        return [], []
    try:
        unit = timestamps.unix_unit(min(values))
        if unit != timestamps.unix_unit(max(values)):
            units = [timestamps.unix_unit(value) for value in values]
            instants = [value * unit[0] for value, unit in zip(values, units, strict=True)]
            pairs = zip(instants, units, strict=True)
            return instants, [timestamps.format_instant(instant, unit[1]).encode() for instant, unit in pairs]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice=NO_GUESS) from None
    per_unit, digits = unit
    numbered = np.array(values, np.int64)
    width = len("2024-01-01T00:00:00.Z") + digits
    texts = numbered.view(f"M8[{_UNITS[digits]}]").astype(f"S{width}")
    texts.view("S1")[width - 1 :: width] = b"Z"
    return (numbered * per_unit).tolist(), texts.tolist()


def instants_in(unit: str, name: str, values: Sequence[msgspec.Raw]) -> tuple[list[int], list[bytes]]:
    """Unix times in `seconds` or `milliseconds`, as (nanoseconds, RFC 3339 texts with at least three digits).

    Numbers or text, with a fraction or without. Raises UnexpectedAnswer, naming the field, for anything else.
    """
    power = _PER_SECOND[unit]
    with contextlib.suppress(msgspec.DecodeError, ValueError):  # one that is no such time is named below
        milliseconds = [value * 10 ** (3 - power) for value in numbers.integers(values)]
        if {timestamps.unix_unit(value)[1] for value in (min(milliseconds), max(milliseconds))} == {3}:
            return unix_instants(name, milliseconds)
    instants, texts = [], []
    for index, value in enumerate(values):
        try:
            seconds = Decimal(numbers.literal_of(value).decode()).scaleb(-power)
        except (ValueError, InvalidOperation):
            seconds = Decimal(0)
        if not timestamps.is_unix_second(seconds):
            literal = shown(bytes(value).decode())
            raise UnexpectedAnswer(f"`{name}` of row {index} is {literal}, not a Unix time in {unit}.", advice=NO_GUESS)
        instants.append(int(seconds * timestamps.SECOND))
        digits = min(max(_FEWEST_DIGITS, -int(seconds.as_tuple().exponent)), _MOST_DIGITS)
        texts.append(timestamps.format_instant(instants[-1], digits).encode())
    return instants, texts


def iso_instants(name: str, texts: Sequence[str]) -> tuple[list[int], Sequence[bytes]]:
    """ISO 8601 texts as (nanoseconds, RFC 3339 texts in UTC, with the vendor's digits, but at least three).

    Raises UnexpectedAnswer, naming the field, for any other text.
    """
    alike = _alike(texts)
    if alike is not None:
        with contextlib.suppress(ValueError):  # one that is no time: it is named below
            instants = alike.astype(f"S{alike.itemsize - 1}").astype("M8[ns]").view(np.int64)
            return instants.tolist(), Later(alike.tolist)
    try:
        found = [timestamps.parse(text) for text in texts]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice=NO_GUESS) from None
    digits = [max(_FEWEST_DIGITS, _fraction_digits(text)) for text in texts]
    return found, [timestamps.format_instant(*pair).encode() for pair in zip(found, digits, strict=True)]


def _alike(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bytes_]] | None:
    """The texts, if all are as `2024-01-01T00:00:00.123Z`, of one length and in this century; else None."""
    width = len(texts[0]) if texts else 0
    if not len("2024-01-01T00:00:00.123Z") <= width <= len(_FORM) + 1 or set(map(len, texts)) != {width}:
        return None
    together = "".join(texts).encode()
    form = _FORM[: width - 1] + b"Z"
    is_alike = together.translate(_DIGITS_TO_ZEROS) == form * len(texts)
    is_alike = is_alike and set(together[::width]) == {ord("2")} and set(together[1::width]) == {ord("0")}
    return np.frombuffer(together, f"S{width}") if is_alike else None


def _fraction_digits(text: str) -> int:
    """Of a time."""
    fraction = text.partition(".")[2]
    return len(fraction) - len(fraction.lstrip("0123456789"))


def time_members(times: Sequence[bytes], instants: Sequence[int]) -> tuple[Column, ...]:
    """`"time":"…","time_ns":…,` for each row: exact also where a destination cuts times to microseconds."""
    return b'"time":"', times, b'","time_ns":', numbers.texts(instants), b","
