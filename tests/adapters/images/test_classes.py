"""Class folders: where they lie, in what order they are numbered, and which are refused."""

import unicodedata
from pathlib import Path

import pytest

from deploy_nas.adapters.images.classes import ClassFolders, by_class
from deploy_nas.core.errors import ImagesError
from deploy_nas.records.sources import Parts

SOURCE = Path("set.zip")


def parts(*names: str) -> list[Parts]:
    return [tuple(name.split("/")) for name in names]


def grouped(*names: str, source: Path = SOURCE) -> ClassFolders:
    files = parts(*names)
    return by_class(files, [name[:depth] for name in files for depth in range(1, len(name))], source)


def refused(*names: str, source: Path = SOURCE) -> str:
    with pytest.raises(ImagesError) as caught:
        grouped(*names, source=source)
    return str(caught.value)


@pytest.mark.parametrize("leading", ["", "set/"])
def test_folders_and_their_pictures_are_in_order(leading: str) -> None:
    found = grouped(*(leading + name for name in ("dog/2.png", "ant/9.png", "dog/1.png")))
    assert list(found.files) == ["ant", "dog"] and not found.numeric
    assert [name[-1] for name in found.files["dog"]] == ["1.png", "2.png"]


def test_whole_numbers_are_in_numeric_order() -> None:
    names = [f"{number}/1.png" for number in range(12)]
    found = grouped(*names)
    assert found.numeric and list(found.files) == [str(number) for number in range(12)]
    found = grouped(*names, "x/1.png")  # one name that is no number, and text order it is
    assert not found.numeric and list(found.files)[:4] == ["0", "1", "10", "11"]
    assert list(grouped("007/1.png", "10/1.png", "1/1.png").files) == ["1", "007", "10"]
    assert "'007' and '7' are the same number" in refused("007/1.png", "7/1.png")
    assert not grouped("-1/1.png", "1.5/1.png", "²/1.png").numeric


def test_names_are_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    found = grouped(f"{decomposed}/1.png", "z/1.png")
    assert list(found.files) == ["z", "é"] and found.files["é"] == [(decomposed, "1.png")]
    said = refused(f"{decomposed}/1.png", "é/1.png")
    assert "two class folders 'é', whose names differ in the form of their Unicode" in said


def test_names_that_differ_in_case_alone_are_refused_and_named() -> None:
    assert "the class folders 'Cat' and 'cat' differ only in case" in refused("cat/1.png", "Cat/1.png")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("1.png",), "set.zip: 1.png: is not in a class folder; the layout is CLASS/IMAGE.jpg"),
        (("cat/1.png", "x/y/z.png"), "x/y/z.png: is not in a class folder"),
        (("a/b/c/1.png", "a/b/d/1.png"), "a/b/c/1.png: is not in a class folder; the layout is CLASS/IMAGE"),
    ],
)
def test_another_layout_is_named_with_an_example(names: tuple[str, ...], message: str) -> None:
    assert message in refused(*names)


def test_empty_class_folders_are_named() -> None:
    with pytest.raises(ImagesError, match=r"set\.zip: dog: this class folder holds no images"):
        by_class(parts("cat/1.png"), parts("cat", "dog"), SOURCE)


def test_splits_are_named_with_what_to_name_instead(tmp_path: Path) -> None:
    said = refused("Train/cat/1.png", "val/cat/2.png", source=tmp_path)
    assert "holds Train, val instead of class folders: this looks like a dataset with splits" in said
    assert said.endswith(f"name {tmp_path}/Train")
    said = refused("set/valid/cat/1.png", "set/train/cat/2.png", source=tmp_path)
    assert said.endswith(f"name {tmp_path}/set/train")
    assert "unzip it and name its folder train" in refused("train/a/1.png", "test/a/1.png")
    assert "splits" in refused("train/1.png", "test/1.png")  # pictures right inside are splits as well
    assert list(grouped("train/1.png", "plane/1.png").files) == ["plane", "train"]
    assert list(grouped("train/cat/1.png", "train/dog/1.png").files) == ["cat", "dog"]
