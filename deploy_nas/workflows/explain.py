"""Explain a subnet's latency: the share of each layer, and the single changes that save most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_nas.accuracy.own import Predicts
from deploy_nas.core.errors import MismatchError
from deploy_nas.core.shown import Shown, html_table
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.search.swaps import Swap, swaps

_LEAST_SHARE = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerShare:
    """One layer's part of the network's latency."""

    place: str
    key: str
    latency_ms: float
    share_percent: float


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Explanation(Shown):
    """Layers in order (the run itself last), their total, and swaps, the best trade first."""

    layers: tuple[LayerShare, ...]
    total_ms: float
    accuracy: float
    unit: str
    note: str
    swaps: tuple[Swap, ...]

    def _summary(self) -> str:
        return f"{self.total_ms:.4g} ms in {len(self.layers)} parts, {len(self.swaps)} swaps"

    def _details(self) -> str:
        points = 100.0 if self.unit == "fraction" else 1.0
        parts = html_table(
            ["place", "ms", "%", "layer"],
            [[x.place, x.latency_ms, x.share_percent, x.key] for x in self.layers],
        )
        rows = [[s.what, s.saved_ms, -points * s.lost] for s in self.swaps[:10]]
        return parts + html_table(["swap", "saves ms", "top-1 points"], rows)


def shares(profile: Profile, record: ArchitectureRecord) -> tuple[tuple[LayerShare, ...], float]:
    """Layers with their predicted share, in order, and the total, ms.

    A run takes some time of its own beside its layers, the last part. Where a network takes less than its
    layers' times together, for they are faster one after the other, each is scaled down in proportion: no
    part is below 0, and together they are the total.

    Raises:
        MismatchError: an architecture of another space, or an image size that was not profiled.
    """
    if profile.space.id != record.space.id:
        raise MismatchError(
            f"is of space {profile.space.id}, the architecture of {record.space.id}",
            subject=f"profile {profile.id}",
        )
    total = float(profile.latency_ms(profile.space.encode([record.architecture]))[0])
    parts = [
        (name, layer.key, profile.row(layer.key, record.image_size).latency_ms)
        for name, layer in profile.space.layers(record.architecture)
    ]
    together = sum(ms for _, _, ms in parts)
    rest = total - together
    if rest < 0:
        parts = [(name, key, ms * total / together) for name, key, ms in parts]
    elif rest > 1e-9:
        parts.append(("(run itself)", "", rest))
    layers = tuple(
        LayerShare(place=n, key=k, latency_ms=ms, share_percent=100 * ms / total) for n, k, ms in parts
    )
    return layers, total


def explain(profile: Profile, predictor: Predicts, record: ArchitectureRecord) -> Explanation:
    """Explain one subnet on one device; raises as :func:`shares` does."""
    layers, total = shares(profile, record)
    encoded = profile.space.encode([record.architecture])
    found = swaps(
        profile.space,
        encoded[0],
        profile.latency_ms,
        predictor.predict_encoded,
        image_sizes=profile.image_sizes,
        least_ms=_LEAST_SHARE * total,
    )
    return Explanation(
        layers=layers,
        total_ms=total,
        accuracy=float(np.asarray(predictor.predict_encoded(encoded))[0]),
        unit=predictor.unit,
        note=predictor.note,
        swaps=tuple(found),
    )
