"""The interface of the sandbox for tests and scripts."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from sandbox.app import App, Canned, Recorded
from sandbox.cache import RowCache
from sandbox.configuration import configuration
from sandbox.control import Control
from sandbox.faults import Fault
from sandbox.http import Request
from sandbox.limits import Limits
from sandbox.market import Density, Market
from sandbox.server import Answer, Server
from sandbox.times import Clock, floor, instant_of
from sandbox.world import Options, World

Instant = str | int | datetime


class Sandbox:
    """The seven vendors on one loopback port, in a thread: `with Sandbox(seed=1) as sandbox: …`.

    Instants are ISO strings, datetimes or nanoseconds. With `now` the clock is frozen unless `ticking`. Other keyword
    arguments are fields of `Density` or `Options`.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        now: Instant | None = None,
        ticking: bool = False,
        port: int = 0,
        limits: bool = True,
        compress: bool = True,
        tiny_markets: int = 0,
        cache_rows: int = 500_000,
        live_from: Instant | None = None,
        **switches: Any,
    ) -> None:
        density = {name: switches.pop(name) for name in list(switches) if name in Density.__dataclass_fields__}
        clock = Clock(now, ticking=ticking)
        density["live_from"] = floor(clock.now(), 3600 * 10**9) if live_from is None else instant_of(live_from)
        self.market = Market(seed, clock, Density(**density), tiny_markets, cache_rows)
        self.world = World(self.market, Limits(limits), Options(**switches), RowCache(cache_rows))
        self.app = App(self.world)
        self._port, self._compress = port, compress
        self._server: Server | None = None
        self._control = Control(self)

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start to serve."""
        self._server = Server(self._port, self._answer, (*self.app.prefixes, "/_control"), compress=self._compress)
        self.app.origin = self.url
        self._server.start()

    def stop(self) -> None:
        """Stop serving and close all connections."""
        if self._server:
            self._server.stop()
            self._server = None

    def _answer(self, request: Request) -> Answer:
        return self._control.answer(request) if request.prefix == "/_control" else self.app.answer(request)

    @property
    def url(self) -> str:
        """The origin, such as `http://127.0.0.1:8900`."""
        if self._server is None:
            raise RuntimeError("the sandbox is not started")
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def foreign_url(self) -> str:
        """The same server under another origin; the log shows its requests by their `host` header."""
        return self.url.replace("127.0.0.1", "localhost")

    def closed_url(self) -> str:
        """An origin that refuses connections, because nothing listens there."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{probe.getsockname()[1]}"

    def config(
        self,
        start_date: str | None = None,
        vendors: Sequence[str] | None = None,
        *,
        community: bool = False,
        **fields: Any,
    ) -> dict[str, Any]:
        """A configuration of the connector; `fields` are added at its top level.

        `vendors` are names, by default Kaiko, Kwery, Coin Metrics and Kiyotaka. With `community`, Coin Metrics is its
        host without a key, which has the last 24 hours.
        """
        return {**configuration(self.url, self.now(), start_date, vendors, community), **fields}

    def requests(self, vendor: str | None = None) -> list[Recorded]:
        """The logged requests, in order: all, or those of a vendor or a prefix such as `coin_metrics_community`."""
        log = list(self.app.log)
        return [r for r in log if vendor is None or vendor in (r.vendor, r.prefix[1:])]

    @property
    def errors(self) -> list[str]:
        """Tracebacks of the sandbox's own failures; a test asserts that there are none."""
        return self.app.errors

    def clear(self) -> None:
        """Clear the log, canned responses, faults and rate limit counters; the data stays."""
        self.app.clear()

    def now(self) -> int:
        """The sandbox's current time in nanoseconds."""
        return self.world.now()

    def set_now(self, now: Instant) -> None:
        """Set the clock."""
        self.market.clock.set(now)

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.market.clock.advance(seconds)

    def expected(self, vendor: str, market: str, start: Instant, end: Instant, **options: Any) -> list[Any]:
        """All rows of a market in [start, end) in the vendor's form, oldest first."""
        return self.app.vendors[vendor].expected(market, instant_of(start), instant_of(end), **options)

    def add_rows(self, vendor: str, market: str, rows: Sequence[Any]) -> None:
        """Add rows (such as late ones) to a vendor's market, in the vendor's form."""
        self.app.vendors[vendor].add_rows(market, rows)

    def serve(
        self,
        vendor: str,
        path: str,
        bodies: Sequence[Any],
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next requests for a path (without the vendor's prefix) with these bodies, one each.

        A body is bytes, a string, an object for JSON, or a `Canned` with its own status and headers.
        """
        answers = [b if isinstance(b, Canned) else Canned(b, status, headers or {}) for b in bodies]
        self.app.serve(vendor, path, answers)

    def fault(
        self,
        kind: str,
        *,
        vendor: str | None = None,
        path_contains: str = "",
        query_contains: str = "",
        after: int = 0,
        times: int | None = 1,
        **details: Any,
    ) -> Fault:
        """Inject a fault into matching requests: skip `after` of them, then hit `times` (None: all)."""
        return self.app.faults.add(Fault(kind, vendor, path_contains, query_contains, after, times, details))
