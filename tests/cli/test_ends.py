"""How a command ends: an exit code for each kind of end; 1 is an answer, and nothing else."""

import io
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from deploy_nas.cli import ends
from deploy_nas.cli.main import LazyGroup, main
from deploy_nas.core import errors
from deploy_nas.core.errors import DeployNASError, TargetError

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, DeployNASError)]
REPORT = "this is a fault of deploy-nas: please report it with the lines above"
posix = pytest.mark.skipif(os.name != "posix", reason="of file descriptors")


@pytest.fixture
def failing(monkeypatch):
    """``failing(error)``: the group with one command, which raises that."""

    def run(error):
        @click.command("spaces")
        def command():
            raise error

        monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: command)
        return CliRunner().invoke(main, ["spaces"])

    return run


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_line_and_its_exit_code(failing, kind):
    done = failing(kind("is wrong", subject="a.json", hint="use `force`"))
    assert (done.exit_code, done.stderr) == (kind.exit_code, "error: a.json: is wrong; use --force\n")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (click.exceptions.Abort(), 130, "stopped"),
        (click.UsageError("bad"), 2, "Error: bad"),
        (click.BadParameter("bad", param_hint="--x"), 2, "Error: Invalid value for --x: bad"),
        (
            EOFError("cut"),
            70,
            "error: EOFError: cut; this is a fault of deploy-nas: please report it with the lines above",
        ),
        (BrokenPipeError(), 141, ""),
        (ends.PipeClosedError(), 141, ""),
        (ends.StreamError(28, "standard output is full"), 74, "error: standard output is full"),
        (MemoryError("8 GiB"), 2, "error: not enough memory (8 GiB)"),
        (PermissionError(13, "Permission denied", "a.json"), 2, "error: a.json: Permission denied"),
        (MemoryError(), 2, "error: not enough memory"),
        (OSError("no space"), 2, "error: no space"),
        (SystemExit("enough"), 70, "error: enough; another package ended the command"),
        (SystemExit(), 0, ""),
        (SystemExit(1), 1, ""),
    ],
)
def test_other_ends(failing, error, code, says):
    done = failing(error)
    assert done.exit_code == code
    assert done.stderr.strip().splitlines()[-1:] == ([says] if says else [])


def test_a_fault_has_a_code_of_its_own_and_shows_its_traceback(failing):
    done = failing(ZeroDivisionError("by \x1b[2J"))
    *before, last = done.stderr.splitlines()
    assert done.exit_code == 70 and before[0].startswith("Traceback") and "\x1b" not in done.stderr
    assert (
        last
        == r"error: ZeroDivisionError: by \x1b[2J; this is a fault of deploy-nas: please report it "
        + ("with the lines above")
    )


@pytest.mark.parametrize(
    "error", [RecursionError("deep"), AssertionError(), UnicodeDecodeError("a", b"", 0, 1, "b")]
)
def test_no_fault_is_an_answer(failing, error):
    assert failing(error).exit_code == 70


@pytest.mark.parametrize(
    ("missing", "name"), [("pooch", "pooch"), ("PIL.Image", "pillow"), ("yaml", "pyyaml"), ("a_b.c", "a-b")]
)
def test_a_missing_package_is_named_with_what_installs_it(failing, missing, name):
    done = failing(ModuleNotFoundError(f"No module named {missing!r}", name=missing))
    assert (done.exit_code, done.stderr) == (
        2,
        f"error: {name}: this package is missing or broken (No module named {missing!r}); "
        f"install it: python3 -m pip install {name}\n",
    )
    assert failing(ImportError("cannot import name 'x'", name="deploy_nas.core")).exit_code == 70
    assert failing(ImportError("?")).exit_code == 70


@pytest.mark.parametrize(
    ("package", "install", "command"),
    [
        ("rich", "rich", "search --profile p.profile.json --max-latency-ms 9"),
        ("onnxruntime", "onnxruntime", "profile --space ofa-mbv3-cifar10 -o q.json"),
        ("torch", "'deploy-nas[supernets]'", "export a.json -o x.onnx"),
    ],
)
def test_a_command_whose_package_is_missing(
    run, monkeypatch, profile, architecture, package, install, command
):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    said = run(*command.split(), code=2).stderr.splitlines()[-1]
    assert said.startswith(f"error: {package}") and said.endswith(f"python3 -m pip install {install}")


def test_what_a_device_says_stays_one_line_without_control_characters(failing):
    done = failing(TargetError("ended: \x1b]0;title\x07\r\nerror: all is well\x9b", subject="ssh://h"))
    assert done.stderr == r"error: ssh://h: ended: \x1b]0;title\x07\r error: all is well\x9b" + "\n"


def test_the_page_has_every_code(repository):
    page = (repository / "docs/reference/errors.md").read_text()
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == {
        1, ends.DONE, ends.BAD_INPUT, ends.PARTLY, ends.FAULT, ends.NO_OUTPUT, ends.STOPPED, ends.PIPE_CLOSED
    }  # fmt: skip


# -- streams ------------------------------------------------------------------------------------------


@posix
def test_a_full_stream_and_one_that_nobody_reads_are_told_apart():
    full = os.open("/dev/full", os.O_WRONLY)
    stream = ends._checked(None, full, "standard output")
    stream.write("x")
    with pytest.raises(
        ends.StreamError, match=r"standard output cannot be written \(No space left on device\)"
    ):
        stream.flush()
    read, write = os.pipe()
    os.close(read)
    pipe = ends._checked(None, write, "standard error")
    with pytest.raises(ends.PipeClosedError):
        pipe.write("a line\n")
    for one in (stream, pipe):
        with pytest.raises(OSError):
            one.close()
    for descriptor in (full, write):
        os.close(descriptor)


@posix
def test_a_character_that_the_terminal_lacks_is_written_out():
    read, write = os.pipe()
    stream = ends._checked(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), write, "standard output")
    stream.write("é")
    stream.flush()
    assert os.read(read, 9) == rb"\xe9"
    os.close(read), os.close(write)


@posix
def test_the_process_ends_with_these_codes():
    """Standard output or error that is closed, full, or read by nobody: once each, in a real process."""
    for shell, code in {
        "--version >&-": 74,
        "--version >/dev/full": 74,
        "--version 2>&-": 0,
        "nope 2>/dev/full": 2,
        "--help | (exec <&-; sleep 1)": 141,
    }.items():
        command = f"set -o pipefail; {sys.executable} -m deploy_nas {shell}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (shell, done.stderr)


@pytest.mark.parametrize(
    ("code", "full", "at_once"), [(0, False, False), (1, False, False), (130, False, True), (74, True, True)]
)
def test_the_process_ends_at_once_where_it_must(monkeypatch, code, full, at_once):
    """After Ctrl-C, and where Python would try a full stream once more, which gives another code."""

    class Stream(io.StringIO):
        def flush(self):
            if full:
                raise ends.StreamError(28, "full")

    class EndedError(Exception):
        pass

    def ended(code):
        raise EndedError(code)

    done = []
    monkeypatch.setattr(sys, "stdout", Stream())
    monkeypatch.setattr(ends.signal, "signal", lambda *how: done.append(how))
    monkeypatch.setattr(ends.atexit, "_run_exitfuncs", lambda: done.append("exit"))
    monkeypatch.setattr(os, "_exit", ended)
    with pytest.raises(EndedError if at_once else SystemExit) as caught:
        ends.leave(code)
    assert caught.value.args == (code,) and done[1:] == (["exit"] if at_once else [])
