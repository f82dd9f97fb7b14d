"""The lower bounds of any reader: `get` (only requests), `json` (requests with orjson), `write` (only writing).

They have no protocol, state or error handling. `get` discards the bodies. `json` reads the same pages, decodes each
with orjson and writes each row as a line. `write` fetches one page, makes `RECORD` lines of it and repeats those.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import requests
from job import Job, batches, first_request, flat_points, load, point_windows

Body = dict[str, Any]
local = threading.local()
output = threading.Lock()


def session() -> requests.Session:
    if not hasattr(local, "session"):
        local.session = requests.Session()
    return local.session


def starts(job: Job) -> list[tuple[str, dict[str, str]]]:
    if job.vendor == "kiyotaka":
        windows = list(point_windows(job))
        return [first_request(job, symbol, *window) for symbol in job.partitions for window in windows]
    if job.vendor == "coin_metrics" and len(job.partitions) > 40:
        return [first_request(job, ",".join(group)) for group in batches(job.partitions)]
    return [first_request(job, partition) for partition in job.partitions]


def rows_of(body: Body) -> list[Body]:
    return body["data"] if "data" in body else [point for series in body["series"] for point in series["points"]]


def pages(url: str, parameters: dict[str, str], decode: Callable[[bytes], Body]) -> Iterable[Body]:
    body = decode(session().get(url, params=parameters).content)
    yield body
    while next_url := body.get("next_url") or body.get("next_page_url"):
        body = decode(session().get(next_url).content)
        yield body


def write(block: bytes) -> None:
    view = memoryview(block)
    with output:
        while view:
            view = view[os.write(1, view) :]


def decode_tail(content: bytes) -> Body:
    """Only the next page's URL."""
    for mark in (b'"next_url":"', b'"next_page_url":"'):
        if (at := content.rfind(mark)) >= 0:
            return {mark.decode()[1:-3]: content[at + len(mark) : -2].decode()}
    return {}


def get(start: tuple[str, dict[str, str]]) -> None:
    for _ in pages(*start, decode_tail):
        pass


def through_json(start: tuple[str, dict[str, str]]) -> None:
    for body in pages(*start, orjson.loads):
        write(b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows_of(body)]))


def records(job: Job, body: Body) -> list[Body]:
    """The rows in the connector's form."""
    if job.vendor == "kiyotaka":
        return [row for series in body["series"] for row in flat_points(series)]
    if job.vendor == "coin_metrics":
        return body["data"]
    exchange, instrument_class, instrument = job.partitions[0].split("/")
    added = {"exchange": exchange, "instrument_class": instrument_class, "instrument": instrument, "time": job.start}
    return [{**row, **added} for row in body["data"]]


def write_bytes(job: Job, rows: int) -> None:
    url, parameters = starts(job)[0]
    page = records(job, orjson.loads(session().get(url, params=parameters).content))
    envelope = {"stream": job.stream, "emitted_at": 1_700_000_000_000}
    messages = [{"type": "RECORD", "record": {**envelope, "data": row}} for row in page]
    lines = [orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE) for message in messages]
    while rows > 0:
        write(b"".join(lines[:rows]))
        rows -= len(lines)


def main() -> None:
    job, mode = load(), sys.argv[2]
    if mode == "write":
        return write_bytes(job, int(sys.argv[3]))
    with ThreadPoolExecutor(job.workers) as pool:
        list(pool.map({"get": get, "json": through_json}[mode], starts(job)))
    return None


if __name__ == "__main__":
    main()
