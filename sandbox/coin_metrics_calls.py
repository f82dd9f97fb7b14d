"""Shared by Coin Metrics' endpoints: API keys, rate limits, time and page parameters, paging, errors."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from sandbox.http import Params, Refusal, Reply, Request, json_rows
from sandbox.series import Page, Position
from sandbox.times import DAY, parse
from sandbox.world import World

# The market id patterns that each key may read; an empty tuple means no liquidations at all.
KEYS: dict[str, tuple[str, ...]] = {
    "sandbox-coin-metrics-key": ("*",),
    "cm+key/with=chars": ("*",),
    "sandbox-coin-metrics-limited": ("binance-BTCUSDT-future", "binance-ETHUSDT-future"),
    "sandbox-coin-metrics-forbidden": (),
}
PAID_LIMIT = (6000, 20.0)
COMMUNITY_LIMIT = (10, 6.0)
MAX_URL = 10_000
TIME_PARAMETERS = ("start_time", "end_time", "start_inclusive", "end_inclusive", "timezone")
PAGE_PARAMETERS = ("page_size", "paging_from", "next_page_token", "pretty", "format", "api_key")
TYPES = {
    400: "bad_parameter",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    414: "uri_too_long",
    429: "too_many_requests",
}
MESSAGES = {
    "bad_parameter": "Bad parameter.",
    "unauthorized": "Requested resource requires authorization.",
    "wrong_credentials": "Supplied credentials are not valid.",
    "forbidden": "Requested resource is not available with supplied credentials.",
    "uri_too_long": "Provided URI is too long. It must not be greater than 10000 symbols.",
    "too_many_requests": "Too many requests.",
}


class Readable(Protocol):
    """Rows of one entity, sorted by time."""

    def ascending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), oldest first."""

    def descending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), newest first."""


def refusal(status: int, kind: str | None = None, message: str | None = None) -> Refusal:
    """A refusal with Coin Metrics' error body."""
    kind = kind or TYPES.get(status, "internal_server_error")
    text = message or MESSAGES.get(kind, "Internal server error.")
    return Refusal(Reply(status, {"error": {"type": kind, "message": text}}))


def bad_parameter(name: str, why: str) -> Refusal:
    """A refusal that names the parameter."""
    return refusal(400, message=f"Bad parameter '{name}'. {why}")


def authorize(request: Request, community: bool) -> tuple[str, ...]:
    """The market patterns that the caller may read."""
    if len(request.origin) + len(request.target) > MAX_URL:
        raise refusal(414)
    if request.method != "GET":
        raise refusal(405, message="Method is not allowed.")
    if community:
        return ("*",)
    key = next((value for name, value in request.query if name == "api_key"), None)
    if not key:
        raise refusal(401)
    if key not in KEYS:
        raise refusal(401, "wrong_credentials")
    return KEYS[key]


def limited(request: Request, world: World, community: bool) -> dict[str, str]:
    """Count the request and return its rate limit headers; raises Refusal over the limit."""
    limit, seconds = COMMUNITY_LIMIT if community else PAID_LIMIT
    key = next((value for name, value in request.query if name == "api_key"), "")
    verdict = world.limits.take("coin_metrics", request.client if community else key, limit, seconds)
    headers = {
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(verdict.reset),
        "X-RateLimit-Plan": "community" if community else "default",
    }
    if not verdict.allowed:
        refused = refusal(429)
        refused.reply.headers.update(headers)
        raise refused
    return headers


@dataclass(frozen=True)
class Window:
    """The requested [start, end) in nanoseconds, and how to page it."""

    start: int
    end: int
    from_start: bool
    page_size: int
    limit: int | None
    token: str


def read_window(params: Params, world: World, community: bool, limit_name: str) -> Window:
    """Read the bounds, inclusive unless the request says otherwise. By default, paging starts at the end."""
    start = _instant(params, "start_time", 0)
    end = _instant(params, "end_time", world.now())
    start += not params.flag("start_inclusive", True)
    end += params.flag("end_inclusive", True)
    if community:
        start = max(start, world.now() - DAY)
    from_start = params.choice("paging_from", ("start", "end"), "end") == "start"
    limit = params.integer(limit_name, None, 1) if limit_name in params else None
    size = params.integer("page_size", 100, 1, 10_000)
    return Window(start, end, from_start, size, limit, params.text("next_page_token"))


