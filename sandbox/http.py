"""The types that the server and the vendors exchange: a request, a reply, a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

Pairs = list[tuple[str, str]]


@dataclass
class Request:
    """One HTTP request as a vendor sees it: `path` without the vendor's prefix, header names in lower case."""

    method: str
    prefix: str
    path: str
    query: Pairs
    headers: Mapping[str, str]
    origin: str
    target: str
    client: str = ""
    body: bytes = b""

    def url(self, path: str | None = None) -> str:
        """The absolute URL of a path of the same vendor."""
        return f"{self.origin}{self.prefix}{self.path if path is None else path}"


@dataclass
class Reply:
    """One HTTP response. A `body` that is not bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    content_type: str = "application/json"

    def encoded(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


class Refusal(Exception):
    """A vendor's error response, raised where the error is found."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Vendor(Protocol):
    """A simulated vendor as the server sees it."""

    name: str
    prefixes: tuple[str, ...]

    def handle(self, request: Request) -> Reply:
        """Answer a request; may raise Refusal."""

    def error(self, status: int, message: str | None = None) -> Reply:
        """The vendor's own error body for a status."""

    def expected(self, market: str, start: int, end: int, **options: Any) -> list[Any]:
        """All rows of [start, end) in the vendor's form."""

    def add_rows(self, market: str, rows: Sequence[Any]) -> None:
        """Add rows to a market."""


class Params:
    """A query with only allowed names, each at most once unless it may repeat."""

    def __init__(
        self,
        query: Pairs,
        allowed: Sequence[str],
        refuse: Callable[[str, str], Refusal],
        repeatable: Sequence[str] = (),
    ) -> None:
        self._refuse = refuse
        self._values: dict[str, list[str]] = {}
        for name, value in query:
            if name not in allowed:
                raise refuse(name, "Unknown parameter.")
            self._values.setdefault(name, []).append(value)
        for name, values in self._values.items():
            if len(values) > 1 and name not in repeatable:
                raise refuse(name, "The parameter is given more than once.")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """Every value of a parameter."""
        return self._values.get(name, [])

    def text(self, name: str, default: str = "") -> str:
        """The value of a parameter."""
        return self._values.get(name, [default])[0]

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of the allowed values."""
        value = self.text(name, default)
        if value not in allowed:
            raise self._refuse(name, f"Value '{value}' is not one of: {', '.join(allowed)}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """`true` or `false`."""
        return self.choice(name, ("true", "false"), "true" if default else "false") == "true"

    def integer(self, name: str, default: int | None, low: int, high: int | None = None) -> int:
        """An integer in [low, high]; the parameter is required unless it has a default."""
        text = self.text(name, "" if default is None else str(default))
        if not text.lstrip("-").isdigit():
            raise self._refuse(name, f"Value '{text}' is not an integer.")
        value = int(text)
        if value < low or (high is not None and value > high):
            raise self._refuse(name, f"Value '{value}' must be between {low} and {high}.")
        return value


def json_rows(rows: list[bytes]) -> msgspec.Raw:
    """Encoded rows as one JSON array."""
    return msgspec.Raw(b"[" + b",".join(rows) + b"]")
