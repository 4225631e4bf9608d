"""Batches of augmented images, in an order that a checkpoint can store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional


class Batches:
    """Random crops and flips of images on the device; every image is used once before any is used again.

    Args:
        images: uint8 ``[n, 3, side, side]``.
        labels: int64 ``[n]``.
        mean, std: per channel, of pixels scaled to 0..1.
        size: images per batch.
        cutout_pixels: side of the square that is hidden (DeVries and Taylor, 2017); 0 hides none.
    """

    def __init__(
        self,
        images: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int,
        cutout_pixels: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        self.size, self.cutout_pixels, self.rng, self.device = size, cutout_pixels, rng, device
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1)
        self.order: np.ndarray[Any, Any] = np.empty(0, dtype=np.int64)

    def next(self, *, whole: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """A random crop of padded images, half of them flipped, with cutout unless ``whole``."""
        size = self.size
        while len(self.order) < size:
            self.order = np.concatenate([self.order, self.rng.permutation(len(self.labels))])
        chosen, self.order = self.order[:size], self.order[size:]
        index = to_device(chosen, self.device)
        x = functional.pad(self.images[index], (4, 4, 4, 4))
        side = self.images.shape[-1]
        top = to_device(self.rng.integers(0, 9, size), self.device)
        left = to_device(self.rng.integers(0, 9, size), self.device)
        flip = to_device(self.rng.integers(0, 2, size).astype(bool), self.device)
        steps = torch.arange(side, device=self.device)
        rows = (top[:, None] + steps)[:, None, :, None]
        columns = left[:, None] + torch.where(flip[:, None], steps.flip(0), steps)
        n = torch.arange(size, device=self.device)[:, None, None, None]
        c = torch.arange(3, device=self.device)[None, :, None, None]
        x = x[n, c, rows, columns[:, None, None, :]]
        y = self.normalise(x)
        if not whole and self.cutout_pixels:
            y = y.masked_fill(self.holes(size, side), 0.0)
        return y, self.labels[index]

    def holes(self, size: int, side: int) -> torch.Tensor:
        """bool ``[size, 1, side, side]``: one square per image, centred on a random pixel."""
        middle = to_device(self.rng.integers(0, side, (2, size)), self.device)
        offset = torch.arange(side, device=self.device) - middle[:, :, None] + self.cutout_pixels // 2
        inside = (offset >= 0) & (offset < self.cutout_pixels)
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 ``[n, 3, h, w]`` to the network's input."""
        y = (x.float() / 255.0 - self.mean) / self.std
        return y.contiguous(memory_format=torch.channels_last)


def to_device(values: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Copy values to the device, without waiting for its pending work."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def spans(total: int, size: int) -> Iterator[tuple[int, int]]:
    """``(start, stop)`` pairs that cover ``range(total)``."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
