"""The public functions against the commands: each has the other, and their words are the same."""

import inspect

import click
import pytest

import deploy_nas
from deploy_nas.cli.main import main

COMMANDS = {
    "profile": "profile_device",
    "search": "search",
    "pareto": "pareto",
    "explain": "explain",
    "export": "export_onnx",
    "verify": "verify",
    "report": "make_report",
    "train": "train",
    "finetune": "finetune",
    "build": "build",
    "accuracy collect": "collect_accuracies",
    "accuracy train": "train_accuracy_predictor",
    "kit make": "make_kit",
    "kit import": "import_kit",
    "demo": "make_demo",
    "fleet profile": "profile_fleet",
    "fleet verify": "verify_fleet",
    "fleet status": "fleet_status",
}
# Commands whose answer is a value's own, or that are about the terminal.
VALUES = {
    "spaces": "get_space",
    "profiles": "load_profile",
    "kit serve": "profile_device with a target `page://HOST:PORT`",
    "import": "an architecture file, which every function takes",
    "quickstart": "a demonstration",
    "doctor": "about the installation",
}
# What the functions say in another way: options by the keyword that they are, or None where a value says it.
OTHERWISE = {
    "pareto": {"pick": None, "pick_output": None, "from": None},  # ParetoFront.pick
    "profile": {"refresh": None},  # refresh_profile
    "search": {"fleet": None, "one_each": None},  # search_fleet
    "export": {"output": "path", "dynamic_batch": "batch"},
}
# Functions for what an argument makes of a command.
BESIDES = {"verify_bundle", "refresh_profile", "search_fleet"}
# Keywords that no option has: values that a command line cannot give.
ALSO = {"progress", "log", "figures", "budgets", "predicted", "profile_id"}


def command(name):
    found = main
    for word in name.split():
        found = found.get_command(click.Context(found), word)
    return found


def keywords(name):
    """The options of a command as the keywords they should be."""
    otherwise, found = OTHERWISE.get(name, {}), set()
    for option in command(name).params:
        if not isinstance(option, click.Option) or option.name in ("as_json", "quiet", "verbose"):
            continue
        word = max(option.opts, key=len).removeprefix("--").removeprefix("no-").replace("-", "_")
        found.add(otherwise.get(word, word))
    return found - {None}


def test_every_command_has_its_function_and_the_reverse():
    names = set()
    for name in main.list_commands(click.Context(main)):
        below = command(name)
        group = isinstance(below, click.Group) and name not in VALUES
        names |= {f"{name} {n}" for n in below.commands} if group else {name}
    assert names == {*COMMANDS, *VALUES}
    functions = {n for n in deploy_nas.__all__ if n[0].islower() and not n.startswith(("get_", "load_"))}
    assert functions == {*COMMANDS.values(), *BESIDES}


@pytest.mark.parametrize("name", COMMANDS)
def test_keywords_are_the_options_names(name):
    taken = inspect.signature(getattr(deploy_nas, COMMANDS[name])).parameters
    arguments = {p.name for p in command(name).params if isinstance(p, click.Argument)} | {"arch"}
    options = keywords(name)
    missing = {o for o in options if o not in taken and f"{o}s" not in taken}
    assert not missing, "options that the function lacks"
    named = {o if o in taken else f"{o}s" for o in options}
    assert set(taken) - named - arguments - ALSO == set(), "keywords that are no option"
