"""Results in notebooks: a line, a table, the front as a picture, and a report within the page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from deploy_nas.core.shown import html_table
from deploy_nas.records.architecture import ArchitectureRecord

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 24, 40


def architecture_line(record: ArchitectureRecord) -> str:
    """An architecture in a line, with its bound and what was measured."""
    said, line = record.predicted, repr(record)[1:-1].partition(": ")[2]
    if said.bound_ms is not None:
        line += f", at most {said.bound_ms:.4g} ms by its bound"
    return line if said.measured_ms is None else f"{line}, measured {said.measured_ms:.4g} ms"


def subnets_table(records: Sequence[ArchitectureRecord]) -> str:
    """Architectures with their predictions, a row each."""
    rows = [
        [r.predicted.latency_ms, r.predicted.bound_ms, r.predicted.accuracy_percent, r.image_size]
        for r in records
    ]
    return html_table(["predicted ms", "at most ms", "predicted top-1 %", "px"], rows)


def front_picture(records: Sequence[ArchitectureRecord]) -> str:
    """Latency against top-1 as an SVG that needs no script, in the colours of the page that shows it."""
    points = [(r.predicted.latency_ms or 0.0, r.predicted.accuracy_percent or 0.0) for r in records]
    xs, ys = _span([x for x, _ in points]), _span([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - ys[0]) / (ys[1] - ys[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return round(_LEFT + across, 1), round(_HEIGHT - _BOTTOM - up, 1)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = xs[0] + share * (xs[1] - xs[0]), ys[0] + share * (ys[1] - ys[0])
        across, _ = place(x, ys[0])
        _, up = place(xs[0], y)
        parts.append(_text(across, _HEIGHT - _BOTTOM + 16, f"{x:.3g}", "middle"))
        parts.append(_text(_LEFT - 6, up + 4, f"{y:.3g}", "end"))
        parts.append(
            f'<path d="M{_LEFT} {up}H{_WIDTH - _RIGHT}M{across} {_TOP}V{_HEIGHT - _BOTTOM}" '
            'stroke="currentColor" stroke-opacity="0.15"/>'
        )
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 6, "predicted latency, ms", "end"))
    parts.append(_text(0, 12, "predicted top-1, %", "start"))
    placed = [place(x, y) for x, y in points]
    line = " ".join(f"{x},{y}" for x, y in placed)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2f6fde" stroke-opacity="0.5"/>')
    for (x, y), record in zip(placed, records, strict=True):
        said = html.escape(architecture_line(record))
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="#2f6fde"><title>{said}</title></circle>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="accuracy against latency">{"".join(parts)}</svg>'
    )


def page_inline(page: str) -> str:
    """A whole page within another."""
    return f'<iframe srcdoc="{html.escape(page)}" style="width:100%;height:700px;border:0"></iframe>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * 0.05
    return low - room, high + room


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11" fill="currentColor" text-anchor="{anchor}">{text}</text>'
