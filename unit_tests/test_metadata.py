"""metadata.yaml, Dockerfile, locks, changelog and package say the same as the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from source_liquidations import config as configuration
from source_liquidations import planning
from source_liquidations.errors import ConfigurationError
from source_liquidations.http.client import Client
from source_liquidations.streams import Stream
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.vendor import Shared, Vendor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-demo.lock")


def forms_of(vendor: type[Vendor]) -> Iterator[dict[str, Any]]:
    """A vendor's section in every form that may change the host or add a stream, out of the specification's examples.

    Values that the vendor's own rules do not allow together are left out.
    """
    fields = configuration.spec()["connectionSpecification"]["properties"][vendor.name]["properties"]
    shown = {name: field["examples"][0] for name, field in fields.items() if "examples" in field}
    keyless = {name: value for name, value in shown.items() if not name.endswith("base_url")}
    whole = {**keyless, "api_key": "k"} if "api_key" in fields else keyless
    choices = [{**whole, name: value} for name, field in fields.items() for value in field.get("enum", ())]
    for form in (whole, keyless, *choices):
        try:
            parsed({vendor.name: form})
        except ConfigurationError:
            continue
        yield form


def parsed(section: dict[str, Any]) -> configuration.Config:
    return configuration.parse({"start_date": "2024-01-01", **section})


def streams_of(config: dict[str, Any]) -> list[Stream]:
    return planning.streams(planning.configured_vendors(parsed(config), Shared()))


CONFIGS = tuple({vendor.name: form} for vendor in VENDORS for form in forms_of(vendor))


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "metadata.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def without_ids(schema: Any) -> Any:
    """Airbyte bundles schemas whose own $id would turn the references between them elsewhere."""
    if isinstance(schema, dict):
        return {name: without_ids(value) for name, value in schema.items() if name != "$id"}
    return [without_ids(value) for value in schema] if isinstance(schema, list) else schema


def test_metadata_is_valid_by_airbytes_schema(metadata: dict[str, Any]) -> None:
    file = resources.files("airbyte_connector_models") / "metadata" / "v0" / "ConnectorMetadataDefinitionV0.json"
    schema = without_ids(json.loads(file.read_text("utf-8")))
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(metadata)


def test_version_is_the_same_everywhere(metadata: dict[str, Any], project: dict[str, Any]) -> None:
    version = project["version"]
    labels = re.findall(r'[.]version="([^"]+)"', (ROOT / "Dockerfile").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert metadata["data"]["dockerImageTag"] == version
    assert labels == [version, version]
    assert newest is not None
    assert newest[1] == version


def test_base_image_of_the_dockerfile_is_the_one_in_the_metadata(metadata: dict[str, Any]) -> None:
    default = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert default is not None
    assert default[1] == metadata["data"]["connectorBuildOptions"]["baseImage"]
    assert re.search(r":[\d.]+@sha256:[0-9a-f]{64}$", default[1])


def test_allowed_hosts_are_those_that_the_vendors_are_asked_at(
    metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    make = Client.__init__

    def remember(self: Client, **arguments: Any) -> None:
        asked.add(urlsplit(arguments["base"]).netloc)
        make(self, **arguments)

    monkeypatch.setattr(Client, "__init__", remember)
    for config in CONFIGS:
        planning.configured_vendors(parsed(config), Shared())
    assert sorted(metadata["data"]["allowedHosts"]["hosts"]) == sorted(asked)
    assert {name for config in CONFIGS for name in config} == {vendor.name for vendor in VENDORS}


def test_suggested_streams_exist(metadata: dict[str, Any]) -> None:
    names = {stream.name for config in CONFIGS for stream in streams_of(config)}
    assert set(metadata["data"]["suggestedStreams"]["streams"]) <= names


def test_documentation_names_every_stream_and_host(metadata: dict[str, Any]) -> None:
    text = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    names = {stream.name for config in CONFIGS for stream in streams_of(config)}
    expected = names | set(metadata["data"]["allowedHosts"]["hosts"])
    assert sorted(name for name in expected if name not in text) == []


def test_package_and_repository_names_agree(metadata: dict[str, Any], project: dict[str, Any]) -> None:
    data = metadata["data"]
    acceptance = yaml.safe_load((ROOT / "acceptance-test-config.yml").read_text("utf-8"))
    assert data["remoteRegistries"]["pypi"]["packageName"] == project["name"] == f"airbyte-{data['githubIssueLabel']}"
    assert list(project["scripts"]) == [data["githubIssueLabel"]]
    assert acceptance["connector_image"] == f"{data['dockerRepository']}:dev"
    assert f'io.airbyte.name="{data["dockerRepository"]}"' in (ROOT / "Dockerfile").read_text()
    assert data["license"] == project["license"]


def test_icon_is_a_square_drawing(metadata: dict[str, Any]) -> None:
    icon = ElementTree.parse(ROOT / metadata["data"]["icon"]).getroot()
    assert icon.tag == "{http://www.w3.org/2000/svg}svg"
    assert icon.get("width") == icon.get("height")
    assert icon.get("viewBox") == f"0 0 {icon.get('width')} {icon.get('height')}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_every_dependency_with_hashes_and_no_address(name: str, project: dict[str, Any]) -> None:
    text = (ROOT / name).read_text("utf-8")
    locked = set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))
    wanted = {re.split(r"[<>=; ]", dependency)[0] for dependency in project["dependencies"]}
    assert wanted <= locked
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in entry or entry.startswith("#")


def test_dockerfile_is_clean() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not available for this platform")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_pre_commit_runs_what_make_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [line.replace("$(VENV)", ".venv").removesuffix(" .") for line in recipe.replace("\t", "").splitlines()]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == commands
