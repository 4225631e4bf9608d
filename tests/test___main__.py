"""The program: Ctrl-C ends it at any moment from its first line on, and never within an import."""

import signal
import subprocess
import sys
import types

import pytest

from deploy_nas import __main__ as program

posix = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Ctrl-C is handled by signals")


def frames(*names):
    """A stack of frames of these files, the innermost first."""
    frame = None
    for name in reversed(names):
        code = program.main.__code__ if name == "main" else types.SimpleNamespace(co_filename=name)
        frame = types.SimpleNamespace(f_code=code, f_back=frame)
    return frame


@posix
def test_ctrl_c_waits_for_the_end_of_an_import(monkeypatch):
    later = []
    monkeypatch.setattr(signal, "setitimer", lambda *how: later.append(how))
    program._stop(signal.SIGINT, frames("torch/__init__.py", program._IMPORTING, "cli/export.py", "main"))
    assert later == [(signal.ITIMER_REAL, program._LATER_S)]
    for stack in (frames("cli/export.py", "main"), frames("main", program._IMPORTING), None):
        with pytest.raises(KeyboardInterrupt):
            program._stop(signal.SIGINT, stack)
    assert len(later) == 1


CODE = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)
moment = sys.argv[1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell starts what is in front
sys.meta_path.insert(0, Finder())
sys.argv = ["deploy-nas", "spaces", "--json"]
from deploy_nas.__main__ import main
main()
"""


@posix
@pytest.mark.parametrize("moment", ["click", "deploy_nas.cli.spaces", "numpy"])
def test_ctrl_c_while_it_starts(moment):
    done = subprocess.run([sys.executable, "-c", CODE, moment], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "stopped")


def test_without_its_packages_it_says_so():
    code = "import sys; sys.modules['click'] = None; from deploy_nas.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: click: this package is missing") and done.stderr.count("\n") == 1
