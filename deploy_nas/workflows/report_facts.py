"""What a report says in words: facts, warnings, and the commands to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploy_nas.core.precision import FP32
from deploy_nas.core.spaces import EMBEDDED
from deploy_nas.device.session import CPU_PROVIDER
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.report.page import Point
from deploy_nas.workflows.question import DEFAULT_CONFIDENCE, DEFAULT_HYPER, LATENCY

if TYPE_CHECKING:
    from deploy_nas.deploy.verify import Verification


def budgets_of(record: ArchitectureRecord, profile: Profile) -> tuple[bool, dict[str, float | None]]:
    """Whether a subnet was searched for on this profile first, and its latency budgets by profile."""
    p = record.predicted
    first = p.get("profile", profile.id)
    others = {other.get("profile"): other.get("budget_ms") for other in p.get("others", [])}
    return first == profile.id, {**others, first: p.get("budget_ms")}


def facts_of(
    record: ArchitectureRecord, winner: Point, budget_ms: float | None, verdict: str
) -> list[tuple[str, str, str]]:
    """The tiles: name, value and what to know of it."""
    error = ""
    if winner.measured_ms is not None:
        error = f"predicted {100 * (winner.latency_ms / winner.measured_ms - 1):+.1f}%"
    bound = "no bound: unvalidated" if winner.bound_ms is None else f"at most {winner.bound_ms:.4g} ms"
    facts = [
        ("predicted top-1", f"{winner.top1:.2f}%", f"at {winner.image_size} px"),
        ("predicted latency", f"{winner.latency_ms:.4g} ms", bound),
    ]
    if winner.measured_ms is not None:
        facts.append(("measured latency", f"{winner.measured_ms:.4g} ms", error))
    if budget_ms is not None:
        facts.append(("budget", f"{budget_ms:.4g} ms", verdict or "not measured yet"))
    memory = record.predicted.get("KBPeakMemory")
    facts.append(("MACs", f"{winner.macs:.4g} M", f"{winner.params:.3g} million parameters"))
    if isinstance(memory, int | float):
        facts.append(("peak memory", f"{memory:.4g} KB", "activations"))
    return facts


def threads_of(profile: Profile) -> str:
    """``1 thread``, ``2 threads``."""
    threads = profile.fingerprint["threads"]
    return f"{threads} thread{'s' if threads != 1 else ''}"


def profile_facts(profile: Profile) -> list[tuple[str, str]]:
    """Noise and validation, as (name, value)."""
    f, v, n = profile.fingerprint, profile.validation, profile.noise
    facts = [
        ("device", f"{f['cpu']}, {f['cores']} cores"),
        ("image sizes", ", ".join(map(str, profile.image_sizes))),
    ]
    if profile.imported is not None:
        source = profile.imported.get("format", "elsewhere")
        return [*facts, ("source", f"imported from {source}, unvalidated"), ("rows", str(len(profile.rows)))]
    facts += [
        ("ran on", f"{f['provider']}, {threads_of(profile)}{', pinned' if f['pinned'] else ''}"),
        ("timed", f"{profile.created}, in {profile.duration_s:.0f} s, {len(profile.rows)} layers"),
        ("noise", f"differences under {n.resolution_percent:.1f}% cannot be told apart"),
        ("drift", f"{n.drift_percent:.1f}% between the slowest and the fastest stretch"),
        ("verdict", "stable" if profile.stable else "; ".join(n.faults)),
    ]
    if v:
        facts += [
            ("validated on", f"{v['networks']:.0f} networks never used in the fit"),
            ("mean error", f"{v['mean_error_percent']:.2f}%, worst {v['worst_error_percent']:.2f}%"),
            ("within 5%", f"{v['within_5_percent']:.0f}%; within 10%: {v['within_10_percent']:.0f}%"),
            ("rank correlation", f"{v['rank_correlation']:.4f}"),
            ("bound at 95%", f"{100 * (profile.upper_ratio(0.95) - 1):+.1f}% on a prediction"),
        ]
    return facts


def warnings_about(
    profile: Profile, verified: Verification | None, verdict: str, *, foreign: bool = False
) -> list[str]:
    """Sentences that must be read before the figures are believed.

    ``foreign``: the subnet was searched for on another profile than this.
    """
    said = []
    if foreign:
        said.append("The subnet was found with another profile: its budget there is none here.")
    if profile.imported is not None:
        said.append(
            f"The profile was imported: a table of {profile.fingerprint['cpu']} that others timed. Nothing "
            "is known of its errors here, and its predictions have no bound."
        )
    elif not profile.stable:
        said.append(f"The profile doubts itself: {'; '.join(profile.noise.faults)}.")
    if verdict == "MISSED":
        said.append("The measured latency misses the budget.")
    if verified is not None and verified.speed is not None and abs(verified.speed - 1) > 0.05:
        said.append(f"The device ran at {verified.speed:.2f} of the speed it was profiled at.")
    if verified is not None and verified.differences:
        said.append("Measured on another device or set-up: " + "; ".join(verified.differences) + ".")
    return said


def commands_for(
    record: ArchitectureRecord,
    profile: Profile,
    *,
    paths: dict[str, str],
    asked: dict[str, Any] | None = None,
) -> list[str]:
    """The commands that lead to a subnet: profile, search, export, verify, report.

    ``paths`` names the files ("profile", "best", "model", "report"); ``asked`` is a search's, if known.
    """
    p, f = record.predicted, profile.fingerprint
    q = {name: shlex.quote(path) for name, path in paths.items()}
    lines = []
    if profile.imported is None:
        sizes = ",".join(map(str, profile.image_sizes))
        lines.append(
            f"deploy-nas profile --space {profile.space.id} --threads {f['threads']} "
            f"--image-sizes {sizes}{_device_options(f)} -o {q['profile']}"
        )
    if budgets_of(record, profile)[0]:  # with another device's profile first it was another question
        search = _pareto_command(p, q, asked or {}) if "picked" in p else _search_command(p, q, asked or {})
        lines.append(" ".join([*search, *_question_options(p, asked or {}, profile)]))
    weights = [] if profile.space.id == EMBEDDED else ["--weights WEIGHTS"]
    lines.append(" ".join([f"deploy-nas export {q['best']} -o {q['model']}", *weights]))
    lines.append(f"deploy-nas verify {q['model']} --profile {q['profile']}")
    lines.append(
        f"deploy-nas report {q['best']} --profile {q['profile']} --model {q['model']} -o {q['report']}"
    )
    return lines


def _device_options(fingerprint: Mapping[str, Any]) -> str:
    said = ""
    if (precision := str(fingerprint.get("precision", FP32))) != FP32:
        said += f" --precision {shlex.quote(precision)}"
    if (provider := str(fingerprint["provider"])) != CPU_PROVIDER:
        said += f" --provider {shlex.quote(provider)}"
    for key, value in (fingerprint.get("provider_options") or {}).items():
        said += f" --provider-option {shlex.quote(f'{key}={value}')}"
    return said


def _pareto_command(p: dict[str, Any], q: dict[str, str], asked: dict[str, Any]) -> list[str]:
    search = [f"deploy-nas pareto --profile {q['profile']}"]
    budgets = asked.get("budgets", {})
    if LATENCY in budgets:
        search.append(f"--max-latency-ms {budgets[LATENCY]:g}")
    if "evaluations" in asked:
        search.append(f"--evaluations {asked['evaluations']}")
    return [*search, f"--pick {shlex.quote(p['picked'])} --pick-output {q['best']}"]


def _search_command(p: dict[str, Any], q: dict[str, str], asked: dict[str, Any]) -> list[str]:
    search = [f"deploy-nas search --profile {q['profile']} -o {q['best']}"]
    budget = p.get("budget_ms")
    if budget is not None:
        search.append(f"--max-latency-ms {budget:g}")
    hyper = {**DEFAULT_HYPER, **asked.get("hyper", {})}
    for option, key in (("population", "population_size"), ("generations", "max_time_budget")):
        if hyper[key] != DEFAULT_HYPER[key]:
            search.append(f"--{option} {shlex.quote(str(hyper[key]))}")
    if asked.get("measure_top"):
        search.append(f"--measure-top {asked['measure_top']}")
    return search


def _question_options(p: dict[str, Any], asked: dict[str, Any], profile: Profile) -> list[str]:
    """What search and pareto take alike, where it is not what they take by themselves."""
    said, budgets = [], asked.get("budgets", {})
    for figure in asked.get("profiles", {}):
        if figure != LATENCY:  # the file's name is known, not its folder
            said.append(f"--profile {shlex.quote(figure.partition('@')[2])}.profile.json")
            if figure in budgets:
                said.append(f"--max-latency-ms {budgets[figure]:g}")
    options = {"millionMACs": "macs-millions", "params_million": "params-millions"}
    options |= {"KBPeakMemory": "peak-memory-kb", "model_mb": "model-mb"}
    said += [f"--max-{options[figure]} {bound:g}" for figure, bound in budgets.items() if figure in options]
    if asked.get("confidence", DEFAULT_CONFIDENCE) != DEFAULT_CONFIDENCE:
        level = asked["confidence"]
        said.append(f"--confidence {'none' if level is None else format(level, 'g')}")
    sizes = asked.get("image_sizes", profile.image_sizes)
    if sorted(sizes) != sorted(profile.image_sizes):
        said.append(f"--image-sizes {','.join(map(str, sizes))}")
    if asked.get("bytes_per_element", 1) != 1:
        said.append(f"--bytes-per-element {asked['bytes_per_element']}")
    if asked.get("predictor"):
        said.append(f"--predictor {shlex.quote(asked['predictor'])}")
    said += [f"--anchor {shlex.quote(anchor)}" for anchor in asked.get("anchors", ())]
    if not profile.stable:
        said.append("--allow-unstable")
    return [*said, f"--seed {p.get('seed', 0)}"]
