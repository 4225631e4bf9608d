"""ONNX Runtime sessions that do what was asked, or say that they cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.tensors import TensorSpec

CPU_PROVIDER = "CPUExecutionProvider"
LEAST_VERSION = (1, 20)

Initializers = Mapping[str, NDArray[Any]]


def runtime() -> Any:
    """The onnxruntime module; raises :class:`ProviderError` where it is missing or too old."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"onnxruntime cannot be imported ({error})", hint="install it: python3 -m pip install onnxruntime"
        ) from error
    version = tuple(int(p) for p in onnxruntime.__version__.split(".")[:2] if p.isdigit())
    if version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise ProviderError(
            f"is {onnxruntime.__version__}, at least {least} is needed",
            subject="onnxruntime",
            hint="upgrade it on this device",
        )
    return onnxruntime


def full_provider_name(name: str) -> str:
    """``cpu`` and ``CPUExecutionProvider`` alike; raises :class:`ProviderError` where it is not present."""
    available = list(runtime().get_available_providers())
    for candidate in available:
        if name.lower() in (candidate.lower(), candidate.lower().removesuffix("executionprovider")):
            return str(candidate)
    raise ProviderError(
        f"no execution provider {name!r} in this onnxruntime",
        subject="--provider",
        hint=f"there are {', '.join(available)}",
    )


def open_session(
    model: bytes | str | os.PathLike[str],
    *,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    threads: int = 1,
    initializers: Initializers | None = None,
    worker_cores: Sequence[int] = (),
    fused: bool = True,
) -> Any:
    """A sequential session on one provider, CPU fallback off.

    Args:
        model: serialised model, or a file.
        provider: execution provider, full or short name.
        provider_options: its options.
        threads: intra-op threads.
        initializers: values of tensors that the model only names (external data).
        worker_cores: cores for the threads beside the calling one, ``threads - 1`` of them; none: anywhere.
        fused: optimise the graph; without, INT8 is computed as written, in floats, whatever the processor.

    Raises:
        ProviderError: the provider is missing, refused its options, or did not take all nodes.
        RecordError: onnxruntime cannot load the model.
        OptionError: threads below 1.
    """
    ort = runtime()
    if threads < 1:
        raise OptionError(f"must be at least 1, is {threads}", subject="--threads")
    name = full_provider_name(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # After a run, threads of this session would spin on for tens of milliseconds and slow down the next one.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
    if worker_cores and len(worker_cores) == threads - 1:
        affinities = ";".join(str(core + 1) for core in worker_cores)
        options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
    if name != CPU_PROVIDER:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if initializers:
        values = [ort.OrtValue.ortvalue_from_numpy(v) for v in initializers.values()]
        options.add_external_initializers(list(initializers), values)
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        session = ort.InferenceSession(source, options, providers=[(name, dict(provider_options or {}))])
    except Exception as error:  # onnxruntime raises its own types, one a fault
        line = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        if name == CPU_PROVIDER:
            subject = "model" if isinstance(model, bytes) else str(source)
            raise RecordError(f"onnxruntime cannot load it ({line})", subject=subject) from error
        raise ProviderError(f"cannot run this model ({line})", subject=name) from error
    ran = list(session.get_providers())
    if not ran or ran[0] != name:
        raise ProviderError(f"asked for, but onnxruntime runs {ran}", subject=name)
    return session


def random_initializers(
    tensors: Mapping[str, TensorSpec], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Values for timing: He's variance for weights, zero for biases, so that nothing overflows.

    int8 tensors are weights, int32 tensors biases; a float32 tensor with one dimension is a bias.
    """
    values: dict[str, NDArray[Any]] = {}
    largest = max((int(np.prod(spec.shape)) for spec in tensors.values()), default=1)
    noise = rng.standard_normal(min(largest, 1 << 22), dtype=np.float32)
    for name, spec in tensors.items():
        if spec.type == "int8":
            values[name] = np.clip(np.resize(noise, spec.shape) * 40.0, -127, 127).astype(np.int8)
        elif spec.type == "int32" or len(spec.shape) == 1:
            values[name] = np.zeros(spec.shape, dtype=spec.type)
        else:
            scale = np.float32(np.sqrt(2.0 / np.prod(spec.shape[1:])))
            values[name] = np.resize(noise, spec.shape) * scale
    return values
