"""What the connector reports of each stream while it reads, caught from its log; and a table of it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_ACCOUNT = re.compile(
    r"(?P<stream>\w+): (?P<going>so far )?(?P<rows>[\d,]+) rows, (?P<requests>[\d,]+) requests, "
    r"[\d,]+ of (?P<partitions>[\d,]+) partitions"
)
_REPORT = "sync report as JSON: "


@dataclass(frozen=True)
class Account:
    """One stream of one sync. `seconds` from the sync's start to the stream's end."""

    stream: str
    rows: int
    requests: int
    partitions: int
    seconds: float


class Accounts(logging.Handler):
    """Listens to PyAirbyte's logger of the connector."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self.restart()

    def restart(self) -> None:
        """A new sync begins."""
        self.ended: dict[str, Account] = {}
        self.errors: list[str] = []
        self.report: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self.errors.append(text)
        if text.startswith(_REPORT):
            self.report = json.loads(text.removeprefix(_REPORT))["streams"]
        found = _ACCOUNT.match(text)
        if not found:
            return
        if found["going"]:
            self._say(f"           {text}")
            return
        rows, requests, partitions = (int(found[name].replace(",", "")) for name in ("rows", "requests", "partitions"))
        seconds = time.monotonic() - self._started
        self.ended[found["stream"]] = Account(found["stream"], rows, requests, partitions, seconds)
        self._say(f"           {found['stream']}: {rows:,} rows, complete")


def bill(report: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    """What each vendor was asked for in a sync; requests that served several streams count once."""
    vendors: dict[str, list[dict[str, Any]]] = {}
    for one in report:
        if one["vendor"] is not None:
            vendors.setdefault(one["vendor"], []).append(one)
    return [
        (
            vendor,
            sum(one["requests"] for one in served),
            sum(one["retries"] for one in served),
            float(sum(one["seconds_waited"] for one in served)),
            sum(one["bytes"] for one in served) / 1e6,
            money(next((one["spent"] for one in served if one["spent"]), {})),
        )
        for vendor, served in vendors.items()
    ]


def money(amounts: dict[str, int]) -> str:
    """Amounts in a vendor's own currency."""
    return ", ".join(f"{amount:,} {what}" for what, amount in amounts.items()) or "nothing by the row"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns of equal width, the first to the left, numbers to the right."""
    texts = [list(head), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    texts.insert(1, ["─" * width for width in widths])
    lines = []
    for row in texts:
        first, *others = zip(row, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]))
    return "\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
