"""``accuracy collect``, ``accuracy train`` and ``verify --images``, as a stranger types them."""

import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, load_accuracy_data, save_accuracy_data

pytestmark = pytest.mark.shared_out

SPACE = get_space("ofa-mbv3-cifar10")
COLLECT = ("accuracy", "collect", "--space", SPACE.id)


def write_images(root: Path, each: int = 4, labels=SPACE.labels, side: int = 32) -> Path:
    rng = np.random.default_rng(0)
    for label in labels:
        (root / label).mkdir(parents=True)
        for number in range(each):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
            (root / label / f"{number}.png").write_bytes(file.getvalue())
    return root


@pytest.mark.slow
def test_collect_is_killed_refuses_a_second_run_and_goes_on(run, tmp_path):
    """Real processes: two workers, killed, finished by one; the file is that of an undisturbed run."""
    write_images(tmp_path / "set", 6)
    options = ("--images", "set", "--calibration-images", "set", "--calibration-limit", 20, "--count", 10)
    path = tmp_path / "a.jsonl"
    command = [sys.executable, "-c", "from deploy_nas.cli import main; main()"]
    command += [str(a) for a in (*COLLECT, *options, "-o", "a.jsonl", "--workers", 2)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > 3):
            time.sleep(0.01)
        process.send_signal(19)  # SIGSTOP: it holds the file, and cannot finish meanwhile
        assert process.returncode is None
        refused = run(*COLLECT, *options, "-o", "a.jsonl", code=2)
        assert "a.jsonl: another run is writing it" in refused.stderr
    finally:
        process.kill()
        process.wait()
    before = path.read_bytes()
    assert 4 <= before.count(b"\n") < 11
    done = json.loads(run(*COLLECT, *options, "-o", "a.jsonl", "--workers", 1, "--json").stdout)
    assert done["measured"] == 11 - before.count(b"\n") and done["subnets"] == 10
    run(*COLLECT, *options, "-o", "b.jsonl", "--workers", 1)
    assert path.read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert "measured 0 subnets" in run(*COLLECT, *options, "-o", "a.jsonl").output
    other = run(*COLLECT, *options[:-1], 11, "--mirrored", "-o", "a.jsonl", code=2)
    assert "was started with images" in other.stderr


@pytest.mark.slow
def test_collect_names_what_it_skips_and_doubts_low_figures(run, tmp_path):
    write_images(tmp_path / "set", 20)
    (tmp_path / "set/cat/3.png").write_bytes(b"cut")
    done = run(*COLLECT, "--images", "set", "--count", 2, "--workers", 1)
    assert "pictures (cat/3.png has no format that can be read here)" in done.stderr
    assert "measured 2 subnets on 199 images" in done.output and "guessing would score 10.0%" in done.output
    for number in range(3):
        (tmp_path / f"set/dog/{number}.png").write_bytes(b"")
    refused = run(*COLLECT, "--images", "set", "-o", "x", code=2).stderr
    assert "4 of 200 images cannot be used (cat/3.png has no format" in refused
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_collect_measures_what_verify_will(run, tmp_path):
    """Of pictures larger than any input: noise, each in the folder where the exported file puts it."""
    from deploy_nas.adapters.images import load_images, preprocess
    from deploy_nas.deploy.top1 import predict

    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest()}))
    run("export", "a.json")
    write_images(tmp_path / "set", 1, side=100)
    drawn = write_images(tmp_path / "drawn", 8, side=100)
    given = load_images(drawn, labelled=False, size=20).images
    guessed = predict((tmp_path / "a.onnx").read_bytes(), preprocess(given, 20, SPACE.mean, SPACE.std))
    for number, (file, label) in enumerate(zip(sorted(drawn.rglob("*.png")), guessed, strict=True)):
        file.rename(tmp_path / f"set/{SPACE.labels[label]}/drawn-{number}.png")
    run(*COLLECT, "--images", "set", "--count", 1, "--workers", 1, "-o", "s.jsonl")
    collected = json.loads((tmp_path / "s.jsonl").read_text().splitlines()[1])["top1"]
    top1 = json.loads(run("verify", "a.onnx", "--images", "set", "--json").stdout)["top1"]
    assert collected == pytest.approx(top1["percent"], abs=0.01) and collected > 85


@pytest.mark.slow
def test_collect_adds_what_a_predictor_thinks_best(run, tmp_path):
    write_images(tmp_path / "set", 1)
    run(*COLLECT, "--images", "set", "--count", 2, "--workers", 1)
    more = (*COLLECT, "--images", "set", "--count", 5, "--workers", 1, "--best-of", "embedded")
    said = run(*more).output
    assert "measured 3 subnets on 10 images" in said
    promised = float(said.partition("predicted minus measured, mean of these 3: ")[2].split()[0])
    best = load_accuracy_data(tmp_path / "subnets.jsonl").last(3)
    predicted = load_accuracy_predictor(SPACE, "embedded").percent_encoded(best.encoded)
    assert promised == pytest.approx((predicted - best.top1_percent).mean(), abs=0.01)
    assert "predicted less" not in run(*more).output
    refused = run(*COLLECT[:-1], "ofa-mbv3-w1.0", *more[len(COLLECT) :], code=2).stderr
    assert "no accuracy predictor is shipped for ofa-mbv3-w1.0" in refused
    assert "gone" in run(*more[:-1], "gone", code=2).stderr


