"""``profile_fleet``, ``verify_fleet``, ``fleet_status``, ``search_fleet``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy_nas.api.progress import Progress, shown
from deploy_nas.core.figures import MACS, MODEL_SIZE, PARAMS, PEAK_MEMORY
from deploy_nas.fleet.schedule import PARALLEL, Retry
from deploy_nas.records.fleet import Fleet, load_fleet
from deploy_nas.workflows.fleet import How
from deploy_nas.workflows.fleet_profile import FleetProfiled
from deploy_nas.workflows.fleet_profile import profile_fleet as profile_devices
from deploy_nas.workflows.fleet_search import FleetFound
from deploy_nas.workflows.fleet_search import search_fleet as search_devices
from deploy_nas.workflows.fleet_status import FleetStatus
from deploy_nas.workflows.fleet_status import fleet_status as status_of
from deploy_nas.workflows.fleet_verify import FleetVerified
from deploy_nas.workflows.fleet_verify import verify_fleet as verify_devices
from deploy_nas.workflows.given import GivenPath, GivenSpace, space_name
from deploy_nas.workflows.question import DEFAULT_CONFIDENCE, DEFAULT_HYPER, GivenPredictor, SearchRequest

GivenFleet = GivenPath | Fleet


def profile_fleet(
    fleet: GivenFleet,
    *,
    only: Sequence[str] = (),
    jobs: int = PARALLEL,
    tries: int = 4,
    retry_s: float = 10.0,
    fresh: bool = False,
    force: bool = False,
    refresh_held: bool = False,
    progress: Progress | None = None,
) -> FleetProfiled:
    """Profile the devices of a fleet that have no profile yet, as ``deploy-nas fleet profile`` does.

    With ``refresh_held``, the speed of the others is checked, and their profiles brought up to date.

    What a device cannot give is in the result's ``faults``; the others are profiled.

    Raises:
        RecordError: a fleet's file that cannot be used.
        OptionError: a name that is neither a device's nor a group's, or ``force`` with ``refresh_held``.
        OutputError: another run of this fleet goes on, or its folder cannot be written.
    """
    with shown("profiling", progress) as update:
        how = _how(only, jobs, tries, retry_s, update)
        return profile_devices(_fleet(fleet), how, fresh=fresh, force=force, refresh_held=refresh_held)


def verify_fleet(
    fleet: GivenFleet,
    *,
    only: Sequence[str] = (),
    jobs: int = PARALLEL,
    tries: int = 4,
    retry_s: float = 10.0,
    progress: Progress | None = None,
) -> FleetVerified:
    """Measure a fleet's bundles again, as ``deploy-nas fleet verify`` does; ``broken`` are broken promises.

    Raises as :func:`profile_fleet`; and :class:`RecordError` if there is nothing to verify.
    """
    with shown("verifying", progress) as update:
        return verify_devices(_fleet(fleet), _how(only, jobs, tries, retry_s, update))


def fleet_status(fleet: GivenFleet, *, only: Sequence[str] = ()) -> FleetStatus:
    """The profiles of each device of a fleet and how they stand, as ``deploy-nas fleet status`` says.

    Raises:
        RecordError: a fleet's file or history that cannot be used.
        OptionError: a name that is neither a device's nor a group's.
    """
    return status_of(_fleet(fleet), only)


def search_fleet(
    fleet: GivenFleet,
    *,
    max_latency_ms: Mapping[str, float] | None = None,
    max_macs_millions: float | None = None,
    max_params_millions: float | None = None,
    max_peak_memory_kb: float | None = None,
    max_model_mb: float | None = None,
    bytes_per_element: int = 1,
    predictor: GivenPredictor | None = None,
    space: GivenSpace | None = None,
    anchors: Sequence[str] = (),
    confidence: float | None = DEFAULT_CONFIDENCE,
    margin: str | None = None,
    image_sizes: Sequence[int] | None = None,
    population: int = int(DEFAULT_HYPER["population_size"]),
    generations: int = int(DEFAULT_HYPER["max_time_budget"]),
    one_each: bool = False,
    allow_unstable: bool = False,
    seed: int = 0,
    output: GivenPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> FleetFound:
    """One network for all devices of a fleet, and what it costs each, as ``deploy-nas search --fleet`` does.

    Arguments are those of :func:`deploy_nas.search`, but for three. ``max_latency_ms`` has budgets by device
    or group, which come before those of the file. ``space`` is the one of the fleet's spaces to search. With
    ``one_each`` each device's own network is an answer too, even without a common one.

    Raises:
        InfeasibleBudgetError: no network keeps every budget.
        InputError: unusable input.
    """
    bounds = {
        MACS.name: max_macs_millions,
        PARAMS.name: max_params_millions,
        PEAK_MEMORY.name: max_peak_memory_kb,
        MODEL_SIZE.name: max_model_mb,
    }
    request = SearchRequest(
        budgets={name: bound for name, bound in bounds.items() if bound is not None},
        confidence=confidence,
        margin=margin,
        predictor=predictor,
        anchors=anchors,
        image_sizes=image_sizes,
        bytes_per_element=bytes_per_element,
        hyper={"population_size": population, "max_time_budget": generations},
        seed=seed,
        allow_unstable=allow_unstable,
    )
    with shown("searching", progress) as update:
        return search_devices(
            _fleet(fleet),
            request,
            None if output is None else Path(output),
            max_latency_ms=max_latency_ms,
            space=None if space is None else space_name(space),
            one_each=one_each,
            force=force,
            progress=lambda done, total, best: update(done, total, ""),
        )


def _fleet(given: GivenFleet) -> Fleet:
    return given if isinstance(given, Fleet) else load_fleet(Path(given))


def _how(only: Sequence[str], jobs: int, tries: int, retry_s: float, update: Progress) -> How:
    return How(
        only=only,
        parallel=jobs,
        retry=Retry(tries=tries, wait_s=retry_s),
        say=lambda line: update(0, 0, line),
    )
