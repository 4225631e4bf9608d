"""Spaces of your own classes: their ids, and what changes in the space."""

import re

import pytest

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.own_classes import own_id, split_id, with_classes
from deploy_nas.core.spaces import get_space, space_ids

BASE = get_space("ofa-mbv3-cifar10")


@pytest.mark.parametrize("id", space_ids())
def test_every_space_takes_other_classes(id: str) -> None:
    base, own = get_space(id), get_space(f"{id}@7")
    assert (own.id, own.classes, own.base) == (f"{id}@7", 7, base)
    assert own.rows[-1].ops[-1].out_channels == 7
    assert own.layers(own.largest())[:-1] == base.layers(base.largest())[:-1]
    assert 7 in own.supernet.values()


def test_what_belongs_to_the_original_classes_stays_behind() -> None:
    own = get_space("ofa-mbv3-cifar10@10")
    assert (own.labels, own.default_weights, own.default_predictor) == ((), None, None)
    assert own.encode([BASE.largest()]).tolist() == BASE.encode([BASE.largest()]).tolist()


def test_fewer_image_sizes_are_named_in_the_id() -> None:
    own = get_space("ofa-mbv3-cifar10@6@20+28")
    assert own.image_sizes == own.profile_image_sizes == (20, 28)
    assert with_classes(BASE, 6, [28, 20]).id == own.id
    assert with_classes(BASE, 6, BASE.image_sizes).id == "ofa-mbv3-cifar10@6"
    assert split_id(own_id("a", 6, (20, 28))) == ("a", 6, (20, 28))


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("ofa-mbv3-cifar10@1", "must have 2 to 100000 classes, has 1"),
        ("ofa-mbv3-cifar10@999999", "must have 2 to 100000 classes"),
        ("ofa-mbv3-cifar10@6@22", "has no image size 22; it has 20, 24, 28, 32"),
        ("ofa-mbv3-cifar10@6@28+20", "write ofa-mbv3-cifar10@6@20+28"),
        ("ofa-mbv3-cifar10@6@20+24+28+32", "write ofa-mbv3-cifar10@6"),
        ("nothing@6", "no search space 'nothing'"),
        ("ofa-mbv3-cifar10@06", "no search space"),
        ("ofa-mbv3-cifar10@6@20@3", "no search space"),
        ("@6", "no search space"),
    ],
)
def test_other_ids_are_refused(id: str, said: str) -> None:
    with pytest.raises(UnknownSpaceError, match=re.escape(said)):
        get_space(id)
