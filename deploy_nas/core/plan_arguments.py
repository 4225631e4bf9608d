"""The arguments of a profile's plan, from which the same plan can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy_nas.core.fields import Fields
from deploy_nas.core.precision import FP32

_MOST_NETWORKS = 10_000
_MOST_SIZES = 100
_LARGEST_SIDE = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanArguments:
    """The arguments of ``profiling.plan.ProfilePlan``, the space by its id.

    Args:
        space: id of the search space.
        image_sizes: sides to profile, ascending.
        fit_per_size: networks per side that the table is fitted on.
        validation_per_size: networks per side that are held out.
        block_units: networks held open at once.
        seed: draws the networks.
        precision: of the networks.
        activations: number format of INT8's activations.
        only: ids of the networks to time; empty: all, and every layer alone.
    """

    space: str
    image_sizes: tuple[int, ...]
    fit_per_size: int
    validation_per_size: int
    block_units: int
    seed: int
    precision: str = FP32
    activations: str = "uint8"
    only: tuple[str, ...] = ()

    def to_json(self) -> Mapping[str, object]:
        """The object in files."""
        return {
            "space": self.space,
            "image_sizes": list(self.image_sizes),
            "fit_per_size": self.fit_per_size,
            "validation_per_size": self.validation_per_size,
            "block_units": self.block_units,
            "seed": self.seed,
            "precision": self.precision,
            "activations": self.activations,
            **({"only": list(self.only)} if self.only else {}),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> PlanArguments:
        """From a file's object; raises :class:`RecordError` naming the key.

        The plan is made again from them, so they are bounded: no plan has 10,000 networks.
        """
        image_sizes = tuple(fields.integers("image_sizes"))
        if not 1 <= len(image_sizes) <= _MOST_SIZES or not all(0 < s <= _LARGEST_SIDE for s in image_sizes):
            raise fields.wrong("image_sizes", f"1 to {_MOST_SIZES} sides of 1 to {_LARGEST_SIDE} pixels")
        most = _MOST_NETWORKS // len(image_sizes)
        return cls(
            space=fields.text("space"),
            image_sizes=image_sizes,
            fit_per_size=fields.integer("fit_per_size", 0, most),
            validation_per_size=fields.integer("validation_per_size", 0, most),
            block_units=fields.integer("block_units", 1, _MOST_NETWORKS),
            seed=fields.integer("seed", 0),
            precision=fields.optional_text("precision") or FP32,
            activations=fields.optional_text("activations") or "uint8",
            only=tuple(fields.texts("only")) if fields.holds("only") else (),
        )
