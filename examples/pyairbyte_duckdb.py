"""Into a DuckDB file, with PyAirbyte. Run it again to continue.

    python examples/pyairbyte_duckdb.py config.json liquidations.duckdb

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


def main(config: Path, database: Path) -> None:
    source = ab.get_source(
        "source-liquidations",
        config=json.loads(config.read_text("utf-8")),
        local_executable=Path(sys.executable).with_name("source-liquidations"),
    )
    source.check()
    source.select_streams(["liquidations", "liquidation_volumes", "liquidation_coverage"])
    result = source.read(cache=ab.DuckDBCache(db_path=database))
    print(f"{result.processed_records} rows read")
    for name, table in result.streams.items():
        print(f"{name}: {len(table)} rows in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
