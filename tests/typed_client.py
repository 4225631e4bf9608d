"""A program that uses every public name: mypy checks it strictly, as it would check a user's.

It is read, never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import deploy_nas


class Energy:
    """A figure of one's own, of whole generations."""

    def predict_encoded(self, encoded: NDArray[np.int64]) -> NDArray[np.float64]:
        """Millijoules."""
        return np.ones(len(encoded))


def one(architecture: Mapping[str, object]) -> float:
    """An accuracy predictor of one's own, of one architecture."""
    return float(len(architecture))


def searching() -> None:
    """From a device to an architecture."""
    space = deploy_nas.get_space("ofa-mbv3-cifar10")
    profile = deploy_nas.profile_device(space, "p.json", quick=True, provider_options={"a": "b"})
    again = deploy_nas.refresh_profile("p.json").profile
    kit = deploy_nas.make_kit(space.id, Path("kit.pyz"))
    other = deploy_nas.import_kit(kit.path)
    found = deploy_nas.search([profile, other, again], max_latency_ms=[1.0, 2.0, 3.0], predictor="embedded")
    own = deploy_nas.OwnPredictor(space=space, given=one, unit="fraction")
    figures = {"energy_mj": Energy()}
    deploy_nas.search("p.json", figures=figures, budgets={"energy_mj": 2.0}, predictor=own)
    front = deploy_nas.pareto(deploy_nas.load_profile("p.json"), predictor=one)
    latency_ms: float | None = front.pick(2.0).predicted.latency_ms
    sample = space.sample(np.random.default_rng(0))
    total_ms: float = deploy_nas.explain(sample, profile).total_ms
    efficiency = deploy_nas.MeasuredEfficiencyPredictor(profile, figures=figures)
    deploy_nas.AnalyticalEfficiencyPredictor(space).get_efficiency(sample)
    accuracy: deploy_nas.AccuracyPredictor = deploy_nas.load_accuracy_predictor(space, "embedded")
    top1, best, _ = deploy_nas.EvolutionSearcher(efficiency, accuracy).run_search({"latency_ms": 1.0})
    report = deploy_nas.export_onnx(best, "best.onnx", int8=True, calibration_images="images", bundle="b.zip")
    verified = deploy_nas.verify(report.path, profile)
    kept: bool | None = verified.verification.within_budget
    names = [one.name for one in deploy_nas.verify_bundle("b.zip")]
    page = deploy_nas.make_report(found, profile, "r.html", front=front)
    deploy_nas.make_demo("b.zip", page.path.with_name("demo.html"))
    print(latency_ms, total_ms, top1, kept, names)


def training() -> None:
    """From images to a network."""
    try:
        trained = deploy_nas.train("images", "supernet", epochs=2)
        deploy_nas.collect_accuracies(trained.folder, "images", "subnets.jsonl", count=40)
        fitted = deploy_nas.train_accuracy_predictor("subnets.jsonl", "accuracy.onnx")
        tuned = deploy_nas.finetune("best.json", "images", "tuned.safetensors", space=trained.folder)
        built = deploy_nas.build("images", "out", max_latency_ms=8)
        print(fitted.figures.mae_points, tuned.weights, [one.within_budget for one in built])
    except deploy_nas.DeployNASError as error:
        print(error.subject, error.hint)
