"""The configuration: checked once and completely, before the first request to a vendor."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, cast

import pendulum

from source_liquidations import timestamps
from source_liquidations.config_fields import checked, given_values, missing, unknown_fields
from source_liquidations.errors import ConfigurationError
from source_liquidations.logs import logger
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.vendor import Vendor, problem_with_base_url

_PLATFORM_PREFIX = "_"  # of the fields that the platform adds
EXAMPLE = '{"start_date": "2024-01-01", "coin_metrics": {"markets": ["binance-*-future"]}}'


@dataclass(frozen=True)
class Config:
    """A valid configuration. Instants are nanoseconds since the epoch, durations nanoseconds.

    `rolling_start` means that `start_date` is a duration back from now.
    """

    start: int
    rolling_start: bool
    end: int
    lookback: int
    workers: int
    vendors: Mapping[type[Vendor], Mapping[str, Any]]


def spec() -> dict[str, Any]:
    """The connector's specification: the common fields, and one section per vendor."""
    package = resources.files(__package__)
    specification: dict[str, Any] = json.loads((package / "spec.json").read_text("utf-8"))
    for vendor in VENDORS:
        section = json.loads((package / "vendors" / vendor.name / "config.json").read_text("utf-8"))
        specification["connectionSpecification"]["properties"][vendor.name] = section
    return specification


def secrets(config: Any) -> Iterator[str]:
    """The values in a configuration, valid or not, whose field is named like a key or a password."""
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if isinstance(value, Mapping):
            yield from secrets(value)
        elif isinstance(value, str) and any(word in str(name).lower() for word in _SECRET_WORDS):
            yield value
            yield value.strip()


_SECRET_WORDS = ("key", "secret", "token", "password")


def parse(config: Mapping[str, Any], *, now: int | None = None) -> Config:
    """The valid configuration in a raw one. Warns about unknown fields.

    Raises ConfigurationError, which names every mistake: the field, and what is allowed.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError("configuration", "is not a JSON object.", advice=f"E.g. {EXAMPLE}.")
    config = {name: value for name, value in config.items() if not str(name).startswith(_PLATFORM_PREFIX)}
    schema = spec()["connectionSpecification"]
    sections = {vendor.name: schema["properties"][vendor.name] for vendor in VENDORS}
    problems = []
    for path, similar in unknown_fields(config, schema):
        if similar is None:
            logger.warning("`%s` is not a field of this version and is ignored.", path)
        else:
            advice = f"Did you mean `{similar}`?"
            problems.append(ConfigurationError(path, "is not a field of this connector.", advice=advice))
    values = given_values(config, schema)
    valid, invalid = checked(values, schema)
    problems += invalid
    problems += missing(schema["required"], values, schema)
    configured = {vendor: valid[vendor.name] for vendor in VENDORS if vendor.name in valid}
    for vendor, section in configured.items():
        problems += missing(vendor.required, values[vendor.name], sections[vendor.name], f"{vendor.name}.")
        problems += _nothing_to_read(vendor, values[vendor.name], sections[vendor.name]["properties"])
        problems += _section_problems(vendor, section)
        problems += _entry_problems(vendor, values[vendor.name], {problem.field for problem in problems})
    if not configured and not any(problem.field.partition(".")[0] in sections for problem in problems):
        problems.append(
            ConfigurationError(", ".join(sections), "no vendor is configured.", advice="Fill in at least one of these.")
        )
    # Vendors' parameters have milliseconds.
    now = timestamps.floor_to(time.time_ns() if now is None else now, timestamps.MILLISECOND)
    # A date that cannot be parsed is a problem, so its default is never used.
    start = _time(problems, valid, "start_date", partial(_start, now=now), default=-(2**63))
    end = _time(problems, valid, "end_date", timestamps.parse, default=now)
    lookback = _time(problems, valid, "lookback_window", _lookback, default=timestamps.HOUR)
    if start >= now:
        problems.append(
            ConfigurationError("start_date", f"{values['start_date']} is not in the past.", advice="Give a past date.")
        )
    elif start >= end:
        problems.append(
            ConfigurationError(
                "end_date", f"{values['end_date']} is not after start_date.", advice="Give a later date, or none."
            )
        )
    if problems:
        raise ConfigurationError.of_all(problems)
    return Config(
        start=start,
        rolling_start=valid["start_date"].startswith("P"),
        end=min(end, now),
        lookback=lookback,
        workers=values.get("num_workers", 8),
        vendors=configured,
    )


def _nothing_to_read(
    vendor: type[Vendor], section: Mapping[str, Any], fields: Mapping[str, Any]
) -> Iterator[ConfigurationError]:
    if vendor.one_of and not any(field in section for field in vendor.one_of):
        yield ConfigurationError(
            f"{vendor.name}.{vendor.one_of[0]}",
            f"neither {' nor '.join(vendor.one_of)} are given, so there is nothing to read.",
            advice=f"E.g. {' or '.join(json.dumps(fields[field]['examples'][0]) for field in vendor.one_of)}.",
        )


def _section_problems(vendor: type[Vendor], section: Mapping[str, Any]) -> Iterator[ConfigurationError]:
    if any(not 32 < ord(character) < 127 for character in section.get("api_key", "-")):
        yield ConfigurationError(
            f"{vendor.name}.api_key",
            "has a space, a line break or another character that no key has.",
            advice="Copy it again.",
        )
    for field in ("base_url", "reference_base_url"):
        if field in section and (problem := problem_with_base_url(section[field])):
            yield ConfigurationError(
                f"{vendor.name}.{field}", f"{problem}.", advice="E.g. https://proxy.example.com/vendor."
            )
    yield from vendor.problems(section)


def _entry_problems(vendor: type[Vendor], section: Mapping[str, Any], named: set[str]) -> Iterator[ConfigurationError]:
    """What is wrong with entries of lists, apart from those that the specification does not allow."""
    lists = ((field, entries) for field, entries in section.items() if isinstance(entries, list))
    for field, entries in lists:
        for index, entry in enumerate(entries):
            entry_name = f"{vendor.name}.{field}[{index}]"
            problem = None if entry_name in named else vendor.entry_problem(field, entry)
            if problem is not None:
                yield ConfigurationError(entry_name, problem[0], advice=problem[1])


def _time(
    problems: list[ConfigurationError], values: Mapping[str, Any], field: str, parse: Callable[[str], int], default: int
) -> int:
    """The field's value; the default if it is absent, or if it cannot be parsed, which also adds a problem."""
    if field not in values:
        return default
    text = values[field]
    try:
        return parse(text)
    except (OverflowError, ValueError) as error:
        problem, allowed = f"is not a date ({error})", "YYYY-MM-DD or YYYY-MM-DDTHH:mm:ssZ"
        if field == "lookback_window" or text.startswith("P"):
            problem, allowed = "is not a usable duration", "ISO 8601, e.g. P90D or PT1H"
        problems.append(ConfigurationError(field, f"{text!r} {problem}.", advice=f"Allowed: {allowed}."))
        return default


def _start(text: str, now: int) -> int:
    """An instant, or a duration back from now."""
    if not text.startswith("P"):
        return timestamps.parse(text)
    at = pendulum.from_timestamp(0).add(microseconds=now // 1000) - _duration(text)
    return timestamps.parse(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _lookback(text: str) -> int:
    return round(_duration(text).total_seconds() * 1_000_000) * 1_000


def _duration(text: str) -> pendulum.Duration:
    """The duration in a text that matches the specification."""
    return cast("pendulum.Duration", pendulum.parse(text))
