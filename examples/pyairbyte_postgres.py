"""Into a Postgres database, with PyAirbyte. Run it again to continue.

    PGPASSWORD=… python examples/pyairbyte_postgres.py config.json localhost 5432 user database

It reads the unified streams, because PyAirbyte writes them correctly into Postgres. Others have two problems:

- A table with an integer column `timestamp`, `…_at` or `…_time` fails (`kaiko_liquidation_events`,
  `kiyotaka_liquidation_agg`, Gate's streams, `coinalyze_markets`).
- Text that is a long number becomes a number and loses digits, so that ids collide and rows are overwritten
  (`coin_metrics_market_liquidations`). `liquidation_id` is safe: for Coin Metrics it is never a number alone.

Use `liquidated_at_ns` for exact times: `liquidated_at` has microseconds. Numbers have nine decimals. More:
docs/destinations.md.

`make setup-demo` installs what it needs into .venv-demo. `python -m sandbox --config config.json` simulates the vendors
and writes a configuration to try it with.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("AIRBYTE_OFFLINE_MODE", "1")  # this connector is in no registry that PyAirbyte could ask

import airbyte as ab
from airbyte.caches import PostgresCache

SAFE_STREAMS = ["liquidations", "liquidation_volumes"]


def main(config: Path, host: str, port: str, user: str, database: str) -> None:
    source = ab.get_source(
        "source-liquidations",
        config=json.loads(config.read_text("utf-8")),
        local_executable=Path(sys.executable).with_name("source-liquidations"),
    )
    source.check()
    source.select_streams(SAFE_STREAMS)
    warehouse = PostgresCache(
        host=host,
        port=int(port),
        username=user,
        password=os.environ.get("PGPASSWORD", ""),
        database=database,
        schema_name="liquidations",
    )
    result = source.read(cache=warehouse)
    print(f"{result.processed_records} rows read")
    for name, table in result.streams.items():
        print(f"{name}: {len(table)} rows in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
