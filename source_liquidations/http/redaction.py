"""Keeps keys out of everything that is printed: literal, URL-encoded, base64, escaped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "****"
_SHORTEST = 4  # masking shorter secrets would garble ordinary words and protect nothing

# Keys in query strings are masked by the parameter's name too, however they are encoded.
_QUERY_KEY = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|x-[a-z-]*key)(?:=|%3D|[\"']?\s*:\s*[\"']))[^&\s\"'<>\\]+"
)

_secret_forms: re.Pattern[str] | None = None


def _forms(secret: str) -> set[str]:
    encoded = secret.encode()
    whole_base64 = base64.b64encode(encoded).decode()
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(quote(secret, safe=""), safe=""),
        whole_base64,
        whole_base64.rstrip("="),
        base64.urlsafe_b64encode(encoded).decode().rstrip("="),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        repr(encoded)[2:-1],
    }


def keep_secret(secrets: Iterable[str]) -> None:
    """Mask these values in whatever `redact` sees from now on, besides those it knows already."""
    global _secret_forms
    forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
    if not forms:
        return
    patterns = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
    if _secret_forms is not None:
        patterns.append(_secret_forms.pattern)
    _secret_forms = re.compile("|".join(patterns), re.IGNORECASE)


def redact(text: str) -> str:
    """The text with every known secret, and every key in a query string, masked."""
    if _secret_forms is not None:
        text = _secret_forms.sub(MASK, text)
    return _QUERY_KEY.sub(rf"\1{MASK}", text)
