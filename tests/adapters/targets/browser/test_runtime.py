"""onnxruntime-web as a runtime, with a page that answers at once."""

import numpy as np
import pytest

from deploy_nas.adapters.targets.browser.facts import PageFacts
from deploy_nas.adapters.targets.browser.runtime import PageRuntime
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.device.runtime import first_output
from deploy_nas.device.timing import BurstSettings, Timer


class Answering:
    """A channel whose page answers at once."""

    def __init__(self, said, answers):
        self.tasks, self.answers = [], answers
        self.said = PageFacts.from_json(Fields(said, "page"))

    def facts(self):
        return self.said

    def ask(self, task):
        self.tasks.append(task)
        return Fields(self.answers(task), "page")


@pytest.fixture
def runtime(page_facts, answers):
    def made(**changed):
        return PageRuntime(Answering({**page_facts, **changed}, answers), {}, "1.99.0", here=False)

    return made


def test_a_model_is_served_opened_run_and_timed_in_the_page(runtime):
    page = runtime()
    weights = {"a": np.zeros(5, np.float32), "b": np.zeros(7, np.float32)}
    model = page.open(b"graph", provider="cpu", threads=2, initializers=weights)
    (opened,) = page.channel.tasks
    assert page.models == {opened["model"]: b"graph"}
    assert (opened["provider"], opened["threads"], opened["given_bytes"]) == ("wasm", 2, 28)
    assert model.inputs[0].single == (1, 2)
    image = np.array([[1.5, -2.0]], np.float32)
    assert np.array_equal(first_output(model, image), image)
    timer = Timer(model, np.random.default_rng(0))
    burst = timer.burst(BurstSettings(burst_ms=25, least_runs=5, warmup_runs=2))
    assert (burst.runs, burst.points_ms, burst.busy) == (10, (2.0, 2.1), 1.0)
    assert page.channel.tasks[-1]["burst_ms"] == 25 and page.channel.tasks[-1]["shape"] == [1, 2]
    assert list(timer.paced(50.0, 3)) == [3.0] * 3
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.run({"image": image})


def test_providers_are_those_that_the_browser_has(runtime):
    assert runtime().resolve("CPUExecutionProvider") == "wasm"
    assert runtime(webgpu=True).resolve("WebGPU") == "webgpu"
    with pytest.raises(ProviderError, match="this browser has no WebGPU here; available are wasm"):
        runtime().resolve("webgpu")
    with pytest.raises(ProviderError, match="no execution provider 'cuda' in onnxruntime-web"):
        runtime().resolve("cuda")
    with pytest.raises(ProviderError, match="provider_options"):
        runtime().open(b"", provider_options={"a": "b"})


def test_threads_need_an_isolated_page_and_cores(runtime):
    runtime(isolated=False).check_threads(1)
    with pytest.raises(OptionError, match="only to pages of https and of loopback; reach the page as"):
        runtime(isolated=False).check_threads(2)
    with pytest.raises(OptionError, match="from 1 to the 4 cores of this device, is 5"):
        runtime().check_threads(5)


def test_the_fingerprint_names_the_browser(runtime):
    found = runtime().fingerprint(
        threads=1, provider="wasm", provider_options={}, precision="fp32", pinned=False
    )
    assert (found.cpu, found.cores, found.machine, found.os) == ("Phone arm 64", 4, "arm 64", "Android 15")
    assert (found.browser, found.runtime, found.runtime_version) == ("Browser 1", "onnxruntime-web", "1.99.0")
    assert found.build == "cross-origin isolated; Mozilla/5.0"
    assert type(found).from_json(Fields(found.to_json(), "f")) == found


@pytest.mark.parametrize(
    "output", [{"shape": [3], "dtype": "float32"}, {"shape": [2], "dtype": "float16"}], ids=str
)
def test_outputs_that_no_page_sends(runtime, output):
    page = runtime()
    model = page.open(b"graph")
    page.channel.ask = lambda task: Fields({"outputs": [{"values": task["values"], **output}]}, "page")
    with pytest.raises(RecordError):
        model.run({"image": np.zeros((1, 2), np.float32)})
