"""State dicts inside dicts and behind prefixes: the one that fits is found and named."""

import pytest
import torch

from deploy_nas.adapters.supernets.wrappings import unwrapped
from deploy_nas.core.errors import WeightsError

pytestmark = pytest.mark.slow

OWN = {"stem.weight": torch.zeros(2), "body.0.weight": torch.ones(3), "head.bias": torch.ones(4)}


def found(value, part=""):
    shapes = {key: tensor.shape for key, tensor in OWN.items()}
    return unwrapped(
        value,
        "file.pth",
        lambda state: {key: tensor.shape for key, tensor in state.items()} == shapes,
        lambda state: len(state.keys() & OWN.keys()),
        part,
    )


def behind(prefix, by=0.0):
    return {prefix + key: value + by for key, value in OWN.items()}


def test_nothing_around_it_is_nothing_said():
    for value in (OWN, {"state_dict": OWN, "epoch": 3}):
        state, said = found(value)
        assert state.keys() == OWN.keys() and said == ""


def test_any_name_and_any_prefix_of_a_few_parts():
    for prefix in ("module.", "model.net._orig_mod.", "a.b.c.d."):
        state, said = found({"checkpoint": {"weights": behind(prefix)}})
        assert state.keys() == OWN.keys() and said == f"'checkpoint.weights', prefix {prefix!r}"


def test_parts_that_were_wrapped_each_by_itself():
    compiled = {key.replace("body.", "body._orig_mod."): value for key, value in OWN.items()}
    state, said = found({"model": compiled})
    assert state.keys() == OWN.keys() and said == "'model', '_orig_mod.' or the like inside the keys"


def test_averages_give_way_to_the_weights_and_are_taken_where_there_are_no_others():
    swa = {"n_averaged": torch.tensor(3), **behind("module.", by=1.0)}
    state, said = found({"model": OWN, "swa_model": swa})
    assert torch.equal(state["stem.weight"], OWN["stem.weight"])
    assert said == "'model'; 'swa_model.module' left out"
    state, said = found({"swa_model": swa})
    assert state["stem.weight"][0] == 1.0 and said == "'swa_model', prefix 'module.'; 'n_averaged' left out"


def test_another_nets_weights_beside_it_do_not_confuse():
    teacher = {key: torch.zeros(9) for key in OWN}
    assert found({"teacher": teacher, "student": OWN})[1] == "'student'"
    assert found({"student": OWN, "ema": teacher})[1] == "'student'"


def test_the_same_weights_twice_are_no_question():
    assert found({"model": OWN, "best": behind("module.")})[1] == "'model'"
    hint = r"; name the one you mean: file\.pth:a or file\.pth:b"
    with pytest.raises(
        WeightsError, match=rf"file\.pth: holds several state dicts that fit: 'a'; 'b'{hint}$"
    ):
        found({"a": OWN, "b": behind("", by=1.0)})


def test_the_weights_that_are_named_are_taken():
    both = {"state_dict": OWN, "state_dict_ema": behind("module.", by=1.0), "a": {"b": behind("", by=2.0)}}
    for part, first, said in (
        ("state_dict", 0.0, "'state_dict'"),
        ("state_dict_ema", 1.0, "'state_dict_ema', prefix 'module.'"),
        ("state_dict_ema.module", 1.0, "'state_dict_ema', prefix 'module.'"),
        ("a.b", 2.0, "'a.b'"),
        ("a", 2.0, "'a.b'"),
    ):
        state, taken = found(both, part)
        assert state.keys() == OWN.keys() and taken == said
        assert state["stem.weight"].tolist() == [first] * 2
    beside = {"state_dict": behind("model.") | behind("ema_model.", by=1.0)}
    assert found(beside)[1] == "'state_dict', prefix 'model.'; 'state_dict.ema_model' left out"
    assert found(beside, "state_dict.ema_model")[0]["stem.weight"].tolist() == [1.0] * 2


@pytest.mark.parametrize("part", ["ema", "state_dict_em", "state_dict.ema", ".", "*"])
def test_a_name_that_is_not_there_is_answered_with_those_that_are(part):
    several = {"state_dict": OWN, "state_dict_ema": behind("module.", by=1.0), "teacher": {"x": OWN}}
    with pytest.raises(WeightsError) as caught:
        found(several, part)
    assert str(caught.value) == (
        f"file.pth: holds no weights named {part!r}; "
        "it holds 'state_dict', 'state_dict_ema.module', 'teacher.x'"
    )
    with pytest.raises(WeightsError, match=r"'ema'; it holds one state dict without a name$"):
        found(OWN, "ema")


def test_named_weights_that_do_not_fit_are_not_exchanged_for_others():
    state, said = found({"model": OWN, "ema": {"stem.weight": torch.ones(7)}}, "ema")
    assert state["stem.weight"].shape == (7,) and said == "'ema'"


def test_where_none_fits_the_nearest_is_given():
    state, _ = found({"x": {"y": torch.ones(1)}, "model": behind("module.") | {"module.more": torch.ones(1)}})
    assert "stem.weight" in state and "more" in state


@pytest.mark.parametrize("value", [[1], {}, 3, {"state_dict": {}}, {"epoch": 3}, {1: torch.ones(1)}])
def test_what_holds_none(value):
    with pytest.raises(WeightsError, match=r"file\.pth: contains no state dict"):
        found(value)
