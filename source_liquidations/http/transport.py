"""One exchange over a kept-alive connection: sends a request and returns the whole response, or says what failed."""

import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import exceptions

from source_liquidations.errors import Stopped, UnexpectedAnswer
from source_liquidations.http.answers import FailedTry, Response
from source_liquidations.http.deadlines import Exchange, begin
from source_liquidations.http.environment import connections, misconfigured, refused_by_proxy
from source_liquidations.http.patience import Patience
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import PROXY_REFUSES

LARGEST_BODY = 128 * 1024 * 1024  # bytes, decompressed

_BOM = b"\xef\xbb\xbf"


class Transport:
    """Sends requests to one host and keeps its connections open.

    Not a session of `requests`: that reads the whole body of a redirect, however large it is once decompressed.
    """

    def __init__(self, *, patience: Patience, stop: threading.Event) -> None:
        self._patience = patience
        self._stop = stop
        self._connections: tuple[urllib3.PoolManager, str | None] | None = None
        self._connections_lock = threading.Lock()
        self._reached = False  # whether the vendor has ever answered

    def get(self, url: str, headers: Mapping[str, str], sending: Callable[[], None]) -> Response:
        """One GET and its whole body, decompressed. Calls `sending` once it is connected.

        Raises FailedTry if the network or the vendor fails, ConfigurationError if this machine's proxy or certificates
        do, UnexpectedAnswer if the body is too large.
        """
        with self._connections_lock:  # reading certificates is slow: one thread does it for all
            manager, proxy = self._connections = self._connections or connections(url)
        exchange = begin(self._patience.connect + self._patience.answer, sending)
        try:
            response = self._exchange(manager, url, headers, exchange)
        except (exceptions.HTTPError, OSError, ValueError) as error:
            mistake = misconfigured(error, url, proxy, reached=self._reached or exchange.sent)
            raise mistake or self._broken(error, exchange) from None
        if response.status == PROXY_REFUSES:
            raise refused_by_proxy(proxy, f"HTTP {PROXY_REFUSES}")
        self._reached = True
        return response

    def _exchange(
        self, manager: urllib3.PoolManager, url: str, headers: Mapping[str, str], exchange: Exchange
    ) -> Response:
        timeout = urllib3.Timeout(connect=self._patience.connect, read=self._patience.answer)
        with manager.urlopen(
            "GET", url, redirect=False, headers=headers, timeout=timeout, retries=False, preload_content=False
        ) as raw:
            return Response(raw.status, raw.headers, self._body(raw, exchange).removeprefix(_BOM))

    def _body(self, raw: urllib3.BaseHTTPResponse, exchange: Exchange) -> bytes:
        """The whole body. Reads it piece by piece, to detect a slow drip and to react to `stop`."""
        started = time.monotonic()
        body = BytesIO()  # its getvalue() makes no copy
        while piece := raw.read1(1 << 20, decode_content=True):
            body.write(piece)
            if body.tell() > LARGEST_BODY:
                raise UnexpectedAnswer(
                    f"a body of more than {LARGEST_BODY >> 20} MiB.",
                    advice="No row of it was used. Report this to the vendor.",
                )
            if self._stop.is_set():
                raise Stopped
            exchange.deadline = started + self._patience.answer + body.tell() / self._patience.slowest_bytes_per_second
        return body.getvalue()

    def _broken(self, error: Exception, exchange: Exchange) -> FailedTry:
        """Why no whole answer arrived."""
        patience = self._patience
        status = None
        if time.monotonic() >= exchange.deadline:
            text = f"no whole answer in {patience.connect + patience.answer:g} s, or it came too slowly"
        elif isinstance(error, exceptions.NewConnectionError) or not isinstance(error, exceptions.TimeoutError):
            status, text = 0, redact(f"{type(error).__name__}: {error}")
        elif isinstance(error, exceptions.ConnectTimeoutError):
            text = f"no connection in {patience.connect:g} s"
        else:
            text = f"no answer in {patience.answer:g} s"
        return FailedTry(text, status, sent=exchange.sent)


def origin(url: str, base: str = "") -> str:
    """Scheme, host and explicit port of a URL, in lower case; a relative URL is resolved against `base`."""
    try:
        split = urlsplit(urljoin(base, url))
        port = split.port or {"https": 443, "http": 80}.get(split.scheme, 0)
    except ValueError as error:
        return f"an invalid address ({error})"
    return f"{split.scheme}://{split.hostname or ''}:{port}".lower()
