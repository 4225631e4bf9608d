"""Exported files against ofa's own subnets, what they say of themselves, and what must be refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deploy_nas.adapters import downloads, graphs, images, supernets
from deploy_nas.core.errors import (
    ArchitectureError,
    CheckFailedError,
    ImagesError,
    MismatchError,
    OptionError,
    OutputError,
    RecordError,
    UnknownSpaceError,
    WeightsError,
)
from deploy_nas.core.notices import Notice
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.resources import Download
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.core.version import __version__
from deploy_nas.deploy import export, weights
from deploy_nas.deploy.export import export_onnx
from deploy_nas.deploy.model_file import read_model

pytestmark = pytest.mark.slow

SMALL = embedded_space()
ARCHITECTURE = SMALL.sample(np.random.default_rng(0)) | {"image_size": 28, "space": SMALL.id}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, randomise):
    """``checkpoint(space)``: a lively supernet and a file of its weights, made once."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(space):
        if space.id not in made:
            net, path = randomise(supernets.build_supernet(space)), folder / f"{space.id}.pth"
            torch.save({"state_dict": net.state_dict()}, path)
            made[space.id] = net, path
        return made[space.id]

    return make


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def pictures(count=24, side=32, seed=0):
    array = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return SimpleNamespace(images=array)


# -- agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "image_size", "count"),
    [("ofa-mbv3-cifar10", None, 6), ("ofa-mbv3-w1.0", 128, 3), ("ofa-mbv3-w1.2", 128, 1)],
)
def test_outputs_are_those_of_ofas_subnet(tmp_path, checkpoint, id, image_size, count):
    space = get_space(id)
    net, source = checkpoint(space)
    rng = np.random.default_rng(1)
    for number in range(count):
        architecture = space.sample(rng)
        size = architecture["image_size"] = image_size or architecture["image_size"]
        report = export_onnx(architecture, tmp_path / f"{number}.onnx", weights=source, space=space)
        net.set_active_subnet(ks=architecture["ks"], e=architecture["e"], d=architecture["d"])
        own = net.get_active_subnet(preserve_weight=True).eval()
        x = rng.standard_normal((2, 3, size, size)).astype(np.float32)
        with torch.no_grad():
            expected = own(torch.from_numpy(x)).numpy()
        assert np.abs(expected[0] - expected[1]).max() > 1e-2  # else agreement would say nothing
        found = np.concatenate([run(report.path, one[None]) for one in x])
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(found - expected).max() <= 1e-4 * scale
        assert report.max_difference <= report.allowed_difference
        assert report.parameters == sum(p.numel() for p in own.parameters())


def test_a_graph_that_disagrees_is_not_written(tmp_path, checkpoint, monkeypatch):
    _, source = checkpoint(SMALL)
    whole = supernets.folded_weights

    def wrong(*arguments):
        folded = whole(*arguments)
        folded["stage2.block1/se.expand.bias"] = folded["stage2.block1/se.expand.bias"] + np.float32(0.5)
        return folded

    monkeypatch.setattr(supernets, "folded_weights", wrong)
    for chosen in (source, "random"):
        with pytest.raises(CheckFailedError, match="nothing was written"):
            export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=chosen)
    monkeypatch.setattr(
        supernets, "folded_weights", lambda *a: {k: v * np.float32("nan") for k, v in whole(*a).items()}
    )
    with pytest.raises(CheckFailedError, match="differ"):
        export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=source)
    assert not list(tmp_path.iterdir())


def test_an_invalid_graph_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "build_model", lambda *a, **k: b"\x08\x09")
    with pytest.raises(CheckFailedError, match="not a valid ONNX model"):
        export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights="random")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [4, None])
def test_batches(tmp_path, checkpoint, batch):
    net, source = checkpoint(SMALL)
    report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=source, batch=batch)
    x = np.random.default_rng(0).standard_normal((4, 3, 28, 28)).astype(np.float32)
    expected = supernets.forward(supernets.subnet(net, ARCHITECTURE), x)
    np.testing.assert_allclose(run(report.path, x), expected, atol=1e-4)


# -- what the file says -------------------------------------------------------------------------


