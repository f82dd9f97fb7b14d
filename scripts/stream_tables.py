"""Generates the documentation's tables from the code: streams, fields, configuration, known gaps, versions.

    python scripts/stream_tables.py           # writes them between their markers in docs/
    python scripts/stream_tables.py --check   # changes nothing; fails if a table is outdated

A marker names the table: `<!-- table: fields kaiko_liquidation_events -->`, and `<!-- end of table -->` ends it. One
table may have the fields of several streams. Markers in code blocks are ignored.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from source_liquidations import config as configuration
from source_liquidations import planning
from source_liquidations.streams import Stream
from source_liquidations.timestamps import format_shortest
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.vendor import Shared, Vendor

ROOT = Path(__file__).parents[1]
MARKED = re.compile(
    r"^(?P<code>```+)\w+$.*?^(?P=code)$"
    r"|(?P<head>^<!-- table: (?P<what>[^>]+?) -->\n)(?P<table>.*?)(?P<tail><!-- end of table -->)",
    re.S | re.M,
)
# Columns that differ only in their interval share a line: `…_{5m,1h,1d}`.
_INTERVAL = re.compile(r"_(5m|1h|1d)$")
_INTERVAL_IN_WORDS = re.compile(r" in the (five minutes|hour|day)\b")
# Airbyte's names for the schemas' types; a schema may use no other type.
AIRBYTE_TYPES = {
    "string": "String",
    "timestamp": "Timestamp with time zone",
    "integer": "Integer",
    "boolean": "Boolean",
    "number": "Number",
    "array": "Array",
    "object": "Object",
}

Row = Sequence[str]


def configured(vendor: type[Vendor]) -> Vendor:
    """A vendor configured with the specification's examples."""
    section = configuration.spec()["connectionSpecification"]["properties"][vendor.name]["properties"]
    examples = {name: field["examples"][0] for name, field in section.items() if "examples" in field}
    return vendor({"api_key": "k", **examples}, Shared())


def own_streams(name: str = "") -> list[Stream]:
    """The streams of one vendor, or of all."""
    return [feed.stream for vendor in VENDORS if name in ("", vendor.name) for feed in configured(vendor).feeds]


def unified_streams() -> list[Stream]:
    every = planning.streams([configured(vendor) for vendor in VENDORS])
    return every[len(own_streams()) :]


def all_streams() -> list[Stream]:
    return [*unified_streams(), *own_streams()]


def _escaped(text: str) -> str:
    return text.replace("*", "\\*")


def kind_of(field: Mapping[str, Any]) -> str:
    if field.get("airbyte_type") == "timestamp_with_timezone":
        return "timestamp"
    (kind,) = set(field["type"]) - {"null"}
    return str(kind)


def streams(which: str = "") -> Iterator[Row]:
    yield ("stream", "one row is", "primary key", "cursor")
    for stream in {"": all_streams, "unified": unified_streams}.get(which, lambda: own_streams(which))():
        title = str(stream.json_schema()["title"])
        yield (
            f"`{stream.name}`",
            title[0].lower() + title[1:],
            ", ".join(f"`{name}`" for name in stream.primary_key),
            f"`{stream.cursor_field}`" if stream.cursor_field else "",
        )


def fields(*streams: str) -> Iterator[Row]:
    """The fields of one or several streams; a field's description is that of the first stream that has it."""
    yield ("field", "type", "description")
    schemas = [stream.json_schema() for name in streams for stream in all_streams() if stream.name == name]
    assert len(schemas) == len(streams), streams
    properties: dict[str, Any] = {}
    for schema in schemas:
        properties |= {name: field for name, field in schema["properties"].items() if name not in properties}
    yield from _fields(properties)


