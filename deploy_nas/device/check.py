"""The program of a checking kit: runs the kit's models on this device.

For each model it checks the hash, computes the logits for one reproducible image, and measures the latency
as ``verify`` does. A graph whose weights have no values is only timed, with random ones. It needs only
python3, numpy and the runtime that the provider belongs to.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy_nas.core.arrays import Float32Array
from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields, JsonObject, parse_json
from deploy_nas.core.fingerprint import CPU_PROVIDER, Fingerprint, processor_waits
from deploy_nas.core.measured import Measured
from deploy_nas.core.seals import check_seal, sealed
from deploy_nas.device import machine
from deploy_nas.device.clocks import timestamp
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.kit import read_entry, read_file, read_packed, read_unit
from deploy_nas.device.measure import WAITING, MeasureSettings, Progress, Sentinel, measure_models
from deploy_nas.device.program import Reporter, program_options, run_program
from deploy_nas.device.runner import Unit
from deploy_nas.device.runtime import Runnable, Runtime, first_output
from deploy_nas.device.runtimes import runtime_of

CHECK_FILE = "check.json"
_IMAGE_SEED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedFile:
    """A model in a checking kit: its entry in the archive, its hash, and its tensors if they lack values."""

    file: str
    sha256: str
    unit: Unit | None = None

    def to_json(self) -> JsonObject:
        """The object in the kit."""
        unit = {} if self.unit is None else {"unit": self.unit.to_json()}
        return {"file": self.file, "sha256": self.sha256, **unit}

    @classmethod
    def from_json(cls, fields: Fields) -> CheckedFile:
        """From the kit's object; raises :class:`RecordError` naming the key."""
        return cls(
            file=fields.text("file"),
            sha256=fields.text("sha256"),
            unit=read_unit(fields.fields("unit")) if fields.holds("unit") else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KitSentinel:
    """A profile's sentinel in a checking kit: its entry, tensors without values, and quiet latency in ms."""

    file: str
    unit: Unit
    quiet_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckPlan:
    """A checking kit's description.

    Args:
        models: by name.
        settings: how they are measured.
        provider, provider_options: execution provider to run them on, and its options.
        sentinel: of the profile whose predictions they are compared with, if there is one.
        core_us: reading of the undisturbed core in that profile (``device.core_speed``).
    """

    models: Mapping[str, CheckedFile]
    settings: MeasureSettings
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    sentinel: KitSentinel | None = None
    core_us: float | None = None

    def to_json(self) -> JsonObject:
        """The object in the kit."""
        value: dict[str, object] = {
            "settings": self.settings.to_json(),
            "provider": self.provider,
            "provider_options": dict(self.provider_options),
            "models": {name: model.to_json() for name, model in self.models.items()},
        }
        if self.core_us is not None:
            value["core_us"] = self.core_us
        if self.sentinel is not None:
            unit = self.sentinel.unit
            value["sentinel"] = {
                "file": self.sentinel.file,
                "quiet_ms": self.sentinel.quiet_ms,
                "unit": unit.to_json(),
            }
        return value

    @classmethod
    def from_json(cls, fields: Fields) -> CheckPlan:
        """From the kit's object; raises :class:`RecordError` naming the key."""
        models = fields.fields("models")
        sentinel = None
        if fields.holds("sentinel"):
            held = fields.fields("sentinel")
            sentinel = KitSentinel(
                file=held.text("file"),
                unit=read_unit(held.fields("unit")),
                quiet_ms=held.number("quiet_ms", positive=True),
            )
        return cls(
            models={name: CheckedFile.from_json(models.fields(name)) for name in models.value},
            settings=MeasureSettings.from_json(fields.fields("settings")),
            provider=fields.text("provider"),
            provider_options=fields.text_map("provider_options"),
            sentinel=sentinel,
            core_us=fields.optional_number("core_us", positive=True),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedModel:
    """A model's result on the device: hash of the file, times, logits for :func:`check_image`.

    A graph without weights has no logits.
    """

    sha256: str
    measured: Measured
    logits: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """A checking kit's result: the device, each model by name, and when it ran by the device's own clock.

    The device's fingerprint has no precision: each model has its own.
    """

    device: Fingerprint
    models: Mapping[str, CheckedModel]
    created: str | None = None

    def to_json(self) -> JsonObject:
        """The object in files."""
        return {
            **({} if self.created is None else {"created": self.created}),
            "device": self.device.to_json(),
            "models": {
                name: {
                    "sha256": m.sha256,
                    **m.measured.to_json(),
                    **({"logits": list(m.logits)} if m.logits else {}),
                }
                for name, m in self.models.items()
            },
        }

    @classmethod
    def from_json(cls, fields: Fields) -> CheckResult:
        """From a file's object; raises :class:`RecordError` naming the key."""
        models = fields.fields("models")
        return cls(
            device=Fingerprint.from_json(fields.fields("device")),
            models={name: _checked(models.fields(name)) for name in models.value},
            created=fields.optional_text("created"),
        )

    @classmethod
    def parse(cls, data: bytes, subject: str) -> CheckResult:
        """From a result file's bytes; ``subject`` names it in errors.

        Raises:
            RecordError: it is not the result of a check, or a key is missing or wrong.
            MismatchError: it was edited or damaged.
        """
        try:
            value = parse_json(data)
        except ValueError as error:
            raise RecordError("is not the result of a check", subject=subject) from error
        fields = Fields(value, subject)
        check_seal(fields, required=True, hint="run the kit again")
        return cls.from_json(fields)

    def model(self, name: str, subject: str) -> CheckedModel:
        """The result of one model; raises :class:`RecordError` if it is missing."""
        if name not in self.models:
            raise RecordError(f"has no model {name!r}", subject=subject)
        return self.models[name]


def _checked(fields: Fields) -> CheckedModel:
    return CheckedModel(
        sha256=fields.text("sha256"),
        measured=Measured.from_json(fields),
        logits=tuple(fields.numbers("logits")) if fields.holds("logits") else (),
    )


def check_image(shape: Sequence[int | None]) -> Float32Array:
    """The image that models are compared on, for an input of this shape; dynamic axes become 1."""
    fixed = [1 if length is None else length for length in shape]
    return np.random.default_rng(_IMAGE_SEED).standard_normal(fixed, dtype=np.float32)


def logits_of(model: Runnable) -> Float32Array:
    """A model's logits for :func:`check_image`, float32 ``[1, classes]``."""
    return first_output(model, check_image(model.inputs[0].shape))


def check_models(
    archive: zipfile.ZipFile,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
    pinned_to: Callable[[int], AbstractContextManager[machine.Pinning]] | None = None,
) -> CheckResult:
    """Run every model of a checking kit.

    Raises:
        MismatchError: a model is not the file that was packed.
        RecordError: a model cannot be loaded, or gives no numbers.
        OptionError: more threads than the device has cores.
        ProviderError: the provider is not available.
    """
    plan = CheckPlan.from_json(read_entry(archive, CHECK_FILE))
    threads = plan.settings.threads
    runtime = runtime or runtime_of(plan.provider)
    provider = runtime.resolve(plan.provider)
    found: dict[str, CheckedModel] = {}
    with (pinned_to or machine.pinned_to)(threads) as pinning:

        def open_model(data: bytes, unit: Unit | None = None) -> Runnable:
            rng = np.random.default_rng(plan.settings.seed)
            return runtime.open(
                data,
                provider=provider,
                provider_options=plan.provider_options,
                threads=threads,
                worker_cores=pinning.worker_cores,
                initializers=None if unit is None else random_initializers(unit.tensors, rng),
            )

        sentinel = None
        if plan.sentinel is not None:
            graph = read_file(archive, plan.sentinel.file)
            sentinel = Sentinel(model=open_model(graph, plan.sentinel.unit), quiet_ms=plan.sentinel.quiet_ms)
        # Graphs that are only timed take turns, so that a slow second hits a little of each.
        bare = [name for name, packed in plan.models.items() if packed.unit is not None]
        groups = [*([bare] if bare else []), *([name] for name in plan.models if name not in bare)]

        def shown(done: int, total: int, what: str) -> None:
            if progress is not None:
                each = total // len(names)
                progress(
                    len(found) * each + done, len(plan.models) * each, what if what == WAITING else "check"
                )

        for names in groups:
            packed = [plan.models[name] for name in names]
            models = [
                open_model(read_packed(archive, one.file, one.sha256, name), one.unit)
                for name, one in zip(names, packed, strict=True)
            ]
            measured = measure_models(
                models,
                plan.settings,
                sentinel,
                pinning=pinning,
                waits=processor_waits(provider),
                core_us=plan.core_us,
                progress=shown,
            )
            for name, one, model, times in zip(names, packed, models, measured, strict=True):
                logits = () if one.unit is not None else _finite_logits(model, name)
                found[name] = CheckedModel(sha256=one.sha256, measured=times, logits=logits)
                model.close()
        device = runtime.fingerprint(
            threads=threads,
            provider=provider,
            provider_options=plan.provider_options,
            precision="",
            pinned=pinning.pinned,
        )
    return CheckResult(device=device, models=found, created=timestamp())


def _finite_logits(model: Runnable, name: str) -> tuple[float, ...]:
    logits = logits_of(model)
    if not np.isfinite(logits).all():
        raise RecordError("gives NaN or an infinity on this device", subject=name)
    return tuple(map(float, logits.ravel()))


def main(arguments: Sequence[str] | None = None, archive: str | None = None) -> int:
    """Run the kit; returns the exit code (0 done, 2 bad input, 130 stopped)."""
    asked = program_options("Runs deploy-nas models on this device.").parse_args(arguments)
    output: Path = asked.output

    def work(reporter: Reporter) -> None:
        with zipfile.ZipFile(archive or sys.argv[0]) as opened:
            result = check_models(opened, reporter.progress)
        write_whole(output, json.dumps(sealed(result.to_json())).encode(), replace=True)

    return run_program(work, asked.progress, lambda: "")
