"""One vendor's HTTP: keep-alive, timeouts, retries, the budget, the origin check.

A request is answered by what its decoder makes of a whole, valid body, or by a LiquidationsError; nothing in
between gets out. Source of the rules: the contract's table of errors, and the vendors' pages for their limits.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from source_liquidations.errors import (
    AccessRefused,
    LiquidationsError,
    RequestRefused,
    Stopped,
    UnexpectedAnswer,
    VendorUnavailable,
)
from source_liquidations.http.answers import Answered, NotSent, NotWhole, reset_seconds, vendor_words
from source_liquidations.http.budgets import Budget
from source_liquidations.http.redaction import redact

logger = logging.getLogger("airbyte")

T = TypeVar("T")
Decoder = Callable[[Answered], T]

_GET = requests.Request("GET", "http://localhost/").prepare()
_REDIRECTS = {301, 302, 303, 307, 308}
_RETRIED = {408, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_LARGEST_BODY = 512 * 1024 * 1024
_REASONS_SHOWN = 3
_MOST_TOLD_TO_WAIT = 30  # times, for one request
_LEAST_JITTER = 0.75  # of a pause
_LEAST_TIMEOUT = 1.0  # scaled down or not: a busy machine is no outage


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. `SOURCE_LIQUIDATIONS_PATIENCE` scales it (for tests), timeouts not to nothing."""

    connect: float = 10.0
    answer: float = 60.0  # until the first byte, and between two
    slowest_bytes_per_second: float = 16_384.0  # a body that comes slower than this, for longer, is given up
    tries: int = 6
    first_pause: float = 1.0
    longest_pause: float = 60.0
    longest_total: float = 1_800.0  # told pauses included, for one request

    @classmethod
    def from_environment(cls) -> Patience:
        scale = float(os.environ.get("SOURCE_LIQUIDATIONS_PATIENCE", "1"))
        return cls(
            connect=max(cls.connect * scale, _LEAST_TIMEOUT),
            answer=max(cls.answer * scale, _LEAST_TIMEOUT),
            slowest_bytes_per_second=cls.slowest_bytes_per_second,
            first_pause=cls.first_pause * scale,
            longest_pause=cls.longest_pause * scale,
        )


@dataclass(frozen=True)
class Request:
    """One GET: the vendor's documented path and its parameters, in order, without the key."""

    path: str
    params: tuple[tuple[str, str], ...] = ()
    host: str = "data"

    def __str__(self) -> str:
        return f"{self.path}?{_query(self.params)}" if self.params else self.path


def _query(params: tuple[tuple[str, str], ...]) -> str:
    return "&".join(f"{quote(name, safe='.-_')}={quote(value, safe='.-_~:,*')}" for name, value in params)


@dataclass
class Traffic:
    """What one stream's requests cost so far.

    `waiting` tells people what its workers wait for, if anything; `queued` is the part of it that is the scheduler's.
    """

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds_waited: float = 0.0
    queued: str = ""
    reasons: dict[int, str] = field(default_factory=dict, repr=False)  # by thread
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def sent(self) -> None:
        with self.lock:
            self.requests += 1

    def received(self, size: int) -> None:
        with self.lock:
            self.bytes += size

    def retries_after(self, reason: str) -> None:
        self.note(reason)
        with self.lock:
            self.retries += 1

    def waited(self, seconds: float) -> None:
        with self.lock:
            self.seconds_waited += seconds

    def note(self, reason: str) -> None:
        """What this thread waits for from now on; nothing where the reason is empty."""
        with self.lock:
            self.reasons[threading.get_ident()] = reason

    @property
    def waiting(self) -> str:
        with self.lock:
            reasons = sorted({*self.reasons.values(), self.queued} - {""})
        more = [f"{len(reasons) - _REASONS_SHOWN} more"] if len(reasons) > _REASONS_SHOWN else []
        return "; ".join(reasons[:_REASONS_SHOWN] + more)


class _Adapter(HTTPAdapter):
    """Looks up a host's connections once: neither its proxy nor its certificates change within a sync."""

    def __init__(self, **options: Any) -> None:
        self._found: dict[str, Any] = {}
        super().__init__(**options)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        assert request.url is not None
        host = origin(request.url)
        if host not in self._found:
            self._found[host] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return self._found[host]


