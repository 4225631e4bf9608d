"""Search for a fleet: one network that keeps every device's budget, and one for each at no further training.

Each device, or each group that shares a budget, has a best network of its own; what the common one costs is
the accuracy that it lies below that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.core.errors import BudgetError, InfeasibleBudgetError, OptionError, RecordError
from deploy_nas.core.figures import on_device
from deploy_nas.core.shown import Shown, html_table
from deploy_nas.records.files import check_output
from deploy_nas.records.fleet import Fleet, FleetDevice, check_names
from deploy_nas.records.profile import Profile
from deploy_nas.records.supernet import space_named
from deploy_nas.workflows.fleet import held_profile, profile_path
from deploy_nas.workflows.question import (
    LATENCY,
    GivenPredictor,
    OtherDevice,
    SearchRequest,
    predictor_source,
)
from deploy_nas.workflows.search import Found, result_path, search_file

Progress = Callable[[int, int, float], None]
HEAD = ("for", "budget ms", "predicted ms", "accuracy of its own", "accuracy of the common", "lost")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A device, or a group with one budget: its profiles by device, and its own best network.

    Args:
        name: of the device or the group.
        budget_ms: of each of its devices.
        devices: their names.
        found: its own network.
        path: where that was written; ``None``: nowhere.
        lost: by how much the common network is less accurate than its own; ``None`` without a common one.
    """

    name: str
    budget_ms: float
    devices: tuple[str, ...]
    found: Found
    path: Path | None
    lost: float | None

    @property
    def accuracy(self) -> float:
        """Predicted for its own network."""
        return accuracy_of(self.found)

    @property
    def latency_ms(self) -> float:
        """Predicted for its own network, on the slowest of its devices."""
        said = self.found.record.predicted
        every = [said.latency_ms, *(other.latency_ms for other in said.others)]
        return max(one for one in every if one is not None)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FleetFound(Shown):
    """The answer to a fleet's budgets.

    Args:
        common: the one network for all; ``None`` if none keeps every budget.
        path: where that was written.
        members: each device or group with a budget, and its own network.
        fault: why there is no common one.
    """

    fleet: Fleet
    common: Found | None
    path: Path | None
    members: tuple[Member, ...]
    fault: InfeasibleBudgetError | None = None

    @property
    def most_lost(self) -> float | None:
        """The accuracy that the common network costs the device that it costs most."""
        return max((one.lost for one in self.members if one.lost is not None), default=None)

    @property
    def unit(self) -> str:
        """Of accuracies: "percent", or as the predictor has it."""
        return self.members[0].found.record.predicted.accuracy_unit or "percent"

    def rows(self) -> list[list[object]]:
        """As lines of a table (``HEAD``)."""
        common = None if self.common is None else accuracy_of(self.common)
        return [
            [one.name, one.budget_ms, one.latency_ms, one.accuracy, common, one.lost] for one in self.members
        ]

    def _summary(self) -> str:
        if self.common is None:
            return f"no network for all; one for each of {len(self.members)}"
        return (
            f"accuracy {accuracy_of(self.common):.4g} for all, {self.most_lost:.2g} below their own at most"
        )

    def _details(self) -> str:
        return html_table(HEAD, self.rows())


