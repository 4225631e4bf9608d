"""Bundle a fresh export: verify its files here, certify them, and pack all that a device needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.images import ReadingReport
from deploy_nas.core.measured import Top1
from deploy_nas.deploy.bundle import make_bundle
from deploy_nas.deploy.model_file import ModelFile, certify, read_model
from deploy_nas.deploy.verify import Verification, certificate_of
from deploy_nas.records.bundle import Manifest
from deploy_nas.records.profile import Profile
from deploy_nas.workflows.export import Exported, ExportRequest
from deploy_nas.workflows.verify import images_for, top1_of, verify_here


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundled:
    """A bundle, the exported files as they are now, with their certificates, and how images were read."""

    manifest: Manifest
    exported: Exported
    readings: tuple[ReadingReport, ...] = ()


def bundle(
    request: ExportRequest,
    exported: Exported,
    output: Path,
    log: Callable[[str], None] | None = None,
) -> Bundled:
    """Verify the files of a fresh export, certify and bundle them.

    Each is measured on the execution provider of its prediction.

    Args:
        request: of the export.
        exported: what it wrote.
        output: a folder, or a zip where the name ends so.
        log: called with a line at each step.

    Raises:
        ProviderError: that provider is missing.
        UnstableDeviceError: what was measured cannot be relied on, and ``request`` does not allow that.
        MismatchError: a file that was changed in the meantime.
        OutputError: the bundle cannot be written.
    """
    quantized = exported.quantized
    known: list[tuple[Path, Top1 | None]] = [(exported.report.path, None)]
    if quantized is not None:  # on images held out of the calibration
        known = [(exported.report.path, quantized.float_top1), (quantized.path, quantized.int8_top1)]
    certified = certify_files(known, request.images, allow_unstable=request.allow_unstable, log=log)
    (log or (lambda line: None))("bundling")
    manifest = make_bundle([one.model for one in certified], output, force=request.force)
    first, last = certified[0].model, certified[-1].model
    report = replace(exported.report, sha256=first.sha256, size_bytes=len(first.data))
    if quantized is not None:
        quantized = replace(quantized, model=last)
    return Bundled(
        manifest=manifest,
        exported=Exported(report=report, quantized=quantized),
        readings=tuple(one.reading for one in certified if one.reading is not None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Certified:
    """A model with its new certificate, the verification behind that, and how images were read for it."""

    model: ModelFile
    verification: Verification
    reading: ReadingReport | None = None


def certify_files(
    known: Sequence[tuple[Path, Top1 | None]],
    images: Path | None = None,
    profile: Profile | None = None,
    *,
    allow_unstable: bool = False,
    log: Callable[[str], None] | None = None,
) -> list[Certified]:
    """Verify exported files here and write their certificates into them; raises as :func:`bundle`.

    Args:
        known: files, each with its top-1 if that was measured.
        images: labelled images to measure the top-1 of the others on.
        profile: of this device, whose sentinel tells its speed now; used for files of its precision.
        allow_unstable: certify what was measured on an unstable machine too.
        log: called with a line at each step.
    """
    certified = []
    for path, top1 in known:
        if log is not None:
            log(f"verifying {path.name}")
        model = read_model(path)
        same = profile is not None and profile.fingerprint.precision == model.metadata.precision
        found = verify_here(model, profile if same else None)
        if not allow_unstable:  # before top-1, which takes longer
            found.measured.check(str(path))
        reading = None
        if top1 is None and images is not None:
            measured = top1_of(model, images_for(model, images))
            top1, reading = measured.top1, measured.report
        made = certify(path, model, certificate_of(model, found, top1, allow_unstable=allow_unstable))
        certified.append(Certified(model=made, verification=found, reading=reading))
    return certified