class Client:
    """Sends one vendor's requests.

    `hosts` gives the base URL of each of its hosts, `headers` and `key_params` carry the key, `explain` may turn a
    refusal into a more telling error than its status alone (returning None leaves it to the status). `lost` is told
    of each request that may have reached the vendor and whose answer did not arrive whole.
    """

    def __init__(
        self,
        *,
        vendor: str,
        hosts: Mapping[str, str],
        budget: Budget,
        headers: Mapping[str, str] | None = None,
        key_params: tuple[tuple[str, str], ...] = (),
        keyless_hosts: frozenset[str] = frozenset(),
        own_origins: frozenset[str] = frozenset(),
        explain: Callable[[Answered], LiquidationsError | None] = lambda _: None,
        lost: Callable[[Request], None] = lambda _: None,
        connections: int = 8,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.vendor = vendor
        self.budget = budget
        self.stop = stop or threading.Event()
        self._hosts = {name: _quoted(base).rstrip("/") for name, base in hosts.items()}
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "source-liquidations"}
        self._key_headers = dict(headers or {})
        self._key_params = key_params
        self._keyless_hosts = keyless_hosts
        self._own_origins = own_origins | {origin(base) for base in self._hosts.values()}
        self._explain = explain
        self._lost = lost
        self._patience = patience or Patience.from_environment()
        self._random = random.SystemRandom()
        self._session = requests.Session()
        adapter = _Adapter(pool_connections=len(self._hosts), pool_maxsize=connections, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        # Proxies and certificates of the environment, looked up once; `send` alone never reads a .netrc.
        self._settings = {
            name: self._session.merge_environment_settings(base, {}, None, None, None)
            for name, base in self._hosts.items()
        }

    def __repr__(self) -> str:
        return f"Client({self.vendor}, {sorted(self._hosts.values())})"

    def fetch(
        self,
        request: Request,
        decode: Decoder[T],
        *,
        traffic: Traffic | None = None,
        reserved: bool = False,
        twice_at_most: int | None = None,
    ) -> T:
        """What `decode` makes of the answer; retried while the vendor or the way to it fails.

        `reserved` says that the budget's place for the first try is taken already, `twice_at_most` is a status that
        a third try would not change. Raises AccessRefused, RequestRefused, UnexpectedAnswer, VendorUnavailable, or
        what `decode` and `explain` raise.
        """
        traffic = traffic or Traffic()
        try:
            return self._tried(request, decode, traffic, reserved, twice_at_most)
        finally:
            traffic.note("")

    def _tried(
        self, request: Request, decode: Decoder[T], traffic: Traffic, reserved: bool, twice_at_most: int | None
    ) -> T:
        started = time.monotonic()
        tries = told_to_wait = 0
        while True:
            if not (reserved and tries + told_to_wait == 0):
                self._await_budget(traffic)
            status: int | None = None
            told: float | None = None
            try:
                answered = self._send(request, traffic)
                self._note_limits(answered)
                if answered.status == 200:
                    answered.must_be_text()
                    found = decode(answered)
                    self.budget.went_well()
                    return found
                # A wait of nothing says as little as none.
                failure, told, status = self._refusal(answered), reset_seconds(answered) or None, answered.status
            except NotWhole as broken:
                failure = str(broken)
                if isinstance(broken, NotSent):
                    self.budget.unused()
                else:
                    self._lost(request)
            # To be told to wait is no failure: others may use the key, or the plan is smaller than documented.
            limited = status == 429 and told is not None
            told_to_wait, tries = told_to_wait + limited, tries + (not limited)
            waited = time.monotonic() - started
            if (
                tries == self._patience.tries
                or (tries >= 2 and status is not None and status == twice_at_most)
                or told_to_wait > _MOST_TOLD_TO_WAIT
                or waited + (told or 0.0) > self._patience.longest_total
            ):
                break
            pause = told if told is not None else self._pause(tries, self.budget.seconds if status == 429 else 0.0)
            if status == 429:
                self.budget.refused(pause)
            again = "again" if limited else f"try {tries + 1} of {self._patience.tries}"
            reason = f"{again} in {pause:.1f} s, after: {failure}"
            logger.info("%s: %s: %s", self.vendor, redact(str(request)), redact(reason))
            traffic.retries_after(reason)
            pausing = time.monotonic()
            try:
                self._sleep(pause)
            finally:
                traffic.waited(time.monotonic() - pausing)
        gone = VendorUnavailable(
            redact(f"no usable answer to {request} in {tries + told_to_wait} tries: {failure.rstrip('.')}."),
            status=status,
            advice="Nothing is lost: the next sync goes on from the last checkpoint. If this stays, ask the vendor.",
        )
        if status == 429:
            gone.scope = "reading"  # the key is told to wait, whatever it asks for
        raise gone

    def check_origin(self, url: str) -> None:
        """Raise UnexpectedAnswer unless the URL is on one of this vendor's own origins."""
        if origin(url) not in self._own_origins:
            raise UnexpectedAnswer(
                f"a next-page address on another origin was refused: {redact(origin(url))}.",
                advice="The key was not sent there. Report this to the vendor.",
            )

    def _await_budget(self, traffic: Traffic) -> None:
        while seconds := self.budget.reserve():
            traffic.note(f"the request budget, {seconds:.1f} s")
            self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def _pause(self, attempt: int, period: float) -> float:
        """Seconds before the try after this one: growing, jittered; all together longer than `period`."""
        units = 2.0 ** (self._patience.tries - 1) - 1
        first = self._patience.first_pause * max(1.0, period / (units * _LEAST_JITTER))
        longest = min(first * 2.0 ** (attempt - 1), self._patience.longest_pause)
        return longest * self._random.uniform(_LEAST_JITTER, 2 - _LEAST_JITTER)

    def _note_limits(self, answered: Answered) -> None:
        remaining = answered.headers.get("X-RateLimit-Remaining", "")
        reset = reset_seconds(answered)
        if remaining.isdecimal() and reset is not None and answered.status == 200:
            self.budget.reported(int(remaining), min(reset, self._patience.longest_total))

    def _refusal(self, answered: Answered) -> str:
        """What failed, where a retry may help; raises where none will."""
        explained = self._explain(answered)
        if explained is not None:
            raise explained
        words = redact(f"HTTP {answered.status}: {vendor_words(answered.body)}")
        if answered.status == 429 or answered.status in _RETRIED:
            return words
        if answered.status in {401, 402}:
            raise AccessRefused(
                words, status=answered.status, advice="Check the key and the plan of the vendor's account."
            )
        if answered.status == 403:
            raise AccessRefused(
                words,
                status=403,
                advice="The key's plan does not cover this; ask the vendor, or take it out of the configuration.",
            )
        if 400 <= answered.status < 500:
            raise RequestRefused(
                words, status=answered.status, advice="Correct what is named here, or take it out of the configuration."
            )
        if answered.status >= 500:
            return words
        raise UnexpectedAnswer(f"an answer with status {answered.status}, which is not documented.")

    def _send(self, request: Request, traffic: Traffic) -> Answered:
        query = _query(request.params if request.host in self._keyless_hosts else request.params + self._key_params)
        url = self._hosts[request.host] + request.path + (f"?{query}" if query else "")
        headers = dict(self._headers)
        if request.host not in self._keyless_hosts:
            headers |= self._key_headers
        for _ in range(3):
            traffic.sent()
            answered = self._exchange(url, headers, self._settings[request.host])
            traffic.received(len(answered.body))
            if answered.status not in _REDIRECTS:
                return answered
            url = requests.utils.requote_uri(urljoin(url, answered.headers.get("Location", "")))
            if origin(url) != origin(self._hosts[request.host]):
                raise UnexpectedAnswer(
                    f"a redirect to another origin was refused: {redact(origin(url))}.",
                    advice="The key was not sent there. Report this to the vendor.",
                )
        raise NotWhole("redirected more than twice")

    def _exchange(self, url: str, headers: Mapping[str, str], settings: Mapping[str, object]) -> Answered:
        """One request and its whole body. Raises NotWhole for anything that stops it on the way."""
        prepared = _GET.copy()  # the URL needs no more quoting, and nothing else differs
        prepared.headers.update(headers)
        prepared.url = url
        try:
            response = self._session.send(
                prepared,
                timeout=(self._patience.connect, self._patience.answer),
                allow_redirects=False,
                **(dict(settings) | {"stream": True}),  # type: ignore[arg-type]
            )
            with response:
                return Answered(response.status_code, response.headers, self._body(response.raw))
        except requests.ConnectTimeout as error:
            raise NotSent(f"no connection in {self._patience.connect:g} s") from error
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise NotWhole(f"no answer in {self._patience.answer:g} s") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            kind = NotSent if _never_sent(error) else NotWhole
            raise kind(redact(f"{type(error).__name__}: {error}")) from None

    def _body(self, raw: urllib3.HTTPResponse) -> bytes:
        """The whole body, in pieces as they come, so that a slow drip is noticed and stop is heard."""
        patience = self._patience
        started = time.monotonic()
        pieces: list[bytes] = []
        size = 0
        while piece := raw.read1(1 << 20, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() - started > patience.answer + size / patience.slowest_bytes_per_second:
                raise NotWhole(f"the body came too slowly: {size} bytes in {time.monotonic() - started:.0f} s")
            if size > _LARGEST_BODY:
                raise UnexpectedAnswer(f"a body of more than {_LARGEST_BODY >> 20} MiB.")
            if self.stop.is_set():
                raise Stopped
        return b"".join(pieces)


def _quoted(url: str) -> str:
    """As it is sent: a host in other letters and a path with blanks have forms of their own there."""
    return requests.Request("GET", url).prepare().url or url


def _never_sent(error: Exception) -> bool:
    """Whether no connection came about, so that the vendor knows nothing of the request."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProxyError))


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in lower case, the port written out."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError as error:
        return f"no address ({error})"
    return f"{parts.scheme}://{parts.hostname or ''}:{port}".lower()
