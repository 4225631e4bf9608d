"""The making of a predictor: which subnets it was fitted to, and its quality on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy_nas.accuracy.heldout import HeldOut
from deploy_nas.core.fields import Fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """The data and settings behind a predictor; ``None`` where a file does not say.

    Args:
        held_out: figures on subnets kept out of training.
        samples: number of measured subnets it was fitted to.
        noise_points: standard deviation of the measurement noise, in points of top-1.
        off_teacher_points: largest root mean square difference of a member from its teacher, in points.
        weights: hash of the supernet's weights.
        images: hash of the images the subnets were measured on.
        image_count: number of those images.
        calibration: hash of the images that recalibrated batch norm; empty for none.
        seed: seed of the fit.
        ensemble: number of members.
        extra: unknown keys of a file, kept when it is written again.
    """

    held_out: HeldOut | None = None
    samples: int | None = None
    noise_points: float | None = None
    off_teacher_points: float | None = None
    weights: str | None = None
    images: str | None = None
    image_count: int | None = None
    calibration: str | None = None
    seed: int | None = None
    ensemble: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The object in files; unknown values are left out."""
        value: dict[str, object] = {
            "held_out": None if self.held_out is None else self.held_out.to_json(),
            "samples": self.samples,
            "noise_points": self.noise_points,
            "off_teacher_points": self.off_teacher_points,
            "weights": self.weights,
            "images": self.images,
            "image_count": self.image_count,
            "calibration": self.calibration,
            "seed": self.seed,
            "ensemble": self.ensemble,
            **self.extra,
        }
        return {key: known for key, known in value.items() if known is not None}

    @classmethod
    def from_json(cls, fields: Fields) -> Making:
        """From a file's object, which may lack keys; raises :class:`RecordError` for one of a wrong type."""
        return cls(
            held_out=HeldOut.from_json(fields.fields("held_out")) if fields.holds("held_out") else None,
            samples=fields.optional_integer("samples", 0),
            noise_points=fields.optional_number("noise_points"),
            off_teacher_points=fields.optional_number("off_teacher_points"),
            weights=fields.optional_text("weights"),
            images=fields.optional_text("images"),
            image_count=fields.optional_integer("image_count", 0),
            calibration=fields.optional_text("calibration"),
            seed=fields.optional_integer("seed"),
            ensemble=fields.optional_integer("ensemble", 1),
            extra={key: value for key, value in fields.value.items() if key not in cls.__dataclass_fields__},
        )
