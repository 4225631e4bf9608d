"""Two profiles; and, made once, an export in both precisions, its bundle, and a build with its supernet."""

import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Class folders of noise: 4 pictures of each of the model's classes."""
    from deploy_nas.core.spaces import embedded_space

    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label in embedded_space().labels:
        (folder / label).mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory, pictures):
    """A request, what it exported, the bundle of that, and what the bundling said."""
    from deploy_nas.core.predicted import Predicted
    from deploy_nas.core.spaces import embedded_space
    from deploy_nas.deploy import quantize
    from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
    from deploy_nas.workflows.bundle import bundle
    from deploy_nas.workflows.export import ExportRequest, export

    folder, space = tmp_path_factory.mktemp("made"), embedded_space()
    predicted = Predicted(latency_ms=0.2, bound_ms=0.3, budget_ms=1e6, threads=1, profile="p")
    record = ArchitectureRecord(space=space, architecture=space.smallest(24), predicted=predicted)
    save_architecture(record, folder / "a.json")
    request = ExportRequest(
        architecture=folder / "a.json",
        output=folder / "a.onnx",
        int8=True,
        calibration_images=pictures,
        max_accuracy_drop=100.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "compare_speed", lambda models, **how: [2.0, 1.0])
        exported = export(request)
    return request, exported, folder / "b", bundle(request, exported, folder / "b")


@pytest.fixture
def profiles(tmp_path, made_profile):
    """A device and one of half its speed that was profiled for fewer sizes."""
    from deploy_nas.records.profile import save_profile

    save_profile(made_profile(), tmp_path / "a.profile.json")
    save_profile(made_profile(speed=0.5, image_sizes=(24, 28)), tmp_path / "slow.profile.json")
    return "a.profile.json", "slow.profile.json"


COLOURS = {"blue": (20, 40, 220), "green": (20, 200, 40), "red": (220, 30, 30)}


@pytest.fixture(scope="session")
def coloured(tmp_path_factory):
    """Noise of three colours: 20 pictures of each."""
    folder, rng = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(20):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def request_for():
    """``request_for(images, output, **changes)``: a training of seconds."""
    from dataclasses import replace

    from deploy_nas.accuracy.fit import FitSettings
    from deploy_nas.workflows.train import TrainRequest

    def make(images, output, **changes):
        tiny = {"image_sizes": (20, 24), "epochs": 3, "batch_size": 10, "subnets": 0, "workers": 1}
        tiny["fit"] = FitSettings(hidden=(16, 16), taught=100, epochs=2)
        request = TrainRequest(images=images, output=output, space="ofa-mbv3-cifar10", **tiny)
        return replace(request, **changes)

    return make


@pytest.fixture(scope="session")
def built(coloured, request_for, made_profile, tmp_path_factory):
    """A request, and the network that was built by it: the supernet, its predictor, and all that follows.

    The profile is of this machine, but every subnet is said to be slow: real measurements keep every budget.
    """
    from dataclasses import replace

    from deploy_nas.core.fingerprint import CPU_PROVIDER
    from deploy_nas.device import machine
    from deploy_nas.records.profile import save_profile
    from deploy_nas.workflows import build_budget
    from deploy_nas.workflows.build import BuildRequest, build, training_for

    profile, output = tmp_path_factory.mktemp("p") / "slow.profile.json", tmp_path_factory.mktemp("b") / "out"
    here = machine.fingerprint(
        threads=1, provider=CPU_PROVIDER, provider_options={}, precision="fp32", pinned=True
    )
    made = made_profile("ofa-mbv3-cifar10@3@20+24", speed=0.02)
    save_profile(replace(made, fingerprint=here), profile)
    request = BuildRequest(
        output=output,
        training=training_for(output, request_for(coloured, output, subnets=30)),
        budgets_ms=(15.0,),
        profile=profile,
        finetune_epochs=1,
        max_accuracy_drop=100,
        test=coloured,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_budget, "_MEASURED", 2)
        return request, build(request)


@pytest.fixture(scope="session")
def trained(built, tmp_path_factory):
    """A supernet with its predictor: a copy of the one that a network was built of."""
    request, _ = built
    return shutil.copytree(request.training.output, tmp_path_factory.mktemp("s") / "supernet")
