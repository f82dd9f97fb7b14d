"""One deadline for each exchange, whatever bytes come: when it passes, the socket is shut.

A timeout of a socket starts again with each byte. So an endless `100 Continue`, a header that comes letter by letter
or a gzip stream of empty blocks would hold a worker for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

_TICK = 0.25  # seconds; a deadline is kept to within this


class Exchange:
    """One request and its answer.

    deadline   when it is given up, on the monotonic clock
    overdue    whether it was given up
    sent       whether a byte of the request may have left the machine
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.overdue = False
        self.sent = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def holds(self, sock: socket.socket) -> None:
        """This exchange runs over the socket. A duplicate is kept: TLS takes the original's descriptor away."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
            if self.overdue:
                self._shut()

    def give_up(self) -> None:
        with self._lock:
            self.overdue = True
            self._shut()

    def end(self) -> None:
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def _shut(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """Gives up the exchanges whose deadline has passed. Its thread starts with the first one."""

    def __init__(self) -> None:
        self._exchanges: set[Exchange] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, seconds: float) -> Iterator[Exchange]:
        """An exchange of this thread that may take so many seconds."""
        exchange = _current.exchange = Exchange(seconds)
        with self._lock:
            self._exchanges.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="http-deadlines", daemon=True)
                self._thread.start()
        try:
            yield exchange
        finally:
            del _current.exchange
            with self._lock:
                self._exchanges.discard(exchange)
            exchange.end()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK)
            now = time.monotonic()
            with self._lock:
                late = [exchange for exchange in self._exchanges if exchange.deadline <= now and not exchange.overdue]
            for exchange in late:
                exchange.give_up()


WATCHDOG = Watchdog()
_current = threading.local()


def watched(connection: type[Any]) -> type[Any]:
    """A urllib3 connection class whose connections tell the exchange of their thread which socket they use."""

    class Watched(connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            _current.exchange.holds(sock)
            return sock

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            else:
                _current.exchange.holds(self.sock)
            _current.exchange.sent = True
            super().request(*args, **options)

    return Watched


def watch(pool: Any) -> None:
    """Let the connections of a pool of urllib3's be watched."""
    if not pool.ConnectionCls.__name__.startswith("Watched"):
        pool.ConnectionCls = watched(pool.ConnectionCls)
