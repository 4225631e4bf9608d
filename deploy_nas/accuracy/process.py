"""A Gaussian process over architectures: predicts all subnets from a few hundred measured ones.

Subnets measured on the same images share most of the sampling error, so their accuracies are a smooth
function of the architecture with little noise. They are hard to learn because few genes matter, and those
interact (image size, depth, compute). The process works on the log of the error, where equal steps are equal
shares of what is left to gain: poor subnets, which differ by tens of points, would otherwise settle what is
said of the best, which differ by one. The kernel is the sum of a squared-exponential and a linear part with
one relevance weight per gene, found by maximising the marginal likelihood (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, sections 5.1 and 5.4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.supernets import one_torch_thread
from deploy_nas.core.space import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

# The cost is cubic in the number of subnets, so relevance weights and predictions use at most these many.
_MOST_FOR_WEIGHTS = 500
MOST_SUBNETS = 3000
_STEPS = 150
_STEP_SIZE = 0.08
_PRIOR_WIDTH = 1.0
_CHUNK = 4096
# Added to the error in points before its log is taken, so that an accuracy of 100% has one.
_LEAST_ERROR_POINTS = 1.0
# Prior means of the log weights: a gene is assumed to matter little.
_START = {"smooth": -2.5, "linear": -3.0}


Features = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A fitted Gaussian process; see :func:`fit_process`.

    Args:
        features: features of the training subnets, float64 ``[n, f]``.
        smooth, linear: weight of each column in the two parts of the kernel, float64 ``[f]``.
        variance: variance of the smooth part.
        noise_points: standard deviation of the noise, in points of top-1.
        centre, scale: mean and standard deviation of the training subnets on the scale of the process.
        factor: Cholesky factor of the kernel matrix, float64 ``[n, n]``.
        weights: weight of each training subnet in a prediction, float64 ``[n]``.
    """

    features: FloatArray
    smooth: FloatArray
    linear: FloatArray
    variance: float
    noise_points: float
    centre: float
    scale: float
    factor: FloatArray
    weights: FloatArray

    def mean(self, features: Features) -> FloatArray:
        """Predicted mean in percent, float64 ``[n]``; much faster than :meth:`predict`."""
        import torch

        known, weights = torch.from_numpy(self.features), torch.from_numpy(self.weights)
        smooth, linear = torch.from_numpy(self.smooth), torch.from_numpy(self.linear)
        means = [np.empty(0)]
        for start in range(0, len(features), _CHUNK):
            x = torch.from_numpy(np.asarray(features[start : start + _CHUNK], dtype=np.float64))
            means.append((_kernel(x, known, smooth, linear, self.variance) @ weights).numpy())
        return _percent(self.centre + self.scale * np.concatenate(means))

    def predict(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Predicted mean and standard deviation (without the noise) in percent, float64 ``[n]`` each."""
        import torch

        known, factor = torch.from_numpy(self.features), torch.from_numpy(self.factor)
        smooth, linear = torch.from_numpy(self.smooth), torch.from_numpy(self.linear)
        means, deviations = [], []
        for start in range(0, len(features), _CHUNK):
            x = torch.from_numpy(np.asarray(features[start : start + _CHUNK], dtype=np.float64))
            covariance = _kernel(x, known, smooth, linear, self.variance)
            means.append((covariance @ torch.from_numpy(self.weights)).numpy())
            explained = torch.linalg.solve_triangular(factor, covariance.T, upper=False).square().sum(dim=0)
            prior = self.variance + (x.square() * linear).sum(dim=1) + 1.0
            deviations.append((prior - explained).clamp_min(0.0).sqrt().numpy())
        if not means:
            return np.empty(0), np.empty(0)
        mean = _percent(self.centre + self.scale * np.concatenate(means))
        return mean, self.scale * np.concatenate(deviations) * _points_per_unit(mean)


def _scaled(percent: FloatArray) -> FloatArray:
    """Accuracies on the scale of the process: minus the log of the error."""
    return -np.log(100.0 + _LEAST_ERROR_POINTS - percent)


def _percent(scaled: FloatArray) -> FloatArray:
    return np.clip(100.0 + _LEAST_ERROR_POINTS - np.exp(-scaled), 0.0, 100.0)


def _points_per_unit(percent: FloatArray) -> FloatArray:
    """Points for each unit on the scale of the process, near these accuracies."""
    return 100.0 + _LEAST_ERROR_POINTS - percent


def _kernel(a: Tensor, b: Tensor, smooth: Tensor, linear: Tensor, variance: Tensor | float) -> Tensor:
    """Covariance of ``a`` ``[n, f]`` and ``b`` ``[m, f]``: ``[n, m]``."""
    root = smooth.sqrt()
    x, y = a * root, b * root
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2.0 * x @ y.T
    kernel: Tensor = variance * (-0.5 * squares.clamp_min(0.0)).exp() + (a * linear) @ b.T + 1.0
    return kernel


def _negative_log_prior(log_weights: Tensor, kind: Tensor) -> Tensor:
    """The prior: weights of genes of one kind (such as all kernel sizes) differ by about a factor of e."""
    import torch

    sums = torch.zeros(int(kind.max()) + 1, dtype=log_weights.dtype).index_add(0, kind, log_weights)
    means = sums / torch.bincount(kind)
    return 0.5 * ((log_weights - means[kind]) / _PRIOR_WIDTH).square().sum()


@one_torch_thread()
def fit_process(
    features: Features, percent: FloatArray, columns: Sequence[str], rng: np.random.Generator
) -> Process:
    """Fit a process to measured subnets.

    Args:
        features: their features, ``[n, f]``, at least two rows.
        percent: their top-1 in percent, float64 ``[n]``, not all equal.
        columns: names of the features; those equal up to the ``=`` (a gene's choices) share a weight.
        rng: chooses the subnets to use where there are too many.
    """
    import torch

    order = rng.permutation(len(percent))[:MOST_SUBNETS]
    scaled = _scaled(percent[order])
    centre, scale = float(scaled.mean()), float(scaled.std())
    y = torch.from_numpy((scaled - centre) / scale)
    x = torch.from_numpy(np.asarray(features[order], dtype=np.float64))
    genes = [column.partition("=")[0] for column in columns]
    group = torch.tensor([sorted(set(genes)).index(gene) for gene in genes])
    count = len(set(genes))
    kinds = [gene.partition("[")[0] for gene in sorted(set(genes))]

    def start(value: float, *shape: int) -> Tensor:
        return torch.full(shape, value, dtype=torch.float64, requires_grad=True)

    smooth, linear = start(_START["smooth"], count), start(_START["linear"], count)
    variance, noise = start(0.0), start(-2.0)
    kind = torch.tensor([sorted(set(kinds)).index(k) for k in kinds])
    eye = torch.eye(len(y), dtype=torch.float64)

    def factor_of(some: int) -> Tensor:
        kernel = _kernel(x[:some], x[:some], smooth.exp()[group], linear.exp()[group], variance.exp())
        factor: Tensor = torch.linalg.cholesky(kernel + (noise.exp() + 1e-6) * eye[:some, :some])
        return factor

    optimizer = torch.optim.Adam([smooth, linear, variance, noise], lr=_STEP_SIZE)
    some = min(len(y), _MOST_FOR_WEIGHTS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        factor = factor_of(some)
        white = torch.linalg.solve_triangular(factor, y[:some, None], upper=False)
        loss = 0.5 * white.square().sum() + factor.diagonal().log().sum()
        loss = loss + sum(_negative_log_prior(part, kind) for part in (smooth, linear))
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        factor = factor_of(len(y))
        return Process(
            features=x.numpy(),
            smooth=smooth.exp()[group].numpy(),
            linear=linear.exp()[group].numpy(),
            variance=float(variance.exp()),
            noise_points=scale * float(noise.exp().sqrt()) * float(_points_per_unit(percent.mean())),
            centre=centre,
            scale=scale,
            factor=factor.numpy(),
            weights=torch.cholesky_solve(y[:, None], factor)[:, 0].numpy(),
        )
