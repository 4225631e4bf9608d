"""The regression from times to a table."""

import numpy as np

from deploy_nas.core.spaces import get_space
from deploy_nas.profiling.fit import count_rows, fit_table, row_features
from deploy_nas.profiling.plan import make_plan

SPACE = get_space("ofa-mbv3-cifar10")


def test_counts():
    counts = count_rows(np.array([[3, 5, -1], [5, 5, 3]]), [3, 5])
    assert counts.tolist() == [[1, 1], [1, 2]]


def networks(plan):
    """The rows of a plan, a time alone for each, and the rows and image size of each network fitted to."""
    alone_ms = np.array([2e-8 * layer.macs + 0.004 for layer in plan.rows])
    return plan.rows, alone_ms, count_rows(SPACE.row_ids(plan.fit), plan.row_numbers), plan.fit[:, 0]


def test_rows_held_at_their_least_do_not_bias_networks():
    layers, alone_ms, counts, sizes = networks(make_plan(SPACE))
    truth_ms = alone_ms - 0.25 * row_features(layers, alone_ms)[:, 3]  # so much saved a megabyte of images
    assert truth_ms.min() < 0  # a stem "costs" less than nothing: no table may say so
    measured_ms = counts @ truth_ms + 0.05
    table = fit_table(layers, alone_ms, counts, sizes, len(SPACE.image_sizes), measured_ms)
    assert (table.row_ms >= 0.0999 * alone_ms).all()
    error = (counts @ table.row_ms + table.offset_ms[sizes]) / measured_ms - 1
    assert abs(error.mean()) < 0.002 and abs(error).max() < 0.02


def test_an_offset_never_takes_back_most_of_the_smallest_network():
    """As a noisy machine has it: networks that were timed in quicker moments than their layers."""
    layers, alone_ms, counts, sizes = networks(make_plan(SPACE, quick=True))
    layers_ms = counts @ alone_ms
    smallest_ms = np.array([layers_ms[sizes == s].min() for s in range(len(SPACE.image_sizes))])
    measured_ms = layers_ms - 0.9 * smallest_ms[sizes]
    table = fit_table(layers, alone_ms, counts, sizes, len(SPACE.image_sizes), measured_ms)
    predicted = counts @ table.row_ms + table.offset_ms[sizes]
    assert (predicted >= 0.4999 * (counts @ table.row_ms)).all() and (predicted > 0.0).all()


def test_networks_in_doubt_hardly_count():
    layers, alone_ms, counts, sizes = networks(make_plan(SPACE, quick=True))
    truth_ms = counts @ alone_ms
    disturbed = np.arange(len(truth_ms)) % 4 == 0
    measured_ms = np.where(disturbed, 1.5, 1.0) * truth_ms

    def error(doubts):
        table = fit_table(layers, alone_ms, counts, sizes, len(SPACE.image_sizes), measured_ms, doubts)
        return np.abs((counts @ table.row_ms + table.offset_ms[sizes]) / truth_ms - 1)[~disturbed].mean()

    assert error(np.where(disturbed, 20.0, 1.0)) < 0.01 < 0.025 < error(None)
