"""The connector's progress and report of each stream, read from its log, and tables of them."""

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
    """One stream of one sync. `seconds` is the time from the sync's start to the stream's end."""

    stream: str
    rows: int
    requests: int
    partitions: int
    seconds: float


class Accounts(logging.Handler):
    """Handles the records of PyAirbyte's logger of the connector."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self.restart()

    def restart(self) -> None:
        """Start a new sync."""
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
        match = _ACCOUNT.match(text)
        if not match:
            return
        if match["going"]:
            self._say(f"           {text}")
            return
        rows, requests, partitions = (int(match[name].replace(",", "")) for name in ("rows", "requests", "partitions"))
        seconds = time.monotonic() - self._started
        self.ended[match["stream"]] = Account(match["stream"], rows, requests, partitions, seconds)
        self._say(f"           {match['stream']}: {rows:,} rows, complete")


def bill(report: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    """The requests and the cost of each vendor in a sync; requests shared by several streams count once."""
    vendors: dict[str, list[dict[str, Any]]] = {}
    for stream in report:
        if stream["vendor"] is not None:
            vendors.setdefault(stream["vendor"], []).append(stream)
    return [
        (
            vendor,
            sum(stream["requests"] for stream in streams),
            sum(stream["retries"] for stream in streams),
            float(sum(stream["seconds_waited"] for stream in streams)),
            sum(stream["bytes"] for stream in streams) / 1e6,
            money(next((stream["spent"] for stream in streams if stream["spent"]), {})),
        )
        for vendor, streams in vendors.items()
    ]


def money(amounts: dict[str, int]) -> str:
    """Amounts in a vendor's own unit, such as credits."""
    return ", ".join(f"{amount:,} {what}" for what, amount in amounts.items()) or "nothing by the row"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A text table; the first column is left-aligned, the others are right-aligned."""
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
