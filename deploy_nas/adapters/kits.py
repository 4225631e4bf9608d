"""Kits: a plan and the device program in one file that python3 runs."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any, Protocol

from deploy_nas.core.settings import Settings
from deploy_nas.device.check import CHECK_FILE
from deploy_nas.device.kit import PLAN_FILE
from deploy_nas.device.runner import Plan, Unit

_DEVICE_FILES = (
    "core/__init__.py",
    "core/errors.py",
    "core/fields.py",
    "core/fingerprint.py",
    "core/locks.py",
    "core/precision.py",
    "core/settings.py",
    *(
        f"device/{m}.py"
        for m in ("__init__", "check", "journal", "kit", "machine", "run", "runner", "session", "timing")
    ),
)
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)

_MAIN = '''"""A deploy-nas kit: run it with python3 on the device to be measured."""
import sys

if sys.version_info < (3, 10):
    sys.exit("error: python 3.10 or later is needed, this is " + sys.version.split()[0])
for package in ("numpy", "onnxruntime"):
    try:
        __import__(package)
    except ImportError as error:
        sys.exit("error: " + package + " cannot be imported (" + str(error) + "); "
                 "install it on this device: python3 -m pip install " + package)
from deploy_nas.device.{program} import main

sys.exit(main())
'''


class KitSource(Plan, Protocol):
    """What a kit is made of (``profiling.plan.ProfilePlan``)."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """From which the same plan can be made again."""


def make_kit(plan: KitSource, settings: Settings) -> bytes:
    """The kit as a zip that python3 runs; the same input gives the same bytes."""
    units = [plan.sentinel, *(u for block in plan.blocks for u in block)]
    files = {u.id: f"models/{number}.onnx" for number, u in enumerate(units)}
    value = {
        "id": plan.id,
        "arguments": plan.arguments,
        "settings": asdict(settings),
        "sentinel": _described(plan.sentinel),
        "blocks": [[_described(u) for u in block] for block in plan.blocks],
        "files": files,
    }
    entries = {PLAN_FILE: json.dumps(value).encode()}
    return _packed("kit", entries | {files[unit.id]: plan.model(unit.id) for unit in units})


def make_check_kit(models: Mapping[str, bytes], *, threads: int, rounds: int = 12) -> bytes:
    """A kit that runs these models on a device: hash, logits of one image, latency.

    Args:
        models: serialised models by name.
        threads: intra-op threads.
        rounds: bursts a model.
    """
    files = {name: f"models/{number}.onnx" for number, name in enumerate(models)}
    described = {
        name: {"file": files[name], "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in models.items()
    }
    value = {"threads": threads, "rounds": rounds, "models": described}
    entries = {CHECK_FILE: json.dumps(value).encode()}
    return _packed("check", entries | {files[name]: data for name, data in models.items()})


def _packed(program: str, entries: Mapping[str, bytes]) -> bytes:
    """The device program and what it works on, as a zip that python3 runs."""
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


def _described(unit: Unit) -> dict[str, Any]:
    return {"id": unit.id, "kind": unit.kind, "tensors": {k: list(v) for k, v in unit.tensors.items()}}
