"""What the reading loop yields, as Airbyte's messages; and errors, as Airbyte's traces."""

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
from source_liquidations.reading import loop
from source_liquidations.reading.pages import Block
from source_liquidations.reading.progress import StreamState


def records(block: Block) -> Iterator[AirbyteMessage]:
    """A block's records as messages: the same lines, decoded."""
    for line in block.data.splitlines():
        try:
            record = msgspec.json.decode(line)["record"]
        except msgspec.ValidationError:
            record = json.loads(line)["record"]  # a number that is larger than any float
        yield AirbyteMessage(type=Type.RECORD, record=AirbyteRecordMessage(**record))


def message(item: loop.Item) -> AirbyteMessage:
    """A status, checkpoint, estimate or failure as a message."""
    if isinstance(item, loop.Status):
        return status_message(StreamDescriptor(name=item.stream), AirbyteStreamStatus(item.name))
    if isinstance(item, loop.Checkpoint):
        return _state_message(item.state)
    if isinstance(item, loop.Expected):
        return _estimate_message(item)
    if isinstance(item, loop.Failure):
        return trace_message(traced_failure(item))
    raise TypeError(f"no message for {item!r}")


def traced(error: LiquidationsError) -> AirbyteTracedException:
    """An error as Airbyte reports it, without a key in it."""
    return _traced(error, error.message)


@contextmanager
def errors_traced() -> Iterator[None]:
    """Errors leave as Airbyte reports them."""
    try:
        yield
    except LiquidationsError as error:
        raise traced(error) from None


def traced_failure(failure: loop.Failure) -> AirbyteTracedException:
    """Why a stream failed, as Airbyte reports it."""
    text = f"{failure.stream}: {failure.error.message}"
    if failure.count > 1:
        text += f" ({failure.count - 1} more failures; the log names them.)"
    return _traced(failure.error, text, StreamDescriptor(name=failure.stream))


def _traced(error: LiquidationsError, text: str, stream: StreamDescriptor | None = None) -> AirbyteTracedException:
    cause = error.__cause__ or error
    return AirbyteTracedException(
        message=redact(text),
        internal_message=redact(text),
        failure_type=FailureType(error.failure_type),
        exception=cause if isinstance(cause, Exception) else error,
        stream_descriptor=stream,
    )


def trace_message(error: AirbyteTracedException) -> AirbyteMessage:
    """The error as a trace message; with a stack only where the fault is ours."""
    message = error.as_sanitized_airbyte_message()
    if error.failure_type != FailureType.system_error and message.trace is not None and message.trace.error is not None:
        message.trace.error.stack_trace = None
    return message


def _estimate_message(expected: loop.Expected) -> AirbyteMessage:
    return AirbyteMessage(
        type=Type.TRACE,
        trace=AirbyteTraceMessage(
            type=TraceType.ESTIMATE,
            emitted_at=time.time() * 1000,
            # Airbyte's tracker needs both figures.
            estimate=AirbyteEstimateTraceMessage(
                name=expected.stream,
                type=EstimateType.STREAM,
                row_estimate=expected.rows,
                byte_estimate=expected.bytes,
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
