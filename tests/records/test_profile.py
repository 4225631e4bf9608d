"""Profiles as files: there and back, those of the version before, edits seen, and what they say of a device.

Predictions are tested with the fits (tests/profiling).
"""

import hashlib
import json
from dataclasses import replace

import pytest

from deploy_nas.core.errors import InputError, MismatchError, RecordError, VersionError
from deploy_nas.core.settings import Settings
from deploy_nas.records.profile import VERSION, check_readable, load_profile, save_profile
from deploy_nas.records.profile_parts import Imported

TABLE = Imported(format="OFA's tables", device="phone", files={"24_lookup_table.yaml": "ab" * 32})


@pytest.fixture
def saved(made_profile, tmp_path):
    """``saved(change=None, profile=None)``: a profile's file, its object changed by hand."""

    def make(change=None, profile=None):
        path = tmp_path / "p.json"
        save_profile(profile or made_profile(), path, force=True)
        if change is not None:
            value = json.loads(path.read_text())
            change(value)
            path.write_text(json.dumps(value))
        return path

    return make


def with_origin(profile):
    """As it would be were it imported: each layer timed anew for its image size."""
    space, times = profile.space, {row.key: row for row in profile.rows}
    rows = tuple(
        replace(times[layer.key], image_size=size)
        for size in profile.image_sizes
        for layer, held in zip(space.rows, space.row_sizes(), strict=True)
        if int(held) >> int(space.image_size_indices([size])[0]) & 1
    )
    return replace(profile, rows=rows, imported=TABLE, pairs=())


def test_there_and_back(made_profile, saved):
    on = made_profile().fingerprint
    full = replace(
        made_profile(),
        settings=Settings(threads=2, provider_options={"speed": "most"}),
        fingerprint=replace(on, cpu_features=("avx2",), build="a build", graphs="ab" * 8),
    )
    for profile in (made_profile(), full):
        again = load_profile(saved(profile=profile))
        assert again == profile and again.id == profile.id and again.version == 1


def test_a_profile_of_before_is_read_and_keeps_its_id(made_profile, saved):
    """It says nothing of the build, the graphs and the instruction sets, and has no settings."""
    path = saved()
    held = json.loads(path.read_text())
    assert not {"build", "graphs", "cpu_features", "runtime"} & set(held["fingerprint"])
    assert held["settings"] == {} and held["fingerprint"]["onnxruntime"] == "fake"
    found = load_profile(path)
    assert found.id == held["id"] and found.settings is None and found.fingerprint.cpu_features is None


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["fingerprint"].update(cores=3),
        lambda v: v.update(id="0" * 12),
        lambda v: v.update(version=2),
        lambda v: v["fingerprint"].update(graphs="of another time"),
        lambda v: v["noise"].update(faults=["hot"]),
    ],
)
def test_an_edit_is_seen(saved, change):
    with pytest.raises(MismatchError, match=r"p\.json: was edited or damaged"):
        load_profile(saved(change))


def test_a_newer_format_is_said(saved):
    with pytest.raises(VersionError, match=f"version {VERSION + 1}"):
        load_profile(saved(lambda v: v.update(version=VERSION + 1)))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda v: v["fingerprint"].pop("cpu"), "fingerprint: has no 'cpu'"),
        (lambda v: v["fingerprint"].update(threads=0), "fingerprint: 'threads' must be"),
        (lambda v: v["fingerprint"].update(provider_options=3), "'provider_options' must be an object"),
        (lambda v: v.update(settings={"threads": 1}), "settings: "),
        (lambda v: v.update(image_sizes=[]), "'image_sizes' must hold at least one size, and each"),
        (lambda v: v.update(image_sizes=[21]), "image_sizes"),
        (lambda v: v.update(offset_ms=[0.1]), "'offset_ms' must have one number per"),
        (lambda v: v["noise"].update(busy="x"), "noise: 'busy' must be"),
        (lambda v: v["validation"]["pairs"][0].update(measured_ms=0), r"pairs\[0\]: 'measured_ms' must be"),
        (lambda v: v.update(imported={"format": "x"}), "imported: has no 'device'"),
    ],
)
def test_faults_name_the_key(saved, change, what):
    with pytest.raises(RecordError, match=what):
        load_profile(saved(change))


def test_a_space_that_is_not_there_is_named(saved):
    from deploy_nas.core.errors import UnknownSpaceError

    with pytest.raises(UnknownSpaceError, match=r"p\.json: .*'gone'"):
        load_profile(saved(lambda v: v.update(space="gone")))


def test_differences_are_of_the_identity_alone(made_profile):
    profile = made_profile()
    here = replace(profile.fingerprint, os="another", governor="another", pinned=False)
    assert profile.differences(here) == ()
    (found,) = profile.differences(replace(here, runtime_version="9"), where="there")
    assert str(found) == "onnxruntime: profiled 'fake', there '9'"


