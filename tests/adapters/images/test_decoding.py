"""One picture from its bytes: upright, over white, 8 bits per channel, or a reason why not."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features

from deploy_nas.adapters.images import decoding
from deploy_nas.adapters.images.decoding import Decoded, UnfitPictureError, decode


def encoded(picture: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def plain(data: bytes) -> np.ndarray:
    """The picture as it is, uint8 ``[3, height, width]``."""
    return decode(data, [None]).pixels[0]


def exif(orientation: int) -> Image.Exif:
    held = Image.Exif()
    held[0x0112] = orientation
    return held


# -- orientation -----------------------------------------------------------------------------------

# How a camera that was held like this stores the picture: the inverse of turning it upright.
STORED = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_upright(kind: str, orientation: int) -> None:
    if kind in ("WEBP", "AVIF") and not features.check(kind.lower()):
        pytest.skip(f"this PIL has no codec for {kind}")
    upright = np.zeros((24, 40, 3), dtype=np.uint8)
    upright[:12, :20], upright[12:, :20] = (250, 0, 0), (0, 250, 0)
    how = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    stored = np.ascontiguousarray(STORED[orientation](upright))
    found = decode(encoded(Image.fromarray(stored), kind, exif=exif(orientation), **how), [None, 8])
    assert found.turned and found.pixels[0].shape == (3, 24, 40) and found.side == 24
    inner = found.pixels[0].transpose(1, 2, 0).astype(int)
    assert np.abs(inner[2:10, 2:18] - upright[5, 5]).max() < 40
    assert np.abs(inner[14:22, 2:18] - upright[20, 5]).max() < 40
    assert np.abs(inner[2:22, 24:]).max() < 40


def test_upright_pictures_and_damaged_exif_are_left_alone() -> None:
    picture = Image.new("RGB", (9, 5), (1, 2, 3))
    for given in (exif(1), exif(9), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense"):
        found = decode(encoded(picture, "JPEG", exif=given), [None])
        assert not found.turned and found.pixels[0].shape == (3, 5, 9)


# -- transparency and colours ----------------------------------------------------------------------


def transparent(mode: str) -> bytes:
    """8x8 with a hidden red (or dark grey) left half, and a blue (or grey) right half."""
    layer = np.zeros((8, 8, 4), dtype=np.uint8)
    layer[:, :4], layer[:, 4:] = (255, 0, 0, 0), (0, 0, 255, 255)
    picture = Image.fromarray(layer)
    if mode == "P":
        flat = picture.convert("RGB").quantize(4)
        return encoded(flat, transparency=flat.getpixel((0, 0)))
    if mode == "RGB":
        return encoded(picture.convert("RGB"), transparency=(255, 0, 0))
    return encoded(picture.convert(mode))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparent_pixels_are_white_not_what_they_hide(mode: str) -> None:
    found = decode(transparent(mode), [None])
    assert found.transparent and (found.pixels[0][:, :, :4] == 255).all()
    assert (found.pixels[0][0, :, 4:] < 40).all()


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    assert plain(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))))[:, 0, 0].tolist() == [127] * 3


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    found = decode(encoded(Image.fromarray(pixels)), [None])
    assert not found.transparent
    np.testing.assert_array_equal(found.pixels[0].transpose(1, 2, 0), pixels[..., :3])


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    found = plain(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert found.shape == (3, 8, 8) and (found == 255).all()


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 200, 200, 0)), "JPEG", quality=95)
    assert np.abs(plain(data)[:, 4, 4].astype(int) - (255, 55, 55)).max() < 8


# -- depth -----------------------------------------------------------------------------------------


def deep(most: int) -> np.ndarray:
    return np.linspace(0, most, 64).reshape(8, 8).astype(np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_are_scaled(kind: str) -> None:
    for most in (65535, 1 << 14):
        picture = Image.fromarray(deep(most))
        found = decode(encoded(picture.convert("I") if kind == "PPM" else picture, kind), [None])
        assert found.sixteen_bit
        np.testing.assert_array_equal(found.pixels[0], np.broadcast_to(deep(most) >> 8, (3, 8, 8)))


@pytest.mark.parametrize(("most", "bits"), [((1 << 14) - 1, 14), (4095, 12), (1023, 10), (255, 8)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_fewer_bits_in_sixteen_are_refused_rather_than_read_dark(kind: str, most: int, bits: int) -> None:
    reason = f"has values of at most {bits} of its 16 bits, and would be too dark: convert"
    with pytest.raises(UnfitPictureError, match=reason):
        decode(encoded(Image.fromarray(deep(most)), kind), [None])


def test_black_is_black_at_any_depth() -> None:
    assert not plain(encoded(Image.fromarray(np.zeros((8, 8), np.uint16)))).any()


def colours_of_sixteen_bits(most: int) -> bytes:
    """A PNG that PIL cannot write: RGB, 16 bits per channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in deep(most))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bits_of_colour_are_counted_and_checked_too() -> None:
    found = decode(colours_of_sixteen_bits(65535), [None])
    assert found.sixteen_bit and found.pixels[0].max() == 255
    for most, bits in (((1 << 14) - 1, 14), (4095, 12), (200, 8)):
        with pytest.raises(UnfitPictureError, match=f"at most {bits} of its 16 bits"):
            decode(colours_of_sixteen_bits(most), [None])