@pytest.mark.slow
def test_collect_bad_input(run, tmp_path):
    write_images(tmp_path / "three", 1, labels=("a", "b", "c"))
    write_images(tmp_path / "ten", 1)
    for arguments, says in (
        (["--images", "nowhere"], "nowhere: does not exist"),
        (["--images", "three"], "3 class folders, the supernet of ofa-mbv3-cifar10 has 10 classes"),
        (["--images", "ten", "--weights", "random"], "accuracies of random weights mean nothing"),
        (["--images", "ten", "-o", "no/x"], "the folder no does not exist"),
        (["--images", "ten", "--count", "0"], "0 is not in the range 1<=x<="),
    ):
        assert says in run(*COLLECT, *arguments, code=2).stderr
    (tmp_path / "ten/empty").mkdir()
    assert "ten: empty: this class folder holds no images" in run(*COLLECT, "--images", "ten", code=2).stderr
    (tmp_path / "mine").write_text("my notes\n")
    (tmp_path / "ten/empty").rmdir()
    assert "mine: line 1: is not JSON" in run(*COLLECT, "--images", "ten", "-o", "mine", code=2).stderr
    assert (tmp_path / "mine").read_text() == "my notes\n"


@pytest.fixture
def subnets(tmp_path):
    """A file of 60 measured subnets."""
    encoded = SPACE.sample_encoded(np.random.default_rng(0), 60)
    header = AccuracyHeader(space=SPACE, weights="w", images="i", image_count=100)
    top1 = 80.0 + encoded[:, 0] + encoded[:, 1:].mean(axis=1)
    path = tmp_path / "subnets.jsonl"
    save_accuracy_data(AccuracyData(header=header, encoded=encoded, top1_percent=top1), path)
    return path


@pytest.mark.slow
def test_train_reports_draws_and_searches_with_its_spread(run, subnets, tmp_path, made_profile, monkeypatch):
    from deploy_nas.accuracy import fit
    from deploy_nas.records.profile import save_profile

    monkeypatch.setattr(
        fit.FitSettings.__init__,
        "__kwdefaults__",
        {**fit.FitSettings.__init__.__kwdefaults__, "taught": 200, "hidden": (32, 32), "epochs": 10},
    )
    said = run("accuracy", "train", subnets, "--ensemble", 2, "--held-out", 0.25).output
    assert "on 15 subnets held out: mean absolute error" in said and "ensemble spread" in said
    assert (tmp_path / "accuracy.svg").read_text().count("subnets held out") >= 1
    assert "exists already" in run("accuracy", "train", subnets, code=2).stderr
    options = ("accuracy", "train", subnets, "--force", "--ensemble", 2, "--plot", "none", "--json")
    figures = json.loads(run(*options).stdout)
    assert figures["plot"] is None and figures["subnets"] == 12
    assert len(figures["spread_points"]) == 12
    save_profile(made_profile(), tmp_path / "p.json")
    search = ("search", "--profile", "p.json", "--max-latency-ms", 1, "--predictor", "accuracy.onnx")
    assert "(ensemble spread " in run(*search, "-o", "best.json").output
    assert json.loads((tmp_path / "best.json").read_text())["predicted"]["accuracy_spread"] > 0
    save_profile(made_profile("ofa-mbv3-w1.0"), tmp_path / "w.json")
    said = run("search", "--profile", "w.json", *search[3:], "-o", "w.best.json", code=2).stderr
    assert "accuracy.onnx: is a predictor of space ofa-mbv3-cifar10, not ofa-mbv3-w1.0" in said


