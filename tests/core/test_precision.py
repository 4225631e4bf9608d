import pytest

from deploy_nas.core import precision
from deploy_nas.core.errors import OptionError


@pytest.mark.parametrize(
    ("features", "machine", "activations", "bits", "why"),
    [
        (["avx2", "avx512f", "avx512_vnni"], "x86_64", "uint8", 8, "avx512_vnni"),
        (["avx2", "avx_vnni"], "x86_64", "uint8", 8, "avx_vnni"),
        (["avx2", "avx512f"], "x86_64", "uint8", 7, "x86_64 without VNNI"),
        (["asimd", "asimddp"], "aarch64", "int8", 8, "asimddp"),
        ([], "arm64", "int8", 8, "arm64"),
    ],
)
def test_number_formats_follow_the_processor(features, machine, activations, bits, why):
    scheme = precision.scheme_for("auto", features, machine)
    assert (scheme.activations, scheme.weight_bits, scheme.why) == (activations, bits, why)


@pytest.mark.parametrize(
    ("bits", "features", "machine", "exact"),
    [
        (7, ["avx2"], "x86_64", True),
        (8, ["avx2", "avx512f"], "x86_64", False),
        (8, ["avx512_vnni"], "x86_64", True),
        (8, [], "aarch64", True),
    ],
)
def test_only_x86_without_vnni_overflows(bits, features, machine, exact):
    assert precision.sums_exactly(bits, features, machine) is exact


def test_another_processors_formats_can_be_asked_for():
    kinds = [
        (s.activations, s.weight_bits)
        for s in (precision.scheme_for(p, [], "x86_64") for p in precision.PROCESSORS)
    ]
    assert kinds == [("uint8", 7), ("uint8", 8), ("uint8", 7), ("int8", 8)]
    with pytest.raises(OptionError, match=r"^int8_for: "):
        precision.scheme_for("riscv", [], "x86_64")
