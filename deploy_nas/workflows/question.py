"""The checked question that a search or a front answers: devices, budgets and predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deploy_nas.accuracy.anchor import anchored, load_anchors
from deploy_nas.accuracy.own import OwnAccuracy, OwnPredictor, Predicts
from deploy_nas.accuracy.predictor import AccuracyPredictor, load_accuracy_predictor
from deploy_nas.adapters.graphs.form import changed_graphs
from deploy_nas.core.errors import InfeasibleBudgetError, MismatchError, OptionError, UnstableDeviceError
from deploy_nas.core.figures import LATENCY as LATENCY_FIGURE
from deploy_nas.core.figures import on_device
from deploy_nas.core.predicted import Elsewhere, Predicted
from deploy_nas.core.reader import name_text
from deploy_nas.core.space import IntArray
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import Asked
from deploy_nas.records.supernet import is_supernet, of_same_id
from deploy_nas.search.budgets import allow_at_least
from deploy_nas.search.efficiency import MeasuredEfficiencyPredictor
from deploy_nas.search.own import OwnFigure
from deploy_nas.workflows.given import GivenProfile, profile_given

LATENCY = LATENCY_FIGURE.name
_OBJECT = "(an object of a program)"
GivenPredictor = str | Path | AccuracyPredictor | OwnPredictor | OwnAccuracy
DEFAULT_CONFIDENCE = 0.95
SLOWEST_SEEN = "slowest-seen"
_MOST_MARGIN_PERCENT = 1000.0
# 50,000 evaluations, as many as OFA's 100 x 500: as good in all trials, twice as fast (docs/notes/search.md)
DEFAULT_HYPER: Mapping[str, float] = {"population_size": 1000, "max_time_budget": 50}


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherDevice:
    """A further device: its profile, a name for it, and a latency budget there (``None``: report only)."""

    profile: Profile
    name: str
    max_latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """A search to make.

    ``budgets`` are upper bounds by figure (``latency_ms`` on the first device, ``millionMACs``,
    ``params_million``, ``KBPeakMemory``, ``model_mb``). Latency budgets are kept by each profile's bound
    at ``confidence``; with ``None``, or for a profile without validation, the prediction itself is used.
    ``margin`` is for a device that gets slower: "slowest-seen" keeps the budgets at the slowest speed that
    each profile has seen, a number of percent at that much below the present speed. ``None``: by how much
    the speed changed between the profile's checks is part of its bound.
    """

    budgets: Mapping[str, float]
    confidence: float | None = DEFAULT_CONFIDENCE
    margin: str | None = None
    predictor: GivenPredictor | None = None
    anchors: Sequence[str] = ()
    figures: Mapping[str, OwnFigure] = field(default_factory=dict)
    others: Sequence[OtherDevice] = ()
    image_sizes: Sequence[int] | None = None
    bytes_per_element: int = 1
    hyper: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_HYPER))
    seed: int = 0
    allow_unstable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A checked request; ``budgets`` limit the search, ``ratios`` are each device's bound over prediction."""

    request: SearchRequest
    profile: Profile
    predictor: Predicts
    efficiency: MeasuredEfficiencyPredictor
    image_sizes: tuple[int, ...]
    budgets: dict[str, float]
    ratios: dict[str, float]

    @property
    def profiles(self) -> dict[str, Profile]:
        """Profiles by the name of their latency's figure, the first device's first."""
        return {LATENCY: self.profile, **{on_device(o.name): o.profile for o in self.request.others}}

    def asked(self) -> Asked:
        """The question as result files keep it, so that the answer can be repeated."""
        request = self.request
        return Asked(
            profiles={name: profile.id for name, profile in self.profiles.items()},
            budgets={**request.budgets, **_elsewhere(request)},
            confidence=request.confidence,
            margin=request.margin,
            predictor=_named(request.predictor),
            anchors=tuple(request.anchors),
            image_sizes=self.image_sizes,
            bytes_per_element=request.bytes_per_element,
            hyper=dict(request.hyper),
            seed=request.seed,
        )

    def records(self, encoded: IntArray) -> list[ArchitectureRecord]:
        """Encoded architectures ``[n, 1 + genes]`` as records with all their predictions."""
        figures = self.efficiency.get_efficiency_batch(encoded)
        accuracy = self.predictor.predict_encoded(encoded)
        spread = self.predictor.spread_encoded(encoded)
        request, predictor, on = self.request, self.predictor, self.profile.fingerprint
        records = []
        for i, architecture in enumerate(self.profile.space.decode(encoded)):
            latency_ms = float(figures[LATENCY][i])
            predicted = Predicted(
                figures={
                    name: round(float(v[i]), 6)
                    for name, v in figures.items()
                    if name != LATENCY and "@" not in name
                },
                latency_ms=round(latency_ms, 6),
                bound_ms=self._bound(LATENCY, latency_ms),
                budget_ms=request.budgets.get(LATENCY),
                confidence=request.confidence if self.profile.validated else None,
                accuracy=round(float(accuracy[i]), 4),
                accuracy_unit=predictor.unit,
                accuracy_spread=round(float(spread[i]), 4) if spread[i] > 0.0 else None,  # an ensemble
                accuracy_note=predictor.note or None,
                profile=self.profile.id,
                provider=None if self.profile.imported is not None else on.provider,
                provider_options=on.provider_options,
                threads=on.threads,
                precision=on.precision,
                seed=request.seed,
                others=tuple(self._other(o, float(figures[on_device(o.name)][i])) for o in request.others),
            )
            records.append(
                ArchitectureRecord(space=self.profile.space, architecture=architecture, predicted=predicted)
            )
        return records

    def _other(self, device: OtherDevice, latency_ms: float) -> Elsewhere:
        return Elsewhere(
            device=device.name,
            profile=device.profile.id,
            latency_ms=round(latency_ms, 6),
            bound_ms=self._bound(on_device(device.name), latency_ms),
            budget_ms=device.max_latency_ms,
        )

    def _bound(self, figure: str, latency_ms: float) -> float | None:
        """The bound; ``None`` for an unvalidated profile, and without a confidence."""
        if self.request.confidence is None or not self.profiles[figure].validated:
            return None
        return round(latency_ms * self.ratios[figure], 6)

    def explained(self, error: InfeasibleBudgetError) -> InfeasibleBudgetError:
        """The error, with the tightened budget that was searched for if a bound tightened it."""
        figure = error.subject
        ratio = self.ratios.get(figure, 1.0)
        given = {**self.request.budgets, **_elsewhere(self.request)}.get(figure)
        if ratio == 1.0 or given is None or error.nearest is None:
            return error
        return InfeasibleBudgetError(
            f"{error.message} (the budget of {given:g} ms is kept with "
            f"{100 * (self.request.confidence or 0):g}% confidence by searching below "
            f"{self.budgets[figure]:.4g} ms)",
            subject=figure,
            hint=allow_at_least(error.nearest * ratio),
            nearest=error.nearest * ratio,
        )

    def unbounded(self) -> Question:
        """The same question without a bound on the first device; the others keep theirs."""
        budgets = {LATENCY: self.request.budgets[LATENCY]} if LATENCY in self.request.budgets else {}
        return replace(self, budgets=self.budgets | budgets)


