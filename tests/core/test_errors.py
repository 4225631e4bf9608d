"""The error tree is the one drawn, and errors carry their subject and hint."""

from __future__ import annotations

import inspect
import re

import pytest

from deploy_nas.core import errors
from deploy_nas.core.errors import AnswerNo, DeployNASError, InputError, RecordError


def drawn_parents() -> dict[str, str]:
    """Class name to parent's name, from the module docstring's drawing."""
    parents: dict[str, str] = {}
    path: list[str] = ["DeployNASError"]
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"(\s+[│ ]*)[├└]── (\w+)", line)
        if found:
            depth = (len(found[1]) - 4) // 4 + 1
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1]
    return parents


def test_the_tree_is_the_one_drawn() -> None:
    classes = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)}
    actual = {name: c.__bases__[0].__name__ for name, c in classes.items() if c is not DeployNASError}
    assert drawn_parents() == actual


@pytest.mark.parametrize("cls", [c for c in vars(errors).values() if inspect.isclass(c)])
def test_exit_codes(cls: type[DeployNASError]) -> None:
    assert cls.exit_code == (1 if issubclass(cls, AnswerNo) else 2)
    assert cls in (DeployNASError, InputError, AnswerNo) or issubclass(cls, InputError | AnswerNo)


def test_text_has_subject_message_and_hint() -> None:
    error = RecordError("is not JSON", subject="a.json", hint="write it again")
    assert str(error) == "a.json: is not JSON; write it again"
    assert (error.message, error.subject, error.hint) == ("is not JSON", "a.json", "write it again")
    assert str(RecordError("is not JSON")) == "is not JSON"
