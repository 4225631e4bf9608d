"""Fingerprints: the device, runtime and settings behind a time. Times compare only between equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from deploy_nas.core.fields import Fields
from deploy_nas.core.precision import FP32

UNKNOWN = "unknown"
CPU_PROVIDER = "CPUExecutionProvider"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
RUNTIMES = (ONNXRUNTIME, OPENVINO)
"""The runtimes that are included, by the name of their package."""

IDENTITY = (
    "cpu",
    "cpu_features",
    "cores",
    "machine",
    "runtime",
    "runtime_version",
    "threads",
    "provider",
    "provider_options",
    "precision",
    "core_kind",
    "browser",
)
"""Fields that must agree before latencies measured under two fingerprints are compared."""

EVERYTHING = (*IDENTITY, "os", "pinned", "governor", "build", "graphs")

PROCESSOR = frozenset({"imported", "cpu", "machine"})
"""Differences that mean another processor."""

# Execution providers that work on another device while the processor waits.
_ACCELERATORS = frozenset(
    f"{name}ExecutionProvider"
    for name in [
        "CUDA",
        "Tensorrt",
        "NvTensorRTRTX",
        "ROCM",
        "MIGraphX",
        "CoreML",
        "Dml",
        "QNN",
        "Nnapi",
        "WebGPU",
        "CANN",
        "VSINPU",
        "RKNPU",
    ]
)


# Execution providers of a browser, which tells nobody its processor time.
WASM, WEBGPU = "wasm", "webgpu"
BROWSER_PROVIDERS = frozenset({WASM, WEBGPU})


def runtime_name(provider: str) -> str:
    """The runtime that a provider belongs to: a provider's name says which runtime runs a model.

    The names of ONNX Runtime's providers stand alone; those of another begin with its own: ``openvino:CPU``.
    """
    runtime, colon, _ = provider.partition(":")
    return runtime.lower() if colon else ONNXRUNTIME


def on_runtime(runtime: str, provider: str) -> str:
    """The full name of a runtime's provider; the reverse of :func:`runtime_name`."""
    return provider if runtime == ONNXRUNTIME else f"{runtime}:{provider}"


def is_cpu(provider: str) -> bool:
    """True for the provider that every runtime has: the processor itself."""
    return provider in (CPU_PROVIDER, on_runtime(OPENVINO, "CPU"))


def is_provider(full: str, given: str) -> bool:
    """Whether a provider's full name is the one given, which may lack its ending.

    ``cpu`` means WebAssembly in a browser.
    """
    named = given.lower().removesuffix("executionprovider")
    return full.lower().removesuffix("executionprovider") in ((named, WASM) if named == "cpu" else (named,))


def processor_waits(provider: str) -> bool:
    """True if the processor's share tells nothing: the provider works elsewhere, or the share is unknown."""
    if runtime_name(provider) == OPENVINO:
        return provider.partition(":")[2].partition(".")[0] in ("GPU", "NPU")
    return provider in _ACCELERATORS or provider in BROWSER_PROVIDERS


def version_to_json(runtime: str, version: str) -> dict[str, object]:
    """A runtime and its version in files: that of ONNX Runtime has the key ``onnxruntime``."""
    if runtime == ONNXRUNTIME:
        return {ONNXRUNTIME: version}
    return {"runtime": runtime, "runtime_version": version}


