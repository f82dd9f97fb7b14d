"""A loopback server for benchmarks: the vendors' liquidation endpoints, answered from rows rendered in advance.

`python -m benchmarks.server --vendor kaiko --rows 250000 --partitions 8` prints `{"port": …}` when it is ready.
`GET /stats` returns its own cost, so that a benchmark can show that the server was not the bottleneck.
It has a thread for each connection and plain sockets; an answer is one slice and one `sendmsg`.
"""

from __future__ import annotations

import argparse
import json
import socket
import socketserver
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from benchmarks.answers import Answer, Piece, Request, Router, as_json
from benchmarks.dataset import Dataset

GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
DEFLATE_END = b"\x03\x00"
GZIP_LEVEL = 1  # the default of the web server in front of most APIs
MAX_HEAD = 64 * 1024
MAX_BUFFERS = 512  # the kernel accepts at most 1,024 in one call

Buffer = bytes | memoryview


class Gzip:
    """Assembles gzip bodies from blocks, so that each slice of rows is compressed only once."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int, int], bytes] = {}

    @property
    def blocks(self) -> int:
        return len(self._blocks)

    def body(self, pieces: Iterable[Piece]) -> list[Buffer]:
        checksum = size = 0
        body: list[Buffer] = [GZIP_HEAD]
        for piece in pieces:
            checksum = zlib.crc32(piece.data, checksum)
            size += len(piece.data)
            body.append(self._block(piece))
        return [*body, DEFLATE_END, struct.pack("<II", checksum, size & 0xFFFFFFFF)]

    def _block(self, piece: Piece) -> bytes:
        if piece.key is None:
            return self._deflate(piece.data)
        if piece.key not in self._blocks:
            self._blocks[piece.key] = self._deflate(piece.data)
        return self._blocks[piece.key]

    @staticmethod
    def _deflate(data: Buffer) -> bytes:
        """A block that ends on a byte boundary and does not refer to earlier blocks."""
        deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)


@dataclass
class Stats:
    requests: int = 0
    sent_bytes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self) -> None:
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self, sent: int) -> None:
        with self.lock:
            self.in_flight -= 1
            self.requests += 1
            self.sent_bytes += sent

    def report(self, gzip: Gzip | None) -> dict[str, float]:
        """The counts. It waits for answers in flight, because they are counted shortly after their last byte."""
        deadline = time.monotonic() + 1.0
        while self.in_flight and time.monotonic() < deadline:
            time.sleep(0.001)
        with self.lock:
            most, self.most_in_flight = self.most_in_flight, self.in_flight
            return {
                "requests": self.requests,
                "bytes": self.sent_bytes,
                "most_in_flight": most,
                "gzip_blocks": gzip.blocks if gzip else 0,
                "cpu_seconds": time.process_time(),
            }


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, dataset: Dataset, *, port: int = 0, latency: float = 0.0, gzip: bool = False) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.router = Router(dataset)
        self.latency = latency
        self.gzip = Gzip() if gzip else None
        self.stats = Stats()


class Connection(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def handle(self) -> None:
        try:
            while head := self._head():
                if not self._respond(head):
                    return
        except (ConnectionResetError, BrokenPipeError):
            return

    def _head(self) -> str:
        """The next request's line and headers; empty if the client has disconnected."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            received = self.request.recv(MAX_HEAD)
            if not received or len(self._unread) > MAX_HEAD:
                return ""
            self._unread += received
        head, self._unread = self._unread[:end], self._unread[end + 4 :]
        return head.decode("latin-1")

    def _respond(self, head: str) -> bool:
        """Answer one request; returns False to close the connection."""
        line, _, rest = head.partition("\r\n")
        _, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest.split("\r\n"))}
        keep = headers.get("connection", "").lower() != "close"
        url = urlsplit(target)
        if url.path == "/stats":
            self._send(as_json(self.server.stats.report(self.server.gzip)), zipped=False, keep=keep)
            return keep
        self.server.stats.begin()
        sent = 0
        try:
            origin = f"http://{headers.get('host', '127.0.0.1')}"
            answer = self.server.router.answer(Request(url.path, parse_qs(url.query), origin))
            if self.server.latency:
                time.sleep(self.server.latency)
            zipped = self.server.gzip is not None and "gzip" in headers.get("accept-encoding", "")
            sent = self._send(answer, zipped=zipped and not answer.streamed, keep=keep)
        finally:
            self.server.stats.end(sent)
        return keep

    def _send(self, answer: Answer, *, zipped: bool, keep: bool) -> int:
        encoding = ""
        pieces: Iterable[Buffer] = (piece.data for piece in answer.pieces)
        length = answer.length
        if zipped and self.server.gzip:
            body = self.server.gzip.body(answer.pieces)
            pieces, length, encoding = body, sum(map(len, body)), "Content-Encoding: gzip\r\n"
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
            f"Content-Type: application/json\r\n{encoding}Content-Length: {length}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        ).encode()
        if answer.streamed:
            self.request.sendall(head)
            for piece in pieces:
                self.request.sendall(piece)
        else:
            self._send_at_once([head, *pieces])
        return len(head) + length

    def _send_at_once(self, pieces: Sequence[Buffer]) -> None:
        if len(pieces) > MAX_BUFFERS:
            pieces = [b"".join(pieces)]
        sent = self.request.sendmsg(pieces)
        if sent < sum(map(len, pieces)):
            self.request.sendall(b"".join(pieces)[sent:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vendor", choices=("kaiko", "coin_metrics", "kiyotaka", "kwery"), help="render its rows in advance"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="rows in each partition")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--gzip", action="store_true", help="compress answers for clients that accept it")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    dataset = Dataset(rows=options.rows, partitions=options.partitions)
    if options.vendor:
        dataset.prepare(options.vendor)
    with Server(dataset, port=options.port, latency=options.latency, gzip=options.gzip) as server:
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
