"""Pictures of two sets that are the same picture: encoded again, resized, or a little brighter."""

from __future__ import annotations

import numpy as np

from deploy_nas.adapters.images.pixels import Float32Array, UInt8Array
from deploy_nas.adapters.images.sets import ImageSet

_SIDE = 16
_CHUNK = 64
_COMPARED = 1024
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)

# Grey levels from which on a step counts. Without this dead zone plain backgrounds are compared by their
# noise: drawings on a plain sheet kept 0.16 of their steps when they were saved again as JPEG, with it 0.87.
_LEAST_STEP = 2.0
# Both limits from 341 photographs of clothes, against themselves and against 3,068 others. Saved as JPEG of
# quality 40, reduced to a third or brightened by 15%, the same pictures kept 0.83 of their steps or more, and
# thumbnails correlated by 0.99 (two brightened beyond white: 0.96). Of a million pairs of different pictures,
# many of them shirts spread on one sheet, the most alike had 0.79 and 0.959, and no pair had 0.6 and 0.96.
_LEAST_SHARED = 0.75
_LEAST_CORRELATION = 0.975


def near_duplicates(a: ImageSet, b: ImageSet) -> list[tuple[str, str]]:
    """Names of the pictures in ``a`` and in ``b`` that are nearly the same, in the order of ``a``.

    Pictures are the same if they share most of 256 steps, each of which says whether a place of the picture
    is brighter or darker than the place left of it or neither, and if thumbnails of 16x16 pixels correlate.
    Mirrored or cropped pictures are not found; those of a single colour are never reported. The sets may
    have different sizes. A picture without a name is called by its source and number.
    """
    steps_a, thumbs_a = _features(a.images)
    steps_b, thumbs_b = _features(b.images)
    found: list[tuple[str, str]] = []
    for start in range(0, len(a), _COMPARED):  # a chunk's products with 10,000 pictures take 80 MB
        part = slice(start, start + _COMPARED)
        alike = steps_a[part] @ steps_b.T >= _LEAST_SHARED
        alike &= thumbs_a[part] @ thumbs_b.T >= _LEAST_CORRELATION
        found += [(_name(a, start + int(i)), _name(b, int(j))) for i, j in np.argwhere(alike)]
    return found


def _features(images: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Steps of -1, 0 and 1, float32 ``[n, 256]``, thumbnails of mean 0 ``[n, 768]``; both of length 1."""
    steps = np.empty((len(images), _SIDE * _SIDE), dtype=np.float32)
    thumbs = np.empty((len(images), 3 * _SIDE * _SIDE), dtype=np.float32)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        pixels = images[part].astype(np.float32)
        differences = np.diff(_shrunk(np.tensordot(_LUMA, pixels, (0, 1)), _SIDE, _SIDE + 1))
        signs = np.sign(differences) * (np.abs(differences) >= _LEAST_STEP)
        steps[part] = _of_length_1(signs.reshape(len(pixels), -1))
        small = _shrunk(pixels, _SIDE, _SIDE).reshape(len(pixels), -1)
        thumbs[part] = _of_length_1(small - small.mean(axis=1, keepdims=True))
    return steps, thumbs


def _shrunk(pixels: Float32Array, height: int, width: int) -> Float32Array:
    """float32 ``[..., h, w]`` to ``[..., height, width]``, each value the mean of the area it covers."""
    rows, columns = _areas(pixels.shape[-2], height), _areas(pixels.shape[-1], width)
    return (rows @ pixels @ columns.T).astype(np.float32, copy=False)


def _areas(length: int, parts: int) -> Float32Array:
    """Weights float32 ``[parts, length]`` that average ``length`` pixels over equal ``parts``."""
    edges = np.linspace(0, length, parts + 1)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(covered, 0, None).astype(np.float32)
    result: Float32Array = weights / weights.sum(axis=1, keepdims=True)
    return result


def _of_length_1(rows: Float32Array) -> Float32Array:
    """Rows divided by their length; rows of zeros stay zeros, and are like no other."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def _name(given: ImageSet, index: int) -> str:
    return given.names[index] if given.names else f"{given.source} #{index}"
