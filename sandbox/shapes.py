"""Where rows, times and page tokens are in each vendor's bodies, so that faults can change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.http import Request
from sandbox.times import NS, iso, parse

Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """The layout of a body that is an object whose rows are objects. Without pages, `token_parameter` is empty."""

    token_parameter: str
    number_field: str
    time_fields: tuple[str, ...]
    url_field: str | None = None
    nested: bool = False

    def fits(self, body: Any) -> bool:
        """Whether a body has this layout; an error body may have another."""
        return isinstance(body, dict)

    def put(self, row: Any, name: str, value: Any) -> None:
        """Set a field of a row."""
        row[name] = value

    def remove(self, row: Any, name: str) -> None:
        """Remove a field of a row."""
        row.pop(name, None)

    def widen(self, row: Any, fields: Row) -> None:
        """Add fields to a row."""
        row.update(fields)

    def mark(self, body: Any) -> None:
        """Add an unknown field next to the rows."""
        body["new_in_envelope"] = True

    def pad(self, body: Any, text: str) -> None:
        """Make a body large."""
        body["padding"] = text

    def lists(self, body: Any) -> list[list[Any]]:
        """The lists of rows; a Kiyotaka body has one for each series."""
        if self.nested:
            return [series["points"] for series in body.get("series", [])]
        return [body["data"]] if "data" in body else [body[name] for name in ("symbols",) if name in body]

    def rows(self, body: Any) -> list[Any]:
        """All rows."""
        return [row["Point"] if self.nested else row for rows in self.lists(body) for row in rows]

    def empty(self, body: Any) -> None:
        """Remove all rows."""
        for rows in self.lists(body):
            rows.clear()

    def token(self, body: Any) -> Any:
        """The next page token."""
        if self.token_parameter == "after":
            return (body.get("meta") or {}).get("next_cursor")
        return body.get(self.token_parameter)

    def set_token(self, body: Any, token: str | None, request: Request, origin: str | None = None) -> None:
        """Set the next page token, and the next URL if the vendor has one."""
        if token is None:
            return
        if self.token_parameter == "after":
            meta = body.setdefault("meta", {})
            meta["next_cursor"] = token
            if "has_more" in meta:
                meta["has_more"] = True
            return
        body[self.token_parameter] = token
        if self.url_field:
            # Coin Metrics repeats the whole query in the URL; Kaiko's token contains it.
            kept = request.query if self.url_field == "next_page_url" else []
            kept = [pair for pair in kept if pair[0] != self.token_parameter]
            query = urlencode([*kept, (self.token_parameter, token)], quote_via=quote)
            base = request.url() if origin is None else f"{origin}{request.prefix}{request.path}"
            body[self.url_field] = f"{base}?{query}"

    def shift(self, row: Any, seconds: float) -> None:
        """Move a row in time."""
        for name in self.time_fields:
            value = row.get(name)
            if isinstance(value, str):
                zone = "+00:00" if value.endswith("+00:00") else "Z"
                digits = len(value.removesuffix(zone).partition(".")[2])
                row[name] = iso(parse(value) + int(seconds * NS), digits, zone)
            elif isinstance(value, dict):
                value["s"] += int(seconds)
            elif value is not None:
                row[name] = value + int(seconds * _per_second(value))

    def strange_time(self, row: Any, value: Any) -> None:
        """Set a row's time to `value`, or write it in a unit or form that the vendor does not use."""
        for name in self.time_fields:
            old = row.get(name)
            if value is not None:
                row[name] = value
            elif isinstance(old, str):
                row[name] = "12 March 2025, 03:14"
            elif isinstance(old, dict):
                row[name] = {"s": old["s"] * 1_000_000}
            elif old is not None:
                row[name] = old // _per_second(old)


def _per_second(stamp: int) -> int:
    """Units a second of a present-day timestamp in ms, us or ns."""
    return next((unit for unit in (10**3, 10**6) if stamp < 10**10 * unit), 10**9)
