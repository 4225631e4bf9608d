"""Folders and zips of images: what is read, what is left out and said, what is refused."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from deploy_nas.adapters.images import (
    at_sizes,
    load_images,
    load_images_at_sizes,
    preprocess,
    resize,
    storage,
    with_mirrored,
)
from deploy_nas.core.errors import ImagesError, OptionError

DATA = Path(os.environ.get("DEPLOY_NAS_DATA", Path(__file__).resolve().parents[3] / "../shared/data"))


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
    assert found.source == found.report.source == str(source)
    assert found.names == tuple(leading + name for name in ("ant/9.png", "cat/1.png", "cat/2.png"))
    assert found.report.lines() == [] and found.report.used == 3 and found.report.classes == 2


def test_folder_and_zip_have_one_digest_and_other_pixels_another(tmp_path: Path) -> None:
    folder = load_images(write_folder(tmp_path / "a", TWO_CLASSES))
    assert folder.digest == load_images(write_zip(tmp_path / "a.zip", TWO_CLASSES)).digest
    assert folder.digest != folder.take([0, 1]).digest


@pytest.mark.parametrize(
    "name", ["../cat/1.png", "/etc/1.png", "cat/../../1.png", "..\\cat\\1.png", "C:/cat/1.png"]
)
def test_zip_with_outside_names_is_refused_and_writes_nothing(tmp_path: Path, name: str) -> None:
    source = write_zip(tmp_path / "bad.zip", {**TWO_CLASSES, name: png(1)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ImagesError, match="outside the archive"):
        load_images(source)
    assert sorted(tmp_path.rglob("*")) == before


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
        ({"cat/1.png": b"x"}, r"1 of 1 images cannot be used \(cat/1.png has no format that can be read"),
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
    with pytest.raises(ImagesError, match=r"used \(cat/1.png cannot be read from its folder or zip"):
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


def test_cifar10_test_images() -> None:
    source = DATA / "cifar10/test.zip"
    if not source.exists():
        pytest.skip(f"needs {source}")
    found = load_images(source, limit_per_class=50)
    assert found.images.shape == (500, 3, 32, 32) and len(found.classes) == 10
    assert np.bincount(found.labels).tolist() == [50] * 10
    out = preprocess(found.images, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert abs(float(out.mean())) < 0.1 and abs(float(out.std()) - 1.0) < 0.1


# -- the report ------------------------------------------------------------------------------------


def test_files_that_are_not_pictures_are_counted_and_named(tmp_path: Path) -> None:
    files = {
        **TWO_CLASSES,
        ".DS_Store": b"x",
        "cat/.hidden.png": b"x",
        "cat/Thumbs.db": b"x",
        "cat/readme.txt": b"x",
        "notes": b"x",
        "__MACOSX/cat/._1.png": b"x",
    }
    for source in (write_zip(tmp_path / "m.zip", files), write_folder(tmp_path / "m", files)):
        found = load_images(source)
        assert len(found) == 3
        assert found.report.lines() == ["left out: 2 files that are not pictures (cat/readme.txt, notes)"]
    assert load_images(tmp_path / "m", labelled=False).report.not_pictures == 2


def test_few_pictures_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    files = {f"cat/{i:03d}.png": png(i % 256) for i in range(199)} | {"dog/0.png": png(3)}
    files["cat/050.png"] = files["cat/050.png"][:40]
    files["cat/051.png"] = b"no image"
    found = load_images(write_zip(tmp_path / "s.zip", files))
    assert found.skipped == ("cat/050.png", "cat/051.png")
    assert len(found) == len(found.images) == len(found.names) == 198
    assert found.names[50] == "cat/052.png" and found.images[50, 0, 0, 0] == 52
    (line,) = found.report.lines()
    assert line.startswith("left out: 2 of 200 pictures (cat/050.png has no format that can be read")
    files["cat/052.png"] = b""
    message = r"3 of 200 images cannot be used \(cat/050.png .*052.png is empty\)"
    with pytest.raises(ImagesError, match=message):
        load_images(write_folder(tmp_path / "t", files))


@pytest.mark.parametrize(("suffix", "kind"), [(".jfif", "JPEG"), (".JPE", "JPEG"), (".avif", "AVIF")])
def test_pictures_of_every_suffix_that_pil_reads_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this PIL has no codec for AVIF")
    data = encoded(Image.new("RGB", (8, 8), (9, 0, 0)), kind)
    found = load_images(write_folder(tmp_path / "s", {"a/1.png": png(1), f"a/2{suffix}": data}))
    assert len(found) == 2 and found.report.lines() == []


def test_a_picture_in_a_format_that_pil_does_not_read_is_not_left_out_silently(tmp_path: Path) -> None:
    files = {f"a/{n:03d}.png": png(n) for n in range(100)} | {"a/x.heic": b"\0\0\0\x18ftypheic" + bytes(40)}
    found = load_images(write_folder(tmp_path / "s", files))
    assert found.report.left_out == (("a/x.heic", "has no format that can be read here"),)
    with pytest.raises(ImagesError, match=r"2 of 102 images cannot be used \(a/x.heic"):
        load_images(write_folder(tmp_path / "s", {"a/y.HEIC": files["a/x.heic"]}))


def test_a_pipe_in_place_of_a_picture_is_left_out(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "s", {f"a/{n:03d}.png": png(n) for n in range(100)})
    os.mkfifo(source / "a/x.png")
    assert load_images(source).report.left_out == (("a/x.png", "is not a regular file"),)


def test_what_was_done_to_pictures_is_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, moving = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (9, 20)).save(turned, "JPEG", exif=exif)
    white = Image.new("RGB", (9, 9), "white")
    Image.new("RGB", (9, 9)).save(moving, "GIF", save_all=True, append_images=[white])
    deep = np.full((9, 9), 65535, np.uint16)
    files = {
        "1/turned.jpg": turned.getvalue(),
        "2/clear.png": encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 0))),
        "10/deep.png": encoded(Image.fromarray(deep)),
        "10/moving.gif": moving.getvalue(),
        "10/small.png": png(1, side=7),
    }
    found = load_images_at_sizes(write_folder(tmp_path / "s", files), (4, 8)).first
    assert found.classes == ("1", "2", "10") and found.labels.tolist() == [0, 1, 2, 2, 2]
    assert found.report.lines() == [
        "1 picture turned upright, as EXIF says",
        "1 transparent picture laid over white",
        "1 picture of depth 16 reduced to 8",
        "1 picture with several frames: the first was used",
        "1 picture smaller than 8 px enlarged",
        "classes in numeric order",
    ]


# -- room ------------------------------------------------------------------------------------------


def test_a_store_keeps_the_arrays_in_files(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "s", TWO_CLASSES)
    plain = load_images_at_sizes(source, (4, 8))
    stored = load_images_at_sizes(source, (4, 8), store=tmp_path / "new/store")
    assert sorted(p.name for p in (tmp_path / "new/store").iterdir()) == ["images-4.npy", "images-8.npy"]
    assert isinstance(stored.first.images, np.memmap) and stored.digest == plain.digest
    assert np.load(tmp_path / "new/store/images-8.npy").tolist() == plain.by_size[8].images.tolist()


def test_images_that_memory_does_not_hold_go_into_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path / "s", {f"a/{n}.png": png(n) for n in range(9)})
    plain = load_images(source)
    monkeypatch.setattr(storage, "available_bytes", lambda: 1000)
    monkeypatch.setattr(storage, "is_in_memory", lambda place: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    found = load_images(source)
    assert isinstance(found.images, np.memmap) and found.digest == plain.digest
    monkeypatch.setattr(storage, "is_in_memory", lambda place: True)
    with pytest.raises(ImagesError, match=r"s: 9 images need .* GiB, more than there is: 0.0 GiB of memory"):
        load_images(source)


def test_only_the_named_pictures_are_read_with_the_classes_of_all(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "s", TWO_CLASSES)
    found = load_images_at_sizes(folder, [4, 8], only=["cat/2.png"])
    assert found.first.names == ("cat/2.png",) and found.first.classes == ("ant", "cat")
    assert found.first.labels.tolist() == [1]
    whole = load_images_at_sizes(folder, [4, 8])
    assert np.array_equal(found.by_size[8].images[0], whole.by_size[8].images[2])
