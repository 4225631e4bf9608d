"""OFA's published predictors: which is for which space, and files that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy_nas.accuracy.encoding import FeatureLayout
from deploy_nas.accuracy.published import MOBILENET_V3, RESNET50, Published, published_for, read_published
from deploy_nas.core.errors import MismatchError, WeightsError
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import embedded_space, get_space, known_spaces

LINEAR = Published(
    family="Toy", filename="toy.pth", sha256="", widths=(3, 1), weights=("w",), biases=("b",), columns=()
)


def made_for() -> dict[str, Space]:
    """The space of each published predictor, by its family."""
    spaces = [space for space in known_spaces() if space.published_predictor]
    return {published_for(space)[0].family: space for space in spaces}


def test_each_has_the_space_it_was_made_for() -> None:
    assert set(made_for()) == {"MobileNetV3", "ResNet50"}
    for published in (MOBILENET_V3, RESNET50):
        space = made_for()[published.family]
        found, layout = published_for(space)
        assert found is published and len(layout.columns) == published.widths[0]
        assert published.note_for(space) == published.note
        assert published.url.endswith(published.filename)


def test_another_space_of_the_same_choices_is_warned_of() -> None:
    space = get_space("ofa-mbv3-w1.0")
    published, _ = published_for(space)
    note = published.note_for(space)
    assert published is MOBILENET_V3 and note.startswith(published.note)
    assert f"made for {made_for()['MobileNetV3'].id}: for {space.id} it ranks" in note


def test_other_choices_name_the_spaces_that_have_one() -> None:
    with pytest.raises(MismatchError) as caught:
        published_for(embedded_space())
    for space in made_for().values():
        assert space.id in caught.value.hint


def saved(path: Path, **state: object) -> Path:
    torch.save(state, path)
    return path


def test_columns_are_put_in_the_layouts_order(tmp_path: Path, tiny_space: Space) -> None:
    layout = FeatureLayout(space=tiny_space)
    names = layout.columns
    path = saved(tmp_path / "p.pth", w=torch.tensor([[4.0, 3.0, 2.0, 1.0]]), b=torch.tensor([0.5]))
    published = replace(LINEAR, widths=(len(names), 1), columns=tuple(reversed(names)))
    (layers,) = read_published(published, layout, path.read_bytes(), "p.pth").members
    np.testing.assert_array_equal(layers[0][0][:, 0], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(layers[0][1], [0.5])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"b": torch.zeros(1)}, r"w must be finite numbers of shape \(1, 3\), is missing"),
        ({"w": torch.zeros(1, 2), "b": torch.zeros(1)}, r"is \(1, 2\)"),
        ({"w": torch.zeros(1, 3), "b": torch.zeros(1), "x": torch.zeros(1)}, "x is not a key of OFA's Toy"),
    ],
)
def test_files_of_another_net(tmp_path: Path, tiny_space: Space, state: dict, message: str) -> None:
    layout = FeatureLayout(space=tiny_space)
    with pytest.raises(WeightsError, match=message):
        read_published(LINEAR, layout, saved(tmp_path / "p.pth", **state).read_bytes(), "p.pth")


def test_damaged_files(tmp_path: Path, tiny_space: Space) -> None:
    layout = FeatureLayout(space=tiny_space)
    with pytest.raises(WeightsError, match=r"p\.pth"):
        read_published(LINEAR, layout, b"text", "p.pth")
    path = tmp_path / "p.pth"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_published(LINEAR, layout, path.read_bytes(), "p.pth")
