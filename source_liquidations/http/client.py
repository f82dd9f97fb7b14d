"""One vendor's HTTP: the key, retries, the request budget, the origin check.

A request ends in a whole, valid answer or in a LiquidationsError, never in between (rules: `docs/reliability.md`).
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urljoin

import requests

from source_liquidations.errors import LiquidationsError, Stopped, UnexpectedAnswer, VendorUnavailable, WindowTooLarge
from source_liquidations.http import statuses
from source_liquidations.http.answers import FailedTry, Response, reset_seconds
from source_liquidations.http.budgets import Budget
from source_liquidations.http.patience import MAX_BUDGET_WAIT, Patience
from source_liquidations.http.redaction import body_without, forms_in_bodies, redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import Transport, origin
from source_liquidations.logs import logger

_MAX_REDIRECTS = 2
_MAX_DELAYS = 30  # requested by the vendor, for one request
_DELAYS_BELIEVED = 20  # then pauses grow: a limit may last longer than the delays that the vendor asks for
_MIN_JITTER = 0.75  # factor of a pause; the largest is as far above 1
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "source-liquidations"}
_random = random.SystemRandom()

Params = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One GET, without the key: the vendor's documented path, its parameters in order, and its weight in the budget.

    is_large    if it times out at the vendor, a smaller one may not
    """

    path: str
    params: Params = ()
    weight: float = 1.0
    is_large: bool = False

    def with_param(self, name: str, value: str) -> Request:
        """The same request with one parameter replaced, or added at the end. Names must be unique."""
        return replace(self, params=tuple((dict(self.params) | {name: value}).items()))

    def __str__(self) -> str:
        return f"{self.path}?{_query(self.params)}" if self.params else self.path


def _query(params: Params) -> str:
    return "&".join(f"{quote(name, safe='.-_')}={quote(value, safe='.-_~:,*')}" for name, value in params)


class Purse:
    """What a sync may spend on requests that cost money. This one has no limit."""

    def payable(self, request: Request) -> Request:
        """The request, or a smaller one that the user's limit still covers. Raises SpendingLimit if none is."""
        return request

    def charge_lost(self, request: Request) -> str:
        """Book the charge for a request whose answer did not arrive; return why no retry is affordable, or nothing."""
        return ""


