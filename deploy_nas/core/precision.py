"""Precisions of a network, and the number formats of INT8 that a processor multiplies well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deploy_nas.core.errors import OptionError

FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """Number formats that a processor multiplies well.

    Args:
        activations: "uint8" or "int8".
        weight_bits: 8, or 7 where products of two are summed in 16 bits, which 8 would overflow.
        why: the instructions it was chosen for.
    """

    activations: Literal["uint8", "int8"] = "uint8"
    weight_bits: int = 8
    why: str = ""


THIS_PROCESSOR = "auto"
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
_SCHEMES = {
    "vnni": Scheme(why="x86 with VNNI"),
    "x86": Scheme(weight_bits=7, why="x86 without VNNI"),
    "arm": Scheme(activations="int8", why="arm64"),
}
PROCESSORS = (THIS_PROCESSOR, *_SCHEMES)


def processor_of(features: Sequence[str], machine: str) -> str:
    """Which of :data:`PROCESSORS` one with these instruction sets is; arguments as for :func:`scheme_for`."""
    if any(f in features for f in _VNNI):
        return "vnni"
    return "arm" if machine.lower() in ("aarch64", "arm64") else "x86"


def sums_exactly(weight_bits: int, features: Sequence[str], machine: str) -> bool:
    """Whether a processor adds up products of such weights without overflow; else as :func:`scheme_for`."""
    return weight_bits < 8 or processor_of(features, machine) != "x86"


def scheme_for(processor: str, features: Sequence[str], machine: str) -> Scheme:
    """The scheme for a kind of processor.

    Args:
        processor: one of :data:`PROCESSORS`; "auto" means the one that the others describe.
        features: its instruction sets (``device.machine.cpu_features``).
        machine: as ``platform.machine()`` has it.
    """
    if processor != THIS_PROCESSOR:
        if processor not in _SCHEMES:
            raise OptionError(f"must be one of {', '.join(PROCESSORS)}, is {processor!r}", subject="int8_for")
        return _SCHEMES[processor]
    kind = processor_of(features, machine)
    otherwise = _SCHEMES[kind].why if kind == "arm" else f"{machine} without VNNI"
    why = next((f for f in (*_VNNI, "i8mm", "asimddp") if f in features), otherwise)
    return replace(_SCHEMES[kind], why=why)
