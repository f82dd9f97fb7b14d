"""One vendor's HTTP: the key, retries, the budget, the origin check.

A request is answered by a whole, valid body, or by a LiquidationsError; nothing in between gets out. Source of the
rules: the contract's table of errors, and the vendors' pages for their limits.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urljoin

import requests

from source_liquidations.errors import LiquidationsError, Stopped, UnexpectedAnswer, VendorUnavailable
from source_liquidations.http import statuses
from source_liquidations.http.answers import Answered, FailedTry, reset_seconds
from source_liquidations.http.budgets import Budget
from source_liquidations.http.patience import LONGEST_HOLD, Patience
from source_liquidations.http.redaction import body_without, forms_in_bodies, redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import Transport, origin
from source_liquidations.logs import logger

_MOST_REDIRECTS = 2
_MOST_DELAYS = 30  # that the vendor asks for, for one request
_LEAST_JITTER = 0.75  # of a pause
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "source-liquidations"}
_random = random.SystemRandom()

Params = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One GET: the vendor's documented path and its parameters, in order, without the key; its weight in the budget."""

    path: str
    params: Params = ()
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.path}?{_query(self.params)}" if self.params else self.path


def _query(params: Params) -> str:
    return "&".join(f"{quote(name, safe='.-_')}={quote(value, safe='.-_~:,*')}" for name, value in params)


class Purse:
    """What a sync may spend where requests are paid for. This one is never empty."""

    def payable(self, request: Request) -> Request:
        """A request as it can be paid, which may be for less. Raises SpendingLimit where it cannot."""
        return request

    def lost(self, request: Request) -> str:
        """The answer to a request that may have reached the vendor did not arrive. Why it cannot be paid again."""
        return ""


