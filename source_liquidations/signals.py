"""SIGTERM and SIGINT: a sync writes its last states, and the process ends within seconds.

A thread of its own waits for the signals, because the main thread may be blocked on a pipe that nobody reads. The
process then ends by the signal itself, as its parent expects (PyAirbyte takes -15 as success and 143 as a crash).
"""

import os
import signal
import threading
import time
from collections.abc import Callable

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_UNREAD = 4.0  # seconds in which no output was read: then there is no reader
_TICK = 0.1  # seconds


class Signals:
    """Waits for a signal, and ends the process.

    `end` is called at the first signal and asks the command to end; without it, the process ends at once. `written`
    returns how many bytes of output the reader has taken: as long as it grows, the command has time to end.
    """

    def __init__(self, end: Callable[[], object] | None, written: Callable[[], int]) -> None:
        self._end = end
        self._written = written
        self.received: signal.Signals | None = None
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # threads inherit the mask: only `_wait` gets the signals
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        self.received = signal.Signals(signal.sigwait(_SIGNALS))
        if self._end is not None:
            self._end()
            written, last_read_at = self._written(), time.monotonic()
            # Wait until nobody reads the output any more, or a second signal arrives.
            while time.monotonic() - last_read_at < _UNREAD and not signal.sigpending() & _SIGNALS:
                time.sleep(_TICK)
                if self._written() != written:
                    written, last_read_at = self._written(), time.monotonic()
        end_by_signal(self.received)


def end_by_signal(number: signal.Signals) -> None:
    """End the process by the signal; as process 1, which the kernel protects from it, with exit code 128 + number."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_kill(threading.get_ident(), number)  # sent to the process, it would go to the thread that waits
    os._exit(128 + number)