def _elsewhere(request: SearchRequest) -> dict[str, float]:
    return {on_device(o.name): o.max_latency_ms for o in request.others if o.max_latency_ms is not None}


def ask(profile: Profile, predictor: Predicts, request: SearchRequest) -> Question:
    """Check a request against its devices.

    Raises:
        UnstableDeviceError: an unstable profile, without ``allow_unstable``.
        MismatchError: a profile of graphs that this deploy-nas writes differently, without
            ``allow_unstable``; profiles of different spaces, or an image size that one of them lacks.
        OptionError: a confidence outside 0 to 1, or above what a profile supports; a margin that cannot be or
            needs checks of the speed that a profile lacks.
    """
    confidence = request.confidence
    if confidence is not None and not 0 < confidence < 1:
        raise OptionError(f"must be between 0 and 1, or none, is {confidence}", subject="confidence")
    profiles = {LATENCY: profile, **{on_device(o.name): o.profile for o in request.others}}
    if len(profiles) != 1 + len(request.others):
        raise OptionError("two devices have the same name", subject="profiles", hint="rename a file")
    for held in profiles.values():
        if confidence is not None and confidence > max(DEFAULT_CONFIDENCE, most := held.most_confidence):
            raise OptionError(
                f"is {confidence}, but the held-out networks of profile {held.id} support at most {most:.3f}",
                subject="confidence",
            )
        if (changed := changed_graphs(held)) is not None and not request.allow_unstable:
            raise MismatchError(
                str(changed),
                subject=f"profile {held.id}",
                hint="profile again with this deploy-nas, or use `allow_unstable`",
            )
        if not held.stable and not request.allow_unstable:
            raise UnstableDeviceError(
                f"is unstable ({'; '.join(held.faults)})",
                subject=f"profile {held.id}",
                hint="profile again on a quiet device, or use `allow_unstable`",
            )
    efficiency = MeasuredEfficiencyPredictor(
        profile,
        bytes_per_element=request.bytes_per_element,
        others={o.name: o.profile for o in request.others},
        figures=request.figures,
    )
    sizes = tuple(request.image_sizes or efficiency.image_sizes)
    for held in profiles.values():
        if missing := sorted(set(sizes) - set(held.image_sizes)):
            raise MismatchError(
                f"image size {missing[0]} was not profiled",
                subject=f"profile {held.id}",
                hint=f"it holds {', '.join(map(str, held.image_sizes))}",
            )
    ratios = {
        name: max(1.0, held.upper_ratio(confidence, margin_of(held, request.margin)))
        for name, held in profiles.items()
    }
    budgets = {**request.budgets, **_elsewhere(request)}
    for name, ratio in ratios.items():
        if name in budgets and math.isfinite(budgets[name]):
            budgets[name] = budgets[name] / ratio
    return Question(
        request=request,
        profile=profile,
        predictor=predictor,
        efficiency=efficiency,
        image_sizes=sizes,
        budgets=budgets,
        ratios=ratios,
    )


