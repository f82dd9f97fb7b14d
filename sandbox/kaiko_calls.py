"""Shared by Kaiko's liquidation endpoints: API keys, time and page parameters, continuation tokens, errors."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import msgspec

from sandbox.http import Params, Refusal, Reply, Request
from sandbox.series import Position
from sandbox.times import parse
from sandbox.world import World

KEYS = {"sandbox-kaiko-key": 200, "sandbox-kaiko-second-key": 200, "sandbox-kaiko-forbidden": 403}
REQUESTS_PER_MINUTE = 6000
ROOT = "/v2/data/liquidation.v1"
PARAMETERS = ("start_time", "end_time", "sort", "page_size", "continuation_token")
ACCESS_START = parse("2023-07-04")
ACCESS = {
    "access_range": {"start_timestamp": 1688428800000, "end_timestamp": 2177539199000},
    "data_range": {"start_timestamp": None, "end_timestamp": None},
}
MESSAGES = {
    400: "Bad request",
    401: "Unauthorized: the API key is missing or not valid",
    403: "Forbidden: your subscription does not cover this resource",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable: only application/json is served",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}


def refusal(status: int, message: str | None = None) -> Refusal:
    """A refusal with Kaiko's error body."""
    return Refusal(Reply(status, {"result": "error", "message": message or MESSAGES.get(status, "Error")}))


def bad_parameter(name: str, why: str) -> Refusal:
    """A refusal that names the parameter."""
    return refusal(400, f"Invalid parameter '{name}': {why}")


@dataclass(frozen=True)
class Query:
    """The content of a continuation token: the whole query, and where the next page starts."""

    path: str
    start: int
    end: int
    sort: str
    page_size: int
    created_at: float
    interval: str = ""
    time_texts: tuple[str, str] = ("", "")  # start_time and end_time as the request wrote them
    position: Position | None = None

    def token(self, position: Position) -> str:
        """An opaque token for the page at a position."""
        body = msgspec.json.encode(replace(self, position=position))
        return base64.b32encode(body).decode().rstrip("=").lower()


def read_token(text: str, path: str, lifetime: float | None) -> Query:
    """The query in a token; refused if the token is malformed, of another path, or expired."""
    try:
        query = msgspec.json.decode(base64.b32decode(text.upper() + "=" * (-len(text) % 8)), type=Query)
    except (ValueError, msgspec.DecodeError) as error:
        raise bad_parameter("continuation_token", "the token is not valid.") from error
    if query.path != path or (lifetime is not None and time.time() - query.created_at > lifetime):
        raise bad_parameter("continuation_token", "the token is not valid or has expired.")
    return query


def read_query(request: Request, world: World, allowed: Sequence[str] = PARAMETERS) -> tuple[Query, Params]:
    """A request's query. A continuation token overrides all other parameters."""
    token = next((value for name, value in request.query if name == "continuation_token"), None)
    if token is not None:
        lifetime = world.options.kaiko_token_seconds
        return read_token(token, request.path, lifetime), Params([], allowed, bad_parameter)
    params = Params(request.query, allowed, bad_parameter)
    start = _instant(params, "start_time", ACCESS_START)
    end = _instant(params, "end_time", world.now())
    if start > end:
        raise bad_parameter("start_time", "it is after end_time.")
    sort = params.choice("sort", ("asc", "desc"), "desc")
    size = params.integer("page_size", 100, 1, 1000)
    texts = (params.text("start_time"), params.text("end_time"))
    created_at = time.time() if world.options.kaiko_token_seconds is not None else 0.0
    return Query(request.path, start, end, sort, size, created_at, time_texts=texts), params


def _instant(params: Params, name: str, default: int) -> int:
    if name not in params:
        return default
    try:
        return parse(params.text(name))
    except ValueError as error:
        raise bad_parameter(name, "it is not an ISO 8601 date-time.") from error


def authorize(request: Request, world: World) -> None:
    """Check the method, the Accept header, the API key, its access and its rate limit, in this order."""
    if request.method != "GET":
        raise refusal(405)
    accept = request.headers.get("accept", "*/*")
    if not any(kind in accept for kind in ("*/*", "application/*", "application/json")):
        raise refusal(406)
    key = request.headers.get("x-api-key", "")
    status = KEYS.get(key, 401)
    if status != 200:
        raise refusal(status)
    if not world.limits.take("kaiko", key, REQUESTS_PER_MINUTE, 60).allowed:
        raise refusal(429)


def add_token(body: dict[str, Any], request: Request, token: str | None, last_page: str) -> None:
    """Set the next page's token and URL in a body, or the form that `kaiko_last_page` gives their absence."""
    if token is not None:
        body["continuation_token"] = token
        body["next_url"] = f"{request.url()}?continuation_token={quote(token)}"
    elif last_page != "absent":
        empty = None if last_page == "null" else ""
        body.update(continuation_token=empty, next_url=empty)
