"""A stream as `discover` shows it."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Stream:
    """Name, primary key and cursor. The JSON schema is `schemas/<name>.json` beside the module `declared_in`.

    A stream without a cursor is a list that every sync reads whole (full refresh).
    """

    name: str
    primary_key: tuple[str, ...]
    cursor_field: str | None = None
    declared_in: str = __name__

    def json_schema(self) -> dict[str, Any]:
        package = self.declared_in.rpartition(".")[0]
        text = (resources.files(package) / "schemas" / f"{self.name}.json").read_text("utf-8")
        schema: dict[str, Any] = json.loads(text)
        return schema
