"""The times of a page's rows: what vendors write, as nanoseconds and as RFC 3339 text."""

from __future__ import annotations

from collections.abc import Sequence

from source_liquidations import numbers, timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.reading.rows import Column
from source_liquidations.vendors.decoding import NO_GUESS


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
        _hours[value // 3_600_000] + _MINUTES_SECONDS[value // 1000 % 3600] + _MILLISECONDS[value % 1000]
        for value in values
    ]


# A row's time is put together from these; formatting each by itself would cost more than decoding the row.
_MINUTES_SECONDS = [b"%02d:%02d." % divmod(second, 60) for second in range(3600)]
_MILLISECONDS = [b"%03dZ" % millisecond for millisecond in range(1000)]


class _Hours(dict[int, bytes]):
    """By the hours since the epoch, the beginning of their times. At most as many as hours."""

    def __missing__(self, hours: int) -> bytes:
        found = self[hours] = timestamps.format_instant(hours * timestamps.HOUR, 0)[:14].encode()
        return found


_hours = _Hours()


def time_members(times: Sequence[bytes], instants: Sequence[int]) -> tuple[Column, ...]:
    """`"time":"…","time_ns":…,` for each row: exact also where a destination cuts times to microseconds."""
    return b'"time":"', times, b'","time_ns":', numbers.texts(instants), b","


def iso_instants(name: str, texts: Sequence[str]) -> list[int]:
    """ISO 8601 texts as nanoseconds. Raises UnexpectedAnswer, naming the field, for any other text."""
    try:
        return timestamps.parse_all(texts)
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.", advice=NO_GUESS) from None


def utc_times(texts: Sequence[str], instants: Sequence[int]) -> list[bytes]:
    """Each time in UTC with a `Z`, with the digits that the vendor gave, but at least three."""
    if timestamps.are_alike(texts) >= _FEWEST_DIGITS:
        return "\n".join(texts).encode().split(b"\n")
    return [
        timestamps.format_instant(instant, _fraction_digits(text)).encode()
        for text, instant in zip(texts, instants, strict=True)
    ]


_FEWEST_DIGITS = 3


def _fraction_digits(text: str) -> int:
    """Of a time."""
    fraction = text.partition(".")[2]
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    return max(_FEWEST_DIGITS, digits)
