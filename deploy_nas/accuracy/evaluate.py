"""Top-1 of subnets on images, with the supernet's batch-norm statistics or recalibrated ones.

Images are classified in ONNX Runtime, by the graph that export would write: what is measured is what
ships, and it is several times faster than the PyTorch module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy_nas.adapters import graphs
from deploy_nas.adapters import images as image_files
from deploy_nas.adapters.images import Float32Array, ImageSet, UInt8Array
from deploy_nas.core.errors import ImagesError, OptionError
from deploy_nas.core.space import Space
from deploy_nas.device import machine
from deploy_nas.device.session import open_session

if TYPE_CHECKING:
    from torch import nn


class SubnetEvaluator:
    """Measures subnets of one supernet on one set of images.

    Args:
        space: the search space.
        net: its supernet with weights, as ``adapters.supernets`` builds it.
        images: labelled images of all classes.
        calibration: images for batch-norm statistics; ``None``: the supernet's own are used.
        batch_size: images a forward pass.
        threads: of the classification; ``None``: one a core.

    Raises:
        ImagesError: images without labels, or of another number of classes than the supernet has.
        OptionError: a batch size below 1.
    """

    def __init__(
        self,
        space: Space,
        net: nn.Module,
        images: ImageSet,
        calibration: ImageSet | None = None,
        batch_size: int = 100,
        threads: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise OptionError(f"must be at least 1, is {batch_size}", subject="batch size")
        if len(images.classes) != space.classes:
            found = f"{len(images.classes)} class folders" if images.classes else "no labels"
            raise ImagesError(
                f"{found}, the supernet of {space.id} has {space.classes} classes", subject=images.source
            )
        self.space, self.net, self.batch_size = space, net, batch_size
        self.threads = threads or len(machine.cores())
        self.images = images
        # Statistics need mixed batches; folders come sorted by class.
        self._shuffled: UInt8Array | None = None
        if calibration is not None:
            self._shuffled = calibration.images[np.random.default_rng(0).permutation(len(calibration))]
        self._resized: dict[tuple[str, int], UInt8Array] = {}

    def top1_percent(self, architecture: Mapping[str, Any]) -> float:
        """Top-1 in percent of one subnet; the supernet's own statistics are left as they were."""
        from deploy_nas.adapters import supernets

        size = int(architecture["image_size"])
        net = supernets.subnet(self.net, architecture)
        if self._shuffled is not None:
            supernets.recalibrate(net, self._batches("calibration", self._shuffled, size))
        weights = supernets.folded_weights(self.space, architecture, net)
        model = graphs.build_model(self.space.layers(architecture), weights, batch=None)
        session = open_session(model, threads=self.threads)
        guesses = [
            session.run([graphs.OUTPUT], {graphs.INPUT: batch})[0].argmax(axis=1)
            for batch in self._batches("images", self.images.images, size)
        ]
        return 100.0 * float(np.mean(np.concatenate(guesses) == self.images.labels))

    def _batches(self, name: str, pixels: UInt8Array, size: int) -> Iterator[Float32Array]:
        """Preprocessed images float32 ``[b, 3, size, size]``; resizing is done once a size."""
        if (name, size) not in self._resized:
            self._resized[name, size] = image_files.resize(pixels, size)
        resized = self._resized[name, size]
        for start in range(0, len(resized), self.batch_size):
            yield image_files.normalise(
                resized[start : start + self.batch_size], self.space.mean, self.space.std
            )
