"""Bundles on disk: what was written is read, and everything else is refused by name."""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace

import pytest

from deploy_nas.core import disk
from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.measured import Measured
from deploy_nas.core.notices import Notice
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records import bundle
from deploy_nas.records.bundle import (
    MANIFEST,
    Bundle,
    Manifest,
    check_bundle_output,
    check_manifest,
    is_bundle,
    read_bundle,
    write_bundle,
)
from deploy_nas.records.certificate import Certificate, MeasuredOn
from deploy_nas.records.model import ModelMetadata, Preprocessing, Provenance

SPACE = embedded_space()
FILES = {"model.onnx": b"a model", "infer.py": b"print()"}
MODEL = ModelMetadata(
    space=SPACE,
    architecture=SPACE.smallest(24),
    predicted=Predicted(latency_ms=2.1, profile="p"),
    labels=SPACE.labels,
    preprocessing=Preprocessing(image_size=24, mean=SPACE.mean, std=SPACE.std),
    weights=Provenance(source="w.pth", sha256="ab" * 32, trained=True),
    opset=17,
    certificate=Certificate(
        graph_sha256="cd" * 32,
        measured=Measured(latency_ms=2.0, p50_ms=2.1, p90_ms=2.2, p99_ms=2.3, runs=9),
        measured_on=MeasuredOn(cpu="a processor", threads=1, runtime_version="1.20.0"),
        budget_ms=2.5,
        within_budget=True,
    ),
)
BODY = Manifest(made_with="deploy-nas 0", models={"model.onnx": MODEL})

# As the version before wrote it.
OLD_MANIFEST = """{
 "format": "deploy-nas bundle",
 "version": 1,
 "made_with": "deploy-nas 0.1.0",
 "space": "ofa-mbv3-cifar10",
 "architecture": {"space": "ofa-mbv3-cifar10", "image_size": 24, "ks": [KS], "e": [E], "d": [2, 2, 2, 2, 2]},
 "preprocessing": {"image_size": 24, "mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616],
  "layout": "NCHW", "scale": "0..1", "resize": "bilinear"},
 "labels": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
 "weights": {"source": "w.pth", "sha256": "SHA", "trained": true, "recalibrated": 0},
 "models": [{"file": "model.onnx", "precision": "fp32", "quantization": null, "opset": 17,
  "input": "image", "output": "logits",
  "predicted": {"latency_ms": 2.1, "profile": "p", "bound_ms": null, "confidence": null},
  "certificate": {"graph_sha256": "GRAPH", "weights_sha256": null, "profile": null, "budget_ms": 2.5,
   "predicted_ms": null, "bound_ms": null, "confidence": null,
   "measured": {"latency_ms": 2.0, "p50_ms": 2.1, "p90_ms": 2.2, "p99_ms": 2.3, "runs": 9},
   "measured_on": {"cpu": "a processor", "threads": 1, "provider": "CPUExecutionProvider",
    "onnxruntime": "1.20.0", "precision": "fp32"},
   "within_budget": true, "agreement": null, "top1": null}}],
 "files": {"model.onnx": {"sha256": "FILE", "size_bytes": 7}}
}"""


@pytest.fixture(params=["b", "b.zip"])
def path(request, tmp_path):
    return tmp_path / request.param


def rezipped(path, change):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def changed(path, **values):
    """The manifest with other values and a fitting digest; ``None`` removes a value."""

    def change(text):
        value = json.loads(text) | values
        return json.dumps(sealed({k: v for k, v in value.items() if v is not None})).encode()

    if path.is_dir():
        (path / MANIFEST).write_bytes(change((path / MANIFEST).read_bytes()))
    else:
        rezipped(path, lambda entries: entries.update({MANIFEST: change(entries[MANIFEST])}))


def test_round_trip(path):
    whole = write_bundle(path, BODY, FILES)
    assert is_bundle(path)
    bundle = read_bundle(path)
    assert bundle.files == FILES and list(bundle.models) == ["model.onnx"]
    assert bundle.said.value == json.loads(json.dumps(whole))
    assert check_manifest(bundle, {"model.onnx": MODEL}) == BODY
    assert whole["files"]["infer.py"]["size_bytes"] == 7


