"""Export a subnet of a supernet as an ONNX file whose outputs were checked against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import downloads, graphs, images, supernets
from deploy_nas.core.errors import ArchitectureError, CheckFailedError, ImagesError, OptionError, RecordError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.fields import Fields
from deploy_nas.core.floats import usual_floats
from deploy_nas.core.precision import FP32
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.seals import DIGEST, check_seal
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.model_file import write_model
from deploy_nas.deploy.weights import default_weights, load_subnet
from deploy_nas.device.runtime import first_output
from deploy_nas.device.session import open_session
from deploy_nas.records.certificate import Agreement
from deploy_nas.records.files import check_output
from deploy_nas.records.model import UNTRAINED, ModelMetadata, Preprocessing, Provenance

if TYPE_CHECKING:
    import torch

    from deploy_nas.deploy.quantize import QuantizeReport
    from deploy_nas.records.bundle import Manifest

TOLERANCE = 1e-4
"""Largest difference allowed between the file's logits and ofa's; relative if the largest logit exceeds 1."""

_RECALIBRATION_PIXELS = 2_000_000  # per batch; keeps the widest activations under a few 100 MB
_CHECKED_RANDOM, _CHECKED_GIVEN = 2, 6

Float32 = NDArray[np.float32]
Log = Callable[[str], None]


class Images(Protocol):
    """The part of a set of images (``adapters.images.ImageSet``) that calibration needs."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """Images, uint8 ``[n, 3, height, width]``."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ExportReport(Shown):
    """The file that was written.

    Args:
        path: the file.
        sha256, size_bytes: of the file.
        space: its id.
        architecture: in OFA's keys.
        weights: their origin.
        opset: of the default ONNX domain.
        batch: fixed batch size; ``None``: dynamic.
        parameters, million_macs: of the subnet.
        max_difference: largest absolute difference of a logit, onnxruntime against ofa's subnet.
        allowed_difference: the largest allowed.
        readings: how its images were read.
        int8: the INT8 file beside it; ``None`` where none was asked for.
        bundle: of both; ``None`` where none was asked for.
    """

    path: Path
    sha256: str
    size_bytes: int
    space: str
    architecture: Architecture
    weights: Provenance
    opset: int
    batch: int | None
    parameters: int
    million_macs: float
    max_difference: float
    allowed_difference: float
    readings: tuple[images.ReadingReport, ...] = ()
    int8: QuantizeReport | None = None
    bundle: Manifest | None = None

    def _summary(self) -> str:
        return f"{self.path}, {self.million_macs:.1f} million MACs, {self.size_bytes / 1e6:.2f} MB"

    @property
    def warning(self) -> str | None:
        """A warning that the user must see, or ``None``."""
        if self.weights.trained:
            return None
        return f"{UNTRAINED}: the weights are random; use the file only for timing"

    def to_json(self) -> dict[str, object]:
        """The report as JSON values."""
        fields = asdict(replace(self, int8=None, bundle=None))
        fields |= {"path": str(self.path), "weights": self.weights.to_json()}
        for name in ("readings", "int8", "bundle"):
            del fields[name]
        return fields | {
            "skipped": [name for report in self.readings for name in report.skipped],
            "readings": {report.source: report.reading().to_json() for report in self.readings},
            "warning": self.warning,
        }


