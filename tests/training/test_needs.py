"""The memory that a training needs."""

import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.core.spaces import get_space
from deploy_nas.training.needs import check_memory, training_bytes

SPACE = get_space("efficientnet-lite0@10@96+160")


def test_it_grows_with_the_batch_and_the_image() -> None:
    one = training_bytes(SPACE, 32)
    assert 2e9 < one < 3e9  # 2.3 GB were measured, without the images
    assert training_bytes(SPACE, 64) > 1.6 * one
    assert training_bytes(get_space("efficientnet-lite0@10@96"), 32) < 0.7 * one


def test_too_little_is_said_with_both_figures() -> None:
    check_memory(10, None, 32)
    check_memory(10, 10, 32)
    with pytest.raises(
        OptionError, match=r"batch_size: 32 images take about 3\.0 GB of memory, 2\.0 GB are free"
    ):
        check_memory(3_000_000_000, 2_000_000_000, 32)
