"""One deadline for each exchange, however slowly bytes arrive.

A socket's timeout restarts with each byte. Without a deadline, an endless `100 Continue`, a header that arrives letter
by letter or a gzip stream of empty blocks would block a worker forever.
"""

import io
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import CONTINUE, OK, HTTPResponse
from typing import Any


@dataclass
class Exchange:
    """One request and its answer.

    deadline   when it times out, on the monotonic clock
    sending    called once it is connected, before the first byte of the request
    sent       whether a byte of the request may have left the machine
    """

    deadline: float
    sending: Callable[[], None]
    sent: bool = False


_current: ContextVar[Exchange] = ContextVar("exchange")


def begin(seconds: float, sending: Callable[[], None]) -> Exchange:
    """Start an exchange in this thread. It times out after this many seconds."""
    exchange = Exchange(time.monotonic() + seconds, sending)
    _current.set(exchange)
    return exchange


class _Bytes(io.RawIOBase):
    """The bytes from a socket, read no later than the exchange's deadline."""

    def __init__(self, sock: Any, raw: io.RawIOBase) -> None:
        self._sock, self._raw = sock, raw
        self._timeout: float = sock.gettimeout()
        self._exchange = _current.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds_left = self._exchange.deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(seconds_left, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Bytes(sock, self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        """Report any informational status (103 Early Hints) as 100, the only one that http.client skips.

        Otherwise it would count as the answer, and the next request on this connection would get this one's answer.
        """
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, CONTINUE if CONTINUE <= status < OK else status, reason


def timed(connection: type[Any]) -> type[Any]:
    """A urllib3 connection class that respects the deadline of its thread's exchange."""

    class Timed(connection):  # type: ignore[misc]
        response_class = _Answer

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            exchange = _current.get()
            exchange.sent = True
            exchange.sending()
            super().request(*args, **options)

    Timed.__name__ = connection.__name__  # urllib3 shows it in its messages
    return Timed
