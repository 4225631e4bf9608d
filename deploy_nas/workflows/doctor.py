"""Examine this machine: its versions and providers, and anything that would disturb its timings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass

from deploy_nas.core.errors import ProviderError
from deploy_nas.core.fingerprint import ONNXRUNTIME, OPENVINO, UNKNOWN
from deploy_nas.device import cores, machine
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.runtime import Runtime
from deploy_nas.device.session import ONNX_RUNTIME

OK = "ok"

_IN_PLACE_OF = {
    ONNXRUNTIME: [
        f"onnxruntime-{build}"
        for build in ("openvino", "gpu", "directml", "qnn", "rocm", "migraphx", "training", "silicon")
    ]
}
"""Packages with the same module as another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the result; ``advice`` is "ok", "unknown", or what to do."""

    what: str
    value: str
    advice: str


def _version(package: str, advice: str) -> Finding:
    try:
        return Finding(what=package, value=importlib.metadata.version(package), advice=OK)
    except importlib.metadata.PackageNotFoundError:
        return Finding(what=package, value="missing", advice=advice)


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _runtime(runtime: Runtime) -> list[Finding]:
    """A runtime's version, and the providers that it has here, as its module states them.

    Several packages have the module onnxruntime, and pip would call it missing by its usual name.
    """
    of = "providers" if runtime.name == ONNXRUNTIME else f"{runtime.name} devices"
    try:
        providers = ", ".join(runtime.providers())
        version = runtime.fingerprint(
            threads=1, provider="", provider_options={}, precision="", pinned=False
        ).runtime_version
    except ProviderError as error:
        return [
            Finding(what=runtime.name, value="missing", advice=str(error)),
            Finding(what=of, value="none", advice=str(error)),
        ]
    packages = [name for name in (runtime.name, *_IN_PLACE_OF.get(runtime.name, ())) if _is_installed(name)]
    advice = OK
    if len(packages) > 1:
        advice = f"{' and '.join(packages)} overwrite each other: uninstall them, then install one"
    if packages not in ([], [runtime.name]):
        version += f" ({', '.join(packages)})"
    return [
        Finding(what=runtime.name, value=version, advice=advice),
        Finding(what=of, value=providers, advice=OK),
    ]


def _openvino() -> list[Finding]:
    """The same of OpenVINO, which is an extra."""
    if importlib.util.find_spec(OPENVINO) is None:
        return [Finding(what=OPENVINO, value="not installed: an extra, deploy-nas[openvino]", advice=OK)]
    return _runtime(OPEN_VINO)


def _cores() -> Finding:
    """The cores that this process may use, and how much of them a quota leaves."""
    count, quota = len(machine.cores()), cores.quota_cores()
    if quota is not None and quota < count:
        advice = f"a CPU quota leaves {quota:g}: runs of more threads than that are stopped again and again"
        return Finding(what="cores", value=f"{count}, of which {quota:g} by quota", advice=advice)
    advice = OK if count > 1 else "with one core, every other process disturbs the timings"
    return Finding(what="cores", value=str(count), advice=advice)


def _telemetry() -> Finding:
    """Whether ONNX Runtime may send what it runs to its makers."""
    off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    advice = OK if off else "onnxruntime 1.32 and later send what they run: set ORT_DISABLE_TELEMETRY=1"
    return Finding(what="telemetry", value="off" if off else "on", advice=advice)


def examine() -> list[Finding]:
    """Versions, providers, cores, telemetry, load, governor and steal."""
    findings = [
        Finding(what="python", value=platform.python_version(), advice=OK),
        _version("deploy-nas", "install it with tools/quickstart"),
        *_runtime(ONNX_RUNTIME),
        *_openvino(),
        *(_version(p, "reinstall deploy-nas") for p in ("onnx", "numpy", "torch", "ofa")),
    ]
    features = machine.cpu_features()
    findings.append(Finding(what="cpu", value=machine.cpu_model(), advice=OK))
    findings.append(
        Finding(
            what="vector units",
            value=", ".join(features) or UNKNOWN,
            advice=OK if features else "unknown",
        )
    )
    findings += [_cores(), _telemetry()]
    load = machine.load_average()
    if load is None:
        findings.append(Finding(what="load", value=UNKNOWN, advice="unknown"))
    else:
        busy = load > 0.3
        findings.append(
            Finding(
                what="load", value=f"{load:.2f}", advice="stop other work before profiling" if busy else OK
            )
        )
    governor = machine.governor()
    if governor == UNKNOWN:
        advice = "unknown"
    else:
        advice = OK if governor == "performance" else "set it to performance while profiling"
    findings.append(Finding(what="governor", value=governor, advice=advice))
    steal = machine.steal_fraction()
    if steal is None:
        findings.append(Finding(what="steal", value=UNKNOWN, advice="unknown"))
    else:
        advice = OK if steal < 0.01 else "the host runs other machines on these cores: expect noise"
        findings.append(Finding(what="steal", value=f"{100 * steal:.2f}%", advice=advice))
    return findings
