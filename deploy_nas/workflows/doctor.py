"""Examine this machine: its versions and providers, and anything that would disturb its timings."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
from dataclasses import dataclass

from deploy_nas.core import extras
from deploy_nas.core.errors import ProviderError
from deploy_nas.core.fingerprint import ONNXRUNTIME, OPENVINO, UNKNOWN
from deploy_nas.core.version import __version__
from deploy_nas.device import cores, machine, releases
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.runtime import Runtime
from deploy_nas.device.session import ONNX_RUNTIME

OK = "ok"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the result; ``advice`` is "ok", "unknown", or what to do."""

    what: str
    value: str
    advice: str


def _module(name: str) -> Finding:
    """A module that everything needs, asked itself: builds of onnxruntime are installed by several names."""
    try:
        module = importlib.import_module(name)
    except Exception as error:  # one that is broken raises what it likes
        broken = not isinstance(error, ModuleNotFoundError)
        value = f"broken ({type(error).__name__}: {error})" if broken else "missing"
        return Finding(what=name, value=value, advice=f"install it: python3 -m pip install {name}")
    return Finding(what=name, value=str(getattr(module, "__version__", UNKNOWN)), advice=OK)


def _of_extra(name: str) -> Finding:
    """A module of the extra, whose import would take seconds: it is looked for only."""
    if not extras.installed(name):
        return Finding(what=name, value="not installed", advice=extras.ADVICE)
    return Finding(what=name, value=extras.version(name) or UNKNOWN, advice=OK)


def _runtime(runtime: Runtime) -> list[Finding]:
    """A runtime's build and version, and the providers that it has here, as its module states them."""
    of = "providers" if runtime.name == ONNXRUNTIME else f"{runtime.name} devices"
    found = _module(runtime.name)
    if found.advice != OK:
        return [found, Finding(what=of, value="none", advice=found.advice)]
    if runtime.name == ONNXRUNTIME:
        found = _build(found)
    try:
        providers = Finding(what=of, value=", ".join(runtime.providers()), advice=OK)
    except ProviderError as error:
        providers = Finding(what=of, value="none", advice=str(error))
    return [found, providers]


def _build(found: Finding) -> Finding:
    """Of ONNX Runtime: which build it is, and whether it is a release that files are written for."""
    builds = [name for name in extras.RUNTIMES if extras.version(name) is not None]
    if len(builds) > 1:
        advice = f"{' and '.join(builds)} overwrite each other's files: uninstall all, install one"
    else:
        advice = releases.advice(found.value) or OK
    named = "" if builds in ([], ["onnxruntime"]) else f" ({', '.join(builds)})"
    return Finding(what=found.what, value=found.value + named, advice=advice)


def _cluster() -> Finding:
    """Ray, which is an extra and takes seconds to import: it is looked for only."""
    if not extras.installed(extras.CLUSTER):
        return Finding(what=extras.CLUSTER, value="not installed: an extra, deploy-nas[cluster]", advice=OK)
    return Finding(what=extras.CLUSTER, value=extras.version(extras.CLUSTER) or UNKNOWN, advice=OK)


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
        Finding(what="deploy-nas", value=__version__, advice=OK),
        *_runtime(ONNX_RUNTIME),
        *_openvino(),
        *(_module(name) for name in ("onnx", "numpy")),
        *(_of_extra(name) for name in ("torch", "ofa")),
        _cluster(),
    ]
    features = machine.cpu_features()
    findings.append(Finding(what="cpu", value=machine.cpu_model(), advice=OK))
    findings.append(
        Finding(
            what="vector units",
            value=", ".join(features) or UNKNOWN,
            advice=OK if features else "unknown, so INT8 has 7 bits: `int8_for` names the processor",
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