@dataclass(kw_only=True, eq=False, repr=False)  # a generated repr would show the key
class Client:
    """Sends one vendor's requests.

    base              the URL in front of the documented paths
    headers           carry the key, or `key_params` do; `other_key_params` take over once the header gets a 401
    own_origins       the vendor's; a next-page address must be on one of them
    translate         rewrites a vendor's own conventions as HTTP's: the status of an error, the names of rate headers
    explain           may turn a refusal into a more precise error than its status alone; None keeps the status's error
    delays            seconds to wait after a request's first, second, … 429 that does not say how long; the last one
                      repeats. Without them, such a 429 is a failed try.
    """

    vendor: str
    base: str
    budget: Budget
    headers: Mapping[str, str] = field(default_factory=dict)
    key_params: Params = ()
    other_key_params: Params = ()
    own_origins: frozenset[str] = frozenset()
    translate: Callable[[Response], Response] = lambda response: response
    explain: Callable[[Response], LiquidationsError | None] = lambda _: None
    delays: Sequence[float] = ()
    purse: Purse = field(default_factory=Purse)
    patience: Patience = field(default_factory=Patience.from_environment)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.base = _quoted(self.base).rstrip("/")
        self.own_origins |= {origin(self.base)}
        keys = [value.split()[-1] for value in self.headers.values()]  # `Bearer …`
        self._key_forms = forms_in_bodies([*keys, *(key for _, key in (*self.key_params, *self.other_key_params))])
        self._proven_paths: set[str] = set()  # they accepted the key in the headers
        self._plan = ""
        self._transport = Transport(patience=self.patience, stop=self.stop)

    def fetch(self, request: Request, traffic: Traffic | None = None, *, reserved: bool = False) -> Response:
        """A whole, valid answer. Retries while the vendor or the network fails.

        `reserved` means that the first try already has its place in the budget. Raises AccessRefused, RequestRefused,
        UnexpectedAnswer, VendorUnavailable, ConfigurationError, SpendingLimit, the error from `explain`, or
        WindowTooLarge if the vendor twice finds no time for a large request.
        """
        traffic = traffic or Traffic()
        request = self.purse.payable(request)
        started = time.monotonic()
        tries = delays = 0
        while True:
            if not reserved:
                self._await_budget(request, traffic)
            reserved = False
            try:
                return self._try(request, traffic)
            except FailedTry as error:
                error.__traceback__ = error.__context__ = None  # their frames would keep the body in memory
                failed, delay = error, self._requested_delay(error, delays)
            if not failed.sent:
                self.budget.give_back(request.weight)
            may_be_charged = failed.sent and failed.status in (None, 0, statuses.OK)
            unaffordable = self.purse.charge_lost(request) if may_be_charged else ""
            # A 429 with a delay is no failed try: others may use the key, or the plan is smaller than documented.
            is_delay = delay is not None and failed.status == statuses.TOO_MANY_REQUESTS
            delays, tries = delays + is_delay, tries + (not is_delay)
            if request.is_large and failed.status == statuses.GATEWAY_TIMEOUT and tries >= 2:
                raise WindowTooLarge(str(failed))
            if (
                unaffordable
                or tries == self.patience.tries
                or delays > _MAX_DELAYS
                or time.monotonic() - started + (delay or 0.0) > self.patience.longest_total
            ):
                raise self._unavailable(request, failed, tries + delays, unaffordable)
            next_try = "a retry" if is_delay else f"try {tries + 1} of {self.patience.tries}"
            # Never shorter than without a delay: a vendor may ask for one second however long its outage is.
            pause = max(delay or 0.0, self._backoff(delays - _DELAYS_BELIEVED if is_delay else tries, failed))
            self._pause_before(next_try, pause, failed, request, traffic)

    def _requested_delay(self, failed: FailedTry, delays: int) -> float | None:
        """Seconds to wait: from the answer, else from `self.delays` after this many delays; None if neither has any."""
        if failed.retry_after is None and failed.status == statuses.TOO_MANY_REQUESTS and self.delays:
            return self.delays[min(delays, len(self.delays) - 1)] * self.patience.scale
        return failed.retry_after

    def _pause_before(
        self, next_try: str, seconds: float, failed: FailedTry, request: Request, traffic: Traffic
    ) -> None:
        if failed.status == statuses.TOO_MANY_REQUESTS:
            self.budget.refused(seconds)
        reason = f"{next_try} in {seconds:.1f} s, after: {failed}"
        logger.info("%s: %s: %s", self.vendor, redact(str(request)), redact(reason))
        traffic.count(retries=1)
        self._wait(seconds, reason, traffic)

    def _try(self, request: Request, traffic: Traffic) -> Response:
        """One try. Raises FailedTry if another one may help."""
        sent_headers = self.headers
        response = self.translate(self._send(request, traffic))
        self._note_limits(response)
        if response.status == statuses.OK:
            problem = response.problem()
            if problem is None:
                self.budget.succeeded()
                if self.other_key_params:
                    self._proven_paths.add(request.path)
                return response.on_one_line()
            raise FailedTry(redact(problem), statuses.OK)
        if response.status == statuses.UNAUTHORIZED and self._moved_the_key(request, sent_headers):
            self._await_budget(request, traffic)
            return self._try(request, traffic)
        error = self.explain(response) or statuses.refusal(response)
        if error is not None:
            raise error
        delay = reset_seconds(response) or None  # `Retry-After: 0` means the same as no header
        raise FailedTry(statuses.status_and_words(response), response.status, retry_after=delay)

    def _moved_the_key(self, request: Request, refused: Mapping[str, str]) -> bool:
        """Send the key as a parameter after the first 401, where a vendor's pages disagree on where it belongs.

        Only a path that accepted the key in the headers proves that it belongs there: other calls may need no key.
        """
        if refused is self.headers and self.other_key_params and request.path not in self._proven_paths:
            self.headers, self.key_params, self.other_key_params = {}, self.other_key_params, ()
        return refused is not self.headers

    def _unavailable(self, request: Request, failed: FailedTry, tries: int, unaffordable: str) -> VendorUnavailable:
        asked = failed.retry_after or 0.0
        delay = f"The vendor asks to wait for {asked:,.0f} s." if asked >= 1.0 else ""
        cause = f"no usable answer to {request} in {tries} tries: {str(failed).rstrip('.')}."
        error = VendorUnavailable(
            redact(" ".join(filter(None, (cause, delay, unaffordable)))),
            status=failed.status,
            advice="Nothing is lost: the next sync resumes from the last checkpoint. If this persists, ask the vendor.",
        )
        if failed.status == statuses.TOO_MANY_REQUESTS:
            error.of_reading()  # the limit holds for the key, not for one request
        return error

    def check_origin(self, url: str) -> None:
        """Raise UnexpectedAnswer unless the URL, which may be relative, is on one of this vendor's own origins."""
        _check_origin("a next-page address on", origin(url.replace("\\", "/"), self.base), self.own_origins)

    def _await_budget(self, request: Request, traffic: Traffic) -> None:
        while seconds := self.budget.reserve(request.weight):
            if seconds > MAX_BUDGET_WAIT:
                raise VendorUnavailable(
                    f"the request budget is spent and has room again in {seconds / 3600:.1f} hours.",
                    advice="Nothing is lost: a later sync resumes from the last checkpoint.",
                ).of_reading()
            self._wait(seconds, f"the request budget, {seconds:.1f} s", traffic)

    def _wait(self, seconds: float, reason: str, traffic: Traffic) -> None:
        traffic.note(reason)
        try:
            self._sleep(seconds)
        finally:
            traffic.note("")

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def _backoff(self, tries: int, failed: FailedTry) -> float:
        """Seconds before the next try: growing, jittered. After 429s, they add up to more than the budget's period."""
        if tries < 1:
            return 0.0
        period = self.budget.seconds if failed.status == statuses.TOO_MANY_REQUESTS else 0.0
        units = 2.0 ** (self.patience.tries - 1) - 1  # all pauses, in multiples of the first
        first = self.patience.first_pause * max(1.0, period / (units * _MIN_JITTER))
        pause = min(first * 2.0 ** (tries - 1), self.patience.longest_pause)
        return pause * _random.uniform(_MIN_JITTER, 2 - _MIN_JITTER)

    def _note_limits(self, response: Response) -> None:
        """Note what the headers say about the key: its remaining requests, and its plan (Coin Metrics)."""
        remaining = response.headers.get("X-RateLimit-Remaining", "")
        reset = reset_seconds(response)
        if remaining.isdecimal() and reset is not None and response.status == statuses.OK:
            self.budget.note_remaining(int(remaining), min(reset, self.patience.longest_total))
        plan = response.headers.get("X-RateLimit-Plan", "")
        if plan != self._plan and re.fullmatch(r"[\w-]{1,40}", plan, re.ASCII):
            self._plan = plan
            logger.info("%s: the key's plan is %s", self.vendor, redact(plan))

    def _send(self, request: Request, traffic: Traffic) -> Response:
        """The answer to a request. Follows redirects within its origin; each takes a place in the budget."""
        query = _query(request.params + self.key_params)
        url = f"{self.base}{request.path}{f'?{query}' if query else ''}"
        headers = {**_HEADERS, **self.headers}
        for redirects in range(_MAX_REDIRECTS + 1):
            if redirects:
                self._await_budget(request, traffic)
            traffic.count(requests=1)
            response = self._transport.get(url, headers, lambda: self.budget.sending(request.weight))
            response = replace(response, body=body_without(self._key_forms, response.body))
            traffic.count(received=len(response.body))
            if response.status not in statuses.REDIRECTS:
                return response
            try:
                url = requests.utils.requote_uri(urljoin(url, response.headers.get("Location", "")))
            except ValueError as error:
                raise FailedTry(f"a redirect to an invalid address ({error})") from None
            _check_origin("a redirect to", origin(url), {origin(self.base)})
        raise FailedTry(f"redirected more than {_MAX_REDIRECTS} times")


def _check_origin(what: str, url_origin: str, allowed: Set[str]) -> None:
    if url_origin not in allowed:
        raise UnexpectedAnswer(
            f"{what} another origin was refused: {redact(url_origin)}.",
            advice="The key was not sent there. Report this to the vendor.",
        )


def _quoted(url: str) -> str:
    """The URL as it is sent: an international host in Punycode, blanks in the path escaped."""
    return requests.Request("GET", url).prepare().url or url
