"""Kits: a plan and the device program in one file that python3 runs."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.seals import sealed
from deploy_nas.core.settings import Settings
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device.check import CHECK_FILE, CheckedFile, CheckPlan, KitSentinel
from deploy_nas.device.kit import PLAN_FILE
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.runner import SENTINEL, Plan, Unit

_CORE_FILES = (
    "__init__",
    "arrays",
    "conditions",
    "disk",
    "errors",
    "fields",
    "fingerprint",
    "floats",
    "locks",
    "measured",
    "notices",
    "plan_arguments",
    "precision",
    "reader",
    "reading",
    "seals",
    "settings",
    "tensors",
    "wire",
)
_PROGRAM_FILES = (
    "__init__",
    "cgroups",
    "check",
    "clocks",
    "core_speed",
    "cores",
    "initializers",
    "journal",
    "kit",
    "machine",
    "measure",
    "memory",
    "openvino",
    "program",
    "releases",
    "run",
    "runner",
    "runtime",
    "runtimes",
    "session",
    "timing",
)
_DEVICE_FILES = (*(f"core/{m}.py" for m in _CORE_FILES), *(f"device/{m}.py" for m in _PROGRAM_FILES))
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)

_MAIN = '''"""A deploy-nas kit: run it with python3 on the device to be measured."""
import sys

if sys.version_info < (3, 10):
    print("error: python 3.10 or later is needed, this is " + sys.version.split()[0], file=sys.stderr)
    sys.exit(2)
try:
    import numpy
except ImportError as error:
    print("error: numpy cannot be imported (" + str(error) + "); "
          "install it on this device: python3 -m pip install numpy", file=sys.stderr)
    sys.exit(2)
from deploy_nas.device.{program} import main

sys.exit(main())
'''


class KitSource(Plan, Protocol):
    """The plan that a kit is made from (``profiling.plan.ProfilePlan``)."""

    @property
    def arguments(self) -> PlanArguments:
        """The arguments that make the same plan again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BareGraph:
    """A graph whose weights have no values, and the tensors that it names."""

    graph: bytes
    tensors: Mapping[str, TensorSpec]


@dataclass(frozen=True, kw_only=True, slots=True)
class SentinelGraph(BareGraph):
    """A profile's sentinel, and its quiet latency in ms."""

    quiet_ms: float


def make_kit(plan: KitSource, settings: Settings) -> bytes:
    """A profile's kit as a zip that python3 runs; the same input gives the same bytes."""
    units = [plan.sentinel, *(u for block in plan.blocks for u in block)]
    files = {u.id: f"models/{number}.onnx" for number, u in enumerate(units)}
    graphs = {files[unit.id]: plan.model(unit.id) for unit in units}
    value = {
        "id": plan.id,
        "arguments": plan.arguments.to_json(),
        "settings": settings.to_json(),
        "sentinel": plan.sentinel.to_json(),
        "blocks": [[u.to_json() for u in block] for block in plan.blocks],
        "files": files,
        "sha256": {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()},
    }
    entries = {PLAN_FILE: json.dumps(sealed(value)).encode()}
    return _packed("kit", entries | graphs)


def make_check_kit(
    models: Mapping[str, bytes | BareGraph],
    settings: MeasureSettings,
    *,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    sentinel: SentinelGraph | None = None,
    core_us: float | None = None,
) -> bytes:
    """A kit that checks these models on a device: hash, logits for one image, latency.

    Args:
        models: serialised models by name; graphs without weights are timed only.
        settings: how they are measured.
        provider, provider_options: execution provider to run them on, and its options.
        sentinel: of the profile whose predictions they are compared with.
        core_us: reading of the undisturbed core in that profile.
    """
    entries: dict[str, bytes] = {}
    files: dict[str, CheckedFile] = {}
    for number, (name, model) in enumerate(models.items()):
        file = f"models/{number}.onnx"
        if isinstance(model, BareGraph):
            entries[file], unit = model.graph, Unit(id=name, kind="check", tensors=model.tensors)
        else:
            entries[file], unit = model, None
        sha256 = hashlib.sha256(entries[file]).hexdigest()
        files[name] = CheckedFile(file=file, sha256=sha256, unit=unit)
    packed = None
    if sentinel is not None:
        file = "models/sentinel.onnx"
        entries[file] = sentinel.graph
        unit = Unit(id=SENTINEL, kind=SENTINEL, tensors=sentinel.tensors)
        packed = KitSentinel(file=file, unit=unit, quiet_ms=sentinel.quiet_ms)
    plan = CheckPlan(
        models=files,
        settings=settings,
        provider=provider,
        provider_options=provider_options or {},
        sentinel=packed,
        core_us=core_us,
    )
    return _packed("check", {CHECK_FILE: json.dumps(sealed(plan.to_json())).encode()} | entries)


def _packed(program: str, entries: Mapping[str, bytes]) -> bytes:
    """The device program and its input files, as a zip that python3 runs."""
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    package = resources.files("deploy_nas")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            ("__main__.py", _MAIN.replace("{program}", program).encode()),
            ("deploy_nas/__init__.py", b'"""The device part of deploy-nas."""\n'),
            *((f"deploy_nas/{name}", package.joinpath(name).read_bytes()) for name in _DEVICE_FILES),
            *entries.items(),
        ):
            info = zipfile.ZipInfo(name, _FIXED_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()
