from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters.pools.arrays import write_arrays
from deploy_nas.core.errors import OutputError

ARRAYS = {"images.32": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": np.array([1, -1])}


def test_arrays_are_mapped_as_they_were(tmp_path):
    found = write_arrays(ARRAYS, tmp_path).read()
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and isinstance(found[name], np.memmap)


def test_only_the_very_folder_with_the_very_bytes_is_here(tmp_path):
    written = write_arrays(ARRAYS, tmp_path, digests=True)
    assert written.here()
    assert not replace(written, folder=tmp_path / "elsewhere").here()
    assert not replace(written, token="another").here()  # noqa: S106
    with (tmp_path / "labels.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert not written.here()


def test_what_cannot_be_written_is_one_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_arrays(ARRAYS, tmp_path / "gone")
