"""deploy-nas: search Once-for-All subnets under latencies measured on your device, export and verify them.

The public interface. Each name is imported on first use, so that importing the package does not load torch
or ofa.
"""

from __future__ import annotations

import deploy_nas.device  # noqa: F401 - it turns off the telemetry of ONNX Runtime, before that is imported

TYPE_CHECKING = False  # as in typing, whose import would take a good part of the time of this one
if TYPE_CHECKING:
    from typing import Any

    from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor
    from deploy_nas.core.errors import DeployNASError
    from deploy_nas.core.spaces import get_space
    from deploy_nas.deploy.export import export_onnx
    from deploy_nas.records.profile import load_profile
    from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor, MeasuredEfficiencyPredictor
    from deploy_nas.search.searcher import EvolutionSearcher

__version__ = "0.1.0"

_HOMES = {
    "AccuracyPredictor": "deploy_nas.accuracy.predictor",
    "AnalyticalEfficiencyPredictor": "deploy_nas.search.efficiency",
    "DeployNASError": "deploy_nas.core.errors",
    "EvolutionSearcher": "deploy_nas.search.searcher",
    "MeasuredEfficiencyPredictor": "deploy_nas.search.efficiency",
    "export_onnx": "deploy_nas.deploy.export",
    "get_space": "deploy_nas.core.spaces",
    "load_accuracy_predictor": "deploy_nas.accuracy.predictor",
    "load_profile": "deploy_nas.records.profile",
}

__all__ = [
    "AccuracyPredictor",
    "AnalyticalEfficiencyPredictor",
    "DeployNASError",
    "EvolutionSearcher",
    "MeasuredEfficiencyPredictor",
    "export_onnx",
    "get_space",
    "load_accuracy_predictor",
    "load_profile",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        try:
            return getattr(importlib.import_module(_HOMES[name]), name)
        except ImportError as error:
            from deploy_nas.core import extras

            raise extras.missing(error) or error from error
    raise AttributeError(f"module 'deploy_nas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
