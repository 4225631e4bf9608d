"""Ensembles of perceptrons: evaluated with numpy, written as ONNX, and read back."""

import itertools
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from deploy_nas.adapters.mlp import MLP, read_mlp, write_mlp
from deploy_nas.core.errors import RecordError


def dense(rng, rows, columns):
    return (
        rng.standard_normal((rows, columns), dtype=np.float32),
        rng.standard_normal(columns, dtype=np.float32),
    )


def ensemble(members=2, widths=(5, 7, 3, 1)):
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(widths))
    return MLP(members=tuple(tuple(dense(rng, *pair) for pair in pairs) for _ in range(members)))


def test_a_small_net_worked_out_by_hand():
    first = (np.array([[1.0, -1.0]], np.float32), np.array([0.0, 1.0], np.float32))
    last = (np.array([[2.0], [3.0]], np.float32), np.array([0.5], np.float32))
    mlp = MLP(members=((first, last),))
    # x = 2: relu(2, -1) = (2, 0), 2 * 2 + 0.5; x = -1: relu(-1, 2) = (0, 2), 3 * 2 + 0.5
    assert mlp.features == 1
    assert mlp.run(np.array([[2.0], [-1.0]], np.float32)).tolist() == [[4.5], [6.5]]


def test_large_inputs_are_evaluated_in_chunks():
    mlp = ensemble()
    x = np.random.default_rng(1).standard_normal((5000, 5), dtype=np.float32)
    found = mlp.run(x)
    assert found.shape == (5000, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[4090:4100], mlp.run(x[4090:4100]), rtol=1e-4, atol=1e-5)


def test_the_graph_computes_mean_and_spread_of_the_members():
    mlp = ensemble(members=3)
    data = write_mlp(mlp, {})
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    x = np.random.default_rng(1).standard_normal((9, 5), dtype=np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    value, spread = session.run(["value", "spread"], {"features": x})
    members = mlp.run(x)
    np.testing.assert_allclose(value[:, 0], members.mean(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(spread[:, 0], members.std(axis=1), rtol=1e-3, atol=1e-3)


def test_a_file_can_be_read_back():
    mlp, metadata = ensemble(), {"name": "größe", "list": [1, None]}
    data = write_mlp(mlp, metadata)
    assert data == write_mlp(mlp, metadata)
    assert read_mlp(write_mlp(mlp, {"made of": "a\udcff"}), "p")[1] == {"made of": r"a\xff"}
    found, held = read_mlp(data, "p.onnx")
    assert held == metadata
    for ours, theirs in zip(found.members, mlp.members, strict=True):
        for (weight, bias), (weight_wanted, bias_wanted) in zip(ours, theirs, strict=True):
            assert np.array_equal(weight, weight_wanted) and np.array_equal(bias, bias_wanted)


def test_reading_needs_no_onnx(tmp_path):
    path = tmp_path / "p.onnx"
    path.write_bytes(write_mlp(ensemble(), {}))
    program = (
        "import pathlib, sys\n"
        "from deploy_nas.adapters.mlp import read_mlp\n"
        "mlp, _ = read_mlp(pathlib.Path(sys.argv[1]).read_bytes(), 'p')\n"
        "assert mlp.features == 5 and 'onnx' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def with_shapes(*members):
    return MLP(
        members=tuple(
            tuple((np.ones(weight, np.float32), np.ones(bias, np.float32)) for weight, bias in layers)
            for layers in members
        )
    )


@pytest.mark.parametrize(
    ("mlp", "message"),
    [
        (with_shapes([((5, 2), (2,)), ((3, 1), (1,))]), "layer 1 has shape"),
        (with_shapes([((5, 2), (3,)), ((2, 1), (1,))]), "layer 0 has shape"),
        (with_shapes([((5, 2), (2,))]), "same inputs and one output"),
        (with_shapes([((5, 1), (1,))], [((4, 1), (1,))]), "same inputs and one output"),
        (with_shapes([((5,), (1,))]), "not a perceptron"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(mlp, message):
    with pytest.raises(RecordError, match=f"p: .*{message}"):
        read_mlp(write_mlp(mlp, {}), "p")


def test_metadata_must_be_json():
    model = onnx.load_from_string(write_mlp(ensemble(), {"a": 1}))
    model.metadata_props[0].value = "{"
    with pytest.raises(RecordError, match="p: holds metadata that is not JSON"):
        read_mlp(model.SerializeToString(), "p")
