"""The console script: `source-liquidations spec|check|discover|read`, like every Airbyte source, and `estimate`."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
from airbyte_cdk.models import AirbyteMessage, Type
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations import command_line, estimate
from source_liquidations.errors import Stopped
from source_liquidations.http.redaction import keep_secrets_of_environment, redact
from source_liquidations.logs import logger
from source_liquidations.messages import errors_traced, trace_message
from source_liquidations.output import Output, OutputLost
from source_liquidations.reading.pages import Block
from source_liquidations.signals import Signals, end_by_signal
from source_liquidations.source import SourceLiquidations

_STDOUT = 1
_STDERR = 2
_FAILED = 1


def run(args: list[str] | None = None) -> None:
    """Run one command and exit.

    Exit code 0 on success, 1 on failure, 2 on wrong usage; 141, silently, if the reader of the output is gone. On
    SIGTERM and SIGINT the process ends by that signal.
    """
    parsed = command_line.arguments(sys.argv[1:] if args is None else args)
    _occupy_standard_descriptors()
    source = SourceLiquidations()
    output = Output(_STDOUT, source.terminate)
    signals = Signals(source.terminate if parsed.command == "read" else None, lambda: output.written)
    _log_to(output, parsed)
    keep_secrets_of_environment()
    try:
        code = _attempt(source, output, parsed)
    except OutputLost as lost:
        code = 128 + signal.SIGPIPE if lost.reader_gone else _FAILED
        if not lost.reader_gone:
            print(f"source-liquidations: {lost}", file=sys.stderr, flush=True)
    if signals.received is not None:
        end_by_signal(signals.received)
    os._exit(code)  # does not wait for workers whose requests are still under way


def _occupy_standard_descriptors() -> None:
    """Open a read-only file for each closed one: else a connection to a vendor would get its number and the output."""
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= _STDERR:
        pass
    os.close(descriptor)


def _log_to(output: Output, parsed: argparse.Namespace) -> None:
    log_stream = sys.stderr if parsed.command == "estimate" else output
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream = log_stream  # `setStream` would flush the CDK's buffer into an output that may be lost
    if parsed.debug or os.environ.get("LOG_LEVEL", "").lower() == "debug":
        logger.setLevel(logging.DEBUG)


def _attempt(source: SourceLiquidations, output: Output, parsed: argparse.Namespace) -> int:
    """Run the command, report its failure, and return the exit code. Raises OutputLost."""
    try:
        with errors_traced():
            _do(source, output, parsed)
        return 0
    except (Stopped, OutputLost):
        if output.lost is not None:
            raise output.lost from None
        return 0
    except AirbyteTracedException as error:
        failure = error
    except Exception as error:
        logger.debug("unexpected", exc_info=True)
        message = f"internal error: {type(error).__name__}: {error}. Please report this, with this trace."
        failure = AirbyteTracedException.from_exception(error, message=message)
    # `check` reports what the user can fix as its result.
    status = failure.as_connection_status_message() if parsed.command == "check" else None
    output.message(trace_message(failure) if status is None else status)
    return _FAILED if status is None else 0


def _do(source: SourceLiquidations, output: Output, parsed: argparse.Namespace) -> None:
    if parsed.command == "spec":
        output.message(AirbyteMessage(type=Type.SPEC, spec=source.spec(logger)))
        return
    config = command_line.config_file(parsed.config)
    if parsed.command == "check":
        status = source.check(logger, config)
        output.message(AirbyteMessage(type=Type.CONNECTION_STATUS, connectionStatus=status))
    elif parsed.command == "discover":
        output.message(AirbyteMessage(type=Type.CATALOG, catalog=source.discover(logger, config)))
    elif parsed.command == "read":
        names = command_line.catalog_file(parsed.catalog, parsed.streams)
        for item in source.read_items(config, names, command_line.state_file(parsed.state)):
            if isinstance(item, Block):
                output.block(item.data)
            else:
                output.message(item)
    else:
        _estimate(source, output, parsed, config)


def _estimate(
    source: SourceLiquidations, output: Output, parsed: argparse.Namespace, config: Mapping[str, Any]
) -> None:
    names = command_line.catalog_file(parsed.catalog, parsed.streams) if parsed.catalog else None
    if names is None and parsed.streams:
        all_names = [stream.name for stream in source.discover(logger, config).streams]
        names = command_line.picked_streams(all_names, parsed.streams)
    estimates = source.estimate(config, names, command_line.state_file(parsed.state), sample=parsed.sample)
    text = msgspec.json.encode({"estimates": estimates}).decode() if parsed.json else estimate.as_table(estimates)
    output.block(f"{redact(text)}\n".encode())
