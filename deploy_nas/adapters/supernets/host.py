"""PyTorch as a fresh process has it, whatever the caller has set, and the caller's settings afterwards."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

from deploy_nas.core.extras import require_supernets
from deploy_nas.core.floats import usual_floats


@contextlib.contextmanager
def usual_torch() -> Iterator[None]:
    """Within the context tensors are float32, on the CPU, of full precision, and may have gradients.

    The environment and the filters of warnings stay as they are, though parts of PyTorch change them when
    they are imported on first use.

    A caller may have set another default dtype or device, ``no_grad``, ``inference_mode``, autocast or a
    lower precision of products: supernets would be built or run in another way than they are deployed.
    """
    require_supernets()
    with contextlib.ExitStack() as stack:
        stack.enter_context(usual_floats())
        stack.enter_context(warnings.catch_warnings())  # of others' packages, which also add filters
        warnings.simplefilter("ignore")
        stack.callback(_forget, frozenset(os.environ))
        import torch

        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        precision = torch.get_float32_matmul_precision()
        if precision != "highest":
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, precision)
        yield


def _forget(known: frozenset[str]) -> None:
    """Take away the variables that parts of PyTorch set as they are imported, for themselves."""
    for name in [name for name in os.environ if name.startswith("TORCH") and name not in known]:
        del os.environ[name]
