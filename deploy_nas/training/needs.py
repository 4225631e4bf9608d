"""The memory that a training needs, estimated before it begins."""

from __future__ import annotations

from deploy_nas.core.errors import OptionError
from deploy_nas.core.operators import Conv
from deploy_nas.core.space import Space

# A convolution's output, its norm's, its activation's, and the gradient of one of them.
_COPIES = 4
_FLOAT_BYTES = 4
# Of the libraries; and each weight has a gradient, a momentum and a copy for the checkpoint.
_FIXED_BYTES = 600_000_000
_WEIGHT_COPIES = 4


def training_bytes(space: Space, batch_size: int) -> int:
    """Estimated memory of training, without the images, bytes: of the largest subnet at its largest size."""
    elements = weights = 0
    for _, layer in space.layers(space.largest()):
        side = layer.in_size
        for op in layer.ops:
            side = op.out_size(side)
            if isinstance(op, Conv):
                elements += op.out_channels * side * side
        weights += layer.params
    passes = _COPIES * batch_size * elements
    return _FIXED_BYTES + _FLOAT_BYTES * (passes + _WEIGHT_COPIES * weights)


def check_memory(needed_bytes: int, available_bytes: int | None, batch_size: int) -> None:
    """Raise :class:`OptionError` if there is less memory than that; ``None``: it is not known."""
    if available_bytes is not None and needed_bytes > available_bytes:
        raise OptionError(
            f"{batch_size} images take about {needed_bytes / 1e9:.1f} GB of memory, "
            f"{available_bytes / 1e9:.1f} GB are free",
            subject="batch_size",
            hint="use a smaller one, or smaller `image_sizes`",
        )