def _instant(params: Params, name: str, default: int) -> int:
    if name not in params:
        return default
    zone = params.text("timezone", "UTC")
    try:
        return parse(params.text(name), zone, zone_wins=zone != "UTC")
    except ValueError as error:
        raise bad_parameter(name, f"Value '{params.text(name)}' is not supported.") from error


def select(text: str, names: Sequence[str], refuse: Callable[[str], Refusal]) -> list[str]:
    """The names that a comma-separated list of ids and patterns selects, sorted; raises if an item matches none."""
    selected: set[str] = set()
    for item in text.split(","):
        matches = [name for name in names if fnmatchcase(name, item)] if "*" in item else [item]
        if not matches or not all(name in names for name in matches):
            raise refuse(item)
        selected.update(matches)
    return sorted(selected)


@dataclass(frozen=True)
class _Place:
    """Where a page starts: an entity, a position in it, and how many of its rows have been sent."""

    entity: int = 0
    position: Position | None = None
    sent: int = 0

    def token(self) -> str:
        time, skip = self.position or ("", "")
        text = base64.urlsafe_b64encode(f"{time}|{skip}|{self.sent}".encode()).decode().rstrip("=")
        return f"{self.entity}.{text}"


def _place(token: str) -> _Place:
    if not token:
        return _Place()
    try:
        entity, _, text = token.partition(".")
        time, skip, sent = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        return _Place(int(entity), (int(time), int(skip)) if time else None, int(sent))
    except ValueError as error:
        raise bad_parameter("next_page_token", f"Value '{token}' is not supported.") from error


def read_page(sources: Sequence[Readable], window: Window) -> tuple[list[bytes], str | None]:
    """One page over all entities, sorted by entity and time, and the next page token.

    With `paging_from=end`, the first page has the last rows of the last entity; rows within a page are still ascending.
    """
    order = list(sources) if window.from_start else list(reversed(sources))
    place, rows = _place(window.token), list[bytes]()
    while place.entity < len(order):
        room = window.page_size - len(rows)
        allowed = room if window.limit is None else min(room, window.limit - place.sent)
        source = order[place.entity]
        read = source.ascending if window.from_start else source.descending
        page = read(window.start, window.end, max(allowed, 0), place.position)
        if page.next and (window.limit is None or place.sent < window.limit) and not room:
            break
        rows += page.rows
        sent = place.sent + len(page.rows)
        if page.next and (window.limit is None or sent < window.limit):
            place = _Place(place.entity, page.next, sent)
            break
        place = _Place(place.entity + 1)
    if not window.from_start:
        rows.reverse()
    return rows, place.token() if place.entity < len(order) else None


def answer_page(request: Request, params: Params, rows: list[bytes], token: str | None) -> Reply:
    """A page as JSON or CSV, with the next page's URL, which repeats the query and so contains the key."""
    url = None
    if token is not None:
        kept = [pair for pair in request.query if pair[0] != "next_page_token"]
        url = f"{request.url()}?{urlencode([*kept, ('next_page_token', token)], quote_via=quote)}"
    if params.choice("format", ("json", "csv"), "json") == "csv":
        headers = {"x-next-page-url": url} if url else {}
        return Reply(body=_csv(rows), rows=len(rows), content_type="text/csv", headers=headers)
    body: dict[str, Any] = {"data": json_rows(rows)}
    if token is not None:
        body.update(next_page_token=token, next_page_url=url)
    if params.flag("pretty", False):
        return Reply(body=msgspec.json.format(msgspec.json.encode(body)), rows=len(rows))
    return Reply(body=body, rows=len(rows))


def _csv(rows: list[bytes]) -> bytes:
    decoded = [msgspec.json.decode(row) for row in rows]
    names = list(dict.fromkeys(name for row in decoded for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(decoded)
    return text.getvalue().encode()
