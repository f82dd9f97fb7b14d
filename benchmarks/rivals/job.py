"""A rival's task: one JSON file, written by the runner."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PAGE_SIZE = {"kaiko": 1_000, "coin_metrics": 10_000}
STREAM = {
    "kaiko": "kaiko_liquidation_events",
    "coin_metrics": "coin_metrics_market_liquidations",
    "kiyotaka": "kiyotaka_liquidation_agg",
}
POINTS_SECONDS = 50_000 * 60  # 100,000 points, the maximum of a request: two sides, one point a minute
MARKETS_A_CALL = 300  # a URL may have 10,000 characters


@dataclass(frozen=True)
class Job:
    vendor: str
    base_url: str
    partitions: list[str]
    start: str
    end: str
    workers: int
    output: Path

    @property
    def stream(self) -> str:
        return STREAM[self.vendor]


def load(path: str | None = None) -> Job:
    fields = json.loads(Path(path or sys.argv[1]).read_text())
    return Job(**{**fields, "output": Path(fields["output"])})


def milliseconds_to_iso(timestamp: int) -> str:
    instant = datetime.fromtimestamp(timestamp // 1000, timezone.utc)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{timestamp % 1000:03d}Z"


def unix_seconds(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def batches(partitions: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(partitions), MARKETS_A_CALL):
        yield partitions[first : first + MARKETS_A_CALL]


def point_windows(job: Job) -> Iterator[tuple[int, int]]:
    """`from` and `period` of each request for a symbol's points."""
    start, end = unix_seconds(job.start), unix_seconds(job.end)
    for begin in range(start, end, POINTS_SECONDS):
        yield begin, min(POINTS_SECONDS, end - begin)


def flat_points(series: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each point of a series, with the series' own fields."""
    identity = series["id"]
    common = {
        "type": identity["type"],
        "exchange": identity["exchange"],
        "raw_symbol": identity["rawSymbol"],
        "normalized_symbol": identity["normalizedSymbol"],
        "category": identity["category"],
        "interval": identity["interval"],
        "side": identity["side"],
        "coin": identity["coin"],
        "denomination": "coin",
    }
    for point in series["points"]:
        values = point["Point"]
        seconds = values["timestamp"]["s"]
        time = milliseconds_to_iso(seconds * 1000)
        yield {**common, "liquidations": values.get("liquidations", 0), "timestamp": seconds, "time": time}


def first_request(job: Job, partition: str, begin: int = 0, period: int = 0) -> tuple[str, dict[str, str]]:
    """The URL and the parameters of the first request for a partition or a batch of markets."""
    if job.vendor == "kaiko":
        window = {"start_time": job.start, "end_time": job.end}
        url = f"{job.base_url}/kaiko/v2/data/liquidation.v1/trades/{partition}"
        return url, {**window, "page_size": "1000", "sort": "asc"}
    if job.vendor == "coin_metrics":
        window = {"start_time": job.start, "end_time": job.end, "end_inclusive": "false"}
        url = f"{job.base_url}/coin_metrics/v4/timeseries/market-liquidations"
        return url, {"markets": partition, **window, "page_size": "10000", "paging_from": "start"}
    exchange, symbol = partition.split("/")
    names = {"type": "LIQUIDATION_AGG", "exchange": exchange, "rawSymbol": symbol, "interval": "MINUTE"}
    return f"{job.base_url}/kiyotaka/v1/points", {**names, "from": str(begin), "period": str(period)}
