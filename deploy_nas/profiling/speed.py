"""Checks how fast a profiled device is now: a few seconds, with some of the profile's own networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deploy_nas.adapters.graphs import timed_graph
from deploy_nas.adapters.kits import BareGraph
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fingerprint import processor_waits
from deploy_nas.core.measured import ATTEMPTS, Measured, least_disturbed
from deploy_nas.core.walk import NamedLayers
from deploy_nas.device import machine
from deploy_nas.device.clocks import timestamp
from deploy_nas.device.initializers import random_initializers
from deploy_nas.device.measure import MeasureSettings, Progress, measure_models
from deploy_nas.device.runtimes import runtime_of
from deploy_nas.records.profile import Profile
from deploy_nas.records.profile_history import Speed
from deploy_nas.records.profile_parts import Pair

Timed = Callable[[Sequence[BareGraph], MeasureSettings], list[Measured]]
"""Times graphs with random weights; a value for each, in their order."""

NETWORKS = 6
_HOW = MeasureSettings(rounds=8, burst_ms=25.0, least_runs=5, warmup_runs=2, wait_s=10.0)


def checked_networks(profile: Profile) -> tuple[Pair, ...]:
    """Held-out networks of the profile, from the fastest to the slowest.

    Raises:
        RecordError: the profile has none, or one that its space lacks.
    """
    pairs = sorted(profile.pairs, key=lambda pair: pair.measured_ms)
    if not pairs:
        raise RecordError(
            "has no network that was measured, so its speed cannot be checked",
            subject=f"profile {profile.id}",
        )
    counts = profile.space.choice_counts
    for pair in pairs:
        choices = np.array(pair.choices)
        if choices.shape != counts.shape or not ((choices >= 0) & (choices < counts)).all():
            raise RecordError(
                f"a held-out network is not one of {profile.space.id}", subject=f"profile {profile.id}"
            )
    chosen = np.unique(np.linspace(0, len(pairs) - 1, NETWORKS).round().astype(int))
    return tuple(pairs[i] for i in chosen)


def measured_speed(
    profile: Profile,
    *,
    allow_unstable: bool = False,
    progress: Progress | None = None,
    timed: Timed | None = None,
    attempts: int = ATTEMPTS,
) -> Speed:
    """Time the sentinel and some networks of the profile, and compare them with when it was made.

    Args:
        profile: of the device.
        allow_unstable: use times of disturbed runs.
        progress: called with the bursts done, the bursts in total and the kind of unit.
        timed: times graphs on another device; here unless given.
        attempts: at most, while runs are disturbed. The least disturbed one counts.

    Raises:
        RecordError: no network was measured for the profile.
        UnstableDeviceError: other work disturbed the runs in every attempt; ``allow_unstable`` uses them.
    """
    pairs = checked_networks(profile)
    space = profile.space
    networks = [space.layers(a) for a in space.decode(np.array([pair.choices for pair in pairs]))]
    sentinel = space.layers(space.smallest(min(profile.image_sizes)))
    graphs = _graphs(profile, [*networks, sentinel])
    how = replace(_HOW, threads=profile.fingerprint.threads)
    taken = least_disturbed(
        lambda: _timed_here(profile, graphs, how, progress) if timed is None else timed(graphs, how), attempts
    )
    if not allow_unstable:
        for one in taken:
            one.check(f"the speed of profile {profile.id}")
    *found, small = taken
    measured = np.array([one.latency_ms for one in found])
    then = np.array([pair.measured_ms for pair in pairs])
    # at the speed of the profile, whatever was found by later checks
    predicted = profile.latency_ms(np.array([pair.choices for pair in pairs])) / profile.factor
    return Speed(
        created=timestamp(),
        factor=round(float(np.median(measured / then)), 5),
        sentinel_ms=round(small.latency_ms, 6),
        ratios=tuple(round(float(r), 5) for r in measured / predicted),
    )


def _graphs(profile: Profile, networks: Sequence[NamedLayers]) -> list[BareGraph]:
    """The networks as the profile timed them."""
    precision, activations = profile.fingerprint.precision, profile.activations
    made = (timed_graph(layers, precision, activations) for layers in networks)
    return [BareGraph(graph=graph, tensors=tensors) for graph, tensors in made]


def _timed_here(
    profile: Profile,
    graphs: Sequence[BareGraph],
    how: MeasureSettings,
    progress: Progress | None,
) -> list[Measured]:
    """One attempt, in sessions of the profile's provider with random weights."""
    on = profile.fingerprint
    runtime = runtime_of(on.provider)
    rng = np.random.default_rng(how.seed)
    with machine.pinned_to(on.threads) as pinning:
        models = [
            runtime.open(
                one.graph,
                provider=on.provider,
                provider_options=on.provider_options,
                threads=on.threads,
                worker_cores=pinning.worker_cores,
                initializers=random_initializers(one.tensors, rng),
            )
            for one in graphs
        ]
        return measure_models(
            models,
            how,
            pinning=pinning,
            waits=processor_waits(on.provider),
            core_us=profile.noise.core_us,
            progress=progress,
        )
