"""The program: ``deploy-nas`` and ``python -m deploy_nas``. Ctrl-C ends it properly from its first line on.

Python turns Ctrl-C into an exception wherever the process is. The import of another package may swallow that,
report it as an import that failed, or die of it, so that Ctrl-C waits for the end of an import.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

_BAD_INPUT, _FAULT, _STOPPED = 2, 70, 130  # as cli.ends has them, which may not be importable
_IMPORTING = "<frozen importlib._bootstrap>"
_LATER_S = 0.02


def _stop(number: int, frame: types.FrameType | None) -> None:
    """The handler of Ctrl-C: raise ``KeyboardInterrupt``, but within an import of ours try again later."""
    while frame is not None and frame.f_code is not main.__code__:
        if frame.f_code.co_filename == _IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, _LATER_S)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def main() -> None:
    """Run a command, and end the process with its exit code."""
    try:
        if os.name == "posix" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGALRM, _stop)
            signal.signal(signal.SIGINT, _stop)
        from deploy_nas.cli import main as commands

        commands.main(prog_name="deploy-nas")
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(_STOPPED)
    except ModuleNotFoundError as error:  # of the command line itself; of a command, cli.ends says it
        hint = "install it: python3 -m pip install deploy-nas"
        sys.stderr.write(f"error: {error.name}: this package is missing ({error}); {hint}\n")
        sys.exit(_BAD_INPUT)
    except Exception:
        import traceback

        traceback.print_exc()
        sys.exit(_FAULT)


if __name__ == "__main__":
    main()
