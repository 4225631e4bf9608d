"""Plots: the same for the same values, and never over another file."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy_nas.adapters.plots import Scatter, plot_predictions
from deploy_nas.core.errors import OptionError, OutputError

GROUPS = [
    Scatter(label="held out", predicted=[80.0, 81.0, 85.5], measured=[80.2, 80.9, 85.0]),
    Scatter(label="others", predicted=[82.0], measured=[82.5], spread=[0.3]),
]
SVG = "{http://www.w3.org/2000/svg}"


def test_it_holds_the_words_and_every_point(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    plot_predictions(GROUPS, path, title="ofa <mbv3>")
    drawn = ElementTree.fromstring(path.read_text())  # noqa: S314 - ours
    words = [text.text for text in drawn.iter(f"{SVG}text")]
    for word in ("held out", "others", "ofa <mbv3>", "predicted top-1, %", "measured top-1, %", "82"):
        assert word in words
    assert [len(list(group)) for group in drawn.iter(f"{SVG}g")] == [3, 1]
    plot_predictions(GROUPS, tmp_path / "again.svg", title="ofa <mbv3>")
    assert (tmp_path / "again.svg").read_bytes() == path.read_bytes()


def test_a_point_lies_where_its_values_are(tmp_path: Path) -> None:
    """Both axes have one scale: a point of equal values is on the line, one measured higher above it."""
    path = tmp_path / "p.svg"
    points = Scatter(label="a", predicted=[10.0, 20.0, 15.0], measured=[10.0, 20.0, 17.0])
    plot_predictions([points], path, title="t")
    group = next(ElementTree.fromstring(path.read_text()).iter(f"{SVG}g"))  # noqa: S314 - ours
    (x0, y0), (x1, y1), (x2, y2) = ((float(c.get("cx", "")), float(c.get("cy", ""))) for c in group)
    assert x1 - x0 == pytest.approx(y0 - y1) and x2 - x0 == pytest.approx((x1 - x0) / 2, abs=0.1)
    assert y0 - y2 == pytest.approx(0.7 * (y0 - y1), abs=0.1)


def test_one_value_alone_can_be_drawn(tmp_path: Path) -> None:
    plot_predictions([Scatter(label="a", predicted=[50.0], measured=[50.0])], tmp_path / "p.svg", title="t")
    assert "nan" not in (tmp_path / "p.svg").read_text()


def test_what_is_refused(tmp_path: Path) -> None:
    plot_predictions(GROUPS, tmp_path / "p.svg", title="t")
    with pytest.raises(OutputError, match="exists already"):
        plot_predictions(GROUPS, tmp_path / "p.svg", title="another")
    with pytest.raises(OptionError, match=r"must end in \.svg"):
        plot_predictions(GROUPS, tmp_path / "p.png", title="t")
