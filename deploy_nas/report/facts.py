"""The text of a report: the winner's tiles, the profile's facts, and the warnings to read first."""

from __future__ import annotations

from collections.abc import Sequence

from deploy_nas.core.figures import MACS, PARAMS, PEAK_MEMORY
from deploy_nas.core.fingerprint import Difference
from deploy_nas.core.measured import Top1
from deploy_nas.records.profile import Profile
from deploy_nas.report.page import Point

NOTABLE_SPEED = 0.05  # a relative change of speed that deserves a sentence


def facts_of(
    winner: Point, budget_ms: float | None, verdict: str, top1: Top1 | None = None
) -> list[tuple[str, str, str]]:
    """The tiles: name, value and explanation; ``top1`` as measured, if it was."""
    bound = "no bound: unvalidated" if winner.bound_ms is None else f"at most {winner.bound_ms:.4g} ms"
    facts = [("predicted top-1", f"{winner.top1:.2f}%", f"at {winner.image_size} px")]
    if top1 is not None:
        said = f"95% interval {_interval(top1)}, {_images(top1)}"
        facts.append(("measured top-1", f"{top1.percent:.2f}%", said))
    facts.append(("predicted latency", f"{winner.latency_ms:.4g} ms", bound))
    if winner.measured_ms is not None:
        error = f"predicted {100 * (winner.latency_ms / winner.measured_ms - 1):+.1f}%"
        facts.append(("measured latency", f"{winner.measured_ms:.4g} ms", error))
    if budget_ms is not None:
        facts.append(("budget", f"{budget_ms:.4g} ms", verdict or "not measured yet"))
    figures = winner.figures
    facts.append(("MACs", f"{figures[MACS.name]:.4g} M", PARAMS.shown(figures[PARAMS.name])))
    facts.append(("peak memory", PEAK_MEMORY.shown(figures[PEAK_MEMORY.name]), "activations"))
    return facts


def _interval(top1: Top1) -> str:
    low, high = top1.interval_percent
    return f"{low:.1f} to {high:.1f}%"


def _images(top1: Top1) -> str:
    return f"{top1.images:,} image{'s' if top1.images != 1 else ''}"


def top1_warnings(predicted_percent: float, top1: Top1 | None) -> list[str]:
    """A sentence if the prediction lies outside the 95% interval of the measurement."""
    if top1 is None:
        return []
    low, high = top1.interval_percent
    if low <= predicted_percent <= high:
        return []
    return [
        f"The predicted top-1, {predicted_percent:.2f}%, lies outside the 95% interval of the measured "
        f"one: {_interval(top1)} on {_images(top1)}."
    ]


def threads_of(profile: Profile) -> str:
    """``1 thread``, ``2 threads``."""
    threads = profile.fingerprint.threads
    return f"{threads} thread{'s' if threads != 1 else ''}"


def profile_facts(profile: Profile) -> list[tuple[str, str]]:
    """Noise and validation, as (name, value)."""
    on, held_out, noise = profile.fingerprint, profile.validation, profile.noise
    facts = [
        ("device", f"{on.cpu}, {on.cores} cores"),
        ("image sizes", ", ".join(map(str, profile.image_sizes))),
    ]
    if profile.imported is not None:
        source = f"imported from {profile.imported.format}, unvalidated"
        return [*facts, ("source", source), ("rows", str(len(profile.rows)))]
    facts += [
        ("ran on", f"{on.provider}, {threads_of(profile)}{', pinned' if on.pinned else ''}"),
        ("timed", f"{profile.created}, in {profile.duration_s:.0f} s, {_timed(profile)}"),
        ("noise", f"differences under {noise.resolution_percent:.1f}% cannot be told apart"),
        ("drift", f"{noise.drift_percent:.1f}% between the slowest and the fastest stretch"),
        *_speed(profile),
        ("verdict", "stable" if profile.stable else "; ".join(profile.faults)),
    ]
    if held_out is not None:
        mean, worst = held_out.mean_error_percent, held_out.worst_error_percent
        within = f"{held_out.within_5_percent:.0f}%; within 10%: {held_out.within_10_percent:.0f}%"
        facts += [
            ("validated on", f"{held_out.networks} networks never used in the fit that predicted them"),
            ("mean error", f"{mean:.2f}%, worst {worst:.2f}%"),
            ("within 5%", within),
            ("rank correlation", f"{held_out.rank_correlation:.4f}"),
            ("bound at 95%", f"{100 * (profile.upper_ratio(0.95) - 1):+.1f}% on a prediction"),
        ]
    return facts


def _timed(profile: Profile) -> str:
    if profile.carried is None:
        return f"{len(profile.rows)} layers"
    origins = ", ".join(f"{p.profile} ({p.fingerprint})" for p in profile.carried.priors)
    return (
        f"{profile.carried.networks} networks; its {len(profile.rows)} layers are carried over from {origins}"
    )


def _speed(profile: Profile) -> list[tuple[str, str]]:
    """The last check of the speed, and the range over time; empty without any."""
    if not profile.speeds:
        return []
    last, low, high = profile.speeds[-1], min(profile.factors), max(profile.factors)
    over = f"{100 * (low - 1):+.1f}% to {100 * (high - 1):+.1f}% over time"
    more = "more" if last.percent >= 0 else "less"
    return [("speed", f"on {last.created}, networks took {abs(last.percent):.1f}% {more} time ({over})")]


def warnings_about(
    profile: Profile,
    verdict: str,
    *,
    speed: float | None = None,
    differences: Sequence[Difference] = (),
    faults: Sequence[str] = (),
    foreign: bool = False,
) -> list[str]:
    """Sentences to read before trusting the figures.

    Args:
        profile: of the device reported on.
        verdict: "kept", "MISSED", or empty if nothing was measured.
        speed: the device's when the model was measured, relative to its speed when profiled.
        differences: between the profile's device and the one measured on.
        faults: why the measurement cannot be relied on.
        foreign: whether the subnet was found with another profile than this.
    """
    said = []
    if foreign:
        said.append("The subnet was found with another profile: its budget does not apply here.")
    if profile.imported is not None:
        said.append(
            f"The profile was imported: a table of {profile.fingerprint.cpu} that others timed. Its errors "
            "are not known, and its predictions have no bound."
        )
    elif not profile.stable:
        said.append(f"The profile is unstable: {'; '.join(profile.faults)}.")
    if verdict == "MISSED":
        said.append("The measured latency misses the budget.")
    if faults:
        said.append(f"The measurement was disturbed: {'; '.join(faults)}.")
    if speed is not None and abs(speed - 1) > NOTABLE_SPEED:
        said.append(f"The device ran at {speed:.2f} times the speed at which it was profiled.")
    if differences:
        said.append("It was measured on another device or setup: " + "; ".join(map(str, differences)) + ".")
    return said
