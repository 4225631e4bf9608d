"""ONNX Runtime as a :class:`Runtime`: sessions that do exactly what was asked, or fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Protocol

from deploy_nas.core.arrays import Array
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.fingerprint import BROWSER_PROVIDERS, CPU_PROVIDER, ONNXRUNTIME, UNKNOWN, Fingerprint
from deploy_nas.core.floats import float_mode_kept
from deploy_nas.core.notices import notice
from deploy_nas.device import machine, releases
from deploy_nas.device.runtime import Feed, Initializers, Kept, TensorInfo

_log = logging.getLogger(__name__)

_COMES_IN = {
    "openvino": "the wheel onnxruntime-openvino, in place of onnxruntime (OpenVINO without ONNX Runtime is "
    "`runtime` openvino)",
    "xnnpack": "builds of onnxruntime for phones, or one of your own with --use_xnnpack",
    "cuda": "the wheel onnxruntime-gpu, in place of onnxruntime",
}
_NO_FALLBACK, _ASSIGNMENT = "session.disable_cpu_ep_fallback", "session.record_ep_graph_assignment_info"
_DTYPES = {"float": "float32", "double": "float64"}


class _Node(Protocol):
    """An input or output as onnxruntime describes it; a dynamic axis is a name or ``None``."""

    name: str
    shape: Sequence[int | str | None]
    type: str


class _Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used; the package has no type hints."""

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, Array]) -> Sequence[Array]: ...

    def get_inputs(self) -> Sequence[_Node]: ...

    def get_outputs(self) -> Sequence[_Node]: ...

    def get_providers(self) -> Sequence[str]: ...


class _Options(Protocol):
    """The part of ``onnxruntime.SessionOptions`` that is passed on."""

    def add_session_config_entry(self, key: str, value: str) -> None: ...


class OnnxModel:
    """A session as a :class:`Runnable`."""

    def __init__(self, session: _Session) -> None:
        self._session: _Session | None = session
        self.inputs = tuple(map(_described, session.get_inputs()))
        self.outputs = tuple(map(_described, session.get_outputs()))

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> Sequence[Array]:
        """Run once; returns arrays in the order of ``outputs``, or of the model.

        Raises :class:`RecordError` for a model that can be loaded and fails all the same.
        """
        session = self._open()
        try:
            return session.run(outputs, dict(feed))
        except Exception as error:  # onnxruntime raises a type of its own for each fault
            raise RecordError(f"onnxruntime cannot run it ({_first_line(error)})", subject="model") from error

    def bind(self, feed: Feed) -> Callable[[], object]:
        """The session's own method, so that none of our code is timed with it; raises as :meth:`run`."""
        self.run(feed)
        return partial(self._open().run, None, dict(feed))

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _open(self) -> _Session:
        if self._session is None:
            raise ValueError("the model is closed")
        return self._session


