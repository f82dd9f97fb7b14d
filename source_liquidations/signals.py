"""How SIGTERM and SIGINT end the process: a sync with its last states, and at the latest within seconds.

A thread waits for the signals, so they are heard whatever the others do: the main thread may be writing into a pipe
that nobody reads. The process then ends by the signal itself, as its parent expects (PyAirbyte takes -15 for good and
143 for a crash).
"""

import os
import signal
import threading
import time
from collections.abc import Callable

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_UNREAD = 4.0  # seconds without any output taken: then nobody reads it
_TICK = 0.1


class Signals:
    """Waits for the signals that end the process, and ends it.

    `end` is called at the first signal and asks the command to end; without it, the process ends at once. `written`
    tells how many bytes of output somebody has taken: as long as they grow, the command has time to end.
    """

    def __init__(self, end: Callable[[], object] | None, written: Callable[[], int]) -> None:
        self._end = end
        self._written = written
        self.received: signal.Signals | None = None
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # threads inherit it: only `_wait` takes them
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        self.received = signal.Signals(signal.sigwait(_SIGNALS))
        if self._end is not None:
            self._end()
            written, since = self._written(), time.monotonic()
            # Until nobody takes the output any more, or a second signal comes.
            while time.monotonic() - since < _UNREAD and not signal.sigpending() & _SIGNALS:
                time.sleep(_TICK)
                if self._written() != written:
                    written, since = self._written(), time.monotonic()
        die_of(self.received)


def die_of(number: signal.Signals) -> None:
    """End the process by the signal; with exit code 128 + its number where the kernel does not let it (process 1)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_kill(threading.get_ident(), number)  # not to the process: a thread that waits for it would take it
    os._exit(128 + number)
