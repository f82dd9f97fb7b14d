"""No key in anything that is printed: in no form, at no log level, in no error."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from cases import CASES, COIN_METRICS, Case, config_of
from harness import Connector, Run

import sandbox.coin_metrics_calls
import sandbox.coinalyze
import sandbox.kaiko_calls
import sandbox.kiyotaka
import sandbox.kwery_plans
from sandbox import Sandbox

START, END = "2026-02-28T00:00:00Z", "2026-02-28T03:00:00Z"
STREAMS = [case.stream for case in CASES]
# A key may have all printable characters but the space.
KEYS = {
    "kaiko": "ka+iko/k%e=y&1\"2'3\\4",
    "coin_metrics": "cm+key/with=chars&<more>%;:,@\"'",
    "kwery": "kw~ery|k?e#y{5}`6^7",
    "kiyotaka": "ki$yo!ta(ka)*k[e]y",
    "coinalyze": "coin_a/lyze+k=e%y.&",
}


def key_of(vendor: str) -> str:
    """The vendor's key. One that has none may repeat another vendor's, as a proxy of several vendors would."""
    return KEYS.get(vendor, KEYS["kaiko"])


def forms(key: str) -> dict[str, str]:
    """A key as it might turn up."""
    encoded = key.encode()
    return {
        "literal": key,
        "url": quote(key, safe=""),
        "url, lower case": quote(key, safe="").lower(),
        "url, as sent": quote(key, safe=".-_~:,*"),
        "url, path": quote(key),
        "form": quote_plus(key),
        "url, twice": quote(quote(key, safe=""), safe=""),
        "base64": base64.b64encode(encoded).decode(),
        "base64, url": base64.urlsafe_b64encode(encoded).decode(),
        "base64, no padding": base64.b64encode(encoded).decode().rstrip("="),
        "json": json.dumps(key)[1:-1],
        "json in json": json.dumps(json.dumps(key)[1:-1])[1:-1],
        "repr": repr(key)[1:-1],
        "bytes": repr(encoded)[2:-1],
        "html": html.escape(key),
    }


@pytest.fixture
def config(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All streams, with keys of odd characters that the sandbox knows."""
    monkeypatch.setitem(sandbox_module("kaiko_calls").KEYS, KEYS["kaiko"], 200)
    monkeypatch.setitem(sandbox_module("coin_metrics_calls").KEYS, KEYS["coin_metrics"], ("*",))
    plans = sandbox_module("kwery_plans").KEYS
    monkeypatch.setitem(plans, KEYS["kwery"], "business")
    accounts = sandbox.app.vendors["kwery"]._accounts  # type: ignore[attr-defined]
    monkeypatch.setitem(accounts._used, KEYS["kwery"], 0)
    monkeypatch.setitem(accounts._limits, KEYS["kwery"], 10**9)
    kiyotaka_plans = sandbox_module("kiyotaka").PLANS
    monkeypatch.setitem(kiyotaka_plans, KEYS["kiyotaka"], kiyotaka_plans["sandbox-kiyotaka-key"])
    monkeypatch.setitem(sandbox_module("coinalyze").KEYS, KEYS["coinalyze"], 40)
    made = config_of(CASES, sandbox, START, END)
    for vendor, key in KEYS.items():
        made[vendor]["api_key"] = key
    return made


def sandbox_module(name: str) -> Any:
    return getattr(sandbox, name)


def no_key(run: Run, keys: dict[str, str] = KEYS) -> None:
    printed = (run.out + run.err).decode(errors="replace")
    # A key within a message is escaped once more where the message is printed as JSON.
    unescaped = printed.encode().decode("unicode_escape", errors="replace")
    for vendor, key in keys.items():
        for name, form in forms(key).items():
            assert form not in printed, f"the key of {vendor}, {name}"
            assert form not in unescaped, f"the key of {vendor}, {name}"
            assert form[: len(form) // 2 + 2] not in printed, f"half of the key of {vendor}, {name}"


def test_the_keys_are_sent_as_they_are(connector: Connector, sandbox: Sandbox, config: dict[str, Any]) -> None:
    run = connector.read(config, STREAMS, debug=True, script=True)
    assert run.code == 0, run
    no_key(run)
    sent = {
        "kaiko": {r.headers["x-api-key"] for r in sandbox.requests("kaiko")},
        "kwery": {r.headers["x-api-key"] for r in sandbox.requests("kwery")},
        "coin_metrics": {r.params["api_key"] for r in sandbox.requests("coin_metrics")},
        "kiyotaka": {r.headers["x-kiyotaka-key"] for r in sandbox.requests("kiyotaka")},
        "coinalyze": {r.headers["api_key"] for r in sandbox.requests("coinalyze")},
    }
    assert sent == {vendor: {key} for vendor, key in KEYS.items()}
    for vendor in ("kaiko", "kwery", "kiyotaka", "coinalyze"):
        assert all(quote(KEYS[vendor], safe="") not in r.target for r in sandbox.requests(vendor))


def test_check_and_discover(connector: Connector, sandbox: Sandbox, config: dict[str, Any]) -> None:
    checked = connector.check(config, debug=True)
    assert checked.status["status"] == "SUCCEEDED"
    no_key(checked)
    no_key(connector.discover(config))


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 414, 429, 500, 503])
def test_vendors_that_repeat_the_key_in_their_refusals(
    code: int, connector: Connector, sandbox: Sandbox, config: dict[str, Any]
) -> None:
    """In every form, at any place of the text, also where the text is cut."""
    for case in CASES:
        said = " ".join(forms(key_of(case.vendor)).values())
        message = {"message": f"Your key {said} " * 3, "error": "no"}
        sandbox.fault("status", vendor=case.vendor, path_contains=case.path, after=0, times=None, status=code,
                      body=json.dumps(message), headers={})  # fmt: skip
    no_key(connector.read(config, STREAMS, debug=True, patience="0.002"))
    no_key(connector.check(config, debug=True, patience="0.002"))


