"""The float mode of the thread: what others set is undone, and ours is the usual one."""

import ctypes
import platform
import sys

import numpy as np
import pytest

from deploy_nas.core import floats
from deploy_nas.core.floats import float_mode_kept, usual_floats

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="sets a register of x86-64"
)
_ENVIRONMENT, _FLUSHING = 32, 0x8040


def flush(on: bool = True) -> None:
    """Set or clear the two bits of MXCSR by which denormal numbers become zero."""
    library = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * (_ENVIRONMENT // 4))()
    library.fegetenv(environment)
    environment[7] = (environment[7] | _FLUSHING) if on else (environment[7] & ~_FLUSHING)
    library.fesetenv(environment)


def flushes() -> bool:
    return float("2e-310") == 1e-310


@pytest.fixture(autouse=True)
def restored():
    yield
    flush(False)


def test_what_others_set_within_is_undone() -> None:
    assert not flushes()
    with float_mode_kept():
        flush()
        assert flushes()
    assert not flushes()
    flush()
    with float_mode_kept():
        flush(False)
        assert not flushes()
    assert flushes()


def test_within_it_is_the_usual_mode_and_afterwards_the_callers() -> None:
    flush()
    with np.errstate(all="raise"):
        with usual_floats():
            assert not flushes()
            assert np.float64(1e-300) * np.float64(1e-300) == 0.0
        assert np.geterr()["under"] == "raise"
    assert flushes()


def test_a_c_library_without_it_changes_nothing(monkeypatch) -> None:
    monkeypatch.setattr(floats, "_c_library", lambda: None)
    with usual_floats():
        flush()
    assert flushes()
