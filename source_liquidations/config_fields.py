"""Compares a configuration with the specification: which fields are given, unknown, missing or not allowed."""

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


def given_values(values: Fields, schema: Fields) -> dict[str, Any]:
    """The known fields that the user filled in: without `null`, `""` and `[]`, and with texts converted to numbers.

    A section counts as absent if it has only what Airbyte's untouched form sends: defaults, and switches that are off.
    """
    given: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        value = values.get(name)
        if isinstance(value, Mapping) and "properties" in field:
            value = given_values(value, field)
            if all(inner is False or inner == field["properties"][key].get("default") for key, inner in value.items()):
                value = None
        elif field.get("type") in {"integer", "number"}:
            value = _number(value)
        if value is not None and value != "" and value != []:
            given[name] = value
    return given


def _number(value: Any) -> Any:
    """Converts text to a number if it is one, and a whole number to an integer."""
    with suppress(ValueError):
        value = float(value) if isinstance(value, str) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def unknown_fields(values: Fields, schema: Fields, path: str = "") -> Iterator[tuple[str, str | None]]:
    """Each unknown field, and the known field that it may be a typo of, or None."""
    fields = schema["properties"]
    for name, value in values.items():
        if name not in fields:
            similar = next((field for field in fields if _is_typo(str(name), field)), None)
            yield f"{path}{name}", similar and f"{path}{similar}"
        elif "properties" in fields[name] and isinstance(value, Mapping):
            yield from unknown_fields(value, fields[name], f"{path}{name}.")


def missing(required: Iterable[str], values: Fields, schema: Fields, path: str = "") -> Iterator[ConfigurationError]:
    """Required fields that are not given."""
    for name in required:
        if name not in values:
            examples = schema["properties"][name].get("examples")
            advice = f"E.g. {json.dumps(examples[0])}." if examples else "Fill it in, or leave the whole section out."
            yield ConfigurationError(f"{path}{name}", "is required and missing.", advice=advice)


def _is_typo(name: str, other: str) -> bool:
    """Whether the names differ by case, separators, or one letter that is missing, extra, wrong or moved."""
    letters = [re.sub(r"[\W_]", "", text).lower() for text in (name, other)]
    # They are equal as they are, or once one letter of either is left out.
    variants = [{text, *(text[:at] + text[at + 1 :] for at in range(len(text)))} for text in letters]
    return not variants[0].isdisjoint(variants[1])


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Refuses a line break at the end of a text: a pattern's `$` would match in front of it."""
    if isinstance(instance, str) and (_UNPRINTABLE.search(instance) or re.search(pattern, instance) is None):
        yield jsonschema.ValidationError(f"{instance!r} does not match")


def _is_number(checker: Any, instance: Any) -> bool:
    """Refuses what Python's JSON parser accepts but cannot be used: NaN, Infinity, and numbers beyond a float."""
    return isinstance(instance, (int, float)) and not isinstance(instance, bool) and abs(instance) < 1e300


def _is_whole(checker: Any, instance: Any) -> bool:
    return _is_number(checker, instance) and instance == int(instance)


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator,
    {"pattern": _pattern, "required": lambda *_: ()},  # `missing` reports required fields
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_whole}),
)


def checked(values: Fields, schema: Fields) -> tuple[dict[str, Any], list[ConfigurationError]]:
    """The values that the specification allows, and a problem for each of the others."""
    errors = sorted(_Validator(schema).iter_errors(values), key=lambda error: [str(part) for part in error.path])
    valid = copy.deepcopy(dict(values))
    for error in errors:
        path = [part for part in error.path if isinstance(part, str)]  # to the list, if the problem is in an entry
        section = valid
        for name in path[:-1]:
            section = section.get(name, {})
        if path:
            section.pop(path[-1], None)
    return valid, [ConfigurationError(_field(error), _problem(error), advice=_allowed(error)) for error in errors]


def _field(error: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")


def _problem(error: Any) -> str:
    schema: Fields = error.schema
    # Text in place of a section is most likely the key itself.
    may_be_secret = bool(schema.get("airbyte_secret")) or schema.get("type") == "object"
    hidden = may_be_secret or isinstance(error.instance, (dict, list))
    value = "its value" if hidden else json.dumps(error.instance)[:80]
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
        upper_bound = f" to {schema['maximum']}" if "maximum" in schema else " or more"
        return f"Allowed: {_KINDS[schema['type']]}, {schema['minimum']}{upper_bound}."
    if "items" in schema:
        return f"Allowed: a list of {schema['items'].get('pattern_descriptor', 'text')}."
    return f"Allowed: {_KINDS[schema['type']]}." if "type" in schema else ""
