"""INT8 from an exported file: ranges from images, then accuracy and speed before and after."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import graphs, images
from deploy_nas.core.errors import CheckFailedError, ImagesError, MismatchError, OptionError
from deploy_nas.core.precision import (
    FP32,
    INT8,
    THIS_PROCESSOR,
    Scheme,
    processor_of,
    scheme_for,
    sums_exactly,
)
from deploy_nas.deploy.claims import checked_batch, model_architecture
from deploy_nas.deploy.export import Images
from deploy_nas.deploy.top1 import LabelledImages, Top1, measure_top1, predict, preprocessing_of
from deploy_nas.device import machine
from deploy_nas.device.session import open_session
from deploy_nas.device.timing import Timer, latency_of
from deploy_nas.records.files import check_output, read_bytes, write_atomic

_BATCH = 50
_BATCH_PIXELS = 500_000  # every activation of a batch is held at once: about 1 GB at most
_LEAST_IMAGES, _MOST_IMAGES = 20, 500
_ROUNDS = 8

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeReport:
    """What was written, and what it costs and gives beside the float file.

    Args:
        path: the INT8 file; sha256, size_bytes: of it.
        scheme: number formats, and what they were chosen for.
        calibrated: images the ranges come from.
        float_ms, int8_ms: latency of both, timed in turn; ``None`` where it is for another processor.
        float_top1, int8_top1: on held-out images; ``None`` where none have labels.
        agreement_percent: images that both classify alike.
        compared: how many images that is of.
        skipped: images that could not be read.
    """

    path: Path
    sha256: str
    size_bytes: int
    scheme: dict[str, Any]
    calibrated: int
    float_ms: float | None
    int8_ms: float | None
    float_top1: Top1 | None
    int8_top1: Top1 | None
    agreement_percent: float
    compared: int
    skipped: tuple[str, ...] = ()

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the float file; ``None`` where it was not timed."""
        return None if self.float_ms is None or self.int8_ms is None else self.float_ms / self.int8_ms

    @property
    def drop_points(self) -> float | None:
        """Points of top-1 lost; ``None`` where it was not measured."""
        if self.float_top1 is None or self.int8_top1 is None:
            return None
        return self.float_top1.percent - self.int8_top1.percent

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        more = {"path": str(self.path), "speedup": self.speedup, "drop_points": self.drop_points}
        return {**asdict(self), **more}


def quantize_onnx(
    source: Path,
    output: Path,
    calibration: Images,
    *,
    held_out: LabelledImages | None = None,
    max_drop_points: float = 1.0,
    predicted: Mapping[str, Any] | None = None,
    processor: str = THIS_PROCESSOR,
    threads: int = 1,
    force: bool = False,
    seed: int = 0,
    log: Log | None = None,
) -> QuantizeReport:
    """Write an exported float file in INT8, if that is faster and about as accurate.

    The same file, images and processor give the same bytes. What this processor's sums would overflow on is
    judged as written, in floats, and of another processor's file the speed is not judged.

    Args:
        source: an fp32 file that :func:`deploy_nas.export_onnx` wrote; it is kept as it is.
        output: the INT8 file.
        calibration: images the ranges are taken from, uint8 ``[n, 3, h, w]``; 500 drawn of them at most.
        held_out: labelled images, none of them used for calibration, to measure top-1 on.
        max_drop_points: most points of top-1 that may be lost.
        predicted: figures for the metadata, of an INT8 profile; the float file's are not kept.
        processor: whose number formats to take, one of ``core.precision.PROCESSORS``.
        threads: of the speed comparison.
        force: replace a file that is there.
        seed: of the images' order.
        log: called with a line at each step.

    Raises:
        RecordError: no model, cut short or not ours.
        MismatchError: it is INT8 already, or its weights are not those its architecture needs.
        ImagesError: too few images, or of other classes than the model's.
        CheckFailedError: INT8 is slower or loses more; nothing is written.
    """
    check_output(output, force=force)
    if not 0 <= max_drop_points <= 100:
        raise OptionError(f"must be from 0 to 100, is {max_drop_points}", subject="--max-accuracy-drop")
    say = log or (lambda line: None)
    data = read_bytes(source)
    metadata = graphs.read_metadata(data, str(source))
    checked_batch(data, model_architecture(metadata, str(source)), str(source))
    if metadata.get("precision", FP32) != FP32:
        raise MismatchError("is INT8 already", subject=str(source), hint="name the fp32 file")
    count = len(calibration.images)
    if count < _LEAST_IMAGES:
        raise ImagesError(
            f"{count} images, at least {_LEAST_IMAGES} are needed for ranges", subject="calibration images"
        )
    order = np.random.default_rng(seed).permutation(count)[:_MOST_IMAGES]
    prepared = images.preprocess(calibration.images[order], *preprocessing_of(metadata))
    say("calibrating")
    made, scheme = int8_of(data, prepared, predicted=predicted, processor=processor, subject=str(source))
    graphs.check_model(made)
    say("comparing accuracy")
    features, kind = machine.cpu_features(), platform.machine()
    fused = sums_exactly(scheme.weight_bits, features, kind)
    float_top1 = int8_top1 = None
    if held_out is not None:
        float_top1, int8_top1 = measure_top1(data, held_out), measure_top1(made, held_out, fused=fused)
    alike = predict(data, prepared) == predict(made, prepared, fused=fused)
    float_ms = int8_ms = None
    if processor in (THIS_PROCESSOR, processor_of(features, kind)):
        say("comparing speed")
        float_ms, int8_ms = compare_speed([data, made], threads=machine.threads_here(threads), seed=seed)
    report = QuantizeReport(
        path=output,
        sha256=hashlib.sha256(made).hexdigest(),
        size_bytes=len(made),
        scheme=scheme.to_json(),
        calibrated=len(prepared),
        float_ms=float_ms,
        int8_ms=int8_ms,
        float_top1=float_top1,
        int8_top1=int8_top1,
        agreement_percent=100.0 * float(alike.mean()),
        compared=len(prepared),
    )
    _judge(report, source, max_drop_points)
    write_atomic(output, made, force=force)
    return report


