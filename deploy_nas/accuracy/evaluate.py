"""Top-1 of subnets on images, with the supernet's batch-norm statistics or recalibrated ones.

Images are classified in ONNX Runtime, by the graph that export would write: what is measured is what
ships, and it is two to four times faster than the PyTorch module. One thread does it, so that the
same subnet has the same accuracy however many processes share the work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy_nas.accuracy.workers import one_torch_thread, worker_pool
from deploy_nas.adapters import graphs
from deploy_nas.adapters import images as image_files
from deploy_nas.adapters.images import Float32Array, ImageSet, UInt8Array
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.core.space import Architecture, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.device.session import open_session

if TYPE_CHECKING:
    from torch import nn

# Measured at 24 to 32 px: batches of twice as many pixels and more no longer fit the caches.
_BATCH_PIXELS = 50 * 32 * 32
_CALIBRATION_BATCH = 100
_KEEP_BYTES = 1 << 29  # of resized images, in each worker


class SubnetEvaluator:
    """Measures subnets of one supernet on one set of images.

    Args:
        space: the search space.
        net: its supernet with weights, as ``adapters.supernets`` builds it.
        images: labelled images of all classes.
        calibration: images for batch-norm statistics; ``None``: the supernet's own are used.

    Raises:
        ImagesError: images without labels, or of another number of classes than the supernet has.
    """

    def __init__(
        self, space: Space, net: nn.Module, images: ImageSet, calibration: ImageSet | None = None
    ) -> None:
        if len(images.classes) != space.classes:
            found = f"{len(images.classes)} class folders" if images.classes else "no labels"
            raise ImagesError(
                f"{found}, the supernet of {space.id} has {space.classes} classes", subject=images.source
            )
        self.space, self.net = space, net
        self.images, self.calibration = images, calibration
        self._resized: dict[tuple[str, int], UInt8Array] = {}
        # Statistics need mixed batches; folders come sorted by class.
        self._mixed: UInt8Array | None = None
        if calibration is not None:
            self._mixed = calibration.images[np.random.default_rng(0).permutation(len(calibration))]

    def top1_percent(self, architecture: Mapping[str, Any]) -> float:
        """Top-1 in percent of one subnet; the supernet's own statistics are left as they were."""
        from deploy_nas.adapters import supernets

        size = int(architecture["image_size"])
        with one_torch_thread():
            net = supernets.subnet(self.net, architecture)
            if self._mixed is not None:
                batches = self._batches("calibration", self._mixed, size, _CALIBRATION_BATCH)
                supernets.recalibrate(net, batches)
            weights = supernets.folded_weights(self.space, architecture, net)
        model = graphs.build_model(self.space.layers(architecture), weights, batch=None)
        session = open_session(model, threads=1)
        batch_size = max(1, _BATCH_PIXELS // size**2)
        guesses = [
            session.run([graphs.OUTPUT], {graphs.INPUT: batch})[0].argmax(axis=1)
            for batch in self._batches("images", self.images.images, size, batch_size)
        ]
        return 100.0 * float(np.mean(np.concatenate(guesses) == self.images.labels))

    def _batches(self, name: str, pixels: UInt8Array, size: int, batch_size: int) -> Iterator[Float32Array]:
        """Preprocessed images float32 ``[b, 3, size, size]``; resized once a size while there is room."""
        held_bytes = sum(kept.nbytes for kept in self._resized.values())
        if (name, size) not in self._resized and held_bytes + len(pixels) * 3 * size**2 <= _KEEP_BYTES:
            self._resized[name, size] = image_files.resize(pixels, size)
        pixels = self._resized.get((name, size), pixels)
        for start in range(0, len(pixels), batch_size):
            yield image_files.preprocess(
                pixels[start : start + batch_size], size, self.space.mean, self.space.std
            )


# -- in several processes ---------------------------------------------------------------------------


@contextmanager
def measuring(
    evaluator: SubnetEvaluator, workers: int = 1
) -> Iterator[Callable[[Sequence[Architecture]], Iterable[float]]]:
    """Yields a function that measures architectures one by one, in order, in ``workers`` processes.

    One worker is this process. The accuracies do not depend on how many there are.

    Raises:
        OptionError: no worker, or one that ended by itself.
    """
    if workers < 1:
        raise OptionError(f"must be at least 1, is {workers}", subject="--workers")
    if workers == 1:
        yield partial(map, evaluator.top1_percent)
        return
    with ExitStack() as stack:
        with tempfile.TemporaryDirectory(prefix="deploy-nas-") as folder:
            run = stack.enter_context(worker_pool(_write(evaluator, Path(folder)), workers))
        # The workers have the files open, so a run that is killed from here on leaves none behind.
        yield run


@dataclass(frozen=True, kw_only=True, slots=True)
class _EvaluatorFile:
    """A :class:`SubnetEvaluator` as a folder; its images are mapped, so that processes share them."""

    folder: Path
    space: str
    classes: tuple[str, ...]
    calibrated: bool

    def __call__(self) -> Callable[[Architecture], float]:
        from deploy_nas.adapters import supernets

        space = get_space(self.space)
        net = supernets.build_supernet(space)
        supernets.load_weights(net, space, self.folder / "supernet.safetensors")
        return SubnetEvaluator(
            space, net, self._images("images"), self._images("calibration") if self.calibrated else None
        ).top1_percent

    def _images(self, name: str) -> ImageSet:
        pixels = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        labels = np.load(self.folder / f"{name}.labels.npy")
        return ImageSet(images=pixels, labels=labels, classes=self.classes, source=name)


def _write(evaluator: SubnetEvaluator, folder: Path) -> _EvaluatorFile:
    from deploy_nas.adapters import supernets

    supernets.save_weights(evaluator.net, folder / "supernet.safetensors")
    for name, images in (("images", evaluator.images), ("calibration", evaluator.calibration)):
        if images is not None:
            np.save(folder / f"{name}.npy", images.images)
            np.save(folder / f"{name}.labels.npy", images.labels)
    return _EvaluatorFile(
        folder=folder,
        space=evaluator.space.id,
        classes=evaluator.images.classes,
        calibrated=evaluator.calibration is not None,
    )
