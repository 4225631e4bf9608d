"""Tables carried over, with the shipped profiles of one and of two threads as the truth."""

from functools import cache

import numpy as np
import pytest

from deploy_nas.core.stats import rank_correlation
from deploy_nas.profiling.carry import Networks, PriorTables, carry_table, choose_networks
from deploy_nas.profiling.fit import count_rows
from deploy_nas.records.profile import load_profile

pytestmark = pytest.mark.shared_out


@pytest.fixture(scope="module")
def shipped(repository):
    """``shipped(threads)``: the rows, the table, and the held-out networks with their latencies."""

    @cache
    def of(threads):
        profile = load_profile(repository / f"profiles/epyc-turin-2core.ofa-mbv3-cifar10.{threads}t.json")
        space, chosen = profile.space, np.array([pair.choices for pair in profile.pairs])
        layers = {layer.key: i for i, layer in enumerate(space.rows)}
        numbers = [layers[row.key] for row in profile.rows]
        indices = list(space.image_size_indices(profile.image_sizes))
        return (
            [space.rows[i] for i in numbers],
            PriorTables(
                row_ms=np.array([[row.latency_ms for row in profile.rows]]),
                offset_ms=np.array([profile.offset_ms]),
            ),
            Networks(
                counts=count_rows(space.row_ids(chosen), numbers),
                size_index=np.array([indices.index(i) for i in chosen[:, 0]]),
            ),
            np.array([pair.measured_ms for pair in profile.pairs]),
        )

    return of


def some(networks, which):
    return Networks(counts=networks.counts[which], size_index=networks.size_index[which])


def test_a_table_of_one_thread_becomes_one_of_two(shipped):
    layers, tables, *_ = shipped(1)
    _, _, networks, measured = shipped(2)
    errors, left_out, ranks = [], [], []
    for seed in range(3):
        timed, other = np.split(np.random.default_rng(seed).permutation(40), 2)
        table = carry_table(layers, tables, some(networks, timed), measured[timed])
        new = PriorTables(row_ms=table.row_ms[None], offset_ms=table.offset_ms[None])
        predicted = some(networks, other).predicted_ms(new)[0]
        errors.extend(np.abs(predicted / measured[other] - 1))
        left_out.extend(np.abs(table.left_out_ms / measured[timed] - 1))
        ranks.append(rank_correlation(predicted, measured[other]))
    assert np.mean(errors) < 0.02 and np.mean(np.array(errors) <= 0.05) >= 0.95 and np.mean(ranks) > 0.985
    assert 0.5 < np.mean(left_out) / np.mean(errors) < 2.0  # the table says itself how good it is


def test_of_two_tables_the_better_one_is_taken(shipped):
    layers, one, *_ = shipped(1)
    _, two, networks, measured = shipped(2)
    both = PriorTables(
        row_ms=np.concatenate([one.row_ms, two.row_ms]),
        offset_ms=np.concatenate([one.offset_ms, two.offset_ms]),
    )
    table = carry_table(layers, both, some(networks, slice(20)), measured[:20])
    assert table.shares[1] > 0.9 and table.shares.sum() == pytest.approx(1.0)


def test_another_scale_is_no_difference(shipped):
    layers, tables, networks, measured = shipped(1)
    timed = some(networks, slice(20))
    same, slow = (carry_table(layers, tables, timed, scale * measured[:20]) for scale in (1.0, 7.0))
    assert slow.row_ms == pytest.approx(7.0 * same.row_ms, rel=1e-6)


def test_no_row_is_below_its_least_share(shipped):
    layers, tables, networks, measured = shipped(1)
    short = measured[:20] * np.where(networks.counts[:20, 5] > 0, 0.6, 1.0)
    table = carry_table(layers, tables, some(networks, slice(20)), short)
    assert (table.row_ms > 0).all()


def test_chosen_networks_differ_and_span_the_space(shipped):
    layers, tables, networks, _ = shipped(1)
    chosen = choose_networks(layers, tables, networks)
    assert chosen == sorted(set(chosen)) and len(chosen) == 20
    assert set(networks.size_index[chosen]) == set(networks.size_index)
    assert len(choose_networks(layers, tables, some(networks, slice(7)))) == 7
