"""PyAirbyte reads a connector into DuckDB: `pyairbyte_read.py executable config.json stream folder`.

Prints, as JSON, the rows in the table and the seconds of the read alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["AIRBYTE_OFFLINE_MODE"] = "1"  # set before the import, which reads both
os.environ["NO_LIVE_PROGRESS"] = "1"

import airbyte as ab


def main() -> None:
    executable, config, stream, folder = sys.argv[1:]
    source = ab.get_source(
        Path(executable).name,
        config=json.loads(Path(config).read_text()),
        local_executable=Path(executable),
        install_if_missing=False,
        streams=[stream],
    )
    cache = ab.DuckDBCache(
        db_path=Path(folder) / "rows.duckdb", cache_dir=Path(folder) / "cache", schema_name="benchmark"
    )
    started = time.perf_counter()
    result = source.read(cache=cache)
    seconds = time.perf_counter() - started
    with cache.get_sql_engine().connect() as connection:
        table = f"{cache.schema_name}.{stream}"
        rows = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    sys.stdout.write(json.dumps({"rows": rows, "processed": result.processed_records, "read_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
