"""Numbers in 8 bits, worked out by hand."""

import numpy as np
import pytest

from deploy_nas.adapters.graphs.quantization import TIMED_SCALE, levels, stored_weights


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [(-1.0, 1.55, 0.01, 100), (0.5, 2.55, 0.01, 0), (-2.55, -1.0, 0.01, 255), (0.0, 0.0, 1e-3 / 255, 0)],
)
def test_levels_hold_zero(low, high, scale, zero):
    found = levels(low, high)
    assert found[0] == pytest.approx(scale, rel=1e-6)
    assert found[1] == zero


def test_weights_have_a_scale_per_output_channel():
    weight = np.array([[1.0, -0.7], [0.02, 0.011]], np.float32)
    made = stored_weights(weight, np.array([1.0, -1.0]), (2, 2), in_scale=0.5, bits=8)
    np.testing.assert_allclose(made.scale, [1 / 127, 0.02 / 127], rtol=1e-6)
    assert made.weight.tolist() == [[127, -89], [127, 70]] and made.weight.dtype == np.int8
    np.testing.assert_allclose(made.bias * made.bias_scale, [1.0, -1.0], rtol=1e-4)


def test_slope_and_offset_are_taken_in():
    weight, bias = np.array([[6.0]], np.float32), np.array([3.0])
    made = stored_weights(weight, bias, (1, 1), in_scale=1.0, bits=7, slope=1 / 6, offset=0.5)
    assert made.weight.tolist() == [[63]] and made.scale[0] == pytest.approx(1 / 63)
    assert made.bias[0] * made.bias_scale[0] == pytest.approx(1.0, rel=1e-2)


def test_without_values_there_are_only_scales():
    made = stored_weights(None, None, (3, 1), in_scale=2.0, bits=8)
    assert made.weight is None and made.bias is None
    np.testing.assert_allclose(made.bias_scale, 2 * TIMED_SCALE)