def version_from_json(fields: Fields) -> tuple[str, str]:
    """A runtime and its version from a file's object; raises :class:`RecordError` naming the key."""
    if fields.holds("runtime"):
        return fields.text("runtime"), fields.text("runtime_version")
    return ONNXRUNTIME, fields.text(ONNXRUNTIME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A field in which two fingerprints differ.

    Args:
        name: name of the field, or "imported" for times from another tool.
        profiled: its value in the first.
        found: its value in the second.
        where: location of the second, "here" or "there".
        sentence: the complete wording of a difference that is not a pair of values; else empty.
        key: what the field is called in the wording; empty: its name.
    """

    name: str
    profiled: object = None
    found: object = None
    where: str = "here"
    sentence: str = ""
    key: str = ""

    def __str__(self) -> str:
        if self.sentence:
            return self.sentence
        key = self.key or self.name
        return f"{key}: profiled {_shown(self.profiled)!r}, {self.where} {_shown(self.found)!r}"

    def against(self) -> str:
        """Wording for two fingerprints of equal standing."""
        key = self.key or self.name
        return f"{key}: {_shown(self.profiled)!r} against {_shown(self.found)!r}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """The device, runtime and settings that a time was measured under.

    A field that an older file lacks is ``None``: unknown.

    Args:
        cpu: the processor's name.
        cpu_features: vector instruction sets that decide which kernels run.
        cores: number of cores of the machine.
        machine: architecture, as ``platform.machine()`` has it.
        os: operating system and release.
        runtime: the inference runtime, such as "onnxruntime".
        runtime_version: its version.
        build: the runtime's description of its build.
        provider: execution provider of the runtime.
        provider_options: its options.
        threads: intra-op threads.
        pinned: whether the threads are pinned to cores of their own.
        precision: precision of the networks timed.
        governor: frequency governor.
        graphs: digest of the form of the graphs timed (``adapters.graphs.graph_form``).
        core_kind: on processors with cores of several kinds, the kind timed on, "fast" or "slow"; ``None``:
            all cores are alike, or unknown.
        browser: name and main version of the browser timed in; ``None``: none.
    """

    cpu: str
    cores: int
    machine: str
    os: str
    runtime_version: str
    provider: str = CPU_PROVIDER
    threads: int = 1
    pinned: bool = False
    precision: str = FP32
    governor: str = UNKNOWN
    runtime: str = ONNXRUNTIME
    provider_options: Mapping[str, str] = field(default_factory=dict)
    cpu_features: tuple[str, ...] | None = None
    build: str | None = None
    graphs: str | None = None
    core_kind: str | None = None
    browser: str | None = None

    def differences(
        self, found: Fingerprint, names: Iterable[str] = IDENTITY, *, where: str = "here"
    ) -> tuple[Difference, ...]:
        """The fields among ``names`` in which ``found``, a fingerprint ``where``, differs from this one.

        Versions of different runtimes are no difference of their own: they are named with the runtimes.
        """
        other = self.runtime != found.runtime
        return tuple(
            Difference(name=n, profiled=self._named(n), found=found._named(n), where=where, key=self._key(n))
            for n in names
            if getattr(self, n) != getattr(found, n) and not (other and n == "runtime_version")
        )

    def _named(self, name: str) -> object:
        return f"{self.runtime} {self.runtime_version}" if name == "runtime" else getattr(self, name)

    def _key(self, name: str) -> str:
        return self.runtime if name == "runtime_version" else ""

    def of_precision(self, precision: str) -> Fingerprint:
        """The same device timing another precision."""
        return replace(self, precision=precision)

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        browser = "" if self.browser is None else f", {self.browser}"
        return f"{self.cpu}, {threads}, {self.provider}, {self.runtime} {self.runtime_version}{browser}"

    def to_json(self) -> dict[str, object]:
        """The object in files, where the version of ONNX Runtime has the key ``onnxruntime``."""
        value: dict[str, object] = {
            "cpu": self.cpu,
            "cpu_features": None if self.cpu_features is None else list(self.cpu_features),
            "cores": self.cores,
            "machine": self.machine,
            "os": self.os,
            "threads": self.threads,
            "pinned": self.pinned,
            "provider": self.provider,
            "provider_options": dict(self.provider_options),
            **version_to_json(self.runtime, self.runtime_version),
            "build": self.build,
            "precision": self.precision,
            "governor": self.governor,
            "graphs": self.graphs,
            "core_kind": self.core_kind,
            "browser": self.browser,
        }
        return {key: held for key, held in value.items() if held is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> Fingerprint:
        """From a file's object; raises :class:`RecordError` naming the key that is missing or wrong."""
        cpu = fields.text("cpu")
        runtime, version = version_from_json(fields)
        return cls(
            cpu=cpu,
            cpu_features=tuple(fields.texts("cpu_features")) if fields.holds("cpu_features") else None,
            cores=fields.integer("cores", 1),
            machine=fields.text("machine"),
            os=fields.text("os"),
            threads=fields.integer("threads", 1),
            pinned=fields.boolean("pinned"),
            provider=fields.text("provider"),
            provider_options=fields.text_map("provider_options"),
            runtime=runtime,
            runtime_version=version,
            build=fields.optional_text("build"),
            precision=fields.text("precision"),
            governor=fields.text("governor"),
            graphs=fields.optional_text("graphs"),
            core_kind=fields.optional_text("core_kind"),
            browser=fields.optional_text("browser"),
        )


def _shown(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
