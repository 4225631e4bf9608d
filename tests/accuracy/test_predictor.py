"""Predictors: OFA's published one against torch, our files against ONNX Runtime, and what is refused."""

import contextlib
import io
import itertools
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from deploy_nas.accuracy.encoding import feature_layout
from deploy_nas.accuracy.making import Making
from deploy_nas.accuracy.predictor import (
    AccuracyPredictor,
    load_accuracy_predictor,
    save_accuracy_predictor,
)
from deploy_nas.accuracy.published import MOBILENET_V3, RESNET50
from deploy_nas.adapters import downloads
from deploy_nas.adapters.mlp import MLP, read_mlp, write_mlp
from deploy_nas.core.errors import (
    ArchitectureError,
    DeployNASError,
    MismatchError,
    OutputError,
    RecordError,
    VersionError,
    WeightsError,
)
from deploy_nas.core.notices import Notice
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space
from deploy_nas.records.onnx_file import sealed_onnx


def random_mlp(features: int, hidden: int = 16, members: int = 1) -> MLP:
    rng = np.random.default_rng(0)
    widths = (features, hidden, hidden, hidden, 1)
    return MLP(
        members=tuple(
            tuple(
                (
                    rng.normal(0, 0.3, (i, o)).astype(np.float32),
                    rng.normal(80 if o == 1 else 0, 1, o).astype(np.float32),
                )
                for i, o in itertools.pairwise(widths)
            )
            for _ in range(members)
        )
    )


def make(space: Space, members: int = 1) -> AccuracyPredictor:
    layout = feature_layout(space)
    mlp = random_mlp(len(layout.columns), members=members)
    return AccuracyPredictor(space=space, layout=layout, mlp=mlp, note="a note", about=Making(samples=7))


def torch_module() -> "torch.nn.Sequential":  # noqa: F821
    from torch import nn

    widths = (128, 400, 400, 400, 1)
    modules = [m for i in range(4) for m in (nn.Linear(widths[i], widths[i + 1]), nn.ReLU())]
    return nn.Sequential(*modules[:-1])


# -- the interface ---------------------------------------------------------------------------------


def test_items_have_item_and_both_forms_agree(space: Space) -> None:
    predictor = make(space)
    encoded = space.sample_encoded(np.random.default_rng(0), 50)
    found = predictor.predict_acc(space.decode(encoded))
    assert found.shape == (50,) and found.dtype == np.float64
    assert isinstance(found[0].item(), float)
    np.testing.assert_array_equal(found, predictor.predict_encoded(encoded))
    # BLAS may add in another order for another batch: equal up to float32.
    one = [predictor.predict_acc([a])[0].item() for a in space.decode(encoded)]
    np.testing.assert_allclose(one, found, rtol=1e-6)
    assert len(predictor.predict_acc([])) == 0
    with pytest.raises(ArchitectureError):
        predictor.predict_acc([{"ks": []}])


def test_arch_encoder_is_seeded_and_of_the_space(space: Space) -> None:
    predictor = make(space)
    architecture = predictor.arch_encoder.random_sample_arch()
    space.validate(architecture)
    assert predictor.arch_encoder is predictor.arch_encoder
    assert make(space).arch_encoder.random_sample_arch() == architecture


def test_large_populations_are_chunked(space: Space) -> None:
    predictor = make(space)
    encoded = space.sample_encoded(np.random.default_rng(0), 10_000)
    whole = predictor.predict_encoded(encoded)
    np.testing.assert_allclose(whole[9_900:], predictor.predict_encoded(encoded[9_900:]), rtol=1e-6)


