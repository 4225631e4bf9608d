"""A fake device: every unit takes what a formula says, at a speed that may change."""

import zlib

import numpy as np
import pytest

from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.settings import Settings
from deploy_nas.core.spaces import get_space
from deploy_nas.device import runner
from deploy_nas.device.clocks import Clocks
from deploy_nas.device.journal import Journal, JournalHeader
from deploy_nas.device.runner import Runner
from deploy_nas.device.runtime import TensorInfo
from deploy_nas.profiling.plan import ProfilePlan, make_plan


def true_row_ms(layer, alone):
    """In a network, a layer costs a little more than alone, and not by one factor."""
    wobble = 1 + 0.06 * np.sin(zlib.crc32(layer.key.encode()))
    alone_ms = 2e-8 * layer.macs * wobble + 0.004
    return alone_ms if alone else 1.07 * alone_ms + 0.02e-6 * 4 * layer.params + 0.001


class FakeDevice:
    """Stands for the clock, the runtime and every model."""

    def __init__(self, plan, *, speed=lambda seconds: 1.0, noise=0.005, seed=0):
        self.plan, self.speed, self.noise = plan, speed, noise
        self.rng = np.random.default_rng(seed)
        self.now_ns = 0
        self.ms = {}
        for unit_id, layers in plan._layers.items():
            alone = unit_id.startswith("row:")
            self.ms[unit_id] = sum(true_row_ms(layer, alone) for _, layer in layers) + (
                0.0 if alone else 0.02
            )

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.now_ns, cpu=lambda: self.now_ns, sleep=self.sleep)

    def sleep(self, seconds):
        self.now_ns += int(1e9 * seconds)

    def open(self, model, **options):
        return FakeModel(self, self.ms[model.decode()])


class FakeModel:
    inputs = (TensorInfo(name="image", shape=(1,), dtype="float32"),)

    def __init__(self, device, ms):
        self.device, self.ms = device, ms

    def bind(self, feed):
        return self.run

    def run(self):
        d = self.device
        slow = 1 + d.noise * d.rng.exponential()
        d.now_ns += int(1e6 * self.ms * slow / d.speed(d.now_ns / 1e9))


DEVICE = Fingerprint(cpu="fake", cores=2, machine="fake", os="fake", runtime_version="fake", pinned=True)
SETTINGS = Settings(
    rounds=3,
    row_rounds=3,
    passes=2,
    burst_ms=1.0,
    row_burst_ms=1.0,
    extra_rounds=0,
    warmup_ms=0.0,
    sentinel_every_ms=5.0,
)


@pytest.fixture
def settings():
    return SETTINGS


@pytest.fixture
def fingerprint():
    return DEVICE


@pytest.fixture
def run_on(tmp_path, monkeypatch):
    """``run_on(fake, settings)``: the fake device's plan timed into the test's journal; its bursts."""
    # A fake model looks at no graph and no weights: that a unit's own model is opened is all that counts.
    monkeypatch.setattr(ProfilePlan, "model", lambda self, unit_id: unit_id.encode())
    monkeypatch.setattr(runner, "random_initializers", lambda tensors, rng: {})

    def run(fake, settings=SETTINGS):
        header = JournalHeader(plan=fake.plan.id, fingerprint=DEVICE, settings=SETTINGS)
        with Journal(tmp_path / "journal", header) as journal:
            Runner(fake.plan, settings, journal, clocks=fake.clocks, runtime=fake).run()
            return dict(journal.bursts)

    return run


@pytest.fixture
def run_fake(tmp_path, run_on):
    def run(plan: ProfilePlan, settings: Settings = SETTINGS, fresh: bool = False, **device):
        if fresh:
            (tmp_path / "journal").unlink()
        fake = FakeDevice(plan, **device)
        return fake, run_on(fake, settings)

    return run


@pytest.fixture
def plan():
    return make_plan(get_space("ofa-mbv3-cifar10"), quick=True)
