"""The report of a sync: what each stream read, and what it cost. A table for people, and JSON for alerts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
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
    """What a sync has done for one stream."""

    state: StreamState
    readings: Sequence[Reading]
    rows: Counter[object] = field(default_factory=Counter)  # by reading
    status: StatusName | None = None
    position: int = 0  # of the last block

    @property
    def stream(self) -> str:
        return self.state.stream

    @property
    def is_running(self) -> bool:
        return self.status in {"STARTED", "RUNNING"}


class StreamReport(msgspec.Struct):
    """One vendor's part of one stream. `vendor` is None for rows that are made without a request.

    partitions_done, partitions_failed, partitions_unread   add up to all partitions
    position        how far the partition is that is furthest behind, unread ones included; None for lists
    requests, retries, seconds_waited, bytes, spent         of the requests that returned its rows; zero if
                    `requests_of` names another stream of this report that has the same requests
    errors          why the stream is incomplete
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
    """Log the report of a sync that took `seconds`."""
    streams = []
    first_stream: dict[Reading, str] = {}  # has the reading's requests
    for outcome in outcomes:
        for reading in outcome.readings:
            streams.append(_stream_report(outcome, reading, first_stream.get(reading)))
            first_stream.setdefault(reading, outcome.stream)
        if not outcome.readings:
            streams.append(StreamReport(None, outcome.stream, outcome.status or "", outcome.rows.total()))
    if streams:
        logger.info("sync report\n%s", _table(streams))
        report: dict[str, Any] = {"seconds": round(seconds, 1), "streams": streams}
        with suppress(PackageNotFoundError):  # a checkout that is not installed
            report = {"version": version("airbyte-source-liquidations"), **report}
        logger.info("sync report as JSON: %s", msgspec.json.encode(report).decode())


def _stream_report(outcome: Outcome, reading: Reading, requests_of: str | None) -> StreamReport:
    output = next(output for output in reading.outputs if output.stream == outcome.stream)
    done, failed, unread = reading.counts_of(outcome.stream)
    positions = [
        max(outcome.state.of(output.state_partition(partition)).recorded.end or reading.start, reading.start)
        for partition in reading.partitions
        if outcome.state.cursor_field is not None
    ]
    report = StreamReport(
        vendor=reading.endpoint.vendor,
        stream=outcome.stream,
        status=outcome.status or "",
        rows=outcome.rows[reading],
        partitions_done=done,
        partitions_failed=failed,
        partitions_unread=unread,
        position=timestamps.format_shortest(min(positions)) if positions else None,
        requests_of=requests_of,
        errors=[redact(failure.error.message) for failure in reading.failures_of(outcome.stream)],
    )
    if requests_of is None:
        report.requests, report.retries = reading.traffic.requests, reading.traffic.retries
        report.seconds_waited, report.bytes = round(reading.traffic.seconds_waited, 1), reading.traffic.bytes
        report.spent = reading.endpoint.spent()
    return report


def _table(streams: Sequence[StreamReport]) -> str:
    """For people. A stream that shares the requests of another one names it instead of numbers."""
    rows: list[Sequence[str]] = [COLUMNS]
    for report in streams:
        traffic = [f"{report.requests:,}", f"{report.retries:,}"]
        traffic += [f"{report.seconds_waited:,.1f} s", f"{report.bytes / 1e6:,.1f}"]
        total = report.partitions_done + report.partitions_failed + report.partitions_unread
        rows.append(
            [
                report.vendor or "",
                report.stream,
                f"{report.rows:,}",
                *(["with", report.requests_of, "", ""] if report.requests_of else traffic),
                f"{report.partitions_done:,} of {total:,}",
                report.position or "",
                ", ".join(f"{amount:,} {currency}" for currency, amount in report.spent.items()),
                "" if report.status == "COMPLETE" else report.status,
            ]
        )
    return text_table(rows)


def text_table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of cells as aligned text."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
