"""The front: right where everything can be enumerated, at least as good as single searches, repeatable."""

import numpy as np
import pytest

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError
from deploy_nas.search.efficiency import MeasuredEfficiencyPredictor
from deploy_nas.search.evolution import HyperParameters, evolve
from deploy_nas.search.pareto import hypervolume, knee_of, nondominated, pareto


def test_nondominated_and_hypervolume_of_a_few_points():
    cost = np.array([3.0, 1.0, 2.0, 2.0, 4.0, 1.0])
    accuracy = np.array([5.0, 2.0, 4.0, 1.0, 5.0, 2.0])
    front = nondominated(cost, accuracy)
    assert [(cost[i], accuracy[i]) for i in front] == [(1, 2), (2, 4), (3, 5)]
    assert hypervolume(cost, accuracy, worst=(5.0, 1.0)) == 1 * 1 + 1 * 3 + 2 * 4
    assert hypervolume(cost, accuracy, worst=(1.0, 1.0)) == 0.0


def test_knee():
    assert knee_of(np.array([0.0, 1.0, 2.0, 10.0]), np.array([0.0, 8.0, 9.0, 10.0])) == 1
    assert knee_of(np.array([1.0]), np.array([1.0])) == 0


@pytest.fixture
def asked(toy, fakes):
    accuracy = fakes.Accuracy(toy)
    efficiency = MeasuredEfficiencyPredictor(fakes.Profile(toy, toy.image_sizes))
    return toy, efficiency.get_efficiency_batch, accuracy.predict_encoded, accuracy


def test_the_whole_front_of_a_small_space(asked, toy_all):
    space, efficiency, accuracy, fake = asked
    cost, value = efficiency(toy_all)["latency_ms"], accuracy(toy_all)
    fake.asked = 0
    found = pareto(space, efficiency, accuracy, evaluations=2000, population=50, rng=np.random.default_rng(1))
    true = nondominated(cost, value)
    np.testing.assert_allclose(found.figures["latency_ms"], cost[true])
    np.testing.assert_allclose(found.accuracy, value[true])
    assert found.evaluations == fake.asked <= 2000
    budget = float(np.median(cost))
    best = found.within(budget)
    assert found.accuracy[best] == value[cost <= budget].max()
    assert space.encode([found.architecture(best)])[0, 0] == found.encoded[best, 0]
    with pytest.raises(BudgetError, match="begins at"):
        found.within(1e-6)


def test_constraints_hold_and_bad_ones_are_refused(asked):
    space, efficiency, accuracy, _ = asked
    found = pareto(
        space,
        efficiency,
        accuracy,
        {"millionMACs": 0.3},
        evaluations=800,
        population=50,
        rng=np.random.default_rng(0),
    )
    assert found.figures["millionMACs"].max() <= 0.3
    for bad, error in (({"millionMACs": 1e-9}, InfeasibleBudgetError), ({"speed": 1.0}, OptionError)):
        with pytest.raises(error):
            pareto(space, efficiency, accuracy, bad, rng=np.random.default_rng(0))
    with pytest.raises(OptionError, match="speed"):
        pareto(space, efficiency, accuracy, cost="speed", rng=np.random.default_rng(0))


@pytest.mark.slow
def test_no_worse_than_single_searches_and_repeatable(real, fakes):
    accuracy = fakes.Accuracy(real)
    efficiency = MeasuredEfficiencyPredictor(fakes.Profile(real, real.image_sizes)).get_efficiency_batch
    ask = accuracy.predict_encoded
    ends = efficiency(real.encode([real.smallest(), real.largest()]))["latency_ms"]
    hyper = HyperParameters(population_size=40, max_time_budget=4)
    cost, value, evaluations = [], [], 0
    for budget in np.geomspace(1.05 * ends[0], ends[1], 5):
        one = evolve(real, efficiency, ask, {"latency_ms": budget}, hyper=hyper, rng=np.random.default_rng(0))
        cost.append(one.efficiency["latency_ms"])
        value.append(one.accuracy)
        evaluations += one.evaluations

    def front():
        return pareto(real, efficiency, ask, evaluations=evaluations, rng=np.random.default_rng(0))

    found, again = front(), front()
    worst = (1.01 * ends[1], min(value) - 1)
    single = hypervolume(np.array(cost), np.array(value), worst=worst)
    assert hypervolume(found.figures["latency_ms"], found.accuracy, worst=worst) >= single
    np.testing.assert_array_equal(found.encoded, again.encoded)


def test_ctrl_c_gives_the_front_so_far(asked):
    space, efficiency, accuracy, _ = asked

    def stop(done, total, best):
        raise KeyboardInterrupt

    found = pareto(
        space,
        efficiency,
        accuracy,
        evaluations=2000,
        population=20,
        rng=np.random.default_rng(0),
        progress=stop,
    )
    assert found.interrupted and len(found) >= 1


def test_ctrl_c_keeps_all_that_was_found_before(asked):
    space, efficiency, accuracy, _ = asked

    def after(count):
        seen = []

        def stop(done, total, best):
            seen.append(best)
            if len(seen) == count:
                raise KeyboardInterrupt

        how = {"evaluations": 4000, "population": 50, "rng": np.random.default_rng(0)}
        return pareto(space, efficiency, accuracy, progress=stop, **how), seen

    for count in (15, 40, 55):  # in the first island, in a later one, and beyond
        found, seen = after(count)
        assert found.interrupted and len(seen) == count
        assert found.accuracy.max() >= seen[-1] - 1e-9