@usual_floats()
def export_onnx(
    arch: Mapping[str, object],
    path: str | Path,
    *,
    weights: str | Path | None = None,
    calibration_images: Images | None = None,
    space: Space | str | None = None,
    predicted: Predicted | Mapping[str, object] | None = None,
    profile_id: str | None = None,
    labels: Sequence[str] | None = None,
    batch: int | None = 1,
    force: bool = False,
    again: bool = False,
    seed: int = 0,
    log: Log | None = None,
    progress: downloads.Progress | None = None,
) -> ExportReport:
    """Write a subnet as ONNX, after checking that onnxruntime's outputs match those of ``ofa``'s own subnet.

    The reference is ``get_active_subnet(preserve_weight=True)``; all logits agree to 1e-4 (of the
    largest logit, if that is above 1). The same input gives the same bytes.

    Args:
        arch: an architecture dict; its "space" names the space, its "predicted" is kept.
        path: the file to write.
        weights: "embedded", "pretrained", "random" or a checkpoint; see ``weights.load_subnet``.
        calibration_images: to estimate the batch-norm statistics on, uint8 ``[n, 3, h, w]``.
        space: needed if ``arch`` does not name it.
        predicted: figures to keep in the metadata instead of ``arch["predicted"]``.
        profile_id: of the profile they come from; the one that ``predicted`` names unless given.
        labels: of the classes; the embedded space has its own.
        batch: fixed batch size, or ``None`` for a dynamic one.
        force: replace an existing file.
        again: go on if there is a file, which is kept if it is of this very model.
        seed: of random weights, the images' order and the inputs compared.
        log: called with a line at each step.
        progress: called while weights are downloaded.

    Raises:
        InputError: unusable input, such as the dict of a file that was edited; raised before the slow work.
        CheckFailedError: the graph is invalid or its outputs differ; nothing is written.
    """
    require_supernets()
    path = Path(path)
    check_output(path, force=force or again)
    resolved = _space(arch, space)
    _check_edited(arch)
    architecture = resolved.decode(resolved.encode([arch]))[0]
    said = promise(predicted or arch.get("predicted"))
    metadata = ModelMetadata(
        space=resolved,
        architecture=architecture,
        predicted=said,
        profile=profile_id or said.profile,
        labels=tuple(class_names(resolved, labels)),
        preprocessing=Preprocessing(
            image_size=image_size_of(architecture), mean=resolved.mean, std=resolved.std
        ),
        opset=graphs.OPSET,
    )
    _check_batch(batch)
    if calibration_images is not None:
        _check_images(calibration_images)
    default_weights(resolved, weights)
    say = log or (lambda line: None)

    say("building the subnet")
    subnet, provenance = load_subnet(resolved, weights, architecture, seed=seed, progress=progress)
    rng = np.random.default_rng(seed)
    image_size = image_size_of(architecture)
    compared = rng.standard_normal((_CHECKED_RANDOM, 3, image_size, image_size), dtype=np.float32)
    if calibration_images is not None:
        say("estimating batch-norm statistics on the images")
        order = rng.permutation(len(calibration_images.images))  # a folder's images are sorted by class
        seen = supernets.recalibrate(subnet, _batches(calibration_images, order, resolved, image_size))
        provenance = replace(provenance, recalibrated=seen)
        few = calibration_images.images[order[:_CHECKED_GIVEN]]
        given = images.preprocess(few, image_size, resolved.mean, resolved.std)
        compared = np.concatenate([compared, given])
    elif not provenance.trained:
        # Otherwise signals vanish layer by layer with random weights: outputs would agree whatever the
        # graph computes, and denormal numbers would distort timings.
        noise = rng.standard_normal((8, 3, image_size, image_size), dtype=np.float32)
        supernets.recalibrate(subnet, [noise])

    say("writing the graph and comparing it with ofa's own")
    layers = resolved.layers(architecture)
    metadata = replace(metadata, weights=provenance)
    data = graphs.build_model(
        layers,
        supernets.folded_weights(resolved, architecture, subnet),
        metadata=metadata.to_json(),
        description=metadata.described,
        batch=batch,
        name=resolved.id,
    )
    difference, allowed = check_agreement(data, subnet, compared, batch=batch)
    agreement = Agreement(
        reference="ofa's own subnet in PyTorch",
        inputs=len(compared),
        largest_difference=float(f"{difference:.2g}"),
        allowed=float(f"{allowed:.2g}"),
    )
    data = graphs.with_metadata(graphs.with_shapes(data), {"agreement": agreement.to_json()})
    data = write_model(path, data, force=force)
    return ExportReport(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        space=resolved.id,
        architecture=architecture,
        weights=provenance,
        opset=graphs.OPSET,
        batch=batch,
        parameters=sum(layer.params for _, layer in layers),
        million_macs=sum(layer.macs for _, layer in layers) / 1e6,
        max_difference=difference,
        allowed_difference=allowed,
    )


