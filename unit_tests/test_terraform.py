"""examples/terraform: attributes that the provider has, configurations that the connector takes, a key's limits kept.

Needs python-hcl2; skipped without it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from source_liquidations import config as configuration
from source_liquidations import planning
from source_liquidations.config import Config
from source_liquidations.vendors.vendor import Shared

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

hcl2 = pytest.importorskip("hcl2")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "terraform"

# The used resources of airbytehq/airbyte 1.2.0, from its documentation. A set: the allowed values.
# None: any text or expression.
PROVIDER: dict[str, dict[str, Any]] = {
    "airbyte_source_definition": {
        "workspace_id": None,
        "name": None,
        "docker_repository": None,
        "docker_image_tag": None,
        "documentation_url": None,
    },
    "airbyte_source": {
        "name": None,
        "workspace_id": None,
        "definition_id": None,
        "configuration": None,
        "secret_id": None,
        "resource_allocation": {
            "job_specific": [
                {
                    "job_type": {"get_spec", "check_connection", "discover_schema", "sync", "replicate"},
                    "resource_requirements": dict.fromkeys(
                        ("cpu_limit", "cpu_request", "memory_limit", "memory_request")
                    ),
                }
            ]
        },
    },
    "airbyte_connection": {
        "name": None,
        "source_id": None,
        "destination_id": None,
        "namespace_definition": {"source", "destination", "custom_format"},
        "namespace_format": None,
        "non_breaking_schema_updates_behavior": {
            "ignore",
            "disable_connection",
            "propagate_columns",
            "propagate_fully",
        },
        "prefix": None,
        "status": {"active", "inactive", "deprecated", "locked"},
        "schedule": {"schedule_type": None, "cron_expression": None},
        "configurations": {"streams": None},
    },
}
REQUIRED = {
    "airbyte_source_definition": {"workspace_id", "name", "docker_repository", "docker_image_tag"},
    "airbyte_source": {"name", "workspace_id", "configuration"},
    "airbyte_connection": {"source_id", "destination_id"},
}
SYNC_MODES = {"incremental_deduped_history", "full_refresh_overwrite", "full_refresh_append"}
META = {"for_each", "count", "depends_on", "lifecycle", "provider"}
CRON = re.compile(r"0 \d{1,2} (\*|\d{1,2}) (\*|\d{1,2}) \* \?")  # Quartz: seconds first, and ? for the day of the week
COIN_METRICS_REQUESTS_A_MINUTE = 18_000
COIN_METRICS_AT_ONCE = 10


def plain(value: Any) -> Any:
    """What hcl2 parsed, without the quotes around texts and the marks of blocks that its newer versions leave."""
    if isinstance(value, str):
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items() if not str(name).startswith("__")}
    return value


def parsed(name: str) -> dict[str, Any]:
    return plain(hcl2.loads((FOLDER / name).read_text("utf-8")))


def blocks(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All blocks of a kind, by their first label."""
    for file in sorted(FOLDER.glob("*.tf")):
        for block in parsed(file.name).get(kind, []):
            yield from block.items()


def with_variables(value: Any) -> Any:
    """A configuration with something in place of every variable."""
    if isinstance(value, dict):
        return {name: with_variables(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_variables(item) for item in value]
    return re.sub(r"^\$\{var\.(\w+)\}$", r"\1", value) if isinstance(value, str) else value


CONNECTIONS: dict[str, Any] = parsed("plan.tf")["locals"][0]["connections"]
LISTS: dict[str, str] = parsed("plan.tf")["locals"][0]["lists"]


def config_of(name: str) -> Config:
    return configuration.parse(with_variables(CONNECTIONS[name]["source"]))


def fits(value: Any, schema: Any, path: str) -> None:
    if isinstance(schema, Mapping) and isinstance(value, dict):
        assert value.keys() <= schema.keys(), f"{path}: {value.keys() - schema.keys()} is no attribute"
        for name, item in value.items():
            fits(item, schema[name], f"{path}.{name}")
    elif isinstance(schema, list) and isinstance(value, list):
        for item in value:
            fits(item, schema[0], path)
    elif isinstance(schema, set) and not str(value).startswith("${"):
        assert value in schema, f"{path}: {value!r}, allowed are {sorted(schema)}"


@pytest.mark.parametrize(("kind", "block"), [*blocks("resource")], ids=lambda value: str(value)[:40])
def test_resources_have_the_providers_attributes(kind: str, block: dict[str, Any]) -> None:
    (resource,) = block.values()
    attributes = {name: value for name, value in resource.items() if name not in META}
    assert attributes.keys() >= REQUIRED[kind]
    fits(attributes, PROVIDER[kind], kind)


def test_modes_of_streams_are_the_providers() -> None:
    text = (FOLDER / "main.tf").read_text("utf-8")
    (mode,) = re.findall(r'sync_mode = lookup\(local\.lists, name, "(\w+)"\)', text)
    assert {mode, *LISTS.values()} == SYNC_MODES
    assert LISTS["liquidation_coverage"] == "full_refresh_append", "a later sync must not delete what one saw"


def test_the_image_is_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    definition = next(
        block["liquidations"] for kind, block in blocks("resource") if kind == "airbyte_source_definition"
    )
    assert definition["docker_image_tag"] == version


def test_variables_are_declared_and_used_and_keys_are_sensitive() -> None:
    declared = dict(blocks("variable"))
    text = "\n".join(file.read_text("utf-8") for file in FOLDER.glob("*.tf"))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(declared)
    for name, block in declared.items():
        assert bool(block.get("sensitive")) == name.endswith(("_key", "_secret"))
    keys = re.findall(r"api_key\s*=\s*(\S+)", text)
    assert keys
    assert all(re.fullmatch(r"var\.\w+_api_key", key) for key in keys), "a key in the file"


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_configuration_is_one_that_the_connector_takes(name: str) -> None:
    known = {stream.name: stream for stream in planning.streams(planning.configured_vendors(config_of(name), Shared()))}
    selected = CONNECTIONS[name]["streams"]
    assert selected
    assert set(selected) <= set(known)
    assert {stream for stream in selected if known[stream].cursor_field is None} == set(selected) & set(LISTS)


@pytest.mark.parametrize("name", CONNECTIONS)
def test_what_every_connection_has(name: str) -> None:
    connection = CONNECTIONS[name]
    assert connection.keys() == {"streams", "cron", "memory_limit", "source"}
    assert connection["cron"] == "" or CRON.fullmatch(connection["cron"])
    assert re.fullmatch(r"\d+[MG]i", connection["memory_limit"])
    assert re.fullmatch(r"[a-z0-9_]+", name), "it is part of a namespace"


def test_coin_metrics_connections_share_its_limits_and_no_market() -> None:
    sections = [
        c["source"] | c["source"]["coin_metrics"] for c in CONNECTIONS.values() if "coin_metrics" in c["source"]
    ]
    assert sum(section["requests_per_minute"] for section in sections) <= COIN_METRICS_REQUESTS_A_MINUTE
    assert sum(section["num_workers"] for section in sections) <= COIN_METRICS_AT_ONCE
    events = [c["source"]["coin_metrics"]["markets"] for n, c in CONNECTIONS.items() if n.startswith("coin_metrics")]
    exchanges = [market.split("-")[0] for markets in events for market in markets]
    assert sorted(exchanges) == [
        "binance", "bitfinex", "bitmex", "bybit", "deribit", "ftx", "huobi", "kraken", "okex",
    ]  # fmt: skip
    starts = [c["source"]["start_date"] for n, c in CONNECTIONS.items() if n.startswith("coin_metrics")]
    assert set(starts) == {"2019-01-01"}
