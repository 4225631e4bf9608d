"""Numbers of options have bounds."""

import click
import pytest

from deploy_nas.cli import numbers
from deploy_nas.cli.main import COMMANDS, main

# Checked where they are used, with errors that say more.
ELSEWHERE = ("--max-", "--held-out", "--minutes", "--every-ms")


def commands(group):
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield from commands(command) if isinstance(command, click.Group) else [(name, command)]


def test_every_number_of_every_command_has_bounds():
    found = 0
    for name, command in commands(main):
        for option in command.params:
            if option.opts[-1].startswith(ELSEWHERE):
                continue
            assert option.type not in (click.INT, click.FLOAT), f"{name} {option.opts}"
            if isinstance(option.type, click.IntRange | click.FloatRange):
                assert None not in (option.type.min, option.type.max), f"{name} {option.opts}"
                found += 1
    assert found > 20 and COMMANDS


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("search --population 1000000000", "1000000000 is not in the range 2<=x<=100000."),
        ("search --generations 99999999999999999999", "is not in the range 0<=x<=100000."),
        ("search --seed 18446744073709551616", "is not in the range 0<=x<=4294967295."),
        ("accuracy collect --count 9223372036854775808", "is not in the range 1<=x<=1000000."),
        ("accuracy collect --count 0", "0 is not in the range 1<=x<=1000000."),
        ("pareto --evaluations 1e9", "'1e9' is not a valid integer range."),
        ("train x --epochs nan", "Invalid value for '--epochs': 'nan' is not a number"),
        ("train x --epochs inf", "inf is not in the range 0<=x<=10000."),
        ("train x --workers 100000", "100000 is not in the range 1<=x<=1024."),
        ("profile --threads 0", "0 is not in the range 1<=x<=1024."),
    ],
)
def test_a_number_out_of_bounds_is_named(run, command, says):
    assert says in run(*command.split(), code=2).stderr.splitlines()[-1]


@pytest.mark.parametrize("pace", ["0", "-1", "60001", "nan"])
def test_a_pace_has_its_bounds_in_one_place(run, tmp_path, pace):
    done = run("verify", tmp_path / "m.onnx", f"--every-ms={pace}", code=2)
    assert f"error: --every-ms: must be above 0 and at most 60000, is {float(pace)}" in done.stderr


def test_a_real_number():
    assert numbers.EPOCHS.convert("2.5", None, None) == 2.5
