"""Plans: repeatable, complete, and made again from their arguments."""

from dataclasses import replace

import pytest

from deploy_nas.adapters.graphs import fp32
from deploy_nas.core.errors import OptionError, UnknownSpaceError
from deploy_nas.core.spaces import get_space
from deploy_nas.profiling.plan import make_plan, plan_of

SPACE = get_space("ofa-mbv3-cifar10")


def test_plan_repeats_and_holds_out(plan):
    assert plan.id == make_plan(SPACE, quick=True).id != make_plan(SPACE, quick=True, seed=1).id
    with pytest.MonkeyPatch.context() as patch:  # a deploy-nas that writes another graph for it
        patch.setitem(fp32._ACTIVATIONS, "hard_swish", "Swish")
        assert make_plan(SPACE, quick=True).id != plan.id
    fit = {row.tobytes() for row in plan.fit}
    assert len(fit) == len(plan.fit)
    assert not fit & {row.tobytes() for row in plan.validation}
    assert {SPACE.image_sizes[i] for i in plan.validation[:, 0]} == set(SPACE.image_sizes)
    ids = [u.id for block in plan.blocks for u in block]
    assert len(ids) == len(set(ids)) == 6 + len(SPACE.rows) + len(fit) + len(plan.validation)


def test_plan_refuses_sizes_it_cannot_have():
    with pytest.raises(OptionError):
        make_plan(SPACE, [])
    with pytest.raises(Exception, match="image_size"):
        make_plan(SPACE, [33])


def test_faults_name_the_parameter():
    with pytest.raises(OptionError, match="image_sizes: must be one or more"):
        make_plan(SPACE, [])
    with pytest.raises(OptionError, match="precision: must be fp32 or int8"):
        make_plan(SPACE, precision="fp8")


def test_a_plan_is_made_again_from_its_arguments(plan):
    assert plan_of(plan.arguments).id == plan.id
    with pytest.raises(UnknownSpaceError):
        plan_of(replace(plan.arguments, space="no-such-space"))
