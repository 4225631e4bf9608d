"""Top-1 of subnets on images, with the supernet's batch-norm statistics or recalibrated ones.

ONNX Runtime classifies the images with the graph that export would write: the measured graph is the one
that ships, and it is two to four times faster than the PyTorch module. It uses one thread, so that a
subnet's accuracy does not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters import graphs
from deploy_nas.adapters.images import Float32Array, ImageSet, SizedImages, UInt8Array, normalise
from deploy_nas.adapters.pools import Arrays, Pool, SerialPool
from deploy_nas.core.arrays import Array
from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import ImagesError
from deploy_nas.core.measured import Top1
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.core.spaces import get_space
from deploy_nas.device.runtime import first_output
from deploy_nas.device.session import open_session

if TYPE_CHECKING:
    from torch import nn

# Measured at 24 to 32 px: batches of twice as many pixels no longer fit the caches.
_BATCH_PIXELS = 50 * 32 * 32
_CALIBRATION_BATCH = 100


class SubnetEvaluator:
    """Measures subnets of one supernet on one set of images.

    Args:
        space: the search space.
        net: its supernet with weights, as ``adapters.supernets`` builds it.
        images: labelled images of all classes, at each of the space's image sizes.
        calibration: images for batch-norm statistics, at the same sizes; ``None``: the supernet's own
            statistics are used.

    Raises:
        ImagesError: images without labels, or of another number of classes than the supernet has.
    """

    def __init__(
        self, space: Space, net: nn.Module, images: SizedImages, calibration: SizedImages | None = None
    ) -> None:
        self.space, self.net = space, net
        self.images, self.calibration = images, calibration
        classes = len(images.first.classes)
        if classes != space.classes:
            found = f"{classes} class folders" if classes else "no labels"
            raise ImagesError(
                f"{found}, the supernet of {space.id} has {space.classes} classes",
                subject=images.first.source,
            )

    def top1_percent(self, architecture: Mapping[str, object]) -> float:
        """Top-1 in percent of one subnet; the supernet's own statistics are not modified."""
        from deploy_nas.adapters import supernets

        size = image_size_of(architecture)
        with supernets.one_torch_thread():
            net = supernets.subnet(self.net, architecture)
            if self.calibration is not None:
                given = self.calibration.by_size[size]
                # Statistics need mixed batches, but the images are sorted by class.
                order = np.random.default_rng(0).permutation(len(given))
                supernets.recalibrate(net, self._batches(given.images, _CALIBRATION_BATCH, order))
            weights = supernets.folded_weights(self.space, architecture, net)
        model = graphs.build_model(self.space.layers(architecture), weights, batch=None)
        network = open_session(model, threads=1)
        given = self.images.by_size[size]
        batches = self._batches(given.images, max(1, _BATCH_PIXELS // size**2), np.arange(len(given)))
        guesses = [first_output(network, batch).argmax(axis=1) for batch in batches]
        network.close()
        return 100.0 * float(np.mean(np.concatenate(guesses) == given.labels))

    def top1(self, architecture: Mapping[str, object]) -> Top1:
        """:meth:`top1_percent` as a count, which has an interval."""
        count = len(self.images)
        return Top1(right=round(self.top1_percent(architecture) * count / 100.0), images=count)

    def _batches(
        self, pixels: UInt8Array, batch_size: int, order: NDArray[np.int64]
    ) -> Iterator[Float32Array]:
        """Normalised images float32 ``[b, 3, size, size]``."""
        for start in range(0, len(order), batch_size):
            yield normalise(pixels[order[start : start + batch_size]], self.space.mean, self.space.std)


# -- by a pool --------------------------------------------------------------------------------------


@contextmanager
def measuring(
    evaluator: SubnetEvaluator, pool: Pool | None = None
) -> Iterator[Callable[[Sequence[Architecture]], Iterable[float]]]:
    """Yields a function that measures architectures one by one, in order, by a pool's workers.

    The accuracies do not depend on the pool.

    Args:
        evaluator: measures.
        pool: of workers; ``None``: this process.

    Raises:
        OptionError: a worker process died.
    """
    pool = pool or SerialPool()
    if pool.local:
        with pool.open(lambda arrays: evaluator.top1_percent) as run:
            yield run
        return
    with pool.open(_Remade.of(evaluator), _arrays(evaluator)) as run:
        yield run


_WEIGHTS = "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Remade:
    """Makes a :class:`SubnetEvaluator` again in another process, from arrays that all its workers share."""

    space: str
    classes: tuple[str, ...]
    calibrated: bool

    @classmethod
    def of(cls, evaluator: SubnetEvaluator) -> _Remade:
        return cls(
            space=evaluator.space.id,
            classes=evaluator.images.first.classes,
            calibrated=evaluator.calibration is not None,
        )

    def __call__(self, arrays: Arrays) -> Callable[[Architecture], float]:
        from deploy_nas.adapters import supernets

        space = get_space(self.space)
        net = supernets.build_supernet(space)
        with temporary_folder() as folder:
            path = folder / "supernet.safetensors"
            path.write_bytes(arrays[_WEIGHTS].tobytes())
            supernets.load_weights(net, space, path)
        calibration = self._images("calibration", arrays) if self.calibrated else None
        return SubnetEvaluator(space, net, self._images("images", arrays), calibration).top1_percent

    def _images(self, name: str, arrays: Arrays) -> SizedImages:
        labels = arrays[f"{name}.labels"]
        return SizedImages(
            {
                size: ImageSet(
                    images=arrays[f"{name}.{size}"].view(np.uint8),
                    labels=labels.view(np.int64),
                    classes=self.classes,
                    source=name,
                )
                for size in get_space(self.space).image_sizes
            }
        )


def _arrays(evaluator: SubnetEvaluator) -> Arrays:
    """Weights and images, as :class:`_Remade` takes them."""
    from deploy_nas.adapters import supernets

    arrays: dict[str, Array] = {}
    with temporary_folder() as folder:
        path = folder / "supernet.safetensors"
        supernets.save_weights(evaluator.net, path)
        arrays[_WEIGHTS] = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for name, images in (("images", evaluator.images), ("calibration", evaluator.calibration)):
        if images is not None:
            arrays[f"{name}.labels"] = images.first.labels
            for size, given in images.by_size.items():
                arrays[f"{name}.{size}"] = given.images
    return arrays
