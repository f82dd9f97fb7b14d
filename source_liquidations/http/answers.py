"""What came back: a whole answer, its errors in the vendor's words, its reset times."""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.redaction import redact

T = TypeVar("T")

_LONGEST_WORDS = 300
_LONGEST_PAGE = 100_000
_RESET_HEADERS = ("Retry-After", "X-RateLimit-Reset", "RateLimit-Reset")


class FailedTry(Exception):
    """A try that brought no good answer, and may be repeated.

    status        of the answer; 0 where it broke off, None where none came in time
    retry_after   the delay in seconds that the vendor asks for
    sent          whether the vendor may have seen the request
    """

    def __init__(
        self, words: str, status: int | None = 0, *, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(words)
        self.status = status if sent else None
        self.retry_after = retry_after
        self.sent = sent


def shaped(literal: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """A value out of JSON. Raises UnexpectedAnswer where it has another shape, naming what it is and the field."""
    try:
        return decoder.decode(literal)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(
            f"{what} does not have the documented shape: {error}.",
            advice="No row was guessed from it. Please report this with the connector's version.",
        ) from None


@dataclass(frozen=True)
class Answered:
    """One answer: status, headers (names in any case), and the whole body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def decoded(self, decoder: msgspec.json.Decoder[T]) -> T:
        """The body, which `problem` found to be JSON, through a typed decoder.

        Raises UnexpectedAnswer where it has another shape, naming the field.
        """
        return shaped(self.body, decoder, "the answer")

    def problem(self) -> str | None:
        """Why the body of a 200 is no good answer: not whole, not JSON, or an error. None for a good one."""
        try:
            if not self.body.isascii():
                self.body.decode()  # decoders do not look into what they skip
            envelope = self._envelope
        except _NOT_JSON as error:
            kind = self.headers.get("Content-Type", "no content type")
            return f"a body of {len(self.body)} bytes ({kind}) that is not JSON: {error}"
        if envelope is None:
            is_error = re.match(rb'\s*\[\s*"error"', self.body) is not None
        else:
            is_error = _is_error(envelope) or (_has_words(envelope) and not self._has_data())
        return f"a 200 with an error: {vendor_words(self.body)}" if is_error else None

    @cached_property
    def _envelope(self) -> Any:
        """None of a body that is no object. Raises DecodeError for what is not JSON."""
        for decoder in (_envelope_of_rows, _envelope):
            with contextlib.suppress(msgspec.ValidationError):
                return decoder.decode(self.body)
        _anything.decode(self.body)
        return None

    @property
    def rows(self) -> list[msgspec.Raw] | None:
        """The rows of the list `data`, as written; None where there is none. Found while `problem` looks for one."""
        return getattr(self._envelope, "data", None)

    def _has_data(self) -> bool:
        """Whether a member holds rows: `data`, or where there is none, any other list or object that is not empty."""
        members = MEMBERS.decode(self.body)
        columns = ["data"] if "data" in members else members.keys() - set(_SAYING)
        return any(_HOLDS_SOMETHING.match(members[name]) is not None for name in columns)


# The members by which vendors say in a 200 that it is an error: by what they hold, their value, or `false`.
_ERRORS, _STATES, _FLAGS = ("error", "errors"), ("result", "status", "code"), ("success", "ok")
_WORDS = ("label", "message", "msg", "detail")
_SAYING = (*_ERRORS, *_STATES, *_FLAGS, *_WORDS)
_NO_ERROR = {b"null", b"false", b'""', b"[]", b"{}", b"0"}
_SAYS_ERROR = re.compile(rb'"(?:error|fail|failed|failure)"|"?[45]\d\d"?', re.IGNORECASE)
_SAYS_WELL = re.compile(rb'"(?:success|ok)"|true|"?0+"?', re.IGNORECASE)
_HOLDS_SOMETHING = re.compile(rb"\s*[\[{]\s*[^\]}\s]")
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last of lists in lists in lists
_saying = [(name, msgspec.Raw, msgspec.Raw(b"null")) for name in _SAYING]
_envelope = msgspec.json.Decoder(msgspec.defstruct("Envelope", _saying))
_envelope_of_rows = msgspec.json.Decoder(
    msgspec.defstruct("EnvelopeOfRows", [*_saying, ("data", list[msgspec.Raw] | None, None)])
)
MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])  # of an object: each as it is written
_anything = msgspec.json.Decoder(msgspec.Raw)


def _holds(envelope: Any, names: Sequence[str]) -> bool:
    return any(bytes(getattr(envelope, name)) not in _NO_ERROR for name in names)


def _has_words(envelope: Any) -> bool:
    """Whether it has words without saying that all is well: an error, unless rows come with them."""
    states = (getattr(envelope, name) for name in (*_STATES, *_FLAGS))
    return _holds(envelope, _WORDS) and not any(map(_SAYS_WELL.fullmatch, states))


def _is_error(envelope: Any) -> bool:
    return (
        _holds(envelope, _ERRORS)
        or any(_SAYS_ERROR.fullmatch(getattr(envelope, name)) for name in _STATES)
        or any(bytes(getattr(envelope, name)) == b"false" for name in _FLAGS)
    )


def vendor_words(body: bytes) -> str:
    """The vendor's own message in an error body, whatever its form; else the start of the body."""
    try:
        found = _words_in(msgspec.json.decode(body))
    except _NOT_JSON:
        found = ""
    text = found or body[:_LONGEST_PAGE].decode("utf-8", "replace")
    # Masked before it is cut: of a key at the edge, the half that stays would not be known any more.
    text = redact(text)
    if not found:
        text = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return text[:_LONGEST_WORDS] or "(no words)"


def _words_in(body: Any) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return ", ".join(str(part) for part in body if isinstance(part, (str, int)))
    if not isinstance(body, dict):
        return ""
    nested = next((body[key] for key in ("error", "detail") if isinstance(body.get(key), dict)), None)
    if nested is not None:
        return _words_in(nested)
    parts = [body.get(key) for key in ("label", "type", "error", "code", "message", "msg", "detail")]
    return ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))


class _RetryAfter(msgspec.Struct):
    retry_after: float | str | None = None


def reset_seconds(answered: Answered) -> float | None:
    """Seconds to wait as the answer says, in its headers or its body's `retry_after`; None where it does not say.

    Given are delta seconds, an HTTP date, an ISO 8601 time, or a Unix time in any unit, recognized by its size.
    """
    values: list[Any] = [answered.headers.get(name) for name in _RESET_HEADERS]
    if answered.status == 429:
        with contextlib.suppress(*_NOT_JSON):
            values.append(msgspec.json.decode(answered.body, type=_RetryAfter).retry_after)
    found = (_seconds_from_now(str(value).strip()) for value in values if value is not None)
    return next((seconds for seconds in found if seconds is not None), None)


def _seconds_from_now(text: str) -> float | None:
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII):
        return float(text)
    with contextlib.suppress(ValueError):
        return max(0.0, timestamps.instant_of(text) / timestamps.SECOND - time.time())
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None
