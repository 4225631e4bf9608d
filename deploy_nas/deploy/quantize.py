"""Quantise an exported file to INT8: take ranges from images, then compare accuracy and speed."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import graphs, images
from deploy_nas.core.errors import CheckFailedError, ImagesError, MismatchError, OptionError
from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.measured import Top1
from deploy_nas.core.precision import FP32, INT8, THIS_PROCESSOR, processor_of, scheme_for
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.shown import Shown
from deploy_nas.deploy.export import Images
from deploy_nas.deploy.measuring import measure_together
from deploy_nas.deploy.model_file import ModelFile, parse_model_file, write_model
from deploy_nas.deploy.top1 import LabelledImages, measure_top1, predict
from deploy_nas.device import machine
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.device.memory import available_bytes
from deploy_nas.device.session import open_session
from deploy_nas.records.files import check_output
from deploy_nas.records.model import Quantization

_BATCH = 50
_BATCH_PIXELS = 500_000  # all activations of a batch are in memory at once: about 1 GB at most
_LEAST_IMAGES, _MOST_IMAGES = 20, 500

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class QuantizeReport(Shown):
    """The INT8 file that was written, compared with the float file.

    Args:
        path: the INT8 file.
        model: the file as it was written.
        float_ms, int8_ms: latency of both, timed in turn; ``None`` if the file is for another processor.
        float_top1, int8_top1: on held-out images; ``None`` without labelled images.
        agreement_percent: share of images that both classify alike.
        compared: number of images compared.
        readings: how its images were read.
    """

    path: Path
    model: ModelFile
    float_ms: float | None
    int8_ms: float | None
    float_top1: Top1 | None
    int8_top1: Top1 | None
    agreement_percent: float
    compared: int
    readings: tuple[images.ReadingReport, ...] = ()

    def _summary(self) -> str:
        faster = "" if self.speedup is None else f", {self.speedup:.2f} times as fast as fp32"
        return f"{self.path}, INT8{faster}"

    @property
    def quantization(self) -> Quantization:
        """The quantisation of the file."""
        assert self.model.metadata.quantization is not None  # noqa: S101 - int8_of sets it
        return self.model.metadata.quantization

    @property
    def speedup(self) -> float | None:
        """Latency of the float file over that of the INT8 file; ``None`` if they were not timed."""
        return None if self.float_ms is None or self.int8_ms is None else self.float_ms / self.int8_ms

    @property
    def drop_points(self) -> float | None:
        """Points of top-1 lost; ``None`` if top-1 was not measured."""
        if self.float_top1 is None or self.int8_top1 is None:
            return None
        return self.float_top1.percent - self.int8_top1.percent

    def to_json(self) -> dict[str, object]:
        """The report as JSON values."""
        return {
            "path": str(self.path),
            "sha256": self.model.sha256,
            "size_bytes": len(self.model.data),
            "scheme": self.quantization.to_json(),
            "calibrated": self.quantization.calibration_images,
            "float_ms": self.float_ms,
            "int8_ms": self.int8_ms,
            "float_top1": None if self.float_top1 is None else _counted(self.float_top1),
            "int8_top1": None if self.int8_top1 is None else _counted(self.int8_top1),
            "agreement_percent": self.agreement_percent,
            "compared": self.compared,
            "skipped": [name for report in self.readings for name in report.skipped],
            "speedup": self.speedup,
            "drop_points": self.drop_points,
        }


def _counted(top1: Top1) -> dict[str, object]:
    return {"right": top1.right, **top1.to_json()}


def quantize_model(
    source: ModelFile,
    output: Path,
    calibration: Images,
    *,
    held_out: LabelledImages | None = None,
    max_drop_points: float = 1.0,
    predicted: Predicted | None = None,
    processor: str = THIS_PROCESSOR,
    allow_unstable: bool = False,
    force: bool = False,
    again: bool = False,
    seed: int = 0,
    log: Log | None = None,
) -> QuantizeReport:
    """Write an exported float model in INT8, if that is faster and about as accurate.

    The same model, images and processor give the same bytes. If INT8 sums would overflow on this processor,
    accuracy is measured with the unfused graph, in floats. The speed of a file for another processor is not
    judged.

    Args:
        source: the fp32 model.
        output: the INT8 file.
        calibration: images the ranges are taken from, uint8 ``[n, 3, h, w]``; at most 500 are drawn.
        held_out: labelled images, not used for calibration, to measure top-1 on.
        max_drop_points: points of top-1 that may be lost, at most.
        predicted: predictions for the INT8 file; derived from the float file's unless given.
        processor: to choose number formats for, one of ``core.precision.PROCESSORS``.
        allow_unstable: rely on a comparison of speeds on an unstable machine.
        force: replace an existing file.
        again: go on if there is a file, which is kept if it is of this very model.
        seed: of the images' order.
        log: called with a line at each step.

    Raises:
        MismatchError: the source is INT8 already.
        RecordError: its weights do not fit its architecture.
        ImagesError: too few images, more than memory has room for, or of other classes than the model's.
        UnstableDeviceError: the speeds cannot be relied on; nothing is written.
        CheckFailedError: INT8 is slower or loses more; nothing is written.
    """
    check_output(output, force=force or again)
    if not 0 <= max_drop_points <= 100:
        raise OptionError(f"must be from 0 to 100, is {max_drop_points}", subject="max_accuracy_drop")
    say = log or (lambda line: None)
    if source.metadata.precision != FP32:
        raise MismatchError("is INT8 already", subject=source.subject, hint="name the fp32 file")
    count = len(calibration.images)
    if count < _LEAST_IMAGES:
        raise ImagesError(
            f"{count} images, at least {_LEAST_IMAGES} are needed for ranges", subject="calibration images"
        )
    order = np.random.default_rng(seed).permutation(count)[:_MOST_IMAGES]
    how = source.metadata.prepared_as(source.subject)
    layers = source.metadata.space.layers(source.metadata.architecture)
    check_memory(calibration_bytes(layers, len(order), how.image_size), available_bytes(), len(order))
    prepared = images.preprocess(calibration.images[order], how.image_size, how.mean, how.std)
    say("calibrating")
    said = source.metadata.predicted
    made = int8_of(source, prepared, predicted=predicted or said.promise_for(INT8), processor=processor)
    graphs.check_model(made.data)
    say("comparing accuracy")
    features, kind = machine.cpu_features(), platform.machine()
    fused = made.overflow_warning(tuple(features), kind) is None
    float_top1 = int8_top1 = None
    if held_out is not None:
        float_top1, int8_top1 = measure_top1(source, held_out), measure_top1(made, held_out, fused=fused)
    alike = predict(source.data, prepared) == predict(made.data, prepared, fused=fused)
    float_ms = int8_ms = None
    if processor in (THIS_PROCESSOR, processor_of(features, kind)):
        say("comparing speed")
        float_ms, int8_ms = compare_speed(
            [source.data, made.data],
            threads=machine.threads_here(said.threads or 1),
            provider=said.measured_provider,
            provider_options=said.provider_options,
            seed=seed,
            allow_unstable=allow_unstable,
        )
    report = QuantizeReport(
        path=output,
        model=made,
        float_ms=float_ms,
        int8_ms=int8_ms,
        float_top1=float_top1,
        int8_top1=int8_top1,
        agreement_percent=100.0 * float(alike.mean()),
        compared=len(prepared),
    )
    _check_worth(report, source.subject, max_drop_points)
    written = write_model(output, made.data, force=force)
    return replace(report, model=parse_model_file(written, made.subject))


def int8_of(
    source: ModelFile,
    prepared: NDArray[np.float32],
    *,
    predicted: Predicted | None = None,
    processor: str = THIS_PROCESSOR,
) -> ModelFile:
    """An exported float model in INT8.

    Args:
        source: the float model.
        prepared: images to take ranges from, float32 ``[n, 3, s, s]``, in mixed order.
        predicted: predictions for it.
        processor: to choose number formats for.
    """
    said = source.metadata
    layers = said.space.layers(said.architecture)
    weights = graphs.read_weights(source.data, layers, source.subject)
    scheme = scheme_for(processor, machine.cpu_features(), platform.machine())
    predicted = predicted or Predicted()
    quantization = Quantization(
        activations=f"{scheme.activations}, per tensor",
        weights=f"int{scheme.weight_bits}, symmetric, per output channel",
        weight_bits=scheme.weight_bits,
        chosen_for=scheme.why,
        calibration_images=len(prepared),
        ranges=f"mean over batches of at most {_batch(prepared)} of the least and largest",
    )
    metadata = replace(
        said,
        precision=INT8,
        quantization=quantization,
        predicted=predicted,
        profile=predicted.profile,
        agreement=None,
        certificate=None,
    )
    made, _ = graphs.build_int8(
        layers,
        weights,
        calibrate(layers, weights, prepared),
        scheme,
        metadata=metadata.to_json(),
        description=metadata.described,
        batch=source.batch,
        name=said.space.id,
    )
    return parse_model_file(graphs.with_shapes(made), f"{source.subject} in INT8")


def calibrate(
    layers: graphs.NamedLayers, weights: graphs.Weights, prepared: NDArray[np.float32]
) -> dict[str, graphs.Range]:
    """The range of every activation: the mean over batches of the least and the largest value.

    The mean dampens rare extremes, which would make every quantisation step coarser.

    Args:
        layers, weights: of the network.
        prepared: images, float32 ``[n, 3, s, s]``, in mixed order.
    """
    tensors = graphs.range_tensors(layers)
    asked = list(tensors.values())
    inner = [name for name in asked if name != graphs.INPUT]
    model = graphs.with_outputs(graphs.build_model(layers, weights, batch=None), inner)
    session = open_session(model, threads=1)
    lows: list[list[float]] = []
    highs: list[list[float]] = []
    for x in np.array_split(prepared, -(-len(prepared) // _batch(prepared))):
        found = dict(zip(inner, session.run({graphs.INPUT: x}, inner), strict=True)) | {graphs.INPUT: x}
        lows.append([float(found[name].min()) for name in asked])
        highs.append([float(found[name].max()) for name in asked])
    low, high = np.mean(lows, axis=0), np.mean(highs, axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(tensors, low, high, strict=True)}


def calibration_bytes(layers: graphs.NamedLayers, count: int, side: int) -> int:
    """Memory that calibrating takes: the images as floats, and a batch's activations, twice."""
    steps = [step for _, layer in layers for step in layer.all_steps]
    elements = sum(step.op.out_channels * step.out_size**2 for step in steps)
    return 4 * (count * 3 * side * side + 2 * _batch_of(count, side) * elements)


