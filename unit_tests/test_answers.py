"""Answers: complete or not, the vendor's words, Retry-After."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.http import answers
from source_liquidations.http.answers import Response, reset_seconds, vendor_words
from source_liquidations.http.redaction import MASK, keep_secret


class Body(msgspec.Struct):
    data: list[dict[str, int]]


DECODER = msgspec.json.Decoder(Body)


def response(body: bytes, **headers: str) -> Response:
    return Response(200, {"Content-Type": "application/json", **headers}, body)


def refused(headers: dict[str, str], body: bytes = b"") -> Response:
    return Response(429, CaseInsensitiveDict(headers), body)


def test_a_whole_body_is_decoded() -> None:
    assert response(b'{"data":[{"a":1}]}').decoded(DECODER).data == [{"a": 1}]


@given(st.integers(0, len(b'{"data":[{"a":1},{"b":22}]}') - 1))
def test_a_body_cut_off_anywhere_is_not_whole(length: int) -> None:
    assert "not JSON" in (response(b'{"data":[{"a":1},{"b":22}]}'[:length]).problem() or "")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"\xff\xfe", b'{"data":[]} and more'])
def test_what_is_no_json_is_not_whole_and_says_what_it_is(body: bytes) -> None:
    assert "(application/json) that is not JSON" in (response(body).problem() or "")


@pytest.mark.parametrize(
    ("body", "field"),
    [(b'{"data":[{"a":"x"}]}', r"\$\.data\[0\]"), (b'{"data":{}}', r"\$\.data"), (b"{}", "data"), (b"[]", "object")],
)
def test_json_of_another_shape_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=field):
        response(body).decoded(DECODER)


def test_a_wrong_type_in_a_body_cut_off_later_is_not_whole() -> None:
    """The wrong type may be what is left of the right one."""
    assert response(b'{"data":[{"a":"x"},{"b"').problem()


def test_deeply_nested_lists_are_refused() -> None:
    body = b"[" * 10**6
    assert response(body).problem()
    assert vendor_words(body)
    assert reset_seconds(Response(429, {}, body)) is None


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "error": "INTERNAL"},
        {"series": [{"points": []}], "error": {"message": "query failed"}},
        {"error": {"type": "x"}, "data": [{"a": 1}]},
        {"data": [], "errors": ["x"]},
        {"data": [], "error": True},
        {"result": "error", "message": "words", "data": []},
        {"status": "ERROR", "data": []},
        {"success": False, "data": []},
        ["error", 11010, "ratelimit: error"],
        {"message": "Internal server error"},
        {"detail": {"error": "plan_required"}},
        {"message": "x", "request_id": "17", "count": 0},
        {"message": "Internal server error", "data": None},
        {"message": "Internal server error", "data": [], "query": {"market": "x"}},
        {"detail": "Rate limit exceeded", "data": {}},
        {"msg": "Too many visits", "series": []},
        {"status": 200, "message": "Internal server error", "data": []},
        {"code": 13, "message": "internal", "details": []},
        {"code": 500, "data": []},
        {"code": "429", "data": [{"a": 1}]},
        {"status": 503, "data": None},
        {"ok": False, "data": []},
    ],
    ids=str,
)
def test_an_error_in_a_200_is_no_good_answer(body: Any) -> None:
    found = response(msgspec.json.encode(body)).problem()
    assert found is not None
    assert found.startswith("a 200 with an error: ")


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [{"error": "a field of a row"}]},
        {"error": None, "errors": [], "result": "success", "status": "ok", "success": True, "data": []},
        {"error": "", "result": None},
        {"error": False, "errors": {}},
        {"message": "", "next": None},
        {"message": "One of the markets is new", "data": [{"a": 1}]},
        {"message": "One of the markets is new", "series": [{"id": {}}]},
        {"result": "success", "message": "There is none", "data": []},
        {"status": "OK", "message": "There is none", "data": []},
        {"success": True, "message": "OK", "series": []},
        {"code": 0, "msg": "success", "data": []},
        {"code": 0, "status": 200, "ok": True, "data": []},
        {"code": "00000", "status": "ok", "data": None},
        [],
        [{"error": "x"}],
        [["error"]],
        "text",
    ],
    ids=str,
)
def test_what_only_looks_like_an_error_is_a_good_answer(body: Any) -> None:
    assert response(msgspec.json.encode(body)).problem() is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"result": "error", "message": "Asset 'x' not found"}, "Asset 'x' not found"),
        ({"error": {"type": "bad_parameter", "message": "Bad."}}, "bad_parameter: Bad."),
        ({"error": "INVALID_SYMBOL", "message": "Invalid symbol"}, "INVALID_SYMBOL: Invalid symbol"),
        ({"detail": {"error": "plan_required", "message": "No."}}, "plan_required: No."),
        ({"detail": "Not authenticated"}, "Not authenticated"),
        ("just text", "just text"),
        ({"error": "same", "message": "same"}, "same"),
        ({"error": None, "message": 5}, '{"error":null,"message":5}'),
        ([], "[]"),
        (["error", 11010, "ratelimit: error"], "error, 11010, ratelimit: error"),
    ],
)
def test_the_vendors_words_are_found_in_every_form(body: Any, words: str) -> None:
    assert vendor_words(msgspec.json.encode(body)) == words


def test_a_page_of_html_gives_its_text() -> None:
    page = b"<html><head><style></style></head>\n<body><h1>502</h1>  Bad   Gateway</body></html>"
    assert vendor_words(page) == "502 Bad Gateway"


def test_no_words_are_said_to_be_none() -> None:
    assert vendor_words(b"") == "(no words)"


def test_words_are_cut_after_a_while() -> None:
    assert len(vendor_words(b'{"message":"%s"}' % (b"long " * 1000))) == 300


@given(st.integers(0, 400), st.booleans())
def test_a_key_at_the_cut_leaves_no_half_of_itself(position: int, as_json: bool) -> None:
    key = "Zq7+kW3/xV9"
    keep_secret([key])
    text = f"{'. ' * 400}"[:position] + key + " and so on" * 40
    words = vendor_words(msgspec.json.encode({"message": text}) if as_json else text.encode())
    rest = words.replace(MASK, "")
    assert not any(part in rest for part in (key[:2], key[:4], key[-3:]))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12),
        ({"retry-after": "0.5"}, 0.5),
        ({"X-RateLimit-Reset": "6"}, 6),
        ({"RateLimit-Reset": "7"}, 7),
        ({"Retry-After": "3", "X-RateLimit-Reset": "6"}, 3),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "6"}, 6),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"}, None),
        ({"Retry-After": "-5"}, None),
    ],
)
def test_retry_after_is_read_from_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert reset_seconds(refused(headers)) == seconds


@pytest.mark.parametrize(
    "write",
    [
        lambda at: formatdate(at, usegmt=True),
        lambda at: str(int(at)),
        lambda at: f"{at:.1f}",
        lambda at: str(int(at * 1e3)),
        lambda at: str(int(at * 1e6)),
        lambda at: str(int(at) * 10**9),
        lambda at: datetime.fromtimestamp(at, timezone.utc).isoformat(),
        lambda at: datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    ],
)
def test_every_form_of_retry_after_becomes_seconds_from_now(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(answers.time, "time", lambda: now)
    assert reset_seconds(refused({"Retry-After": write(now + 30)})) == 30.0
    assert reset_seconds(refused({"Retry-After": write(now - 30)})) == 0.0


@pytest.mark.parametrize(
    ("body", "seconds"),
    [(b'{"retry_after": 12}', 12), (b'{"retry_after": 0.5}', 0.5), (b"{}", None), (b"<html>", None), (b"\xff", None)],
)
def test_a_429_may_have_retry_after_in_its_body(body: bytes, seconds: float | None) -> None:
    assert reset_seconds(refused({}, body)) == seconds
    assert reset_seconds(refused({"Retry-After": "3"}, body)) == 3
    assert reset_seconds(refused({"Retry-After": "0"}, body)) == (seconds or 0.0)
    assert reset_seconds(refused({"Retry-After": "0", "X-RateLimit-Reset": "5"}, body)) == 5
    assert reset_seconds(Response(503, {}, body)) is None
