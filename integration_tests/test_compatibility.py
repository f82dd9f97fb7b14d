"""Compatibility with earlier releases: configurations stay valid, streams and fields keep their types.

A release may be incompatible if its version and its changelog say so; scripts/record_release.py records a release.
"""

from __future__ import annotations

import copy
import json
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools import ROOT

# Each release's intended incompatible changes, and the words in its changelog that tell users what to do.
BROKEN = {
    "0.2.0": dict.fromkeys(
        (
            "kiyotaka_markets: another source_defined_primary_key",
            "kiyotaka_markets.rawSymbol: is gone",
            "kiyotaka_markets.normalizedSymbol: is gone",
            "kiyotaka_markets.availableSince: is gone",
        ),
        "`kiyotaka_markets`: columns in snake_case",
    ),
}
Json = dict[str, Any]
Number = tuple[int, ...]


def number(name: str) -> Number:
    return tuple(map(int, name.split(".")))


VERSION = version("airbyte-source-liquidations")
RECORDS = {path.stem: path for path in (ROOT / "integration_tests" / "releases").glob("*.json")}
RECORDED = sorted(RECORDS, key=number)
# The changelog's sections, by version.
TOLD = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M | re.S))


def types(schema: Mapping[str, Any]) -> set[str]:
    """A schema's types; all types if it names none."""
    named = schema.get("type", ["null", "boolean", "integer", "number", "string", "array", "object"])
    return {named} if isinstance(named, str) else set(named)


def broken_configurations(old: Json, new: Json, path: str = "") -> Iterator[str]:
    """Where a configuration that was valid may now be refused or change its meaning."""
    where = path or "the configuration"
    if not types(old) <= types(new):
        yield f"{where}: has lost the type {types(old) - types(new)}"
    if set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{where}: requires {set(new['required']) - set(old.get('required', ()))}"
    if "enum" in new and not set(old.get("enum", [object])) <= set(new["enum"]):
        yield f"{where}: has lost a choice"
    for bound, sign in (("minimum", 1), ("minLength", 1), ("minItems", 1), ("maximum", -1), ("maxLength", -1)):
        if bound in new and (bound not in old or sign * new[bound] > sign * old[bound]):
            yield f"{where}: {bound} is narrower"
    for fixed in ("default", "const"):
        if new.get(fixed) != old.get(fixed):
            yield f"{where}: another {fixed}"
    if new.get("format") not in (None, old.get("format")):
        yield f"{where}: another format"
    if "pattern" in new and not is_wider(old.get("pattern"), new["pattern"]):
        yield f"{where}: another pattern"
    if old.get("airbyte_secret") and not new.get("airbyte_secret"):
        yield f"{where}: is secret no more"
    if isinstance(old.get("items"), dict):
        yield from broken_configurations(old["items"], new.get("items", {}), f"{path}[]")
    for name, field in old.get("properties", {}).items():
        inner = f"{path}.{name}".lstrip(".")
        if name not in new.get("properties", {}):
            yield f"{inner}: is gone"
        else:
            yield from broken_configurations(field, new["properties"][name], inner)


def is_wider(old: str | None, new: str) -> bool:
    """Whether a pattern accepts everything that an older one accepted, tried with many texts."""
    found = old is not None

    @given(st.from_regex(old or "", fullmatch=True))
    @settings(database=None, deadline=None)
    def all_match(text: str) -> None:
        nonlocal found
        found = found and re.search(new, text) is not None

    if old not in (None, new):
        all_match()
    return found


def broken_fields(old: Json, new: Json, path: str) -> Iterator[str]:
    """Where a destination's column would disappear or change its type. New columns are allowed."""
    if types(old) != types(new):
        yield f"{path}: was {sorted(types(old))}, is {sorted(types(new))}"
    for name in ("format", "airbyte_type"):
        if old.get(name) != new.get(name):
            yield f"{path}: another {name}"
    if isinstance(old.get("items"), dict):
        yield from broken_fields(old["items"], new.get("items", {}), f"{path}[]")
    for name, field in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}.{name}: is gone"
        else:
            yield from broken_fields(field, new["properties"][name], f"{path}.{name}")


def broken_streams(old: Json, new: Json) -> Iterator[str]:
    for name, stream in old.items():
        if name not in new:
            yield f"{name}: is gone"
            continue
        for what in ("source_defined_primary_key", "default_cursor_field", "source_defined_cursor", "namespace"):
            if stream.get(what) != new[name].get(what):
                yield f"{name}: another {what}"
        if not set(stream["supported_sync_modes"]) <= set(new[name]["supported_sync_modes"]):
            yield f"{name}: has lost a sync mode"
        yield from broken_fields(stream["json_schema"], new[name]["json_schema"], name)


def broken(old: Json, new: Json) -> set[str]:
    """The incompatible changes from one release to another."""
    return {*broken_configurations(old["spec"], new["spec"]), *broken_streams(old["streams"], new["streams"])}


def may_break(before: Number, after: Number) -> bool:
    """Whether the version announces incompatible changes: by its first number, before 1.0 by its second."""
    return after[0] > before[0] or (after[0] == 0 and after[1] > before[1])


