"""Standard output: whole lines, one writer at a time, and what happens when they cannot be written."""

import errno
import os
import threading
from collections.abc import Callable

from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, Type
from orjson import dumps

from source_liquidations.http.redaction import redact_message

_PIECE = 64 * 1024  # as much as a pipe holds: so that `written` shows whether somebody reads

# Allowed in a JSON text, and the end of a line to some who read line by line: NEL, and the two that Unicode has for it.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class OutputLost(Exception):
    """Standard output cannot be written: it is closed, its disk is full, or its reader is gone."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.reader_gone = error.errno == errno.EPIPE


class Output:
    """Standard output, for records and log lines alike.

    written   bytes so far
    lost      why it cannot be written any more, once that is known
    """

    def __init__(self, descriptor: int, on_lost: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self.written = 0
        self.lost: OutputLost | None = None

    def block(self, data: bytes) -> None:
        """Write whole lines. Raises OutputLost."""
        if not data.isascii():
            for character, escape in _LINE_ENDS:
                data = data.replace(character, escape)
        with self._lock:
            rest = memoryview(data)
            try:
                while rest:
                    count = os.write(self._descriptor, rest[:_PIECE])
                    self.written += count
                    rest = rest[count:]
            except OSError as error:
                self.lost = OutputLost(error)
                raise self.lost from None

    def message(self, message: AirbyteMessage) -> None:
        """Write a message that is no record. Raises OutputLost."""
        dumped = AirbyteMessageSerializer.dump(message)
        if message.type in {Type.TRACE, Type.CONNECTION_STATUS}:
            dumped = redact_message(dumped)
        self.block(dumps(dumped) + b"\n")

    def write(self, text: str) -> int:
        """What logging calls, which cannot handle an error: `on_lost` hears of it."""
        try:
            self.block(text.encode("utf-8", "replace"))
        except OutputLost:
            self._on_lost()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
