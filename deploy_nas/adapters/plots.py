"""The one plot that is a file of its own, an SVG: measured against predicted top-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from deploy_nas.core.errors import OptionError
from deploy_nas.records.files import write_atomic

_COLOURS = ("#1f6fb2", "#c03030", "#e0a030", "#2a8a57")
_WIDTH, _SIDE, _LEFT, _TOP = 560, 440, 84, 44  # of picture and axes, and where the axes begin, px
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Predicted and measured values, and the spread of each prediction (``None``: unknown)."""

    label: str
    predicted: Sequence[float]
    measured: Sequence[float]
    spread: Sequence[float] | None = None


def plot_predictions(groups: Sequence[Scatter], path: Path, *, title: str, force: bool = False) -> None:
    """Plot measured against predicted top-1 in percent, with the line on which both agree.

    Args:
        groups: each is drawn in its own colour; error bars extend two spreads to each side.
        path: ends in .svg; the same values give the same bytes.
        title: printed above the plot.
        force: replace an existing file.

    Raises:
        OptionError: the path ends in something else.
        OutputError: it cannot be written, or exists and ``force`` is not set.
    """
    if path.suffix.lower() != ".svg":
        raise OptionError("must end in .svg", subject=str(path))
    write_atomic(path, _drawn(groups, title).encode(), force=force)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Axes:
    """Both axes go from ``low`` to ``high``."""

    low: float
    high: float

    def across(self, value: float) -> str:
        return f"{_LEFT + _SIDE * (value - self.low) / (self.high - self.low):.1f}"

    def up(self, value: float) -> str:
        return f"{_TOP + _SIDE * (self.high - value) / (self.high - self.low):.1f}"

    def ticks(self) -> list[tuple[float, str]]:
        """About five round values, and how they are written."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** np.floor(np.log10(rough))
        step = next(unit * s for s in _STEPS if unit * s >= rough)
        values = np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step
        places = max(0, -int(np.floor(np.log10(step))))
        return [(float(v), f"{v:.{places}f}") for v in values]


def _drawn(groups: Sequence[Scatter], title: str) -> str:
    values = [v for g in groups for v in (*g.predicted, *g.measured)]
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 1.0
    axes = _Axes(low=low - margin, high=high + margin)
    bottom, right, middle = _TOP + _SIDE, _LEFT + _SIDE, _LEFT + _SIDE / 2
    height = bottom + 64 + 20 * len(groups)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{middle}" y="26" text-anchor="middle" font-size="15">{escape(title)}</text>',
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#222"/>',
        f'<path d="M{_LEFT} {bottom}L{right} {_TOP}" stroke="#9aa5ae"/>',
    ]
    for value, text in axes.ticks():
        x, up = axes.across(value), axes.up(value)
        lines += [
            f'<path d="M{x} {bottom}v5M{_LEFT} {up}h-5" stroke="#222"/>',
            f'<text x="{x}" y="{bottom + 19}" text-anchor="middle">{text}</text>',
            f'<text x="{_LEFT - 9}" y="{up}" dy="4" text-anchor="end">{text}</text>',
        ]
    lines += [
        f'<text x="{middle}" y="{bottom + 40}" text-anchor="middle">predicted top-1, %</text>',
        f'<text transform="translate(24 {_TOP + _SIDE / 2}) rotate(-90)" text-anchor="middle">'
        "measured top-1, %</text>",
    ]
    for n, (group, colour) in enumerate(zip(groups, _COLOURS, strict=False)):
        lines += _points(group, colour, axes)
        y = bottom + 64 + 20 * n
        lines.append(f'<circle cx="{_LEFT}" cy="{y - 4}" r="4" fill="{colour}"/>')
        lines.append(f'<text x="{_LEFT + 12}" y="{y}">{escape(group.label)}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _points(group: Scatter, colour: str, axes: _Axes) -> list[str]:
    """A group's error bars, and its points over them."""
    spreads = group.spread or [0.0] * len(group.predicted)
    bars = [
        f"M{axes.across(p - 2 * s)} {axes.up(m)}H{axes.across(p + 2 * s)}"
        for p, m, s in zip(group.predicted, group.measured, spreads, strict=True)
        if s
    ]
    drawn = [f'<path d="{"".join(bars)}" stroke="{colour}" stroke-opacity="0.35"/>'] if bars else []
    return [
        *drawn,
        f'<g fill="{colour}" fill-opacity="0.75">',
        *(
            f'<circle cx="{axes.across(p)}" cy="{axes.up(m)}" r="2.5"/>'
            for p, m in zip(group.predicted, group.measured, strict=True)
        ),
        "</g>",
    ]
