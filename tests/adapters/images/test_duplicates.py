"""The same picture is found again, however it was saved; pictures that merely look alike are not."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from deploy_nas.adapters.images import ImageSet, near_duplicates, resize


def image_set(pictures: list[Image.Image], side: int = 96, kind: str = "a") -> ImageSet:
    pixels = [np.asarray(p.resize((side, side)).convert("RGB")).transpose(2, 0, 1) for p in pictures]
    return ImageSet(
        images=np.stack(pixels),
        labels=np.zeros(len(pixels), np.int64),
        classes=("x",),
        source=kind,
        names=tuple(f"{kind}/{number}.png" for number in range(len(pixels))),
    )


def scene(seed: int) -> Image.Image:
    """Shapes of any colour and place."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (128, 128), tuple(rng.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, w, h = rng.integers(0, 100, 4).tolist()
        draw.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 230, 3).tolist()))
    return picture


def on_a_sheet(seed: int) -> Image.Image:
    """One shape in the middle of a plain sheet with a little noise."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (128, 128), (225, 222, 218))
    draw = ImageDraw.Draw(picture)
    x, y, w, h = rng.integers(10, 60, 4).tolist()
    shape = draw.ellipse if seed % 2 else draw.rectangle
    shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 200, 3).tolist()))
    noise = rng.normal(0, 2, (128, 128, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def saved(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


CHANGES = {
    "encoded again": lambda picture: saved(picture, 40),
    "resized": lambda picture: picture.resize((50, 50)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("draw", [scene, on_a_sheet])
def test_the_same_picture_is_found(change: str, draw: object) -> None:
    pictures = [draw(seed) for seed in range(20)]
    changed = [CHANGES[change](picture) for picture in pictures[::-1]]
    found = near_duplicates(image_set(pictures), image_set(changed, side=64, kind="b"))
    assert found == [(f"a/{number}.png", f"b/{19 - number}.png") for number in range(20)]


@pytest.mark.parametrize("draw", [scene, on_a_sheet])
def test_other_pictures_are_not(draw: object) -> None:
    first, second = ([draw(seed) for seed in range(start, start + 40)] for start in (0, 100))
    assert near_duplicates(image_set(first), image_set(second)) == []


def test_pictures_of_one_colour_say_nothing() -> None:
    plain = image_set([Image.new("RGB", (32, 32), "white"), Image.new("RGB", (32, 32), "black")])
    assert near_duplicates(plain, plain) == []


def test_sets_without_names_are_called_by_number() -> None:
    given = replace(image_set([scene(0), scene(1)]), names=())
    assert near_duplicates(given, given) == [("a #0", "a #0"), ("a #1", "a #1")]


def test_ten_thousand_pictures_against_a_thousand_take_seconds(rng: np.random.Generator) -> None:
    pixels = resize(rng.integers(0, 256, (10_000, 3, 4, 4), dtype=np.uint8), 24)
    many = ImageSet(images=pixels, labels=np.zeros(10_000, np.int64), classes=(), source="m")
    few = many.take(range(0, 10_000, 10))
    began_s = time.monotonic()
    found = near_duplicates(many, few)
    assert time.monotonic() - began_s < 20
    assert ("m #0", "m #0") in found and len(found) >= 1000
