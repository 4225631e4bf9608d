"""What a report says in words: facts, warnings, and the commands to repeat it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.records.profile import Profile
from deploy_nas.report.page import Point

if TYPE_CHECKING:
    from deploy_nas.deploy.verify import Verification


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


def warnings_about(profile: Profile, verified: Verification | None, verdict: str) -> list[str]:
    """Sentences that must be read before the figures are believed."""
    said = []
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
            f"--image-sizes {sizes} -o {q['profile']}"
        )
    if "picked" in p:
        search = [
            f"deploy-nas pareto --profile {q['profile']} --pick {p['picked']} --pick-output {q['best']}"
        ]
    else:
        search = _search_command(p, q, asked or {})
    if asked and asked.get("predictor"):
        search.append(f"--predictor {shlex.quote(str(asked['predictor']))}")
    lines.append(" ".join([*search, f"--seed {p.get('seed', 0)}"]))
    lines.append(f"deploy-nas export {q['best']} -o {q['model']}")
    lines.append(f"deploy-nas verify {q['model']} --profile {q['profile']}")
    lines.append(
        f"deploy-nas report {q['best']} --profile {q['profile']} --model {q['model']} -o {q['report']}"
    )
    return lines


def _search_command(p: dict[str, Any], q: dict[str, str], asked: dict[str, Any]) -> list[str]:
    search = [f"deploy-nas search --profile {q['profile']} -o {q['best']}"]
    budget = p.get("budget_ms")
    if budget is not None:
        search.append(f"--max-latency-ms {budget:g}")
    options = {"millionMACs": "macs-millions", "params_million": "params-millions"}
    options |= {"KBPeakMemory": "peak-memory-kb", "model_mb": "model-mb"}
    for figure, bound in asked.get("budgets", {}).items():
        if figure in options:
            search.append(f"--max-{options[figure]} {bound:g}")
    if asked.get("measure_top"):
        search.append(f"--measure-top {asked['measure_top']}")
    return search
