"""Starting quickly leaves nothing behind: in a process of its own, because importing happens once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The state of the interpreter and of serpyco_rs after a program has imported the connector.
PROGRAM = """
import gc
if {disabled}:
    gc.disable()
import source_liquidations
from attributes_doc import get_attributes_doc
from serpyco_rs import Serializer
from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer
from sample import Described
message = {{"type": "RECORD", "record": {{"stream": "s", "data": {{"a": 1}}, "emitted_at": 1}}}}
assert AirbyteMessageSerializer.dump(AirbyteMessageSerializer.load(message)) == message
assert get_attributes_doc(Described) == {{"size": "How large it is."}}
described = Serializer(Described).get_json_schema()["components"]["schemas"]["sample.Described"]
assert described["properties"]["size"]["description"] == "How large it is.", described
print(gc.isenabled())
"""
SAMPLE = '''
from dataclasses import dataclass

@dataclass
class Described:
    size: int
    """How large it is."""
'''


@pytest.mark.parametrize("disabled", [False, True])
def test_modules_left_out_of_the_import_are_available_afterwards(disabled: bool, tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE)
    (tmp_path / "program.py").write_text(PROGRAM.format(disabled=disabled))
    run = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{not disabled}\n"


def test_no_source_is_read_at_start() -> None:
    """It was more than a third of each start-up; should serpyco_rs find another way to it, this tells."""
    program = """
import inspect
read = []
find = inspect.getsourcelines
inspect.getsourcelines = lambda *args: read.append(args) or find(*args)
import source_liquidations
print(len(read))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert run.stdout == "0\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
@pytest.mark.parametrize("wanted", [None, "4"])
def test_no_thread_is_older_than_the_one_that_waits_for_signals(wanted: str | None) -> None:
    """SIGTERM would end the process there and then, without a last state."""
    program = """
import os
import source_liquidations
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": wanted} if wanted else {}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    assert run.stdout == f"1 {wanted}\n"
