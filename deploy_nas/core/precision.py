"""Precisions of a network, and the INT8 number formats that suit a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deploy_nas.core.errors import OptionError

FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """INT8 number formats that suit a processor.

    Args:
        activations: "uint8" or "int8".
        weight_bits: 8, or 7 where the processor adds two products in 16 bits, which 8 bits would overflow.
        why: the instructions that it was chosen for.
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
    """The kind of a processor, one of :data:`PROCESSORS`; arguments as for :func:`scheme_for`."""
    if any(f in features for f in _VNNI):
        return "vnni"
    return "arm" if machine.lower() in ("aarch64", "arm64") else "x86"


def sums_exactly(weight_bits: int, features: Sequence[str], machine: str) -> bool:
    """Whether a processor sums products of such weights without overflow; see :func:`scheme_for`."""
    return weight_bits < 8 or processor_of(features, machine) != "x86"


def scheme_for(processor: str, features: Sequence[str], machine: str) -> Scheme:
    """The number formats for a kind of processor.

    Args:
        processor: one of :data:`PROCESSORS`; "auto": the one that ``features`` and ``machine`` describe.
        features: its instruction sets (``device.machine.cpu_features``).
        machine: the value of ``platform.machine()``.

    Raises:
        OptionError: an unknown kind; the subject is ``int8_for``.
    """
    if processor != THIS_PROCESSOR:
        if processor not in _SCHEMES:
            raise OptionError(f"must be one of {', '.join(PROCESSORS)}, is {processor!r}", subject="int8_for")
        return _SCHEMES[processor]
    kind = processor_of(features, machine)
    otherwise = _SCHEMES[kind].why if kind == "arm" else f"{machine} without VNNI"
    why = next((f for f in (*_VNNI, "i8mm", "asimddp") if f in features), otherwise)
    return replace(_SCHEMES[kind], why=why)
