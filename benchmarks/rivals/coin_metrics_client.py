"""Coin Metrics' own client: `memory` (a list), `stream` (a list, one response for all rows) or `file` (JSON lines).

`stream` is the client's default format. Pages are faster, and all other readers get pages.
"""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

from coinmetrics.api_client import CoinMetricsClient
from job import PAGE_SIZE, Job, batches, load


def read(client: CoinMetricsClient, job: Job, mode: str) -> int:
    rows = 0
    groups = list(batches(job.partitions))
    for number, group in enumerate(groups):
        collection = client.get_market_liquidations(
            markets=group,
            start_time=job.start,
            end_time=job.end,
            end_inclusive=False,
            page_size=PAGE_SIZE["coin_metrics"],
            paging_from="start",
            format="json_stream" if mode == "stream" else "json",
        )
        if mode == "file":
            path = job.output / f"liquidations-{number}.jsonl"
            collection.export_to_json(str(path))
            rows += count_lines(str(path))
            path.unlink()
        else:
            rows += len(collection.to_list())
    return rows


def count_lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def main() -> None:
    job, mode = load(), sys.argv[2]
    job.output.mkdir(parents=True, exist_ok=True)
    url = urlsplit(job.base_url)
    client = CoinMetricsClient("key", host=f"{url.netloc}/coin_metrics", schema=url.scheme)
    sys.stdout.write(json.dumps({"rows": read(client, job, mode)}) + "\n")


if __name__ == "__main__":
    main()