def test_a_zip_is_the_same_bytes_again(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_bundle(tmp_path / name, BODY, FILES)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_existing_output_is_kept(path):
    write_bundle(path, BODY, FILES)
    with pytest.raises(OutputError):
        write_bundle(path, BODY, FILES)
    write_bundle(path, BODY, {**FILES, "model.onnx": b"another"}, force=True)
    assert read_bundle(path).files["model.onnx"] == b"another"


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("kept")
    for force in (False, True):
        with pytest.raises(OutputError, match="holds files already"):
            check_bundle_output(tmp_path / "mine", force=force)
    write_bundle(tmp_path / "b", BODY, FILES)
    (tmp_path / "b/notes.txt").write_text("kept")
    with pytest.raises(OutputError, match="holds files already"):
        write_bundle(tmp_path / "b", BODY, FILES, force=True)
    assert (tmp_path / "b/notes.txt").read_text() == "kept"
    with pytest.raises(OutputError, match="does not exist"):
        check_bundle_output(tmp_path / "gone/b.zip")


@pytest.mark.parametrize("name", ["../evil.py", "/etc/passwd", "a/b", "..", "a\\b", "", ".hidden"])
def test_paths_outside_are_refused(path, name):
    write_bundle(path, BODY, FILES)
    files = json.loads(
        (path / MANIFEST).read_bytes() if path.is_dir() else zipfile.ZipFile(path).read(MANIFEST)
    )["files"]
    changed(path, files=files | {name: {"sha256": "0" * 64}})
    with pytest.raises(RecordError, match="path outside the bundle"):
        read_bundle(path)
    if path.suffix and name:
        write_bundle(path, BODY, FILES, force=True)
        rezipped(path, lambda entries: entries.update({name: b"x"}))
        with pytest.raises(RecordError, match="path outside the bundle"):
            read_bundle(path)


def test_links_are_refused(tmp_path):
    write_bundle(tmp_path / "b", BODY, FILES)
    (tmp_path / "b/infer.py").unlink()
    (tmp_path / "b/infer.py").symlink_to("/etc/hostname")
    with pytest.raises(RecordError, match="is not a regular file"):
        read_bundle(tmp_path / "b")


def test_a_swapped_missing_or_added_file_is_named(tmp_path):
    path = tmp_path / "b"
    write_bundle(path, BODY, FILES)
    (path / "model.onnx").write_bytes(b"another model")
    with pytest.raises(MismatchError, match=r"b: model\.onnx: is not the file that was bundled"):
        read_bundle(path)
    (path / "model.onnx").unlink()
    with pytest.raises(RecordError, match=r"model\.onnx: is missing"):
        read_bundle(path)
    (path / "model.onnx").write_bytes(FILES["model.onnx"])
    (path / "more.bin").write_bytes(b"x")
    with pytest.raises(RecordError, match=r"deploy-nas puts no 'more\.bin' into bundles; remove it"):
        read_bundle(path)
    (path / "more.bin").unlink()
    (path / "model.int8.onnx").write_bytes(b"x")
    with pytest.raises(RecordError, match=r"model\.int8\.onnx: is not in the manifest"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["numpy.py", "PIL", "sitecustomize.py", "onnxruntime.so", "infer.pyc"])
def test_only_files_that_bundles_have_are_allowed_even_if_the_manifest_lists_them(path, name):
    """``python3 infer.py`` would import a module that lies beside it."""
    files = {**FILES, name: b"print('mine')"}
    write_bundle(path, BODY, files)
    with pytest.raises(RecordError, match=f"deploy-nas puts no '{name}' into bundles.*do not trust"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('"airplane"', '"truck"'),
        ("0.4914", "0.5914"),
        ('"latency_ms": 2.0', '"latency_ms": 1.0'),
        ('"budget_ms": 2.5', '"budget_ms": 9.5'),
        ('"within_budget": true', '"within_budget": null'),
        ('"size_bytes": 7', '"size_bytes": 8'),
        ('"made_with": "deploy-nas 0"', '"made_with": "deploy-nas 9"'),
        ('"digest"', '"dig"'),
    ],
)
def test_an_edited_manifest_is_refused(tmp_path, was, becomes):
    write_bundle(tmp_path / "b", BODY, FILES)
    text = (tmp_path / "b" / MANIFEST).read_text()
    assert was in text
    (tmp_path / "b" / MANIFEST).write_text(text.replace(was, becomes, 1))
    with pytest.raises(MismatchError, match=r"manifest\.json: was edited.*export the bundle again"):
        read_bundle(tmp_path / "b")


def test_manifests_that_are_none(path):
    write_bundle(path, BODY, FILES)
    changed(path, version=99)
    with pytest.raises(VersionError, match="version 99"):
        read_bundle(path)
    for values in ({"version": "1"}, {"version": None}, {"files": []}, {"models": 3}, {"format": "x"}):
        write_bundle(path, BODY, FILES, force=True)
        changed(path, **values)
        with pytest.raises(RecordError):
            read_bundle(path)
    changed(path, format="deploy-nas bundle")  # --force replaces a bundle alone
    write_bundle(path, replace(BODY, models={"other.onnx": MODEL}), FILES, force=True)
    with pytest.raises(RecordError, match=r"other\.onnx"):
        read_bundle(path)


