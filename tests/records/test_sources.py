"""Folders and zips are read alike, and not beyond what an image set can be."""

import os
import socket
import zipfile
import zlib
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
        with pytest.raises(ValueError, match="larger than"):
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


# -- names and files that systems add ---------------------------------------------------------------


def raw_zip(path: Path, name: bytes, extra: bytes = b"") -> Path:
    """A zip with one entry whose name is these bytes, without the flag for UTF-8."""
    info = zipfile.ZipInfo("x" * len(name))
    info.extra = extra
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"one")
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name))
    return path


@pytest.mark.parametrize("encoding", ["gbk", "cp437", "utf-8"])
def test_a_zip_that_does_not_say_how_its_names_are_encoded_is_refused(tmp_path: Path, encoding: str) -> None:
    name = {"gbk": "\u732b/1.png", "cp437": "\u00e9t\u00e9/1.png", "utf-8": "\u00e9/1.png"}[encoding]
    path = raw_zip(tmp_path / "set.zip", name.encode(encoding))
    shown = name.encode(encoding).decode("ascii", "backslashreplace").replace("\\", r"\\\\")
    with pytest.raises(ImagesError, match=rf"does not say how .*{shown}.*unzip it"), open_source(path):
        pass


def test_names_in_ascii_and_names_with_their_encoding_are_read(tmp_path: Path) -> None:
    with open_source(raw_zip(tmp_path / "a.zip", b"cat/1.png")) as opened:
        assert opened.files == [("cat", "1.png")]
    raw, name = "\u00e9/1.png".encode("cp437"), "\u00e9/1.png".encode()
    field = b"\x01" + zlib.crc32(raw).to_bytes(4, "little") + name
    extra = (0x7075).to_bytes(2, "little") + len(field).to_bytes(2, "little") + field
    with open_source(raw_zip(tmp_path / "b.zip", raw, extra)) as opened:
        assert opened.files == [("\u00e9", "1.png")] and opened.read(("\u00e9", "1.png")) == b"one"
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("\u732b/1.png", b"one")
    with open_source(tmp_path / "c.zip") as opened:
        assert opened.files == [("\u732b", "1.png")]


def test_a_name_on_disk_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xc3("
    try:
        os.mkdir(folder)  # noqa: PTH102 - the name is bytes
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    with pytest.raises(ImagesError, match=r"'\\\\xc3\(' is not UTF-8; rename it"), open_source(tmp_path):
        pass


def test_files_that_systems_add_are_not_there(tmp_path: Path) -> None:
    for name in ("a/1.txt", "a/Thumbs.db", "a/desktop.ini", "a/.DS_Store", "__MACOSX/a/._1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with open_source(tmp_path) as opened:
        assert opened.files == [("a", "1.txt")] and opened.folders == [("a",)]


def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "real.png").write_bytes(b"one")
    (tmp_path / "link.png").symlink_to("real.png")
    with socket.socket(socket.AF_UNIX) as server, open_source(tmp_path) as opened:
        monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
        server.bind("socket.png")
        assert len(opened.files) == 4
        for name in ("pipe.png", "device.png", "socket.png"):
            with pytest.raises(ValueError, match="not a regular file"):
                opened.read((name,))
        assert opened.read(("link.png",)) == b"one"
    with pytest.raises(ImagesError, match="neither a folder nor a zip"), open_source(tmp_path / "pipe.png"):
        pass


def test_a_link_in_a_zip_is_not_a_file(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/1.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, b"/etc/hostname")
    with (
        open_source(tmp_path / "set.zip") as opened,
        pytest.raises(ValueError, match="not a regular file"),
    ):
        opened.read(("a", "1.png"))
