"""Errors that let the user act: they say where, what happened, and what to do.

This module does not depend on the CDK; `messages.py` turns an error into Airbyte's trace message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

FailureType = Literal["config_error", "transient_error", "system_error"]
Scope = Literal["partition", "reading"]

_MAX_SHOWN = 60  # characters
_MAX_NAMES = 5


def shown(value: str | bytes) -> str:
    """A value for a message; only its length if it is long. Half of a key would not be redacted, so nothing is cut."""
    text = value if isinstance(value, str) else value.decode(errors="replace")
    return repr(text) if len(text) <= _MAX_SHOWN else f"{len(text)} characters"


def first_few(names: Sequence[str]) -> str:
    """The first few names for a message, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


class LiquidationsError(Exception):
    """An error that ends a partition, a stream or the sync.

    who      where it happened: the vendor and, once known, the stream and the partition
    cause    what happened, in the vendor's own words if there are any
    advice   what to do; `default_advice` if none is given
    scope    what fails: one partition, or all partitions of the reading
    """

    default_advice = ""
    failure_type: FailureType = "system_error"
    scope: Scope = "partition"

    def __init__(self, cause: str, *, advice: str | None = None, who: str = "", status: int | None = None) -> None:
        self.cause = cause  # not passed to Exception: `copy` needs `args` to be the arguments of each class
        self.advice = self.default_advice if advice is None else advice
        self.who = who
        self.status = status

    def named(self, who: str) -> LiquidationsError:
        """The same error, with another name in front of `who`."""
        self.who = ", ".join(filter(None, (who, self.who)))
        return self

    def of_vendor(self, vendor: str) -> LiquidationsError:
        """The same error, with the vendor named."""
        return self.named(vendor)

    def of_reading(self) -> LiquidationsError:
        """The same error, for every partition of the reading."""
        self.scope = "reading"
        return self

    @property
    def message(self) -> str:
        cause = self.cause if not self.advice or self.cause.endswith((".", "!", "?")) else f"{self.cause}."
        return " ".join(filter(None, (f"{self.who}:" if self.who else "", cause, self.advice)))

    def __str__(self) -> str:
        return self.message


class ConfigurationError(LiquidationsError):
    """A setting of the user cannot be used: a field, a file, or an environment variable."""

    failure_type: FailureType = "config_error"
    scope: Scope = "reading"

    def __init__(self, field: str, problem: str, *, advice: str = "") -> None:
        super().__init__(problem, advice=advice, who=f"`{field}`")
        self.field = field

    @classmethod
    def of_all(cls, problems: Sequence[LiquidationsError]) -> LiquidationsError:
        """One error that names every problem."""
        if len(problems) == 1:
            return problems[0]
        error = cls("configuration", " ".join(f"({n}) {problem.message}" for n, problem in enumerate(problems, 1)))
        error.who = f"The configuration has {len(problems)} mistakes"
        return error


class AccessRefused(LiquidationsError):
    """The vendor refuses the key, the plan or the credits (401, 402, 403)."""

    failure_type: FailureType = "config_error"

    def __init__(self, cause: str, *, status: int | None = None, advice: str = "") -> None:
        super().__init__(cause, advice=advice, status=status)
        # A bad key or a spent plan fails every partition; a 403 may mean that the plan excludes one market.
        self.scope: Scope = "partition" if status == 403 else "reading"

    def of_vendor(self, vendor: str) -> LiquidationsError:
        """The same error, with the vendor named, and its key if no partition or entry is to blame."""
        return self.named(f"`{vendor}.api_key`" if self.scope == "reading" and not self.who else "").named(vendor)


class RequestRefused(LiquidationsError):
    """The vendor refuses one request (400, 404 and other 4xx), usually for an unknown market or symbol."""

    failure_type: FailureType = "config_error"


class OutOfReach(AccessRefused):
    """The vendor refuses a window that begins before the history that the key may read."""


class WindowTooLarge(LiquidationsError):
    """The vendor refuses a window for its size and would accept a smaller one."""


class VendorUnavailable(LiquidationsError):
    """No usable answer after all retries: connection refused, reset or cut off, 5xx, repeated 429, timeout."""

    failure_type: FailureType = "transient_error"


class UnexpectedAnswer(LiquidationsError):
    """An answer whose shape or value no documentation allows."""

    default_advice = "No row was guessed from it."


class NotAdvancing(UnexpectedAnswer):
    """Pages repeat: the sync would never end."""

    default_advice = "Rows read so far are kept. Report this to the vendor."


class SpendingLimit(LiquidationsError):
    """The user's spending limit is reached. The stream ends early without failing, and keeps its progress."""

    scope: Scope = "reading"


class Stopped(Exception):
    """The sync has to stop. Raised in code that waits."""
