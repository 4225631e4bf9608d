"""The runtime port: opens serialised models and runs them.

``device.session`` and ``device.openvino`` implement it, and ``device.runtimes`` chooses. Another runtime is
another class with these members. The contract is ``deploy_nas.testing.runtime``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy_nas.core.arrays import Array, Float32Array
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fingerprint import Fingerprint

Feed = Mapping[str, Array]
Initializers = Mapping[str, Array]
Kept = MutableMapping[bytes, bytes]
"""Compiled models by a digest of what they were compiled from; whoever holds it says how long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """An input or an output of a model.

    Args:
        name: in the model.
        shape: lengths of its axes; ``None`` for a dynamic axis.
        dtype: as numpy names it, "float32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def single(self) -> tuple[int, ...]:
        """The shape with 1 for every dynamic axis."""
        return tuple(1 if length is None else length for length in self.shape)


class Runnable(Protocol):
    """A model that is open on a runtime."""

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """Its inputs, in the model's order."""

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """Its outputs, in the model's order."""

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> Sequence[Array]:
        """Run once.

        Args:
            feed: an array for each input, by name.
            outputs: names of the outputs to return, in this order; ``None``: all.
        """

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A function without arguments that runs once on this feed; its calls are timed."""

    def close(self) -> None:
        """Free the model, which cannot be run afterwards. Closing twice is allowed."""


class Runtime(Protocol):
    """Opens models on this machine.

    :meth:`open` raises :class:`ProviderError` for arguments that a runtime cannot honour.
    """

    @property
    def name(self) -> str:
        """The runtime's name in a fingerprint, "onnxruntime"."""

    def providers(self) -> Sequence[str]:
        """Full names of the execution providers that are available here."""

    def resolve(self, provider: str) -> str:
        """The full name of a provider given by its short or its full name.

        Raises:
            ProviderError: it is not available; the error names those that are.
        """

    def open(
        self,
        model: bytes,
        *,
        provider: str,
        provider_options: Mapping[str, str] | None = None,
        threads: int = 1,
        initializers: Initializers | None = None,
        worker_cores: Sequence[int] = (),
        fused: bool = True,
        kept: Kept | None = None,
    ) -> Runnable:
        """Open a serialised model.

        Args:
            model: the model.
            provider: short or full name.
            provider_options: its options.
            threads: intra-op threads.
            initializers: values of tensors that the model names without values.
            worker_cores: cores for the threads other than the calling one, ``threads - 1`` of them; empty:
                any cores.
            fused: optimise the graph.
            kept: where a runtime that compiles models may keep this one until it is opened again.

        Raises:
            ProviderError: the provider is missing, rejects its options, or does not support every node.
            RecordError: the model cannot be loaded.
            OptionError: threads below 1.
        """

    def fingerprint(
        self,
        *,
        threads: int,
        provider: str,
        provider_options: Mapping[str, str],
        precision: str,
        pinned: bool,
    ) -> Fingerprint:
        """The fingerprint of this machine with this runtime and these settings."""


def first_output(model: Runnable, images: Float32Array) -> Float32Array:
    """A network's first output (its logits, float32 ``[n, classes]``) for images ``[n, 3, s, s]``.

    Raises:
        RecordError: the output is not float32.
    """
    found = model.run({model.inputs[0].name: images}, [model.outputs[0].name])[0]
    if found.dtype != np.float32:
        raise RecordError(f"is {found.dtype}, not float32", subject=f"output {model.outputs[0].name}")
    logits: Float32Array = found.astype(np.float32, copy=False)
    return logits
