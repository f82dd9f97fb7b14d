"""Routes requests to the vendors and keeps the request log, canned responses and faults."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.bitfinex import Bitfinex
from sandbox.coin_metrics import CoinMetrics
from sandbox.coinalyze import Coinalyze
from sandbox.faults import PAGING, REPLACING, ROWS, Fault, Faults
from sandbox.gate import Gate
from sandbox.http import Pairs, Refusal, Reply, Request, Vendor
from sandbox.kaiko import Kaiko
from sandbox.kiyotaka import Kiyotaka
from sandbox.kwery import Kwery
from sandbox.layouts import shape_of
from sandbox.server import Answer
from sandbox.world import World

MAX_LOGGED_REQUESTS = 500_000


@dataclass
class Recorded:
    """One request and its response. Status 0 means that no response was sent."""

    vendor: str
    prefix: str
    method: str
    path: str
    query: Pairs
    headers: dict[str, str]
    target: str
    time: float
    status: int = 0
    rows: int = 0
    bytes: int = 0
    fault: str | None = None
    finished: float = 0.0

    @property
    def params(self) -> dict[str, str]:
        """The query as a mapping; a repeated parameter has its last value."""
        return dict(self.query)

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON."""
        return asdict(self)


@dataclass
class Canned:
    """A response that a test sends instead of the vendor's."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class App:
    """Answers requests and logs them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vendors: dict[str, Vendor] = {v.name: v for v in make_vendors(world)}
        self._by_prefix = {prefix: v for v in self.vendors.values() for prefix in v.prefixes}
        self.origin = ""
        self.faults = Faults(lambda: self.origin.replace("127.0.0.1", "localhost"))
        self.log: deque[Recorded] = deque(maxlen=MAX_LOGGED_REQUESTS)
        self.errors: list[str] = []
        self._canned: dict[tuple[str, str], deque[Canned]] = {}
        self._lock = threading.Lock()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The path prefixes of all vendors."""
        return tuple(self._by_prefix)

    def serve(self, vendor: str, path: str, answers: Sequence[Canned]) -> None:
        """Answer the next requests for a vendor's path with these responses, one each."""
        with self._lock:
            self._canned.setdefault((vendor, path), deque()).extend(answers)

    def clear(self) -> None:
        """Clear the log, the canned responses, the faults and the rate limit counters."""
        with self._lock:
            self.log.clear()
            self.errors.clear()
            self._canned.clear()
        self.faults.clear()
        self.world.limits.clear()

    def answer(self, request: Request) -> Answer:
        """Answer one request of any vendor."""
        vendor = self._by_prefix.get(request.prefix)
        name = vendor.name if vendor else ""
        record = Recorded(
            name,
            request.prefix,
            request.method,
            request.path,
            list(request.query),
            dict(request.headers),
            request.target,
            time.time(),
        )
        with self._lock:
            self.log.append(record)
        if vendor is None:
            return self._finish(record, Reply(404, {"error": "no such vendor in this sandbox"}), None)
        fault = self.faults.pick(request, name)
        record.fault = fault.kind if fault else None
        try:
            reply = self._reply(request, vendor, fault)
        except Refusal as refused:
            reply = refused.reply
        except Exception:
            self.errors.append(traceback.format_exc())
            reply = vendor.error(500)
        return self._finish(record, reply, fault)

    def _finish(self, record: Recorded, reply: Reply, fault: Fault | None) -> Answer:
        def done(status: int, size: int) -> None:
            record.status, record.bytes, record.finished = status, size, time.time()
            record.rows = reply.rows if status else 0

        return Answer(reply, fault.wire() if fault else None, done)

    def _reply(self, request: Request, vendor: Vendor, fault: Fault | None) -> Reply:
        wire = fault.wire() if fault else None
        if wire and wire.silences:
            return Reply(0)
        if fault and fault.kind in REPLACING:
            replaced = self.faults.replacement(fault, shape_of(vendor.name, request.path), vendor.error)
            assert replaced is not None
            return replaced
        canned = self._take_canned(vendor.name, request)
        if canned:
            body = canned.body.encode() if isinstance(canned.body, str) else canned.body
            reply = Reply(canned.status, body, dict(canned.headers))
        else:
            self.faults.resolve(request)
            reply = vendor.handle(request)
        if fault and (fault.kind in ROWS or fault.kind in PAGING):
            return self.faults.spoil(fault, request, vendor.name, reply)
        self.faults.remember(request, vendor.name, reply)
        return reply

    def _take_canned(self, vendor: str, request: Request) -> Canned | None:
        with self._lock:
            for name in (vendor, request.prefix[1:]):
                queue = self._canned.get((name, request.path))
                if queue:
                    return queue.popleft()
        return None


def make_vendors(world: World) -> list[Vendor]:
    """All simulated vendors."""
    kinds = (Kaiko, Kwery, CoinMetrics, Kiyotaka, Bitfinex, Gate, Coinalyze)
    return [kind(world) for kind in kinds]
