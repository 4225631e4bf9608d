"""Plots: of each kind, the same for the same values, and never over another file."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
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


def test_the_users_style_is_left_out_and_kept(tmp_path: Path) -> None:
    """LaTeX may be missing, and a file of the same values is to be the same file."""
    plot_predictions(GROUPS, tmp_path / "usual.svg", title="t")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30.0, "figure.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        plot_predictions(GROUPS, tmp_path / "styled.svg", title="t")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "styled.svg").read_bytes() == (tmp_path / "usual.svg").read_bytes()


def test_a_notebooks_backend_stops_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from deploy_nas.adapters.plots import *\n"
        "one = [Scatter(label='a', predicted=[1.0, 2.0], measured=[1.0, 2.0])]\n"
        "plot_predictions(one, Path('p.svg'), title='t')\n"
        "assert 'matplotlib' in sys.modules and os.environ['MPLBACKEND'].startswith('module:')\n"
    )
    named = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, **named}, check=True)
    assert (tmp_path / "p.svg").exists()


def test_what_cannot_be_drawn_is_an_error_of_ours(tmp_path: Path, monkeypatch) -> None:
    def fails(*arguments, **options):
        raise RuntimeError("no font\nat all")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    with pytest.raises(OutputError, match=r"p\.svg: could not be drawn \(no font\)"):
        plot_predictions(GROUPS, tmp_path / "p.svg", title="t")
    assert not list(tmp_path.iterdir())


def test_png_and_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    plot_predictions(GROUPS, path, title="t")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="exists already"):
        plot_predictions(GROUPS, path, title="t")
    with pytest.raises(OptionError, match=r"must end in \.svg or \.png"):
        plot_predictions(GROUPS, tmp_path / "p.pdf", title="t")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]
