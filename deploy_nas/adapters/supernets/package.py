"""The package ``ofa`` without torchvision, whose import takes as long as PyTorch's own.

``ofa.utils`` imports its data loaders, which nothing here uses, and they import torchvision. Who asks for one
of them all the same gets it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_UTILS, _LOADERS = "ofa.utils", "ofa.utils.my_dataloader"
_OF_THE_LOADERS = (
    "MyDistributedSampler",
    "MyRandomResizedCrop",
    "MyResize",
    "MyResizeRandomCrop",
    "WeightedDistributedSampler",
)


def load_ofa() -> None:
    """Import ``ofa.utils``, once; its data loaders are imported on first use."""
    if _UTILS in sys.modules:
        return
    without = _LOADERS not in sys.modules
    if without:
        sys.modules[_LOADERS] = ModuleType(_LOADERS)
    try:
        utils: Any = importlib.import_module(_UTILS)
    finally:
        if without:
            del sys.modules[_LOADERS]
    if without:
        utils.__getattr__ = _of_the_loaders


def _of_the_loaders(name: str) -> Any:
    """A name that ``ofa.utils`` takes from its data loaders."""
    if name not in _OF_THE_LOADERS:
        raise AttributeError(f"module {_UTILS!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LOADERS), name)