@pytest.mark.parametrize("offset", range(240, 305, 5))
def test_a_key_where_the_vendors_words_are_cut(
    offset: int, connector: Connector, sandbox: Sandbox, config: dict[str, Any]
) -> None:
    key = KEYS["coin_metrics"]
    body = json.dumps({"error": {"type": "x", "message": "." * offset + key + " and more" * 50}})
    sandbox.fault("status", vendor="coin_metrics", status=401, body=body, times=None, headers={})
    no_key(connector.read(config, [COIN_METRICS.stream]))


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("refused", {}),
    ("reset_mid_body", {}),
    ("cut", {}),
    ("bad_gzip", {}),
    ("html", {"body": "<p>No page for /v4?api_key={url}&amp;x and {html}</p>"}),
    ("error_in_200", {"message": "{literal} {url} {repr}"}),
    ("redirect", {"location": "http://localhost:1/there?api_key={url}&key={literal}"}),
    ("foreign_next_url", {}),
    ("wrong_types", {"value": {"key": "{literal} {base64}"}}),
    ("timestamp_unit", {"value": "{literal} {url}"}),
    ("empty_page", {}),
]


@pytest.mark.parametrize(("kind", "details"), FAULTS, ids=lambda value: str(value)[:40])
def test_whatever_goes_wrong(
    kind: str, details: dict[str, Any], connector: Connector, sandbox: Sandbox, config: dict[str, Any]
) -> None:
    for case in CASES:
        filled = {name: filled_in(value, forms(key_of(case.vendor))) for name, value in details.items()}
        sandbox.fault(kind, vendor=case.vendor, path_contains=case.path, times=None, **filled)
    run = connector.read(config, STREAMS, debug=True, patience="0.0005")
    assert run.code == 1
    for trace in run.traces:
        assert trace["stream"]
    no_key(run)


def filled_in(value: Any, found: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled_in(inner, found) for name, inner in value.items()}
    for name in ("literal", "url", "html", "repr", "base64"):
        value = value.replace(f"{{{name}}}", found[name])
    return value


def test_keys_that_are_refused_and_bad_configurations(
    connector: Connector, sandbox: Sandbox, config: dict[str, Any]
) -> None:
    wrong = {vendor: f"wrong{key}" for vendor, key in KEYS.items()}
    for vendor, key in wrong.items():
        alone = {name: value for name, value in config.items() if not isinstance(value, dict)}
        alone[vendor] = config[vendor] | {"api_key": key}
        run = connector.check(alone, debug=True)
        assert run.status["status"] == "FAILED"
        no_key(run, wrong)
    for changes in ({"start_date": "x"}, {"num_workers": 0}, {"nonesuch": KEYS["kaiko"]}):
        no_key(connector.check(config | changes, debug=True))
    no_key(connector.check(config | {"kaiko": KEYS["kaiko"]}, debug=True))
    no_key(connector.check(config | {"kaiko": {**config["kaiko"], "api_key": [KEYS["kaiko"]]}}, debug=True))
    with_blank = f"{KEYS['kaiko']} \n"
    no_key(connector.check(config | {"kaiko": {**config["kaiko"], "api_key": with_blank}}, debug=True))
    no_key(connector.check(json.dumps(config)[:-20], debug=True))
    no_key(connector.read(config, ["nonesuch"], debug=True))


def test_states_hold_no_key(connector: Connector, sandbox: Sandbox, config: dict[str, Any]) -> None:
    run = connector.read(config, STREAMS)
    assert run.code == 0
    stored = json.dumps(run.states)
    for key in KEYS.values():
        assert not any(form in stored for form in forms(key).values())


@pytest.mark.parametrize("key", ["kaiko", "stream", "message", "STARTED", "trace", "true"])
def test_a_key_that_looks_like_the_protocol_leaves_it_alone(key: str, connector: Connector, sandbox: Sandbox) -> None:
    config = sandbox.config(start_date="2026-02-27", vendors=["kaiko"], end_date="2026-02-28")
    config["kaiko"]["api_key"] = key
    assert "kaiko_liquidation_events" in connector.discover(config).catalog
    assert connector.check(config).status["status"] == "FAILED"
    run = connector.read(config, ["kaiko_liquidation_events"], debug=True)
    assert run.statuses("kaiko_liquidation_events") == ["STARTED", "INCOMPLETE"]
    assert [trace["failure_type"] for trace in run.traces] == ["config_error"]


@pytest.mark.parametrize("case", [case for case in CASES if case.vendor in KEYS], ids=str)
def test_a_key_that_a_vendor_repeats_in_its_rows_is_not_in_records(
    case: Case, connector: Connector, sandbox: Sandbox
) -> None:
    config = case.config(sandbox, START, END)
    key = config[case.vendor]["api_key"]
    fields = {"self": f"https://vendor.example/?api_key={quote(key, safe='')}&x=1", "note": f"for {key}"}
    sandbox.fault("unknown_fields", vendor=case.vendor, path_contains=case.path, times=None, fields=fields)
    run = connector.read(config, [case.stream])
    assert run.code == 0, run
    assert key.encode() not in run.out
    row = run.records()[0]
    assert row["note"] == "for ****"
    assert row["self"] == "https://vendor.example/?api_key=****&x=1"
