"""Patterns in the entries of a configuration: `*` stands for any text, `?` for one character, at all vendors."""

from __future__ import annotations

from fnmatch import fnmatchcase


def is_pattern(entry: str) -> bool:
    return "*" in entry or "?" in entry


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by an entry. Upper and lower case differ, and brackets mean themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))
