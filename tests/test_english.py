"""Docstrings and messages in plain English, where a rule can be checked: the rest is a reader's work."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "deploy_nas"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Programs with a command line of their own: the kit on the device, and the command line itself.
OWN_OPTIONS = ("cli/", "device/", "testing/", "adapters/targets/", "adapters/pools/")
FALSE_FRIENDS = re.compile(
    "|".join(
        [
            r"(?<!here )\bis no (?!longer\b|more\b)",  # "is no bundle" for "is not a bundle"
            r"\b(?:is|are) none\b",
            # "ms a layer" for "ms per layer"
            r"\b(?:ms|points|bytes|epochs|bursts|rows|images|subnets|bits|once|twice) an? (?!time\b)",
        ]
    )
)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that people read: docstrings, messages, help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (said := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), said


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_docstring_says_what_a_thing_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    odd = [f"{line}: {said.splitlines()[0]}" for line, said in docstrings(tree) if said.startswith("What ")]
    assert not odd, "begin with the thing itself: " + "; ".join(odd)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_false_friends(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    odd = [f"{line}: ...{found[0]}..." for line, said in texts(tree) if (found := FALSE_FRIENDS.search(said))]
    assert not odd, "say 'is not a', 'per': " + "; ".join(odd)


@pytest.mark.parametrize("path", [p for p in MODULES if not named(p).startswith(OWN_OPTIONS)], ids=named)
def test_errors_name_parameters_not_options(path: Path) -> None:
    """From Python there is no ``--threads``; the command line turns parameters into options."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    raised = [
        call for call in ast.walk(tree) if isinstance(call, ast.Call) and called(call).endswith("Error")
    ]
    odd = [
        f"{line}: {said}"
        for call in raised
        for line, said in strings(call)
        if re.search(r"(?<![\w-])--[a-z]", said)
    ]
    assert not odd, "; ".join(odd)


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def strings(call: ast.Call) -> Iterator[tuple[int, str]]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