def test_an_imported_profile_is_of_no_device_here(made_profile, saved):
    profile = with_origin(made_profile(image_sizes=(24,)))
    (found,) = profile.differences(profile.fingerprint)
    assert found.name == "imported" and str(found).startswith("imported: a table of fake")
    assert not profile.validated and profile.validation is None and profile.upper_ratio(0.95) == 1.0
    assert profile.most_confidence == 1.0


def test_an_imported_profile_is_of_the_newer_format(made_profile, saved):
    profile = with_origin(made_profile(image_sizes=(24,)))
    again = load_profile(saved(profile=profile))
    assert again == profile and again.version == 2 < VERSION and again.imported == TABLE


def test_validation_in_figures(made_profile):
    found = made_profile().validation
    assert found.networks == 40 and found.worst_error_percent == pytest.approx(2.04, abs=0.05)
    assert found.within_5_percent == found.within_10_percent == 100.0
    assert made_profile().most_confidence == pytest.approx(40 / 41)
    assert not made_profile(faults=("hot",)).stable and made_profile().stable


def test_a_size_that_was_not_profiled_is_named(made_profile):
    profile = made_profile(image_sizes=(24, 28))
    with pytest.raises(MismatchError, match="image size 20 was not profiled"):
        profile.latency_ms(profile.space.encode([profile.space.smallest(20)]))


def off_by(profile, *errors):
    """The profile with held-out networks that take so much longer than predicted."""
    pairs = [replace(profile.pairs[0], measured_ms=round(1.0 / (1.0 + e), 6)) for e in errors]
    return replace(profile, pairs=tuple(pairs))


def test_the_verdict_takes_the_validation_into_account(made_profile):
    assert off_by(made_profile(), *[0.02] * 19, 0.15).stable
    wrong = off_by(made_profile(), *[0.02] * 9, *[0.10] * 9, 0.35)
    (said,) = wrong.faults
    assert "predictions of 19 other networks are off by 7.5% on average (worst 35.0%)" in said
    assert not wrong.stable and wrong.noise.faults == ()
    (said,) = off_by(made_profile(), *[0.0] * 7, *[0.13] * 3).faults
    assert "only 70% of its predictions of 10 other networks are within 10% (worst 13.0%)" in said
    assert made_profile(faults=("hot",)).faults == ("hot",) and replace(made_profile(), pairs=()).stable


def test_a_prediction_of_no_time_at_all_is_refused_with_a_word(made_profile):
    profile = made_profile()
    profile = replace(profile, offset_ms=(-9.0,) * len(profile.offset_ms))
    small = profile.space.encode([profile.space.smallest()])
    with pytest.raises(RecordError, match=r"predicts -\d.* ms for a network of \d+ px, which takes longer"):
        profile.latency_ms(small)


# -- resealed by a hostile hand -------------------------------------------------------------------


def resealed(value):
    """The object with the id that fits its content, as a hostile hand would write it."""
    body = {key: held for key, held in value.items() if key != "id"}
    value["id"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["validation"]["pairs"][0].update(moments_ms=[]), "'moments_ms' must be a list of one"),
        (lambda v: v["rows"][0].update(latency_ms=1e308), "'latency_ms' must be a number of at most"),
        (lambda v: v["rows"][0].update(p90_ms=10**400), "'p90_ms' must be a finite number"),
        (lambda v: v["rows"][0].update(runs=10**30), "'runs' must be a whole number of 64 bits"),
        (lambda v: v.update(offset_ms=[-1e9] * len(v["image_sizes"])), "must be a number of at most"),
        (lambda v: v.update(offset_ms=[-1e6] * len(v["image_sizes"])), "which takes longer"),
        (lambda v: v.update(sentinel_ms=1e300), "'sentinel_ms' must be a number of at most"),
        (lambda v: v["noise"].update(busy=1e300), "'busy' must be a number of at most"),
        (lambda v: v.update(image_sizes=[10**30] * len(v["image_sizes"])), "image_sizes"),
        (lambda v: v.update(created=["x"] * 10**6), "'created' must be a string"),
        (lambda v: v.update(space="ofa-mbv3-w1.0@10@" + "9" * 5000), "no search space"),
    ],
)
def test_a_resealed_profile_with_numbers_of_no_device_is_one_error(saved, change, message):
    def hostile(value):
        change(value)
        resealed(value)

    path = saved(hostile)
    with pytest.raises(InputError, match=message) as caught:
        load_profile(path)
    assert len(str(caught.value)) < 9000


def test_a_profile_that_could_not_be_read_again_is_known_before_it_is_written(made_profile):
    profile = replace(made_profile(), offset_ms=tuple(-1e9 for _ in made_profile().image_sizes))
    with pytest.raises(RecordError, match="no profile can be made of these times"):
        check_readable(profile)
    assert check_readable(made_profile()) == made_profile()
