"""Patterns in the lists of a configuration: for every vendor, `*` matches any text and `?` one character."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from source_liquidations.errors import ConfigurationError


def is_pattern(entry: str) -> bool:
    return "*" in entry or "?" in entry


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern. Case matters, and brackets are ordinary characters."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def matching_names(pattern: str, names: Iterable[str], where: str, what: str, advice: str) -> list[str]:
    """The names that match a pattern, each once. Raises ConfigurationError if none does."""
    matching = list(dict.fromkeys(name for name in names if matches(pattern, name)))
    if not matching:
        raise ConfigurationError(where, f"no {what} matches {pattern!r}.", advice=advice)
    return matching
