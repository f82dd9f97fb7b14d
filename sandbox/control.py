"""Controls a sandbox in another process over HTTP: `/_control/…`, JSON in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sandbox.app import App, Canned, Recorded
from sandbox.faults import Fault
from sandbox.http import Reply, Request
from sandbox.server import Answer
from sandbox.times import iso
from sandbox.world import World

Body = dict[str, Any]


class Controlled(Protocol):
    """The parts of `sandbox.Sandbox` that the controls use."""

    app: App
    world: World

    @property
    def errors(self) -> list[str]: ...
    def config(self, *args: Any, **fields: Any) -> dict[str, Any]: ...
    def requests(self, vendor: str | None = None) -> list[Recorded]: ...
    def clear(self) -> None: ...
    def now(self) -> int: ...
    def set_now(self, now: Any) -> None: ...
    def advance(self, seconds: float) -> None: ...
    def expected(self, *args: Any, **options: Any) -> list[Any]: ...
    def add_rows(self, *args: Any) -> None: ...
    def serve(self, *args: Any, **answer: Any) -> None: ...
    def fault(self, *args: Any, **details: Any) -> Fault: ...


class Control:
    """Answers `/_control/<action>`: GET reads, POST changes. These requests are not logged."""

    def __init__(self, sandbox: Controlled) -> None:
        self._sandbox = sandbox
        self._actions: dict[str, Callable[[Body], Any]] = {
            "requests": self._requests,
            "errors": lambda body: sandbox.errors,
            "config": lambda body: sandbox.config(**body),
            "now": self._now,
            "clear": lambda body: sandbox.clear(),
            "fault": self._fault,
            "serve": self._serve,
            "rows": lambda body: sandbox.add_rows(body["vendor"], body["market"], body["rows"]),
            "expected": lambda body: sandbox.expected(**body),
            "limits": self._limits,
        }

    def answer(self, request: Request) -> Answer:
        """Run the action; the query and a JSON body are its arguments."""
        action = self._actions.get(request.path.strip("/"))
        if action is None:
            return Answer(Reply(404, {"error": f"unknown action; use one of: {', '.join(self._actions)}"}))
        try:
            body: Body = dict(request.query)
            body.update(msgspec.json.decode(request.body) if request.body else {})
            return Answer(Reply(200, action(body)))
        except Exception as error:
            return Answer(Reply(400, {"error": f"{type(error).__name__}: {error}"}))

    def _requests(self, body: Body) -> Any:
        log = self._sandbox.requests(body.get("vendor"))
        if "count" in body:
            return {"count": len(log)}
        return [record.as_dict() for record in log[int(body.get("after", 0)) :]]

    def _now(self, body: Body) -> Any:
        if "now" in body:
            self._sandbox.set_now(body["now"])
        if "advance" in body:
            self._sandbox.advance(float(body["advance"]))
        now = self._sandbox.now()
        return {"now": iso(now, 9), "ns": now}

    def _fault(self, body: Body) -> Any:
        if body.get("clear"):
            self._sandbox.app.faults.clear()
            return None
        fault = self._sandbox.fault(**body)
        return {"kind": fault.kind}

    def _serve(self, body: Body) -> Any:
        answers = [Canned(b["body"], b.get("status", 200), b.get("headers", {})) for b in body["answers"]]
        self._sandbox.serve(body["vendor"], body["path"], answers)

    def _limits(self, body: Body) -> Any:
        limits = self._sandbox.world.limits
        if "enabled" in body:
            limits.enabled = bool(body["enabled"])
        return {"enabled": limits.enabled}
