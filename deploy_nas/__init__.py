"""deploy-nas: search Once-for-All subnets under latencies measured on your device, export and verify them.

The public interface. Each name is imported on first use, so that importing the package does not load torch
or ofa.
"""

from __future__ import annotations

import deploy_nas.device  # noqa: F401 - it turns off the telemetry of ONNX Runtime, before that is imported
from deploy_nas.core.version import __version__ as __version__

TYPE_CHECKING = False  # as in typing, whose import would take a good part of the time of this one
if TYPE_CHECKING:
    from typing import Any

    from deploy_nas.accuracy.own import OwnPredictor
    from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor
    from deploy_nas.api.deploying import export_onnx, make_demo, make_report, verify, verify_bundle
    from deploy_nas.api.fleets import fleet_status, profile_fleet, search_fleet, verify_fleet
    from deploy_nas.api.searching import (
        explain,
        import_kit,
        make_kit,
        pareto,
        profile_device,
        refresh_profile,
        search,
    )
    from deploy_nas.api.training import build, collect_accuracies, finetune, train, train_accuracy_predictor
    from deploy_nas.core.errors import DeployNASError
    from deploy_nas.core.spaces import get_space
    from deploy_nas.records.profile import load_profile
    from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor, MeasuredEfficiencyPredictor
    from deploy_nas.search.searcher import EvolutionSearcher

_HOMES = {
    "AccuracyPredictor": "deploy_nas.accuracy.predictor",
    "AnalyticalEfficiencyPredictor": "deploy_nas.search.efficiency",
    "DeployNASError": "deploy_nas.core.errors",
    "EvolutionSearcher": "deploy_nas.search.searcher",
    "MeasuredEfficiencyPredictor": "deploy_nas.search.efficiency",
    "OwnPredictor": "deploy_nas.accuracy.own",
    "build": "deploy_nas.api.training",
    "collect_accuracies": "deploy_nas.api.training",
    "explain": "deploy_nas.api.searching",
    "export_onnx": "deploy_nas.api.deploying",
    "finetune": "deploy_nas.api.training",
    "fleet_status": "deploy_nas.api.fleets",
    "get_space": "deploy_nas.core.spaces",
    "import_kit": "deploy_nas.api.searching",
    "load_accuracy_predictor": "deploy_nas.accuracy.predictor",
    "load_profile": "deploy_nas.records.profile",
    "make_demo": "deploy_nas.api.deploying",
    "make_kit": "deploy_nas.api.searching",
    "make_report": "deploy_nas.api.deploying",
    "pareto": "deploy_nas.api.searching",
    "profile_device": "deploy_nas.api.searching",
    "profile_fleet": "deploy_nas.api.fleets",
    "refresh_profile": "deploy_nas.api.searching",
    "search_fleet": "deploy_nas.api.fleets",
    "train": "deploy_nas.api.training",
    "train_accuracy_predictor": "deploy_nas.api.training",
    "verify": "deploy_nas.api.deploying",
    "verify_bundle": "deploy_nas.api.deploying",
    "verify_fleet": "deploy_nas.api.fleets",
}

__all__ = [
    "AccuracyPredictor",
    "AnalyticalEfficiencyPredictor",
    "DeployNASError",
    "EvolutionSearcher",
    "MeasuredEfficiencyPredictor",
    "OwnPredictor",
    "build",
    "collect_accuracies",
    "explain",
    "export_onnx",
    "finetune",
    "fleet_status",
    "get_space",
    "import_kit",
    "load_accuracy_predictor",
    "load_profile",
    "make_demo",
    "make_kit",
    "make_report",
    "pareto",
    "profile_device",
    "profile_fleet",
    "refresh_profile",
    "search",
    "search_fleet",
    "train",
    "train_accuracy_predictor",
    "verify",
    "verify_bundle",
    "verify_fleet",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        try:
            return getattr(importlib.import_module(_HOMES[name]), name)
        except ImportError as error:
            from deploy_nas.core import extras

            raise extras.missing(error) or error from error
    if name == "search":  # the room of that name, which is the function when it is called
        import importlib

        return importlib.import_module("deploy_nas.search")
    raise AttributeError(f"module 'deploy_nas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
