"""One exchange over a connection that is kept: request out, whole answer in, or what went wrong on the way."""

import threading
import time
from collections.abc import Mapping
from io import BytesIO
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import exceptions

from source_liquidations.errors import Stopped, UnexpectedAnswer
from source_liquidations.http.answers import Answered, FailedTry
from source_liquidations.http.deadlines import Exchange, begin
from source_liquidations.http.environment import connections, misconfigured, refused_by_proxy
from source_liquidations.http.patience import Patience
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import PROXY_REFUSES

LARGEST_BODY = 128 * 1024 * 1024  # decoded

_BOM = b"\xef\xbb\xbf"


class Transport:
    """Exchanges requests for answers with one host, keeping connections open.

    Without a session of requests, which would read the body of a redirect whole, however much it unpacks to.
    """

    def __init__(self, *, patience: Patience, stop: threading.Event) -> None:
        self._patience = patience
        self._stop = stop
        self._way: tuple[urllib3.PoolManager, str | None] | None = None
        self._way_lock = threading.Lock()
        self._reached = False

    def get(self, url: str, headers: Mapping[str, str]) -> Answered:
        """One GET and its whole body, decompressed.

        Raises FailedTry for what stops it on the way, ConfigurationError where this machine's proxy or certificates are
        the reason, UnexpectedAnswer for a body that is too large.
        """
        with self._way_lock:  # reading certificates takes long: one does it, and the others wait
            manager, proxy = self._way = self._way or connections(url)
        exchange = begin(self._patience.connect + self._patience.answer)
        try:
            answered = self._exchange(manager, url, headers, exchange)
        except (exceptions.HTTPError, OSError, ValueError) as error:
            found = misconfigured(error, url, proxy, reached=self._reached or exchange.sent)
            raise found or self._broken(error, exchange) from None
        if answered.status == PROXY_REFUSES:
            raise refused_by_proxy(proxy, f"HTTP {PROXY_REFUSES}")
        self._reached = True
        return answered

    def _exchange(
        self, manager: urllib3.PoolManager, url: str, headers: Mapping[str, str], exchange: Exchange
    ) -> Answered:
        timeout = urllib3.Timeout(connect=self._patience.connect, read=self._patience.answer)
        with manager.urlopen(
            "GET", url, redirect=False, headers=headers, timeout=timeout, retries=False, preload_content=False
        ) as response:
            return Answered(response.status, response.headers, self._body(response, exchange).removeprefix(_BOM))

    def _body(self, response: urllib3.BaseHTTPResponse, exchange: Exchange) -> bytes:
        """The whole body, in pieces as they come, so that a slow drip is noticed and stop is heard."""
        started = time.monotonic()
        body = BytesIO()  # hands out what it holds without a copy
        while piece := response.read1(1 << 20, decode_content=True):
            body.write(piece)
            if body.tell() > LARGEST_BODY:
                raise UnexpectedAnswer(
                    f"a body of more than {LARGEST_BODY >> 20} MiB.",
                    advice="No row was taken from it. Report this to the vendor.",
                )
            if self._stop.is_set():
                raise Stopped
            exchange.deadline = started + self._patience.answer + body.tell() / self._patience.slowest_bytes_per_second
        return body.getvalue()

    def _broken(self, error: Exception, exchange: Exchange) -> FailedTry:
        """Why no whole answer came."""
        patience = self._patience
        status = None
        if time.monotonic() >= exchange.deadline:
            text = f"no whole answer in {patience.connect + patience.answer:g} s, or too slow a one"
        elif isinstance(error, exceptions.NewConnectionError) or not isinstance(error, exceptions.TimeoutError):
            status, text = 0, redact(f"{type(error).__name__}: {error}")
        elif isinstance(error, exceptions.ConnectTimeoutError):
            text = f"no connection in {patience.connect:g} s"
        else:
            text = f"no answer in {patience.answer:g} s"
        return FailedTry(text, status, sent=exchange.sent)


def origin(url: str, base: str = "") -> str:
    """Scheme, host and port of a URL, in lower case, the port written out; `base` is where a relative one stands."""
    try:
        parts = urlsplit(urljoin(base, url))
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError as error:
        return f"no address ({error})"
    return f"{parts.scheme}://{parts.hostname or ''}:{port}".lower()
