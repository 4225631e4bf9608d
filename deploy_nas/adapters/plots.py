"""Plots written to files. The only importer of matplotlib, which is loaded on first use."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from deploy_nas.core.errors import OptionError, OutputError
from deploy_nas.records.files import write_atomic

FORMATS = ("svg", "png")
_COLOURS = ("#1f6fb2", "#c03030", "#e0a030", "#2a8a57")


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
        path: ends in .svg or .png; the same values give the same bytes.
        title: printed above the plot.
        force: replace an existing file.

    Raises:
        OptionError: the path ends in something else.
        OutputError: it cannot be drawn or written, or exists and ``force`` is not set.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise OptionError(f"must end in .{' or .'.join(FORMATS)}", subject=str(path))
    try:
        drawn = _drawn(groups, kind, title)
    except Exception as error:  # matplotlib raises what it likes, on import too
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise OutputError(f"could not be drawn ({line})", subject=str(path)) from error
    write_atomic(path, drawn, force=force)


def _drawn(groups: Sequence[Scatter], kind: str, title: str) -> bytes:
    """The picture's bytes, in matplotlib's own style: a user's may need LaTeX, or other fonts."""
    mpl = _matplotlib()
    from matplotlib.figure import Figure

    ours = {"svg.hashsalt": "deploy-nas", "svg.fonttype": "none"}
    usual = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    with mpl.rc_context({**usual, **ours}):
        figure = Figure(figsize=(5.6, 5.2), layout="constrained")
        axes = figure.add_subplot()
        values = [v for g in groups for v in (*g.predicted, *g.measured)]
        low, high = min(values), max(values)
        margin = 0.04 * (high - low) or 1.0
        ends = (low - margin, high + margin)
        axes.plot(ends, ends, color="#9aa5ae", lw=1, zorder=0)
        for group, colour in zip(groups, _COLOURS, strict=False):
            if group.spread is not None and any(group.spread):
                axes.errorbar(
                    group.predicted,
                    group.measured,
                    xerr=[2 * s for s in group.spread],
                    fmt="none",
                    ecolor=colour,
                    elinewidth=0.6,
                    alpha=0.35,
                )
            axes.scatter(
                group.predicted, group.measured, s=12, color=colour, alpha=0.75, lw=0, label=group.label
            )
        axes.set(xlim=ends, ylim=ends, aspect="equal", title=title)
        axes.set(xlabel="predicted top-1, %", ylabel="measured top-1, %")
        figure.legend(frameon=False, loc="outside lower center", fontsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def _matplotlib() -> ModuleType:
    """matplotlib, imported without ``MPLBACKEND``: a notebook's is unknown elsewhere, and ends the import."""
    named = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named is not None:
        with suppress(ValueError):  # the import would have raised it
            mpl.rcParams["backend"] = named
    module: ModuleType = mpl
    return module
