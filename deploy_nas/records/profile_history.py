"""A profile's past: the profiles that it was carried over from, and the device's speed at later times."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.seals import check_seal, sealed

_MOST_FACTOR = 1000.0
_MOST_MS = 1e7


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """A profile whose table was carried over.

    Args:
        profile: its id.
        sha256: of its content.
        fingerprint: of its device.
        share: of the new table that comes from it; shares add up to 1.
    """

    profile: str
    sha256: str
    fingerprint: Fingerprint
    share: float

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {
            "profile": self.profile,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint.to_json(),
            "share": self.share,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Prior:
        """From a file's object; raises :class:`RecordError` naming the key."""
        return cls(
            profile=fields.text("profile"),
            sha256=fields.text("sha256"),
            fingerprint=Fingerprint.from_json(fields.fields("fingerprint")),
            share=fields.number("share", most=1.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """The origin of a carried-over table: the profiles, and how many networks were timed on the device."""

    networks: int
    priors: tuple[Prior, ...]

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {"networks": self.networks, "from": [prior.to_json() for prior in self.priors]}

    @classmethod
    def from_json(cls, fields: Fields) -> Carried:
        """From a file's object; raises :class:`RecordError` naming the key."""
        carried = cls(
            networks=fields.integer("networks", 1), priors=tuple(map(Prior.from_json, fields.objects("from")))
        )
        if not carried.priors:
            raise fields.wrong("from", "a list of one or more profiles")
        return carried


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """A check of the device's speed after it was profiled.

    Args:
        created: when, ISO 8601.
        factor: how many times as long networks took as when they were profiled.
        sentinel_ms: latency of the sentinel.
        ratios: of each network that was timed: its latency over that which the table predicts.
    """

    created: str
    factor: float
    sentinel_ms: float
    ratios: tuple[float, ...]

    @property
    def percent(self) -> float:
        """How much longer networks took than when they were profiled, percent; negative: less long."""
        return 100.0 * (self.factor - 1.0)

    def to_json(self) -> dict[str, object]:
        """The object in files, with its digest: the profile's id is of the table alone."""
        return sealed(
            {
                "created": self.created,
                "factor": self.factor,
                "sentinel_ms": self.sentinel_ms,
                "ratios": list(self.ratios),
            }
        )

    @classmethod
    def from_json(cls, fields: Fields) -> Speed:
        """From a file's object.

        Raises:
            RecordError: a missing or wrong key, which is named.
            MismatchError: it was edited.
        """
        check_seal(fields, required=True, hint="restore the profile, or profile again")
        speed = cls(
            created=fields.text("created"),
            factor=fields.number("factor", positive=True, most=_MOST_FACTOR),
            sentinel_ms=fields.number("sentinel_ms", positive=True, most=_MOST_MS),
            ratios=tuple(fields.numbers("ratios", positive=True, most=_MOST_FACTOR)),
        )
        if not speed.ratios:
            raise fields.wrong("ratios", "a list of one or more ratios")
        return speed
