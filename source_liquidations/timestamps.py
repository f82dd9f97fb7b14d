"""Instants as integer nanoseconds since the Unix epoch, exact in both directions.

Python's datetime and pendulum stop at microseconds; vendors do not. Inside the connector an instant
is an `int`; outside it is RFC 3339 text in UTC with a `Z`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_SECOND_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Unix timestamps between 2009-01-01 and 2100-01-01 fall in ranges that do not touch, so their
# size tells their unit: (lowest, highest, nanoseconds per unit, fraction digits).
_FIRST_SECOND = 1_230_768_000
_LAST_SECOND = 4_102_444_800
_UNITS = tuple(
    (_FIRST_SECOND * per_second, _LAST_SECOND * per_second, SECOND // per_second, digits)
    for per_second, digits in ((10**3, 3), (10**6, 6), (10**9, 9))
)


def parse(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 date or date-time; UTC where it names no offset.

    Raises ValueError where the text is none, or has more than nine fraction digits.
    """
    fraction = text[20:-1]
    if (
        text[-1:] == "Z"
        and text[10:20:9] == "T."
        and len(fraction) <= 9
        and fraction.isdecimal()
        and fraction.isascii()
    ):
        return _second_of(text[:19]) * SECOND + int(fraction.ljust(9, "0"))
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError(f"not an ISO 8601 instant: {text[:40]!r}")
    date, clock, fraction, offset = found.groups()
    seconds = _second_of(f"{date}T{clock or '00:00:00'}" + ("" if clock is None or len(clock) == 8 else ":00"))
    if offset and offset not in "Zz":
        shift = int(offset[1:3]) * 3600 + int(offset[-2:]) * 60
        seconds += shift if offset[0] == "-" else -shift
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))


@lru_cache(maxsize=4096)
def _second_of(text: str) -> int:
    """Seconds since the epoch of `YYYY-MM-DDThh:mm:ss`."""
    if _SECOND_TEXT.fullmatch(text) is None:
        raise ValueError(f"not an ISO 8601 instant: {text[:40]!r}")
    return (datetime.fromisoformat(text).replace(tzinfo=timezone.utc) - _EPOCH) // timedelta(seconds=1)


@lru_cache(maxsize=4096)
def _format_hour(hours: int) -> str:
    return (_EPOCH + timedelta(hours=hours)).isoformat()[:14]


def _format_second(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{_format_hour(hours)}{rest // 60:02d}:{rest % 60:02d}"


def format_instant(nanoseconds: int, digits: int = 9) -> str:
    """RFC 3339 text in UTC, with `digits` (0 to 9) fraction digits; digits beyond are cut off."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    if digits == 0:
        return _format_second(seconds) + "Z"
    return f"{_format_second(seconds)}.{fraction // 10 ** (9 - digits):0{digits}d}Z"


def format_shortest(nanoseconds: int) -> str:
    """RFC 3339 text in UTC with the fewest of 0, 3, 6 or 9 fraction digits that lose nothing."""
    fraction = nanoseconds % SECOND
    digits = 0 if fraction == 0 else 3 if fraction % 10**6 == 0 else 6 if fraction % 10**3 == 0 else 9
    return format_instant(nanoseconds, digits)


def unix_unit(value: int) -> tuple[int, int]:
    """The unit of a Unix timestamp, told by its size: (nanoseconds per unit, fraction digits).

    Milliseconds, microseconds and nanoseconds are known. Raises ValueError for anything else,
    seconds too: a guess would put rows on a wrong day.
    """
    for lowest, highest, per_unit, digits in _UNITS:
        if lowest <= value < highest:
            return per_unit, digits
    raise ValueError(f"{value} is no Unix timestamp in milliseconds, microseconds or nanoseconds")


def floor_to(nanoseconds: int, step: int) -> int:
    """The last multiple of `step` (counted from the epoch) that is not after the instant."""
    return nanoseconds - nanoseconds % step


def ceil_to(nanoseconds: int, step: int) -> int:
    """The first multiple of `step` (counted from the epoch) that is not before the instant."""
    return -floor_to(-nanoseconds, step)
