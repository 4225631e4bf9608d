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
        f"timed {profile.created} in {profile.duration_s:.0f} s: {len(profile.rows)} layers",
        f"noise: differences under {noise.resolution_percent:.1f}% are noise here; "
        f"the speed drifted by {noise.drift_percent:.1f}%",
    ]
    if held_out is not None:
        lines.append(
            f"validation on {held_out.networks} other networks: "
            f"mean error {held_out.mean_error_percent:.2f}%, worst {held_out.worst_error_percent:.2f}%, "
            f"{held_out.within_5_percent:.0f}% within 5%, {held_out.within_10_percent:.0f}% within 10%, "
            f"rank correlation {held_out.rank_correlation:.4f}"
        )
    lines += [f"UNSTABLE: {fault}" for fault in profile.faults] or ["verdict: stable"]
    return "\n".join(lines)
