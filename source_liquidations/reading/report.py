"""The account of a sync: what each stream read, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.reading.scheduler import Reading

COLUMNS = ("vendor", "stream", "rows", "requests", "retries", "waited", "MB", "position", "credits", "")


class StreamReport(msgspec.Struct):
    """One stream's part of one vendor's readings.

    Requests, retries, seconds and bytes are those of the reading; `shared_with` names the streams that were served by
    the same requests, so that nobody adds them up twice. `position` is how far its hindmost partition has got.
    """

    vendor: str
    stream: str
    status: str
    rows: int
    requests: int
    retries: int
    seconds_waited: float
    bytes: int
    partitions: int
    position: str | None
    spent: dict[str, int]
    shared_with: list[str]


def report(readings: Iterable[Reading], statuses: Mapping[str, str]) -> list[StreamReport]:
    found = []
    for reading in readings:
        names = [output.stream for output in reading.outputs]
        for output in reading.outputs:
            position = reading.hindmost.get(output.stream)
            found.append(
                StreamReport(
                    vendor=reading.endpoint.vendor,
                    stream=output.stream,
                    status=statuses[output.stream],
                    rows=reading.rows.get(output.stream, 0),
                    requests=reading.traffic.requests,
                    retries=reading.traffic.retries,
                    seconds_waited=round(reading.traffic.seconds_waited, 1),
                    bytes=reading.traffic.bytes,
                    partitions=reading.partitions_total,
                    position=None if position is None else timestamps.format_shortest(position),
                    spent=reading.endpoint.spent(),
                    shared_with=[name for name in names if name != output.stream],
                )
            )
    return found


def as_json(reports: Sequence[StreamReport]) -> str:
    """One line for programs."""
    return msgspec.json.encode({"streams": reports}).decode()


def as_table(reports: Sequence[StreamReport]) -> str:
    """A table for people; what was served by another stream's requests is marked with a ditto."""
    rows: list[Sequence[str]] = [COLUMNS]
    for one in reports:
        shared = any(
            other.vendor == one.vendor and other.stream in one.shared_with for other in reports[: reports.index(one)]
        )
        cost = (
            ["〃"] * 4
            if shared
            else [f"{one.requests:,}", f"{one.retries:,}", f"{one.seconds_waited:,.1f} s", f"{one.bytes / 1e6:,.1f}"]
        )
        spent = "" if shared else ", ".join(f"{amount:,} {what}" for what, amount in one.spent.items())
        status = "" if one.status == "COMPLETE" else one.status
        rows.append([one.vendor, one.stream, f"{one.rows:,}", *cost, one.position or "", spent, status])
    return table(rows)


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Columns in line."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