def test_train_bad_input(run, subnets, tmp_path):
    lines = subnets.read_text().splitlines()
    bad = tmp_path / "bad.jsonl"
    for content, says in (
        ([*lines[:5], lines[5].replace('"top1": ', '"top1": 1')], "line 6 was edited or damaged"),
        (lines[:20], "too few to train on"),
        (["{}"], "not a file of the format 'deploy-nas measured subnets'"),
    ):
        bad.write_text("\n".join(content) + "\n")
        assert says in run("accuracy", "train", bad, "-o", "p.onnx", code=2).stderr
    assert "gone" in run("accuracy", "train", "gone", code=2).stderr
    assert "--held-out" in run("accuracy", "train", subnets, "--held-out", 0.9, code=2).stderr
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.slow
def test_verify_measures_top1_with_an_interval_beside_the_prediction(run, tmp_path):
    write_images(tmp_path / "set", 10)
    (tmp_path / "set/cat/3.png").write_bytes(b"cut")
    predicted = {"accuracy": 0.1, "accuracy_unit": "fraction"}
    file = {"space": SPACE.id, **SPACE.smallest(24), "predicted": predicted}
    (tmp_path / "a.json").write_text(json.dumps(sealed(file)))
    run("export", "a.json")
    done = run("verify", "a.onnx", "--images", "set", "--max-latency-ms", 1000)
    assert "% on 99 images (95% interval " in done.output
    assert "predicted top-1 10.00%: within the interval" in done.output
    assert "pictures (cat/3.png has no format that can be read here)" in done.stderr
    top1 = json.loads(run("verify", "a.onnx", "--images", "set", "--json").stdout)["top1"]
    low, high = top1["interval_percent"]
    assert low < top1["percent"] < high and top1["predicted_percent"] == pytest.approx(10.0)
    assert top1["images"] == 99 and top1["skipped"] == ["cat/3.png"]
    (tmp_path / "set/cat").rename(tmp_path / "set/kitten")
    said = run("verify", "a.onnx", "--images", "set", code=2).stderr
    assert "class folder 'kitten' is not one of the model's classes (airplane, automobile, bird, cat" in said
    assert "nowhere" in run("verify", "a.onnx", "--images", "nowhere", code=2).stderr


@pytest.mark.slow
def test_verify_cuts_pictures_as_the_bundles_own_script_does(run, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest(24)}))
    run("export", "a.json")
    right = []
    for name, size in (("square", (32, 32)), ("wide", (60, 32))):
        for file in write_images(tmp_path / name, 5).rglob("*.png"):
            canvas = Image.new("RGB", size, (255, 0, 0))
            canvas.paste(Image.open(file), ((size[0] - 32) // 2, 0))
            canvas.save(file)
        said = json.loads(run("verify", "a.onnx", "--images", name, "--json").stdout)
        right.append(said["top1"]["right"])
    assert right[0] == right[1]


@pytest.mark.slow
def test_verify_turns_pictures_upright_and_says_so(run, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest(24)}))
    run("export", "a.json")
    plain = json.loads(
        run("verify", "a.onnx", "--images", write_images(tmp_path / "set", 5), "--json").stdout
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in (tmp_path / "set").rglob("*.png"):
        Image.open(file).rotate(90, expand=True).save(file, exif=exif)
    done = run("verify", "a.onnx", "--images", "set", "--json")
    turned = json.loads(done.stdout)["top1"]
    assert turned["right"] == plain["top1"]["right"] and turned["reading"]["turned"] == 50
    assert "note: set: 50 pictures turned upright, as EXIF says" in done.stderr
    for label in SPACE.labels[3:]:
        shutil.rmtree(tmp_path / "set" / label)
    done = run("verify", "a.onnx", "--images", "set")
    assert "% on 15 images of 3 of 10 classes (95% interval" in done.stdout


def test_verify_looks_at_the_images_before_it_measures(run, tmp_path, monkeypatch):
    from deploy_nas.workflows import verify

    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest(24)}))
    run("export", "a.json")
    monkeypatch.setattr(verify, "measure", None)
    assert "nowhere" in run("verify", "a.onnx", "--images", "nowhere", code=2).stderr


def test_a_seed_below_0_is_refused_at_once(run):
    assert "--seed" in run(*COLLECT, "--images", "nowhere", "--seed", -1, code=2).stderr


@pytest.mark.slow
def test_labels_with_a_byte_order_mark(run, tmp_path):
    write_images(tmp_path / "set", 1)
    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest(24)}))
    (tmp_path / "labels.txt").write_text("\r\n".join(SPACE.labels), encoding="utf-8-sig")
    run("export", "a.json", "--labels", "labels.txt")
    assert "on 10 images" in run("verify", "a.onnx", "--images", "set").output


@pytest.mark.slow
def test_export_names_the_calibration_images_it_skips(run, tmp_path):
    write_images(tmp_path / "set", 10)
    (tmp_path / "set/cat/3.png").write_bytes(b"cut")
    (tmp_path / "a.json").write_text(json.dumps({"space": SPACE.id, **SPACE.smallest(24)}))
    done = run("export", "a.json", "--calibration-images", "set")
    assert "re-estimated on 99 images" in done.output
    assert "pictures (cat/3.png has no format that can be read here)" in done.stderr
    again = ("export", "a.json", "--calibration-images", "set", "--force", "--json")
    assert json.loads(run(*again).stdout)["skipped"] == ["cat/3.png"]


def test_a_cluster_that_cannot_be_used_is_named_before_any_work(run):
    for bad, said in (("head", "is 'auto' or HOST:PORT"), ("127.0.0.1:1", "nothing answers at 127.0.0.1:1")):
        result = run(*COLLECT, "--images", "gone", "--cluster", bad, code=2)
        assert f"error: --cluster: {said}" in result.stderr