def margin_of(profile: Profile, margin: str | None) -> float | None:
    """The factor on latencies that a margin asks for; raises :class:`OptionError` for one that cannot be."""
    if margin is None:
        return None
    if margin == SLOWEST_SEEN:
        if profile.speeds:
            return profile.slowest
        raise OptionError(
            f"needs to know other speeds, but that of profile {profile.id} was never checked",
            subject="margin",
            hint="check it at several hours (`refresh` of `deploy-nas profile`)",
        )
    try:
        percent = float(margin.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= _MOST_MARGIN_PERCENT:
        raise OptionError(
            f"must be {SLOWEST_SEEN} or 0 to {_MOST_MARGIN_PERCENT:g} percent, is {margin!r}",
            subject="margin",
        )
    return 1.0 + percent / 100.0


def _named(source: GivenPredictor | None) -> str | None:
    """A predictor as result files name it."""
    return (
        source
        if source is None or isinstance(source, str)
        else str(source)
        if isinstance(source, Path)
        else _OBJECT
    )


def predictor_for(profile: Profile, source: GivenPredictor | None, anchors: Sequence[str] = ()) -> Predicts:
    """The requested accuracy predictor, or the space's own, re-based on ``anchors``.

    Raises:
        OptionError: none is known, or it cannot be re-based: it is a program's own.
        MismatchError: it is of another space.
    """
    if source == _OBJECT:
        raise OptionError(
            "was an object of a program, which no file holds", subject="predictor", hint="give it again"
        )
    if not isinstance(source, str | Path | None):
        return _of_program(profile, source, anchors)
    if source is None and profile.space.default_predictor is None:
        raise OptionError(
            f"{profile.space.id} comes without a predictor",
            subject="predictor",
            hint="name one: PATH, the folder of a trained supernet, or pretrained for OFA's published ones",
        )
    predictor = load_accuracy_predictor(profile.space, source or "embedded")
    return anchored(predictor, *load_anchors(profile.space, anchors)) if anchors else predictor


def _of_program(
    profile: Profile, source: OwnAccuracy | AccuracyPredictor, anchors: Sequence[str]
) -> Predicts:
    if not isinstance(source, AccuracyPredictor):
        if anchors:
            raise OptionError("re-base predictors of files, not your own", subject="anchors")
        return source if isinstance(source, OwnPredictor) else OwnPredictor(space=profile.space, given=source)
    if source.space.id != profile.space.id:
        raise MismatchError(
            f"is of space {source.space.id}, the profile of {profile.space.id}", subject="predictor"
        )
    return anchored(source, *load_anchors(profile.space, anchors)) if anchors else source


def predictor_source(
    profile: Profile, predictor: GivenPredictor | None, space: str | None
) -> GivenPredictor | None:
    """The named predictor, or the folder ``space`` of a trained supernet, which has one.

    Raises:
        MismatchError: ``space`` is not the profile's.
    """
    of_same_id(space, profile.space)
    return space if predictor is None and space is not None and is_supernet(space) else predictor


def ends_ms(profile: Profile) -> tuple[float, float]:
    """Predicted latency of the smallest and of the largest subnet that was profiled, ms."""
    space = profile.space
    ends = [space.smallest(profile.image_sizes[0]), space.largest(profile.image_sizes[-1])]
    low, high = profile.latency_ms(space.encode(ends))
    return float(low), float(high)


def load_devices(
    profiles: Sequence[GivenProfile], max_latency_ms: Sequence[float]
) -> tuple[Profile, float | None, tuple[OtherDevice, ...]]:
    """The first device with its budget, and the others with theirs, in the order given.

    Raises:
        OptionError: some budgets, but not one per profile.
        RecordError: a profile that cannot be read.
    """
    if len(max_latency_ms) not in (0, len(profiles)):
        raise OptionError(
            f"{len(profiles)} profile(s) and {len(max_latency_ms)} latency budget(s)",
            subject="max_latency_ms",
            hint="give one for each profile, in the same order",
        )
    budgets: list[float | None] = [*max_latency_ms] or [None] * len(profiles)
    loaded = [profile_given(one) for one in profiles]
    names = [_device_name(one) for one in profiles]
    others = [
        OtherDevice(profile=profile, name=name, max_latency_ms=budget)
        for profile, name, budget in zip(loaded[1:], names[1:], budgets[1:], strict=True)
    ]
    return loaded[0], budgets[0], tuple(others)


def _device_name(given: GivenProfile) -> str:
    """The name of a profile's file; of a value, its id."""
    if isinstance(given, Profile):
        return given.id
    return name_text(Path(given).name).removesuffix(".json").removesuffix(".profile")


def generator(seed: int) -> np.random.Generator:
    """A PCG64 generator: numpy keeps its stream the same across releases and platforms."""
    return np.random.Generator(np.random.PCG64(seed))
