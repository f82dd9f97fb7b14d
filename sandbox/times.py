"""Instants are integer nanoseconds since the epoch; this module parses and writes them as ISO 8601."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NS = 1_000_000_000
MINUTE = 60 * NS
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?"
)


class Clock:
    """The sandbox's clock: the wall clock, a frozen clock, or one that ticks from a given instant."""

    def __init__(self, now: str | int | datetime | None = None, *, ticking: bool = False) -> None:
        self._ticking = now is None or ticking
        self._offset = 0
        self._frozen = 0
        if now is not None:
            self.set(now)

    def now(self) -> int:
        """The current instant in nanoseconds."""
        return time.time_ns() + self._offset if self._ticking else self._frozen

    def set(self, now: str | int | datetime) -> None:
        """Jump to an instant."""
        instant = instant_of(now)
        self._offset = instant - time.time_ns()
        self._frozen = instant

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back by a negative number."""
        self._offset += int(seconds * NS)
        self._frozen += int(seconds * NS)


def instant_of(value: str | int | datetime) -> int:
    """Nanoseconds of an ISO string, of a datetime (UTC if it is naive), or of nanoseconds."""
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return int(value.timestamp()) * NS + value.microsecond * 1000
    return parse(value)


def parse(text: str, zone: str = "UTC", *, zone_wins: bool = False) -> int:
    """Nanoseconds of an ISO 8601 date or date-time; raises ValueError for any other text.

    `zone` applies to a text without an offset; with `zone_wins`, it replaces any offset.
    """
    match = _ISO.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not an ISO 8601 instant: {text!r}")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        tz: timezone | ZoneInfo = ZoneInfo(zone) if zone != "UTC" else timezone.utc
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone: {zone!r}") from error
    base = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=tz)
    if offset and offset != "Z" and not zone_wins:
        base = datetime.fromisoformat(f"{base:%Y-%m-%dT%H:%M:%S}{offset[:3]}:{offset[-2:]}")
    elif offset == "Z" and not zone_wins:
        base = base.replace(tzinfo=timezone.utc)
    seconds = (base - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
    return int(seconds) * NS + int((fraction or "").ljust(9, "0"))


@lru_cache(maxsize=4096)
def second_text(seconds: int) -> str:
    """A whole second as `2025-02-27T23:00:00`, without fraction and zone."""
    t = time.gmtime(seconds)
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"


def iso(instant: int, digits: int = 3, zone: str = "Z") -> str:
    """An instant as ISO 8601 with `digits` decimals of a second (0, 3, 6 or 9), truncated, not rounded."""
    seconds, rest = divmod(instant, NS)
    text = second_text(seconds)
    return f"{text}.{rest:09d}"[: len(text) + 1 + digits] + zone if digits else text + zone


def floor(instant: int, step: int, origin: int = 0) -> int:
    """The last multiple of `step`, counted from `origin`, at or before the instant."""
    return instant - (instant - origin) % step


def ceil(instant: int, step: int, origin: int = 0) -> int:
    """The first multiple of `step`, counted from `origin`, at or after the instant."""
    return -floor(-instant, step, -origin)
