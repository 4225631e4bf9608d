"""Time an exported model on this device, beside the sentinel of the profile it is held against."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence

import numpy as np

from deploy_nas.adapters.int8 import timed_graph
from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.measured import Measured, latency_of
from deploy_nas.core.precision import THIS_PROCESSOR, scheme_for
from deploy_nas.core.space import FloatArray
from deploy_nas.device import machine
from deploy_nas.device.session import open_session, random_initializers
from deploy_nas.device.timing import Timer
from deploy_nas.records.profile import Profile

ROUNDS = 20
BURST_MS = 40.0
PAUSE_S = 0.06  # between rounds: two seconds in all, so that one bad moment is not the whole answer
SLOW_FACTOR = 1.3


def sentinel_timer(
    profile: Profile, threads: int, rng: np.random.Generator, worker_cores: Sequence[int]
) -> Timer:
    """The profile's sentinel, open on this machine."""
    space = profile.space
    layers = space.layers(space.smallest(min(profile.image_sizes)))
    on = profile.fingerprint
    scheme = scheme_for(THIS_PROCESSOR, machine.cpu_features(), platform.machine())
    graph, tensors = timed_graph(layers, on.precision, scheme.activations)
    session = open_session(
        graph,
        provider=on.provider,
        provider_options=on.provider_options,
        threads=threads,
        worker_cores=worker_cores,
        initializers=random_initializers(tensors, rng),
    )
    return Timer(session, rng)


def measure(
    model: bytes,
    *,
    threads: int = 1,
    provider: str = CPU_PROVIDER,
    provider_options: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    rounds: int = ROUNDS,
    wait_s: float = 15.0,
    seed: int = 0,
) -> Measured:
    """Time a serialised model in a session of its own, as a user would, in several rounds.

    With a profile of as many threads its sentinel is timed before each round; while that is far slower than
    when profiled, the round waits, ``wait_s`` in all, and rounds beside a slow sentinel do not count unless
    there is no other: latency is that of a quiet device.
    """
    rng = np.random.default_rng(seed)
    if profile is not None and profile.fingerprint.threads != threads:
        profile = None  # its sentinel was timed with others
    with machine.pinned_to(threads) as pinning:
        cores = pinning.worker_cores
        session = open_session(
            model,
            provider=provider,
            provider_options=provider_options,
            threads=threads,
            worker_cores=cores,
        )
        timer = Timer(session, rng)
        sentinel = sentinel_timer(profile, threads, rng, cores) if profile is not None else None
        points: list[FloatArray] = []
        beside: list[float] = []
        runs, waited_s = 0, 0.0

        def read(timer: Timer) -> float:
            burst = timer.burst(burst_ms=8.0, least_runs=5, warmup_runs=2, warmup_ms=3.0)
            return latency_of(burst.points_ms)

        for number in range(rounds):
            if number:
                time.sleep(PAUSE_S)
            if sentinel is not None:
                reading = read(sentinel)
                while (
                    profile is not None and reading > SLOW_FACTOR * profile.sentinel_ms and waited_s < wait_s
                ):
                    time.sleep(0.25)
                    waited_s += 0.25
                    reading = read(sentinel)
                beside.append(reading)
            burst = timer.burst(burst_ms=BURST_MS, least_runs=8, warmup_runs=5, warmup_ms=3.0)
            points.append(np.array(burst.points_ms))
            runs += burst.runs
        if sentinel is not None and profile is not None:
            limit = SLOW_FACTOR * profile.sentinel_ms
            after = [*beside[1:], read(sentinel)]
            quiet = [p for p, a, b in zip(points, beside, after, strict=True) if max(a, b) <= limit]
            points = quiet or points
    return Measured.of(np.concatenate(points), runs=runs, sentinel_ms=latency_of(beside) if beside else None)
