"""The float mode of this thread: kept from what others do to it, and the usual one while we compute.

A processor can flush denormal numbers to zero, a mode of each thread. The first session of ONNX Runtime in a
process sets the mode of the thread that opens it, whatever it was; and a caller may have set it
(``torch.set_flush_denormal``). ``numpy.seterr`` is a mode of a thread too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator

import numpy as np

_ENVIRONMENT_BYTES = 512  # of C's fenv_t; the largest known has 32
_USUAL = ctypes.c_void_p(-1)  # FE_DFL_ENV of glibc and musl: nothing is flushed


@contextlib.contextmanager
def float_mode_kept() -> Iterator[None]:
    """After the context, this thread's float mode is what it was before.

    Where the C library cannot tell the mode, this does nothing.
    """
    library = _c_library()
    kept = (ctypes.c_byte * _ENVIRONMENT_BYTES)()
    if library is None or library.fegetenv(kept) != 0:
        yield
        return
    try:
        yield
    finally:
        library.fesetenv(kept)


@contextlib.contextmanager
def usual_floats() -> Iterator[None]:
    """Within the context denormal numbers are kept and numpy raises nothing; afterwards all is as it was."""
    with float_mode_kept(), np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        if sys.platform == "linux" and (library := _c_library()) is not None:
            library.fesetenv(_USUAL)
        yield


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    """The C library, if it has C99's float environment: on Linux a library of its own."""
    for name in (None, "libm.so.6"):
        with contextlib.suppress(OSError, TypeError):
            library = ctypes.CDLL(name)
            if hasattr(library, "fegetenv") and hasattr(library, "fesetenv"):
                return library
    return None
