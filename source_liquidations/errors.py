"""What can go wrong, in words that let the user act: who, what, and what to do.

Nothing here knows the CDK; `source.py` turns an error into Airbyte's trace message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

FailureType = Literal["config_error", "transient_error", "system_error"]
Scope = Literal["partition", "reading"]

_LONGEST_SHOWN = 60
_MOST_NAMES = 5


def shown(value: str | bytes) -> str:
    """A value of a vendor's in a message. Of a long one, a part could be half of a key, which no redaction knows."""
    text = value if isinstance(value, str) else value.decode(errors="replace")
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{len(text)} characters"


def some_of(names: Sequence[str]) -> str:
    """Names in a message: the first few, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


class LiquidationsError(Exception):
    """An error that ends a partition, a stream or the sync.

    `who` names the vendor and, once known, the stream and the partition; `cause` says what happened,
    in the vendor's own words where there are any; `advice` says what to do, `usual_advice` where that is not given.
    """

    usual_advice = ""
    failure_type: FailureType = "system_error"
    scope: Scope = "partition"

    def __init__(self, cause: str, *, advice: str | None = None, who: str = "", status: int | None = None) -> None:
        self.cause = cause  # `args` stay what each class is made of: so `copy` works
        self.advice = self.usual_advice if advice is None else advice
        self.who = who
        self.status = status

    def named(self, who: str) -> LiquidationsError:
        """The same error, with its place in front of what it already names."""
        self.who = ", ".join(part for part in (who, self.who) if part)
        return self

    def of_vendor(self, vendor: str) -> LiquidationsError:
        """The same error, with the vendor named."""
        return self.named(vendor)

    def of_reading(self) -> LiquidationsError:
        """The same error, which every partition of the reading would meet alike."""
        self.scope = "reading"
        return self

    @property
    def message(self) -> str:
        cause = self.cause if not self.advice or self.cause.endswith((".", "!", "?")) else f"{self.cause}."
        return " ".join(part for part in (f"{self.who}:" if self.who else "", cause, self.advice) if part)

    def __str__(self) -> str:
        return self.message


class ConfigurationError(LiquidationsError):
    """Something that the user sets cannot be used: a field, a file, or a variable of the environment."""

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
        # A bad or spent key fails every partition alike; a plan may allow one market and not another.
        self.scope: Scope = "partition" if status == 403 else "reading"

    def of_vendor(self, vendor: str) -> LiquidationsError:
        """... and its key, where no partition or entry is to blame."""
        return self.named(f"`{vendor}.api_key`" if self.scope == "reading" and not self.who else "").named(vendor)


class RequestRefused(LiquidationsError):
    """The vendor refuses one request (400, 404 and their like): mostly an unknown market or symbol."""

    failure_type: FailureType = "config_error"


class OutOfReach(AccessRefused):
    """The vendor refuses a window because it begins before the history that the key may read."""


class WindowTooLarge(LiquidationsError):
    """The vendor refuses a window for its size; a smaller one will do."""


class VendorUnavailable(LiquidationsError):
    """No usable answer after all retries: refused, reset, cut off, 5xx, 429 without end, silence."""

    failure_type: FailureType = "transient_error"


class UnexpectedAnswer(LiquidationsError):
    """An answer of a shape or with a value that no documentation allows."""

    usual_advice = "No row was guessed from it."


class NotAdvancing(UnexpectedAnswer):
    """Pages repeat: the sync would never end."""

    usual_advice = "Rows read so far are kept. Report this to the vendor."


class SpendingLimit(LiquidationsError):
    """The user's own limit on spending is reached. The stream ends early, keeps its progress, and has not failed."""

    scope: Scope = "reading"


class Stopped(Exception):
    """Raised inside waiting code when the sync has to stop."""
