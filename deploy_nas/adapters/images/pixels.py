"""Arrays of pixels: resized, and normalised as a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]


def resize(images: UInt8Array, image_size: int) -> UInt8Array:
    """uint8 ``[n, 3, h, w]`` to ``[n, 3, image_size, image_size]``: the centre square by PIL's BILINEAR."""
    if images.shape[2:] == (image_size, image_size):
        return images
    from PIL import Image

    result = np.empty((len(images), 3, image_size, image_size), dtype=np.uint8)
    for number, pixels in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        result[number] = as_array(square(picture, image_size))
    return result


def normalise(images: UInt8Array, mean: Sequence[float], std: Sequence[float]) -> Float32Array:
    """uint8 ``[n, 3, h, w]`` to float32: scaled to 0..1, minus ``mean``, divided by ``std``, per channel."""
    result = images.astype(np.float32)
    result /= np.float32(255.0)
    result -= np.asarray(mean, dtype=np.float32).reshape(1, 3, 1, 1)
    result /= np.asarray(std, dtype=np.float32).reshape(1, 3, 1, 1)
    return result


def preprocess(
    images: UInt8Array, image_size: int, mean: Sequence[float], std: Sequence[float]
) -> Float32Array:
    """uint8 ``[n, 3, h, w]`` to a network's input, float32 ``[n, 3, image_size, image_size]``."""
    return normalise(resize(images, image_size), mean, std)


def square(picture: Image.Image, size: int) -> Image.Image:
    """The centre square, resized: bilinear, antialiased."""
    from PIL import Image

    if picture.size == (size, size):
        return picture
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Cropped first: resize(box=...) also reads pixels outside its box.
    box = (left, top, left + side, top + side)
    return picture.crop(box).resize((size, size), Image.Resampling.BILINEAR)


def as_array(picture: Image.Image) -> UInt8Array:
    """An RGB picture as uint8 ``[3, height, width]``."""
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)
