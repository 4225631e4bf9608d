"""Room for arrays: in memory where they fit, else on a disk, else a plain word about how much is needed."""

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deploy_nas.adapters.images import storage
from deploy_nas.adapters.images.storage import room_for
from deploy_nas.core.errors import ImagesError

SHAPE = (10, 3, 8, 8)  # 1,920 bytes


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, on a disk."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(storage, "is_in_memory", lambda place: False)
    return folder


def free(monkeypatch: pytest.MonkeyPatch, *, memory: int | None, disk: int = 10**9) -> None:
    monkeypatch.setattr(storage, "available_bytes", lambda: memory)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=disk))


@pytest.mark.parametrize(("memory", "mapped"), [(3840, False), (None, False), (3839, True)])
def test_more_than_half_of_the_memory_goes_to_the_disk(
    disk: Path, monkeypatch: pytest.MonkeyPatch, memory: int | None, mapped: bool
) -> None:
    free(monkeypatch, memory=memory)
    (array,) = room_for([SHAPE], None, "s")
    assert isinstance(array, np.memmap) == mapped
    assert array.shape == SHAPE and array.dtype == np.uint8


def test_temporary_files_go_with_the_arrays(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, memory=0)
    arrays = room_for([SHAPE, (10, 3, 4, 4)], None, "s")
    arrays[0][:] = 7
    assert arrays[0].sum() == 7 * 1920
    if os.name == "posix":  # a killed process would leave none
        assert list(disk.iterdir()) == []
    del arrays
    assert list(disk.iterdir()) == []


def test_memory_that_is_refused_is_not_the_end(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, memory=None)

    def full(shape: tuple[int, ...], dtype: type) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    assert isinstance(room_for([SHAPE], None, "s")[0], np.memmap)


def test_neither_memory_nor_disk_is_an_error_that_says_how_much(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (10_000, 3, 224, 224)
    free(monkeypatch, memory=2 * 2**30, disk=2**30)
    with pytest.raises(ImagesError, match=r"^s: 10000 images need 1\.4 GiB, .*: 2\.0 GiB of memory are free"):
        room_for([shape], None, "s")
    free(monkeypatch, memory=2 * 2**30)
    monkeypatch.setattr(storage, "is_in_memory", lambda place: True)  # a disk that is memory is no help
    with pytest.raises(ImagesError, match="TMPDIR"):
        room_for([shape], None, "s")


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = room_for([SHAPE, (10, 3, 4, 6)], tmp_path / "a/b", "s")
    arrays[0][:] = 7
    assert sorted(p.name for p in (tmp_path / "a/b").iterdir()) == ["images-4x6.npy", "images-8.npy"]
    room_for([SHAPE], tmp_path / "a/b", "s")
    assert (arrays[0] == 7).all()  # another set of that name does not change this one
    with pytest.raises(ImagesError, match=r"f: cannot keep s \("):
        (tmp_path / "f").touch()
        room_for([SHAPE], tmp_path / "f", "s")
    free(monkeypatch, memory=None, disk=0)
    with pytest.raises(ImagesError, match=r"its disk has 0\.0 free"):
        room_for([SHAPE], tmp_path / "c", "s")
