"""The command line as a stranger types it: what is good, and every kind of bad input."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from deploy_nas.cli.main import COMMANDS
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import get_space
from deploy_nas.records.profile import save_profile

pytestmark = pytest.mark.shared_out

SPACE = "ofa-mbv3-cifar10"


@pytest.fixture
def profile(tmp_path, made_profile):
    path = tmp_path / "p.json"
    save_profile(made_profile(), path)
    return path


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"space": SPACE, **get_space(SPACE).smallest(24)}))
    return path


def test_help_of_every_command(run):
    listed = run("--help").output
    for name in COMMANDS:
        assert name in listed
        assert "Usage" in run(name, "--help").output


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from deploy_nas.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ofa', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_spaces_and_doctor(run):
    assert SPACE in run("spaces").output
    assert {s["id"] for s in json.loads(run("spaces", "--json").stdout)} >= {
        SPACE,
        "ofa-mbv3-w1.0",
        "ofa-mbv3-w1.2",
    }
    found = {f["what"]: f for f in json.loads(run("doctor", "--json").stdout)}
    assert found["onnxruntime"]["value"] == onnxruntime.__version__
    assert {"cores", "load", "governor", "steal", "providers"} <= set(found)


@pytest.mark.slow
def test_search_keeps_its_budget_and_repeats(run, profile, tmp_path):
    run("search", "--profile", profile, "--max-latency-ms", 0.3, "-o", "one.json")
    run("search", "--profile", profile, "--max-latency-ms", 0.3, "-o", "two.json")
    one = json.loads((tmp_path / "one.json").read_text())
    assert one == json.loads((tmp_path / "two.json").read_text())
    predicted = one["predicted"]
    assert predicted["bound_ms"] <= 0.3 and predicted["latency_ms"] < predicted["bound_ms"]
    plain = json.loads(
        run(
            "search",
            "--profile",
            profile,
            "--max-latency-ms",
            0.3,
            "--confidence",
            "none",
            "-o",
            "c.json",
            "--json",
        ).stdout
    )
    assert plain["predicted"]["bound_ms"] is None and plain["predicted"]["latency_ms"] <= 0.3
    assert plain["predicted"]["accuracy"] >= predicted["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--max-latency-ms", "nan"], "positive number"),
        (["--max-latency-ms", "-1"], "positive number"),
        (["--max-macs-millions", "0"], "positive number"),
        (["--max-latency-ms", "0.001"], "fastest architecture found takes"),
        ([], "no budget"),
        (["--max-latency-ms", "1", "--confidence", "2"], "--confidence"),
        (["--max-latency-ms", "1", "--confidence", "often"], "--confidence"),
        (["--max-latency-ms", "1", "--image-sizes", "33"], "33"),
        (["--max-latency-ms", "1", "--image-sizes", "a"], "--image-sizes"),
        (["--max-latency-ms", "1", "--predictor", "nowhere.onnx"], "nowhere.onnx"),
        (["--max-latency-ms", "1", "--population", "0"], "--population"),
        (["--max-latency-ms", "1", "-o", "no/such/folder.json"], "does not exist"),
    ],
)
def test_search_bad_input(run, profile, tmp_path, arguments, says):
    before = sorted(p.name for p in tmp_path.iterdir())
    assert says in run("search", "--profile", profile, *arguments, code=2).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.slow
def test_search_refuses_what_exists_and_unstable_profiles(run, made_profile, profile, tmp_path):
    (tmp_path / "best.json").write_text("mine")
    assert "--force" in run("search", "--profile", profile, "--max-latency-ms", 1, code=2).stderr
    assert (tmp_path / "best.json").read_text() == "mine"
    save_profile(
        made_profile(faults=("the device's speed changed by 40% during the run",)), tmp_path / "u.json"
    )
    asked = ("search", "--profile", "u.json", "--max-latency-ms", 1, "--force")
    assert "unstable" in run(*asked, code=2).stderr
    run(*asked, "--allow-unstable")


def test_profiles_of_other_kinds_are_refused(run, made_profile, tmp_path, profile):
    text = profile.read_text()
    profile.write_text(text[:500])
    assert "cut short" in run("search", "--profile", profile, "--max-latency-ms", 1, code=2).stderr
    profile.write_text(text.replace('"cores": 2', '"cores": 3'))
    assert "edited" in run("search", "--profile", profile, "--max-latency-ms", 1, code=2).stderr
    save_profile(made_profile("ofa-mbv3-w1.0"), tmp_path / "w.json")
    said = run("search", "--profile", "w.json", "--max-latency-ms", 9, code=2).stderr
    assert "--predictor" in said
    said = run(
        "search", "--profile", "w.json", "--max-latency-ms", 9, "--predictor", "embedded", code=2
    ).stderr
    assert "ofa-mbv3-w1.0" in said


@pytest.mark.slow
@pytest.mark.usefixtures("full_measurements")
def test_export_and_verify_for_real(run, made_profile, architecture, tmp_path, profile):
    done = run("export", architecture, "--weights", "random")
    assert "UNTRAINED" in done.stderr and "largest difference" in done.output
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert session.run(None, {"image": np.zeros((1, 3, 24, 24), np.float32)})[0].shape == (1, 10)
    kept = json.loads(run("verify", "a.onnx", "--max-latency-ms", 1000, "--json").stdout)
    assert kept["within_budget"] is True and kept["measured"]["latency_ms"] > 0
    missed = run("verify", "a.onnx", "--max-latency-ms", 0.0001, "--profile", profile, code=1).output
    assert "MISSED" in missed and "another device" in missed


@pytest.mark.slow
def test_export_bad_input(run, architecture, tmp_path):
    good = json.loads(architecture.read_text())

    def changed(**values):
        architecture.write_text(json.dumps({**good, **values}))
        return architecture

    for values, says in (
        ({"space": "nope"}, "nope"),
        ({"ks": [3]}, "ks"),
        ({"e": [5] * 20}, "e[0]"),
        ({"d": None}, "d"),
        ({"image_size": 31}, "image_size"),
        ({"extra": 1}, "extra"),
    ):
        assert says in run("export", changed(**values), "--weights", "random", code=2).stderr
    assert (
        "--weights"
        in run(
            "export", changed(space="ofa-mbv3-w1.0", ks=[3] * 20, e=[3] * 20, image_size=128), code=2
        ).stderr
    )
    changed()
    assert "nowhere.pth" in run("export", architecture, "--weights", "nowhere.pth", code=2).stderr
    (tmp_path / "bad.pth").write_bytes(b"\x80\x04not a checkpoint")
    assert "bad.pth" in run("export", architecture, "--weights", "bad.pth", code=2).stderr
    (tmp_path / "empty").mkdir()
    said = run("export", architecture, "--weights", "random", "--calibration-images", "empty", code=2).stderr
    assert "empty" in said
    assert not (tmp_path / "a.onnx").exists()


def test_verify_bad_input(run, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"hello")
    assert "m.onnx" in run("verify", "m.onnx", code=2).stderr
    assert "gone.onnx" in run("verify", "gone.onnx", code=2).stderr
    assert "positive" in run("verify", "m.onnx", "--max-latency-ms", "nan", code=2).stderr


def test_profile_bad_input(run, tmp_path):
    for arguments, says in (
        (["--space", "nope"], "ofa-mbv3-cifar10"),
        (["--space", SPACE, "--threads", "0"], "--threads"),
        (["--space", SPACE, "--threads", "999"], "--threads"),
        (["--space", SPACE, "--provider", "tpu"], "CPUExecutionProvider"),
        (["--space", SPACE, "--image-sizes", "31"], "31"),
        (["--space", SPACE, "--provider-option", "x"], "KEY=VALUE"),
        (["--space", SPACE, "-o", "no/p.json"], "does not exist"),
        (["--space", SPACE, "--target", "http://h"], "ssh://"),
    ):
        assert says in run("profile", *arguments, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_profiles_list_show_compare(run, made_profile, profile, tmp_path):
    save_profile(made_profile(speed=2.0, threads=2), tmp_path / "fast.json")
    (tmp_path / "other.json").write_text("{}")
    listed = run("profiles", "list").output
    assert "p.json" in listed and "fast.json" in listed and "other.json" not in listed
    shown = run("profiles", "show", profile).output
    other = get_space("ofa-mbv3-w1.0")
    (tmp_path / "w.json").write_text(json.dumps({"space": other.id, **other.largest()}))
    assert "is of space" in run("profiles", "show", profile, "--architecture", "w.json", code=2).stderr
    assert "stage3.block1" in shown and "total" in shown and "mean error" in shown
    compared = run("profiles", "compare", profile, "fast.json").output
    assert "threads: 1 against 2" in compared and "take 0.500 times" in compared


@pytest.mark.slow
def test_profile_stopped_by_ctrl_c_goes_on(run, monkeypatch, tmp_path, quick_settings):
    """For real, on one size: stopped after 20 bursts, then finished by the same command."""
    import dataclasses

    from deploy_nas.device.journal import Journal, read_journal
    from deploy_nas.workflows import profile as workflow

    whole = workflow.settings_for
    short = lambda r: dataclasses.replace(whole(r), **quick_settings)  # noqa: E731
    monkeypatch.setattr(workflow, "settings_for", short)
    make = workflow.make_plan
    few = lambda *a, **k: dataclasses.replace(make(*a, **k), fit_per_size=6, validation_per_size=3)  # noqa: E731
    monkeypatch.setattr(workflow, "make_plan", few)
    add, count = Journal.add, [0]

    def stopping(self, *arguments):
        add(self, *arguments)
        count[0] += 1
        if count[0] == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", stopping)
    command = ("profile", "--space", SPACE, "--image-sizes", "24", "--quick", "-o", "p.json")
    assert "the same command resumes" in run(*command, code=130).stderr
    first = read_journal(tmp_path / "p.json.journal").bursts
    assert len(first) == 20 and not (tmp_path / "p.json").exists()
    run(*command)
    # A run on a busy machine also keeps its times for the next one.
    assert {p.name for p in tmp_path.iterdir()} - {"p.json.times"} == {"p.json"}
    assert count[0] == 2 * (6 + 63 + 6 + 3)
    assert "exists already" in run(*command, code=2).stderr


@pytest.mark.slow
def test_int8_profile_to_int8_bundle_for_real(run, monkeypatch, tmp_path, quick_settings):
    """The whole way in INT8: profile, search, export, bundle, verify; times are not what is tested."""
    import dataclasses

    from PIL import Image

    from deploy_nas.deploy import quantize
    from deploy_nas.workflows import profile as workflow

    whole = workflow.settings_for
    once = {**quick_settings, "rounds": 1, "row_rounds": 1, "passes": 1}
    short = lambda r: dataclasses.replace(whole(r), **once)  # noqa: E731
    monkeypatch.setattr(workflow, "settings_for", short)
    make = workflow.make_plan
    few = lambda *a, **k: dataclasses.replace(make(*a, **k), fit_per_size=6, validation_per_size=3)  # noqa: E731
    monkeypatch.setattr(workflow, "make_plan", few)
    monkeypatch.setattr(quantize, "compare_speed", lambda models, **how: [2.0, 1.0])
    asked = ("profile", "--space", SPACE, "--image-sizes", 24, "--quick", "--precision", "int8")
    assert "int8" in run(*asked).output
    profile = f"{SPACE}-1t-int8.profile.json"
    assert json.loads((tmp_path / profile).read_text())["fingerprint"]["precision"] == "int8"
    budget = ("--max-latency-ms", 1000)
    run("search", "--profile", profile, *budget, "--allow-unstable", "-o", "b.json", "--generations", 3)
    assert json.loads((tmp_path / "b.json").read_text())["predicted"]["precision"] == "int8"
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(25):
        picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        picture.save(tmp_path / f"images/{number}.png")
    images = ("--calibration-images", "images")
    assert "--calibration-images" in run("export", "b.json", "--int8", code=2).stderr
    assert "--int8" in run("export", "b.json", "--images", "images", code=2).stderr
    assert "--int8" in run("export", "b.json", "--int8-for", "arm", code=2).stderr
    assert "--precision" in run(*asked[:-2], "--int8-for", "arm", code=2).stderr
    assert "--int8-for" in run("kit", "make", *asked[1:], code=2).stderr
    said = run("export", "b.json", "--int8", *images, "--bundle", "b.zip").output
    assert "INT8" in said and "b.zip" in said
    shown = json.loads(run("verify", "b.zip", "--json").stdout)["models"]
    assert shown["b.zip: model.onnx"]["predicted_ms"] is None  # its prediction is of INT8
    assert shown["b.zip: model.int8.onnx"]["predicted_ms"] > 0
    assert shown["b.zip: model.int8.onnx"]["within_budget"] is True
    assert "predicted" in run("verify", "b.int8.onnx", "--profile", profile).output
    assert "fp32" in run("verify", "b.onnx", "--profile", profile, code=2).stderr
    assert "--images" in run("verify", "b.zip", "--images", "images", code=2).stderr
    assert "not a bundle" in run("verify", "images", code=2).stderr


@pytest.mark.slow
def test_a_bundle_over_its_budget_exits_1_and_says_what_lies_there(run, tmp_path):
    from deploy_nas.core.spaces import get_space

    predicted = {"latency_ms": 1e-6, "budget_ms": 1e-6}
    (tmp_path / "a.json").write_text(
        json.dumps(sealed({"space": SPACE, **get_space(SPACE).smallest(), "predicted": predicted}))
    )
    done = run("export", "a.json", "--bundle", "b", "--json", code=1)
    said, data = json.loads(done.stdout), (tmp_path / "a.onnx").read_bytes()
    assert (said["sha256"], said["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert said["bundle"]["models"][0]["certificate"]["within_budget"] is False
    assert "MISSED here" in run("export", "a.json", "--bundle", "b", "--force", code=1).output


@pytest.mark.slow
def test_int8_that_does_not_pay_exits_1_and_keeps_fp32(run, monkeypatch, architecture, tmp_path):
    from PIL import Image

    from deploy_nas.deploy import quantize

    monkeypatch.setattr(quantize, "compare_speed", lambda models, **how: [1.0, 1.2])
    (tmp_path / "images").mkdir()
    for number in range(25):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"images/{number}.png")
    assert "--int8" in run("export", architecture, "--keep-statistics", code=2).stderr
    asked = ("export", architecture, "--int8", "--calibration-images", "images")
    said = run(*asked, code=1)
    assert "re-estimated" in said.output
    (tmp_path / "a.int8.onnx").write_bytes(b"of another network")
    said = run(*asked, "--keep-statistics", "--force", code=1)
    assert "re-estimated" not in said.output
    assert "INT8 is not faster here" in said.stderr
    assert (tmp_path / "a.onnx").is_file() and not (tmp_path / "a.int8.onnx").exists()
