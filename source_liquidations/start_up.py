"""What is done around importing the CDK and numpy: what serves nothing here is left out, which saves a second or so."""

import gc
import inspect
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_THREADS = "OPENBLAS_NUM_THREADS"


@contextmanager
def importing_the_cdk() -> Iterator[None]:
    """What is imported here comes without three things; afterwards all is as before.

    - A search for garbage, of which importing makes hardly any.
    - Parsing sources for docstrings of fields: the CDK's serializers have serpyco_rs gather them for JSON schemas that
      nobody asks them for. The CDK's own messages have no such descriptions.
    - Threads of numpy: one that is older than `signals.Signals` would take SIGTERM, and die of it.
    """
    collecting, getsource, threads = gc.isenabled(), inspect.getsource, os.environ.get(_THREADS)
    gc.disable()
    inspect.getsource = _no_source  # type: ignore[assignment]
    os.environ[_THREADS] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of others' code: as errors, they would keep the connector from starting
            yield
    finally:
        inspect.getsource = getsource
        del os.environ[_THREADS]
        if threads is not None:
            os.environ[_THREADS] = threads
        if collecting:
            gc.enable()
        gc.freeze()  # what is imported stays, and no search for garbage has to look at it again


def _no_source(_: object) -> str:
    """As if none were installed."""
    raise OSError
