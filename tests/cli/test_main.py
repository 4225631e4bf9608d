"""The command group: its commands are imported when they run."""

import subprocess
import sys

import click
import pytest

from deploy_nas.cli.main import COMMANDS, main


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
    assert done.stdout.splitlines()[-1] == str(
        [f"deploy_nas.cli.{name}" for name in ("conventions", "ends", "main", "numbers", "show", "wording")]
    )
