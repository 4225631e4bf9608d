"""ONNX Runtime keeps the contract of runtimes."""

import numpy as np
import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.device.runtime import TensorInfo, first_output
from deploy_nas.device.session import OnnxRuntime
from deploy_nas.testing.runtime import RuntimeContract


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()


def test_axes_of_any_length_are_one_long_in_a_single_input():
    assert TensorInfo(name="x", shape=(None, 3, 8, 8), dtype="float32").single == (1, 3, 8, 8)


def test_an_output_of_another_type_is_no_logits(fake_model):
    model = fake_model(1.0)
    model.run = lambda feed, outputs=None: [np.zeros((1, 2))]
    with pytest.raises(RecordError, match="float64, not float32"):
        first_output(model, np.zeros((1, 3, 4, 4), np.float32))
