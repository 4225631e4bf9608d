"""The seal of safetensors files: read by the package as before, and every edit is refused."""

import numpy as np
import pytest
import safetensors.numpy

from deploy_nas.core.errors import WeightsError
from deploy_nas.records.tensor_file import check_tensors_seal, sealed_tensors

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, dtype=np.float16)}


@pytest.mark.parametrize("notes", [None, {"tuned_for": '{"d": [2]}'}])
def test_the_package_reads_the_same_tensors(notes):
    whole = sealed_tensors(safetensors.numpy.save(TENSORS, notes))
    found = safetensors.numpy.load(whole)
    assert set(found) == set(TENSORS)
    assert all(np.array_equal(found[name], TENSORS[name]) for name in TENSORS)
    assert check_tensors_seal(whole, "w") and sealed_tensors(whole) == whole


def test_a_file_of_others_has_no_digest():
    assert not check_tensors_seal(safetensors.numpy.save(TENSORS, {"by": "me"}), "w")


def test_every_flipped_bit_is_refused_or_takes_the_digest_away():
    whole = sealed_tensors(safetensors.numpy.save(TENSORS, {"tuned_for": "x"}))
    sound = 0
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            try:
                sound += check_tensors_seal(bytes(damaged), "w")
            except WeightsError:
                continue
    assert sound == 0


def test_what_is_refused_is_named():
    whole = sealed_tensors(safetensors.numpy.save(TENSORS))
    with pytest.raises(WeightsError, match=r"w: was edited or damaged: .*; restore it, or train again"):
        check_tensors_seal(whole[:-4] + b"\0\0\0\1", "w")
    for data in (b"", b"text", whole[:20], (2**60).to_bytes(8, "little") + b"{}"):
        with pytest.raises(WeightsError, match="w: is not a safetensors file, or is cut short"):
            check_tensors_seal(data, "w")
