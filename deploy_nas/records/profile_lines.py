"""A profile in a few lines, for terminals and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy_nas.records.profile import Profile


def profile_lines(profile: Profile) -> str:
    """A profile in a few lines."""
    on, held_out, noise = profile.fingerprint, profile.validation, profile.noise
    sizes = ", ".join(map(str, profile.image_sizes))
    if profile.imported is not None:
        return (
            f"profile {profile.id}: {profile.space.id}, image sizes {sizes}\n"
            f"device: {on.cpu}, IMPORTED from {profile.imported.format} ({len(profile.rows)} rows)\n"
            "UNVALIDATED: no network was measured against it, so its predictions have no bound"
        )
    lines = [
        f"profile {profile.id}: {profile.space.id}, image sizes {sizes}",
        f"device: {on.cpu}, {on.cores} cores, {on.threads} thread(s){', pinned' if on.pinned else ''}, "
        f"{on.provider}, {on.runtime} {on.runtime_version}, {on.precision}",
        f"timed {profile.created} in {profile.duration_s:.0f} s: {_timed(profile)}",
        f"noise: differences under {noise.resolution_percent:.1f}% are noise here; "
        f"the speed drifted by {noise.drift_percent:.1f}%",
    ]
    if on.browser is not None:
        lines.insert(2, f"browser: {on.browser}, {on.build}")
    if noise.clock_ms is not None:
        lines.append(f"clock: in steps of {noise.clock_ms:.3g} ms; shorter runs were timed several at once")
    if held_out is not None:
        lines.append(
            f"validation on {held_out.networks} other networks: "
            f"mean error {held_out.mean_error_percent:.2f}%, worst {held_out.worst_error_percent:.2f}%, "
            f"{held_out.within_5_percent:.0f}% within 5%, {held_out.within_10_percent:.0f}% within 10%, "
            f"rank correlation {held_out.rank_correlation:.4f}"
        )
    if profile.speeds:
        lines.append(speed_line(profile))
    lines += [f"UNSTABLE: {fault}" for fault in profile.faults] or ["verdict: stable"]
    return "\n".join(lines)


def _timed(profile: Profile) -> str:
    if profile.carried is None:
        return f"{len(profile.rows)} layers"
    parts = [
        f"{prior.profile} ({prior.fingerprint}; {100 * prior.share:.0f}%)" for prior in profile.carried.priors
    ]
    carried = f"{len(profile.rows)} layers CARRIED OVER from {', '.join(parts)}"
    return f"{profile.carried.networks} networks; {carried}"


def speed_line(profile: Profile) -> str:
    """The speeds of a profile's device over time, in one line."""
    low, high = (100.0 * (factor - 1.0) for factor in (min(profile.factors), max(profile.factors)))
    last, checks = profile.speeds[-1], len(profile.speeds)
    more = "more" if last.percent >= 0 else "less"
    return (
        f"speed: checked {checks} time{'' if checks == 1 else 's'}, last {last.created}: networks take "
        f"{abs(last.percent):.1f}% {more} time than when profiled ({low:+.1f}% to {high:+.1f}% over time)"
    )
