"""The contract of :class:`deploy_nas.device.runtime.Runtime`."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_nas.adapters.graphs import build_model
from deploy_nas.core.arrays import Float32Array
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.spaces import embedded_space
from deploy_nas.core.walk import weight_tensors
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.runtime import Initializers, Runnable, Runtime, first_output

_SIDE = 24


class RuntimeContract:
    """Subclass it and override :meth:`runtime`; for another format also :meth:`model` and :meth:`named_only`.

    The models have one float32 input ``[1, 3, 24, 24]``.
    """

    provider = "cpu"

    @pytest.fixture
    def runtime(self) -> Runtime:
        """A runtime to test."""
        raise NotImplementedError

    @pytest.fixture
    def named_only(self) -> tuple[bytes, Initializers]:
        """A model that names its weights without values, and the weights."""
        space = embedded_space()
        layers = space.layers(space.smallest(_SIDE))
        weights = random_initializers(weight_tensors(layers), np.random.default_rng(0))
        return build_model(layers, None), weights

    @pytest.fixture
    def model(self, named_only: tuple[bytes, Initializers]) -> bytes:
        """The same model with its weights."""
        space = embedded_space()
        weights = {name: value.astype(np.float32) for name, value in named_only[1].items()}
        return build_model(space.layers(space.smallest(_SIDE)), weights)

    @pytest.fixture
    def images(self) -> Float32Array:
        """An input."""
        return np.random.default_rng(1).standard_normal((1, 3, _SIDE, _SIDE), dtype=np.float32)

    def opened(self, runtime: Runtime, model: bytes, **how: int) -> Runnable:
        """Open the model on the provider under test."""
        return runtime.open(model, provider=self.provider, threads=how.get("threads", 1))

    def test_a_model_describes_its_input_and_outputs(self, runtime: Runtime, model: bytes) -> None:
        """An input has a name, a shape and a type."""
        opened = self.opened(runtime, model)
        (entry,) = opened.inputs
        assert entry.name and entry.shape == (1, 3, _SIDE, _SIDE) and entry.dtype == "float32"
        assert opened.outputs and opened.outputs[0].single[0] == 1

    def test_a_run_gives_the_outputs_asked_for(
        self, runtime: Runtime, model: bytes, images: Float32Array
    ) -> None:
        """A run returns all outputs or those named; the same input gives the same output."""
        opened = self.opened(runtime, model)
        feed = {opened.inputs[0].name: images}
        everything = opened.run(feed)
        assert len(everything) == len(opened.outputs)
        (first,) = opened.run(feed, [opened.outputs[0].name])
        assert np.array_equal(first, everything[0])
        assert np.array_equal(first_output(opened, images), first)
        assert np.isfinite(first_output(opened, images)).all()

    def test_a_bound_run_can_be_repeated(self, runtime: Runtime, model: bytes, images: Float32Array) -> None:
        """The bound function takes no arguments, since its calls are timed."""
        opened = self.opened(runtime, model)
        run = opened.bind({opened.inputs[0].name: images})
        run()
        run()

    def test_weights_can_be_given_separately(
        self, runtime: Runtime, model: bytes, named_only: tuple[bytes, Initializers], images: Float32Array
    ) -> None:
        """A graph without weights computes the same as the whole model once it is given them."""
        graph, weights = named_only
        separate = runtime.open(graph, provider=self.provider, initializers=weights)
        expected = first_output(self.opened(runtime, model), images)
        np.testing.assert_allclose(first_output(separate, images), expected, rtol=1e-4, atol=1e-5)

    def test_a_closed_model_stays_closed(self, runtime: Runtime, model: bytes, images: Float32Array) -> None:
        """Closing twice is allowed, running afterwards is not."""
        opened = self.opened(runtime, model)
        name = opened.inputs[0].name
        opened.close()
        opened.close()
        with pytest.raises(ValueError, match="closed"):
            opened.run({name: images})

    def test_providers_are_resolved_or_refused(self, runtime: Runtime) -> None:
        """A full name resolves to itself; the error names the providers available."""
        full = runtime.resolve(self.provider)
        assert full in runtime.providers() and runtime.resolve(full) == full
        with pytest.raises(ProviderError, match=full):
            runtime.resolve("abacus")

    def test_invalid_models_and_options_are_refused(self, runtime: Runtime, model: bytes) -> None:
        """Bytes that are not a model, zero threads and a missing provider raise errors."""
        with pytest.raises(RecordError):
            self.opened(runtime, b"not a model")
        with pytest.raises(OptionError, match="threads"):
            self.opened(runtime, model, threads=0)
        with pytest.raises(ProviderError):
            runtime.open(model, provider="abacus")

    def test_the_fingerprint_has_the_settings(self, runtime: Runtime) -> None:
        """It also has the runtime's name and version."""
        full = runtime.resolve(self.provider)
        found = runtime.fingerprint(
            threads=2, provider=full, provider_options={"a": "b"}, precision="fp32", pinned=True
        )
        assert (found.threads, found.provider, found.pinned, found.precision) == (2, full, True, "fp32")
        assert found.provider_options == {"a": "b"}
        assert found.runtime == runtime.name and found.runtime_version
        assert found == runtime.fingerprint(
            threads=2, provider=full, provider_options={"a": "b"}, precision="fp32", pinned=True
        )