def test_metadata(tmp_path, checkpoint):
    _, source = checkpoint(SMALL)
    report = export_onnx(
        ARCHITECTURE | {"predicted": {"latency_ms": 0.5}},
        tmp_path / "x.onnx",
        weights=source,
        profile_id="p1",
    )
    data = report.path.read_bytes()
    assert (report.size_bytes, report.sha256) == (len(data), supernets.weights_hash(report.path))
    plain = {k: v for k, v in ARCHITECTURE.items() if k != "space"}
    held = graphs.inspect_model(data, "x").metadata
    agreement = held.pop("agreement")
    assert agreement["largest_difference"] == float(f"{report.max_difference:.2g}") <= agreement["allowed"]
    assert held == {
        "architecture": {"space": SMALL.id, **plain},
        "space": SMALL.id,
        "predicted": {"latency_ms": 0.5, "bound_ms": None, "confidence": None},
        "profile": "p1",
        "weights": {
            "source": source.name,
            "sha256": supernets.weights_hash(source),
            "trained": True,
            "recalibrated": 0,
        },
        "labels": list(SMALL.labels),
        "preprocessing": {
            "image_size": 28,
            "mean": list(SMALL.mean),
            "std": list(SMALL.std),
            "layout": "NCHW",
            "scale": "0..1",
            "resize": "bilinear",
        },
        "opset": onnx.load_from_string(data).opset_import[0].version,
        "precision": "fp32",
        "quantization": None,
        "certificate": None,
    }
    written = onnx.load_from_string(data)
    assert (written.producer_name, written.producer_version) == ("deploy-nas", __version__)
    assert "[batch, 3, 28, 28], RGB from 0 to 1" in written.doc_string
    assert report.warning is None
    json.dumps(report.to_json(), allow_nan=False)


def test_an_int8_search_promises_nothing_of_the_fp32_file(tmp_path, checkpoint):
    _, source = checkpoint(SMALL)
    predicted = {"latency_ms": 0.2, "accuracy": 80.0, "profile": "p8", "precision": "int8"}
    for name, expected in (("int8", ({"accuracy": 80.0}, None)), ("fp32", (None, "p8"))):
        given = predicted | {"precision": name}
        report = export_onnx(ARCHITECTURE | {"predicted": given}, tmp_path / f"{name}.onnx", weights=source)
        held = graphs.inspect_model(report.path.read_bytes(), "x").metadata
        unbound = {"bound_ms": None, "confidence": None}
        assert (held["predicted"], held["profile"]) == (expected[0] or given | unbound, expected[1])


def test_a_promise_is_a_value_or_a_dict_and_its_profile_the_one_it_names(tmp_path):
    said = Predicted(latency_ms=0.2, bound_ms=0.3, confidence=0.95, profile="p1", provider="FastProvider")
    given = {"value": {"predicted": said}, "dict": {"predicted": said.to_json()}}
    given["own"] = {"arch": {**ARCHITECTURE, "predicted": said.to_json()}}
    for name, how in given.items():
        path = tmp_path / f"{name}.onnx"
        export_onnx(**{"arch": ARCHITECTURE, "path": path, "weights": "random", **how})
        held = read_model(path).metadata
        assert held.predicted == said and held.profile == "p1"


def test_the_same_input_gives_the_same_bytes(tmp_path, checkpoint):
    _, source = checkpoint(SMALL)
    given = {"random": {}, source: {"calibration_images": pictures()}}
    for number, (chosen, more) in enumerate(given.items()):
        first, again, other = (
            export_onnx(ARCHITECTURE, tmp_path / f"{number}{name}.onnx", weights=chosen, seed=seed, **more)
            for name, seed in (("a", 0), ("b", 0), ("c", 1))
        )
        assert first.path.read_bytes() == again.path.read_bytes()
        if chosen == "random":
            assert first.sha256 != other.sha256


def test_every_tensor_has_a_shape_to_read(tmp_path, checkpoint):
    report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=checkpoint(SMALL)[1])
    graph = onnx.load(report.path).graph
    known = {v.name for v in (*graph.value_info, *graph.input, *graph.output) if v.type.tensor_type.shape.dim}
    assert {name for node in graph.node for name in node.output} <= known


def test_random_weights_say_untrained_and_still_mean_something(tmp_path):
    report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights="random", seed=3)
    assert "UNTRAINED" in report.warning
    stated = graphs.inspect_model(report.path.read_bytes(), "x").metadata["weights"]
    assert stated == {
        "source": "random",
        "sha256": None,
        "trained": False,
        "recalibrated": 0,
        "seed": 3,
        "warning": "UNTRAINED",
    }
    x = np.random.default_rng(0).standard_normal((2, 3, 28, 28)).astype(np.float32)
    assert np.abs(run(report.path, x[:1]) - run(report.path, x[1:])).max() > 1e-2


def test_recalibration_on_images(tmp_path, checkpoint):
    net, source = checkpoint(SMALL)
    given = pictures()
    plain = export_onnx(ARCHITECTURE, tmp_path / "plain.onnx", weights=source)
    report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=source, calibration_images=given)
    assert report.weights.recalibrated == 24
    assert graphs.inspect_model(report.path.read_bytes(), "x").metadata["weights"]["recalibrated"] == 24
    taken = supernets.subnet(net, ARCHITECTURE)
    x = images.preprocess(given.images, 28, SMALL.mean, SMALL.std)
    supernets.recalibrate(taken, [x])
    expected = supernets.forward(taken, x[:1])
    np.testing.assert_allclose(run(report.path, x[:1]), expected, atol=1e-3)
    assert not np.allclose(run(plain.path, x[:1]), expected, atol=1e-1)


