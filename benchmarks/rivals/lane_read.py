"""`examples/duckdb_lane.py` reads a connector into DuckDB: `lane_read.py executable config.json stream folder`.

Like `pyairbyte_read.py`, it prints the rows in the table and the seconds of the read, which here include `discover`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import duckdb_lane


def main() -> None:
    executable, config, stream, folder = sys.argv[1:]
    database = Path(folder) / "rows.duckdb"
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        code = duckdb_lane.main([config, str(database), "--streams", stream, "--source", executable])
    seconds = time.perf_counter() - started
    if code:
        sys.exit(code)
    with duckdb.connect(str(database)) as connection:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {stream}").fetchall()
    sys.stdout.write(json.dumps({"rows": rows, "read_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
