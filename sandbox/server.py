"""A threaded HTTP/1.1 server on loopback: keep-alive, gzip, a request log, and faults on the wire."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox.http import Pairs, Reply, Request

MAX_LINE = 1 << 17
WIRE_FAULTS = ("refused", "reset", "reset_mid_body", "cut", "silent", "slow_first_byte", "slow_drip", "bad_gzip")


@dataclass
class Wire:
    """A fault on the wire. `kind` is one of WIRE_FAULTS."""

    kind: str
    seconds: float = 1.0
    chunk: int = 1024
    length: str = "full"  # the Content-Length of `cut`: "full" is that of the whole body, "cut" of the sent part

    @property
    def silences(self) -> bool:
        """Whether no response is sent at all."""
        return self.kind in ("refused", "reset", "silent")


@dataclass
class Answer:
    """A reply, its fault on the wire, and a callback with the sent status and body size."""

    reply: Reply
    wire: Wire | None = None
    done: Callable[[int, int], None] = field(default=lambda status, size: None)


Answerer = Callable[[Request], Answer]


class Server(ThreadingTCPServer):
    """Serves the answers that `answer` returns."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, port: int, answer: Answerer, prefixes: tuple[str, ...], *, compress: bool = True) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.prefixes = sorted(prefixes, key=len, reverse=True)
        self.compress = compress
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Start to serve in a new thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def track(self, connection: socket.socket, *, opened: bool) -> None:
        """Remember or forget an open connection."""
        with self._lock:
            (self._open.add if opened else self._open.discard)(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: a client may disconnect."""


class _Handler(StreamRequestHandler):
    disable_nagle_algorithm = True
    rbufsize = 1 << 16

    def handle(self) -> None:
        server = cast(Server, self.server)
        server.track(self.request, opened=True)
        try:
            while not server.closing.is_set() and self._serve_one(server):
                pass
        except (OSError, ValueError):
            pass
        finally:
            server.track(self.request, opened=False)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _serve_one(self, server: Server) -> bool:
        """Answer one request; returns whether the connection stays open."""
        line = self.rfile.readline(MAX_LINE)
        if not line.strip():
            return False
        method, target, version = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (header := self.rfile.readline(MAX_LINE)).strip():
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        answer = server.answer(_request(server, method, target, headers, body, self.client_address[0]))
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return self._send(server, answer, headers.get("accept-encoding", ""), keep, head=method == "HEAD")

    def _send(self, server: Server, answer: Answer, accepted: str, keep: bool, *, head: bool) -> bool:
        reply, wire = answer.reply, answer.wire
        if wire and wire.silences:
            answer.done(0, 0)
            if wire.kind == "silent":
                server.closing.wait(wire.seconds)
            self._reset()
            return False
        body = reply.encoded()
        headers = {"Content-Type": reply.content_type, "X-Simulated": "true", **reply.headers}
        if wire and wire.kind == "bad_gzip":
            headers["Content-Encoding"] = "gzip"
            body = b"\x1f\x8b\x08\x00 this is no gzip stream \xff" + body[:200]
        elif server.compress and len(body) > 500 and "gzip" in accepted:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        sent = body[: len(body) // 2] if wire and wire.kind in ("cut", "reset_mid_body") else body
        headers["Content-Length"] = str(len(sent if wire and wire.length == "cut" else body))
        headers["Connection"] = "keep-alive" if keep else "close"
        lines = [f"HTTP/1.1 {reply.status} {_reason(reply.status)}", *(f"{k}: {v}" for k, v in headers.items())]
        start = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        answer.done(reply.status, len(sent))
        return self._write(server, start, b"" if head else sent, wire) and keep

    def _write(self, server: Server, start: bytes, body: bytes, wire: Wire | None) -> bool:
        if wire and wire.kind == "slow_first_byte":
            server.closing.wait(wire.seconds)
        if wire and wire.kind == "slow_drip":
            self.request.sendall(start)
            for at in range(0, len(body), wire.chunk):
                self.request.sendall(body[at : at + wire.chunk])
                if server.closing.wait(wire.seconds):
                    return False
            return True
        self.request.sendall(start + body)
        if wire and wire.kind == "reset_mid_body":
            # Wait, because a reset discards the data that the client has not yet read.
            time.sleep(0.05)
            self._reset()
            return False
        return not (wire and wire.kind == "cut" and wire.length != "cut")

    def _reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _request(server: Server, method: str, target: str, headers: dict[str, str], body: bytes, client: str) -> Request:
    parts = urlsplit(target)
    query: Pairs = parse_qsl(parts.query, keep_blank_values=True, encoding="utf-8", errors="replace")
    prefix = next((p for p in server.prefixes if parts.path == p or parts.path.startswith(f"{p}/")), "")
    path = unquote(parts.path[len(prefix) :])
    origin = f"http://127.0.0.1:{server.port}"
    return Request(method, prefix, path, query, headers, origin, target, client, body)
