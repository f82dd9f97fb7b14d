"""Keeps keys out of all output, whether literal, URL-encoded, in base64, in hexadecimal digits or escaped."""

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
_MIN_LENGTH = 4  # masking shorter secrets would garble ordinary words and protect nothing
_MIN_LENGTH_IN_BODIES = 8
_BACKSLASHES = r"\\{1,31}"  # as many as JSON five times within JSON has. Without a limit, a long run takes minutes

# A key in a query string is also masked by its parameter's name, in any encoding.
_QUERY_KEY = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|x-[a-z-]*key)(?:=|%3D|[\"']?\s*:\s*[\"']))[^&\s\"'<>\\]+"
)

_BASE64_ENCODERS = (base64.b64encode, base64.urlsafe_b64encode)

_secrets: set[str] = set()
_secret_forms: re.Pattern[str] | None = None


def _character(character: str) -> str:
    """A pattern for one character in every form. Writers differ in which characters they encode, and how often."""
    encoded = character.encode("utf-8", "surrogatepass")
    percent = "".join(f"%(?:25)*{byte:02X}" for byte in encoded)
    entity = html.escape(character).removeprefix("&").removesuffix(";")
    code = ord(character)
    forms = [
        rf"{_BACKSLASHES}u{code:04x}",
        "".join(rf"{_BACKSLASHES}x{byte:02x}" for byte in encoded),
        percent,
        rf"&(?:amp;)*(?:{re.escape(entity)}|#0*{code}|#x0*{code:x});",
        _BACKSLASHES if character == "\\" else rf"(?:{_BACKSLASHES})?{re.escape(character)}",
    ]
    return f"(?:{'|'.join(forms)})"


def _forms(secret: str) -> str:
    forms = ["".join(map(_character, secret))]
    if len(secret) < _MIN_LENGTH_IN_BODIES:  # within other base64, or in hexadecimal, it would look like parts of words
        forms.append(f"(?:{'|'.join(map(re.escape, _in_base64(secret)))})={{0,2}}")
    else:
        forms.append("[: ]?".join(f"{byte:02x}" for byte in secret.encode("utf-8", "surrogatepass")))
        forms.append(f"(?:{'|'.join(map(re.escape, _within_base64(secret)))})[A-Za-z0-9+/_-]*={{0,2}}")
    return "|".join(forms)


def _within_base64(secret: str) -> set[str]:
    """The characters of `user:secret` in base64 that depend on the secret alone, for any user and anything after it.

    Without a user, these are the beginning of the secret's own base64.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    # A character has six bits.
    return {
        encode(bytes(before) + raw).decode()[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        for before in range(3)
        for encode in _BASE64_ENCODERS
    }


def _in_base64(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    return {encode(raw).decode().rstrip("=") for encode in _BASE64_ENCODERS}


def keep_secret(secrets: Iterable[str]) -> None:
    """Make `redact` mask these values from now on, too."""
    global _secret_forms
    new = {secret for secret in secrets if len(secret) >= _MIN_LENGTH} - _secrets
    if new:
        _secrets.update(new)
        longest_first = sorted(_secrets, key=lambda secret: (-len(secret), secret))
        _secret_forms = re.compile("|".join(map(_forms, longest_first)), re.IGNORECASE)


def keep_secrets_of_environment() -> None:
    """Mask the passwords of proxies, as written and decoded, even if the address is malformed."""
    addresses = (os.environ.get(name, "") for name in PROXY_VARIABLES)
    matches = (re.match(r"(?:\w*:?/+)?((?:[^:@]*:)?(.*))@", address, re.DOTALL) for address in addresses)
    # `user:password` is a secret of its own: a header carries it in base64.
    secrets = [secret for match in matches if match is not None for secret in match.groups()]
    keep_secret([*secrets, *map(unquote, secrets)])


def redact(text: str) -> str:
    """The text with all secrets, and all keys in query strings, masked."""
    if _secret_forms is not None:
        text = _secret_forms.sub(MASK, text)
    return _QUERY_KEY.sub(rf"\1{MASK}", text)


def forms_in_bodies(keys: Iterable[str]) -> frozenset[bytes]:
    """How a vendor's JSON may repeat a key. Leaves out short keys and plain numbers, which may be data."""
    distinct = [key for key in keys if len(key) >= _MIN_LENGTH_IN_BODIES and not key.isdigit()]
    return frozenset(form.encode() for key in distinct for form in _in_json(key))


def _in_json(key: str) -> Iterator[str]:
    """A key in JSON: literal, URL-encoded or in base64, with the escapes that JSON writers use."""
    encoded = {quote(key, safe=safe) for safe in ("", "/", "!~*'()")}
    lower = {re.sub("%..", lambda match: match[0].lower(), text) for text in encoded}
    for text in {key, *encoded, *lower, *_in_base64(key)}:
        escaped = json.dumps(text)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"))
        for escaped_characters in (".", "[^0-9A-Za-z]"):
            for code in ("\\u{:04x}", "\\u{:04X}"):
                yield re.sub(escaped_characters, lambda match, code=code: code.format(ord(match[0])), text)


def body_without(forms: Iterable[bytes], body: bytes) -> bytes:
    """The body with all these forms of a key masked."""
    absent = [mark for mark in (b"\\", b"%") if mark not in body]  # most bodies have neither: that rules out many forms
    for form in forms:
        if not any(mark in form for mark in absent):
            body = body.replace(form, MASK.encode())
    return body


# Members whose values belong to the protocol; a key may look like one of them.
_PROTOCOL_MEMBERS = {"type", "level", "status", "failure_type", "name", "namespace"}


def redact_message(value: Any) -> Any:
    """A protocol message with all keys in its texts masked. Lone surrogates, as in file names, are escaped."""
    if isinstance(value, str):
        return redact(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {
            name: inner if name in _PROTOCOL_MEMBERS and isinstance(inner, str) else redact_message(inner)
            for name, inner in value.items()
        }
    return [redact_message(inner) for inner in value] if isinstance(value, list) else value
