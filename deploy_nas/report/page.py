"""The report: one HTML file that works offline, in light and dark, on wide and narrow screens.

It shows plain values (:class:`ReportData`). A small script in the page draws them, so the file stays near
200 KB; all text is readable without the script.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from deploy_nas.adapters.html import render
from deploy_nas.core.figures import ANALYTICAL
from deploy_nas.core.layers import Layer
from deploy_nas.core.space import Architecture, Space
from deploy_nas.report.evaluation import EvaluationShown
from deploy_nas.report.training import TrainingShown

_SCRIPTS = ("charts.js", "training.js", "page.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One place of a drawn network: the layer's kind, sizes in pixels, and its share of the latency."""

    place: str
    kind: str
    key: str
    latency_ms: float
    in_size: int = 0
    out_size: int = 0
    channels: int = 0
    middle: int = 0
    kernel: int = 0
    squeeze: bool = False
    stride: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One subnet: figures for the details, and its network for the drawing.

    ``top1`` is predicted, in percent; ``figures`` are by the names of ``core.figures``; ``measured_ms`` is
    ``None`` if it was not timed.
    """

    name: str
    latency_ms: float
    bound_ms: float | None
    top1: float
    image_size: int
    figures: Mapping[str, float]
    architecture: Architecture
    blocks: Sequence[Block]
    measured_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """Everything that a report shows.

    Args:
        title, subtitle: heading.
        winner: the subnet reported on.
        budget_ms: its latency budget, if there was one.
        front: other subnets, cheapest first.
        cloud: latency (ms) and top-1 (percent) of random subnets.
        pairs: predicted and measured latency (ms), and name, of networks held out of the profile's fit.
        timed: the same, of candidates that the search timed.
        facts: (name, value, explanation) of the winner, for the tiles.
        profile_facts: (name, value) of the profile's noise and validation.
        warnings: sentences to read first.
        swaps: (change, saved ms, change of top-1 in points).
        versions: (name, version).
        commands: that repeat the result.
        accuracy_note: the predictor's known bias; empty for none.
        max_slots: maximum number of blocks per stage, by stage name, to draw those left out.
        training: of the supernet that it comes from, if that is known.
        evaluation: of the exported file on labelled images, if there was one.
    """

    title: str
    subtitle: str
    winner: Point
    budget_ms: float | None
    front: Sequence[Point]
    cloud: Sequence[tuple[float, float]]
    pairs: Sequence[tuple[float, float, str]]
    timed: Sequence[tuple[float, float, str]]
    facts: Sequence[tuple[str, str, str]]
    profile_facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    swaps: Sequence[tuple[str, float, float]]
    versions: Sequence[tuple[str, str]]
    commands: Sequence[str]
    accuracy_note: str = ""
    max_slots: dict[str, int] = field(default_factory=dict)
    training: TrainingShown | None = None
    evaluation: EvaluationShown | None = None


def block_of(place: str, layer: Layer, latency_ms: float) -> Block:
    """A layer as it is drawn."""
    return Block(
        place=place,
        kind=layer.kind,
        key=layer.key,
        latency_ms=round(latency_ms, 6),
        in_size=layer.in_size,
        out_size=layer.out_size,
        channels=layer.out_channels,
        middle=layer.middle_channels,
        kernel=layer.kernel,
        squeeze=layer.squeezes,
        stride=layer.stride,
    )


def run_block(place: str, latency_ms: float) -> Block:
    """The part of a run's time that belongs to no single layer."""
    return Block(place=place, kind="run", key="", latency_ms=latency_ms)


def slots_by_stage(space: Space) -> dict[str, int]:
    """Maximum number of blocks per stage: ``{"stage1": 4, ...}``."""
    counts: dict[str, int] = {}
    for slot in space.slots:
        stage, dot, _ = slot.name.partition(".")
        if dot:
            counts[stage] = counts.get(stage, 0) + 1
    return counts


def render_report(data: ReportData) -> str:
    """The page as HTML."""
    folder = importlib.resources.files("deploy_nas.report").joinpath("page")

    def text(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    training = data.training
    drawn = {
        "winner": asdict(data.winner),
        "front": [asdict(point) for point in data.front],
        "cloud": data.cloud,
        "pairs": data.pairs,
        "timed": data.timed,
        "budget": data.budget_ms,
        "slots": data.max_slots,
        "figures": [asdict(figure) for figure in ANALYTICAL],
        "training": training and {"curve": training.curve, "phases": [asdict(p) for p in training.phases]},
    }
    values = {
        "data": data,
        "drawn": drawn,
        "style": text("page.css"),
        "script": "\n".join(map(text, _SCRIPTS)),
    }
    return render(text("page.html"), values, {"images.html": text("images.html")})
