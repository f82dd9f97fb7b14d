"""Prints a catalog that selects all streams, incremental, out of what `discover` printed to a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def select_all(discovered: str) -> dict[str, Any]:
    messages = (json.loads(line) for line in discovered.splitlines())
    catalog = next(message["catalog"] for message in messages if message["type"] == "CATALOG")
    return {
        "streams": [
            {
                "stream": stream,
                "sync_mode": "incremental" if "incremental" in stream["supported_sync_modes"] else "full_refresh",
                "destination_sync_mode": "append_dedup",
                "cursor_field": stream.get("default_cursor_field", []),
                "primary_key": stream.get("source_defined_primary_key", []),
            }
            for stream in catalog["streams"]
        ]
    }


if __name__ == "__main__":
    print(json.dumps(select_all(Path(sys.argv[1]).read_text("utf-8"))))
