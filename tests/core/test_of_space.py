"""Architectures that know their space are dicts like any other."""

import copy
import json
import pickle

from deploy_nas.core.of_space import OfSpace
from deploy_nas.core.spaces import embedded_space


def test_what_a_space_makes_knows_it_and_copies_do(rng):
    space = embedded_space()
    sample = space.sample(rng)
    for made in (sample, space.smallest(), space.largest(24), copy.copy(sample), copy.deepcopy(sample)):
        assert isinstance(made, OfSpace) and made.space is space
    deep = copy.deepcopy(sample)
    deep["ks"][0] = 0
    assert sample["ks"][0] != 0


def test_it_equals_a_plain_dict_and_is_written_as_one(rng):
    sample = embedded_space().sample(rng)
    assert sample == dict(sample) == json.loads(json.dumps(sample)) == pickle.loads(pickle.dumps(sample))  # noqa: S301
    assert repr(sample) == repr(dict(sample))