# -- our files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 3])
def test_round_trip_and_onnx_runtime_agree(space: Space, tmp_path: Path, members: int) -> None:
    predictor, path = make(space, members), tmp_path / "p.onnx"
    save_accuracy_predictor(predictor, path)
    read = load_accuracy_predictor(space, path)
    encoded = space.sample_encoded(np.random.default_rng(0), 300)
    np.testing.assert_array_equal(read.predict_encoded(encoded), predictor.predict_encoded(encoded))
    assert (read.unit, read.note, read.about) == ("percent", "a note", Making(samples=7))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    value, spread = session.run(None, {"features": predictor.layout.features(encoded)})
    np.testing.assert_allclose(value[:, 0], predictor.predict_encoded(encoded), rtol=1e-5)
    np.testing.assert_allclose(spread[:, 0], predictor.spread_encoded(encoded), atol=1e-3)
    assert (predictor.spread_encoded(encoded).max() > 0) == (members > 1)
    save_accuracy_predictor(predictor, path)  # it is there already
    with pytest.raises(OutputError, match="exists already"):
        save_accuracy_predictor(make(space, members + 1), path)


def test_same_predictor_same_bytes_and_a_valid_model(space: Space) -> None:
    import onnx

    data = write_mlp(random_mlp(5), {"a": 1})
    assert data == write_mlp(random_mlp(5), {"a": 1})
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


def test_a_file_is_used_without_torch(space: Space, tmp_path: Path) -> None:
    save_accuracy_predictor(make(space), tmp_path / "p.onnx")
    script = (
        "import sys; from deploy_nas.accuracy.predictor import load_accuracy_predictor as load\n"
        f"p = load('{space.id}', {str(tmp_path / 'p.onnx')!r}); p.predict_acc([p.space.largest()])\n"
        "sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0


def test_predictor_of_another_space(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    save_accuracy_predictor(make(space), path)
    with pytest.raises(MismatchError, match="of space ofa-mbv3-cifar10, not ofa-mbv3-w"):
        load_accuracy_predictor(get_space("ofa-mbv3-w1.0"), path)


def metadata(space: Space, **changes: object) -> dict:
    columns = list(feature_layout(space).columns)
    return {
        "format": "deploy-nas accuracy predictor",
        "version": 1,
        "space": space.id,
        "unit": "percent",
        "layout": "one-hot",
        "columns": columns,
        "note": "",
        "about": {},
    } | changes


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"version": 99}, VersionError, "format version 99"),
        ({"format": "x"}, RecordError, "not a file of the format 'deploy-nas accuracy predictor'"),
        ({"unit": "points"}, RecordError, "'unit' must be percent or fraction"),
        ({"layout": "x"}, MismatchError, "unknown feature layout 'x'"),
        ({"columns": ["a"]}, MismatchError, "other choices than"),
        ({"note": 3}, RecordError, "'note' must be a string"),
    ],
)
def test_metadata_that_does_not_fit(
    space: Space, tmp_path: Path, changes: dict, error: type[DeployNASError], message: str
) -> None:
    path = tmp_path / "p.onnx"
    path.write_bytes(write_mlp(make(space).mlp, metadata(space, **changes)))
    with pytest.raises(error, match=message):
        load_accuracy_predictor(space, path)


def test_network_of_another_width(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    path.write_bytes(write_mlp(random_mlp(5), metadata(space)))
    with pytest.raises(RecordError, match="takes 5 features"):
        load_accuracy_predictor(space, path)


def test_damaged_and_foreign_onnx_files(space: Space, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    path = tmp_path / "p.onnx"
    whole = write_mlp(make(space).mlp, metadata(space))
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [info], [info])
    )
    broken = onnx.load_from_string(whole)
    broken.graph.initializer.pop()
    flat = onnx.load_from_string(whole)
    flat.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.float32(1.0), flat.graph.initializer[0].name)
    )
    assert flat.graph.initializer[0].name.endswith("layer0.weight")
    path.write_bytes(sealed_onnx(flat.SerializeToString()))
    with pytest.raises(RecordError, match="not a perceptron"):
        load_accuracy_predictor(space, path)
    for data in (b"", b"text", whole[:-1000], other.SerializeToString(), broken.SerializeToString()):
        path.write_bytes(data)
        with pytest.raises(RecordError, match=r"p\.onnx"):
            load_accuracy_predictor(space, path)
    for part in (0, 1):
        nan = random_mlp(5)
        nan.members[0][0][part].flat[0] = np.nan
        with pytest.raises(RecordError, match="finite"):
            read_mlp(write_mlp(nan, {}), "p.onnx")
    with pytest.raises(RecordError, match="cannot be read"):
        load_accuracy_predictor(space, tmp_path / "none.onnx")


