"""Airbyte's messages: records, statuses, checkpoints, estimates, and traces for errors."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from airbyte_cdk.models import (
    AirbyteEstimateTraceMessage,
    AirbyteMessage,
    AirbyteRecordMessage,
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateStats,
    AirbyteStateType,
    AirbyteStreamState,
    AirbyteStreamStatus,
    AirbyteTraceMessage,
    EstimateType,
    FailureType,
    StreamDescriptor,
    TraceType,
    Type,
)
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as status_message
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations.errors import LiquidationsError
from source_liquidations.http.redaction import redact
from source_liquidations.reading.pages import Block
from source_liquidations.reading.progress import StreamState


def records(block: Block) -> Iterator[AirbyteMessage]:
    """A block's records as messages."""
    for line in block.data.splitlines():
        try:
            record = msgspec.json.decode(line)["record"]
        except msgspec.ValidationError:
            record = json.loads(line)["record"]  # it has a number that no float can hold
        yield AirbyteMessage(type=Type.RECORD, record=AirbyteRecordMessage(**record))


def status(stream: str, name: str) -> AirbyteMessage:
    return status_message(StreamDescriptor(name=stream), AirbyteStreamStatus(name))


def traced(error: LiquidationsError, stream: str | None = None, more: int = 0) -> AirbyteTracedException:
    """An error as Airbyte reports it, redacted. A stream's first failure also says how many more the stream has."""
    text = f"{stream}: {error.message}" if stream else error.message
    if more:
        text += f" ({more} more failures; the log names them.)"
    text = redact(text)
    cause = error.__cause__ or error
    return AirbyteTracedException(
        message=text,
        internal_message=text,
        failure_type=FailureType(error.failure_type),
        exception=cause if isinstance(cause, Exception) else error,
        stream_descriptor=StreamDescriptor(name=stream) if stream else None,
    )


@contextmanager
def errors_traced() -> Iterator[None]:
    """Turns this connector's errors into Airbyte's."""
    try:
        yield
    except LiquidationsError as error:
        raise traced(error) from None


def trace_message(error: AirbyteTracedException) -> AirbyteMessage:
    """The error as a trace message, with a stack trace only if the connector is to blame."""
    message = error.as_sanitized_airbyte_message()
    if error.failure_type != FailureType.system_error and message.trace is not None and message.trace.error is not None:
        message.trace.error.stack_trace = None
    return message


def estimate(stream: str, rows: int, size: int) -> AirbyteMessage:
    """How much a stream will emit: its rows, known for aggregates, and their bytes, estimated from the first block."""
    return AirbyteMessage(
        type=Type.TRACE,
        trace=AirbyteTraceMessage(
            type=TraceType.ESTIMATE,
            emitted_at=time.time() * 1000,
            estimate=AirbyteEstimateTraceMessage(
                name=stream,
                type=EstimateType.STREAM,
                row_estimate=rows,
                byte_estimate=size,  # Airbyte's tracker needs both figures
            ),
        ),
    )


def checkpoint(state: StreamState) -> AirbyteMessage:
    """A stream's state, with the number of its records since the previous one."""
    blob = state.blob()
    count = state.reset_counts(len(msgspec.json.encode(blob)))
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
