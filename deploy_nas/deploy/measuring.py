"""Time exported models on this device, alongside the sentinel of the profile they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deploy_nas.adapters.graphs import timed_graph
from deploy_nas.adapters.kits import SentinelGraph
from deploy_nas.core.fingerprint import CPU_PROVIDER, processor_waits
from deploy_nas.core.measured import Measured, least_disturbed
from deploy_nas.device import machine
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.measure import MeasureSettings, Sentinel, measure_models
from deploy_nas.device.runtime import Runtime
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.records.profile import Profile


def sentinel_graph(profile: Profile | None, threads: int) -> SentinelGraph | None:
    """A profile's sentinel as it was timed, if it can be compared.

    Returns:
        ``None`` without a profile, for an imported one, and for another number of threads than the
        profile's: its sentinel was timed with that many.
    """
    if profile is None or profile.imported is not None or profile.fingerprint.threads != threads:
        return None
    on = profile.fingerprint
    layers = profile.space.layers(profile.space.smallest(min(profile.image_sizes)))
    graph, tensors = timed_graph(layers, on.precision, profile.activations)
    return SentinelGraph(graph=graph, tensors=tensors, quiet_ms=profile.quiet_ms)


def measure_together(
    models: Sequence[bytes],
    how: MeasureSettings,
    *,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    runtime: Runtime | None = None,
) -> list[Measured]:
    """Time serialised models in turn, each in a session of its own, as a user would run it.

    With a profile of the same number of threads, its sentinel is timed before each burst; while the sentinel
    is far slower than when profiled, the burst waits (``device.measure.measure_models``).

    Where other work disturbed the runs, all is measured again on the cores that are quiet then, up to three
    times in all; the result is the least disturbed. Whether it can be relied on, its conditions say.

    Args:
        models: the models.
        how: threads, rounds, bursts, pauses.
        provider, provider_options: execution provider to run them.
        profile: the profile whose sentinel to time.
        runtime: opens them; that of the provider unless given.

    Returns:
        A value per model, in their order.

    Raises:
        OptionError: more threads than cores.
        ProviderError: the provider is missing, or cannot run a model.
        RecordError: a model cannot be loaded.
    """
    runtime = runtime or runtime_of(provider)
    provider = runtime.resolve(provider)  # while this thread may still use every core
    return least_disturbed(lambda: _measured(models, how, provider, provider_options, profile, runtime))


def _measured(
    models: Sequence[bytes],
    how: MeasureSettings,
    provider: str,
    provider_options: Mapping[str, str] | None,
    profile: Profile | None,
    runtime: Runtime,
) -> list[Measured]:
    """One attempt of :func:`measure_together`."""
    given = sentinel_graph(profile, how.threads)
    with machine.pinned_to(how.threads) as pinning:
        cores = pinning.worker_cores
        opened = [
            runtime.open(
                model,
                provider=provider,
                provider_options=provider_options,
                threads=how.threads,
                worker_cores=cores,
            )
            for model in models
        ]
        sentinel = None
        if given is not None and profile is not None:
            on = profile.fingerprint
            model = runtime.open(
                given.graph,
                provider=on.provider,
                provider_options=on.provider_options,
                threads=how.threads,
                worker_cores=cores,
                initializers=random_initializers(given.tensors, np.random.default_rng(how.seed)),
            )
            sentinel = Sentinel(model=model, quiet_ms=given.quiet_ms)
        return measure_models(
            opened,
            how,
            sentinel,
            pinning=pinning,
            waits=processor_waits(provider),
            core_us=None if given is None or profile is None else profile.noise.core_us,
        )


def measure(
    model: bytes,
    *,
    threads: int = 1,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    rounds: int = MeasureSettings().rounds,
    wait_s: float = MeasureSettings().wait_s,
    seed: int = 0,
    every_ms: float = 0.0,
) -> Measured:
    """Time one serialised model; arguments and errors as in :func:`measure_together`."""
    how = MeasureSettings(threads=threads, rounds=rounds, wait_s=wait_s, seed=seed, every_ms=every_ms)
    return measure_together(
        [model], how, provider=provider, provider_options=provider_options, profile=profile
    )[0]
