"""Pixels as a network takes them: resized as PIL does, scaled, normalised."""

import numpy as np
from PIL import Image

from deploy_nas.adapters.images.pixels import as_array, normalise, preprocess, resize, square


def test_preprocess_scales_and_normalises() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    out = preprocess(images, 8, mean, std)
    expected = (images / 255.0 - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    assert out.dtype == np.float32 and out.flags.c_contiguous
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_array_equal(normalise(images, mean, std), out)


def test_resize_is_pils_antialiased_bilinear() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 13), dtype=np.uint8)
    out = resize(images, 6)
    square = images[1][:, :, 2:11]  # a picture is cut, never squashed
    picture = Image.fromarray(square.transpose(1, 2, 0)).resize((6, 6), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(out[1], np.asarray(picture).transpose(2, 0, 1))
    assert resize(images[..., :9], 9).shape == (2, 3, 9, 9)
    checker = np.zeros((1, 3, 8, 8), dtype=np.uint8)
    checker[..., ::2] = 255  # without antialiasing this would stay black or white
    assert np.all(np.abs(resize(checker, 4).astype(int) - 128) < 40)


def test_a_picture_is_cut_to_its_centre_square() -> None:
    pixels = np.zeros((4, 10, 3), dtype=np.uint8)
    pixels[:, 3:7] = 200
    picture = Image.fromarray(pixels)
    assert as_array(square(picture, 4)).min() == 200
    assert as_array(picture).shape == (3, 4, 10)
    flat = picture.crop((0, 0, 4, 4))
    assert square(flat, 4) is flat
