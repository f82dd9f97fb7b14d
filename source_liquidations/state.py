"""Saved state, split into one blob for each stream, from any envelope that a platform sends."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airbyte_cdk.models import AirbyteStateMessage, AirbyteStateMessageSerializer

from source_liquidations.errors import ConfigurationError

# Stream name: the stream's saved state.
Blobs = Mapping[str, Mapping[str, Any]]

EXPECTED_STATE = (
    'a list such as [{"type": "STREAM", "stream": {"stream_descriptor": {"name": "liquidations"},'
    ' "stream_state": {"states": […]}}}], or the whole output of a `read`'
)


def blobs_of_messages(saved: Any) -> Blobs:
    """Each stream's last state in a list of messages of type STREAM, GLOBAL or LEGACY. Raises ConfigurationError.

    Skips the other messages that a `read` prints.
    """
    if not saved or _is_other_message(saved):
        return {}
    if not isinstance(saved, list):
        raise _unusable("is not a list of state messages, one for each stream")
    blobs: dict[str, Mapping[str, Any]] = {}
    for message in saved:
        if _is_other_message(message):
            continue
        if isinstance(message, Mapping) and message.get("type") == "STATE":
            message = message.get("state")
        if not isinstance(message, Mapping):
            raise _unusable("has an entry that is not a state message")
        blobs.update(_blobs(message))
    return blobs


def blobs_of_objects(saved: Sequence[AirbyteStateMessage]) -> Blobs:
    """The same for a caller in this process, which passes objects."""
    return blobs_of_messages(
        [AirbyteStateMessageSerializer.dump(item) if isinstance(item, AirbyteStateMessage) else item for item in saved]
    )


def _is_other_message(message: Any) -> bool:
    """Whether it is a message that a `read` prints between its states."""
    return isinstance(message, Mapping) and message.get("type") in ("RECORD", "LOG", "TRACE")


def _blobs(message: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Each stream and its blob. The content of a message without a type shows its envelope."""
    envelope = message.get("type")
    try:
        if envelope == "LEGACY" or (envelope is None and "data" in message):
            yield from ((name, dict(blob)) for name, blob in message["data"].items())
            return
        entries = message["global"]["stream_states"] if message.get("global") else [message["stream"]]
        for entry in entries:
            if entry.get("stream_state") is not None:
                yield str(entry["stream_descriptor"]["name"]), dict(entry["stream_state"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _unusable("has an entry that is not a state message") from None


def _unusable(problem: str) -> ConfigurationError:
    return ConfigurationError("state", f"{problem}.", advice=f"Expected: {EXPECTED_STATE}.")
