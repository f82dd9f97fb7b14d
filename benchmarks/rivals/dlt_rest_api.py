"""dlt's `rest_api` source, into its `filesystem` destination: JSON lines in a local folder, not compressed.

The partitions are a parent resource, the rows a dependent one, read in parallel. dlt does more than read: it infers
and evolves a schema, normalises every row and loads packages. Its time includes all of that, as for a user.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source
from job import Job, batches, flat_points, load, milliseconds_to_iso, point_windows

Settings = dict[str, Any]


def kaiko(job: Job) -> tuple[list[Settings], Settings]:
    def complete(row: Settings) -> Settings:
        for field in ("exchange", "instrument_class", "instrument"):
            row[field] = row.pop(f"_partitions_{field}")
        row["time"] = milliseconds_to_iso(row["timestamp"])
        return row

    fields = ("exchange", "instrument_class", "instrument")
    parents = [dict(zip(fields, name.split("/"), strict=True)) for name in job.partitions]
    path = "kaiko/v2/data/liquidation.v1/trades/" + "/".join(f"{{resources.partitions.{field}}}" for field in fields)
    endpoint = {
        "path": path,
        "params": {"start_time": job.start, "end_time": job.end, "page_size": 1000, "sort": "asc"},
        "paginator": {"type": "json_link", "next_url_path": "next_url"},
        "data_selector": "data",
    }
    return parents, {"endpoint": endpoint, "include_from_parent": list(fields), "processing_steps": [{"map": complete}]}


def coin_metrics(job: Job) -> tuple[list[Settings], Settings]:
    names = [",".join(group) for group in batches(job.partitions)] if len(job.partitions) > 40 else job.partitions
    window = {"start_time": job.start, "end_time": job.end, "end_inclusive": "false"}
    endpoint = {
        "path": "coin_metrics/v4/timeseries/market-liquidations",
        "params": {"markets": "{resources.partitions.markets}", **window, "page_size": 10_000, "paging_from": "start"},
        "paginator": {"type": "cursor", "cursor_path": "next_page_token", "cursor_param": "next_page_token"},
        "data_selector": "data",
    }
    return [{"markets": name} for name in names], {"endpoint": endpoint}


def kiyotaka(job: Job) -> tuple[list[Settings], Settings]:
    windows = list(point_windows(job))
    parents = [
        {"exchange": exchange, "symbol": symbol, "begin": begin, "period": period}
        for exchange, symbol in (name.split("/") for name in job.partitions)
        for begin, period in windows
    ]
    endpoint = {
        "path": "kiyotaka/v1/points",
        "params": {
            "type": "LIQUIDATION_AGG",
            "exchange": "{resources.partitions.exchange}",
            "rawSymbol": "{resources.partitions.symbol}",
            "interval": "MINUTE",
            "from": "{resources.partitions.begin}",
            "period": "{resources.partitions.period}",
        },
        "paginator": "single_page",
        "data_selector": "series",
    }
    return parents, {"endpoint": endpoint, "processing_steps": [{"yield_map": flat_points}]}


def main() -> None:
    job = load()
    parents, settings = {"kaiko": kaiko, "coin_metrics": coin_metrics, "kiyotaka": kiyotaka}[job.vendor](job)
    partitions = dlt.resource([[parent] for parent in parents], name="partitions")
    rows = {"name": job.stream, "write_disposition": "append", "parallelized": job.workers > 1, **settings}
    source = rest_api_source({"client": {"base_url": job.base_url}, "resources": [partitions, rows]})
    source.resources["partitions"].selected = False
    pipeline = dlt.pipeline(
        pipeline_name="liquidations",
        destination=dlt.destinations.filesystem(bucket_url=(job.output / "loaded").as_uri()),
        dataset_name="liquidations",
        pipelines_dir=str(job.output / "state"),
    )
    pipeline.run(source.with_resources(job.stream), loader_file_format="jsonl")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    shutil.rmtree(job.output, ignore_errors=True)
    sys.stdout.write(json.dumps({"rows": counts.get(job.stream, 0)}) + "\n")


if __name__ == "__main__":
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    main()
