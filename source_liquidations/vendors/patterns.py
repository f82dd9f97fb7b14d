"""Patterns in the entries of a configuration: `*` stands for any text, `?` for one character, at all vendors."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from source_liquidations.errors import ConfigurationError


def is_pattern(entry: str) -> bool:
    return "*" in entry or "?" in entry


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by an entry. Upper and lower case differ, and brackets mean themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def meant(pattern: str, names: Iterable[str], where: str, what: str, advice: str) -> list[str]:
    """The names that an entry means, each once. Raises ConfigurationError where it means none of them."""
    found = list(dict.fromkeys(name for name in names if matches(pattern, name)))
    if not found:
        raise ConfigurationError(where, f"no {what} matches {pattern!r}.", advice=advice)
    return found
