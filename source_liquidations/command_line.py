"""What the command line takes: its commands and options, and the files that they name."""

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
from source_liquidations.state import WANTED, Blobs, blobs_of_messages

_NO_JSON = (ValueError, RecursionError)  # the second of brackets in brackets in brackets

_MESSAGE = '{"type":'  # how each line begins that this connector prints
_RECORD = '{"type":"RECORD"'

_CATALOG_HELP = "path to a configured catalog, or to what `discover` printed: then all its streams are read"
_STATE_HELP = "path to a list of state messages, or to what a `read` printed; without such a file, a first sync"


def arguments(args: Sequence[str]) -> argparse.Namespace:
    """The command and its options. Prints help or usage and exits where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="source-liquidations", description="Airbyte source for crypto-derivatives liquidation data."
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True)

    def command(name: str, words: str, *, config: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        added.add_argument("--debug", action="store_true", help="log more")
        if config:
            added.add_argument("--config", required=True, help="path to the configuration, a JSON file")
        return added

    command("spec", "print the specification of the configuration", config=False)
    command("check", "check the configuration with one cheap call to each vendor")
    command("discover", "print the catalog: the streams of the configured vendors")
    read = command("read", "read streams and print their records and states")
    read.add_argument("--catalog", required=True, help=_CATALOG_HELP)
    estimate = command("estimate", "print what a sync would read and cost; makes no paid call")
    estimate.add_argument("--catalog", help=f"{_CATALOG_HELP}; without it, all streams")
    estimate.add_argument("--json", action="store_true", help="print JSON instead of a table")
    estimate.add_argument(
        "--sample", action="store_true", help="measure densities by a few small calls, which may cost"
    )
    for one in (read, estimate):
        one.add_argument("--streams", help="names of streams, joined by commas: read only these of the catalog")
        one.add_argument("--state", help=_STATE_HELP)
    return parser.parse_args(args or ["--help"])


def config_file(path: str) -> Mapping[str, Any]:
    """The configuration in a file. Raises ConfigurationError."""
    wanted = f"a JSON object such as {EXAMPLE}"
    with _opened("--config", path) as file:
        found = _parsed("--config", path, file.read(), wanted)
    if not isinstance(found, dict):
        raise _unusable("--config", path, "is not a JSON object", wanted)
    return found


def catalog_file(path: str, streams: str | None) -> list[str]:
    """The names of the streams in a catalog, configured or discovered; of them, the chosen ones.

    Raises ConfigurationError.
    """
    wanted = "a configured catalog, or what `discover` printed"
    whole = _json("--catalog", path, wanted)
    items = whole if isinstance(whole, list) else [whole]
    # What `discover` printed may hold log lines, and what several printed is in one file: the last one counts.
    found = [item.get("catalog", item) for item in items if _is_catalog(item)]
    if not found:
        raise _unusable("--catalog", path, "has no catalog in it", wanted)
    try:
        names = [str(entry.get("stream", entry)["name"]) for entry in found[-1]["streams"]]
    except (AttributeError, KeyError, TypeError):
        raise _unusable("--catalog", path, "is not a catalog: a stream or its name is missing", wanted) from None
    return chosen(names, streams)


def _is_catalog(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("type") == "CATALOG" or "streams" in item)


def chosen(names: list[str], streams: str | None) -> list[str]:
    """The streams that an option names, all without it. Raises ConfigurationError."""
    if streams is None:
        return names
    found = [name.strip() for name in streams.split(",") if name.strip()]
    available = f"Available: {', '.join(names)}."
    if not found:
        raise ConfigurationError("--streams", "names no stream.", advice=available)
    for name in found:
        if name not in names:
            raise ConfigurationError("--streams", f"{shown(name)} is not in the catalog.", advice=available)
    return found


def state_file(path: str | None) -> Blobs:
    """By stream, the state in a file; nothing where there is no such file. Raises ConfigurationError."""
    if not path:
        return {}
    with suppress(OSError):  # of a folder that may not be entered, for instance: `_json` says so
        if not Path(path).exists():
            return {}
    saved = _json("--state", path, WANTED)
    try:
        return blobs_of_messages(saved)
    except ConfigurationError as error:
        raise ConfigurationError(f"--state {path}", error.cause, advice=error.advice) from None


def _json(option: str, path: str, wanted: str) -> Any:
    """The JSON value in a file; or a list of those, one a line, without records and messages that were cut off."""
    found: list[Any] = []
    number = 0
    with _opened(option, path) as file:
        for number, line in enumerate(filter(str.strip, file), 1):
            if line.startswith(_RECORD):  # as many as a read brought: no memory holds them
                continue
            try:
                found.append(json.loads(line))
            except _NO_JSON as error:
                if not found:
                    return _parsed(option, path, line + file.read(), wanted)
                if not line.startswith(_MESSAGE[: len(line.rstrip())]):
                    raise _unusable(option, path, f"is not JSON (line {number}: {error})", wanted) from None
                logger.warning("%s %s: line %d was cut off and is left out.", option, path, number)
    return found[0] if found and number == 1 else found


def _parsed(option: str, path: str, text: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except _NO_JSON as error:
        raise _unusable(option, path, f"is not JSON ({error})", wanted) from None


@contextmanager
def _opened(option: str, path: str) -> Iterator[TextIO]:
    """A file in any encoding that JSON may have. What goes wrong in reading it, too, is a ConfigurationError."""
    try:
        with open(path, "rb") as file:  # a Path of "" would be the directory at hand
            yield TextIOWrapper(file, json.detect_encoding(file.peek(4)), newline="\n")
    except OSError as error:
        raise _unusable(option, path, f"cannot be read ({error.strerror})", "the path of a file") from None
    except UnicodeDecodeError as error:
        raise _unusable(option, path, f"is not text ({error.reason})", "a JSON file") from None


def _unusable(option: str, path: str, problem: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{option} {path}", f"{problem}.", advice=f"Wanted: {wanted}.")
