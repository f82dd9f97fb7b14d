"""No key is printed, in any form or text."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations.http import redaction
from source_liquidations.http.redaction import (
    MASK,
    body_without,
    forms_in_bodies,
    keep_secret,
    keep_secrets_of_environment,
    redact,
)

FORMS: dict[str, Callable[[str], str]] = {
    "literal": str,
    "url": lambda key: quote(key, safe=""),
    "url, lower case": lambda key: quote(key, safe="").lower() if quote(key, safe="") != key else key,
    "url, path": quote,
    "url, as the client writes it": lambda key: quote(key, safe=".-_~:,*"),
    "url, form": quote_plus,
    "url, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64, url": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64, no padding": lambda key: base64.b64encode(key.encode()).decode().rstrip("="),
    "json": lambda key: json.dumps(key)[1:-1],
    "repr": lambda key: repr(key)[1:-1],
    "repr of bytes": lambda key: repr(key.encode())[2:-1],
    "html": html.escape,
    "json in json": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "json three times": lambda key: json.dumps(json.dumps(json.dumps(key)[1:-1])[1:-1])[1:-1],
    "repr in json": lambda key: json.dumps(repr(key)[1:-1])[1:-1],
    "html, by number": lambda key: "".join(f"&#{ord(character):04};" for character in key),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, separated": lambda key: key.encode().hex(":").upper(),
    "html, twice": lambda key: html.escape(html.escape(key)),
    "url, three times": lambda key: quote(quote(quote(key, safe=""), safe=""), safe=""),
}

# What `config.py` lets through as a key: printable ASCII without the space.
keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)
# Text that shares nothing with a key.
around = st.text(st.sampled_from(" \n\t()[]é漢"), max_size=10)


@pytest.fixture(autouse=True)
def forgotten_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in vars(redaction) if name.startswith("_secret")]:
        value = getattr(redaction, name)
        monkeypatch.setattr(redaction, name, type(value)() if isinstance(value, (set, dict, list)) else None)


@pytest.fixture
def fresh() -> Iterator[Callable[[], None]]:
    """Forget all keys before every example."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield lambda: forget(monkeypatch)


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_masked_in_every_form(form: str, fresh: Callable[[], None]) -> None:
    write = FORMS[form]

    @given(keys.filter(lambda key: not set(key) <= set("()[]")), around, around)
    def holds(key: str, before: str, after: str) -> None:
        fresh()
        keep_secret([key])
        masked = redact(f"{before}{write(key)}{after}")
        assert masked == f"{before}{MASK}{after}"

    holds()


@given(keys, st.text(st.characters(max_codepoint=127)), st.text(st.characters(max_codepoint=127)))
def test_a_key_is_masked_within_base64(key: str, user: str, after: str) -> None:
    """As in the header of a user and a password."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget(monkeypatch)
        keep_secret([key])
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            masked = redact(f"({encode(f'{user}:{key}{after}'.encode()).decode()})")
            assert masked.endswith(f"{MASK})")
            assert len(masked) - len(MASK) - 2 <= -(-(len(user) + 1) * 8 // 6), "nothing but the user"


def test_many_backslashes_are_redacted_quickly() -> None:
    keep_secret(["a1b2c3d4e5f6"])
    began = time.perf_counter()
    assert redact("\\" * 20_000) == "\\" * 20_000
    assert time.perf_counter() - began < 2.0


ESCAPED: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: json.dumps(text)[1:-1],
    "slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "every character": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "every character, upper case": lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
    "what is no letter": lambda text: "".join(c if c.isalnum() else f"\\u{ord(c):04X}" for c in text),
}


@pytest.mark.parametrize("escape", ESCAPED)
@pytest.mark.parametrize("form", ["literal", "url", "url, lower case", "url, path", "base64", "base64, url"])
@pytest.mark.parametrize(
    "key", ["sk-live-0123456789", "kaiko/secret+key==", "a/b+c=d&e'f(g)!~*", 'quo"te\\back%20slash']
)
def test_no_body_brings_a_key_into_a_record(key: str, form: str, escape: str) -> None:
    text = key if form == "literal" else FORMS[form](key)
    body = f'{{"data": [{{"note": "{ESCAPED[escape](text)}", "price": 1}}]}}'.encode()
    left = json.loads(body_without(forms_in_bodies([key]), body))["data"][0]
    assert left["price"] == 1
    assert left["note"].rstrip("=") == MASK


def test_a_body_without_the_key_stays_as_it_is() -> None:
    body = json.dumps({"next": "https://x.example/?a=%2F&b", "text": 'es"caped \u00e9'}).encode()
    assert body_without(forms_in_bodies(["kaiko/secret+key==", "short", "1234567890"]), body) == body


PASSWORDS = ["pass-word", "pa/ss-word", "pa@ss-word", "pa:ss-word", "pa\\ss-word", "pa#ss?word"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("address", ["http://user:{}@host:1", "user:{}@host:1", "//user:{}@host", "http:/user:{}@host"])
def test_passwords_of_proxies_are_masked(address: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", address.format(password))
    keep_secrets_of_environment()
    header = base64.b64encode(f"user:{password}".encode()).decode()
    assert redact(f"({password}) Basic {header}") == f"({MASK}) Basic {MASK}"


@given(st.lists(keys, min_size=2, max_size=4, unique=True))
def test_keys_registered_one_after_the_other_are_all_masked(several: list[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget(monkeypatch)
        for key in several:
            keep_secret([key])
        for key in several:
            assert redact(f"<{key}>") == f"<{MASK}>"


def test_a_key_that_begins_like_another_leaves_no_tail() -> None:
    keep_secret(["secret-key-and-its-tail"])
    keep_secret(["secret-key"])
    assert redact("(secret-key-and-its-tail) (secret-key)") == f"({MASK}) ({MASK})"


@given(keys, st.sampled_from(["api_key", "apikey", "API-KEY", "access_token", "x-api-key", "X-Kiyotaka-Key"]))
def test_a_query_parameter_with_an_unknown_key_is_masked(key: str, name: str) -> None:
    url = f"https://example.com/v4/x?{urlencode({name: key})}&page_size=1"
    masked = redact(url)
    assert masked == f"https://example.com/v4/x?{name}={MASK}&page_size=1"


@given(st.text())
def test_text_without_a_key_stays_as_it_is(text: str) -> None:
    keep_secret(["AbC+dEf/gH1=="])
    if "key" not in text.lower():
        assert redact(text) == text


def test_a_value_too_short_to_be_a_key_masks_no_ordinary_words() -> None:
    keep_secret(["a", "btc"])
    assert redact("a market of btc") == "a market of btc"


def test_keys_in_json_and_headers_are_masked_by_their_name() -> None:
    assert "hush" not in redact('{"api_key": "hush-hush", "markets": []}')
    assert "hush" not in redact("{'X-Api-Key': 'hush-hush', 'Accept': 'application/json'}")
