"""The extra: what each command says without it, and what works all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_nas.core import extras
from deploy_nas.core.errors import MissingPackageError

LIGHT = """
import contextlib, io, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
BLOCKED = {"torch", "ofa", "torchvision", "safetensors", "gdown", "tqdm", "matplotlib"}
import deploy_nas
from deploy_nas.cli.main import main

def run(*arguments):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(list(map(str, arguments)))
        except SystemExit as error:
            return error.code, said.getvalue().splitlines()[-1:]

P, W = sys.argv[1:3]
small = ["--profile", P, "--max-latency-ms", "0.4"]
for works in (
    ["spaces"], ["doctor"], ["search", *small, "--generations", "2"],
    ["pareto", "--profile", P, "--evaluations", "1500"], ["explain", "best.json", "--profile", P],
    ["report", "best.json", "--profile", P, "--front", "front.json"], ["profiles", "show", P],
    ["kit", "make", "--space", "ofa-mbv3-cifar10", "--image-sizes", "20", "--quick"],
    *([command, "--help"] for command in ("build", "train", "finetune", "export", "accuracy")),
):
    assert run(*works)[0] == 0, works
for lacks in (
    ["export", "best.json"], ["train", "."], ["build", "."], ["finetune", "best.json", ".", "--space", "."],
    ["quickstart"], ["accuracy", "collect", "--space", "ofa-mbv3-cifar10", "--images", "."],
    ["search", *small, "-o", "b.json", "--measure-top", "2"],
    ["search", "--profile", W, "--max-latency-ms", "6", "-o", "b.json", "--predictor", "pretrained"],
):
    code, said = run(*lacks)
    assert code == 2 and said[0].startswith("error: torch, ofa and others: needed"), (lacks, code, said)
assert run("verify", "gone.onnx") == (2, ["error: gone.onnx: cannot be read (No such file or directory)"])
try:
    deploy_nas.export_onnx("best.json", "x.onnx")
except deploy_nas.DeployNASError as error:
    assert "deploy-nas[supernets]" in error.hint
print(sorted(BLOCKED & set(sys.modules)))
"""


@pytest.mark.slow
def test_all_that_needs_no_torch_works_without_it(repository: Path, tmp_path: Path) -> None:
    profiles = [
        repository / f"profiles/epyc-turin-2core.{space}.1t.json"
        for space in ("ofa-mbv3-cifar10", "ofa-mbv3-w1.2")
    ]
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *profiles],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_what_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require_supernets()
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert not extras.installed("gdown")
    with pytest.raises(MissingPackageError, match=r"^gdown: needed for this, and not installed; to build"):
        extras.require_supernets()


def test_the_extra_for_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"^ray: needed for `cluster`.*'deploy-nas\[cluster\]'$"):
        extras.require_cluster()


def test_other_packages_are_not_of_the_extra() -> None:
    assert extras.missing(ModuleNotFoundError("no", name="numpy")) is None
    assert extras.missing(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None
    assert extras.missing(ModuleNotFoundError("no", name="torch")) is not None
