"""From layers back to architectures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.matching import match_layers
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import get_space, known_spaces


@pytest.mark.parametrize("space", known_spaces(), ids=lambda space: space.id)
def test_an_architectures_layers_lead_back_to_it(space: Space, rng: np.random.Generator) -> None:
    rows = space.canonical(space.sample_encoded(rng, 3))
    for row, architecture in zip(rows, space.decode(rows), strict=True):
        layers = [layer for _, layer in space.layers(architecture)]
        match = match_layers(space, architecture["image_size"], layers)
        assert match.choices is not None and (match.matched, match.slot) == (len(layers), "")
        found = space.decode(np.concatenate([row[:1], match.choices])[None])[0]
        assert [layer for _, layer in space.layers(found)] == layers


def test_the_first_layer_that_does_not_match_is_named() -> None:
    space = known_spaces()[0]
    named = space.layers(space.largest())
    layers = [layer for _, layer in named]
    size = max(space.image_sizes)
    cut = match_layers(space, size, layers[:-1])
    assert cut.choices is None and cut.matched == len(layers) - 1 and cut.slot == named[-1][0]
    wrong = match_layers(space, size, layers[::-1])
    assert wrong.choices is None and (wrong.matched, wrong.slot) == (0, named[0][0])
    longer = match_layers(space, size, [*layers, layers[0]])
    assert longer.choices is None


def test_the_width_of_squeeze_and_excitation_may_be_unknown() -> None:
    space = get_space("mcunet-vww")
    size = max(space.image_sizes)
    layers = [layer for _, layer in space.layers(space.largest())]
    other = [
        replace(layer, ops=tuple(replace(op, mid_channels=2) if op.squeezes else op for op in layer.ops))
        for layer in layers
    ]
    assert match_layers(space, size, other).choices is None
    found = match_layers(space, size, other, any_squeeze=True).choices
    assert found is not None and np.array_equal(
        found, space.canonical(space.encode([space.largest()]))[0, 1:]
    )
