"""Airbyte's interface: spec, check, discover, read."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from airbyte_cdk.logger import AirbyteLogFormatter
from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStream,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    ConnectorSpecificationSerializer,
    Status,
    SyncMode,
)
from airbyte_cdk.sources import Source

from source_liquidations import config as configuration
from source_liquidations import planning
from source_liquidations.errors import ConfigurationError, LiquidationsError
from source_liquidations.estimate import Estimate, estimate
from source_liquidations.http.redaction import keep_secret, redact, redact_message
from source_liquidations.http.traffic import Traffic
from source_liquidations.messages import errors_traced, records, trace_message
from source_liquidations.reading import loop
from source_liquidations.reading.coverage import COVERAGE
from source_liquidations.reading.pages import Block
from source_liquidations.reading.progress import StreamState
from source_liquidations.state import Blobs, blobs_of_objects
from source_liquidations.streams import Stream
from source_liquidations.vendors.vendor import Shared, Vendor


class SourceLiquidations(Source):
    """Liquidation data from the configured vendors."""

    # `configuration.parse` checks more than the schema can say, and names the field.
    check_config_against_spec = False

    def __init__(self) -> None:
        self._stop = threading.Event()

    def terminate(self) -> None:
        """End the current command, or else the next one. A sync emits its last checkpoints first."""
        self._stop.set()

    def _configured(self, config: Mapping[str, Any]) -> tuple[configuration.Config, list[Vendor]]:
        """The parsed configuration and its vendors, for one command. Raises ConfigurationError."""
        keep_secret(configuration.secrets(config))
        for handler in logging.getLogger().handlers:
            if type(handler.formatter) is AirbyteLogFormatter:
                handler.setFormatter(_RedactingFormatter())
        parsed = configuration.parse(config)
        return parsed, planning.configured_vendors(parsed, Shared(parsed.start, self._stop))

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Returns the configuration unchanged: the CDK's own method would write the keys to a file."""
        return config

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        return ConnectorSpecificationSerializer.load(configuration.spec())

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """One cheap call to each configured vendor. Names all that refuse; stops at the first that it cannot reach."""
        notes: list[str] = []
        refusals: list[str] = []
        try:
            for vendor in self._configured(config)[1]:
                try:
                    notes += vendor.check(Traffic())
                except LiquidationsError as error:
                    refusals.append(error.of_vendor(vendor.name).message)
                    if error.failure_type == "transient_error":
                        break  # while the network is down, each vendor would take minutes
        except LiquidationsError as error:
            refusals.append(error.message)
        if refusals:
            return AirbyteConnectionStatus(status=Status.FAILED, message=redact(" ".join(refusals)))
        for note in notes:
            logger.warning("%s", redact(note))
        return AirbyteConnectionStatus(status=Status.SUCCEEDED, message=redact(" ".join(notes)) or None)

    @errors_traced()
    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """The streams of the configured vendors. Sends no request."""
        _, vendors = self._configured(config)
        return AirbyteCatalog(streams=[_airbyte_stream(stream) for stream in planning.streams(vendors)])

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: Sequence[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Messages one by one, for callers in this process. The command line uses `read_items`."""
        names = [configured.stream.name for configured in catalog.streams]
        with errors_traced():
            for item in self.read_items(config, names, blobs_of_objects(state or ())):
                if isinstance(item, Block):
                    yield from records(item)
                else:
                    yield item

    def read_items(
        self, config: Mapping[str, Any], names: Sequence[str], saved: Blobs
    ) -> Iterator[Block | AirbyteMessage]:
        """Blocks of records, checkpoints and statuses, in the order in which they must be written.

        Reports failed streams at the end, the last one by raising AirbyteTracedException. Raises ConfigurationError;
        after `terminate`, emits the last checkpoints and raises Stopped.
        """
        parsed, vendors, states = self._prepared(config, names, saved)
        readings = planning.readings(parsed, vendors, states)
        coverage = partial(planning.coverage_rows, vendors, readings, rolling_start=parsed.rolling_start)
        final_rows = {COVERAGE.name: coverage} if COVERAGE.name in states else {}
        sync = loop.Sync(readings, states, workers=parsed.workers, stop=self._stop, final_rows=final_rows)
        try:
            yield from sync
        finally:
            self._stop = threading.Event()  # `terminate` ends one command, not the next
        yield from map(trace_message, sync.failures[:-1])
        if sync.failures:
            raise sync.failures[-1]

    def estimate(
        self, config: Mapping[str, Any], names: Sequence[str] | None, saved: Blobs, *, sample: bool
    ) -> list[Estimate]:
        """What a sync of these streams (all if None) would read and cost. Raises LiquidationsError."""
        readings = planning.readings(*self._prepared(config, names, saved))
        return [estimate(reading, sample=sample) for reading in readings]

    def _prepared(
        self, config: Mapping[str, Any], names: Sequence[str] | None, saved: Blobs
    ) -> tuple[configuration.Config, list[Vendor], dict[str, StreamState]]:
        """The configuration, its vendors, and the state of each of these streams (all if None)."""
        parsed, vendors = self._configured(config)
        cursors = {stream.name: stream.cursor_field for stream in planning.streams(vendors)}
        names = list(cursors) if names is None else names
        for name in names:
            if name not in cursors:
                raise ConfigurationError(
                    f"catalog, stream {name}",
                    "is not a stream of the configured vendors.",
                    advice=f"Available: {', '.join(cursors)}."
                    " Configure its vendor, or refresh the connection's schema.",
                )
        states = {name: StreamState(name, cursors[name], saved.get(name), start=parsed.start) for name in names}
        return parsed, vendors, states


class _RedactingFormatter(AirbyteLogFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(redact_message(json.loads(super().format(record))))


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