def promise(given: object) -> Predicted:
    """The predictions for an fp32 file, from a value or from a dict of figures.

    Raises:
        OptionError: neither, or figures that JSON cannot hold.
        RecordError: an invalid figure; names it.
    """
    if given is None:
        return Predicted()
    if isinstance(given, Predicted):
        return given.promise_for(FP32)
    if not isinstance(given, Mapping):
        raise OptionError("must be a dict of figures", subject="predicted")
    try:
        figures = json.loads(json.dumps(dict(given), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise OptionError(f"cannot be written as JSON ({error})", subject="predicted") from error
    return Predicted.from_json(Fields(figures, "predicted")).promise_for(FP32)


def class_names(space: Space, given: Sequence[str] | None) -> Sequence[str]:
    """The given names, else the space's own, if any; raises :class:`OptionError` for unusable ones."""
    if given is None:
        return space.labels
    if isinstance(given, str) or not all(isinstance(label, str) for label in given):
        raise OptionError("must be a list of names", subject="labels")
    if len(given) != space.classes:
        raise OptionError(f"{len(given)} names for {space.classes} classes", subject="labels")
    return given


def check_agreement(
    data: bytes, subnet: torch.nn.Module, inputs: Float32, *, batch: int | None
) -> tuple[float, float]:
    """Compare the model's logits in onnxruntime (one thread, CPU) with the subnet's.

    Args:
        data: a serialised model.
        subnet: the reference, in evaluation mode.
        inputs: float32 ``[n, 3, s, s]``.
        batch: of the model; ``None``: dynamic.

    Returns:
        The largest absolute difference and the largest allowed.

    Raises:
        CheckFailedError: an invalid graph, or a difference above the one allowed.
    """
    size = len(inputs) if batch is None else batch
    inputs = np.resize(inputs, (-(-len(inputs) // size) * size, *inputs.shape[1:]))  # whole batches, repeated
    try:
        graphs.check_model(data)
        network = open_session(data, threads=1)
    except RecordError as error:
        raise CheckFailedError(f"{error}; nothing was written", subject="exported graph") from error
    found = [first_output(network, chunk) for chunk in np.split(inputs, len(inputs) // size)]
    expected = supernets.forward(subnet, inputs)
    difference = float(np.abs(np.concatenate(found) - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # NaN fails too
        raise CheckFailedError(
            f"onnxruntime's logits differ from ofa's by {difference:.3g}, {allowed:.3g} is allowed; "
            "nothing was written",
            subject="exported graph",
        )
    return difference, allowed


def _space(arch: Mapping[str, object], given: Space | str | None) -> Space:
    if not isinstance(arch, Mapping):
        raise ArchitectureError(f"an architecture is a dict, not {type(arch).__name__}")
    if given is not None:
        return get_space(given) if isinstance(given, str) else given
    named = arch.get("space")
    if not isinstance(named, str):
        raise ArchitectureError("the architecture does not name its space", subject="space")
    return get_space(named)


def _check_edited(arch: Mapping[str, object]) -> None:
    """Raise :class:`MismatchError` for the dict of an architecture file that no longer fits its digest."""
    if DIGEST in arch:
        hint = "take 'digest' and 'predicted' out to export an architecture of your own"
        check_seal(Fields(dict(arch), "the architecture"), hint=hint)


def _check_batch(batch: object) -> None:
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise OptionError(f"must be an integer of at least 1, or None, is {batch!r}", subject="batch")


def _check_images(given: Images) -> None:
    array = given.images
    if array.ndim != 4 or array.shape[1] != 3 or array.dtype != np.uint8 or not len(array):
        raise ImagesError(
            f"must be at least one colour image as uint8 [n, 3, height, width], "
            f"is {array.dtype} {array.shape}",
            subject="calibration images",
        )


def _batches(given: Images, order: NDArray[np.int64], space: Space, image_size: int) -> Iterator[Float32]:
    """Mixed batches of nearly equal size, preprocessed as in deployment."""
    most = min(200, max(8, _RECALIBRATION_PIXELS // image_size**2))
    for chosen in np.array_split(order, -(-len(order) // most)):
        yield images.preprocess(given.images[chosen], image_size, space.mean, space.std)