@dataclass(kw_only=True, eq=False, repr=False)  # which would show the key
class Client:
    """Sends one vendor's requests.

    `base` is where the documented paths begin, `headers` and `key_params` carry the key; `other_key_params` carry it
    once the header is refused with 401. `translate` puts an answer into the words of HTTP, where a vendor has its
    own: the status that its error means, the usual names of its rate headers. `explain` may turn a refusal into a more
    telling error than its status alone (returning None leaves it to the status).
    `delays` are the seconds to wait after a 429 that does not say how long: after the first one of a request, the
    second, and so on; the last figure is for all others. Without them, such a 429 is a failed try.
    """

    vendor: str
    base: str
    budget: Budget
    headers: Mapping[str, str] = field(default_factory=dict)
    key_params: Params = ()
    other_key_params: Params = ()
    own_origins: frozenset[str] = frozenset()
    translate: Callable[[Answered], Answered] = lambda answered: answered
    explain: Callable[[Answered], LiquidationsError | None] = lambda _: None
    delays: Sequence[float] = ()
    purse: Purse = field(default_factory=Purse)
    patience: Patience = field(default_factory=Patience.from_environment)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.base = _quoted(self.base).rstrip("/")
        self.own_origins |= {origin(self.base)}
        keys = [words.split()[-1] for words in self.headers.values()]  # `Bearer …`
        self._key_forms = forms_in_bodies([*keys, *(key for _, key in (*self.key_params, *self.other_key_params))])
        self._proven: set[str] = set()  # paths that took the key in the headers
        self._plan = ""
        self._transport = Transport(patience=self.patience, stop=self.stop)

    def fetch(
        self,
        request: Request,
        traffic: Traffic | None = None,
        *,
        reserved: bool = False,
        twice_at_most: int | None = None,
    ) -> Answered:
        """A whole, valid answer; retried while the vendor or the way to it fails.

        `reserved` says that the budget's place for the first try is taken already, `twice_at_most` is a status that
        a third try would not change. Raises AccessRefused, RequestRefused, UnexpectedAnswer, VendorUnavailable,
        ConfigurationError, SpendingLimit, or what `explain` says.
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
                error.__traceback__ = error.__context__ = None  # their frames hold what came of the body
                failed, told = error, self._told_pause(error, delays)
            if not failed.sent:
                self.budget.unused(request.weight)
            may_have_been_good = failed.sent and failed.status in (None, 0, statuses.GOOD)
            final = self.purse.lost(request) if may_have_been_good else ""
            # Being asked to wait is no failed try: others may use the key, or the plan is smaller than documented.
            is_delay = told is not None and failed.status == statuses.TOO_MANY
            delays, tries = delays + is_delay, tries + (not is_delay)
            if (
                final
                or tries == self.patience.tries
                or (tries >= 2 and failed.status is not None and failed.status == twice_at_most)
                or delays > _MOST_DELAYS
                or time.monotonic() - started + (told or 0.0) > self.patience.longest_total
            ):
                raise self._unavailable(request, failed, tries + delays, final)
            again = "a retry" if is_delay else f"try {tries + 1} of {self.patience.tries}"
            self._pause_after(failed, told or self._pause(tries, failed), again, request, traffic)

    def _told_pause(self, failed: FailedTry, delays: int) -> float | None:
        """Seconds to wait as the vendor says, or its file after so many delays; None where neither does."""
        if failed.retry_after is None and failed.status == statuses.TOO_MANY and self.delays:
            return self.delays[min(delays, len(self.delays) - 1)] * self.patience.scale
        return failed.retry_after

    def _pause_after(self, failed: FailedTry, seconds: float, again: str, request: Request, traffic: Traffic) -> None:
        if failed.status == statuses.TOO_MANY:
            self.budget.refused(seconds)
        reason = f"{again} in {seconds:.1f} s, after: {failed}"
        logger.info("%s: %s: %s", self.vendor, redact(str(request)), redact(reason))
        traffic.count(retries=1)
        self._wait(seconds, reason, traffic)

    def _try(self, request: Request, traffic: Traffic) -> Answered:
        """One try. Raises FailedTry where another may help."""
        sent_with = self.headers
        answered = self.translate(self._send(request, traffic))
        self._note_limits(answered)
        if answered.status == statuses.GOOD:
            problem = answered.problem()
            if problem is None:
                self.budget.went_well()
                if self.other_key_params:
                    self._proven.add(request.path)
                return answered
            raise FailedTry(redact(problem), statuses.GOOD)
        if answered.status == statuses.NO_KEY and self._key_goes_elsewhere(request, sent_with):
            self._await_budget(request, traffic)
            return self._try(request, traffic)
        error = self.explain(answered) or statuses.refusal(answered)
        if error is not None:
            raise error
        # `Retry-After: 0` means the same as no header.
        raise FailedTry(statuses.words_of(answered), answered.status, retry_after=reset_seconds(answered) or None)

    def _key_goes_elsewhere(self, request: Request, refused: Mapping[str, str]) -> bool:
        """Where documents disagree on where the key goes: as a parameter from the first 401 on.

        A good answer to another call before that proves nothing: it may need no key.
        """
        if refused is self.headers and self.other_key_params and request.path not in self._proven:
            self.headers, self.key_params, self.other_key_params = {}, self.other_key_params, ()
        return refused is not self.headers

    def _unavailable(self, request: Request, failed: FailedTry, tries: int, final: str) -> VendorUnavailable:
        asked = f" The vendor asks to wait for {failed.retry_after:,.0f} s." if failed.retry_after else ""
        asked += f" {final}" if final else ""
        error = VendorUnavailable(
            redact(f"no usable answer to {request} in {tries} tries: {str(failed).rstrip('.')}.{asked}"),
            status=failed.status,
            advice="Nothing is lost: the next sync goes on from the last checkpoint. If this stays, ask the vendor.",
        )
        if failed.status == statuses.TOO_MANY:
            error.of_reading()  # the key has to wait, whatever it asks for
        return error

    def check_origin(self, url: str) -> None:
        """Raise UnexpectedAnswer unless the URL is on one of this vendor's own origins, as a relative one is."""
        found = origin(url.replace("\\", "/"), self.base)
        if found not in self.own_origins:
            raise UnexpectedAnswer(
                f"a next-page address on another origin was refused: {redact(found)}.",
                advice="The key was not sent there. Report this to the vendor.",
            )

    def _await_budget(self, request: Request, traffic: Traffic) -> None:
        while seconds := self.budget.reserve(request.weight):
            if seconds > LONGEST_HOLD:
                raise VendorUnavailable(
                    f"the request budget is spent, and has room again in {seconds / 3600:.1f} hours.",
                    advice="Nothing is lost: a later sync goes on from the last checkpoint.",
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

    def _pause(self, attempt: int, failed: FailedTry) -> float:
        """Seconds before the try after this one: growing, jittered; after 429s, together longer than the budget's."""
        period = self.budget.seconds if failed.status == statuses.TOO_MANY else 0.0
        units = 2.0 ** (self.patience.tries - 1) - 1
        first = self.patience.first_pause * max(1.0, period / (units * _LEAST_JITTER))
        longest = min(first * 2.0 ** (attempt - 1), self.patience.longest_pause)
        return longest * _random.uniform(_LEAST_JITTER, 2 - _LEAST_JITTER)

    def _note_limits(self, answered: Answered) -> None:
        """What the headers say of the key: the requests that are left, and its plan (Coin Metrics)."""
        remaining = answered.headers.get("X-RateLimit-Remaining", "")
        reset = reset_seconds(answered)
        if remaining.isdecimal() and reset is not None and answered.status == statuses.GOOD:
            self.budget.reported(int(remaining), min(reset, self.patience.longest_total))
        plan = answered.headers.get("X-RateLimit-Plan", "")
        if plan != self._plan and re.fullmatch(r"[\w-]{1,40}", plan, re.ASCII):
            self._plan = plan
            logger.info("%s: the key's plan is %s", self.vendor, redact(plan))

    def _send(self, request: Request, traffic: Traffic) -> Answered:
        """The answer to a request, redirects within its origin followed."""
        query = _query(request.params + self.key_params)
        url = f"{self.base}{request.path}{f'?{query}' if query else ''}"
        headers = {**_HEADERS, **self.headers}
        for _ in range(_MOST_REDIRECTS + 1):
            traffic.count(requests=1)
            answered = self._transport.get(url, headers)
            answered = replace(answered, body=body_without(self._key_forms, answered.body))
            traffic.count(received=len(answered.body))
            if answered.status not in statuses.REDIRECTS:
                return answered
            try:
                url = requests.utils.requote_uri(urljoin(url, answered.headers.get("Location", "")))
            except ValueError as error:
                raise FailedTry(f"a redirect to no address ({error})") from None
            if origin(url) != origin(self.base):
                raise UnexpectedAnswer(
                    f"a redirect to another origin was refused: {redact(origin(url))}.",
                    advice="The key was not sent there. Report this to the vendor.",
                )
        raise FailedTry("redirected more than twice")


def _quoted(url: str) -> str:
    """As it is sent: a host in other letters and a path with blanks have forms of their own there."""
    return requests.Request("GET", url).prepare().url or url
