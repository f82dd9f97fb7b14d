"""The command line: its commands and options, and the files that they name."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from source_liquidations.config import EXAMPLE
from source_liquidations.errors import ConfigurationError, shown
from source_liquidations.logs import logger
from source_liquidations.state import EXPECTED_STATE, Blobs, blobs_of_messages

_NOT_JSON = (ValueError, RecursionError)  # RecursionError: brackets nested too deeply

_MESSAGE = '{"type":'  # how each line of this connector's output begins
_RECORD = '{"type":"RECORD"'

_CATALOG_HELP = "path to a configured catalog, or to the output of `discover`: then all its streams are read"
_STATE_HELP = "path to a list of state messages, or to the output of a `read`; if it does not exist, a first sync runs"


def arguments(args: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Prints help or usage and exits if they are invalid."""
    parser = argparse.ArgumentParser(
        prog="source-liquidations", description="Airbyte source for crypto-derivatives liquidation data."
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)

    def command(name: str, summary: str, *, config: bool = True) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        subparser.add_argument("--debug", action="store_true", help="log more")
        if config:
            subparser.add_argument("--config", required=True, help="path to the configuration, a JSON file")
        return subparser

    command("spec", "print the specification of the configuration", config=False)
    command("check", "check the configuration with one cheap call to each vendor")
    command("discover", "print the catalog: the streams of the configured vendors")
    read = command("read", "read streams and print their records and states")
    read.add_argument("--catalog", required=True, help=_CATALOG_HELP)
    estimate = command("estimate", "print what a sync would read and cost; makes no paid call")
    estimate.add_argument("--catalog", help=f"{_CATALOG_HELP}; without it, all streams")
    estimate.add_argument("--json", action="store_true", help="print JSON instead of a table")
    estimate.add_argument(
        "--sample", action="store_true", help="measure densities with a few small calls, which may be charged"
    )
    for subparser in (read, estimate):
        subparser.add_argument("--streams", help="read only these streams of the catalog: names, separated by commas")
        subparser.add_argument("--state", help=_STATE_HELP)
    return parser.parse_args(args or ["--help"])


def config_file(path: str) -> Mapping[str, Any]:
    """The configuration in a file. Raises ConfigurationError."""
    expected = f"a JSON object such as {EXAMPLE}"
    with _opened("--config", path, expected) as file:
        config = json.load(file)
    if not isinstance(config, dict):
        raise _unusable("--config", path, "is not a JSON object", expected)
    return config


def catalog_file(path: str, streams: str | None) -> list[str]:
    """The names of the streams in a catalog, configured or discovered, that `--streams` picks.

    Raises ConfigurationError.
    """
    expected = "a configured catalog, or the output of `discover`"
    content = _json("--catalog", path, expected)
    items = content if isinstance(content, list) else [content]
    # The output of `discover` may contain log lines, and a file the output of several runs: the last catalog counts.
    catalogs = [item.get("catalog", item) for item in items if _is_catalog(item)]
    if not catalogs:
        raise _unusable("--catalog", path, "has no catalog in it", expected)
    try:
        names = [str(entry.get("stream", entry)["name"]) for entry in catalogs[-1]["streams"]]
    except (AttributeError, KeyError, TypeError):
        raise _unusable("--catalog", path, "is not a catalog: a stream or its name is missing", expected) from None
    return picked_streams(names, streams)


def _is_catalog(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("type") == "CATALOG" or "streams" in item)


def picked_streams(names: list[str], streams: str | None) -> list[str]:
    """The streams that `--streams` picks; all without it. Raises ConfigurationError."""
    if streams is None:
        return names
    picked = [name.strip() for name in streams.split(",") if name.strip()]
    available = f"Available: {', '.join(names)}."
    if not picked:
        raise ConfigurationError("--streams", "names no stream.", advice=available)
    for name in picked:
        if name not in names:
            raise ConfigurationError("--streams", f"{shown(name)} is not in the catalog.", advice=available)
    return picked


def state_file(path: str | None) -> Blobs:
    """The state of each stream in a file; empty if the file does not exist. Raises ConfigurationError."""
    if not path:
        return {}
    with suppress(OSError):  # such as a folder without permission: `_json` reports it
        if not Path(path).exists():
            return {}
    saved = _json("--state", path, EXPECTED_STATE)
    try:
        return blobs_of_messages(saved)
    except ConfigurationError as error:
        raise ConfigurationError(f"--state {path}", error.cause, advice=error.advice) from None


def _json(option: str, path: str, expected: str) -> Any:
    """The JSON value in a file; a list if each line has one. Skips records, and messages that were cut off."""
    values: list[Any] = []
    number = 0
    with _opened(option, path, expected) as file:
        for number, line in enumerate(filter(str.strip, file), 1):
            if line.startswith(_RECORD):  # a sync's records may not fit into memory
                continue
            try:
                values.append(json.loads(line))
            except _NOT_JSON as error:
                if not values:
                    return json.loads(line + file.read())
                if not line.startswith(_MESSAGE[: len(line.rstrip())]):
                    raise ValueError(f"line {number}: {error}") from None
                logger.warning("%s %s: line %d was cut off and is left out.", option, path, number)
    return values[0] if values and number == 1 else values


@contextmanager
def _opened(option: str, path: str, expected: str) -> Iterator[TextIO]:
    """A file in any encoding that JSON allows. Errors while it is read and parsed become ConfigurationErrors, too."""
    try:
        with open(path, "rb") as file:  # Path("") would be the current directory
            yield TextIOWrapper(file, json.detect_encoding(file.peek(4)), newline="\n")
    except OSError as error:
        raise _unusable(option, path, f"cannot be read ({error.strerror})", "the path of a file") from None
    except UnicodeDecodeError as error:
        raise _unusable(option, path, f"is not text ({error.reason})", "a JSON file") from None
    except _NOT_JSON as error:
        raise _unusable(option, path, f"is not JSON ({error})", expected) from None


def _unusable(option: str, path: str, problem: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{option} {path}", f"{problem}.", advice=f"Expected: {expected}.")
