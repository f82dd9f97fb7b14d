"""What is done around importing the CDK and numpy: what serves nothing here is left out, which saves a second or so."""

import gc
import inspect
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing_the_cdk() -> Iterator[None]:
    """No search for garbage, of which importing makes hardly any; no parsing of sources for docstrings of fields.

    The CDK's serializers have serpyco_rs gather those for JSON schemas that nobody asks them for. Afterwards all is as
    before, but that the CDK's own messages have no such descriptions.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _no_sources(), _no_threads(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of others' code: as errors, they would keep the connector from starting
            yield
    finally:
        if collecting:
            gc.enable()
        gc.freeze()  # what is imported stays, and no search for garbage has to look at it again


@contextmanager
def _no_threads() -> Iterator[None]:
    """numpy begins none: a thread that is older than `signals.Signals` would take SIGTERM, and die of it."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def _no_sources() -> Iterator[None]:
    """As if no source were installed: then nothing is looked for in it."""

    def none(_: object) -> str:
        raise OSError

    original, inspect.getsource = inspect.getsource, none  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getsource = original
