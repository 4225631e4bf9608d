"""The spaces by id."""

from __future__ import annotations

import pytest

from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.spaces import CIFAR10_LABELS, EMBEDDED, get_space, space_ids


def test_every_id_gives_its_space() -> None:
    for space_id in space_ids():
        space = get_space(space_id)
        assert space.id == space_id
        assert space is get_space(space_id)
        assert space.summary


def test_the_embedded_space_comes_first_and_has_labels() -> None:
    assert space_ids()[0] == EMBEDDED
    assert get_space(EMBEDDED).classes == len(CIFAR10_LABELS)


@pytest.mark.parametrize("id", ["ofa-mbv4", "", "OFA-MBV3-W1.0", None])
def test_an_unknown_id_names_those_there_are(id: str) -> None:
    with pytest.raises(UnknownSpaceError, match=", ".join(space_ids())):
        get_space(id)


@pytest.mark.parametrize("id", space_ids())
def test_profiled_sizes_are_image_sizes(id: str) -> None:
    space = get_space(id)
    assert set(space.profile_image_sizes) <= set(space.image_sizes)
    assert list(space.image_sizes) == sorted(space.image_sizes)