def test_a_ppm_of_12_bits_in_16_is_refused_and_one_that_says_so_is_scaled() -> None:
    def ppm(most: int) -> bytes:
        return b"P6 8 8 %d\n" % most + np.repeat(deep(4095).ravel(), 3).astype(">u2").tobytes()

    assert plain(ppm(4095)).max() == 255
    with pytest.raises(UnfitPictureError, match="of its 16 bits, and would be too dark"):
        decode(ppm(65535), [None])


def test_a_tiff_whose_zero_is_white_is_turned_over_at_8_bits_and_refused_at_16() -> None:
    def negative(pixels: np.ndarray) -> bytes:
        data = bytearray(encoded(Image.fromarray(pixels), "TIFF"))
        entry = data.index(struct.pack("<HHI", 262, 3, 1))
        struct.pack_into("<H", data, entry + 8, 0)
        return bytes(data)

    assert plain(negative((deep(65535) >> 8).astype(np.uint8)))[0, 0, 0] == 255
    with pytest.raises(UnfitPictureError, match="negative of 16 bits"):
        decode(negative(deep(65535)), [None])


def test_a_bmp_of_16_bits_per_pixel_is_not_deep() -> None:
    """Five bits for red, six for green, five for blue: a dark green."""
    fields = struct.pack("<IIII", 40 + 16, 8, 8, 1 | 16 << 16) + struct.pack("<IIIIII", 3, 128, 0, 0, 0, 0)
    masks = struct.pack("<IIII", 0xF800, 0x07E0, 0x001F, 0)
    head = struct.pack("<2sIHHI", b"BM", 14 + 56 + 128, 0, 0, 14 + 56)
    found = decode(head + fields + masks + struct.pack("<H", 2 << 5) * 64, [None])
    assert not found.sixteen_bit and found.pixels[0][:, 0, 0].tolist() == [0, 8, 0]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(kind: type) -> None:
    with pytest.raises(UnfitPictureError, match="has 32 bits per pixel, whose range is not known"):
        decode(encoded(Image.fromarray(np.ones((8, 8), kind)), "TIFF"), [None])


# -- frames, sizes and damage ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_used_and_counted(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 255, 255)), Image.new("RGB", (8, 8), (0, 0, 0))
    found = decode(encoded(first, kind, save_all=True, append_images=[second]), [None])
    assert found.animated and found.pixels[0].min() > 250
    assert not decode(encoded(first, kind), [None]).animated


def test_a_jpeg_with_a_second_picture_is_not_an_animation() -> None:
    first = Image.new("RGB", (8, 8))
    assert not decode(encoded(first, "MPO", save_all=True, append_images=[first]), [None]).animated


def test_huge_jpegs_are_read_at_a_fraction_and_other_huge_pictures_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "_MAX_PIXELS", 200 * 150)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 200)  # twice that, and PIL opens it no more
    pixels = np.zeros((300, 500, 3), dtype=np.uint8)
    pixels[:, 250:] = 255
    picture = Image.fromarray(pixels)
    found = decode(encoded(picture, "JPEG"), [16])
    assert found.side == 300 and found.pixels[0].shape == (3, 16, 16)
    assert found.pixels[0][:, :, :7].max() < 20 and found.pixels[0][:, :, 9:].min() > 235
    with pytest.raises(UnfitPictureError, match="too many"):
        decode(encoded(picture), [16])
    with pytest.raises(UnfitPictureError, match="has 200x160 pixels, which are too many"):
        decode(encoded(picture.resize((200, 160))), [16])
    with pytest.raises(UnfitPictureError, match="has 4000x4000 pixels"):
        decode(encoded(Image.new("L", (4000, 4000)), "JPEG"), [16])


def test_nothing_is_printed_of_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(decode(encoded(Image.new("RGB", (8, 8))), [4]), Decoded)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_picture_that_is_cut_short_is_refused(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), kind)
    with pytest.raises(UnfitPictureError, match=r"is cut short|is damaged|has no format"):
        decode(data[: len(data) // 2], [None])


def test_reasons() -> None:
    for data, reason in ((b"", "is empty"), (b"not a picture", "has no format that can be read here")):
        with pytest.raises(UnfitPictureError, match=reason):
            decode(data, [None])
