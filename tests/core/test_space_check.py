"""A declaration that is wrong is refused with the name of its fault, before anything relies on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear
from deploy_nas.core.space import Gene, Slot, Space
from deploy_nas.core.space_check import check_space
from deploy_nas.core.spaces import known_spaces


def conv(in_channels: int, kernel: int) -> Conv:
    return Conv(role="conv", in_channels=in_channels, out_channels=8, kernel=kernel, activation="relu")


def stem(size: int) -> Layer:
    return Layer(kind="stem", in_channels=3, in_size=size, ops=(conv(3, 3),))


def block(size: int, kernel: int, depth: int) -> Layer | None:
    return Layer(kind="block", in_channels=8, in_size=size, ops=(conv(8, kernel),)) if depth > 1 else None


def tail(size: int) -> Layer:
    ops = (GlobalPool(role="pool", channels=8), Linear(role="out", in_channels=8, out_channels=4))
    return Layer(kind="tail", in_channels=8, in_size=size, ops=ops)


KERNEL = Gene(key="ks", index=0, choices=(3, 5), gate=(1, 1))
DEPTH = Gene(key="d", index=None, choices=(1, 2))
STEM, BLOCK, TAIL = (
    Slot(name="stem", genes=(), build=stem),
    Slot(name="block", genes=(0, 1), build=block),
    Slot(name="tail", genes=(), build=tail),
)
TINY = Space(
    id="tiny",
    summary="a tiny space",
    supernet={"class": "tiny:supernet"},
    image_sizes=(16, 24),
    profile_image_sizes=(16,),
    classes=4,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    genes=(KERNEL, DEPTH),
    slots=(STEM, BLOCK, TAIL),
)


def test_whole_declarations_pass() -> None:
    assert check_space(TINY) is TINY
    for space in known_spaces():
        assert check_space(space) is space


def test_what_is_no_space_is_named() -> None:
    for other in (None, Space, "tiny", {"id": "tiny"}):
        with pytest.raises(TypeError, match="not a Space"):
            check_space(other)


def gene(**changes: object) -> dict[str, object]:
    return {"genes": (replace(KERNEL, **changes), DEPTH)}  # type: ignore[arg-type]


def slot(build: Callable[..., object], genes: object = (0, 1)) -> dict[str, object]:
    return {"slots": (STEM, Slot(name="block", genes=genes, build=build), TAIL)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": None}, "id: must be a string, is NoneType"),
        ({"id": ""}, "id: '' is empty"),
        ({"summary": "a\x1b[2J"}, "summary: .* characters that cannot be shown"),
        ({"labels": ("a", "b")}, "labels: 2 names of 4 classes"),
        ({"labels": ["a", "b", "c", "d"]}, "labels: must be a tuple, is list"),
        ({"labels": ("a", "b", "c", 4)}, r"labels\[3\]: is 4"),
        ({"image_sizes": ()}, "image_sizes: is empty"),
        ({"image_sizes": (16.5, 24)}, r"image_sizes\[0\]: is 16.5"),
        ({"image_sizes": (0, 24)}, r"image_sizes\[0\]: must be from 1 to"),
        ({"image_sizes": (16, 10**9)}, r"image_sizes\[1\]: must be from 1 to"),
        ({"image_sizes": (24, 16)}, "image_sizes: .* not ascending"),
        ({"image_sizes": (16, 16)}, "image_sizes: .* not ascending"),
        ({"image_sizes": (True, 24)}, r"image_sizes\[0\]: must be a whole number"),
        ({"profile_image_sizes": (32,)}, "profile_image_sizes: 32 is not one of"),
        ({"classes": 0}, "classes: must be from 1"),
        ({"classes": 4.0}, "classes: must be a whole number"),
        ({"classes": 5}, "slot tail: ends in 4 of 5 classes"),
        ({"mean": (math.nan, 0.5, 0.5)}, r"mean\[0\]: nan cannot be"),
        ({"mean": (0.5, 0.5)}, "mean: 2 numbers, 3 channels"),
        ({"mean": None}, "mean: must be a tuple"),
        ({"std": (0.5, 0.0, 0.5)}, r"std\[1\]: 0.0 cannot be"),
        ({"std": (0.5, math.inf, 0.5)}, r"std\[1\]: inf cannot be"),
        ({"supernet": None}, "supernet: must be a mapping, is NoneType"),
        ({"supernet": {}}, r"supernet\['class'\]: must be a string"),
        ({"supernet": {"class": "a", 3: 4}}, "supernet: has a key that is not a string"),
        ({"default_weights": "weights.pth"}, "default_weights: must be Resource, is str"),
        ({"published_weights": "https://x"}, "published_weights: must be Download, is str"),
        ({"genes": None}, "genes: must be a tuple"),
        ({"genes": (KERNEL, None)}, r"genes\[1\]: is None"),
        (gene(key=3), r"genes\[0\]\.key: must be a string"),
        (gene(key="image_size"), r"genes\[0\]\.key: 'image_size' has a meaning"),
        (gene(key="digest"), r"genes\[0\]\.key: 'digest' has a meaning"),
        (gene(key="line"), r"genes\[0\]\.key: 'line' has a meaning"),
        (gene(key="r"), r"genes\[0\]\.key: 'r' has a meaning"),
        (gene(index=1), "genes: the indices of 'ks'"),
        (gene(index=-1), r"genes\[0\]\.index: must be from 0"),
        (gene(choices=()), r"genes\[0\]\.choices: \[\] are not ascending"),
        (gene(choices=(5, 3)), r"genes\[0\]\.choices: .* not ascending"),
        (gene(choices=(3, math.nan)), r"genes\[0\]\.choices\[1\]: nan is not a finite number"),
        (gene(choices=("3", "5")), r"genes\[0\]\.choices\[0\]: is '3'"),
        (gene(same=None), r"genes\[0\]\.same: must be a tuple"),
        (gene(gate=(7, 1)), r"genes\[0\]\.gate\[0\]: must be from 0 to 1, is 7"),
        (gene(gate=(-1, 1)), r"genes\[0\]\.gate\[0\]: must be from 0 to 1, is -1"),
        (gene(gate=(0, 1)), r"genes\[0\]\.gate\[0\]: names the gene itself"),
        (gene(gate=(1, 2)), r"genes\[0\]\.gate\[1\]: must be from 0 to 1, is 2"),
        (gene(gate=(1, 0.5)), r"genes\[0\]\.gate\[1\]: must be a whole number"),
        (gene(gate=3), r"genes\[0\]\.gate: must be a gene's number and a choice's"),
        ({"slots": ()}, "slots: is empty"),
        ({"slots": (STEM, STEM, TAIL)}, "slots: two have the same name"),
        ({"slots": (STEM, BLOCK)}, "slot stem: ends in 8 of 4 classes"),
        (slot(block, (0, 2)), r"slots\[1\]\.genes\[1\]: must be from 0 to 1"),
        (slot(block, (0, 0)), r"slots\[1\]\.genes: names a gene twice"),
        (slot(None), r"slots\[1\]\.build: is not a function"),  # type: ignore[arg-type]
        (slot(lambda *values: 3), "slot block: build returned int, not a Layer"),
        (slot(lambda size, *values: 3 if size > 16 else None), "'int' object has no attribute"),
        (slot(lambda size, kernel, depth: block(16.5, kernel, depth)), "in_size: must be a whole number"),  # type: ignore[arg-type]
        (
            slot(lambda size, kernel, depth: block(9, kernel, depth)),
            "slot block: takes 8 channels of 9 pixels",
        ),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError), match=says):
        check_space(replace(TINY, **changes))  # type: ignore[arg-type]


def test_a_table_that_nobody_could_build_is_refused_before_it_is_built() -> None:
    many = Gene(key="d", index=None, choices=tuple(range(1, 300_000)))
    with pytest.raises(ValueError, match=r"slots\[1\]: has 1199996 choices, at most 1000000"):
        check_space(replace(TINY, genes=(KERNEL, many)))
