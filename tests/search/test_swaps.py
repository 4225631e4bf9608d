"""Swaps: what they say is what changes, and the best bargain comes first."""

import numpy as np

from deploy_nas.search.swaps import swaps


def test_swaps_of_a_small_space(toy, fakes):
    accuracy, profile = fakes.Accuracy(toy), fakes.Profile(toy, toy.image_sizes)
    start = toy.canonical(toy.encode([toy.largest()]))[0]
    found = swaps(toy, start, profile.latency_ms, accuracy.predict_encoded, image_sizes=toy.image_sizes)
    base_ms, base = profile.latency_ms(start[None])[0], accuracy.predict_encoded(start[None])[0]
    assert found
    for swap in found:
        assert swap.saved_ms > 0
        np.testing.assert_allclose(base_ms - profile.latency_ms(swap.encoded[None])[0], swap.saved_ms)
        np.testing.assert_allclose(base - accuracy.predict_encoded(swap.encoded[None])[0], swap.lost)
    prices = [s.lost / s.saved_ms for s in found if s.lost > 0]
    assert prices == sorted(prices)
    words = [s.what for s in found]
    assert "image size 32 to 16" in words and "b0: ks 5 to 3" in words and "b0: ks 5 to 3, e 3 to 2" in words
    assert len(set(words)) == len(words)


def test_small_savings_are_left_out(toy, fakes):
    accuracy, profile = fakes.Accuracy(toy), fakes.Profile(toy, (32,))
    start = toy.encode([toy.smallest(32)])[0]
    ask = (toy, start, profile.latency_ms, accuracy.predict_encoded)
    assert swaps(*ask, image_sizes=(32,)) == []
    start = toy.encode([toy.largest(32)])[0]
    ask = (toy, start, profile.latency_ms, accuracy.predict_encoded)
    assert all(s.saved_ms > 0.01 for s in swaps(*ask, image_sizes=(32,), least_ms=0.01))
