"""Plots: of each kind, the same for the same values, and never over another file."""

from pathlib import Path

import pytest

from deploy_nas.adapters.plots import Scatter, plot_predictions
from deploy_nas.core.errors import OptionError, OutputError

GROUPS = [
    Scatter(label="held out", predicted=[80.0, 81.0, 85.5], measured=[80.2, 80.9, 85.0]),
    Scatter(label="others", predicted=[82.0], measured=[82.5], spread=[0.3]),
]


def test_svg_holds_the_words_and_every_point(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    plot_predictions(GROUPS, path, title="ofa <mbv3>")
    text = path.read_text()
    for word in ("held out", "others", "ofa &lt;mbv3&gt;", "predicted top-1, %", "measured top-1, %"):
        assert word in text
    groups = [part.partition("</g>")[0] for part in text.split("PathCollection")[1:3]]  # then the legend's
    assert [part.count("<use ") for part in groups] == [3, 1]
    plot_predictions(GROUPS, tmp_path / "again.svg", title="ofa <mbv3>")
    assert (tmp_path / "again.svg").read_bytes() == path.read_bytes()


def test_png_and_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    plot_predictions(GROUPS, path, title="t")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="exists already"):
        plot_predictions(GROUPS, path, title="t")
    with pytest.raises(OptionError, match=r"must end in \.svg or \.png"):
        plot_predictions(GROUPS, tmp_path / "p.pdf", title="t")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]