def _fields(properties: Mapping[str, Any], path: str = "") -> Iterator[Row]:
    groups: dict[str, list[str]] = {}
    for name in properties:
        groups.setdefault(_INTERVAL.sub("", name), []).append(name)
    for stem, names in groups.items():
        field = properties[names[0]]
        described = _escaped(field["description"])
        shown = path + names[0]
        if len(names) > 1:
            shown = f"{path}{stem}_{{{','.join(name.removeprefix(f'{stem}_') for name in names)}}}"
            described = _INTERVAL_IN_WORDS.sub(" in the interval", described)
        yield (f"`{shown}`", kind_of(field), described)
        inner = field.get("items", {}).get("properties", {})  # fields with an outer field's name are not repeated
        yield from _fields({name: each for name, each in inner.items() if name not in properties}, f"{shown}[].")


def types() -> Iterator[Row]:
    """The types in use, with an example of each."""
    yield ("type in the schema", "Airbyte type", "for instance")
    fields_by_kind: dict[str, list[str]] = {}
    for stream in all_streams():
        for name, field in stream.json_schema()["properties"].items():
            fields_by_kind.setdefault(kind_of(field), []).append(f"`{stream.name}.{name}`")
    schema = {"timestamp": "string, format date-time, airbyte_type timestamp_with_timezone"}
    for kind, names in sorted(fields_by_kind.items(), key=lambda item: -len(item[1])):
        yield (schema.get(kind, kind), AIRBYTE_TYPES[kind], names[0])


def fields_of_configuration(vendor: str = "") -> Iterator[Row]:
    yield ("field", "type", "default", "description")
    schema = configuration.spec()["connectionSpecification"]
    section = schema["properties"][vendor] if vendor else schema
    for name, field in section["properties"].items():
        if field.get("airbyte_hidden"):
            continue
        default = "required" if name in section.get("required", ()) else ""
        if "default" in field:
            default = f"`{json.dumps(field['default'])}`"
        yield (
            f"`{f'{vendor}.' if vendor else ''}{name}`",
            _values(field),
            default,
            _escaped(field.get("description", "")),
        )


def _values(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return "list of texts"
    kind = {"string": "text", "integer": "whole number", "boolean": "yes or no"}.get(field["type"], field["type"])
    if "maximum" in field:
        return f"{kind}, {field['minimum']} to {field['maximum']}"
    return "secret text" if field.get("airbyte_secret") else str(kind)


def coverage(vendor: str) -> Iterator[Row]:
    yield ("exchange", "what", "from", "to", "note")
    for period in next(each for each in VENDORS if each.name == vendor).coverage:
        instants = (period.period_start, period.period_end)
        start, end = ("" if at is None else format_shortest(at).removesuffix("T00:00:00Z") for at in instants)
        yield (period.exchange, period.kind.replace("_", "-"), start, end, period.note)


def versions() -> Iterator[Row]:
    yield ("version", "what changed")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    yield from re.findall(r"^## (\S+)\n+([^\n#].*)", changes, re.MULTILINE)


TABLES: dict[str, Callable[..., Iterable[Row]]] = {
    "streams": streams,
    "fields": fields,
    "types": types,
    "configuration": fields_of_configuration,
    "coverage": coverage,
    "versions": versions,
}


def table(what: str) -> str:
    name, *arguments = what.split()
    head, *rows = TABLES[name](*arguments)
    first, *others = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in (head, *rows))
    return "".join((first, f"|{'---|' * len(head)}\n", *others))


def written(page: str) -> str:
    """A page with every table up to date."""
    return MARKED.sub(
        lambda match: f"{match['head']}\n{table(match['what'])}\n{match['tail']}" if match["what"] else match[0], page
    )


def pages() -> list[Path]:
    return sorted((ROOT / "docs").rglob("*.md"))


def outdated() -> list[Path]:
    return [page for page in pages() if written(text := page.read_text("utf-8")) != text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    outdated_pages = outdated()
    for page in outdated_pages:
        print(f"{page.relative_to(ROOT)}: {'outdated' if check else 'written'}")
        if not check:
            page.write_text(written(page.read_text("utf-8")), "utf-8")
    if check and outdated_pages:
        print("Run: python scripts/stream_tables.py")
    return int(check and bool(outdated_pages))


if __name__ == "__main__":
    sys.exit(main())