def check_memory(needed_bytes: int, available_bytes: int | None, count: int) -> None:
    """Raise :class:`ImagesError` if less is available; ``None``: the system does not say."""
    if available_bytes is not None and needed_bytes > available_bytes:
        raise ImagesError(
            f"calibrating on {count} of them needs about {needed_bytes / 1e9:.1f} GB of memory, "
            f"{available_bytes / 1e9:.1f} GB are free",
            subject="calibration images",
            hint=f"give fewer, at least {_LEAST_IMAGES}, or use a machine with more memory",
        )


def _batch(prepared: NDArray[np.float32]) -> int:
    return _batch_of(len(prepared), int(prepared.shape[-1]))


def _batch_of(count: int, side: int) -> int:
    return min(_BATCH, count, max(1, _BATCH_PIXELS // (side * side)))


def compare_speed(
    models: Sequence[bytes],
    *,
    threads: int,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    rounds: int = MeasureSettings().rounds,
    seed: int = 0,
    allow_unstable: bool = False,
) -> list[float]:
    """Latency of each model, ms, measured in turn as ``verify`` measures one.

    Raises:
        UnstableDeviceError: on an unstable machine, without ``allow_unstable``.
    """
    how = MeasureSettings(threads=threads, rounds=rounds, seed=seed)
    found = measure_together(models, how, provider=provider, provider_options=provider_options)
    for one in found:
        if not allow_unstable:
            one.check("the speed of INT8")
    return [measured.latency_ms for measured in found]


def _check_worth(report: QuantizeReport, source: str, max_drop_points: float) -> None:
    """Raise :class:`CheckFailedError` unless INT8 is faster and accurate enough."""
    drop = report.drop_points
    if report.speedup is not None and report.speedup <= 1.0:
        speeds = f"{report.int8_ms:.4g} ms against {report.float_ms:.4g} ms"
        raise CheckFailedError(f"INT8 is not faster here ({speeds}); {source} is kept", subject="int8")
    if drop is not None and drop > max_drop_points:
        raise CheckFailedError(
            f"INT8 loses {drop:.2f} points of top-1, at most {max_drop_points:g} allowed; {source} is kept",
            subject="int8",
        )