def accuracy_of(found: Found) -> float:
    """The accuracy that is predicted for a search's best."""
    accuracy = found.record.predicted.accuracy
    assert accuracy is not None  # noqa: S101 - a search predicts it
    return float(accuracy)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A device or group, its budget, and the profiles that it is kept on."""

    name: str
    budget_ms: float
    profiles: tuple[tuple[str, Profile], ...]


def search_fleet(
    fleet: Fleet,
    request: SearchRequest,
    output: Path | None = None,
    *,
    max_latency_ms: Mapping[str, float] | None = None,
    space: str | None = None,
    one_each: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> FleetFound:
    """Search for one network for all, and one for each, and write them.

    Args:
        fleet: its devices have profiles in its folder.
        request: of the search; its devices and latency budgets are the fleet's.
        output: the common network's file, with the whole result beside it; that of ``NAME`` is
            ``OUTPUT.NAME.json``. ``None``: nothing is written.
        max_latency_ms: budgets by device or group, before those of the file.
        space: which of the fleet's spaces to search, by id or folder; needed if there are several.
        one_each: write each device's own network too; without, a common one has to exist.
        force: replace the outputs.
        progress: of each search.

    Raises:
        BudgetError: no device has a budget.
        OptionError: a budget for neither a device nor a group; several spaces and none chosen.
        RecordError: a device with a budget has no profile.
        InfeasibleBudgetError: without ``one_each``, no network keeps every budget; with it, none keeps that
            of a single device.
        InputError: as :func:`deploy_nas.workflows.search.search_file` raises them.
    """
    given = max_latency_ms or {}
    check_names(fleet, given, "max_latency_ms")
    members = _members(fleet, given, space)
    paths = {one.name: _own_path(output, one.name) for one in members} if output and one_each else {}
    for path in [output, *paths.values()]:
        if path is not None:
            check_output(path, force=force)
            check_output(result_path(path), force=force)
    (first, *_), *_ = (one.profiles for one in members)
    request = replace(request, predictor=_predictor(fleet, *first, request, space))
    every = [pair for one in members for pair in one.profiles]
    budgets = {name: one.budget_ms for one in members for name, _ in one.profiles}
    common, fault = None, None
    try:
        common = _search(request, every, budgets, output, force, progress)
    except InfeasibleBudgetError as error:
        fault = _named(error, every[0][0])
        if not one_each:
            raise fault from error
    found = []
    for one in members:
        path = paths.get(one.name)
        if len(members) == 1 and common is not None and path is None:
            own = common  # the same search
        else:
            own = _search(request, one.profiles, budgets, path, force, progress)
        lost = None if common is None else max(0.0, accuracy_of(own) - accuracy_of(common))
        found.append(
            Member(
                name=one.name,
                budget_ms=one.budget_ms,
                devices=tuple(name for name, _ in one.profiles),
                found=own,
                path=path,
                lost=lost,
            )
        )
    written = output if common is not None else None
    return FleetFound(fleet=fleet, common=common, path=written, members=tuple(found), fault=fault)


def _search(
    request: SearchRequest,
    profiles: Sequence[tuple[str, Profile]],
    budgets: Mapping[str, float],
    output: Path | None,
    force: bool,
    progress: Progress | None,
) -> Found:
    (first, profile), *rest = profiles
    others = tuple(
        OtherDevice(profile=other, name=name, max_latency_ms=budgets[name]) for name, other in rest
    )
    asked = replace(request, budgets={**request.budgets, LATENCY: budgets[first]}, others=others)
    found = search_file(profile, output, asked, force=force, progress=progress)
    if found.result.interrupted:  # what was found so far is written; the other searches are not made
        raise KeyboardInterrupt
    return found


def _named(error: InfeasibleBudgetError, first: str) -> InfeasibleBudgetError:
    """The error with the first device's name, which a search does not know."""
    subject = on_device(first) if error.subject == LATENCY else error.subject
    return InfeasibleBudgetError(error.message, subject=subject, hint=error.hint, nearest=error.nearest)


def _members(fleet: Fleet, given: Mapping[str, float], space: str | None) -> list[_Asked]:
    """Devices with budgets of their own, and groups of those that share one, in the order of the file."""
    asked: dict[str, tuple[float, list[FleetDevice]]] = {}
    groups = {g.name: given.get(g.name, g.max_latency_ms) for g in fleet.groups}
    for device in fleet.devices:
        own = given.get(device.name)
        if own is None and device.group not in given:
            own = device.max_latency_ms
        if own is not None:
            asked[device.name] = (own, [device])
        elif (shared := groups.get(device.group)) is not None:
            asked.setdefault(device.group, (shared, []))[1].append(device)
    if not asked:
        raise BudgetError(
            "gives no device a latency budget",
            subject=str(fleet.path),
            hint="say `max_latency_ms` NAME=MS, or put max_latency_ms into the file",
        )
    chosen = _space(fleet, [d for _, devices in asked.values() for d in devices], space)
    return [
        _Asked(
            name=name,
            budget_ms=budget_ms,
            profiles=tuple((d.name, _profile(fleet, d, chosen)) for d in devices),
        )
        for name, (budget_ms, devices) in asked.items()
    ]


def _space(fleet: Fleet, devices: Sequence[FleetDevice], space: str | None) -> str:
    """The space that is searched, by its id."""
    of_each = [[space_named(name).id for name in device.spaces] for device in devices]
    wanted = None if space is None else space_named(space).id
    shared = [name for name in of_each[0] if all(name in names for names in of_each)]
    if wanted is None and len(shared) == 1:
        return shared[0]
    if wanted is None:
        raise OptionError(
            f"must be said: devices with a budget have {len(shared)} spaces in common",
            subject="space",
            hint=", ".join(shared) or "give budgets to devices of one space, and name that",
        )
    for device, names in zip(devices, of_each, strict=True):
        if wanted not in names:
            raise OptionError(f"is {wanted}, which {device.name} does not have", subject="space")
    return wanted


def _profile(fleet: Fleet, device: FleetDevice, space: str) -> Profile:
    name = next(name for name in device.spaces if space_named(name).id == space)
    profile = held_profile(fleet, device, name)
    if profile is None:
        raise RecordError(
            f"there is no profile of {device.name}",
            subject=str(profile_path(fleet, device, name)),
            hint=f"make it: deploy-nas fleet profile {fleet.path}",
        )
    return profile


def _predictor(
    fleet: Fleet, device: str, profile: Profile, request: SearchRequest, space: str | None
) -> GivenPredictor | None:
    """The predictor that is asked for, or that of the folder of a trained supernet."""
    named = next(d for d in fleet.devices if d.name == device).spaces
    folder = space or next(name for name in named if space_named(name).id == profile.space.id)
    return predictor_source(profile, request.predictor, folder)


def _own_path(output: Path, name: str) -> Path:
    return output.with_name(f"{output.name.removesuffix('.json')}.{name}.json")