def test_cut_short_at_any_byte(tmp_path):
    path = tmp_path / "b.zip"
    write_bundle(path, BODY, FILES)
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(RecordError):
            read_bundle(path)
    path.write_bytes(data)
    folder = tmp_path / "b"
    write_bundle(folder, BODY, FILES)
    text = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(text[:40])
    with pytest.raises(RecordError, match="not JSON, or is cut short"):
        read_bundle(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(RecordError, match="is not a bundle"):
        read_bundle(folder)


def test_damaged_zips_end_in_an_error_of_ours(tmp_path):
    path = tmp_path / "b.zip"
    write_bundle(path, BODY, FILES)
    data = path.read_bytes()
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :])
        with contextlib.suppress(RecordError):
            assert read_bundle(path).files == FILES


def test_a_zip_that_expands_without_end_is_refused_before_it_is_expanded(tmp_path, monkeypatch):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, bytes(32 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was expanded"))
    with pytest.raises(RecordError, match="would expand from"):
        read_bundle(path)


def test_an_empty_zip_is_no_bundle(tmp_path):
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    (tmp_path / "e.zip").write_bytes(buffer.getvalue())
    with pytest.raises(RecordError, match="is not a bundle"):
        read_bundle(tmp_path / "e.zip")


def test_a_strangers_folder_is_never_replaced(tmp_path):
    path = tmp_path / "extension"
    path.mkdir()
    (path / MANIFEST).write_text('{"name": "a web extension", "manifest_version": 3}')
    (path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="replaces only a bundle"):
        write_bundle(path, BODY, FILES, force=True)
    assert (path / "README.md").read_text() == "mine"


def test_a_disk_that_is_full_leaves_the_bundle_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "b"
    write_bundle(path, BODY, FILES)

    def full(target, data, **how):
        raise OutputError("cannot be written (No space left on device)", subject=str(target))

    monkeypatch.setattr(bundle, "write_whole", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bundle(path, replace(BODY, made_with="another"), FILES, force=True)
    assert read_bundle(path).said.text("made_with") == "deploy-nas 0"


def test_a_run_that_was_killed_is_written_again_with_force(tmp_path, monkeypatch):
    """Killed before the first file was in its place, and before the last one was."""
    for name, moved in (("first", 0), ("last", 2)):
        path = tmp_path / name
        whole = tmp_path / f"{name}-whole"
        write_bundle(whole, BODY, FILES)
        (path / ".new").mkdir(parents=True)
        for number, file in enumerate((*FILES, MANIFEST)):
            (path / ("" if number < moved else ".new") / file).write_bytes((whole / file).read_bytes())
        (path / ".new/.model.onnx.a_b1c2d3.part").write_bytes(b"half")
        with pytest.raises(OutputError, match="holds files already"):
            write_bundle(path, BODY, FILES)
        write_bundle(path, BODY, FILES, force=True)
        assert read_bundle(path).files == FILES
        assert sorted(p.name for p in path.iterdir()) == sorted((*FILES, MANIFEST))
    (tmp_path / "mine/.new").mkdir(parents=True)
    (tmp_path / "mine/.new/thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="holds files already"):
        write_bundle(tmp_path / "mine", BODY, FILES, force=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is made by fork")
@pytest.mark.parametrize("at_once", [True, False])
def test_a_kill_at_any_moment_leaves_the_old_bundle_or_the_new_one(tmp_path, monkeypatch, killed_at, at_once):
    if not at_once:  # as where two folders cannot be exchanged in one step
        monkeypatch.setattr(disk, "_exchanged_at_once", lambda new, path: False)
    path = tmp_path / "b"
    write_bundle(path, BODY, FILES)
    new, seen = {**FILES, "model.onnx": b"another"}, set()
    for moment in range(200):
        ended = killed_at(moment, lambda: write_bundle(path, BODY, new, force=True))
        kept = path if path.exists() else tmp_path / ".b.old"  # between two renames, it has this name
        assert kept == path or not at_once
        seen.add(read_bundle(kept).files["model.onnx"])
        if kept != path:
            kept.rename(path)
        if ended:
            break
        if read_bundle(path).files == new:
            write_bundle(path, BODY, FILES, force=True)
    assert ended and moment > 10 and seen == {b"a model", b"another"}
    write_bundle(path, BODY, FILES, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["b"], "a later write sweeps up"


def test_of_several_that_write_a_bundle_at_once_one_succeeds(tmp_path, monkeypatch):
    """All find the place free, then each puts its own there."""
    put = bundle.put_folder

    def late(new, path, *, replace):
        monkeypatch.setattr(bundle, "put_folder", put)
        write_bundle(path, BODY, {**FILES, "model.onnx": b"the first"})
        put(new, path, replace=replace)

    monkeypatch.setattr(bundle, "put_folder", late)
    with pytest.raises(OutputError, match="holds files already"):
        write_bundle(tmp_path / "b", BODY, FILES)
    assert read_bundle(tmp_path / "b").files["model.onnx"] == b"the first"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_of_several_that_replace_a_bundle_at_once_the_last_stays_whole(tmp_path, monkeypatch):
    put = bundle.put_folder
    write_bundle(tmp_path / "b", BODY, FILES)

    def late(new, path, *, replace):
        monkeypatch.setattr(bundle, "put_folder", put)
        write_bundle(path, BODY, {**FILES, "model.onnx": b"the first"}, force=True)
        put(new, path, replace=replace)

    monkeypatch.setattr(bundle, "put_folder", late)
    write_bundle(tmp_path / "b", BODY, {**FILES, "model.onnx": b"the last"}, force=True)
    assert read_bundle(tmp_path / "b").files["model.onnx"] == b"the last"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_two_files_of_one_name_are_refused(tmp_path):
    path = tmp_path / "b.zip"
    write_bundle(path, BODY, FILES)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("infer.py", FILES["infer.py"])
    with pytest.raises(RecordError, match="two files of the same name"):
        read_bundle(path)


def test_one_model_named_twice_is_refused(path):
    write_bundle(path, BODY, FILES)
    changed(path, models=[{"file": "model.onnx"}, {"file": "model.onnx"}])
    with pytest.raises(RecordError, match="names a model twice"):
        read_bundle(path)


# -- what a manifest says --------------------------------------------------------------------------


def test_a_manifest_of_before_is_read_and_says_the_same(tmp_path):
    path = tmp_path / "b"
    path.mkdir()
    (path / "model.onnx").write_bytes(FILES["model.onnx"])
    values = {
        "KS": ", ".join(map(str, MODEL.architecture["ks"])),
        "E": ", ".join(map(str, MODEL.architecture["e"])),
        "SHA": "ab" * 32,
        "GRAPH": "cd" * 32,
        "FILE": hashlib.sha256(FILES["model.onnx"]).hexdigest(),
    }
    text = OLD_MANIFEST
    for key, value in values.items():
        text = text.replace(f"[{key}]", f"[{value}]").replace(f'"{key}"', f'"{value}"')
    (path / MANIFEST).write_text(text)
    with pytest.warns(Notice, match="its numbers cannot be checked"):
        bundle = read_bundle(path)
    manifest = check_manifest(bundle, {"model.onnx": MODEL})
    assert manifest.made_with == "deploy-nas 0.1.0" and manifest.models == {"model.onnx": MODEL}


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("architecture", replace(MODEL, architecture=SPACE.largest(24))),
        ("labels", replace(MODEL, labels=SPACE.labels[::-1])),
        ("preprocessing", replace(MODEL, preprocessing=None)),
        ("weights", replace(MODEL, weights=None)),
        ("precision", replace(MODEL, precision="int8")),
        ("predicted", replace(MODEL, predicted=Predicted())),
        ("predicted", replace(MODEL, predicted=replace(MODEL.predicted, provider="FastProvider"))),
        ("certificate", replace(MODEL, certificate=None)),
    ],
)
def test_a_model_that_says_another_thing_is_named(tmp_path, key, model):
    write_bundle(tmp_path / "b", BODY, FILES)
    with pytest.raises(MismatchError, match=rf"model\.onnx: the manifest's '{key}' is not the model's"):
        check_manifest(read_bundle(tmp_path / "b"), {"model.onnx": model})


def test_what_neither_says_is_alike(tmp_path):
    silent = ModelMetadata(space=SPACE, architecture=SPACE.smallest(24))
    write_bundle(tmp_path / "b", Manifest(made_with="x", models={"model.onnx": silent}), FILES)
    check_manifest(read_bundle(tmp_path / "b"), {"model.onnx": silent})


def test_a_manifest_of_no_model_is_refused(tmp_path):
    write_bundle(tmp_path / "b", BODY, FILES)
    changed(tmp_path / "b", models=[])
    bundle = read_bundle(tmp_path / "b")
    assert isinstance(bundle, Bundle) and bundle.models == ()
    with pytest.raises(RecordError, match="does not name a model"):
        check_manifest(bundle, {})


def test_a_missed_budget_is_seen():
    missed = replace(MODEL, certificate=replace(MODEL.certificate, within_budget=False))
    free = replace(MODEL, certificate=replace(MODEL.certificate, within_budget=None))

    def keeps(*models):
        return Manifest(made_with="x", models={str(n): m for n, m in enumerate(models)}).keeps_budgets

    assert keeps(MODEL, free, replace(MODEL, certificate=None)) and not keeps(MODEL, missed)


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_MOST_BYTES", 2000)
    for name in ("b", "b.zip"):
        with pytest.raises(OutputError, match="bundles hold up to"):
            write_bundle(tmp_path / name, BODY, {"model.onnx": b"x" * 3000})
        assert not (tmp_path / name).exists()
