"""Keeps keys out of everything that is printed: literal, URL-encoded, base64, escaped."""

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

MASK = "****"
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_SHORTEST = 4  # masking shorter secrets would garble ordinary words and protect nothing
_SHORTEST_IN_BODIES = 8

# Keys in query strings are masked by the parameter's name too, however they are encoded.
_QUERY_KEY = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|x-[a-z-]*key)(?:=|%3D|[\"']?\s*:\s*[\"']))[^&\s\"'<>\\]+"
)

_secrets: set[str] = set()
_secret_forms: re.Pattern[str] | None = None


def _character(character: str) -> str:
    """A pattern of one character in every form; which characters are encoded, and how often, is up to the writer."""
    encoded = character.encode("utf-8", "surrogatepass")
    percent = "".join(f"%(?:25)*{byte:02X}" for byte in encoded)
    entity = html.escape(character).removeprefix("&").removesuffix(";")
    code = ord(character)
    forms = [
        rf"\\+u{code:04x}",
        "".join(rf"\\+x{byte:02x}" for byte in encoded),
        percent,
        rf"&(?:amp;)*(?:{re.escape(entity)}|#{code}|#x{code:x});",
        r"\\+" if character == "\\" else rf"\\*{re.escape(character)}",
    ]
    return f"(?:{'|'.join(forms)})"


def _forms(secret: str) -> str:
    spelt_out = "".join(map(_character, secret))
    return f"{spelt_out}|(?:{'|'.join(map(re.escape, _in_base64(secret)))})={{0,2}}"


def _in_base64(secret: str) -> set[str]:
    encoded = secret.encode("utf-8", "surrogatepass")
    return {write(encoded).decode().rstrip("=") for write in (base64.b64encode, base64.urlsafe_b64encode)}


def keep_secret(secrets: Iterable[str]) -> None:
    """Mask these values in whatever `redact` sees from now on, besides those it knows already."""
    global _secret_forms
    new = {secret for secret in secrets if len(secret) >= _SHORTEST} - _secrets
    if new:
        _secrets.update(new)
        longest_first = sorted(_secrets, key=lambda secret: (-len(secret), secret))
        _secret_forms = re.compile("|".join(map(_forms, longest_first)), re.IGNORECASE)


def keep_secrets_of_environment() -> None:
    """Mask the passwords of proxies, as written and decoded, also where the address is malformed."""
    addresses = (os.environ.get(name, "") for name in PROXY_VARIABLES)
    found = (re.match(r"(?:\w*:?/+)?((?:[^:@]*:)?(.*))@", address, re.DOTALL) for address in addresses)
    # With the user before it, because the header that carries both is their base64.
    secrets = [secret for match in found if match is not None for secret in match.groups()]
    keep_secret([*secrets, *map(unquote, secrets)])


def redact(text: str) -> str:
    """The text with every known secret, and every key in a query string, masked."""
    if _secret_forms is not None:
        text = _secret_forms.sub(MASK, text)
    return _QUERY_KEY.sub(rf"\1{MASK}", text)


def forms_in_bodies(keys: Iterable[str]) -> frozenset[bytes]:
    """How a vendor's JSON may repeat a key. Short ones and mere numbers may be data."""
    long = [key for key in keys if len(key) >= _SHORTEST_IN_BODIES and not key.isdigit()]
    return frozenset(form.encode() for key in long for form in _in_json(key))


def _in_json(key: str) -> Iterator[str]:
    """A key in a JSON text: as it is, URL-encoded or in base64, and with the escapes that JSON writers use."""
    encoded = {quote(key, safe=safe) for safe in ("", "/", "!~*'()")}
    lower = {re.sub("%..", lambda match: match[0].lower(), text) for text in encoded}
    for text in {key, *encoded, *lower, *_in_base64(key)}:
        escaped = json.dumps(text)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"))
        for some in (".", "[^0-9A-Za-z]"):
            for code in ("\\u{:04x}", "\\u{:04X}"):
                yield re.sub(some, lambda match, code=code: code.format(ord(match[0])), text)


def body_without(forms: Iterable[bytes], body: bytes) -> bytes:
    """A body in which none of these forms of a key is left."""
    absent = [mark for mark in (b"\\", b"%") if mark not in body]  # most bodies have none: a quick look saves many
    for form in forms:
        if not any(mark in form for mark in absent):
            body = body.replace(form, MASK.encode())
    return body


# Values of the protocol's own, which a key may look like.
_KEPT = {"type", "level", "status", "failure_type", "name", "namespace"}


def redacted(value: Any) -> Any:
    """A protocol message with the keys in its texts masked; its structure stays. What is no text in them is escaped."""
    if isinstance(value, str):
        return redact(value).encode("utf-8", "backslashreplace").decode()  # of the path of a file, for instance
    if isinstance(value, dict):
        return {
            name: inner if name in _KEPT and isinstance(inner, str) else redacted(inner)
            for name, inner in value.items()
        }
    return [redacted(inner) for inner in value] if isinstance(value, list) else value
