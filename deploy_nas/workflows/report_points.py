"""The points of a report's charts: subnets as this profile predicts them, and as they were timed."""

from __future__ import annotations

import numpy as np

from deploy_nas.accuracy.own import Predicts
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import SearchRecord
from deploy_nas.report.page import Point, block_of, run_block
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor
from deploy_nas.workflows.explain import shares
from deploy_nas.workflows.question import DEFAULT_CONFIDENCE

_CLOUD = 500


def point_of(profile: Profile, predictor: Predicts, record: ArchitectureRecord, name: str) -> Point:
    """A point predicted from this profile, so that all points are comparable."""
    layers, total = shares(profile, record)
    encoded = profile.space.encode([record.architecture])
    figures = AnalyticalEfficiencyPredictor(profile.space).get_efficiency(record.architecture)
    named = dict(profile.space.layers(record.architecture))
    blocks = [
        block_of(s.place, named[s.place], s.latency_ms)
        if s.place in named
        else run_block(s.place, s.latency_ms)
        for s in layers
    ]
    confidence = record.predicted.confidence or DEFAULT_CONFIDENCE
    bound = total * profile.upper_ratio(confidence) if profile.validated else None
    return Point(
        name=name,
        latency_ms=round(total, 6),
        bound_ms=None if bound is None else round(bound, 6),
        top1=round(float(predictor.percent_encoded(encoded)[0]), 4),
        image_size=record.image_size,
        figures={figure: round(value, 4) for figure, value in figures.items()}
        | dict(record.predicted.figures),  # of the search: peak memory depends on its bytes per element
        architecture=record.architecture,
        blocks=blocks,
    )


def timed_before(subnet: ArchitectureRecord, result: SearchRecord | None) -> float | None:
    """The latency that the search itself measured of the subnet, ms; ``None`` if it did not."""
    for record, timed in result.timed if result else ():
        if record.same_network(subnet):
            return timed.latency_ms
    return None


def timed_pairs(
    subnet: ArchitectureRecord, result: SearchRecord | None, winner: Point
) -> list[tuple[float, float, str]]:
    """Predicted and measured latency (ms), and name, of what was timed: the search's candidates, the winner.

    Args:
        subnet: the one reported on.
        result: of the search.
        winner: the point of ``subnet``, with its measured latency.
    """
    rows = [
        (record.predicted.latency_ms, timed.latency_ms, f"candidate {number}")
        for number, (record, timed) in enumerate(result.timed if result else (), start=1)
        if record.predicted.latency_ms is not None and not record.same_network(subnet)
    ]
    if winner.measured_ms is not None:
        rows.append((winner.latency_ms, winner.measured_ms, winner.name))
    return rows


def random_cloud(profile: Profile, predictor: Predicts) -> list[tuple[float, float]]:
    """Latency (ms) and top-1 (percent) of random subnets; always the same ones."""
    nets = profile.space.sample_encoded(np.random.default_rng(0), _CLOUD, profile.image_sizes)
    pairs = zip(profile.latency_ms(nets), predictor.percent_encoded(nets), strict=True)
    return [(round(float(ms), 5), round(float(top1), 3)) for ms, top1 in pairs]
