"""The host's state: no public call changes it, and none gives another answer, or fails, for an odd one.

As a script, in a fresh process, it makes every call once: the first session of ONNX Runtime, and the first
import of much else, happen once in a process.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]

_SPACE, _SIDE = "ofa-mbv3-cifar10", 20


# -- every public call, on the smallest networks, and what it answered -------------------------------


def calls(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and function of each call; what the functions return is the same every time."""
    import deploy_nas
    from deploy_nas.accuracy.fit import FitSettings
    from deploy_nas.core.space import Space
    from deploy_nas.deploy.measuring import measure
    from deploy_nas.workflows.accuracy import fit_file

    space: Space = deploy_nas.get_space(_SPACE)
    arch = {"space": _SPACE, **space.smallest(_SIDE)}
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, _SIDE, _SIDE), dtype=np.uint8)
    images = SimpleNamespace(images=pixels)
    file = folder / "x.onnx"

    def exported(weights: str, **how: object) -> str:
        return deploy_nas.export_onnx(arch, file, weights=weights, force=True, **how).sha256

    def searched(accuracy: object) -> object:
        efficiency = deploy_nas.MeasuredEfficiencyPredictor(deploy_nas.load_profile(folder / "profile.json"))
        searcher = deploy_nas.EvolutionSearcher(
            efficiency, accuracy, seed=3, population_size=8, max_time_budget=2
        )
        sample, _ = searcher.random_valid_sample(9.0)
        child, _ = searcher.mutate_sample(sample, 9.0)
        return searcher.run_search(9.0), searcher.crossover_sample(sample, child, 9.0)

    def plain(accuracy: object) -> object:
        efficiency = deploy_nas.AnalyticalEfficiencyPredictor(space)
        own = SimpleNamespace(get_efficiency=efficiency.predict_efficiency)
        searcher = deploy_nas.EvolutionSearcher(own, accuracy, seed=3, population_size=8, max_time_budget=2)
        return searcher.run_search(20.0)

    def predicted() -> object:
        accuracy = deploy_nas.load_accuracy_predictor(_SPACE, "embedded")
        several = [space.smallest(_SIDE), space.largest()]
        values = (accuracy.predict_acc(several), accuracy.predict_accuracy(several))
        return *values, accuracy.predict_spread(several), searched(accuracy), plain(accuracy)

    def fitted() -> object:
        settings = FitSettings(taught=0, epochs=1, hidden=(4,))
        done = fit_file(
            folder / "subnets.jsonl", folder / "a.onnx", settings, plot=folder / "a.svg", force=True
        )
        assert not done.plot_fault, done.plot_fault
        return done.figures, _digest(folder / "a.onnx"), _digest(folder / "a.svg")

    yield "predict and search", predicted
    yield "export", lambda: exported("embedded", calibration_images=images)
    yield "export random weights", lambda: exported("random")
    yield "measure", lambda: measure(file.read_bytes(), rounds=1) and None
    yield "accuracy train", fitted


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare(folder: Path, profile: object) -> None:
    """The files that the calls read."""
    from deploy_nas.core.spaces import get_space
    from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, save_accuracy_data
    from deploy_nas.records.profile import save_profile

    space = get_space(_SPACE)
    save_profile(profile, folder / "profile.json")
    encoded = np.unique(space.canonical(space.sample_encoded(np.random.default_rng(3), 40)), axis=0)
    header = AccuracyHeader(space=space, weights="w", images="i", image_count=10)
    data = AccuracyData(header=header, encoded=encoded, top1_percent=40.0 + encoded.sum(axis=1) / 4)
    save_accuracy_data(data, folder / "subnets.jsonl")


# -- the state of the host ----------------------------------------------------------------------------


def state() -> dict[str, object]:
    """What a caller may rely on to stay as it is, by name."""
    import torch

    mask = os.umask(0)
    os.umask(mask)
    return {
        "denormal numbers are flushed": float("1e-310") == float("2e-310"),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "random": random.getstate(),
        "numpy.random": repr(np.random.get_state()),
        "torch generator": torch.get_rng_state().numpy().tobytes(),
        "numpy errors": np.geterr(),
        "numpy print options": np.get_printoptions(),
        "torch dtype": torch.get_default_dtype(),
        "torch device": torch.get_default_device(),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch autocast": torch.is_autocast_enabled("cpu"),
        "torch precision": torch.get_float32_matmul_precision(),
        "torch determinism": torch.are_deterministic_algorithms_enabled(),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": mask,
        "collector": (gc.isenabled(), gc.get_threshold()),
        "root logger": (logging.root.level, list(logging.root.handlers)),
        "path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.stdout, sys.stderr),
        "recursion": sys.getrecursionlimit(),
    }


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Names of what differs; what was not there before cannot have changed."""
    return [name for name in before if before[name] is not None and before[name] != after[name]]


# -- odd states ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def of_torch(
    setter: str, odd: object, usual: object
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def state() -> Iterator[None]:
        import torch

        change = getattr(torch, setter)
        change(odd)
        try:
            yield
        finally:
            change(usual)

    return state


other_device = of_torch("set_default_device", "meta", None)
flushing = of_torch("set_flush_denormal", True, False)
rough_products = of_torch("set_float32_matmul_precision", "medium", "highest")


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Of both kinds, and automatic bfloat16."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@contextlib.contextmanager
def inference() -> Iterator[None]:
    import torch

    with torch.inference_mode():
        yield


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """Warnings are errors, for Python and for numpy."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Another folder, which no longer is."""
    before, gone = Path.cwd(), Path("gone")
    gone.mkdir()
    os.chdir(gone)
    gone_path = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)
        gone_path.rmdir()


ODD = {
    "precisions": (double_precision, other_device, rough_products, flushing, without_gradients),
    "strictness": (strict, elsewhere, inference),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made_profile) -> Path:
    folder = tmp_path_factory.mktemp("host")
    prepare(folder, made_profile())
    return folder


@pytest.fixture(scope="module")
def fresh(folder) -> dict[str, dict[str, object]]:
    """What a fresh process with a notebook's environment said: the answers, and what each call changed."""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, __file__, folder],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_call_changes_a_fresh_process(fresh):
    assert len(fresh["changed"]) == 5 and not any(fresh["changed"].values()), fresh["changed"]


def test_no_call_loads_torchvision(fresh):
    """Its import takes as long as PyTorch's own."""
    assert fresh["torchvision"] is False


@pytest.mark.parametrize("odd", ODD)
def test_every_call_works_and_answers_the_same_in_odd_states(folder, fresh, odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        for make in ODD[odd]:
            stack.enter_context(make())
        for name, call in calls(folder):
            before = state()
            answer = repr(call())
            assert changed(before, state()) == [], name
            assert answer == fresh["answers"][name], name


if __name__ == "__main__":
    _changed, _answers = {}, {}
    for _name, _call in calls(Path(sys.argv[1])):
        _before = state()
        _answers[_name] = repr(_call())
        _changed[_name] = changed(_before, state())
    _loaded = "torchvision" in sys.modules
    sys.stdout.write(json.dumps({"changed": _changed, "answers": _answers, "torchvision": _loaded}))
