"""What all commands have in common."""

import json
import logging
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import click
import numpy
import onnxruntime
import pytest
from click.testing import CliRunner

from deploy_nas.cli.main import main
from deploy_nas.core.spaces import space_ids

# Names of options that mean one thing, and are said of different things; each with the reason.
SAID_OF = {
    "--max-latency-ms": "a search takes budgets by name too, for a fleet",
    "--output": "each command writes another file",
    "--space": "an id, a folder or either, as the command can use them",
    "--weights": "not every command can use each kind",
}


def leaves(command=main, path="deploy-nas"):
    """The commands that do something, with the words that call each."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), f"{path} {name}")


COMMANDS = dict(leaves())
OPTIONS = [(path, p) for path, c in COMMANDS.items() for p in c.params if isinstance(p, click.Option)]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_answers_in_json_and_is_quiet_or_verbose(path):
    names = {name for p in COMMANDS[path].params for name in p.opts}
    assert names >= {"--json", "-q", "--quiet", "-v", "--verbose"}


def test_the_same_name_means_the_same():
    said = defaultdict(set)
    short = defaultdict(set)
    for _path, option in OPTIONS:
        long = max(option.opts, key=len)
        kind = option.metavar or getattr(option.type, "choices", option.type.name)
        said[long].add("flag" if option.is_flag else str(kind))
        for name in option.opts:
            if not name.startswith("--"):
                short[name].add(long)
    assert {name for name, kinds in said.items() if len(kinds) > 1} <= set(SAID_OF), said
    assert short == {"-o": {"--output"}, "-q": {"--quiet"}, "-v": {"--verbose"}}


def test_every_option_says_what_it_does_itself():
    assert [(path, p.name) for path, p in OPTIONS if not p.help or re.match(r"As in \w+\.$", p.help)] == []


def test_dash_is_not_a_file(run, tmp_path):
    for path, option in OPTIONS:
        if option.name in ("output", "pick_output", "bundle"):
            words = path.split()[1:]
            said = run(*words, max(option.opts, key=len), "-", code=2).stderr
            assert "Missing" in said or "'-' is not a file" in said
    assert "--json prints the result" in run("kit", "import", "r.jsonl", "-o", "-", code=2).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["serch"], "search"), (["profiles", "lst"], "list"), (["search", "--profle", "x"], "--profile")],
)
def test_what_was_mistyped_is_suggested(run, words, meant):
    assert re.search(rf"(Did you mean|Possible options:|mean) .*{meant}", run(*words, code=2).stderr)


def test_quiet_leaves_out_notes_and_verbose_names_the_place(run, profile):
    search = ("search", "--profile", profile, "--max-latency-ms", "0.3", "--generations", "1", "--force")
    assert "searching ..." in run(*search).stderr
    quiet = run(*search, "-q")
    assert quiet.stderr == "" and "predicted accuracy" in quiet.stdout
    told = run(*search, "-v").stderr
    assert re.search(r"\d+\.\d\d s  records\.files: wrote best\.json, \d+ bytes", told)
    assert not logging.getLogger("deploy_nas").handlers
    failed = CliRunner().invoke(main, ["explain", "gone.json", "--profile", str(profile), "-v"]).stderr
    assert "raised here:" in failed and failed.splitlines()[-1].startswith("error: gone.json")
    assert "raised here" not in run("explain", "gone.json", "--profile", profile, code=2).stderr


def test_versions_that_matter(run):
    said = dict(line.split(" ", 1) for line in run("--version").stdout.splitlines())
    assert list(said) == ["deploy-nas", "python", "onnxruntime", "onnx", "numpy", "torch"]
    assert (said["onnxruntime"], said["numpy"]) == (onnxruntime.__version__, numpy.__version__)


def test_a_shell_completes_commands_and_spaces():
    def completed(words):
        asked = {"_DEPLOY_NAS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
        asked["COMP_CWORD"] = str(len(words.split()) - 1)
        command = [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['deploy-nas']; from deploy_nas.__main__ import main; main()",
        ]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True)
        assert not done.stderr, done.stderr
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("deploy-nas pro") == ["profile", "profiles"]
    wanted = [i for i in space_ids() if i.startswith("ofa-mbv3")]
    assert completed("deploy-nas profile --space ofa-mbv3") == wanted


def test_every_variable_is_on_its_page(repository: Path):
    page = (repository / "docs/reference/environment.md").read_text()
    places = [f for place in ("deploy_nas", "tools", "tests") for f in (repository / place).rglob("*")]
    text = "\n".join(f.read_text() for f in places if f.is_file() and f.suffix in (".py", ".sh", ""))
    for name in set(re.findall(r"\bDEPLOY_NAS_[A-Z]+\b", text)) - {"DEPLOY_NAS_COMPLETE"}:
        assert f"`{name}`" in page, name


def test_json_of_profiles_and_kits(run, profile, tmp_path):
    listed = json.loads(run("profiles", "list", "--json").stdout)
    assert [p["path"] for p in listed] == [profile.name] and listed[0]["stable"] is True
    shown = json.loads(run("profiles", "show", profile, "--json").stdout)
    network = shown["network"]
    total = sum(layer["latency_ms"] for layer in network["layers"])
    assert shown["id"] == listed[0]["id"] and total == pytest.approx(network["latency_ms"])
    compared = json.loads(run("profiles", "compare", profile, profile, "--json").stdout)
    assert compared["differences"] == [] and compared["ratio"]["p50"] == pytest.approx(1.0)


def test_profiles_that_come_with_it_are_listed(run, repository: Path):
    listed = json.loads(run("profiles", "list", "--shipped", "--json").stdout)
    assert {Path(p["path"]) for p in listed} == set((repository / "profiles").glob("*.json"))
