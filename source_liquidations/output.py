"""Standard output: it writes whole lines, one thread at a time, and reports when it cannot."""

import errno
import os
import select
import threading
from collections.abc import Callable

from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, Type
from orjson import dumps

from source_liquidations.http.redaction import redact_message

_PIECE = 64 * 1024  # bytes, the size of a pipe: `written` grows only while somebody reads

# JSON allows these characters, but some programs end a line at them: NEL, and Unicode's line and paragraph separators.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


class OutputLost(Exception):
    """Standard output cannot be written: it is closed, its disk is full, or its reader is gone."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.reader_gone = error.errno == errno.EPIPE


class Output:
    """Standard output, for records and log lines.

    written   bytes so far
    lost      why it can no longer be written; None as long as it can
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
            unwritten = memoryview(data)
            try:
                while unwritten:
                    count = self._write(unwritten[:_PIECE])
                    self.written += count
                    unwritten = unwritten[count:]
            except OSError as error:
                self.lost = OutputLost(error)
                raise self.lost from None

    def _write(self, data: memoryview) -> int:
        """The number of bytes written. Waits for the reader, even if another program made the output non-blocking."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [])
            return 0

    def message(self, message: AirbyteMessage) -> None:
        """Write any message but a record. Raises OutputLost."""
        dumped = AirbyteMessageSerializer.dump(message)
        if message.type in {Type.TRACE, Type.CONNECTION_STATUS}:
            dumped = redact_message(dumped)
        self.block(dumps(dumped) + b"\n")

    def write(self, text: str) -> int:
        """Logging calls this and cannot handle errors, so `on_lost` is called instead."""
        try:
            self.block(text.encode("utf-8", "replace"))
        except OutputLost:
            self._on_lost()
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""
