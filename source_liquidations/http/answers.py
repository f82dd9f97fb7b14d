"""A vendor's response: whether it is whole, its error in the vendor's words, how long to wait before a retry."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.redaction import redact

T = TypeVar("T")

_MAX_WORDS = 300  # characters
_MAX_PAGE = 100_000  # bytes of an error page
_NO_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_RESET_HEADERS = ("Retry-After", "X-RateLimit-Reset", "RateLimit-Reset")


class FailedTry(Exception):
    """A try without a good answer. It may be retried.

    status        of the answer; 0 if the connection broke, None if no answer came in time
    retry_after   the delay that the vendor asks for, in seconds
    sent          whether the vendor may have seen the request
    """

    def __init__(
        self, reason: str, status: int | None = 0, *, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(reason)
        self.status = status if sent else None
        self.retry_after = retry_after
        self.sent = sent


def decode_value(literal: bytes, decoder: msgspec.json.Decoder[T], name: str) -> T:
    """A value decoded from JSON. Raises UnexpectedAnswer with the value's name and the field if the shape is wrong."""
    try:
        return decoder.decode(literal)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(
            f"{name} does not have the documented shape: {error}.",
            advice="No row was guessed from it. Please report this with the connector's version.",
        ) from None


@dataclass(frozen=True)
class Response:
    """One HTTP response: its status, its headers (names in any case) and its whole body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def on_one_line(self) -> Response:
        """A valid answer without line breaks, which stand only between tokens: a record is one line."""
        has_line_breaks = b"\n" in self.body or b"\r" in self.body
        return replace(self, body=self.body.translate(_NO_LINE_BREAKS)) if has_line_breaks else self

    def decoded(self, decoder: msgspec.json.Decoder[T]) -> T:
        """The body through a typed decoder, once `problem` has checked that it is JSON.

        Raises UnexpectedAnswer with the field if the shape is wrong.
        """
        return decode_value(self.body, decoder, "the answer")

    def problem(self) -> str | None:
        """Why the body of a 200 is not usable: not whole, not JSON, or an error. None if it is usable."""
        try:
            if not self.body.isascii():
                self.body.decode()  # decoders do not check the text that they skip
            envelope = self._envelope
        except _NOT_JSON as error:
            kind = self.headers.get("Content-Type", "no content type")
            return f"a body of {len(self.body)} bytes ({kind}) that is not JSON: {error}"
        if envelope is None:
            is_error = re.match(rb'\s*\[\s*"error"', self.body) is not None
        else:
            is_error = _is_error(envelope) or (_has_message(envelope) and not self._has_data())
        return f"a 200 with an error: {vendor_words(self.body)}" if is_error else None

    @cached_property
    def _envelope(self) -> Any:
        """The members that report errors, and `data`; None for JSON that is no object. Raises `_NOT_JSON`."""
        for decoder in (_envelope_with_rows, _envelope):
            with contextlib.suppress(msgspec.ValidationError):
                return decoder.decode(self.body)
        _anything.decode(self.body)
        return None

    @property
    def rows(self) -> list[msgspec.Raw] | None:
        """The rows of the list `data`, as the vendor wrote them; None if there is no such list."""
        return getattr(self._envelope, "data", None)

    def _has_data(self) -> bool:
        """Whether `data`, or without it any member that reports no error, is a list or object that is not empty."""
        members = MEMBERS.decode(self.body)
        columns = ["data"] if "data" in members else members.keys() - set(_REPORTS)
        return any(_NOT_EMPTY.match(members[name]) is not None for name in columns)


# How vendors report an error in a 200: by a member that is not empty, by a status, or by a flag that is false.
_ERRORS, _STATUSES, _FLAGS = ("error", "errors"), ("result", "status", "code"), ("success", "ok")
_MESSAGES = ("label", "message", "msg", "detail")
_REPORTS = (*_ERRORS, *_STATUSES, *_FLAGS, *_MESSAGES)
_EMPTY = {b"null", b"false", b'""', b"[]", b"{}", b"0"}
_ERROR_STATUS = re.compile(rb'"(?:error|fail|failed|failure)"|"?[45]\d\d"?', re.IGNORECASE)
_SUCCESS = re.compile(rb'"(?:success|ok)"|true|"?0+"?', re.IGNORECASE)
_NOT_EMPTY = re.compile(rb"\s*[\[{]\s*[^\]}\s]")
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # RecursionError: lists nested too deeply
_reports = [(name, msgspec.Raw, msgspec.Raw(b"null")) for name in _REPORTS]
_envelope = msgspec.json.Decoder(msgspec.defstruct("Envelope", _reports))
_envelope_with_rows = msgspec.json.Decoder(
    msgspec.defstruct("EnvelopeWithRows", [*_reports, ("data", list[msgspec.Raw] | None, None)])
)
MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])  # an object's members, each as the vendor wrote it
_anything = msgspec.json.Decoder(msgspec.Raw)


def _has_any(envelope: Any, names: Sequence[str]) -> bool:
    return any(bytes(getattr(envelope, name)) not in _EMPTY for name in names)


def _has_message(envelope: Any) -> bool:
    """Whether it has a message and no sign of success: an error, unless rows come with it."""
    signs = (getattr(envelope, name) for name in (*_STATUSES, *_FLAGS))
    return _has_any(envelope, _MESSAGES) and not any(map(_SUCCESS.fullmatch, signs))


def _is_error(envelope: Any) -> bool:
    return (
        _has_any(envelope, _ERRORS)
        or any(_ERROR_STATUS.fullmatch(getattr(envelope, name)) for name in _STATUSES)
        or any(bytes(getattr(envelope, name)) == b"false" for name in _FLAGS)
    )


def vendor_words(body: bytes) -> str:
    """The vendor's own message in an error body of any form; without one, the start of the body."""
    try:
        message = _message_in(msgspec.json.decode(body))
    except _NOT_JSON:
        message = ""
    # Redact before the cut: half a key would no longer be recognized.
    text = redact(message or body[:_MAX_PAGE].decode("utf-8", "replace"))
    if not message:
        text = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return text[:_MAX_WORDS] or "(no words)"


def _message_in(body: Any) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return ", ".join(str(part) for part in body if isinstance(part, (str, int)))
    if not isinstance(body, dict):
        return ""
    nested = next((body[key] for key in ("error", "detail") if isinstance(body.get(key), dict)), None)
    if nested is not None:
        return _message_in(nested)
    texts = [body.get(key) for key in ("label", "type", "error", "code", "message", "msg", "detail")]
    return ": ".join(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


class _RetryAfter(msgspec.Struct):
    retry_after: float | str | None = None


def reset_seconds(response: Response) -> float | None:
    """Seconds to wait, from the headers or from `retry_after` in the body; None if the answer has neither.

    Accepts seconds, an HTTP date, an ISO 8601 time, or a Unix time, whose unit follows from its size. A zero, or a time
    in the past, counts only if nothing else names a delay.
    """
    values: list[Any] = [response.headers.get(name) for name in _RESET_HEADERS]
    if response.status == 429:
        with contextlib.suppress(*_NOT_JSON):
            values.append(msgspec.json.decode(response.body, type=_RetryAfter).retry_after)
    stated = (_seconds_from_now(str(value).strip()) for value in values if value is not None)
    delays = [delay for delay in stated if delay is not None]
    return next(filter(None, delays), 0.0 if delays else None)


def _seconds_from_now(text: str) -> float | None:
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII):
        return float(text)
    with contextlib.suppress(ValueError):
        return max(0.0, timestamps.instant_of(text) / timestamps.SECOND - time.time())
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None
