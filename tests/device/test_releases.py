"""Releases of ONNX Runtime: which are refused, advised against, and promised for."""

import onnxruntime
import pytest

from deploy_nas.core.errors import ProviderError
from deploy_nas.core.notices import Notice
from deploy_nas.device import releases
from deploy_nas.device.session import ONNX_RUNTIME

ASKED = {"threads": 1, "provider": "cpu", "provider_options": {}, "precision": "fp32", "pinned": False}


@pytest.mark.parametrize("version", ["1.30.0", "1.32.0", "1.32.0.dev20261101", "2.0"])
def test_files_are_written_for_these(version):
    assert releases.advice(version) is None


@pytest.mark.parametrize("version", ["1.20.0", "1.29.1"])
def test_older_ones_are_advised_against(version, monkeypatch):
    """Where times are taken, so by profile, verify and kits."""
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.warns(Notice, match=rf"^onnxruntime: .* 1\.30 and later: {version} may"):
        assert ONNX_RUNTIME.fingerprint(**ASKED).runtime_version == version


def test_still_older_ones_are_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.19.2")
    with pytest.raises(ProviderError, match=r"onnxruntime: is 1\.19\.2, at least 1\.20 is needed"):
        ONNX_RUNTIME.fingerprint(**ASKED)
