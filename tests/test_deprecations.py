"""Our own code asks for nothing that is deprecated: such a warning is an error in tests, others' are not."""

from __future__ import annotations

import types
import warnings

import pytest

GOING = [DeprecationWarning, PendingDeprecationWarning, FutureWarning]


def caller(name: str) -> types.ModuleType:
    """A module of this name that calls what is deprecated, as :func:`old` is."""
    module = types.ModuleType(name)
    module.__dict__["old"] = old
    exec(compile("def call(kind): return old(kind)", f"{name}.py", "exec"), module.__dict__)  # noqa: S102
    return module


def old(kind: type[Warning]) -> str:
    """It warns as other packages do: of the line that called it."""
    warnings.warn("is deprecated", kind, stacklevel=2)
    return "went on"


@pytest.mark.parametrize("kind", GOING)
@pytest.mark.parametrize("name", ["deploy_nas", "deploy_nas.adapters.graphs.build"])
def test_what_our_modules_call_that_is_deprecated_is_an_error(name: str, kind: type[Warning]) -> None:
    with pytest.raises(kind, match="is deprecated"):
        caller(name).call(kind)


@pytest.mark.parametrize("kind", GOING)
def test_what_tests_call_that_is_deprecated_is_an_error(kind: type[Warning]) -> None:
    with pytest.raises(kind, match="is deprecated"):
        old(kind)


@pytest.mark.parametrize("name", ["torch.nn.functional", "deploy_nas_toy_space"])
def test_what_other_packages_call_is_theirs(name: str) -> None:
    with warnings.catch_warnings(record=True) as shown:  # the filters stay
        assert caller(name).call(DeprecationWarning) == "went on"
    assert len(shown) == 1
