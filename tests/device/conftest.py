"""A clock and a model of which tests know all."""

import numpy as np
import pytest

from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.settings import Settings
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.clocks import Clocks
from deploy_nas.device.core_speed import CoreSpeed
from deploy_nas.device.runner import Unit
from deploy_nas.device.runtime import TensorInfo


class FakeClock:
    """Time passes when somebody says so; processor time is a share of it."""

    def __init__(self):
        self.now_ns = 0
        self.cpu_ns = 0
        self.slept_s = []

    def pass_ns(self, ns, share=1.0):
        self.now_ns += int(ns)
        self.cpu_ns += int(ns * share)

    def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.pass_ns(1e9 * seconds, 0.0)

    @property
    def clocks(self):
        return Clocks(wall=lambda: self.now_ns, cpu=lambda: self.cpu_ns, sleep=self.sleep)


class FakeModel:
    """A run takes ``ms``, a number or a function of the seconds passed."""

    def __init__(self, clock, ms, share=1.0):
        self.clock, self.ms, self.share = clock, ms, share
        self.inputs = (TensorInfo(name="image", shape=(None, 3, 4, 4), dtype="float32"),)
        self.outputs = (TensorInfo(name="logits", shape=(None, 2), dtype="float32"),)
        self.starts_s = []
        self.closed = False

    def run(self, feed, outputs=None):
        assert feed["image"].shape == (1, 3, 4, 4) and feed["image"].dtype == np.float32
        self.starts_s.append(self.clock.now_ns / 1e9)
        ms = self.ms(self.clock.now_ns / 1e9) if callable(self.ms) else self.ms
        self.clock.pass_ns(1e6 * ms, self.share)
        return [np.array([[1.0, 2.0]], dtype=np.float32)]

    def bind(self, feed):
        return lambda: self.run(feed)

    def close(self):
        self.closed = True


@pytest.fixture
def clock(slow_cores_count):
    return FakeClock()


@pytest.fixture
def fake_model(clock):
    return lambda ms, share=1.0: FakeModel(clock, ms, share)


@pytest.fixture
def slowed_core(clock):
    """``slowed_core(factor, ...)``: a core whose work takes 40 us times ``factor(seconds passed)``."""

    def make(factor, **given):
        work = lambda: clock.pass_ns(40_000 * factor(clock.now_ns / 1e9))  # noqa: E731
        return CoreSpeed(clock.clocks, work=work, **given)

    return make


class FakeRuntime:
    """Opens fakes: a unit's graph says how long its runs take, in ms."""

    name = "fake"

    def __init__(self, clock):
        self.clock, self.opened = clock, []

    def providers(self):
        return ["CPUExecutionProvider"]

    def resolve(self, provider):
        return "CPUExecutionProvider"

    def open(self, model, **how):
        self.opened.append((model, how))
        return FakeModel(self.clock, float(model))

    def fingerprint(self, **given):
        return Fingerprint(
            cpu="fake", cores=2, machine="fake", os="fake", runtime="fake", runtime_version="1", **given
        )


class FakePlan:
    """Two networks in one block, two rows in another."""

    id = "plan"
    ms = {"fit:0": 2.0, "fit:1": 3.0, "row:a": 0.5, "row:b": 0.7, "sentinel": 1.0}  # noqa: RUF012
    sentinel = Unit(id="sentinel", kind="sentinel", tensors={})
    blocks = (
        [
            Unit(id="fit:0", kind="fit", tensors={"w": TensorSpec(shape=(2, 2))}),
            Unit(id="fit:1", kind="fit", tensors={}),
        ],
        [Unit(id="row:a", kind="row", tensors={}), Unit(id="row:b", kind="row", tensors={})],
    )

    def model(self, unit_id):
        return str(self.ms[unit_id]).encode()


@pytest.fixture
def fake_runtime(clock):
    return FakeRuntime(clock)


@pytest.fixture
def fake_plan():
    return FakePlan()


@pytest.fixture
def settings():
    return Settings(
        **{"rounds": 2, "row_rounds": 1, "passes": 2, "extra_rounds": 1, "burst_ms": 4.0},
        **{"row_burst_ms": 2.0, "warmup_ms": 0.0, "slow_factor": 1.3, "wait_s": 2.0},
    )
