"""Standard output: whole lines, whatever stands behind it."""

from __future__ import annotations

import io
import json
from typing import cast

from source_liquidations.run import Output


class Bare(io.RawIOBase):
    """A file as PYTHONUNBUFFERED leaves it: a write that a signal interrupts takes a part and says how much."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(cast(bytes, data))[:1000]
        self.written += taken
        return len(taken)


def test_a_block_is_written_to_its_end() -> None:
    raw = Bare()
    output = Output(cast(io.BufferedWriter, raw), lambda: None)
    block = b"".join(b'{"type":"RECORD","record":%d}\n' % number for number in range(20_000))
    output.block(block)
    output.write('{"type":"LOG"}\n')
    assert raw.written == block + b'{"type":"LOG"}\n'


def test_what_some_take_for_the_end_of_a_line_is_escaped() -> None:
    raw = io.BytesIO()
    line = '{"a":"\u2028\u2029\x85\u00e9\u5348"}\n'.encode()
    Output(raw, lambda: None).block(line)
    written = raw.getvalue().decode()
    assert len(written.splitlines()) == 1
    assert json.loads(written) == json.loads(line)
    assert "\u00e9\u5348" in written, "all else stays as it is"


def test_a_buffered_file_is_taken_as_it_is() -> None:
    raw = io.BytesIO()
    Output(raw, lambda: None).block(b"line\n")
    assert raw.getvalue() == b"line\n"
