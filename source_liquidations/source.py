"""The Airbyte source: spec, check, discover, read."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from airbyte_cdk.logger import AirbyteLogFormatter
from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteEstimateTraceMessage,
    AirbyteMessage,
    AirbyteRecordMessage,
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateStats,
    AirbyteStateType,
    AirbyteStream,
    AirbyteStreamState,
    AirbyteStreamStatus,
    AirbyteTraceMessage,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    ConnectorSpecificationSerializer,
    EstimateType,
    FailureType,
    Status,
    StreamDescriptor,
    SyncMode,
    TraceType,
    Type,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as status_message
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations import config as configuration
from source_liquidations import estimate as estimating
from source_liquidations import planning
from source_liquidations.coverage import COVERAGE
from source_liquidations.errors import AccessRefused, ConfigurationError, LiquidationsError, Stopped
from source_liquidations.estimate import Estimate
from source_liquidations.http.client import Traffic
from source_liquidations.http.redaction import keep_secret, redact, redacted_line
from source_liquidations.reading import loop
from source_liquidations.reading.checkpoints import StreamState
from source_liquidations.reading.pages import Block
from source_liquidations.streams import Stream
from source_liquidations.vendors.vendor import Shared, Vendor

logger = logging.getLogger("airbyte")


class SourceLiquidations(Source):
    """Liquidation data of Kaiko, Kwery, Coin Metrics and Kiyotaka."""

    # `configuration.parse` checks more than the schema can say, and names the field.
    check_config_against_spec = False

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._terminated = False

    def terminate(self) -> None:
        """End the sync under way, and any later one, with the last checkpoints."""
        self._terminated = True
        self.stop.set()

    @property
    def name(self) -> str:
        return "source-liquidations"

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Takes the configuration as it is; the CDK's own way writes the keys to a file."""
        del temp_dir
        return config

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        del logger
        return ConnectorSpecificationSerializer.load(configuration.spec())

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """One cheap call to each configured vendor."""
        del logger
        _mask_keys(config)
        try:
            parsed = configuration.parse(config)
            for vendor in planning.configured_vendors(parsed, Shared(parsed.workers, self.stop)):
                try:
                    vendor.check(Traffic())
                except AccessRefused as error:
                    raise error.named(f"`{vendor.name}.api_key`" if not error.who else "").named(vendor.name) from None
                except LiquidationsError as error:
                    raise error.named(vendor.name) from None
        except LiquidationsError as error:
            return AirbyteConnectionStatus(status=Status.FAILED, message=redact(error.message))
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """The streams of the configured vendors; asks nothing of them."""
        del logger
        _mask_keys(config)
        return AirbyteCatalog(streams=[_airbyte_stream(stream) for stream in planning.streams(_parsed(config))])

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: Sequence[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Messages one by one, for callers in this process. The command line takes `read_items`."""
        del logger
        for item in self.read_items(config, catalog, state):
            if isinstance(item, Block):
                yield from records(item)
            else:
                yield message(item)

    def read_items(
        self,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: Sequence[AirbyteStateMessage] | None = None,
    ) -> Iterator[loop.Item]:
        """Blocks of records, checkpoints and statuses, in the order in which they have to be written.

        Failed streams are reported at the end: the last of them by raising AirbyteTracedException. Raises Stopped
        where `stop` is set, after the last checkpoints.
        """
        self.stop = threading.Event()
        if self._terminated:
            self.stop.set()
        parsed, vendors, states = self._prepared(config, catalog, state)
        found = planning.readings(parsed, vendors, states)
        last = {COVERAGE.name: partial(planning.coverage_rows, vendors, found)} if COVERAGE.name in states else {}
        sync = loop.Sync(found, states, workers=parsed.workers, stop=self.stop, last=last)
        failures: list[loop.Failure] = []
        for item in sync:
            if isinstance(item, loop.Failure):
                failures.append(item)
            else:
                yield item
        yield from failures[:-1]
        if failures:
            raise traced(failures[-1].error, failures[-1])

    def estimate(
        self,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog | None = None,
        state: Sequence[AirbyteStateMessage] | None = None,
        *,
        sample: bool = False,
    ) -> list[Estimate]:
        """What a sync of these streams (all, without a catalog) would read and cost. Raises AirbyteTracedException."""
        parsed, vendors, states = self._prepared(config, catalog, state)
        try:
            return estimating.estimate(parsed, vendors, states, sample=sample)
        except LiquidationsError as error:
            raise traced(error) from None

    def _prepared(
        self,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog | None,
        state: Sequence[AirbyteStateMessage] | None,
    ) -> tuple[configuration.Config, list[Vendor], dict[str, StreamState]]:
        _mask_keys(config)
        parsed = _parsed(config)
        try:
            states = _states(parsed, catalog, state or ())
        except LiquidationsError as error:
            raise traced(error) from None
        return parsed, planning.configured_vendors(parsed, Shared(parsed.workers, self.stop)), states


def _mask_keys(config: Mapping[str, Any]) -> None:
    keep_secret(configuration.secrets(config))
    for handler in logging.getLogger().handlers:
        if type(handler.formatter) is AirbyteLogFormatter:
            handler.setFormatter(_RedactingFormatter())


class _RedactingFormatter(AirbyteLogFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted_line(super().format(record))


def _parsed(config: Mapping[str, Any]) -> configuration.Config:
    try:
        return configuration.parse(config)
    except ConfigurationError as error:
        raise traced(error) from None


def _airbyte_stream(stream: Stream) -> AirbyteStream:
    incremental = stream.cursor_field is not None
    return AirbyteStream(
        name=stream.name,
        json_schema=stream.json_schema(),
        supported_sync_modes=[SyncMode.full_refresh, SyncMode.incremental] if incremental else [SyncMode.full_refresh],
        source_defined_cursor=incremental or None,
        default_cursor_field=[stream.cursor_field] if stream.cursor_field else None,
        source_defined_primary_key=[[field] for field in stream.primary_key],
        is_resumable=incremental,
    )


def _states(
    config: configuration.Config, catalog: ConfiguredAirbyteCatalog | None, saved: Sequence[AirbyteStateMessage]
) -> dict[str, StreamState]:
    """One state for each selected stream (all of them without a catalog), with what was saved of it."""
    known = {stream.name: stream for stream in planning.streams(config)}
    blobs = {
        entry.stream.stream_descriptor.name: entry.stream.stream_state
        for entry in saved
        if entry.stream is not None and entry.stream.stream_state is not None
    }
    states: dict[str, StreamState] = {}
    names = [configured.stream.name for configured in catalog.streams] if catalog is not None else list(known)
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"catalog, stream {name}",
                "is not a stream of the configured vendors.",
                advice=f"Available: {', '.join(known)}. Configure its vendor, or refresh the connection's schema.",
            )
        blob = blobs.get(name)
        states[name] = StreamState(name, known[name].cursor_field, vars(blob) if blob is not None else None)
    return states


def traced(error: LiquidationsError, failure: loop.Failure | None = None) -> AirbyteTracedException:
    """An error as Airbyte reports it, without a key in it."""
    text = error.message
    if failure is not None:
        text = f"{failure.stream}: {text}"
        if failure.partitions > 1:
            text += f" ({failure.partitions - 1} more of its partitions failed; the log names them.)"
    descriptor = StreamDescriptor(name=failure.stream) if failure is not None else None
    return AirbyteTracedException(
        message=redact(text),
        internal_message=redact(text),
        failure_type=FailureType(error.failure_type),
        stream_descriptor=descriptor,
    )


def trace_message(error: AirbyteTracedException) -> AirbyteMessage:
    """The error as a trace message; with a stack only where it is ours to mend."""
    message = error.as_sanitized_airbyte_message()
    if error.failure_type != FailureType.system_error and message.trace is not None and message.trace.error is not None:
        message.trace.error.stack_trace = None
    return message


def records(block: Block) -> Iterator[AirbyteMessage]:
    """A block's records as messages: the same lines, decoded."""
    for line in block.data.splitlines():
        try:
            record = msgspec.json.decode(line)["record"]
        except msgspec.ValidationError:
            record = json.loads(line)["record"]  # a number that is larger than any float
        yield AirbyteMessage(type=Type.RECORD, record=AirbyteRecordMessage(**record))


def message(item: loop.Item) -> AirbyteMessage:
    """A status, checkpoint or failure as a message."""
    if isinstance(item, loop.Status):
        return status_message(StreamDescriptor(name=item.stream), AirbyteStreamStatus(item.name))
    if isinstance(item, loop.Checkpoint):
        return _state_message(item.state)
    if isinstance(item, loop.Expected):
        return _estimate_message(item)
    if isinstance(item, loop.Failure):
        return trace_message(traced(item.error, item))
    raise TypeError(f"no message for {item!r}")


def _estimate_message(expected: loop.Expected) -> AirbyteMessage:
    return AirbyteMessage(
        type=Type.TRACE,
        trace=AirbyteTraceMessage(
            type=TraceType.ESTIMATE,
            emitted_at=time.time() * 1000,
            estimate=AirbyteEstimateTraceMessage(
                name=expected.stream, type=EstimateType.STREAM, row_estimate=expected.rows
            ),
        ),
    )


def _state_message(state: StreamState) -> AirbyteMessage:
    blob = state.blob()
    count = state.take(len(msgspec.json.encode(blob)))
    return AirbyteMessage(
        type=Type.STATE,
        state=AirbyteStateMessage(
            type=AirbyteStateType.STREAM,
            stream=AirbyteStreamState(
                stream_descriptor=StreamDescriptor(name=state.stream), stream_state=AirbyteStateBlob(blob)
            ),
            sourceStats=AirbyteStateStats(recordCount=float(count)),
        ),
    )


__all__ = ["SourceLiquidations", "Stopped"]
