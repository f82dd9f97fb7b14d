"""Faults that a test injects: which requests they hit, and how they change the response."""

from __future__ import annotations

import base64
import copy
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from sandbox.http import Reply, Request
from sandbox.layouts import shape_of
from sandbox.server import WIRE_FAULTS, Wire
from sandbox.shapes import Shape

REPLACING = ("html", "error_in_200", "status", "redirect")
ROWS = ("out_of_window", "unordered", "wrong_types", "timestamp_unit", "unknown_fields", "missing_fields", "big_page")
PAGING = ("repeat_token", "empty_page", "foreign_next_url")
KINDS = (*WIRE_FAULTS, *REPLACING, *ROWS, *PAGING)


@dataclass
class Fault:
    """One injected fault. It skips `after` matching requests, then hits `times` of them (None: all)."""

    kind: str
    vendor: str | None = None
    path_contains: str = ""
    query_contains: str = ""
    after: int = 0
    times: int | None = 1
    details: dict[str, Any] = field(default_factory=dict)
    matched: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: one of {', '.join(KINDS)}")

    def hits(self, request: Request, vendor: str) -> bool:
        """Whether the fault hits this request; counts a matching request."""
        query = urlsplit(request.target).query
        if self.vendor not in (None, vendor, request.prefix[1:]) or self.path_contains not in request.path:
            return False
        if self.query_contains not in query and self.query_contains not in unquote(query):
            return False
        if self.times is not None and self.fired >= self.times:
            return False
        self.matched += 1
        if self.matched <= self.after:
            return False
        self.fired += 1
        return True

    def wire(self) -> Wire | None:
        """The fault on the wire, if it is one."""
        if self.kind not in WIRE_FAULTS:
            return None
        seconds = {"silent": 3600.0, "slow_first_byte": 5.0, "slow_drip": 0.2}.get(self.kind, 0.0)
        return Wire(
            self.kind,
            float(self.details.get("seconds", seconds)),
            int(self.details.get("chunk", 64)),
            "cut" if self.kind == "cut" and self.details.get("length") == "cut" else "full",
        )


class Faults:
    """All injected faults. The first that matches a request takes effect."""

    def __init__(self, foreign_origin: Callable[[], str]) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._aliases: dict[str, list[tuple[str, str]]] = {}
        self._previous: dict[str, Reply] = {}
        self._numbers = itertools.count(1)
        self._foreign = foreign_origin

    def add(self, fault: Fault) -> Fault:
        """Inject a fault."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()
            self._aliases.clear()
            self._previous.clear()

    def pick(self, request: Request, vendor: str) -> Fault | None:
        """The fault that hits a request."""
        with self._lock:
            return next((fault for fault in self._faults if fault.hits(request, vendor)), None)

    def resolve(self, request: Request) -> None:
        """Replace an empty page's token by the query that it stands for."""
        for _, value in request.query:
            if value in self._aliases:
                request.query = list(self._aliases[value])
                return

    def remember(self, request: Request, vendor: str, reply: Reply) -> None:
        """Keep the last page of a path without page tokens, for `repeat_token`."""
        shape = shape_of(vendor, request.path)
        if shape and not shape.token_parameter:
            self._previous[request.prefix + request.path] = reply

    def replacement(self, fault: Fault, shape: Shape | None, error: Callable[[int, str | None], Reply]) -> Reply | None:
        """The reply of a fault that replaces the vendor's; None for other faults."""
        details = fault.details
        headers = {str(k): str(v) for k, v in details.get("headers", {}).items()}
        if fault.kind == "html":
            page = details.get("body", "<html><body><h1>Welcome to our status page</h1></body></html>")
            return Reply(details.get("status", 200), page.encode(), headers, content_type="text/html")
        if fault.kind == "error_in_200" and shape and not shape.token_parameter:
            return Reply(200, error(500, details.get("message")).body, headers)
        if fault.kind == "error_in_200":
            return Reply(200, {"result": "error", "message": details.get("message", "Internal failure")}, headers)
        if fault.kind == "redirect":
            location = details.get("location") or f"{self._foreign()}/elsewhere"
            return Reply(details.get("status", 302), b"", {"Location": location, **headers})
        if fault.kind == "status":
            status = int(details.get("status", 500))
            body = details.get("body")
            plain = error(status, details.get("message"))
            kept = plain.headers if details.get("headers") is None else {}
            return Reply(status, plain.body if body is None else _body(body), {**kept, **headers})
        return None

    def spoil(self, fault: Fault, request: Request, vendor: str, reply: Reply) -> Reply:
        """The reply with a fault in its rows or its paging."""
        shape = shape_of(vendor, request.path)
        body = msgspec.json.decode(reply.encoded())
        if shape is None or not shape.fits(body):
            return reply
        headers = dict(reply.headers)
        if fault.kind == "repeat_token" and not shape.token_parameter:
            return self._previous.get(request.prefix + request.path, reply)
        if fault.kind == "repeat_token":
            own = next((value for name, value in request.query if name == shape.token_parameter), None)
            shape.set_token(body, own or shape.token(body), request)
        elif fault.kind == "foreign_next_url" and not shape.token_parameter:
            headers["Link"] = f'<{self._foreign()}{request.prefix}{request.path}>; rel="next"'
        elif fault.kind == "empty_page":
            alias = base64.b32encode(f"again {next(self._numbers)}".encode()).decode().rstrip("=").lower()
            self._aliases[alias] = list(request.query)
            shape.empty(body)
            shape.set_token(body, alias, request)
        elif fault.kind == "foreign_next_url":
            shape.set_token(body, shape.token(body) or "token", request, origin=self._foreign())
        else:
            _ROW_FAULTS[fault.kind](shape, body, fault.details)
        rows = 0 if fault.kind == "empty_page" else reply.rows
        return Reply(reply.status, body, headers, rows, reply.content_type)


def _body(body: Any) -> Any:
    return body.encode() if isinstance(body, str) else body


def _out_of_window(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    for row in shape.rows(body):
        shape.shift(row, float(details.get("seconds", -400 * 86400)))


def _unordered(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    for rows in shape.lists(body):
        random.Random(details.get("seed", 1)).shuffle(rows)


def _wrong_types(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    name = details.get("field", shape.number_field)
    for row in shape.rows(body)[: details.get("rows", 1)]:
        shape.put(row, name, details.get("value", {"unexpected": "object"}))


def _timestamp_unit(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    for row in shape.rows(body):
        shape.strange_time(row, details.get("value"))


def _unknown_fields(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    fields = details.get("fields", {"new_field": "new", "new_object": {"a": [1, 2.5, None]}})
    shape.mark(body)
    for row in shape.rows(body):
        shape.widen(row, copy.deepcopy(fields))


def _missing_fields(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    names = details.get("fields", [shape.number_field])
    for row in shape.rows(body)[: details.get("rows")]:
        for name in names:
            shape.remove(row, name)


def _big_page(shape: Shape, body: Any, details: dict[str, Any]) -> None:
    shape.pad(body, "x" * int(float(details.get("megabytes", 50)) * 1_000_000))


_ROW_FAULTS: dict[str, Callable[[Shape, Any, dict[str, Any]], None]] = {
    "out_of_window": _out_of_window,
    "unordered": _unordered,
    "wrong_types": _wrong_types,
    "timestamp_unit": _timestamp_unit,
    "unknown_fields": _unknown_fields,
    "missing_fields": _missing_fields,
    "big_page": _big_page,
}