def assert_told(found: set[str], before: str, after: str) -> None:
    """Assert that a release has only the incompatible changes that it announces, and a version that allows them."""
    expected = BROKEN.get(after, {}) if after != before else {}
    assert found == set(expected), "\n".join(sorted(found ^ set(expected)))
    assert not expected or may_break(number(before), number(after))
    assert all(words in TOLD[after] for words in expected.values())


def record_of(release: str) -> Json:
    found: Json = json.loads(RECORDS[release].read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def released() -> Json:
    return record_of(RECORDED[-1])


@pytest.fixture(scope="module")
def current() -> Json:
    """The present code as scripts/record_release.py records it."""
    found: Json = runpy.run_path(str(ROOT / "scripts" / "record_release.py"))["promises"]()
    return found


def test_every_release_is_recorded() -> None:
    """The changelog's newest section may be of an unreleased version."""
    newest, *older = TOLD
    assert number(newest) == number(VERSION)
    assert set(older) <= set(RECORDED) <= set(TOLD)
    assert set(BROKEN) <= set(TOLD)


def test_a_record_has_every_stream_and_every_vendor(current: Json) -> None:
    package = ROOT / "source_liquidations"
    assert set(current["streams"]) == {file.stem for file in package.rglob("schemas/*.json")}
    assert {file.parent.name for file in package.glob("vendors/*/config.json")} <= set(current["spec"]["properties"])


@pytest.mark.parametrize(("before", "after"), [*pairwise(RECORDED)])
def test_a_release_broke_only_what_its_changelog_says(before: str, after: str) -> None:
    assert_told(broken(record_of(before), record_of(after)), before, after)


def test_nothing_that_was_promised_is_broken(released: Json, current: Json) -> None:
    assert_told(broken(released, current), RECORDED[-1], VERSION)


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [
        ("0.1.9", "0.2.0", True),
        ("0.2.0", "0.2.1", False),
        ("0.9.0", "1.0.0", True),
        ("1.0.0", "1.1.0", False),
        ("1.9.0", "2.0.0", True),
    ],
)
def test_which_versions_may_break_a_promise(before: str, after: str, may: bool) -> None:
    assert may_break(number(before), number(after)) is may


def at(path: str) -> Callable[[Json], Json]:
    """The part of a document at a path."""

    def find(document: Json) -> Json:
        for name in path.split("/"):
            document = document[name]
        return document

    return find


KAIKO = "spec/properties/kaiko"
EVENTS = "streams/kaiko_liquidation_events"
BREAKS: list[tuple[str, Callable[[Json], Any], str]] = [
    (f"{KAIKO}/properties", lambda fields: fields.pop("region"), "kaiko.region: is gone"),
    (f"{KAIKO}/properties/region", lambda field: field.update(enum=["us"]), "kaiko.region: has lost a choice"),
    (f"{KAIKO}/properties/region", lambda field: field.update(default="eu"), "kaiko.region: another default"),
    (KAIKO, lambda section: section.setdefault("required", []).append("assets"), "kaiko: requires"),
    (f"{KAIKO}/properties/api_key", lambda field: field.pop("airbyte_secret"), "kaiko.api_key: is secret no more"),
    (
        "spec/properties/lookback_window",
        lambda field: field.update(pattern="^PT[0-9]+H$"),
        "window: another pattern",
    ),
    ("spec/properties/num_workers", lambda field: field.update(maximum=20), "num_workers: maximum is narrower"),
    ("spec/properties/num_workers", lambda field: field.update(type="string"), "num_workers: has lost the type"),
    ("spec/properties/start_date", lambda field: field.update(pattern="^x$"), "start_date: another pattern"),
    ("streams", lambda streams: streams.pop("liquidations"), "liquidations: is gone"),
    (EVENTS, lambda stream: stream.update(default_cursor_field=["timestamp"]), "another default_cursor_field"),
    (EVENTS, lambda stream: stream["source_defined_primary_key"].pop(), "another source_defined_primary_key"),
    (EVENTS, lambda stream: stream["supported_sync_modes"].remove("full_refresh"), "has lost a sync mode"),
    (f"{EVENTS}/json_schema/properties", lambda fields: fields.pop("rate"), "kaiko_liquidation_events.rate: is gone"),
    (f"{EVENTS}/json_schema/properties/time", lambda field: field.update(type="integer"), "events.time: was"),
    (f"{EVENTS}/json_schema/properties/time", lambda field: field.update(format="date"), "another format"),
]


@pytest.mark.parametrize(("path", "change", "says"), BREAKS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_breaks_a_promise_is_found(path: str, change: Callable[[Json], Any], says: str, released: Json) -> None:
    changed = copy.deepcopy(released)
    change(at(path)(changed))
    found = broken(released, changed)
    assert any(says in line for line in found), found


def test_what_adds_something_breaks_nothing(released: Json) -> None:
    changed = copy.deepcopy(released)
    changed["spec"]["properties"]["fifth_vendor"] = {"type": "object"}
    changed["streams"]["a_new_stream"] = {}
    at(EVENTS)(changed)["json_schema"]["properties"]["a_new_field"] = {"type": ["null", "string"]}
    at(f"{KAIKO}/properties/region")(changed)["enum"].append("asia")
    assert broken(released, changed) == set()
