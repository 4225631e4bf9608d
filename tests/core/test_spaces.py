"""The spaces by id, and their ids in one place."""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.core import spaces
from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.spaces import embedded_space, get_space, known_spaces, registered, space_ids

_HOMES = ("core/spaces.py", "core/families/")


def test_every_id_gives_its_space() -> None:
    for space_id in space_ids():
        space = get_space(space_id)
        assert space.id == space_id
        assert space is get_space(space_id)
        assert space.summary
    assert [space.id for space in known_spaces()] == space_ids()


def test_the_embedded_space_comes_first_and_has_labels() -> None:
    space = embedded_space()
    assert space_ids()[0] == space.id
    assert space.classes == len(space.labels) == 10


def test_a_space_registered_in_place_of_another_leaves_all_as_they_were() -> None:
    before = {name: get_space(name) for name in space_ids()}
    with registered(replace(embedded_space(), summary="another")):
        assert embedded_space().summary == "another"
    assert list(before) == space_ids()
    assert all(get_space(name) is space for name, space in before.items())


def test_the_files_that_ship_are_there() -> None:
    for space in known_spaces():
        for resource in (space.default_weights, space.default_predictor):
            if resource is not None and resource.path is not None:  # a package may be an extra
                assert resource.path.is_file()
                if resource.package == "deploy_nas":  # an edited byte of these is refused when they are read
                    assert resource.sha256 == hashlib.sha256(resource.path.read_bytes()).hexdigest()


def test_labels_are_one_for_each_class_or_none() -> None:
    for space in known_spaces():
        assert len(space.labels) in (0, space.classes)


def test_published_weights_can_be_checked_but_for_those_that_nobody_downloads() -> None:
    published = {s.id: s.published_weights for s in known_spaces() if s.published_weights is not None}
    checked = {name for name, file in published.items() if file.git_blob_id or file.sha256}
    assert checked == {"ofa-mbv3-w1.0", "ofa-mbv3-w1.2", "ofa-proxyless-w1.3"}
    assert set(published) - checked == {"ofa-resnet50"}
    assert all(len(published[name].git_blob_id or "") == 40 for name in checked)
    assert all(file.url.startswith("https://") for file in published.values())


@pytest.mark.parametrize("id", ["ofa-mbv4", "", "OFA-MBV3-W1.0", None])
def test_an_unknown_id_names_the_known_ones(id: str) -> None:
    with pytest.raises(UnknownSpaceError, match=", ".join(space_ids())):
        get_space(id)


@pytest.mark.parametrize("id", space_ids())
def test_profiled_sizes_are_image_sizes(id: str) -> None:
    space = get_space(id)
    assert set(space.profile_image_sizes) <= set(space.image_sizes)
    assert list(space.image_sizes) == sorted(space.image_sizes)


class Theirs:
    """The entry point of another package's space."""

    name, value = "theirs", "package:space"

    def __init__(self, space: Callable[[], object]) -> None:
        self.space = space

    def load(self) -> Callable[[], object]:
        return self.space


def ends(error: BaseException) -> Callable[[], object]:
    def space() -> object:
        raise error

    return space


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (ends(SystemExit(0)), "SystemExit: 0"),
        (ends(GeneratorExit()), "GeneratorExit"),
        (ends(MemoryError()), "MemoryError"),
        (lambda: None, "it returned NoneType, not a Space"),
        (lambda: embedded_space(), "a space with the id 'ofa-mbv3-cifar10'"),
        (
            lambda: replace(embedded_space(), mean=(math.nan, 0.5, 0.5)),
            r"ValueError: mean\[0\]: nan cannot be",
        ),
        (lambda: replace(embedded_space(), image_sizes=(16.5,)), r"TypeError: image_sizes\[0\]: is 16.5"),
        (lambda: replace(embedded_space(), supernet=None), "TypeError: supernet: must be a mapping"),
    ],
)
def test_a_space_of_another_package_that_cannot_be_used_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, space: Callable[[], object], says: str
) -> None:
    monkeypatch.setattr(spaces, "_others", lambda: {"theirs": Theirs(space)})
    with pytest.raises(UnknownSpaceError, match=says) as caught:
        get_space("theirs")
    assert caught.value.subject == "space theirs (entry point package:space)"
    assert "theirs" not in {space.id for space in known_spaces()}


def test_a_stop_at_the_import_of_another_package_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "_others", lambda: {"theirs": Theirs(ends(KeyboardInterrupt()))})
    with pytest.raises(KeyboardInterrupt):
        get_space("theirs")


def code_strings(source: str) -> Iterator[tuple[int, str]]:
    """Line and value of every string that is not a docstring or another statement of its own."""
    tree = ast.parse(source)
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in texts:
            yield node.lineno, node.value


def test_ids_stand_in_the_declaration_of_the_spaces_alone(repository: Path) -> None:
    """A fact about a space belongs to the space, so that another package's space can have it too."""
    package = repository / "deploy_nas"
    found = [
        f"{name}:{line}"
        for path in sorted(package.rglob("*.py"))
        if not (name := path.relative_to(package).as_posix()).startswith(_HOMES)
        for line, value in code_strings(path.read_text(encoding="utf-8"))
        if any(space_id in value for space_id in spaces._SPACES)
    ]
    assert not found


def test_code_strings() -> None:
    source = '"""toy."""\ndef f():\n    """toy."""\n    return ["toy", f"a toy {f}"]\n'
    assert [value for _, value in code_strings(source)] == ["toy", "a toy "]
