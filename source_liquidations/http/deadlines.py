"""One deadline for each exchange, whatever bytes come.

A timeout of a socket starts again with each byte. So an endless `100 Continue`, a header that comes letter by letter
or a gzip stream of empty blocks would hold a worker for ever.
"""

import io
import time
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any


@dataclass
class Exchange:
    """One request and its answer.

    deadline   when it is given up, on the monotonic clock
    sent       whether a byte of the request may have left the machine
    """

    deadline: float
    sent: bool = False


_under_way: ContextVar[Exchange] = ContextVar("exchange")


def begin(seconds: float) -> Exchange:
    """The exchange of this thread from now on. It may take so many seconds."""
    exchange = Exchange(time.monotonic() + seconds)
    _under_way.set(exchange)
    return exchange


class _Bytes(io.RawIOBase):
    """What comes over a socket. None is waited for beyond the deadline of the exchange."""

    def __init__(self, sock: Any, raw: io.RawIOBase) -> None:
        self._sock, self._raw = sock, raw
        self._timeout: float = sock.gettimeout()
        self._exchange = _under_way.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._exchange.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Bytes(sock, self.fp.detach()))


def timed(connection: type[Any]) -> type[Any]:
    """A urllib3 connection class whose connections keep the deadline of their thread's exchange."""

    class Timed(connection):  # type: ignore[misc]
        response_class = _Answer

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            _under_way.get().sent = True
            super().request(*args, **options)

    Timed.__name__ = connection.__name__  # as messages have it
    return Timed
