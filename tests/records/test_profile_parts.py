"""The parts of a profile as objects of its file."""

import json
from dataclasses import replace

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.records.profile import load_profile, save_profile
from deploy_nas.records.profile_parts import Noise, Pair, Row


def test_parts_go_there_and_back(made_profile):
    profile = made_profile()
    for part in (profile.rows[0], replace(profile.rows[0], image_size=24), profile.pairs[0], profile.noise):
        assert type(part).from_json(Fields(json.loads(json.dumps(part.to_json())), "p")) == part


@pytest.mark.parametrize(
    ("kind", "key", "wrong"),
    [
        (Row, "latency_ms", 1e308),
        (Row, "image_size", "24"),
        (Row, "stable", 1),
        (Pair, "moments_ms", []),
        (Pair, "moments_ms", [0.0]),
        (Noise, "busy", 1e300),
        (Noise, "quota_cores", 0),
    ],
)
def test_a_wrong_value_is_named(made_profile, kind, key, wrong):
    profile = made_profile()
    parts = {Row: profile.rows[0], Pair: profile.pairs[0], Noise: profile.noise}
    with pytest.raises(RecordError, match=f"^p(: {key}.0.)?: '({key}|value)' must be"):
        kind.from_json(Fields({**parts[kind].to_json(), key: wrong}, "p"))


def test_cores_and_quota_of_the_run_are_kept_and_ids_of_before_hold(made_profile, tmp_path):
    profile = made_profile()
    assert {"cores", "quota_cores"}.isdisjoint(profile.to_json()["noise"])
    held = replace(profile, noise=replace(profile.noise, cores=(0,), quota_cores=1.5))
    save_profile(held, tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json").noise == held.noise and held.id != profile.id
