"""ONNX files read without the onnx package: as the package reads them, or refused with a RecordError."""

import contextlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.onnx_file import check_onnx_seal, read_onnx, sealed_onnx


@pytest.fixture(scope="module")
def shipped():
    """The shipped accuracy predictor."""
    return embedded_space().default_predictor.path.read_bytes()


def model(*initializers, **metadata):
    """A serialised model with these tensors."""
    made = helper.make_model(helper.make_graph([], "g", [], [], initializer=list(initializers)))
    helper.set_model_props(made, metadata)
    return made.SerializeToString()


def test_the_shipped_predictor_is_read_as_by_the_package(shipped):
    found, whole = read_onnx(shipped, "p"), onnx.load_from_string(shipped)
    assert found.metadata == {entry.key: entry.value for entry in whole.metadata_props}
    expected = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer}
    expected = {name: a for name, a in expected.items() if a.dtype in (np.float32, np.float64)}
    assert found.tensors and set(found.tensors) == set(expected)
    for name, array in expected.items():
        assert found.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(found.tensors[name], array)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1, 2, 1, 2)])
def test_tensors_and_texts(kind, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=kind).reshape(shape)
    found = read_onnx(model(numpy_helper.from_array(array, "w"), a="x", b=""), "m")
    assert found.metadata == {"a": "x", "b": ""}
    assert found.tensors["w"].dtype == kind and found.tensors["w"].shape == shape
    np.testing.assert_array_equal(found.tensors["w"], array)


def test_floats_as_numbers_instead_of_bytes():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(read_onnx(model(tensor), "m").tensors["w"], [[1, 2], [3, 4]])


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.float16, np.bool_])
def test_other_types_are_refused(kind):
    with pytest.raises(RecordError, match="m: is not an ONNX file"):
        read_onnx(model(numpy_helper.from_array(np.zeros(2, kind), "w")), "m")


def test_values_in_another_file_are_refused():
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.data_location = TensorProto.EXTERNAL
    with pytest.raises(RecordError):
        read_onnx(model(tensor), "m")
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    with pytest.raises(RecordError):
        read_onnx(model(tensor), "m")


@pytest.mark.parametrize("dims", [[3], [1, 1], [2, 2], [-1], [2**40, 2**40], [1] * 9 + [2], []])
def test_a_shape_that_its_values_do_not_fill_is_refused(dims):
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("dims")
    tensor.dims.extend(dims)
    with pytest.raises(RecordError):
        read_onnx(model(tensor), "m")


@pytest.mark.parametrize(
    "data", [b"hello", b"\x00", b"\x80" * 11, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x38\x01"]
)
def test_what_is_not_onnx_is_refused(data):
    with pytest.raises(RecordError, match="m: is not an ONNX file, or is cut short"):
        read_onnx(data, "m")


def test_truncated_bytes_are_read_or_refused(shipped):
    whole = read_onnx(shipped, "p")
    refused = 0
    for end in [*range(200), *range(200, len(shipped), max(1, len(shipped) // 300))]:
        try:
            found = read_onnx(shipped[:end], "p")
        except RecordError:
            refused += 1
        else:  # cut between two fields of the model
            assert not found.tensors or set(found.tensors) == set(whole.tensors)
    assert refused > 300


def test_mutated_bytes_are_read_or_refused(shipped, rng):
    small = model(numpy_helper.from_array(np.ones((2, 3), np.float32), "w"), key="value")
    for data, count in ((small, 3000), (shipped, 200)):
        for _ in range(count):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), 1 + int(rng.integers(3))):
                changed[at] = int(rng.integers(256))
            try:
                read_onnx(bytes(changed), "p")
            except RecordError:
                continue


# -- the seal -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    """A sealed model."""
    weights = numpy_helper.from_array(np.arange(6, dtype=np.float32), "w")
    return sealed_onnx(model(weights, labels='["a", "b"]', budget="1.5"))


def check(data):
    return check_onnx_seal(data, "m", "export it again")


def test_a_sealed_file_is_the_model_with_one_entry_more(whole):
    read = onnx.load_from_string(whole)
    assert read.metadata_props.pop().key == "digest"
    assert sealed_onnx(read.SerializeToString(deterministic=True)) == whole
    assert onnx.load_from_string(whole).SerializeToString(deterministic=True) == whole
    assert sealed_onnx(whole) == whole and check(whole)
    assert not check(read.SerializeToString())


def test_every_flipped_bit_is_found_or_takes_the_digest_away(whole):
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            with contextlib.suppress(RecordError):
                assert not check(bytes(damaged)), (place, bit)


def test_edits_are_found(whole):
    read = onnx.load_from_string(whole)
    read.graph.initializer[0].raw_data = (-np.arange(6, dtype=np.float32)).tobytes()
    more = onnx.load_from_string(whole)
    more.metadata_props.add(key="labels", value='["b", "a"]')
    twice = onnx.load_from_string(whole)
    twice.metadata_props.add().CopyFrom(twice.metadata_props[-1])
    edited = [m.SerializeToString() for m in (read, more, twice)]
    for data in (*edited, whole.replace(b"1.5", b"9.5"), whole + whole):
        with pytest.raises(MismatchError, match=r"m: was edited or damaged: .*; export it again"):
            check(data)
    for data in (b"text", whole[:-5]):
        with pytest.raises(RecordError, match="m: is not an ONNX file, or is cut short"):
            check(data)
