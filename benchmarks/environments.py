"""The readers' environments: this interpreter for the connector and the CDK, one under `.venvs/` for each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venvs"
HERE = "connector"
REQUIREMENTS = {
    "singer": ["singer-sdk[msgspec]==0.54.9"],
    "dlt": ["dlt==1.31.0"],
    "coinmetrics": ["coinmetrics-api-client==2026.10.23.19"],
    "plot": ["matplotlib>=3.8,<4"],
    "airbyte": ["airbyte==0.71.*"],
}
REPORTED = {
    HERE: ("airbyte-source-liquidations", "airbyte-cdk", "requests", "urllib3", "orjson", "msgspec"),
    "singer": ("singer-sdk", "msgspec", "requests"),
    "dlt": ("dlt", "orjson", "requests"),
    "coinmetrics": ("coinmetrics-api-client", "orjson", "requests"),
    "airbyte": ("airbyte", "duckdb", "airbyte-cdk"),
}
VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
versions = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        versions[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


def python(environment: str) -> str:
    return sys.executable if environment == HERE else str(FOLDER / environment / "bin" / "python")


def exists(environment: str) -> bool:
    return Path(python(environment)).exists()


def script(name: str) -> str | None:
    """A console script of this interpreter, or else one on the PATH."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else shutil.which(name)


def create(environment: str) -> None:
    folder = FOLDER / environment
    uv = script("uv")
    if uv:
        subprocess.run([uv, "venv", "-q", "--allow-existing", "--python", sys.executable, folder], check=True)
        command = [uv, "pip", "install", "-q", "--python", python(environment)]
    else:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        command = [python(environment), "-m", "pip", "install", "-q"]
    subprocess.run([*command, *REQUIREMENTS[environment]], check=True)


def versions(environment: str) -> dict[str, str]:
    command = [python(environment), "-c", VERSIONS, *REPORTED[environment]]
    by_name: dict[str, str] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return by_name


def main() -> None:
    for environment in sys.argv[1:] or REQUIREMENTS:
        create(environment)
        print(environment, "ready in", FOLDER / environment)


if __name__ == "__main__":
    main()
