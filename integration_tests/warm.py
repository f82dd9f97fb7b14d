"""The other end of `harness.Warm`: imports the connector once, then runs its command line in a fork for each request.

A fork has its own output, signals and exit code, and saves the seconds of the import. `python warm.py <socket>` reads
`{"id", "args", "env"}` with two descriptors (stdout, stderr) from the socket and sends `{"id", "pid"}` at the start and
`{"id", "code"}` at the end of each run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

MAX_MESSAGE = 1 << 16


def main(channel: socket.socket) -> None:
    from source_liquidations.http import patience
    from source_liquidations.reading import progress
    from source_liquidations.run import run

    assert threading.active_count() == 1, "a fork does not copy other threads"
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    channel.send(b"ready")
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            os.read(woken, MAX_MESSAGE)
            _reap(channel, running)
        if channel in ready:
            data, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 2)
            if not data:
                return
            request = json.loads(data)
            pid = os.fork()
            if pid == 0:
                channel.close()
                _child(run, patience, progress, request, descriptors)
            running[pid] = request["id"]
            for descriptor in descriptors:
                os.close(descriptor)
            channel.send(json.dumps({"id": request["id"], "pid": pid}).encode())


def _reap(channel: socket.socket, running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        channel.send(json.dumps({"id": running.pop(pid), "code": code}).encode())


def _child(run: Any, patience: Any, progress: Any, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor, standard in zip(descriptors, (1, 2), strict=True):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.environ.update(request["env"])
        for variable, module, name in (
            ("TEST_LEAST_TIMEOUT", patience, "_MIN_TIMEOUT"),
            ("TEST_HEARTBEATS", progress, "SECONDS_BETWEEN_HEARTBEATS"),
        ):
            if seconds := os.environ.get(variable):
                assert hasattr(module, name), name
                setattr(module, name, float(seconds))
        sys.argv = ["source-liquidations", *request["args"]]
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