def int8_of(
    data: bytes,
    prepared: NDArray[np.float32],
    *,
    predicted: Mapping[str, Any] | None = None,
    processor: str = THIS_PROCESSOR,
    subject: str = "model",
) -> tuple[bytes, Scheme]:
    """An exported float model in INT8, and its number formats.

    Args:
        data: the float model.
        prepared: float32 ``[n, 3, s, s]`` to take ranges from, in mixed order.
        predicted: figures for the metadata.
        processor: whose number formats to take.
        subject: names the model in errors.
    """
    metadata = graphs.read_metadata(data, subject)
    record = model_architecture(metadata, subject)
    layers = record.space.layers(record.architecture)
    weights = graphs.read_weights(data, layers, subject)
    scheme = scheme_for(processor, machine.cpu_features(), platform.machine())
    figures = dict(predicted or {})
    stated = {
        **scheme.to_json(),
        "calibration_images": len(prepared),
        "ranges": f"mean over batches of at most {_batch(prepared)} of the least and largest",
    }
    made, _ = graphs.build_int8(
        layers,
        weights,
        calibrate(layers, weights, prepared),
        scheme,
        metadata={
            **metadata,
            "precision": INT8,
            "quantization": stated,
            "predicted": figures,
            "profile": figures.get("profile"),
            "agreement": None,
            "certificate": None,
        },
        batch=graphs.input_of(data)[1][0],
        name=record.space.id,
    )
    return graphs.with_shapes(made), scheme


def calibrate(
    layers: graphs.NamedLayers, weights: graphs.Weights, prepared: NDArray[np.float32]
) -> dict[str, graphs.Range]:
    """The range of every activation: least and largest of each batch of images, then their means.

    The mean leaves out what one image in hundreds reaches, which would make every step coarser.

    Args:
        layers, weights: of the network.
        prepared: float32 ``[n, 3, s, s]``, in mixed order.
    """
    tensors = graphs.range_tensors(layers)
    asked = list(tensors.values())
    inner = [name for name in asked if name != graphs.INPUT]
    model = graphs.with_outputs(graphs.build_model(layers, weights, batch=None), inner)
    session = open_session(model, threads=1)
    lows: list[list[float]] = []
    highs: list[list[float]] = []
    for x in np.array_split(prepared, -(-len(prepared) // _batch(prepared))):
        found: dict[str, NDArray[np.float32]] = dict(
            zip(inner, session.run(inner, {graphs.INPUT: x}), strict=True)
        )
        found[graphs.INPUT] = x
        lows.append([float(found[name].min()) for name in asked])
        highs.append([float(found[name].max()) for name in asked])
    low, high = np.mean(lows, axis=0), np.mean(highs, axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(tensors, low, high, strict=True)}


def _batch(prepared: NDArray[np.float32]) -> int:
    side = int(prepared.shape[-1])
    return min(_BATCH, len(prepared), max(1, _BATCH_PIXELS // (side * side)))


def compare_speed(
    models: Sequence[bytes], *, threads: int, rounds: int = _ROUNDS, seed: int = 0
) -> list[float]:
    """Latency of each model, ms, each in a session of its own, in bursts by turns."""
    rng = np.random.default_rng(seed)
    with machine.pinned_to(threads) as pinning:
        timers = [
            Timer(open_session(data, threads=threads, worker_cores=pinning.worker_cores), rng)
            for data in models
        ]
        times: list[list[float]] = [[] for _ in timers]
        for _ in range(rounds):
            for index in rng.permutation(len(timers)):
                burst = timers[index].burst(burst_ms=25.0, least_runs=5, warmup_runs=3, warmup_ms=3.0)
                times[index].append(latency_of(burst.points_ms))
    return [float(np.median(found)) for found in times]


def _judge(report: QuantizeReport, source: Path, max_drop_points: float) -> None:
    drop = report.drop_points
    if report.speedup is not None and report.speedup <= 1.0:
        speeds = f"{report.int8_ms:.4g} ms against {report.float_ms:.4g} ms"
        raise CheckFailedError(f"INT8 is not faster here ({speeds}); {source} is kept", subject="int8")
    if drop is not None and drop > max_drop_points:
        raise CheckFailedError(
            f"INT8 loses {drop:.2f} points of top-1, {max_drop_points:g} are allowed; {source} is kept",
            subject="int8",
        )
