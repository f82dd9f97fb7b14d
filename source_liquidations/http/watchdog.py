"""One deadline for each exchange, whatever bytes come: when it passes, the socket is shut.

A timeout of a socket starts again with each byte. So an endless `100 Continue`, a header that comes letter by letter
or a gzip stream of empty blocks would hold a worker for ever.
"""

import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_TICK = 0.25  # seconds; a deadline is kept to within this


@dataclass
class Exchange:
    """One request and its answer.

    deadline   when it is given up, on the monotonic clock
    overdue    whether it was given up
    sent       whether a byte of the request may have left the machine
    """

    deadline: float
    overdue: bool = False
    sent: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)

    def holds(self, sock: socket.socket) -> None:
        """This exchange runs over the socket. A duplicate is kept: TLS takes the original's descriptor away."""
        with _lock:
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))

    def give_up(self) -> None:
        self.overdue = True
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


_exchanges: dict[int, Exchange] = {}  # under way, by thread
_lock = threading.Lock()


@contextlib.contextmanager
def watching(seconds: float) -> Iterator[Exchange]:
    """An exchange of this thread that may take so many seconds."""
    thread, exchange = threading.get_ident(), Exchange(time.monotonic() + seconds)
    with _lock:
        _exchanges[thread] = exchange
        _start()
    try:
        yield exchange
    finally:
        with _lock:
            del _exchanges[thread]
            for sock in exchange._sockets:
                sock.close()


@functools.cache
def _start() -> None:
    threading.Thread(target=_watch, name="http-deadlines", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(_TICK)
        with _lock:
            for exchange in _exchanges.values():
                if exchange.deadline <= time.monotonic():
                    exchange.give_up()


def watched(connection: type[Any]) -> type[Any]:
    """A urllib3 connection class whose connections tell the exchange of their thread which socket they use."""

    class Watched(connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            _exchanges[threading.get_ident()].holds(sock)
            return sock

        def request(self, *args: Any, **options: Any) -> None:
            exchange = _exchanges[threading.get_ident()]
            if self.sock is None:
                self.connect()
            else:
                exchange.holds(self.sock)
            exchange.sent = True
            super().request(*args, **options)

    return Watched
