"""The commands that lead to a subnet, for reports that show how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy_nas.core.figures import ANALYTICAL, LATENCY
from deploy_nas.core.fingerprint import CPU_PROVIDER, Fingerprint
from deploy_nas.core.precision import FP32
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.reader import shell_quoted
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.records.result import Asked
from deploy_nas.workflows.question import DEFAULT_CONFIDENCE, DEFAULT_HYPER


def commands_to_repeat(
    paths: Mapping[str, Path],
) -> Callable[[ArchitectureRecord, Profile, Asked], Sequence[str]]:
    """A function that gives the commands that make these files: profile, search or pareto, export, verify,
    report.

    Args:
        paths: of "profile", "best", "model" and "report"; and of "space" (a trained supernet's folder) and
            "images", where there are any.
    """
    quoted = {name: shell_quoted(path) for name, path in paths.items()}

    def commands(record: ArchitectureRecord, profile: Profile, asked: Asked) -> list[str]:
        said, lines = record.predicted, []
        if profile.imported is None:
            lines.append(_profile_command(profile, quoted))
        if said.profile in (
            None,
            profile.id,
        ):  # otherwise another device's profile came first: another search
            find = _pareto_command if said.picked is not None else _search_command
            lines.append(" ".join([*find(said, quoted, asked), *_question_options(said, asked, profile)]))
        given = {name: f" --{name} {quoted[name]}" for name in ("space", "images") if name in quoted}
        space = given.get("space", "")
        tuned = f" --weights {quoted['weights']}" if "weights" in quoted else ""
        weights = space + tuned or ("" if profile.space.default_weights is not None else " --weights WEIGHTS")
        best, model = quoted["best"], quoted["model"]
        shown = f"--model {model}{given.get('images', '')}{space} -o {quoted['report']}"
        return [
            *lines,
            f"deploy-nas export {best} -o {model}{weights}",
            f"deploy-nas verify {model} --profile {quoted['profile']}",
            f"deploy-nas report {best} --profile {quoted['profile']} {shown}",
        ]

    return commands


def _profile_command(profile: Profile, quoted: Mapping[str, str]) -> str:
    sizes = ",".join(map(str, profile.image_sizes))
    origins = () if profile.carried is None else profile.carried.priors
    like = "".join(
        f" --like {prior.profile}.profile.json" for prior in origins
    )  # no file is known, but the id
    return (
        f"deploy-nas profile --space {profile.space.id} --threads {profile.fingerprint.threads} "
        f"--image-sizes {sizes}{_device_options(profile.fingerprint)}{like} -o {quoted['profile']}"
    )


def _device_options(on: Fingerprint) -> str:
    said = ""
    if on.precision != FP32:
        said += f" --precision {shlex.quote(on.precision)}"
    if on.provider != CPU_PROVIDER:
        said += f" --provider {shlex.quote(on.provider)}"
    for key, value in on.provider_options.items():
        said += f" --provider-option {shlex.quote(f'{key}={value}')}"
    return said


def _pareto_command(said: Predicted, quoted: Mapping[str, str], asked: Asked) -> list[str]:
    words = [f"deploy-nas pareto --profile {quoted['profile']}"]
    if LATENCY.name in asked.budgets:
        words.append(f"{LATENCY.option} {asked.budgets[LATENCY.name]:g}")
    if asked.evaluations is not None:
        words.append(f"--evaluations {asked.evaluations}")
    return [*words, f"--pick {shlex.quote(said.picked or '')} --pick-output {quoted['best']}"]


def _search_command(said: Predicted, quoted: Mapping[str, str], asked: Asked) -> list[str]:
    words = [f"deploy-nas search --profile {quoted['profile']} -o {quoted['best']}"]
    if said.budget_ms is not None:
        words.append(f"{LATENCY.option} {said.budget_ms:g}")
    for option, name in (("population", "population_size"), ("generations", "max_time_budget")):
        if asked.hyper.get(name, DEFAULT_HYPER[name]) != DEFAULT_HYPER[name]:
            words.append(f"--{option} {asked.hyper[name]:g}")
    if asked.measure_top:
        words.append(f"--measure-top {asked.measure_top}")
    return words


def _question_options(said: Predicted, asked: Asked, profile: Profile) -> list[str]:
    """Options that search and pareto share, where they differ from the default."""
    words: list[str] = []
    for figure in asked.profiles:
        if figure != LATENCY.name:  # the file's name is known, its folder is not
            words.append(f"--profile {shlex.quote(figure.partition('@')[2])}.profile.json")
            if figure in asked.budgets:
                words.append(f"{LATENCY.option} {asked.budgets[figure]:g}")
    words += [f"{f.option} {asked.budgets[f.name]:g}" for f in ANALYTICAL if f.name in asked.budgets]
    if asked != Asked() and asked.confidence != DEFAULT_CONFIDENCE:
        words.append(f"--confidence {'none' if asked.confidence is None else format(asked.confidence, 'g')}")
    if asked.margin is not None:
        words.append(f"--margin {shlex.quote(asked.margin)}")
    sizes = profile.image_sizes if asked.image_sizes is None else asked.image_sizes
    if sorted(sizes) != sorted(profile.image_sizes):
        words.append(f"--image-sizes {','.join(map(str, sizes))}")
    if asked.bytes_per_element != 1:
        words.append(f"--bytes-per-element {asked.bytes_per_element}")
    if asked.predictor:
        words.append(f"--predictor {shlex.quote(asked.predictor)}")
    words += [f"--anchor {shlex.quote(anchor)}" for anchor in asked.anchors]
    if not profile.stable:
        words.append("--allow-unstable")
    return [*words, f"--seed {said.seed or 0}"]
