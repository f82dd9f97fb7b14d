"""Standard output: whole lines, and what happens where nobody takes them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import pytest
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_liquidations.messages import trace_message
from source_liquidations.output import Output, OutputLost


class Pipe:
    """A pipe that is read by a thread, slowly or at once."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.data = b""
        self.lost: list[bool] = []
        self.output = Output(self.write_end, lambda: self.lost.append(True))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while piece := os.read(self.read_end, 1000):
            self.data += piece

    def end(self) -> bytes:
        os.close(self.write_end)
        self._reader.join()
        return self.data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    os.close(found.read_end)


def test_a_block_is_written_to_its_end(pipe: Pipe) -> None:
    block = b"".join(b'{"type":"RECORD","record":%d}\n' % number for number in range(20_000))
    pipe.output.block(block)
    pipe.output.write('{"type":"LOG"}\n')
    assert pipe.output.written == len(block) + 15
    assert pipe.end() == block + b'{"type":"LOG"}\n'


def test_a_pipe_that_must_not_block_is_waited_for(pipe: Pipe) -> None:
    """Whoever shares an output can make it non-blocking for all."""
    os.set_blocking(pipe.write_end, False)
    block = b'{"type":"RECORD"}\n' * 100_000
    lost = None
    try:
        pipe.output.block(block)
    except OutputLost as error:
        lost = error
    assert (pipe.end() == block, lost) == (True, None)


def test_what_some_take_for_the_end_of_a_line_is_escaped(pipe: Pipe) -> None:
    line = '{"a":"\u2028\u2029\x85\u00e9\u5348"}\n'.encode()
    pipe.output.block(line)
    written = pipe.end().decode()
    assert len(written.splitlines()) == 1
    assert json.loads(written) == json.loads(line)
    assert "\u00e9\u5348" in written, "all else stays as it is"


def test_invalid_text_in_a_failure_is_escaped(pipe: Pipe) -> None:
    """An unexpected exception may contain a file path, which may not be valid text."""
    error = AirbyteTracedException.from_exception(ValueError("Schl\udcfcssel"), message="no Schl\udcfcssel")
    pipe.output.message(trace_message(error))
    told = json.loads(pipe.end())["trace"]["error"]
    assert told["message"] == "no Schl\\udcfcssel"
    assert told["internal_message"] == "Schl\\udcfcssel"


def test_a_closed_pipe_is_detected() -> None:
    read_end, write_end = os.pipe()
    lost: list[bool] = []
    output = Output(write_end, lambda: lost.append(True))
    os.close(read_end)
    with pytest.raises(OutputLost, match="Broken pipe") as caught:
        output.block(b"line\n")
    assert caught.value.reader_gone
    output.write("a log line\n")
    assert lost == [True], "logging has nobody to raise an error to"
    os.close(write_end)


def test_a_full_disk_is_detected() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputLost, match="No space left") as caught:
        Output(full, lambda: None).block(b"line\n")
    assert not caught.value.reader_gone
    os.close(full)
