"""One picture from the bytes of its file: upright, of 8 bits per channel, opaque, RGB."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deploy_nas.adapters.images.pixels import UInt8Array, as_array, square

if TYPE_CHECKING:
    from PIL import Image, ImageFile

# Whether PIL can open one is found by trying: it depends on how PIL was built, and on plugins.
_READABLE = (
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .bmp .dib .webp .gif .tif .tiff .avif .avifs .jp2 .j2k .j2c .jpc "
    ".jpf .jpx .ppm .pgm .pbm .pnm .pfm .tga .ico .icns .pcx .qoi .sgi .psd .dds .xbm .xpm"
)
_OTHER = ".heic .heif .hif .jxl .jxr .bpg .svg .exr .hdr .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf"
SUFFIXES = frozenset([*_READABLE.split(), *_OTHER.split()])
_MAX_PIXELS = 50_000_000
_JPEG = b"\xff\xd8\xff"
_ORIENTATION, _PHOTOMETRIC = 0x0112, 0x0106
# In a BMP, BGR;16 is 16 bits for all channels; a PPM names its greatest value.
_SIXTEEN = re.compile(r"\b(?:L|LA|RGB|RGBA|RGBX|CMYK);16|'RGB', 65535\b")
_LEAST_PEAK = 1 << 14  # of 16 bits
# PIL's Image.Transpose for each orientation in EXIF; 1 is upright.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


class UnfitPictureError(ValueError):
    """A picture that cannot be used; the message is the reason, as in "is cut short"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """One picture.

    Args:
        pixels: uint8 ``[3, height, width]`` for each size asked for.
        side: its shorter side in pixels before resizing.
        turned, transparent, sixteen_bit, animated: what was done to it, as ``core.reading`` has it.
    """

    pixels: list[UInt8Array]
    side: int
    turned: bool
    transparent: bool
    sixteen_bit: bool
    animated: bool


def decode(data: bytes, sizes: Sequence[int | None]) -> Decoded:
    """A picture at each size: its centre square, or the whole picture as it is for ``None``.

    Raises:
        UnfitPictureError: a picture that cannot be read, or whose range of values is not known.
    """
    from PIL import Image

    if not data:
        raise UnfitPictureError("is empty")
    # A picture's warnings (bombs, damaged EXIF) would be printed without its name.
    with warnings.catch_warnings(), _worded():
        warnings.simplefilter("ignore")
        with _opened(data) as opened:
            side, depth, animated = min(opened.size), _depth(opened), _animated(opened)
            _reduce(opened)
            turned = _orientation(opened) in _TURNS  # asked before it is loaded: PIL then turns a TIFF itself
            opened.load()
            picture, transparent = _rgb(opened, depth)
            if (turn := _TURNS.get(_orientation(opened))) is not None:
                picture = picture.transpose(Image.Transpose(turn))
        return Decoded(
            pixels=[as_array(picture if size is None else square(picture, size)) for size in sizes],
            side=side,
            turned=turned,
            transparent=transparent,
            sixteen_bit=depth > 8,
            animated=animated,
        )


@contextmanager
def _worded() -> Iterator[None]:
    """Turn every error of PIL into :class:`UnfitPictureError`."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnfitPictureError:
        raise
    except UnidentifiedImageError as error:
        raise UnfitPictureError("has no format that can be read here") from error
    except Exception as error:  # PIL raises several unrelated types for damaged data
        raise UnfitPictureError("is cut short" if "truncated" in str(error) else "is damaged") from error


def _opened(data: bytes) -> ImageFile.ImageFile:
    from PIL import Image, JpegImagePlugin

    try:
        return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        if data.startswith(_JPEG):  # it is read at a fraction of its size
            return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        raise UnfitPictureError("has too many pixels") from error


def _reduce(opened: ImageFile.ImageFile) -> None:
    """Let a huge JPEG be decoded at a half, quarter or eighth of its size; other huge pictures are unfit."""
    width, height = opened.size
    for scale in (1, 2, 4, 8) if opened.format in ("JPEG", "MPO") else (1,):
        if (width // scale) * (height // scale) <= _MAX_PIXELS:
            if scale > 1:
                opened.draft(None, (width // scale, height // scale))
            return
    raise UnfitPictureError(f"has {width}x{height} pixels, which are too many")


def _animated(opened: ImageFile.ImageFile) -> bool:
    """True for several frames or pages; formats that are not named keep layers or depth maps as frames."""
    if opened.format not in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        return False
    try:
        return bool(getattr(opened, "is_animated", False))
    except Exception:  # the second frame is damaged
        return True


def _orientation(opened: ImageFile.ImageFile) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF is no reason to refuse the picture
        return 1


# -- colours ---------------------------------------------------------------------------------------


def _depth(opened: ImageFile.ImageFile) -> int:
    """Bits per channel in the file: 8, or 12 or 16 where PIL tells."""
    stored = " ".join(str(tile[3]) for tile in opened.tile)
    if "I;12" in stored:
        return 12
    grey = opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM"))
    return 16 if grey or _SIXTEEN.search(stored) else 8


def _rgb(opened: ImageFile.ImageFile, depth: int) -> tuple[Image.Image, bool]:
    """The picture over white, with 8 bits per channel; and whether white shows through."""
    from PIL import Image

    if opened.mode.startswith("I") and depth > 8:  # PIL would clip it at 255
        if _white_is_zero(opened):
            raise UnfitPictureError("is a negative of 16 bits: convert it to 8 bits")
        values = np.asarray(opened)
        _check_range(int(values.max()), depth)
        grey = (values >> (depth - 8)).astype(np.uint8)
        clear = values == opened.info.get("transparency", -1)
        return Image.fromarray(np.where(clear, np.uint8(255), grey)).convert("RGB"), bool(clear.any())
    if opened.mode.startswith(("I", "F")):
        raise UnfitPictureError("has 32 bits per pixel, whose range is not known")
    if not _may_be_transparent(opened):
        colours, transparent = opened.convert("RGB"), False
    else:
        layer = opened.convert("RGBA")
        transparent = layer.getchannel("A").getextrema() != (255, 255)
        colours = layer.convert("RGB")
    if depth > 8 and ((peak := int(np.asarray(colours).max())) or not transparent):
        _check_range(peak << 8 | 255, depth)  # PIL has dropped the lower byte
    if transparent:
        white = Image.new("RGBA", layer.size, "white")
        colours = Image.alpha_composite(white, layer).convert("RGB")
    return colours, transparent


def _white_is_zero(opened: ImageFile.ImageFile) -> bool:
    """True for a TIFF whose 0 is white, which PIL turns over at 8 bits, and leaves at 16."""
    return opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _may_be_transparent(picture: Image.Image) -> bool:
    palette = picture.palette.mode if picture.mode == "P" and picture.palette is not None else ""
    return picture.mode.endswith(("A", "a")) or palette.endswith("A") or "transparency" in picture.info


def _check_range(peak: int, depth: int) -> None:
    """Raise :class:`UnfitPictureError` for 16 bits of which only the lower 14 or fewer are used.

    Cameras and microscopes store 10, 12 or 14 bits this way, and nothing in the file says so: scaled as 16
    bits, such a picture is dark or black.
    """
    if depth == 16 and 0 < peak < _LEAST_PEAK:
        raise UnfitPictureError(
            f"has values of at most {peak.bit_length()} of its 16 bits, and would be too dark: "
            "convert it to 8 bits"
        )
