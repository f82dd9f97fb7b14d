"""The command line: `source-liquidations spec|check|discover|read`, as every Airbyte source, and `estimate`.

`read` writes whole blocks of records; `spec`, `check` and `discover` go the CDK's way.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, ConnectorSpecification, Type
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from orjson import dumps

from source_liquidations import estimate
from source_liquidations.errors import LiquidationsError, Stopped
from source_liquidations.http.redaction import redact, redacted, redacted_line
from source_liquidations.reading.pages import Block
from source_liquidations.source import SourceLiquidations, message, trace_message, traced

logger = logging.getLogger("airbyte")

_FAILED = 1
_STOPPED = -1
_ENDED = 128  # plus the number of the signal
_CLOSED = _ENDED + signal.SIGPIPE


# Allowed in a JSON text, and the end of a line to some who read line by line: NEL, and the two that Unicode has for it.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class Output:
    """Standard output, for records and log lines alike: whole lines, one writer at a time.

    `gone` is called where a log line finds that nobody reads any more.
    """

    def __init__(self, raw: BinaryIO, gone: Callable[[], object]) -> None:
        # Under PYTHONUNBUFFERED it is a bare file, whose write may end early at a signal and lose the rest.
        self._raw: BinaryIO = io.BufferedWriter(raw) if isinstance(raw, io.RawIOBase) else raw
        self._lock = threading.Lock()
        self._gone = gone
        self.closed = False

    def block(self, data: bytes) -> None:
        if not data.isascii():
            for character, escape in _LINE_ENDS:
                data = data.replace(character, escape)
        with self._lock:
            self._raw.write(data)
            self._raw.flush()

    def message(self, message: AirbyteMessage) -> None:
        dumped = AirbyteMessageSerializer.dump(message)
        if message.type in {Type.TRACE, Type.CONNECTION_STATUS}:
            dumped = redacted(dumped)
        self.block(dumps(dumped) + b"\n")

    def write(self, text: str) -> int:
        """What logging calls, which has no place to complain where the reader went away."""
        try:
            self.block(text.encode("utf-8", "replace"))
        except BrokenPipeError:
            self.closed = True
            self._gone()
        return len(text)

    def flush(self) -> None:
        """Every write is flushed."""


class Entrypoint(AirbyteEntrypoint):
    """The CDK's entrypoint, with the configuration checked by the source alone, which names the field at fault."""

    @staticmethod
    def validate_connection(source_spec: ConnectorSpecification, config: Mapping[str, Any]) -> None:
        del source_spec, config

    @staticmethod
    def set_up_secret_filter(config: Mapping[str, Any], connection_specification: Mapping[str, Any]) -> None:
        """The source masks keys itself, encoded ones too, and fails no malformed configuration on the way."""
        del config, connection_specification


def run(args: list[str] | None = None) -> None:
    """Run one command and exit.

    0 done, 1 failed, 141 where the reader of the output went away, 143 on SIGTERM, 130 on SIGINT.
    """
    source = SourceLiquidations()
    output = Output(sys.stdout.buffer, source.terminate)
    parsed = _arguments(sys.argv[1:] if args is None else args)
    logs = sys.stderr if parsed.command == "estimate" else output
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(logs)
    ended_by: list[int] = []

    def end(number: int, _frame: object) -> None:
        """A sync writes its last state and ends; nothing else has anything to lose."""
        ended_by.append(number)
        if parsed.command != "read":
            os._exit(_ENDED + number)
        source.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        code = _attempt(source, output, parsed)
        if code == _STOPPED:
            code = _CLOSED if output.closed else _ENDED + ended_by[0]
    except BrokenPipeError:
        source.terminate()
        code = _CLOSED
    _leave(code)


def _attempt(source: SourceLiquidations, output: Output, parsed: argparse.Namespace) -> int:
    """Run the command, and report what ends it. The exit code."""
    try:
        _run(source, output, parsed)
    except Stopped:
        return _STOPPED
    except BrokenPipeError:
        raise
    except AirbyteTracedException as error:
        return _report(output, parsed.command, error)
    except Exception as error:
        logger.debug("unexpected", exc_info=True)
        return _report(output, parsed.command, traced(_surprise(error)))
    return 0


def _report(output: Output, command: str, error: AirbyteTracedException) -> int:
    """Says why the command failed: `check` by its own answer where the user can act, all else by a trace."""
    status = error.as_connection_status_message() if command == "check" else None
    output.message(trace_message(error) if status is None else status)
    return _FAILED if status is None else 0


def _arguments(args: list[str]) -> argparse.Namespace:
    if args[:1] != ["estimate"]:
        return AirbyteEntrypoint.parse_args(args or ["--help"])
    parser = argparse.ArgumentParser(
        prog="source-liquidations estimate", description="What a sync would read and cost. Makes no paid call."
    )
    parser.add_argument("--config", required=True, help="path to the json configuration file")
    parser.add_argument("--catalog", help="path to the configured catalog; without it, all streams")
    parser.add_argument("--state", help="path to the json-encoded state file")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--sample", action="store_true", help="measure densities by a few small, possibly paid, calls")
    parser.add_argument("--debug", action="store_true")
    return argparse.Namespace(command="estimate", **vars(parser.parse_args(args[1:])))


def _estimate(source: SourceLiquidations, output: Output, parsed: argparse.Namespace) -> None:
    catalog = source.read_catalog(parsed.catalog) if parsed.catalog else None
    found = source.estimate(
        source.read_config(parsed.config), catalog, source.read_state(parsed.state), sample=parsed.sample
    )
    text = estimate.as_json(found) if parsed.json else estimate.as_table(found)
    output.block(f"{redact(text)}\n".encode())


def _run(source: SourceLiquidations, output: Output, parsed: argparse.Namespace) -> None:
    if parsed.command == "estimate":
        _estimate(source, output, parsed)
        return
    if parsed.command != "read":
        for text in Entrypoint(source).run(parsed):
            output.block(f"{redacted_line(text)}\n".encode())
        return
    if parsed.debug:
        logger.setLevel(logging.DEBUG)
    config = source.read_config(parsed.config)
    items = source.read_items(config, source.read_catalog(parsed.catalog), source.read_state(parsed.state))
    for item in items:
        if isinstance(item, Block):
            output.block(item.data)
        else:
            output.message(message(item))


def _surprise(error: Exception) -> LiquidationsError:
    """Files that cannot be read are the caller's to mend; anything else is ours."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, (OSError, ValueError, KeyError, TypeError)):
        unreadable = LiquidationsError(text, who="command line", advice="Check the files given to the command.")
        unreadable.failure_type = "config_error"
        return unreadable
    return LiquidationsError(text, who="internal error", advice="Please report this, with the log at --debug.")


def _leave(code: int) -> None:
    """End now: workers may sit in a request that nobody waits for any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or _CLOSED
    os._exit(code)
