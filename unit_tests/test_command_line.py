"""Files that the command line takes."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

from source_liquidations import command_line


def test_the_rows_of_a_read_take_no_memory_where_its_output_is_the_state(tmp_path: Path) -> None:
    descriptor = {"name": "liquidations"}
    state = {"type": "STREAM", "stream": {"stream_descriptor": descriptor, "stream_state": {"states": []}}}
    record = '{"type":"RECORD","record":{"stream":"liquidations","emitted_at":1,"data":{"vendor":"kaiko"}}}\n'
    file = tmp_path / "rows.jsonl"
    file.write_text(record * 50_000 + json.dumps({"type": "STATE", "state": state}) + "\n" + record * 50_000, "utf-8")
    tracemalloc.start()
    try:
        found = command_line.state_file(str(file))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {"liquidations": {"states": []}}
    assert most < 1_000_000
