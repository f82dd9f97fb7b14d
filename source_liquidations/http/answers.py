"""What came back: a whole answer, its errors in the vendor's words, its reset times."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http.redaction import redact

T = TypeVar("T")

_LONGEST_WORDS = 300
_LONGEST_PAGE = 100_000
_RESET_HEADERS = ("Retry-After", "X-RateLimit-Reset", "RateLimit-Reset")


class NotWhole(Exception):
    """The answer did not arrive, or not whole: worth another try."""


class NotSent(NotWhole):
    """The request did not even get to the vendor."""


@dataclass(frozen=True)
class Answered:
    """One answer: status, headers (names in any case), and the whole body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def must_be_text(self) -> None:
        """Raise NotWhole unless the body is UTF-8: decoders do not look into what they skip."""
        try:
            if not self.body.isascii():
                self.body.decode()
        except UnicodeDecodeError as error:
            raise self._not_json(error) from None

    def decoded(self, decoder: msgspec.json.Decoder[T]) -> T:
        """The body through a typed decoder. Raises NotWhole where it is not JSON (cut off, an HTML page),
        UnexpectedAnswer where it is JSON of the wrong shape, naming the field."""
        try:
            return decoder.decode(self.body)
        except msgspec.ValidationError as error:
            self._must_be_json()
            raise UnexpectedAnswer(
                f"the answer does not have the documented shape: {error}.",
                advice="No row was guessed from it. Please report this with the connector's version.",
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_json(error) from None

    def _must_be_json(self) -> None:
        try:
            msgspec.json.decode(self.body, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_json(error) from None

    def _not_json(self, error: Exception) -> NotWhole:
        kind = self.headers.get("Content-Type", "no content type")
        return NotWhole(f"a body of {len(self.body)} bytes ({kind}) that is not JSON: {error}")


def vendor_words(body: bytes) -> str:
    """The vendor's own message in an error body, whatever its form; else the start of the body."""
    try:
        found = _words_in(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
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
    if not isinstance(body, dict):
        return ""
    nested = next((body[key] for key in ("error", "detail") if isinstance(body.get(key), dict)), None)
    if nested is not None:
        return _words_in(nested)
    parts = [body.get(key) for key in ("type", "error", "code", "message", "detail")]
    return ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))


class _RetryAfter(msgspec.Struct):
    retry_after: float | str | None = None


def reset_seconds(answered: Answered) -> float | None:
    """Seconds to wait as the answer says, in its headers or its body's `retry_after`; None where it is silent.

    Headers give delta seconds, an HTTP date or a Unix time.
    """
    for name in _RESET_HEADERS:
        value = answered.headers.get(name, "").strip()
        if not value:
            continue
        if re.fullmatch(r"\d+(\.\d+)?", value):
            seconds = float(value)
            return seconds if seconds < 1e9 else max(0.0, seconds - time.time())
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (TypeError, ValueError):
            continue
    if answered.status != 429:
        return None
    try:
        told = msgspec.json.decode(answered.body, type=_RetryAfter).retry_after
        return None if told is None else max(0.0, float(told))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
