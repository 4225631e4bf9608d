"""The command group: errors to one line and an exit code, parameters to options, commands on demand."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from deploy_nas.cli.main import COMMANDS, LazyGroup, in_options, main, with_options
from deploy_nas.core import errors
from deploy_nas.core.errors import BudgetError, DeployNASError, OptionError, RecordError

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, DeployNASError)]


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


@pytest.mark.parametrize(
    ("parameter", "option"),
    [
        ("threads", "--threads"),
        ("image_sizes", "--image-sizes"),
        ("anchors", "--anchor"),
        ("profiles", "--profile"),
        ("population_size", "--population"),
        ("max_time_budget", "--generations"),
        ("latency_ms", "--max-latency-ms"),
        ("millionMACs", "--max-macs-millions"),
    ],
)
def test_a_parameter_as_subject_becomes_its_option(parameter, option):
    assert in_options(OptionError("is wrong", subject=parameter)) == f"{option}: is wrong"
    assert in_options(BudgetError("is wrong", subject=parameter)) == f"{option}: is wrong"


def test_other_subjects_stay():
    assert in_options(OptionError("is wrong", subject="a file.json")) == "a file.json: is wrong"
    assert in_options(RecordError("is wrong", subject="threads")) == "threads: is wrong"  # a key of a file
    assert in_options(BudgetError("no budget was given")) == "no budget was given"


def test_parameters_in_backquotes_become_options_in_message_and_hint():
    error = RecordError("has `int8_for` x86", subject="a.onnx", hint="use `force`, or `image_size` 24")
    assert in_options(error) == "a.onnx: has --int8-for x86; use --force, or --image-size 24"
    assert (
        with_options("run `deploy-nas spaces`, or see `Space`") == "run `deploy-nas spaces`, or see `Space`"
    )


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
        (BrokenPipeError(), 0, ""),
        (MemoryError("8 GiB"), 2, "error: not enough memory (8 GiB)"),
        (PermissionError(13, "Permission denied", "a.json"), 2, "error: a.json: Permission denied"),
        (OSError("no space"), 2, "error: no space"),
        (SystemExit(1), 1, ""),
    ],
)
def test_other_ends(failing, error, code, says):
    done = failing(error)
    assert done.exit_code == code
    assert done.stderr.strip().splitlines()[-1:] == ([says] if says else [])


def test_an_error_of_ours_in_python_keeps_its_traceback(failing):
    assert isinstance(failing(ZeroDivisionError()).exception, ZeroDivisionError)


def test_unknown_commands_and_options_are_bad_input(run):
    assert "No such command 'nope'" in run("nope", code=2).stderr
    assert "--nope" in run("spaces", "--nope", code=2).stderr
    assert main.get_command(click.Context(main), "nope") is None


def test_commands_are_listed_in_order_and_named_as_they_are_called():
    context = click.Context(main)
    assert main.list_commands(context) == list(COMMANDS)
    for name in COMMANDS:
        found = main.get_command(context, name)
        assert found is not None and found.name == name


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"], ["pareto", "-h"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from deploy_nas.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ofa', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_imports_no_command():
    code = (
        "import sys; from deploy_nas.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('deploy_nas.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['deploy_nas.cli.main']"
