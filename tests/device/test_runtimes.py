"""A provider's name chooses the runtime."""

import pytest

from deploy_nas.core.errors import ProviderError
from deploy_nas.core.fingerprint import RUNTIMES
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.device.session import ONNX_RUNTIME


@pytest.mark.parametrize("provider", ["cpu", "CPUExecutionProvider", "onnxruntime:cpu", "unknown"])
def test_a_name_alone_is_a_provider_of_onnxruntime(provider):
    assert runtime_of(provider) is ONNX_RUNTIME


def test_a_prefix_names_another():
    assert runtime_of("openvino:CPU") is OPEN_VINO and runtime_of("OpenVINO:gpu") is OPEN_VINO
    with pytest.raises(ProviderError, match=r"no runtime 'tflite'; there are onnxruntime, openvino"):
        runtime_of("tflite:cpu")
    assert {runtime_of(f"{name}:cpu").name for name in RUNTIMES} == set(RUNTIMES)
