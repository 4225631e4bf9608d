"""Small pictures: at most so large, of the same proportions, and recognisable."""

import io

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters.thumbnails import thumbnail


@pytest.mark.parametrize(
    ("height", "width", "size"), [(200, 100, (48, 96)), (224, 224, (96, 96)), (32, 20, (20, 32))]
)
def test_it_fits_and_is_never_enlarged(height, width, size):
    found = Image.open(io.BytesIO(thumbnail(np.zeros((3, height, width), np.uint8), 96)))
    assert (found.format, found.size) == ("JPEG", size)


def test_it_shows_the_picture_and_is_small():
    pixels = np.zeros((3, 192, 192), np.uint8)
    pixels[0, :, 96:] = 255  # red on the right
    made = thumbnail(pixels, 96)
    found = np.asarray(Image.open(io.BytesIO(made)))
    assert found[48, 80, 0] > 240 and found[48, 80, 1:].max() < 15 and found[48, 10].max() < 15
    assert len(made) < 4000 and made == thumbnail(pixels, 96)
