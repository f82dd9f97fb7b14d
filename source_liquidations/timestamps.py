"""Instants as integer nanoseconds since the Unix epoch, parsed and formatted exactly.

Python's datetime and pendulum stop at microseconds; vendors do not. Inside the connector an instant is an `int`;
outside it is RFC 3339 text in UTC with a `Z`.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache

from source_liquidations.errors import shown

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<f>\d{1,9}))?)?"
    r"(?P<offset>Z|z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# The size of a Unix time shows its unit: from 2009-01-01 to 2100-01-01, the units' ranges do not overlap.
_FIRST_SECOND = 1_230_768_000
_LAST_SECOND = 4_102_444_800


def parse(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 date or date-time; in UTC if it has no offset.

    Raises ValueError for other text, and for more than nine fraction digits.
    """
    match = _ISO.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        date, hour, minute, second, fraction, offset = (group or "" for group in match.groups())
        offset = f"{offset[:3]}:{offset[-2:]}" if offset[1:] else "+00:00"
        local = datetime.fromisoformat(f"{date}T{hour or '00'}:{minute or '00'}:{second or '00'}{offset}")
        utc = local.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(f"not an ISO 8601 instant: {shown(text)}") from None
    return (utc - _EPOCH) // timedelta(seconds=1) * SECOND + int(fraction.ljust(9, "0"))


@lru_cache(maxsize=4096)
def _format_hour(hours: int) -> str:
    return (_EPOCH + timedelta(hours=hours)).isoformat()[:14]


def format_instant(nanoseconds: int, digits: int = 9) -> str:
    """RFC 3339 text in UTC with `digits` (0 to 9) fraction digits, not rounded."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    hours, rest = divmod(seconds, 3600)
    text = f"{_format_hour(hours)}{rest // 60:02d}:{rest % 60:02d}"
    return f"{text}.{fraction // 10 ** (9 - digits):0{digits}d}Z" if digits else f"{text}Z"


def format_shortest(nanoseconds: int) -> str:
    """RFC 3339 text in UTC with the fewest of 0, 3, 6 or 9 fraction digits that lose nothing."""
    fraction = nanoseconds % SECOND
    digits = 0 if fraction == 0 else 3 if fraction % 10**6 == 0 else 6 if fraction % 10**3 == 0 else 9
    return format_instant(nanoseconds, digits)


def unix_power(value: int | Decimal, powers: Iterable[int] = (0, 3, 6, 9)) -> int | None:
    """The unit of a Unix time: 0 for seconds, 3 for milliseconds, …; None unless it is between 2009 and 2100."""
    return next((power for power in powers if _FIRST_SECOND <= Decimal(value).scaleb(-power) < _LAST_SECOND), None)


def instant_of(value: str | int) -> int:
    """Nanoseconds since the epoch of ISO 8601 text, or of a Unix time as a number or text.

    The size of a Unix time shows its unit (seconds to nanoseconds). Raises ValueError for anything else.
    """
    text = str(value).strip()
    if not re.fullmatch(r"\d{9,20}(\.\d+)?([eE][+]?\d{1,2})?|\d\.\d+[eE][+]?\d{1,2}", text, re.ASCII):
        return parse(text)
    number = Decimal(text)
    power = unix_power(number)
    if power is None:
        raise ValueError(f"{text} is not a Unix time")
    return int(number.scaleb(9 - power))


def floor_to(nanoseconds: int, step: int) -> int:
    """The last multiple of `step`, counted from the epoch, at or before the instant."""
    return nanoseconds - nanoseconds % step


def ceil_to(nanoseconds: int, step: int) -> int:
    """The first multiple of `step`, counted from the epoch, at or after the instant."""
    return -floor_to(-nanoseconds, step)
