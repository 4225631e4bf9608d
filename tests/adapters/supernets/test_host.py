"""PyTorch's usual settings within the context, and the caller's afterwards."""

import os
import warnings

import pytest
import torch

from deploy_nas.adapters.supernets.host import usual_torch

pytestmark = pytest.mark.slow


def settings():
    return (
        torch.get_default_dtype(),
        torch.get_default_device().type,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
    )


USUAL = (torch.float32, "cpu", True, False, False, "highest")


@pytest.fixture
def odd():
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    with torch.device("meta"), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        yield (torch.float64, "meta", False, True, True, "medium")
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")


def test_the_usual_settings_within_and_the_callers_afterwards(odd):
    assert settings() == odd
    with usual_torch():
        assert settings() == USUAL
        weight = torch.ones(2, requires_grad=True)
        weight.sum().backward()
        assert weight.grad.tolist() == [1.0, 1.0]
    assert settings() == odd
    with pytest.raises(KeyError), usual_torch():
        raise KeyError
    assert settings() == odd


def test_filters_and_variables_that_torch_sets_are_taken_back(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "mine")
    filters = list(warnings.filters)
    with usual_torch():
        os.environ["TORCHINDUCTOR_CACHE_DIR_OF_A_TEST"] = "x"
        warnings.filterwarnings("error")
    assert "TORCHINDUCTOR_CACHE_DIR_OF_A_TEST" not in os.environ and os.environ["TORCH_HOME"] == "mine"
    assert list(warnings.filters) == filters
