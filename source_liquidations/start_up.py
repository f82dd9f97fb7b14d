"""Makes importing the CDK and numpy about a second faster, by skipping work that this connector does not need."""

import gc
import inspect
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_THREADS = "OPENBLAS_NUM_THREADS"


@contextmanager
def importing_the_cdk() -> Iterator[None]:
    """Imports in this context skip three things; afterwards everything is as before.

    - Garbage collection: imports leave hardly any garbage.
    - Parsing source files for docstrings of fields: the CDK's serializers make serpyco_rs collect them for JSON schemas
      that nobody requests. The CDK's own messages have no such descriptions.
    - Threads of numpy: SIGTERM would go to a thread that is older than `signals.Signals`, and end the process.
    """
    collecting, getsource, threads = gc.isenabled(), inspect.getsource, os.environ.get(_THREADS)
    gc.disable()
    inspect.getsource = _no_source  # type: ignore[assignment]
    os.environ[_THREADS] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in others' code; where warnings are errors, the connector would not start
            yield
    finally:
        inspect.getsource = getsource
        del os.environ[_THREADS]
        if threads is not None:
            os.environ[_THREADS] = threads
        if collecting:
            gc.enable()
        gc.freeze()  # imported objects stay, so no later collection needs to look at them


def _no_source(_: object) -> str:
    """`inspect.getsource`, as if no source files were installed."""
    raise OSError
