"""Patterns in the entries of a configuration: `*` stands for any text, `?` for one character, at all vendors."""

from __future__ import annotations

import re
from functools import lru_cache


def is_pattern(entry: str) -> bool:
    return "*" in entry or "?" in entry


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by an entry. Upper and lower case differ."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)
