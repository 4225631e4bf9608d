"""The functions of searches and devices, with arguments as people have them."""

import numpy as np
import pytest

import deploy_nas
from deploy_nas.core.errors import ArchitectureError, OptionError
from deploy_nas.records.profile import save_profile
from deploy_nas.workflows.question import ends_ms


@pytest.fixture(scope="module")
def profile(made_profile):
    return made_profile()


@pytest.fixture(scope="module")
def found(profile):
    return deploy_nas.search(profile, max_latency_ms=sum(ends_ms(profile)) / 2, population=50, generations=3)


def test_a_search_takes_a_file_or_a_value_and_writes_where_it_is_told(found, profile, tmp_path):
    save_profile(profile, tmp_path / "p.json")
    seen = []
    again = deploy_nas.search(
        str(tmp_path / "p.json"),
        max_latency_ms=found.record.predicted.budget_ms,
        population=50,
        generations=3,
        output=tmp_path / "best.json",
        progress=lambda done, total, what: seen.append((done, total)),
    )
    assert again.record.same_network(found.record) and seen[-1][1] == 3
    assert {f.name for f in tmp_path.iterdir()} == {"p.json", "best.json", "best.search.json"}


def test_results_are_short_in_text_and_rich_in_notebooks(found, profile):
    values = [found, found.record, found.result, profile, profile.space, found.predictor]
    assert all(len(repr(value)) < 200 for value in values), [repr(value) for value in values]
    assert "<table" in found._repr_html_() and "stable" in profile._repr_html_()


def test_a_front_is_a_picture_and_gives_its_knee(profile):
    front = deploy_nas.pareto(profile, evaluations=2000)
    assert front._repr_html_().count("<circle") == len(front.points)
    assert front.pick().predicted.picked == "knee"
    assert front.pick(1000).same_network(front.points[-1])


def test_samples_go_straight_into_a_function(profile, rng):
    sample = profile.space.sample(rng)
    explained = deploy_nas.explain(sample, profile, swaps=2)
    assert len(explained.swaps) == 2
    assert explained.total_ms == pytest.approx(sum(layer.latency_ms for layer in explained.layers))
    assert "<table" in explained._repr_html_() and len(repr(explained)) < 100


def test_predictors_of_ones_own_are_asked_for_one_or_for_all(profile):
    """A function, an object with OFA's interface, and one that takes rows give the same subnet."""
    asked = []

    class Dicts:
        def predict_acc(self, archs):
            asked.append(len(archs))
            return [float(a["image_size"]) for a in archs]

    class Rows:
        def predict_encoded(self, encoded):
            return np.array(profile.space.image_sizes, float)[encoded[:, 0]]

    given = [lambda a: float(a["image_size"]), Dicts(), Rows()]
    budget = sum(ends_ms(profile)) / 2
    best = [
        deploy_nas.search(profile, max_latency_ms=budget, predictor=p, population=20, generations=2)
        for p in given
    ]
    assert {str(b.record.architecture) for b in best} == {str(best[0].record.architecture)}
    assert max(asked) > 10
    assert best[0].result.asked.predictor == "(an object of a program)"


def test_figures_of_ones_own_can_be_bounded(profile):
    best = deploy_nas.search(
        profile,
        figures={"energy_mj": lambda a: float(a["image_size"])},
        budgets={"energy_mj": 25},
        population=20,
        generations=2,
    )
    assert best.record.image_size <= 25
    assert best.record.predicted.figures["energy_mj"] == best.record.image_size
    with pytest.raises(OptionError, match="is taken"):
        deploy_nas.search(profile, figures={"latency_ms": lambda a: 1.0})
    with pytest.raises(OptionError, match="finite number"):
        deploy_nas.search(profile, figures={"energy_mj": lambda a: float("nan")}, budgets={"energy_mj": 25})


def test_a_dict_without_a_space_says_so(profile):
    plain = dict(profile.space.smallest(24))
    assert deploy_nas.explain(plain, profile).layers
    with pytest.raises(ArchitectureError, match="does not name its space"):
        deploy_nas.export_onnx(plain, "never.onnx")


def test_a_kit_is_written(tmp_path):
    kit = deploy_nas.make_kit("ofa-mbv3-cifar10", tmp_path / "kit.pyz", image_sizes=[24], quick=True)
    assert kit.path.stat().st_size == kit.size_bytes and len(repr(kit)) < 200


def test_a_kit_that_carries_a_profile_over_takes_a_file_or_a_value(profile, tmp_path):
    save_profile(profile, tmp_path / "p.json")
    kits = [
        deploy_nas.make_kit(profile.space, tmp_path / f"{number}.pyz", like=[prior], image_sizes=[20])
        for number, prior in enumerate((profile, tmp_path / "p.json", str(tmp_path / "p.json")))
    ]
    assert len({kit.path.read_bytes() for kit in kits}) == 1
