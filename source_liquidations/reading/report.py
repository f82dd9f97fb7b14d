"""The report of a sync: what each stream read, and what it cost. As a table for people, as JSON to alert on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import msgspec

from source_liquidations import timestamps
from source_liquidations.http.redaction import redact
from source_liquidations.logs import logger
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading

COLUMNS = ("vendor", "stream", "rows", "requests", "retries", "waited", "MB", "partitions", "position", "cost", "")


StatusName = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]


@dataclass
class Outcome:
    state: StreamState
    readings: Sequence[Reading]
    rows: Counter[object] = field(default_factory=Counter)  # by the reading that brought them
    status: StatusName | None = None
    position: int = 0  # of what was written last

    @property
    def stream(self) -> str:
        return self.state.stream

    @property
    def is_running(self) -> bool:
        return self.status in {"STARTED", "RUNNING"}


class StreamReport(msgspec.Struct):
    """One stream's part of one vendor's readings; without a vendor, the rows that no request brought.

    partitions_done, partitions_failed, partitions_unread   together all of them
    position        how far the partition is that is furthest behind, unread ones included; null for lists
    requests, retries, seconds_waited, bytes, spent         of the requests that brought its rows; zero where
                    `requests_of` names another stream of this report with the same requests
    errors          why it is incomplete
    """

    vendor: str | None
    stream: str
    status: str
    rows: int
    partitions_done: int = 0
    partitions_failed: int = 0
    partitions_unread: int = 0
    position: str | None = None
    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
    bytes: int = 0
    spent: dict[str, int] = {}
    requests_of: str | None = None
    errors: list[str] = []


def log_report(outcomes: Iterable[Outcome], *, seconds: float) -> None:
    """Log the report of a sync that took so long."""
    found = []
    counted: dict[Reading, str] = {}
    for outcome in outcomes:
        for reading in outcome.readings:
            found.append(_of(outcome, reading, counted.get(reading)))
            counted.setdefault(reading, outcome.stream)
        if not outcome.readings:
            found.append(StreamReport(None, outcome.stream, outcome.status or "", outcome.rows.total()))
    if found:
        logger.info("sync report\n%s", _table(found))
        whole = {"version": version("airbyte-source-liquidations"), "seconds": round(seconds, 1), "streams": found}
        logger.info("sync report as JSON: %s", msgspec.json.encode(whole).decode())


def _of(outcome: Outcome, reading: Reading, requests_of: str | None) -> StreamReport:
    output = next(output for output in reading.outputs if output.stream == outcome.stream)
    done, failed, unread = reading.counts_of(outcome.stream)
    positions = [
        max(outcome.state.of(output.state_partition(partition)).recorded.end or reading.start, reading.start)
        for partition in reading.partitions
        if outcome.state.cursor_field is not None
    ]
    entry = StreamReport(
        vendor=reading.endpoint.vendor,
        stream=outcome.stream,
        status=outcome.status or "",
        rows=outcome.rows[reading],
        partitions_done=done,
        partitions_failed=failed,
        partitions_unread=unread,
        position=timestamps.format_shortest(min(positions)) if positions else None,
        requests_of=requests_of,
        errors=[redact(error.message) for error in reading.failures_of(outcome.stream)],
    )
    if requests_of is None:
        entry.requests, entry.retries = reading.traffic.requests, reading.traffic.retries
        entry.seconds_waited, entry.bytes = round(reading.traffic.seconds_waited, 1), reading.traffic.bytes
        entry.spent = reading.endpoint.spent()
    return entry


def _table(found: Sequence[StreamReport]) -> str:
    """A table for people; what was served by another stream's requests names that."""
    rows: list[Sequence[str]] = [COLUMNS]
    for one in found:
        cost = [f"{one.requests:,}", f"{one.retries:,}", f"{one.seconds_waited:,.1f} s", f"{one.bytes / 1e6:,.1f}"]
        shared = ["with", one.requests_of, "", ""] if one.requests_of else None
        total = one.partitions_done + one.partitions_failed + one.partitions_unread
        rows.append(
            [
                one.vendor or "",
                one.stream,
                f"{one.rows:,}",
                *(shared or cost),
                f"{one.partitions_done:,} of {total:,}",
                one.position or "",
                ", ".join(f"{amount:,} {what}" for what, amount in one.spent.items()),
                "" if one.status == "COMPLETE" else one.status,
            ]
        )
    return table(rows)


def table(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
