"""OpenVINO as a :class:`Runtime`: it runs the exported ONNX file itself, in 32-bit floats.

A provider of OpenVINO is one of its devices, written ``openvino:CPU`` in files and options. What
:data:`SETTINGS` holds is set for every model, for it decides how fast the model is; ``infer.py`` of a bundle
sets the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from deploy_nas.core.arrays import Array
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.fingerprint import OPENVINO, Fingerprint, on_runtime, runtime_name
from deploy_nas.core.floats import float_mode_kept
from deploy_nas.device import machine, memory
from deploy_nas.device.initializers import with_values
from deploy_nas.device.runtime import Feed, Initializers, Kept, TensorInfo

LEAST_VERSION = (2025, 0)

SETTINGS: Mapping[str, str] = {
    "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 is the default where the processor has it, and less precise
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    "CACHE_DIR": "",  # compiled models are not kept on disk
}
_THREADS, _PINNING = "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING"
_OURS = {
    "NUM_STREAMS": "one model runs at a time",
    "CACHE_DIR": "compiled models are kept in memory alone",
    _THREADS: "`threads` says how many",
    _PINNING: "threads are pinned already",
}
_TASKS = Path("/proc/self/task")
_KEPT_SHARE = 0.25  # of the memory that is available


class _Named(Protocol):
    name: str


class _Type(Protocol):
    def to_dtype(self) -> _Named: ...


class _Axis(Protocol):
    is_static: bool

    def get_length(self) -> int: ...


class _Port(Protocol):
    """An input or output as OpenVINO describes it; the package has no type hints that can be relied on."""

    def get_any_name(self) -> str: ...

    def get_partial_shape(self) -> Sequence[_Axis]: ...

    def get_element_type(self) -> _Type: ...


class _Request(Protocol):
    def infer(
        self, inputs: Mapping[str, Array], share_inputs: bool, share_outputs: bool
    ) -> Mapping[str, Array]: ...


class _Compiled(Protocol):
    inputs: Sequence[_Port]
    outputs: Sequence[_Port]

    def create_infer_request(self) -> _Request: ...

    def get_property(self, name: str) -> str | int: ...

    def export_model(self) -> io.BytesIO: ...


class OpenVinoModel:
    """A compiled model as a :class:`Runnable`."""

    def __init__(self, compiled: _Compiled) -> None:
        self._request: _Request | None = compiled.create_infer_request()
        self.inputs = tuple(map(_described, compiled.inputs))
        self.outputs = tuple(map(_described, compiled.outputs))

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> Sequence[Array]:
        """Run once; arguments and errors as for ``OnnxModel``."""
        request = self._open()
        try:
            found = request.infer(dict(feed), share_inputs=True, share_outputs=False)
        except Exception as error:  # its faults are RuntimeError, TypeError and others
            raise RecordError(f"openvino cannot run it ({_reason(error)})", subject="model") from error
        return [found[name] for name in outputs or [info.name for info in self.outputs]]

    def bind(self, feed: Feed) -> Callable[[], object]:
        """The request's own method on arrays that it shares, as ``infer.py`` calls it."""
        self.run(feed)
        return partial(self._open().infer, dict(feed), share_inputs=True, share_outputs=True)

    def close(self) -> None:
        """Release the request, and with it the model."""
        self._request = None

    def _open(self) -> _Request:
        if self._request is None:
            raise ValueError("the model is closed")
        return self._request


class OpenVino:
    """The ``openvino`` package, imported on first use."""

    name = OPENVINO

    def __init__(self) -> None:
        self._workers: set[int] = set()

    def providers(self) -> Sequence[str]:
        """OpenVINO's devices here, ``openvino:CPU``; raises :class:`ProviderError` if it is missing."""
        return [on_runtime(OPENVINO, str(device)) for device in _core().available_devices]

    def resolve(self, provider: str) -> str:
        """The full name for ``openvino:cpu``, or ``cpu`` alone; :class:`ProviderError` if not available."""
        asked = provider if runtime_name(provider) == OPENVINO else on_runtime(OPENVINO, provider)
        available = self.providers()
        for candidate in available:
            if asked.lower() == candidate.lower():
                return candidate
        raise ProviderError(
            f"no device {provider!r} for this openvino",
            subject="provider",
            hint=f"available are {', '.join(available)}",
        )

    def open(
        self,
        model: bytes,
        *,
        provider: str = "cpu",
        provider_options: Mapping[str, str] | None = None,
        threads: int = 1,
        initializers: Initializers | None = None,
        worker_cores: Sequence[int] = (),
        fused: bool = True,
        kept: Kept | None = None,
    ) -> OpenVinoModel:
        """A model with :data:`SETTINGS` on one device; arguments and errors as in the port.

        ``fused=False`` raises :class:`OptionError`: OpenVINO optimises every graph.
        """
        if threads < 1:
            raise OptionError(f"must be at least 1, is {threads}", subject="threads")
        if not fused:
            raise OptionError("is always true for openvino", subject="fused")
        name = self.resolve(provider)
        given = dict(provider_options or {})
        if held := next((key for key in given if key in _OURS), None):
            raise OptionError(f"{held} cannot be set: {_OURS[held]}", subject="provider_option")
        device = name.partition(":")[2]
        on_cpu = device == "CPU"
        settings = {**SETTINGS, **({_THREADS: str(threads), _PINNING: "NO"} if on_cpu else {}), **given}
        whole = with_values(model, initializers or {})
        with self._workers_on(worker_cores if len(worker_cores) == threads - 1 else ()):
            with float_mode_kept():
                compiled = _compile(whole, device, settings, kept)
            if on_cpu and int(compiled.get_property(_THREADS)) != threads:
                raise ProviderError(
                    f"runs it on {compiled.get_property(_THREADS)} thread(s), {threads} were asked for",
                    subject=name,
                )
            opened = OpenVinoModel(compiled)
            if threads > 1:  # its threads begin with the first run
                zeros = {i.name: np.zeros(i.single, dtype=i.dtype) for i in opened.inputs}
                opened.run(zeros)
        return opened

    @contextlib.contextmanager
    def _workers_on(self, cores: Sequence[int]) -> Iterator[None]:
        """Within the context this thread may use these cores too; threads begun there stay on them.

        OpenVINO counts the cores that the opening thread may use, and shares its threads among all models of
        a process.
        """
        if not cores or not hasattr(os, "sched_setaffinity") or not _TASKS.is_dir():
            yield
            return
        own, before = os.sched_getaffinity(0), _tasks()
        os.sched_setaffinity(0, own | set(cores))
        try:
            yield
        finally:
            os.sched_setaffinity(0, own)
            self._workers = (self._workers | (_tasks() - before)) & _tasks()
            for worker in self._workers:
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(worker, set(cores))

    def fingerprint(
        self,
        *,
        threads: int,
        provider: str,
        provider_options: Mapping[str, str],
        precision: str,
        pinned: bool,
    ) -> Fingerprint:
        """This machine with this OpenVINO; raises :class:`ProviderError` if it is missing."""
        build = str(_module().__version__)
        return machine.described(
            runtime=self.name,
            runtime_version=build.partition("-")[0],
            build=build,
            threads=threads,
            provider=provider,
            provider_options=provider_options,
            precision=precision,
            pinned=pinned,
        )


