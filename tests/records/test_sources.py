"""Folders and zips are read alike, and not beyond what an image set can be."""

import zipfile
from pathlib import Path

import pytest

from deploy_nas.core.errors import ImagesError
from deploy_nas.records import sources
from deploy_nas.records.sources import open_source

FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two", ".hidden/3.txt": b"", "a/.4.txt": b""}


@pytest.fixture(params=["folder", "zip"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "set"
    if request.param == "zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name in ("a/", "a/b/"):
                archive.writestr(name, b"")
            for name, data in FILES.items():
                archive.writestr(name, data)
        return root
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_names_and_contents(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_source(source) as opened:
        assert sorted(opened.files) == [("a", "1.txt"), ("a", "b", "2.txt")]
        assert sorted(opened.folders) == [("a",), ("a", "b")]
        assert opened.read(("a", "b", "2.txt")) == b"two"
        monkeypatch.setattr(sources, "MAX_FILE_BYTES", 2)
        with pytest.raises(ValueError, match="too large"):
            opened.read(("a", "1.txt"))


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/again").symlink_to(tmp_path / "a")
    with open_source(tmp_path) as opened:
        assert opened.folders == [("a",), ("a", "again")]


def test_files_are_found_however_deep(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c/d/e/1.txt"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"one")
    with open_source(tmp_path) as opened:
        assert opened.files == [("a", "b", "c", "d", "e", "1.txt")]


def test_a_source_that_ends_while_it_is_read_is_named(source: Path) -> None:
    with pytest.raises(ImagesError, match="set: cannot be read"), open_source(source):
        raise OSError("gone")


@pytest.mark.parametrize("damage", ["version", "name"])
def test_a_zip_with_a_damaged_directory_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/\u00e4.txt", b"one")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 6 if damage == "version" else data.index(b"\xc3\xa4", entry)] = 0xFF
    path.write_bytes(data)
    with pytest.raises(ImagesError, match=r"set\.zip: is not a zip, or is damaged"), open_source(path):
        pass
