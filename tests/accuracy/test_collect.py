"""Which subnets are measured, and a run that is cut and gone on with."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deploy_nas.accuracy.best import plan_best
from deploy_nas.accuracy.collect import Progress, collect, plan_subnets
from deploy_nas.accuracy.encoding import total_figure
from deploy_nas.core.errors import MismatchError, OptionError, RecordError
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import AccuracyHeader, AccuracyWriter, load_accuracy_data


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def open_file(path: Path, space: Space) -> AccuracyWriter:
    return AccuracyWriter(path, AccuracyHeader(space=space, weights="w", images="i", image_count=9))


def by_image_size(architecture: dict) -> float:
    return 50.0 + architecture["image_size"] / 10


measure = partial(map, by_image_size)


# -- the plan --------------------------------------------------------------------------------------


def test_plan_is_distinct_canonical_seeded_and_starts_at_the_ends(space: Space) -> None:
    plan = plan_subnets(space, 200, rng())
    assert plan.shape == (200, 1 + len(space.genes))
    assert len(np.unique(plan, axis=0)) == 200
    np.testing.assert_array_equal(plan, space.canonical(plan))
    np.testing.assert_array_equal(plan, plan_subnets(space, 200, rng()))
    assert (plan != plan_subnets(space, 200, rng(1))).any()
    assert space.decode(plan[:1])[0]["image_size"] == min(space.image_sizes)
    macs = total_figure(space, plan, "macs")
    assert macs.argmin() == 0 and macs.argmax() == 1


def test_plan_covers_macs_better_than_uniform_draws(space: Space) -> None:
    low, high = np.log(total_figure(space, space.encode([space.smallest(), space.largest()]), "macs"))
    edges = np.linspace(low, high, 9)

    def counts(encoded: np.ndarray) -> np.ndarray:
        return np.histogram(np.log(total_figure(space, encoded, "macs")), edges)[0]

    planned, uniform = counts(plan_subnets(space, 300, rng())), counts(space.sample_encoded(rng(), 300))
    assert planned.min() >= 10 > uniform.min()
    # image sizes and depths are all met
    plan = plan_subnets(space, 60, rng())
    assert all(len(np.unique(plan[:, c])) == n for c, n in enumerate(space.choice_counts))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_plans(space: Space, count: int) -> None:
    assert len(plan_subnets(space, count, rng())) == count


def test_plan_larger_than_the_space(tiny_space: Space) -> None:
    assert len(plan_subnets(tiny_space, 3, rng())) == 3
    with pytest.raises(OptionError, match="found only 3 distinct subnets of tiny, 4 were asked for"):
        plan_subnets(tiny_space, 4, rng())
    with pytest.raises(OptionError, match="at least 1"):
        plan_subnets(tiny_space, 0, rng())


# -- the run ---------------------------------------------------------------------------------------


def test_run_writes_every_subnet_and_tells(space: Space, tmp_path: Path) -> None:
    told: list[Progress] = []
    with open_file(tmp_path / "a", space) as writer:
        done = collect(measure, space, count=12, rng=rng(), writer=writer, progress=told.append)
    data = load_accuracy_data(tmp_path / "a")
    assert done == len(data) == 12
    np.testing.assert_array_equal(space.canonical(data.encoded), plan_subnets(space, 12, rng()))
    assert [p.done for p in told] == list(range(1, 13)) and {p.total for p in told} == {12}
    assert told[-1].remaining_s == 0.0 and all(p.remaining_s >= 0 for p in told)
    assert told[0].top1_percent == data.top1_percent[0] == 50 + min(space.image_sizes) / 10


def test_interrupted_run_goes_on_where_it_was(space: Space, tmp_path: Path) -> None:
    calls = []

    def evaluate(architecture: dict) -> float:
        calls.append(architecture)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return by_image_size(architecture)

    with pytest.raises(KeyboardInterrupt), open_file(tmp_path / "a", space) as writer:
        collect(partial(map, evaluate), space, count=12, rng=rng(), writer=writer)
    assert len(load_accuracy_data(tmp_path / "a")) == 5
    with open_file(tmp_path / "a", space) as writer:
        assert collect(partial(map, evaluate), space, count=12, rng=rng(), writer=writer) == 7
    with open_file(tmp_path / "whole", space) as writer:
        collect(measure, space, count=12, rng=rng(), writer=writer)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "whole").read_bytes()
    assert len(calls) == 13


def test_more_may_be_asked_for_later_and_nothing_is_measured_twice(space: Space, tmp_path: Path) -> None:
    for count, expected in ((5, 5), (9, 4), (9, 0), (3, 0)):
        with open_file(tmp_path / "a", space) as writer:
            assert collect(measure, space, count=count, rng=rng(count), writer=writer) == expected
    data = load_accuracy_data(tmp_path / "a")
    assert len(np.unique(space.canonical(data.encoded), axis=0)) == 9


def test_the_best_by_a_predictor_are_added(space: Space, tmp_path: Path) -> None:
    def promised(rows: np.ndarray) -> np.ndarray:
        return 50.0 + rows.sum(axis=1)

    with open_file(tmp_path / "a", space) as writer:
        collect(measure, space, count=10, rng=rng(), writer=writer)
    for expected in (20, 0):
        with open_file(tmp_path / "a", space) as writer:
            options = {"rng": rng(1), "writer": writer, "best_by": promised}
            assert collect(measure, space, count=30, **options) == expected
    data = load_accuracy_data(tmp_path / "a")
    np.testing.assert_array_equal(
        data.last(20).encoded, plan_best(space, promised, 20, rng(1), data.first(10).encoded)
    )
    assert len(np.unique(space.canonical(data.encoded), axis=0)) == 30


def test_no_percentage_stops_the_run(space: Space, tmp_path: Path) -> None:
    with open_file(tmp_path / "a", space) as writer, pytest.raises(RecordError, match="top1"):
        collect(lambda todo: [float("nan")] * len(todo), space, count=3, rng=rng(), writer=writer)


def test_file_of_another_space(space: Space, tmp_path: Path) -> None:
    with open_file(tmp_path / "a", space) as writer, pytest.raises(MismatchError, match="not ofa-mbv3-w"):
        collect(measure, get_space("ofa-mbv3-w1.0"), count=3, rng=rng(), writer=writer)
