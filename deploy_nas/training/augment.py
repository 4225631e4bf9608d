"""Batches of augmented images, in an order that a checkpoint can store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from deploy_nas.core.recipe import Augmentation

_WHOLE_LEAST_AREA = 0.8
_LOG_RATIOS = (math.log(3 / 4), math.log(4 / 3))


class Batches:
    """Augmented images on the device; every image is used once before any is used again.

    Args:
        images: uint8 ``[n, 3, s, s]``, which may be mapped from a file.
        labels: int64 ``[n]``.
        mean, std: per channel, of pixels scaled to 0..1.
        size: images per batch.
        side: side of the images in a batch, pixels.
        augmentation: the random changes.
        rng: source of all randomness.
        device: of the batches.
        part: of each batch that is made, by one of several processes; all draw for the whole batch.
    """

    def __init__(
        self,
        images: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int,
        side: int,
        augmentation: Augmentation,
        rng: np.random.Generator,
        device: torch.device,
        part: slice | None = None,
    ) -> None:
        self.size, self.side, self.augmentation = size, side, augmentation
        self.part = slice(0, size) if part is None else part
        self.rng, self.device = rng, device
        self.images = images
        # Images of the right size are cut on the device; others are cut one by one on the CPU.
        self.cropped = augmentation.least_area < 1.0 or images.shape[-1] != side
        self.on_device = None if self.cropped else torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1)
        self.order: np.ndarray[Any, Any] = np.empty(0, dtype=np.int64)

    def next(self, *, whole: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float32 ``[size, 3, side, side]`` and their labels, or the part of them.

        ``whole`` shows them nearly as they are: nothing is hidden, coloured or cut far.
        """
        while len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(len(self.labels))])
        chosen, self.order = self.order[: self.size], self.order[self.size :]
        chosen = chosen[self.part]
        index = to_device(chosen, self.device)
        x = self._cut(chosen, whole) if self.on_device is None else self._shifted(self.on_device[index])
        if self.augmentation.colour and not whole:
            x = self._coloured(x)
        y = self.normalise(x)
        if not whole and self.augmentation.cutout_pixels:
            y = y.masked_fill(self.holes(self.size, self.side)[self.part], 0.0)
        return y, self.labels[index]

    def _shifted(self, images: torch.Tensor) -> torch.Tensor:
        """The images moved at random within a black border, half of them flipped."""
        most, size, side = self.augmentation.shift_pixels, self.size, self.side
        x = functional.pad(images, (most, most, most, most))
        top = to_device(self.rng.integers(0, 2 * most + 1, size)[self.part], self.device)
        left = to_device(self.rng.integers(0, 2 * most + 1, size)[self.part], self.device)
        flip = to_device(self._flips(size)[self.part], self.device)
        steps = torch.arange(side, device=self.device)
        rows = (top[:, None] + steps)[:, None, :, None]
        columns = left[:, None] + torch.where(flip[:, None], steps.flip(0), steps)
        n = torch.arange(len(images), device=self.device)[:, None, None, None]
        c = torch.arange(3, device=self.device)[None, :, None, None]
        return x[n, c, rows, columns[:, None, None, :]]

    def _flips(self, size: int) -> np.ndarray[Any, Any]:
        """Half true, or all false where images must not be mirrored; the draw is made either way."""
        return self.rng.integers(0, 2, size).astype(bool) & self.augmentation.flip

    def _cut(self, chosen: np.ndarray[Any, Any], whole: bool) -> torch.Tensor:
        """Random parts of the images, each scaled to ``side``, half of them flipped."""
        least = self.augmentation.least_area
        if whole:
            least = max(least, _WHOLE_LEAST_AREA)
        size, full = self.size, self.images.shape[-1]
        area = self.rng.uniform(least, 1.0, size) * full**2
        ratio = np.exp(self.rng.uniform(*_LOG_RATIOS, size)) if least < 1.0 else np.ones(size)
        width = np.clip(np.rint(np.sqrt(area * ratio)), 1, full).astype(int)
        height = np.clip(np.rint(np.sqrt(area / ratio)), 1, full).astype(int)
        left = self.rng.integers(0, full - width + 1)
        top = self.rng.integers(0, full - height + 1)
        flip = self._flips(size)
        found = torch.empty((len(chosen), 3, self.side, self.side))
        for place, (number, image) in enumerate(zip(range(size)[self.part], chosen, strict=True)):
            t, l, h, w = int(top[number]), int(left[number]), int(height[number]), int(width[number])  # noqa: E741
            part = torch.from_numpy(np.array(self.images[image, :, t : t + h, l : l + w], dtype=np.float32))
            part = part.flip(2) if flip[number] else part
            found[place] = functional.interpolate(
                part[None], size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False
            )[0]
        return found.to(self.device, non_blocking=True)

    def _coloured(self, x: torch.Tensor) -> torch.Tensor:
        """Each image with another brightness, contrast and saturation, ``[n, 3, s, s]`` of 0..255."""
        most = self.augmentation.colour
        draws = self.rng.uniform(1 - most, 1 + most, (3, self.size, 1, 1, 1))[:, self.part].astype(np.float32)
        brightness, contrast, saturation = (to_device(draw, self.device) for draw in draws)
        x = x.float() * brightness
        x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast)
        return torch.lerp(x.mean(1, keepdim=True), x, saturation).clamp(0.0, 255.0)

    def holes(self, size: int, side: int) -> torch.Tensor:
        """bool ``[size, 1, side, side]``: one square per image, centred on a random pixel."""
        wide = self.augmentation.cutout_pixels
        middle = to_device(self.rng.integers(0, side, (2, size)), self.device)
        offset = torch.arange(side, device=self.device) - middle[:, :, None] + wide // 2
        inside = (offset >= 0) & (offset < wide)
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels of 0..255, ``[n, 3, h, w]``, to the network's input."""
        y = (x.float() / 255.0 - self.mean) / self.std
        return y.contiguous(memory_format=torch.channels_last)


def class_weights(labels: np.ndarray[Any, Any], classes: int, balance: float) -> np.ndarray[Any, Any]:
    """``count ** -balance`` of each class, scaled to 1 on average of the images: float32 ``[classes]``."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    scaled: np.ndarray[Any, Any] = (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
    return scaled


def to_device(values: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Copy values to the device, without waiting for its pending work."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def spans(total: int, size: int) -> Iterator[tuple[int, int]]:
    """``(start, stop)`` pairs that cover ``range(total)``."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
