"""Folders and zips of images: what is read, what is skipped, what is refused."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters.images import (
    at_sizes,
    load_images,
    load_images_at_sizes,
    normalise,
    preprocess,
    resize,
    with_mirrored,
)
from deploy_nas.core.errors import ImagesError, OptionError

DATA = Path(os.environ.get("DEPLOY_NAS_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def png(value: int, side: int = 8) -> bytes:
    return encoded(Image.new("RGB", (side, side), (value, 0, 255 - value)))


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


TWO_CLASSES = {"cat/1.png": png(1), "cat/2.png": png(2), "ant/9.png": png(9)}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("leading", ["", "set/"])
def test_class_folders_sorted_with_labels(tmp_path: Path, kind: str, leading: str) -> None:
    files = {leading + name: data for name, data in TWO_CLASSES.items()}
    source = write_folder(tmp_path / "s", files) if kind == "folder" else write_zip(tmp_path / "s.zip", files)
    found = load_images(source)
    assert found.classes == ("ant", "cat")
    assert found.labels.tolist() == [0, 1, 1] and found.labels.dtype == np.int64
    assert found.images.shape == (3, 3, 8, 8) and found.images.dtype == np.uint8
    assert found.images[:, 0, 0, 0].tolist() == [9, 1, 2]
    assert found.images[:, 2, 0, 0].tolist() == [246, 254, 253]
    assert found.skipped_count == 0 and found.source == str(source)


def test_folder_and_zip_have_one_digest_and_other_pixels_another(tmp_path: Path) -> None:
    folder = load_images(write_folder(tmp_path / "a", TWO_CLASSES))
    assert folder.digest == load_images(write_zip(tmp_path / "a.zip", TWO_CLASSES)).digest
    assert folder.digest != folder.take([0, 1]).digest


def test_dotfiles_other_files_and_macosx_are_left_out(tmp_path: Path) -> None:
    files = {
        **TWO_CLASSES,
        ".DS_Store": b"x",
        "cat/.hidden.png": b"x",
        "cat/readme.txt": b"x",
        "__MACOSX/cat/._1.png": b"x",
    }
    assert len(load_images(write_zip(tmp_path / "m.zip", files))) == 3
    assert len(load_images(write_folder(tmp_path / "m", files))) == 3


@pytest.mark.parametrize(
    "name", ["../cat/1.png", "/etc/1.png", "cat/../../1.png", "..\\cat\\1.png", "C:/cat/1.png"]
)
def test_zip_with_outside_names_is_refused_and_writes_nothing(tmp_path: Path, name: str) -> None:
    source = write_zip(tmp_path / "bad.zip", {**TWO_CLASSES, name: png(1)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ImagesError, match="outside the archive"):
        load_images(source)
    assert sorted(tmp_path.rglob("*")) == before


def test_few_unreadable_images_are_skipped_and_named(tmp_path: Path) -> None:
    files = {f"cat/{i:03d}.png": png(i % 256) for i in range(199)} | {"dog/0.png": png(3)}
    files["cat/050.png"] = files["cat/050.png"][:40]
    files["cat/051.png"] = b"no image"
    found = load_images(write_zip(tmp_path / "s.zip", files))
    assert found.skipped == ("cat/050.png", "cat/051.png")
    assert len(found) == len(found.images) == 198
    files["cat/052.png"] = b""
    with pytest.raises(ImagesError, match=r"3 of 200 images cannot be read \(cat/050.png, .*052.png\)"):
        load_images(write_folder(tmp_path / "t", files))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no images"),
        ({"cat/readme.txt": b"x"}, "holds no images"),
        ({"1.png": png(1)}, "is not in a class folder"),
        ({"cat/1.png": png(1), "x/y/z.png": png(1)}, "x/y/z.png: is not in a class folder"),
        ({"cat/1.png": png(1), "dog/readme.txt": b""}, "dog: this class folder holds no images"),
        (
            {"cat/1.png": png(1), "dog/1.png": png(1, side=9)},
            "dog/1.png: is 9x9 pixels, the images before it are 8x8",
        ),
        ({"cat/1.png": b"x"}, "1 of 1 images cannot be read"),
        ({"cat/more/deep/1.png": png(1)}, "cat/more/deep/1.png: is not in a class folder"),
    ],
)
def test_sets_that_cannot_be_used_are_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    with pytest.raises(ImagesError, match=message) as caught:
        load_images(write_folder(root, files))
    assert str(root) in str(caught.value)


def test_empty_class_folder_in_a_zip_is_named(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "s.zip", {**TWO_CLASSES, "dog/": b""})
    with pytest.raises(ImagesError, match="dog: this class folder holds no images"):
        load_images(source)


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="does not exist"):
        load_images(tmp_path / "nowhere")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ImagesError, match="neither a folder nor a zip"):
        load_images(tmp_path / "x.zip")
    with pytest.raises(OptionError, match="limit_per_class"):
        load_images(tmp_path, limit_per_class=0)


def test_encrypted_entries_are_unreadable(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "s.zip", {"cat/1.png": png(1)})
    data = bytearray(source.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(data)
    with pytest.raises(ImagesError, match="cannot be read"):
        load_images(source)


def test_limit_takes_evenly_by_name(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "s.zip", {f"{c}/{i}.png": png(i) for c in "ab" for i in range(8)})
    found = load_images(source, limit_per_class=4)
    assert found.images[:, 0, 0, 0].tolist() == [0, 2, 4, 6] * 2
    flat = load_images(source, limit_per_class=2, labelled=False)
    assert flat.images[:, 0, 0, 0].tolist() == [0, 0]


def test_flat_folder_serves_as_calibration_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "flat", {"b.png": png(2), "a.png": png(1)})
    found = load_images(root, labelled=False)
    assert found.classes == () and found.labels.tolist() == [-1, -1]
    assert found.images[:, 0, 0, 0].tolist() == [1, 2]


def test_a_limit_altogether_is_dealt_to_the_classes(tmp_path: Path) -> None:
    files = {
        f"{label}/{n}.png": png(n) for label, count in (("a", 9), ("b", 9), ("c", 2)) for n in range(count)
    }
    source = write_folder(tmp_path / "s", files)
    assert np.bincount(load_images(source, limit=12).labels).tolist() == [4, 4, 2]
    assert np.bincount(load_images(source, limit=12, limit_per_class=3).labels).tolist() == [3, 3, 2]
    assert len(load_images(source, limit=1)) == 1  # a limit it is, with more classes too
    assert load_images(source, limit=1).classes == ("a", "b", "c")
    assert len(load_images(source, limit=5, labelled=False)) == 5


def test_size_brings_the_centre_square_to_one_side(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), dtype=np.uint8)
    wide[:, 4:12] = 200
    file = io.BytesIO()
    Image.fromarray(wide).save(file, "PNG")
    found = load_images(write_folder(tmp_path / "s", {"a/1.png": file.getvalue(), "a/2.png": png(7)}), size=4)
    assert found.images.shape == (2, 3, 4, 4)
    assert (found.images[0] == 200).all()
    assert found.median_side == 8 and with_mirrored(found).take([0]).median_side == 8
    as_they_are = load_images(write_folder(tmp_path / "t", {"a/1.png": file.getvalue()}))
    assert as_they_are.images.shape == (1, 3, 8, 16) and (resize(as_they_are.images, 4) == 200).all()


def test_mirror_images_come_after_the_images(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :2] = 200
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    given = load_images(write_folder(tmp_path / "s", {"a/1.png": file.getvalue(), "b/1.png": png(7)}))
    both = with_mirrored(given)
    assert both.labels.tolist() == [0, 1, 0, 1] and both.classes == ("a", "b")
    np.testing.assert_array_equal(both.images[:2], given.images)
    assert both.images[2, 0, 0].tolist() == [0] * 6 + [200] * 2
    assert both.digest != given.digest


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    files = {}
    for number, mode in enumerate(("L", "RGBA", "P", "1")):
        file = io.BytesIO()
        Image.new(mode, (8, 8), 1).save(file, "PNG")
        files[f"a/{number}.png"] = file.getvalue()
    assert load_images(write_folder(tmp_path / "s", files)).images.shape == (4, 3, 8, 8)


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    files = {f"{n}.{kind}": encoded(Image.fromarray(ramp), kind) for n, kind in enumerate(("PNG", "TIFF"))}
    found = load_images(write_folder(tmp_path / "s", files), labelled=False).images
    np.testing.assert_array_equal(found, np.broadcast_to(ramp >> 8, (2, 3, 8, 8)))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_no_image(tmp_path: Path, kind: type) -> None:
    data = encoded(Image.fromarray(np.ones((8, 8), kind)), "TIFF")
    with pytest.raises(ImagesError, match=r"1 of 1 images cannot be read \(1\.tif has 32 bits per pixel"):
        load_images(write_folder(tmp_path / "s", {"1.tif": data}), labelled=False)


def test_all_sizes_are_made_of_the_picture_as_it_lies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {
        f"{label}/1.png": encoded(Image.fromarray(rng.integers(0, 256, (30, 45, 3), np.uint8)))
        for label in "ab"
    }
    source = write_folder(tmp_path / "s", files)
    found = load_images_at_sizes(source, (8, 16))
    for size in (8, 16):
        alone = load_images(source, size=size)
        np.testing.assert_array_equal(found.by_size[size].images, alone.images)
        assert found.by_size[size].labels.tolist() == alone.labels.tolist() == [0, 1]
    assert len(found) == 2 and found.first.classes == ("a", "b")
    twice = at_sizes(load_images(source, size=16), (8, 16))
    assert not np.array_equal(twice.by_size[8].images, found.by_size[8].images)
    assert twice.digest != found.digest == load_images_at_sizes(source, (8, 16)).digest
    with pytest.raises(OptionError, match="size"):
        load_images_at_sizes(source, (8, 0))


def test_images_that_memory_does_not_hold_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path / "s", {f"a/{n}.png": png(n) for n in range(9)})

    def full(shape: tuple[int, ...], dtype: type) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(ImagesError, match=r"s: 9 images need .* GiB of memory"):
        load_images(source)


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


def test_cifar10_test_images() -> None:
    source = DATA / "cifar10/test.zip"
    if not source.exists():
        pytest.skip(f"needs {source}")
    found = load_images(source, limit_per_class=50)
    assert found.images.shape == (500, 3, 32, 32) and len(found.classes) == 10
    assert np.bincount(found.labels).tolist() == [50] * 10
    out = preprocess(found.images, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert abs(float(out.mean())) < 0.1 and abs(float(out.std()) - 1.0) < 0.1
