"""The subnets a search would end at, by predictors whose best are known."""

import numpy as np
import pytest

from deploy_nas.accuracy.best import climb, plan_best
from deploy_nas.accuracy.encoding import total_figure
from deploy_nas.core.errors import OptionError
from deploy_nas.core.space import FloatArray, IntArray, Space


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def by_choices(encoded: IntArray) -> FloatArray:
    """Every larger choice is worth the same."""
    return 50.0 + 0.5 * encoded.sum(axis=1)


@pytest.mark.slow
def test_each_is_the_best_of_its_neighbours_at_some_price(space: Space) -> None:
    best = plan_best(space, by_choices, 40, rng())
    assert best.shape == (40, 1 + len(space.genes)) and len(np.unique(best, axis=0)) == 40
    np.testing.assert_array_equal(best, space.canonical(best))
    np.testing.assert_array_equal(best, plan_best(space, by_choices, 40, rng()))
    assert set(best[:, 0]) == set(range(len(space.image_sizes)))
    # At a price of MACs the best have more of what is promised than random ones with as many MACs.
    random = space.canonical(space.sample_encoded(rng(1), 400))
    for row in best:
        at = random[random[:, 0] == row[0]]
        cheap = total_figure(space, at, "macs") <= total_figure(space, row[None], "macs")
        assert not cheap.any() or by_choices(at[cheap]).max() <= by_choices(row[None])[0]


def test_a_climb_ends_where_no_step_is_better(space: Space) -> None:
    visited: list[IntArray] = []
    tops = climb(space, by_choices, 3, rng(), visited)
    assert len(tops) == 3
    assert all(rows.shape[1] == 1 + len(space.genes) for rows in visited)
    # The last step of all looks at a top and every neighbour of it.
    last = visited[-1]
    assert any((top == last).all(axis=1).any() for top in tops)
    np.testing.assert_array_equal(last, space.canonical(last))


@pytest.mark.slow
def test_what_is_known_is_left_out(space: Space) -> None:
    known = plan_best(space, by_choices, 20, rng())
    more = plan_best(space, by_choices, 20, rng(), known)
    assert len(np.unique(np.concatenate([known, more]), axis=0)) == 40


def test_more_than_there_are(tiny_space: Space) -> None:
    with pytest.raises(OptionError, match=r"found only [123] further best subnets, 4 were asked for"):
        plan_best(tiny_space, by_choices, 4, rng())
    with pytest.raises(OptionError, match="at least 1"):
        plan_best(tiny_space, by_choices, 0, rng())


def test_a_predictor_that_knows_no_difference(space: Space) -> None:
    """Then the cheapest are best."""
    best = plan_best(space, lambda rows: np.full(len(rows), 50.0), 4, rng())
    assert (
        total_figure(space, best, "macs")
        < np.median(total_figure(space, space.sample_encoded(rng(), 99), "macs"))
    ).all()
