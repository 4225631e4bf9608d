"""From a folder of images and latency budgets to verified networks: profile, train, search, tune, export.

Each stage is resumed by the same call: what its files hold of the same question is not done again.

================================  =============================================================
``profile.json``                  of this device, unless a profile is given
``supernet/``                     the trained supernet (``records.supernet``); all budgets share it
``8ms/build.json``                what is done for the budget of 8 ms, and the result
``8ms/best.json``                 the subnet, as searched
``8ms/tuned.safetensors``         its weights, if fine-tuning made it better
``8ms/best.onnx``                 the exported file; ``best.int8.onnx`` beside it where INT8 pays
``8ms/report.html``, ``bundle/``  the report, and all that a device needs
================================  =============================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy_nas.adapters.images import load_images
from deploy_nas.core.errors import BudgetError, ImagesError, MismatchError, OptionError
from deploy_nas.core.space import Space
from deploy_nas.records.files import make_folder
from deploy_nas.records.profile import Profile
from deploy_nas.search.budgets import parse_budgets
from deploy_nas.training.launch import is_first
from deploy_nas.workflows.build_budget import BudgetStages, BuildRequest, Built
from deploy_nas.workflows.given import profile_given
from deploy_nas.workflows.profile import ProfileRequest, profile_device
from deploy_nas.workflows.question import LATENCY, SearchRequest, ends_ms
from deploy_nas.workflows.report import Commands
from deploy_nas.workflows.stages import Log, Progress
from deploy_nas.workflows.train import TrainRequest, check_training, space_for, train
from deploy_nas.workflows.training_images import look_at

__all__ = ["BuildRequest", "Built", "build", "check_budgets", "training_for"]

SUPERNET = "supernet"
# Half of the largest subnet's latency, if no budget is named.
_DEFAULT_SHARE = 0.5


def training_for(output: Path, request: TrainRequest) -> TrainRequest:
    """The request, with the supernet's folder inside ``output``."""
    return replace(request, output=output / SUPERNET)


def build(
    request: BuildRequest,
    log: Log | None = None,
    progress: Progress | None = None,
    commands: Callable[[Mapping[str, Path]], Commands] | None = None,
) -> list[Built]:
    """Build a network for each budget; see the module for the files.

    Args:
        request: what to build.
        log: called with a line for each thing to know.
        progress: called as it goes on.
        commands: makes the commands that a report shows from the paths of "profile", "best", "model" and
            "report".

    Raises:
        BudgetError: an invalid budget, or one below the fastest subnet; raised before any training.
        InputError: unusable images, options or files.
    """
    say, said = log or (lambda line: None), progress or (lambda *_: None)
    check_request(request)
    if not is_first():
        train(request.training, say, said)  # which ends this process
    make_folder(request.output)
    space = space_for(request.training)
    if request.test is not None:
        check_test_images(request.test, request.training.images)
    begun = time.monotonic()
    profile = _profile(request, space, say, said)
    say(profile_verdict(profile))
    budgets_ms = [*request.budgets_ms] or [_default_budget_ms(profile)]
    check_budgets(profile, budgets_ms)
    stages = {"profile": time.monotonic() - begun}
    begun = time.monotonic()
    trained = train(request.training, say, said)
    stages["train"] = time.monotonic() - begun
    return [
        BudgetStages(request, trained, profile, budget_ms, say, said).build(stages, commands)
        for budget_ms in budgets_ms
    ]


def check_request(request: BuildRequest) -> None:
    """Raise for an option out of range, before anything is read or timed.

    Raises:
        BudgetError: an invalid budget.
        OptionError: another option.
    """
    for budget_ms in request.budgets_ms:
        parse_budgets({LATENCY: budget_ms}, [LATENCY])
    check_training(request.training)
    if not request.training.subnets:
        raise OptionError("must be at least 30: the search needs an accuracy predictor", subject="subnets")
    if not 0 <= request.finetune_epochs < 1e4:
        raise OptionError(f"must be 0 to 10,000, is {request.finetune_epochs}", subject="finetune_epochs")
    if not 0 <= request.max_accuracy_drop <= 100:
        raise OptionError(
            f"must be from 0 to 100, is {request.max_accuracy_drop}", subject="max_accuracy_drop"
        )


def check_test_images(test: Path, images: Path) -> None:
    """Raise :class:`ImagesError` unless the test images are of classes that are trained."""
    classes = look_at(images).classes
    if odd := sorted(set(load_images(test, limit_per_class=1, size=32).classes) - set(classes)):
        raise ImagesError(f"class {odd[0]!r} is not in the training images", subject=str(test))


def _profile(request: BuildRequest, space: Space, say: Log, said: Progress) -> Profile:
    """The given profile, the one made before, or a new one."""
    path = request.profile_path
    if request.profile is not None or path.is_file():
        profile = profile_given(request.profile or path)
        if profile.space.id != space.id:
            raise MismatchError(
                f"is of space {profile.space.id}, not {space.id}",
                subject=profile.id if request.profile is profile else str(path),
                hint=f"profile {space.id}, or remove the file to have that done",
            )
        return profile
    say(f"profile: {space.id} on this device, some minutes; leave the machine alone meanwhile")

    def on_network(done: int, total: int, what: str) -> None:
        said("profiling", done, total, None)

    asked = ProfileRequest(
        space=space.id, output=path, threads=request.threads, quick=request.quick, seed=request.seed
    )
    return profile_device(asked, on_network)


def profile_verdict(profile: Profile) -> str:
    """How far the profile's predictions can be trusted, in a line."""
    held_out = profile.validation
    said = "profile: not validated"
    if held_out is not None:
        said = (
            f"profile: mean error {held_out.mean_error_percent:.1f}% on {held_out.networks} other networks, "
            f"worst {held_out.worst_error_percent:.1f}%"
        )
    return said if profile.stable else f"{said}; UNSTABLE: {'; '.join(profile.faults)}"


def _default_budget_ms(profile: Profile) -> float:
    return float(f"{_DEFAULT_SHARE * ends_ms(profile)[1]:.2g}")


def check_budgets(profile: Profile, budgets_ms: Sequence[float]) -> None:
    """Raise :class:`BudgetError` for a budget that the smallest subnet does not keep by its bound."""
    low, high = ends_ms(profile)
    least = low * max(1.0, profile.upper_ratio(SearchRequest(budgets={}).confidence))
    for budget_ms in budgets_ms:
        if budget_ms < least:
            raise BudgetError(
                f"{budget_ms:g} ms is below the fastest subnet, which needs up to {least:.3g} ms here",
                subject="max_latency_ms",
                hint=f"the largest takes about {high:.3g} ms; name a budget between them",
            )
