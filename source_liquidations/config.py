"""The configuration: checked once, completely, before anything is asked of a vendor."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jsonschema
import pendulum

from source_liquidations import timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.vendor import Vendor, problem_with_base_url

# Room for the platform's own additions, which begin with an underscore.
_INTERNAL = "_"
_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Config:
    """A valid configuration. Instants and durations are nanoseconds (since the epoch, in UTC)."""

    start: int
    end: int
    lookback: int
    workers: int
    vendors: Mapping[type[Vendor], Mapping[str, Any]]


def spec() -> dict[str, Any]:
    """The connector's specification: the common fields, and one section per vendor."""
    package = resources.files("source_liquidations")
    whole: dict[str, Any] = json.loads((package / "spec.json").read_text("utf-8"))
    for vendor in VENDORS:
        section = json.loads((package / "schemas" / "config" / f"{vendor.name}.json").read_text("utf-8"))
        whole["connectionSpecification"]["properties"][vendor.name] = section
    return whole


def secrets(config: Any) -> Iterable[str]:
    """Every key in a configuration, valid or not."""
    sections = config.values() if isinstance(config, Mapping) else ()
    for section in sections:
        if isinstance(section, Mapping) and isinstance(section.get("api_key"), str):
            yield section["api_key"]
            yield section["api_key"].strip()


def parse(config: Mapping[str, Any], *, now: int | None = None) -> Config:
    """A valid configuration out of a raw one. Raises ConfigurationError naming the field and what is allowed."""
    config = {name: value for name, value in config.items() if not name.startswith(_INTERNAL)}
    schema = spec()["connectionSpecification"]
    _check_fields(config, schema, "")
    _check_schema(config, schema)
    config = _whole_numbers(config, schema)
    now = time.time_ns() if now is None else now
    start = _instant(config, "start_date")
    end = _instant(config, "end_date") if config.get("end_date") else now
    if start >= now:
        raise ConfigurationError("start_date", f"{config['start_date']} is in the future.", advice="Give a past date.")
    if start >= end:
        raise ConfigurationError(
            "end_date", f"{config['end_date']} is not after start_date.", advice="Give a later date, or none."
        )
    chosen = {vendor: config[vendor.name] for vendor in VENDORS if vendor.name in config}
    if not chosen:
        names = ", ".join(vendor.name for vendor in VENDORS)
        raise ConfigurationError(names, "no vendor is configured.", advice="Fill in at least one of these sections.")
    for vendor, section in chosen.items():
        _check_section(vendor.name, section)
        vendor.validate(section)
    return Config(
        start=start,
        end=timestamps.floor_to(min(end, now), _MILLISECOND) if end >= now else end,
        lookback=_duration(config.get("lookback_window", "PT1H")),
        workers=config.get("num_workers", 8),
        vendors=chosen,
    )


def _check_fields(values: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> None:
    """Every field is one that the specification knows; a close name is suggested."""
    known = schema["properties"]
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{path}{close[0]}`? " if close else ""
            raise ConfigurationError(
                f"{path}{name}", "is not a field of this connector.", advice=f"{hint}Allowed: {', '.join(known)}."
            )
        if "properties" in known[name] and isinstance(value, Mapping):
            _check_fields(value, known[name], f"{path}{name}.")


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Of a text with line breaks and the like, a pattern's $ would be content with all but the last of them."""
    del validator, schema
    if isinstance(instance, str) and (_UNPRINTABLE.search(instance) or re.search(pattern, instance) is None):
        yield jsonschema.ValidationError(f"{instance!r} does not match")


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_Validator = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def _whole_numbers(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same with integers where the schema wants some: to JSON, 4.0 is one."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        known = schema["properties"].get(name, {})
        if known.get("type") == "integer":
            found[name] = int(value)
        else:
            found[name] = _whole_numbers(value, known) if "properties" in known else value
    return found


def _check_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    errors = sorted(_Validator(schema).iter_errors(config), key=lambda error: len(error.path))
    if errors:
        error = errors[0]
        raise ConfigurationError(_field(error), _problem(error), advice=_allowed(error.schema, error.validator))


def _field(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{path}.{missing}".lstrip(".")
    return path or "configuration"


def _problem(error: Any) -> str:
    # A section given as text is most likely the key itself.
    hidden = bool(error.schema.get("airbyte_secret")) or error.schema.get("type") == "object"
    value = "its value" if hidden or isinstance(error.instance, (dict, list)) else json.dumps(error.instance)[:80]
    return {
        "required": "is required and missing.",
        "type": f"has the wrong type: {value} is no {_types(error.validator_value)}.",
        "enum": f"{value} is not allowed.",
        "pattern": f"{value} does not have the required form.",
        "minimum": f"{value} is too small.",
        "maximum": f"{value} is too large.",
        "minItems": "must not be empty.",
        "minLength": "must not be empty.",
        "uniqueItems": "holds an entry twice.",
    }.get(str(error.validator), f"{value} is not valid.")


def _types(names: Any) -> str:
    return " or ".join(names) if isinstance(names, list) else str(names)


def _allowed(schema: Mapping[str, Any], validator: Any) -> str:
    if validator == "required":
        return "See the connector's setup guide."
    parts = []
    if "enum" in schema:
        parts.append(f"Allowed: {', '.join(map(str, schema['enum']))}.")
    elif "pattern_descriptor" in schema:
        parts.append(f"Allowed: {schema['pattern_descriptor']}.")
    elif "minimum" in schema:
        upto = f" to {schema['maximum']}" if "maximum" in schema else " or more"
        kind = "a whole number" if schema["type"] == "integer" else "a number"
        parts.append(f"Allowed: {kind}, {schema['minimum']}{upto}.")
    elif "items" in schema:
        least = "at least one entry" if schema.get("minItems") else "entries"
        parts.append(f"Allowed: a list of {least}, each once: {schema['items'].get('pattern_descriptor', 'text')}.")
    elif "type" in schema:
        parts.append(f"Allowed: {_types(schema['type'])}.")
    return " ".join(parts)


def _check_section(name: str, section: Mapping[str, Any]) -> None:
    key = section.get("api_key", "-")
    if any(not 32 < ord(character) < 127 for character in key):
        raise ConfigurationError(
            f"{name}.api_key",
            "has a space, a line break or another character that no key has.",
            advice="Copy it again.",
        )
    for field in ("base_url", "reference_base_url"):
        if field in section and (problem := problem_with_base_url(section[field])):
            raise ConfigurationError(f"{name}.{field}", f"{problem}.", advice="E.g. https://proxy.example.com/vendor.")


def _instant(config: Mapping[str, Any], field: str) -> int:
    try:
        return timestamps.parse(config[field])
    except ValueError as error:
        raise ConfigurationError(
            field, f"{config[field]!r} is no date ({error}).", advice="Allowed: YYYY-MM-DD or YYYY-MM-DDTHH:mm:ssZ."
        ) from None


def _duration(text: str) -> int:
    try:
        parsed = pendulum.parse(text)
    except (OverflowError, ValueError):
        parsed = None
    if not isinstance(parsed, pendulum.Duration):
        raise ConfigurationError("lookback_window", f"{text!r} is no duration.", advice="Allowed: ISO 8601, e.g. PT1H.")
    return round(parsed.total_seconds() * 1_000_000) * 1_000
