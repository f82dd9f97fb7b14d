"""One exchange over a connection that is kept: request out, whole answer in, or what went wrong on the way."""

import threading
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from source_liquidations.errors import Stopped, UnexpectedAnswer
from source_liquidations.http.answers import Answered, FailedTry
from source_liquidations.http.environment import misconfigured, refused_by_proxy, settings
from source_liquidations.http.patience import Patience
from source_liquidations.http.redaction import redact
from source_liquidations.http.statuses import PROXY_REFUSES
from source_liquidations.http.watchdog import Exchange, watched, watching

_MOST_CONNECTIONS = 40  # as `num_workers`
LARGEST_BODY = 128 * 1024 * 1024  # decoded

_BOM = b"\xef\xbb\xbf"
_GET = requests.Request("GET", "http://localhost/").prepare()


class _Adapter(HTTPAdapter):
    """Looks up its host's connections once: neither its proxy nor its certificates change within a sync."""

    def __init__(self, **options: Any) -> None:
        self._pool: Any = None
        super().__init__(**options)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if self._pool is None:
            pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
            pool.ConnectionCls = watched(pool.ConnectionCls)
            self._pool = pool
        return self._pool


class Transport:
    """Exchanges requests for answers with one host, keeping connections open.

    Without a session of requests, which would read the body of a redirect whole, however much it unpacks to.
    """

    def __init__(self, *, patience: Patience, stop: threading.Event) -> None:
        self._patience = patience
        self._stop = stop
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=_MOST_CONNECTIONS, max_retries=0)
        self._settings: dict[str, Any] = {}
        self._settings_lock = threading.Lock()
        self._reached = False

    def get(self, url: str, headers: Mapping[str, str]) -> Answered:
        """One GET and its whole body, decompressed. The URL is sent as it is.

        Raises FailedTry for what stops it on the way, ConfigurationError where this machine's proxy or certificates are
        the reason, UnexpectedAnswer for a body that is too large.
        """
        with self._settings_lock:  # reading certificates takes long: one does it, and the others wait
            self._settings = self._settings or settings(url)
        proxy = requests.utils.select_proxy(url, self._settings["proxies"])
        prepared = _GET.copy()
        prepared.headers.update(headers)
        prepared.url = url
        with watching(self._patience.connect + self._patience.answer) as exchange:
            try:
                answered = self._exchange(prepared, exchange)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                found = misconfigured(error, url, proxy, reached=self._reached or exchange.sent)
                raise found or self._broken(error, exchange) from None
        if answered.status == PROXY_REFUSES:
            raise refused_by_proxy(proxy, f"HTTP {PROXY_REFUSES}")
        self._reached = True
        return answered

    def _exchange(self, prepared: requests.PreparedRequest, exchange: Exchange) -> Answered:
        timeout = (self._patience.connect, self._patience.answer)
        with self._adapter.send(prepared, timeout=timeout, **{**self._settings, "stream": True}) as response:
            return Answered(response.status_code, response.headers, self._body(response, exchange).removeprefix(_BOM))

    def _body(self, response: requests.Response, exchange: Exchange) -> bytes:
        """The whole body, in pieces as they come, so that a slow drip is noticed and stop is heard."""
        started = time.monotonic()
        body = BytesIO()  # hands out what it holds without a copy
        while piece := response.raw.read1(1 << 20, decode_content=True):
            body.write(piece)
            if body.tell() > LARGEST_BODY:
                raise UnexpectedAnswer(
                    f"a body of more than {LARGEST_BODY >> 20} MiB.",
                    advice="No row was taken from it. Report this to the vendor.",
                )
            if self._stop.is_set():
                raise Stopped
            exchange.deadline = started + self._patience.answer + body.tell() / self._patience.slowest_bytes_per_second
        if exchange.overdue:
            raise OSError("shut")  # to some bodies without a length, the end that the deadline made is an end
        return body.getvalue()

    def _broken(self, error: Exception, exchange: Exchange) -> FailedTry:
        """Why no whole answer came."""
        patience = self._patience
        status = None
        if exchange.overdue:
            text = f"no whole answer in {patience.connect + patience.answer:g} s, or too slow a one"
        elif isinstance(error, requests.ConnectTimeout):
            text = f"no connection in {patience.connect:g} s"
        elif isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
            text = f"no answer in {patience.answer:g} s"
        else:
            status, text = 0, redact(f"{type(error).__name__}: {error}")
        return FailedTry(text, status, sent=exchange.sent)


def origin(url: str, base: str = "") -> str:
    """Scheme, host and port of a URL, in lower case, the port written out; `base` is where a relative one stands."""
    try:
        parts = urlsplit(urljoin(base, url))
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError as error:
        return f"no address ({error})"
    return f"{parts.scheme}://{parts.hostname or ''}:{port}".lower()