def test_batches_cover_every_image_once_and_evenly():
    given = SimpleNamespace(
        images=np.arange(401, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 24, 24), np.uint8)
    )
    order = np.random.default_rng(0).permutation(401)
    sizes = [len(b) for b in export._batches(given, order, SMALL, 24)]
    assert sum(sizes) == 401
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 200


# -- which weights ------------------------------------------------------------------------------


def test_the_embedded_space_takes_its_own_weights(tmp_path, monkeypatch, randomise):
    net = randomise(supernets.build_supernet(SMALL, seed=5), seed=5)
    path = tmp_path / "own.safetensors"
    supernets.save_weights(net, path, half=True)
    monkeypatch.setattr(weights, "weights_path", lambda space, chosen, **how: path)
    for chosen in (None, "embedded"):
        report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=chosen, force=True)
        assert report.weights.source == "embedded"
        assert report.weights.sha256 == supernets.weights_hash(path)
    supernets.load_weights(net, SMALL, path)
    x = np.random.default_rng(0).standard_normal((1, 3, 28, 28)).astype(np.float32)
    expected = supernets.forward(supernets.subnet(net, ARCHITECTURE), x)
    np.testing.assert_allclose(run(report.path, x), expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_tuned_subnets_own_checkpoint_is_exported(tmp_path, checkpoint, randomise, wrapped):
    """As ``get_active_subnet`` gives it, trained further: no supernet has its tensors."""
    net, _ = checkpoint(SMALL)
    own = randomise(supernets.subnet(net, ARCHITECTURE), seed=8).eval()
    state = own.state_dict()
    if wrapped:
        state = {"model": {f"module.{key}": value for key, value in state.items()}}
    torch.save(state, tmp_path / "tuned.pth")
    taken = "weights of this subnet alone" + ("; 'model', prefix 'module.'" if wrapped else "")
    with pytest.warns(Notice, match=re.escape(f"tuned.pth: took {taken}")):
        report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=tmp_path / "tuned.pth")
    x = np.random.default_rng(0).standard_normal((1, 3, 28, 28)).astype(np.float32)
    expected = supernets.forward(own, x)
    np.testing.assert_allclose(run(report.path, x), expected, atol=1e-4 * max(1, np.abs(expected).max()))
    assert report.weights.taken == taken
    assert read_model(report.path).metadata.weights == report.weights
    other = {**SMALL.largest(28), "space": SMALL.id}
    with pytest.raises(WeightsError, match=r"does not fit .*; nor is it a checkpoint of this subnet alone: "):
        export_onnx(other, tmp_path / "y.onnx", weights=tmp_path / "tuned.pth")
    assert not (tmp_path / "y.onnx").exists()


def test_averaged_weights_are_exported_where_they_are_named(tmp_path, checkpoint):
    net, _ = checkpoint(SMALL)
    state = net.state_dict()
    averaged = {f"module.{key}": value * 1.5 if value.ndim == 4 else value for key, value in state.items()}
    path = tmp_path / "both.pth"
    torch.save({"state_dict": state, "state_dict_ema": averaged}, path)
    torch.save({key.removeprefix("module."): value for key, value in averaged.items()}, tmp_path / "ema.pth")
    left = (
        "took 'state_dict'; 'state_dict_ema.module' left out; to use weights that were left out, name them: "
    )
    with pytest.warns(Notice, match=re.escape(f"{left}{path}:NAME")):
        usual = export_onnx(ARCHITECTURE, tmp_path / "usual.onnx", weights=path)
    with pytest.warns(Notice, match=r"both\.pth: took 'state_dict_ema', prefix 'module\.'$"):
        named = export_onnx(ARCHITECTURE, tmp_path / "named.onnx", weights=f"{path}:state_dict_ema")
    alone = export_onnx(ARCHITECTURE, tmp_path / "alone.onnx", weights=tmp_path / "ema.pth")
    x = np.random.default_rng(0).standard_normal((1, 3, 28, 28)).astype(np.float32)
    outputs = [run(report.path, x) for report in (usual, named, alone)]
    assert np.array_equal(outputs[1], outputs[2]) and not np.allclose(outputs[0], outputs[1])
    said = named.weights
    assert (said.source, said.taken) == ("both.pth:state_dict_ema", "'state_dict_ema', prefix 'module.'")
    with pytest.raises(
        WeightsError, match=r"both\.pth: holds no weights named 'ema'; it holds 'state_dict', "
    ):
        export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=f"{path}:ema")


