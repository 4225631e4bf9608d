"""Zips are judged by the sizes that they state, before they are expanded."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from deploy_nas.records.zips import expanded_bytes, holds_bomb


def packed(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", data)
    return buffer.getvalue()


def test_zeros_are_a_bomb_and_weights_are_none() -> None:
    zeros = packed(bytes(24 << 20))
    assert holds_bomb(zeros)
    with zipfile.ZipFile(io.BytesIO(zeros)) as archive:
        assert expanded_bytes(archive) == 24 << 20
    weights = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32).tobytes()
    assert not holds_bomb(packed(weights)) and not holds_bomb(packed(bytes(1 << 20)))


def test_what_is_not_a_zip_is_no_bomb() -> None:
    assert not holds_bomb(b"") and not holds_bomb(b"PK\3\4 and no more") and not holds_bomb(packed(b"a")[:-8])