class OnnxRuntime:
    """The ``onnxruntime`` package, imported on first use."""

    name = ONNXRUNTIME

    def providers(self) -> Sequence[str]:
        """Full names of the execution providers of this build.

        Raises:
            ProviderError: onnxruntime is missing or too old.
        """
        return [str(name) for name in _module().get_available_providers()]

    def resolve(self, provider: str) -> str:
        """The full name for ``cpu`` or ``CPUExecutionProvider``; :class:`ProviderError` if not available."""
        available = self.providers()
        asked = provider.lower().removeprefix(f"{ONNXRUNTIME}:")
        for candidate in available:
            if asked in (candidate.lower(), candidate.lower().removesuffix("executionprovider")):
                return candidate
        if provider in BROWSER_PROVIDERS:
            raise ProviderError(
                f"{provider!r} is an execution provider of browsers",
                subject="provider",
                hint="use the `target` browser",
            )
        hint = f"available are {', '.join(available)}"
        if comes_in := _COMES_IN.get(asked.removesuffix("executionprovider")):
            hint += f"; it comes in {comes_in}"
        raise ProviderError(
            f"no execution provider {provider!r} in this onnxruntime", subject="provider", hint=hint
        )

    def open(
        self,
        model: bytes,
        *,
        provider: str = CPU_PROVIDER,
        provider_options: Mapping[str, str] | None = None,
        threads: int = 1,
        initializers: Initializers | None = None,
        worker_cores: Sequence[int] = (),
        fused: bool = True,
        kept: Kept | None = None,
    ) -> OnnxModel:
        """A sequential session on one provider, CPU fallback off; arguments and errors as in the port.

        Without ``fused``, INT8 is computed in floats as the graph is written, on any processor.
        """
        ort = _module()
        if threads < 1:
            raise OptionError(f"must be at least 1, is {threads}", subject="threads")
        name = self.resolve(provider)
        _log.debug("a session on %s, %d thread(s), of a model of %d bytes", name, threads, len(model))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        if not fused:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        # After a run, this session's threads would spin for tens of milliseconds and slow the next session.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
        if worker_cores and len(worker_cores) == threads - 1:
            affinities = ";".join(str(core + 1) for core in worker_cores)
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        if name != CPU_PROVIDER:
            options.add_session_config_entry(_NO_FALLBACK, "1")
        if initializers:
            values = [ort.OrtValue.ortvalue_from_numpy(v) for v in initializers.values()]
            options.add_external_initializers(list(initializers), values)
        try:
            # Denormal numbers stay, as in a deployed network whose session has default options. The first
            # session of a process sets that mode for the calling thread, which is the caller's to choose.
            with float_mode_kept():
                session: _Session = ort.InferenceSession(
                    model, options, providers=[(name, dict(provider_options or {}))]
                )
        except Exception as error:  # onnxruntime raises a type of its own for each fault
            line = _first_line(error)
            if name == CPU_PROVIDER:
                raise RecordError(f"onnxruntime cannot load it ({line})", subject="model") from error
            if "fallback to CPU EP" in line:
                options.add_session_config_entry(_NO_FALLBACK, "0")
                left = _left_to_the_cpu(model, options, (name, dict(provider_options or {})))
                raise ProviderError(f"would leave {left} to the CPU", subject=name) from error
            raise ProviderError(f"cannot run this model ({line})", subject=name) from error
        ran = list(session.get_providers())
        if not ran or ran[0] != name:
            raise ProviderError(f"was requested, but onnxruntime uses {ran}", subject=name)
        return OnnxModel(session)

    def fingerprint(
        self,
        *,
        threads: int,
        provider: str,
        provider_options: Mapping[str, str],
        precision: str,
        pinned: bool,
    ) -> Fingerprint:
        """This machine with this onnxruntime; raises :class:`ProviderError` if it is missing."""
        ort = _module()
        if (advice := releases.advice(str(ort.__version__))) is not None:
            notice(advice, subject="onnxruntime")
        return machine.described(
            runtime=self.name,
            runtime_version=str(ort.__version__),
            build=str(ort.get_build_info()) if hasattr(ort, "get_build_info") else UNKNOWN,
            threads=threads,
            provider=provider,
            provider_options=provider_options,
            precision=precision,
            pinned=pinned,
        )


ONNX_RUNTIME = OnnxRuntime()
open_session = ONNX_RUNTIME.open
"""Open a model with :data:`ONNX_RUNTIME`; arguments and errors as in the port."""


def _module() -> ModuleType:
    """The onnxruntime module; raises :class:`ProviderError` if it is missing or too old."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"onnxruntime cannot be imported ({error})", hint="install it: python3 -m pip install onnxruntime"
        ) from error
    module: ModuleType = onnxruntime
    if releases.numbers(module.__version__) < releases.LEAST_VERSION:
        least = ".".join(map(str, releases.LEAST_VERSION))
        raise ProviderError(
            f"is {module.__version__}, at least {least} is needed",
            subject="onnxruntime",
            hint="upgrade it on this device",
        )
    return module


class _Part(Protocol):
    """Nodes that one provider runs; from ONNX Runtime 1.24 on."""

    ep_name: str

    def get_nodes(self) -> Sequence[object]: ...


def _left_to_the_cpu(model: bytes, options: _Options, provider: tuple[str, Mapping[str, str]]) -> str:
    """How many of a model's nodes a provider does not take, in words."""
    try:
        options.add_session_config_entry(_ASSIGNMENT, "1")
        session = _module().InferenceSession(model, options, providers=[provider])
        parts: Sequence[_Part] = session.get_provider_graph_assignment_info()
    except Exception:  # an onnxruntime that does not tell, or what has failed before
        return "some of this model's nodes"
    counts = [(part.ep_name == CPU_PROVIDER, len(part.get_nodes())) for part in parts]
    return f"{sum(n for cpu, n in counts if cpu)} of this model's {sum(n for _, n in counts)} nodes"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _described(node: _Node) -> TensorInfo:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(length if isinstance(length, int) else None for length in node.shape)
    return TensorInfo(name=node.name, shape=shape, dtype=_DTYPES.get(kind, kind))
