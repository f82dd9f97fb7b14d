"""The fields of a configuration against the specification: what is given, what is unknown, what is not allowed."""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import jsonschema

from source_liquidations.errors import ConfigurationError

Fields = Mapping[str, Any]

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def given(values: Fields, schema: Fields) -> dict[str, Any]:
    """What the user gave of the known fields: without `null`, `""` and `[]`, and with numbers as numbers.

    A section is not given where it holds only what Airbyte's form puts there untouched: defaults, and switches that are
    off.
    """
    found: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        value = values.get(name)
        if isinstance(value, Mapping) and "properties" in field:
            value = given(value, field)
            if all(inner is False or inner == field["properties"][key].get("default") for key, inner in value.items()):
                value = None
        elif field.get("type") in {"integer", "number"}:
            value = _number(value)
        if value is not None and value != "" and value != []:
            found[name] = value
    return found


def _number(value: Any) -> Any:
    """A whole number as an integer, however it is written; another number as it is."""
    with suppress(ValueError):
        value = float(value) if isinstance(value, str) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def unknown_fields(values: Fields, schema: Fields, path: str = "") -> Iterator[tuple[str, str | None]]:
    """Fields that are not known, and the known one that each is one typing slip away from, if there is one."""
    known = schema["properties"]
    for name, value in values.items():
        if name not in known:
            close = next((other for other in known if _one_slip(str(name), other)), None)
            yield f"{path}{name}", close and f"{path}{close}"
        elif "properties" in known[name] and isinstance(value, Mapping):
            yield from unknown_fields(value, known[name], f"{path}{name}.")


def missing(required: Iterable[str], values: Fields, schema: Fields, path: str = "") -> Iterator[ConfigurationError]:
    """Required fields that are not given."""
    for name in required:
        if name not in values:
            examples = schema["properties"][name].get("examples")
            advice = f"E.g. {json.dumps(examples[0])}." if examples else "Fill it in, or leave the whole section out."
            yield ConfigurationError(f"{path}{name}", "is required and missing.", advice=advice)


def _one_slip(name: str, other: str) -> bool:
    """Whether the names differ by case, a separator, or one letter that is missing, surplus, wrong or moved."""
    plain = [re.sub(r"[\W_]", "", text).lower() for text in (name, other)]
    # With one letter less, or as they are, they have a text in common.
    left, right = ({text, *(text[:at] + text[at + 1 :] for at in range(len(text)))} for text in plain)
    return not left.isdisjoint(right)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """In a text with a line break at its end, the `$` of a pattern would match before that."""
    if isinstance(instance, str) and (_UNPRINTABLE.search(instance) or re.search(pattern, instance) is None):
        yield jsonschema.ValidationError(f"{instance!r} does not match")


def _is_number(checker: Any, instance: Any) -> bool:
    """JSON as Python reads it has numbers that cannot be calculated with: NaN, Infinity, and what no float holds."""
    return isinstance(instance, (int, float)) and not isinstance(instance, bool) and abs(instance) < 1e300


def _is_whole(checker: Any, instance: Any) -> bool:
    return _is_number(checker, instance) and instance == int(instance)


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator,
    {"pattern": _pattern, "required": lambda *_: ()},  # `missing` says it
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_whole}),
)


def checked(values: Fields, schema: Fields) -> tuple[dict[str, Any], list[ConfigurationError]]:
    """The values that the specification allows, and a problem for each that it does not."""
    errors = sorted(_Validator(schema).iter_errors(values), key=lambda error: [str(part) for part in error.path])
    valid = copy.deepcopy(dict(values))
    for error in errors:
        path = [part for part in error.path if isinstance(part, str)]  # of an entry of a list: the list
        place = valid
        for part in path[:-1]:
            place = place.get(part, {})
        if path:
            place.pop(path[-1], None)
    return valid, [ConfigurationError(_field(error), _problem(error), advice=_allowed(error)) for error in errors]


def _field(error: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")


def _problem(error: Any) -> str:
    schema: Fields = error.schema
    # A section given as text is most likely the key itself.
    hidden = bool(schema.get("airbyte_secret")) or schema.get("type") == "object"
    value = "its value" if hidden or isinstance(error.instance, (dict, list)) else json.dumps(error.instance)[:80]
    if error.validator == "type":
        example = f", e.g. {json.dumps(schema['examples'][0])}" if "items" in schema else ""
        return f"must be {_KINDS[error.validator_value]}{example}; {value} is not."
    return {
        "enum": f"{value} is not allowed.",
        "pattern": f"{value} does not have the required form.",
        "minimum": f"{value} is too small.",
        "maximum": f"{value} is too large.",
    }.get(str(error.validator), f"{value} is not valid.")


_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a JSON object",
    "string": "text",
}


def _allowed(error: Any) -> str:
    schema: Fields = error.schema
    if "enum" in schema:
        return f"Allowed: {', '.join(map(str, schema['enum']))}."
    if "pattern_descriptor" in schema:
        return f"Allowed: {schema['pattern_descriptor']}."
    if "minimum" in schema:
        to = f" to {schema['maximum']}" if "maximum" in schema else " or more"
        return f"Allowed: {_KINDS[schema['type']]}, {schema['minimum']}{to}."
    if "items" in schema:
        return f"Allowed: a list of {schema['items'].get('pattern_descriptor', 'text')}."
    return f"Allowed: {_KINDS[schema['type']]}." if "type" in schema else ""
