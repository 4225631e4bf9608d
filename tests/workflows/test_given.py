"""Arguments as people give them."""

import pytest

from deploy_nas.core.errors import MismatchError, OptionError
from deploy_nas.core.seals import sealed
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.profile import save_profile
from deploy_nas.records.result import Candidate
from deploy_nas.workflows.given import architecture_given, profile_given, space_name, space_of

SPACE = embedded_space()


def test_an_architecture_in_every_form(tmp_path, rng):
    sample = SPACE.sample(rng)
    record = ArchitectureRecord(space=SPACE, architecture=sample)
    save_architecture(record, tmp_path / "a.json")
    plain = dict(sample)
    size = plain.pop("image_size")
    forms = [
        tmp_path / "a.json",
        str(tmp_path / "a.json"),
        sample,
        record,
        Candidate(record=record),
        {"space": SPACE.id, **plain, "r": [size]},
    ]
    assert all(architecture_given(form).same_network(record) for form in forms)
    assert architecture_given(plain | {"image_size": size}, SPACE.id).same_network(record)


def test_what_is_none_or_was_edited_says_so(rng):
    with pytest.raises(OptionError, match="is int"):
        architecture_given(3)
    edited = sealed({"space": SPACE.id, **SPACE.smallest(24)}) | {"image_size": 28}
    with pytest.raises(MismatchError):
        architecture_given(edited)


def test_profiles_and_spaces(tmp_path, made_profile):
    profile = made_profile()
    save_profile(profile, tmp_path / "p.json")
    assert profile_given(profile) is profile and profile_given(str(tmp_path / "p.json")).id == profile.id
    assert space_of(SPACE) is SPACE and space_of(SPACE.id) is SPACE
    assert space_name(SPACE) == space_name(SPACE.id) == SPACE.id
