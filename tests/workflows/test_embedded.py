"""What ships in the package: the embedded supernet's weights and its accuracy predictor, on real images."""

from importlib import resources

import numpy as np
import onnxruntime
import pytest

from deploy_nas import export_onnx, get_space, load_accuracy_predictor
from deploy_nas.adapters.images import load_images, preprocess
from deploy_nas.records.onnx_file import check_onnx_seal
from deploy_nas.records.tensor_file import check_tensors_seal

pytestmark = pytest.mark.slow

SPACE = get_space("ofa-mbv3-cifar10")
DATA = resources.files("deploy_nas") / "data"


def test_size_of_what_ships():
    files = [f for f in DATA.iterdir() if f.name.startswith(SPACE.id)]
    assert {f.name.removeprefix(SPACE.id) for f in files} == {
        ".safetensors",
        ".accuracy.onnx",
        ".training.json",
    }
    assert sum(len(f.read_bytes()) for f in files) < 10 * 2**20


def test_what_ships_has_digests():
    """So that a damaged copy of it is refused, as that of any file of ours."""
    data = {kind: (DATA / f"{SPACE.id}.{kind}").read_bytes() for kind in ("safetensors", "accuracy.onnx")}
    assert check_tensors_seal(data["safetensors"], "weights")
    assert check_onnx_seal(data["accuracy.onnx"], "predictor", "")


def test_predictor_runs_in_onnxruntime_and_numpy_alike(rng):
    predictor = load_accuracy_predictor(SPACE, "embedded")
    encoded = SPACE.sample_encoded(rng, 50)
    data = (DATA / f"{SPACE.id}.accuracy.onnx").read_bytes()
    session = onnxruntime.InferenceSession(data)
    features = predictor.layout.features(encoded).astype(np.float32)
    out = session.run(None, {session.get_inputs()[0].name: features})[0]
    assert np.allclose(
        out.reshape(len(encoded), -1).mean(axis=1), predictor.predict_encoded(encoded), atol=1e-3
    )


@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_exported_subnet_scores_as_predicted(which, data_dir, tmp_path):
    """Without calibration data, through onnxruntime and numpy alone, on real test images."""
    architecture = getattr(SPACE, which)()
    path = tmp_path / "m.onnx"
    export_onnx(architecture, path, space=SPACE, batch=None)
    images = load_images(data_dir / "cifar10/test.zip", limit_per_class=100)
    x = preprocess(images.images, architecture["image_size"], SPACE.mean, SPACE.std)
    guesses = onnxruntime.InferenceSession(path).run(None, {"image": x})[0].argmax(axis=1)
    top1 = 100 * float((guesses == images.labels).mean())
    predicted = load_accuracy_predictor(SPACE, "embedded").predict_acc([architecture])[0].item()
    assert top1 == pytest.approx(predicted, abs=5)  # 1,000 images: two standard deviations are 2.5 points
    assert top1 > 70
