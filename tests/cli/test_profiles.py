"""``deploy-nas profiles``: list, show, compare, import."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.core.spaces import get_space
from deploy_nas.records.profile import save_profile
from deploy_nas.records.profile_lines import profile_lines as summary
from deploy_nas.records.profile_parts import Imported
from deploy_nas.workflows import import_tables

IMPORTED = Imported(format="OFA latency tables", device="phone", files={})


def test_a_summary_has_the_verdict(made_profile):
    said = summary(made_profile())
    assert "validation on 40 other networks" in said and said.endswith("verdict: stable")
    said = summary(made_profile(faults=("too slow", "too busy")))
    assert said.splitlines()[-2:] == ["UNSTABLE: too slow", "UNSTABLE: too busy"]


def test_a_summary_of_an_imported_profile_says_what_it_lacks(made_profile):
    said = summary(replace(made_profile(), imported=IMPORTED, pairs=()))
    assert "IMPORTED from OFA latency tables" in said and "UNVALIDATED" in said


def test_list_names_profiles_and_their_verdicts(run, made_profile, profile, tmp_path):
    (tmp_path / "below").mkdir()
    save_profile(made_profile(faults=("too slow",)), tmp_path / "below/u.json")
    (tmp_path / "other.json").write_text("{}")
    rows = run("profiles", "list").stdout.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["below/u.json", "p.profile.json"]
    assert [row.split()[-1] for row in rows] == ["unstable", "stable"]
    (tmp_path / "empty").mkdir()
    assert run("profiles", "list", "empty").stdout.startswith("no profiles in empty")


def test_show_adds_up_to_the_prediction(run, profile, made_profile, architecture):
    held, space = made_profile(), made_profile().space
    lines = run("profiles", "show", profile, "--architecture", architecture).stdout.splitlines()
    total = float(held.latency_ms(space.encode([space.smallest(24)]))[0])
    assert float(lines[-1].split()[1]) == pytest.approx(total, abs=5e-4) and lines[-1].startswith("total")
    assert lines[-2].startswith("(run itself)")
    largest = run("profiles", "show", profile, "--image-size", 24).stdout.splitlines()[-1]
    assert float(largest.split()[1]) > total


def test_show_refuses_what_does_not_fit(run, profile, tmp_path):
    other = get_space("ofa-mbv3-w1.0")
    (tmp_path / "w.json").write_text(json.dumps({"space": other.id, **other.largest()}))
    said = run("profiles", "show", profile, "--architecture", "w.json", code=2).stderr
    assert f"is of space {other.id}, the profile of ofa-mbv3-cifar10" in said


def test_compare(run, made_profile, profile, tmp_path):
    save_profile(made_profile(speed=2.0, threads=2), tmp_path / "fast.json")
    said = run("profiles", "compare", profile, "fast.json").stdout
    assert "threads: 1 against 2" in said and "take 0.500 times as long on the second" in said
    assert "layers that differ most from this ratio:" in said


def test_compare_refuses_profiles_that_share_nothing(run, made_profile, tmp_path):
    for name, held in {
        "a.json": made_profile(image_sizes=(24,)),
        "b.json": made_profile(image_sizes=(28,)),
        "c.json": made_profile("ofa-mbv3-w1.0", image_sizes=(128,)),
    }.items():
        save_profile(held, tmp_path / name)
    assert "no image size in common" in run("profiles", "compare", "a.json", "b.json", code=2).stderr
    assert "is of space ofa-mbv3-w1.0" in run("profiles", "compare", "a.json", "c.json", code=2).stderr


def test_import_ofa_names_device_and_output_after_the_folder(run, stand_in, made_profile, tmp_path):
    (tmp_path / "note10").mkdir()
    profile = replace(made_profile(), imported=IMPORTED, pairs=())
    calls = stand_in(import_tables, "import_ofa", profile)
    said = run("profiles", "import-ofa", "note10").stdout
    assert said.splitlines()[-1] == "wrote note10.profile.json" and "UNVALIDATED" in said
    run(
        "profiles",
        "import-ofa",
        "note10",
        "--device-name",
        "phone",
        "--space",
        "s",
        "--force",
        "-o",
        "x.json",
    )
    assert calls == [
        ((Path("note10"), Path("note10.profile.json")), {"space": None, "device": "note10", "force": False}),
        ((Path("note10"), Path("x.json")), {"space": "s", "device": "phone", "force": True}),
    ]