def test_every_flipped_byte_of_a_predictor_is_refused(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    save_accuracy_predictor(make(space), path)
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 997), *range(len(whole) - 90, len(whole))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        with warnings.catch_warnings(record=True) as told, contextlib.suppress(RecordError):
            warnings.simplefilter("always")
            load_accuracy_predictor(space, path)
            assert told, f"byte {place}"  # the digest itself was lost: named as a file without one


def test_a_predictor_without_a_digest_is_named(space: Space, tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "p.onnx"
    save_accuracy_predictor(make(space), path)
    model = onnx.load(path)
    assert model.metadata_props.pop().key == "digest"
    path.write_bytes(model.SerializeToString())
    with pytest.warns(Notice, match=r"p\.onnx: was not written by this deploy-nas"):
        load_accuracy_predictor(space, path)


def test_embedded_is_for_the_embedded_space_alone() -> None:
    with pytest.raises(MismatchError, match=r"no accuracy predictor is shipped for ofa-mbv3-w1\.0"):
        load_accuracy_predictor("ofa-mbv3-w1.0", "embedded")


def test_embedded_predictor(space: Space) -> None:
    shipped = Path(__file__).resolve().parents[2] / "deploy_nas/data/ofa-mbv3-cifar10.accuracy.onnx"
    if not shipped.exists():
        pytest.skip("no predictor is shipped yet")
    predictor = load_accuracy_predictor(space, "embedded")
    small, large = predictor.predict_acc([space.smallest(), space.largest()])
    assert predictor.unit == "percent" and 0 < small < large < 100


# -- OFA's published predictor ---------------------------------------------------------------------


@pytest.mark.parametrize("id", ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"])
def test_published_predictor_agrees_with_torch(shared: Callable[[str], Path], id: str) -> None:
    import torch

    path, space = shared("ofa/acc_predictor.pth"), get_space(id)
    predictor = load_accuracy_predictor(space, path)
    module = torch_module()
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    architectures = space.decode(space.sample_encoded(np.random.default_rng(0), 1000))
    rows = []
    for a in architectures:
        row = np.zeros(128)
        for b in range(20):
            if b % 4 < a["d"][b // 4]:
                row[3 * b + (3, 5, 7).index(a["ks"][b])] = 1
                row[60 + 3 * b + (3, 4, 6).index(a["e"][b])] = 1
        row[120 + (a["image_size"] - 112) // 16] = 1
        rows.append(row)
    with torch.no_grad():
        expected = module(torch.tensor(np.array(rows), dtype=torch.float32))[:, 0].double().numpy()
    found = predictor.predict_acc(architectures)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert predictor.unit == "fraction" and 0.5 < found.min() < found.max() < 0.9
    assert "held out of ImageNet's training set" in predictor.note
    assert ("made for ofa-mbv3-w1.2" in predictor.note) == (id != "ofa-mbv3-w1.2")
    encoded = space.encode(architectures)
    np.testing.assert_allclose(predictor.percent_encoded(encoded), 100 * found)


@pytest.mark.slow
def test_published_resnet_predictor_agrees_with_ofas_own(shared: Callable[[str], Path]) -> None:
    from ofa.nas.accuracy_predictor import AccuracyPredictor, ResNetArchEncoder

    path, space = shared("ofa/ofa_resnet50_acc_predictor.pth"), get_space("ofa-resnet50")
    predictor = load_accuracy_predictor(space, path)
    encoder = ResNetArchEncoder(image_size_list=list(space.image_sizes))
    module = AccuracyPredictor(encoder, 400, 3, checkpoint_path=str(path), device="cpu").eval()
    architectures = space.decode(space.sample_encoded(np.random.default_rng(0), 1000))
    import torch

    with torch.no_grad():
        expected = module.predict_acc(architectures).double().numpy()
    found = predictor.predict_acc(architectures)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert predictor.unit == "fraction" and 0.5 < found.min() < found.max() < 0.9
    # OFA's encoder gives absent blocks 0, and its own draws are read too.
    theirs = [encoder.feature2arch(encoder.arch2feature(a)) for a in architectures[:20]]
    np.testing.assert_array_equal(predictor.predict_acc(theirs), found[:20])


def test_predictor_of_another_net_names_its_first_key(shared: Callable[[str], Path]) -> None:
    with pytest.raises(
        WeightsError, match=r"0\.weight must be finite numbers of shape \(400, 128\), is missing"
    ):
        load_accuracy_predictor("ofa-mbv3-w1.2", shared("ofa/ofa_resnet50_acc_predictor.pth"))
    with pytest.raises(WeightsError, match=r"layers\.0\.0\.weight .*another net than OFA's ResNet50"):
        load_accuracy_predictor("ofa-resnet50", shared("ofa/acc_predictor.pth"))


def test_pytorch_files_that_do_not_fit(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "p.pth"
    good = torch_module().state_dict()
    torch.save({"state_dict": good}, path)
    assert load_accuracy_predictor("ofa-mbv3-w1.2", path).unit == "fraction"
    torch.save(dict(torch_module().named_parameters()), path)
    assert load_accuracy_predictor("ofa-mbv3-w1.2", path).unit == "fraction"
    cases = [
        (good | {"2.bias": torch.zeros(3)}, r"2\.bias .*is \(3,\)"),
        (good | {"2.bias": torch.full((400,), float("nan"))}, r"2\.bias must be finite"),
        (good | {"8.weight": torch.zeros(1)}, r"8\.weight is not a key of OFA's MobileNetV3"),
        ({"0.weight": 3}, r"0\.weight"),
        ([1, 2], "no state_dict"),
    ]
    for state, message in cases:
        torch.save(state, path)
        with pytest.raises(WeightsError, match=message):
            load_accuracy_predictor("ofa-mbv3-w1.2", path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightsError, match="truncated"):
        load_accuracy_predictor("ofa-mbv3-w1.2", path)
    torch.save(good, path)
    with pytest.raises(MismatchError, match="is not for ofa-mbv3-cifar10"):
        load_accuracy_predictor("ofa-mbv3-cifar10", path)


class Hostile:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_hostile_pickle_is_not_run(tmp_path: Path, form: str) -> None:
    import pickle

    import torch

    trap, path = tmp_path / "trap", tmp_path / "p.pth"
    if form == "torch":
        torch.save({"0.weight": Hostile(str(trap))}, path)
    else:
        path.write_bytes(pickle.dumps({"0.weight": Hostile(str(trap))}, protocol=2))
    with pytest.raises(WeightsError, match="more than weights"):
        load_accuracy_predictor("ofa-mbv3-w1.2", path)
    assert not trap.exists()


def test_pretrained_is_the_checked_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    path = tmp_path / "file"
    torch.save(torch_module().state_dict(), path)
    asked = {}

    def fetch(url: str, **options: object) -> Path:
        asked.update(options, url=url)
        return path

    monkeypatch.setattr(downloads, "fetch", fetch)
    assert load_accuracy_predictor("ofa-mbv3-w1.2", "pretrained").unit == "fraction"
    assert asked["url"].endswith("/ofa/acc_predictor.pth") and len(asked["sha256"]) == 64
    asked.clear()
    with pytest.raises(WeightsError, match="ResNet50"):
        load_accuracy_predictor("ofa-resnet50", "pretrained")
    assert asked["url"].endswith("/ofa/ofa_resnet50_acc_predictor.pth") and len(asked["sha256"]) == 64
    asked.clear()
    with pytest.raises(MismatchError):
        load_accuracy_predictor("ofa-mbv3-cifar10", "pretrained")
    assert not asked


def test_published_sha256_is_that_of_the_files(shared: Callable[[str], Path]) -> None:
    import hashlib

    for published in (MOBILENET_V3, RESNET50):
        data = shared(f"ofa/{published.filename}").read_bytes()
        assert hashlib.sha256(data).hexdigest() == published.sha256


def test_zip_of_something_else(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    (tmp_path / "p.zip").write_bytes(file.getvalue())
    with pytest.raises(WeightsError, match="not a PyTorch file"):
        load_accuracy_predictor("ofa-mbv3-w1.2", tmp_path / "p.zip")