def test_a_subnets_checkpoint_of_other_classes_says_which_space_it_is_of(tmp_path, randomise):
    own = get_space(f"{SMALL.id}@3")
    net = randomise(supernets.build_supernet(own))
    torch.save(supernets.subnet(net, ARCHITECTURE).state_dict(), tmp_path / "tuned.pth")
    with pytest.raises(WeightsError, match=rf"it has 3 classes: name the space {own.id} \(`space`\)"):
        export_onnx(ARCHITECTURE, tmp_path / "x.onnx", weights=tmp_path / "tuned.pth")
    architecture = {key: value for key, value in ARCHITECTURE.items() if key != "space"}
    report = export_onnx(architecture, tmp_path / "x.onnx", weights=tmp_path / "tuned.pth", space=own)
    assert report.space == own.id


def test_pretrained_weights_are_downloaded(tmp_path, checkpoint, monkeypatch):
    _, source = checkpoint(SMALL)
    asked, seen = [], object()

    def fetch(url, **how):
        asked.append((url, how["progress"]))
        return source

    monkeypatch.setattr(downloads, "fetch", fetch)
    published = Download(url="https://x.example/w", filename="w", sha256="0" * 64)
    space = replace(SMALL, published_weights=published)
    report = export_onnx(ARCHITECTURE, tmp_path / "x.onnx", space=space, weights="pretrained", progress=seen)
    assert asked == [("https://x.example/w", seen)]
    assert (report.weights.source, report.weights.trained) == ("pretrained", True)


def test_other_spaces_must_be_told(tmp_path):
    architecture = {**get_space("ofa-mbv3-w1.0").smallest(), "space": "ofa-mbv3-w1.0"}
    for chosen in (None, "embedded", tmp_path / "absent.pth"):
        with pytest.raises(WeightsError, match=r"PATH .*pretrained .*random .*UNTRAINED"):
            export_onnx(architecture, tmp_path / "x.onnx", weights=chosen)
    assert not list(tmp_path.iterdir())


# -- refused, before anything slow --------------------------------------------------------------


def bad(**changes):
    return {"arch": ARCHITECTURE, "weights": "random", **changes}


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (bad(arch=[]), ArchitectureError, "a dict"),
        (bad(arch=SMALL.smallest()), ArchitectureError, "does not name its space"),
        (bad(arch={**ARCHITECTURE, "space": "nope"}), UnknownSpaceError, "nope"),
        (bad(space="ofa-mbv3-w1.0"), ArchitectureError, "is of space"),
        (bad(arch={**ARCHITECTURE, "ks": [3]}), ArchitectureError, "ks"),
        (bad(labels=["a", "b"]), OptionError, "2 names for 10 classes"),
        (bad(labels="airplanes!"), OptionError, "list of names"),
        (bad(predicted={"latency_ms": float("nan")}), OptionError, "predicted"),
        (bad(predicted=[1]), OptionError, "predicted: must be a dict of figures"),
        (bad(predicted={"mine": object()}), OptionError, "predicted: cannot be written as JSON"),
        (bad(predicted={"latency_ms": "0.5"}), RecordError, "predicted: 'latency_ms' must be a finite"),
        (bad(arch={**ARCHITECTURE, "predicted": 3}), OptionError, "predicted: must be a dict"),
        (
            bad(
                arch={
                    **sealed({**ARCHITECTURE, "predicted": {"budget_ms": 1.0}}),
                    "predicted": {"budget_ms": 9},
                }
            ),
            MismatchError,
            "the architecture: was edited or damaged",
        ),
        (bad(batch=0), OptionError, "batch"),
        (bad(batch=True), OptionError, "batch"),
        (bad(calibration_images=pictures(0)), ImagesError, "at least one"),
        (
            bad(calibration_images=SimpleNamespace(images=np.zeros((2, 1, 8, 8), np.uint8))),
            ImagesError,
            "colour",
        ),
    ],
)
def test_bad_input_is_named_before_the_work(tmp_path, monkeypatch, given, error, match):
    monkeypatch.setattr(supernets, "build_supernet", lambda *a, **k: pytest.fail("work was begun"))
    with pytest.raises(error, match=match):
        export_onnx(path=tmp_path / "x.onnx", **given)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(supernets, "build_supernet", lambda *a, **k: pytest.fail("work was begun"))
    there = tmp_path / "there.onnx"
    there.write_text("kept")
    for path in (there, tmp_path, tmp_path / "no" / "x.onnx"):
        with pytest.raises(OutputError):
            export_onnx(ARCHITECTURE, path, weights="random")
    assert there.read_text() == "kept"


def test_force_replaces(tmp_path):
    path = Path(tmp_path / "x.onnx")
    path.write_text("old")
    steps = []
    report = export_onnx(ARCHITECTURE, path, weights="random", force=True, log=steps.append)
    assert path.stat().st_size == report.size_bytes
    assert steps
