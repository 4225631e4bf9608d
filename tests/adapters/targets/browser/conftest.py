"""A package of onnxruntime-web without content, a kit of three models, and a page that needs no browser."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from deploy_nas.adapters.kits import make_kit
from deploy_nas.adapters.targets.browser import web_runtime
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.settings import Settings
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.runner import ROW, SAME, SENTINEL, Unit

FACTS = {
    "page": "first",
    "browser": "Browser 1",
    "agent": "Mozilla/5.0",
    "cores": 4,
    "machine": "arm 64",
    "os": "Android 15",
    "device": "Phone",
    "isolated": True,
    "webgpu": False,
    "clock_ms": 0.1,
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package, named by the environment."""
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "1.99.0"}))
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.wasm", "secret.txt"):
        (folder / "dist" / name).write_text(name)
    monkeypatch.setenv(web_runtime.VARIABLE, str(folder))
    return folder


def unit(name, kind):
    return Unit(id=name, kind=kind, tensors={"w": TensorSpec(shape=(8, 3))})


class TinyPlan:
    id = "tiny"
    sentinel = unit("sentinel", SENTINEL)
    blocks = ([unit("aa:0", SAME), unit("aa:1", SAME)], [unit("row:r", ROW)])
    arguments = PlanArguments(
        space="s", image_sizes=(8,), fit_per_size=1, validation_per_size=1, block_units=1, seed=0
    )

    def model(self, unit_id):
        return b"graph of " + unit_id.encode()


@pytest.fixture
def tiny_kit():
    settings = Settings(rounds=2, row_rounds=1, passes=1, extra_rounds=0, sentinel_every_ms=0.0)
    return make_kit(TinyPlan(), settings)


def entry(name):
    return {"name": name, "shape": [1, 2], "dtype": "float32"}


def answer_to(task):
    """What a page says of a model that takes 2 ms and returns what it was given."""
    if task["do"] == "open":
        return {"inputs": [entry("image")], "outputs": [entry("logits")]}
    if task["do"] == "burst":
        return {"runs": 10, "points_ms": [2.0, 2.1]}
    if task["do"] == "paced":
        return {"times_ms": [3.0] * task["runs"]}
    return {"outputs": [{"shape": task["shape"], "dtype": "float32", "values": task["values"]}]}


class FakePage(threading.Thread):
    """A page that opens an address, says hello and works until it is told the end.

    ``leaves_after`` tasks it is closed without a word, and ``ended`` keeps the last that it was told.
    """

    def __init__(self, url, leaves_after=None, **facts):
        super().__init__(daemon=True)
        self.url, self.leaves_after, self.facts = url, leaves_after, {**FACTS, **facts}
        self.tasks, self.ended, self.refused = [], None, None

    def post(self, path, value):
        request = urllib.request.Request(self.url + path, json.dumps(value).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as found:  # noqa: S310
            return json.load(found)

    def run(self):
        answer = {"page": self.facts["page"]}
        try:
            self.post("hello", self.facts)
            while True:
                task = self.post("turn", answer)
                answer = {"page": self.facts["page"]}
                if task["do"] in ("end", "gone"):
                    self.ended = task
                    return
                if task["do"] != "wait":
                    self.tasks.append(task)
                    if len(self.tasks) == self.leaves_after:
                        return
                    answer |= {"answered": task["task"], "answer": answer_to(task)}
        except urllib.error.HTTPError as error:
            self.refused = error.code, error.read().decode()


@pytest.fixture
def page_facts():
    """What a page says of itself."""
    return FACTS


@pytest.fixture
def answers():
    """The page's answer to a task, as a function."""
    return answer_to


@pytest.fixture
def fake_page():
    """The class of pages that need no browser."""
    return FakePage


@pytest.fixture
def tiny_plan():
    """A plan of three models."""
    return TinyPlan()