OPEN_VINO = OpenVino()


def _compile(model: bytes, device: str, settings: Mapping[str, str], kept: Kept | None) -> _Compiled:
    """The model, compiled, or imported if it was compiled before; errors as for :meth:`OpenVino.open`.

    Importing takes a quarter of the time; what is imported computes the same numbers in the same time.
    """
    core = _core()
    key = hashlib.sha256(repr((device, sorted(settings.items()))).encode() + model).digest()
    if kept and key in kept:
        with contextlib.suppress(Exception):  # then it is compiled again
            return core.import_model(io.BytesIO(kept[key]), device, settings)
    try:
        read = core.read_model(model)
    except Exception as error:  # its faults are RuntimeError, TypeError and others
        raise RecordError(f"openvino cannot load it ({_reason(error)})", subject="model") from error
    try:
        compiled = core.compile_model(read, device, settings)
    except Exception as error:  # as above
        name = on_runtime(OPENVINO, device)
        raise ProviderError(f"cannot run this model ({_reason(error)})", subject=name) from error
    if kept is not None and _fits(len(model), kept):
        with contextlib.suppress(Exception):  # a device whose models cannot be exported
            kept[key] = compiled.export_model().getvalue()
    return compiled


def _fits(size: int, kept: Kept) -> bool:
    """False if what is kept would take more than its share of the memory; compiling again is slower."""
    held = sum(map(len, kept.values()))
    return held + size <= _KEPT_SHARE * (held + (memory.available_bytes() or 0))


class _Core(Protocol):
    available_devices: Sequence[str]

    def read_model(self, model: bytes) -> object: ...

    def compile_model(self, model: object, device: str, config: Mapping[str, str]) -> _Compiled: ...

    def import_model(self, model: io.BytesIO, device: str, config: Mapping[str, str]) -> _Compiled: ...


def _core() -> _Core:
    """The process's OpenVINO; raises :class:`ProviderError` if it is missing or too old."""
    module = _module()
    held: _Core | None = getattr(module, "_deploy_nas_core", None)
    if held is None:
        held = module.Core()
        module._deploy_nas_core = held  # type: ignore[attr-defined]
    return held


def _module() -> ModuleType:
    """The openvino module; raises :class:`ProviderError` if it is missing or too old."""
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise ProviderError(
            f"openvino cannot be imported ({error})", hint="install it: python3 -m pip install openvino"
        ) from error
    module: ModuleType = openvino
    version = tuple(int(p) for p in str(module.__version__).partition("-")[0].split(".")[:2] if p.isdigit())
    if version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise ProviderError(
            f"is {module.__version__}, at least {least} is needed",
            subject="openvino",
            hint="upgrade it on this device",
        )
    return module


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Within the context openvino_telemetry is not found.

    Importing openvino would write an id into the user's home folder and send an event to its makers. A
    program that imports openvino before deploy-nas does it as that program likes.
    """
    name = "openvino_telemetry"
    if OPENVINO in sys.modules or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _tasks() -> set[int]:
    """The threads of this process."""
    return {int(task.name) for task in _TASKS.iterdir()}


def _reason(error: Exception) -> str:
    """The last line of an error that says something; those before name places in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]


def _described(port: _Port) -> TensorInfo:
    shape = tuple(axis.get_length() if axis.is_static else None for axis in port.get_partial_shape())
    return TensorInfo(name=port.get_any_name(), shape=shape, dtype=port.get_element_type().to_dtype().name)
