"""Small pictures for a page."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

_QUALITY = 80


def thumbnail(pixels: NDArray[np.uint8], side: int) -> bytes:
    """A picture, uint8 ``[3, h, w]`` RGB, as a JPEG file of at most ``side`` pixels either way.

    Its proportions stay, and a smaller picture keeps its size.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
