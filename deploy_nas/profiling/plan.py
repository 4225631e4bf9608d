"""The plan of a profile: every row alone, networks to fit the table on, and others to validate it on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deploy_nas.adapters.graphs import graph_form, timed_graph
from deploy_nas.core.errors import OptionError
from deploy_nas.core.layers import Layer
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.precision import FP32, INT8, PRECISIONS
from deploy_nas.core.space import IntArray, Space
from deploy_nas.core.spaces import get_space
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.core.walk import NamedLayers, weight_tensors
from deploy_nas.device.runner import SAME, SENTINEL, Unit

AA_UNITS = 6
LEAST_VALIDATION = 40
_MOST_MISSES = 500  # consecutive draws without a new network: the space has hardly any more


@dataclass(frozen=True, kw_only=True)
class ProfilePlan:
    """A plan for one space. Equal arguments give an equal plan; its ``id`` is in the journal's header.

    Args:
        space: the search space.
        image_sizes: sizes to profile, ascending.
        fit_per_size: networks per size that the table is fitted on.
        validation_per_size: other networks per size that it is validated on.
        block_units: networks that are open at the same time.
        seed: of the random networks.
        precision: "fp32" or "int8".
        activations: number format of INT8's activations, "uint8" or "int8".
        only: ids of the networks to time, to carry a table over; empty: everything. It leaves the ``id`` as
            it is, so that the whole plan can go on from their times.
    """

    space: Space
    image_sizes: tuple[int, ...]
    fit_per_size: int = 24
    validation_per_size: int = 14
    block_units: int = 12
    seed: int = 0
    precision: str = FP32
    activations: str = "uint8"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"must be {' or '.join(PRECISIONS)}, is {self.precision!r}", subject="precision"
            )
        self.space.image_size_indices(self.image_sizes)
        if not self.image_sizes or len(set(self.image_sizes)) != len(self.image_sizes):
            raise OptionError("must be one or more different sizes", subject="image_sizes")

    @cached_property
    def id(self) -> str:
        """Hash of everything that is timed."""
        body = [
            self.space.id,
            self.image_sizes,
            self.seed,
            [layer.key for layer in self.rows],
            self.fit.tolist(),
            self.validation.tolist(),
            *([] if self.precision == FP32 else [self.precision, self.activations]),
            self.graph_form,
        ]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()[:16]

    @cached_property
    def graph_form(self) -> str:
        """Digest of the form in which this deploy-nas builds graphs, taken from the smallest network.

        A profile does not apply to graphs of another form.
        """
        return graph_form(self._layers[SENTINEL], self.precision)

    @property
    def arguments(self) -> PlanArguments:
        """The arguments that make the same plan again (:func:`plan_of`)."""
        return PlanArguments(
            space=self.space.id,
            image_sizes=self.image_sizes,
            fit_per_size=self.fit_per_size,
            validation_per_size=self.validation_per_size,
            block_units=self.block_units,
            seed=self.seed,
            precision=self.precision,
            activations=self.activations,
            only=self.only,
        )

    # -- rows and networks ---------------------------------------------------------------------

    @cached_property
    def row_numbers(self) -> tuple[int, ...]:
        """The space's rows that occur at these image sizes."""
        mask = int(sum(1 << int(i) for i in self.space.image_size_indices(self.image_sizes)))
        return tuple(i for i, sizes in enumerate(self.space.row_sizes()) if int(sizes) & mask)

    @property
    def rows(self) -> list[Layer]:
        """The layers of these rows."""
        return [self.space.rows[i] for i in self.row_numbers]

    def _draw(self, rng: np.random.Generator, per_size: int, taken: set[bytes]) -> IntArray:
        """Random networks that are not in ``taken``: ``per_size`` per image size, fewer in small spaces."""
        chosen: list[IntArray] = []
        for size in self.image_sizes:
            got = missed = 0
            while got < per_size and missed < _MOST_MISSES:
                row = self.space.canonical(self.space.sample_encoded(rng, 1, [size]))
                if row.tobytes() in taken:
                    missed += 1
                    continue
                taken.add(row.tobytes())
                chosen.append(row)
                got, missed = got + 1, 0
        width = len(self.space.genes) + 1
        return np.concatenate(chosen) if chosen else np.empty((0, width), dtype=np.int64)

    @cached_property
    def _networks(self) -> tuple[IntArray, IntArray]:
        rng = np.random.default_rng(self.seed)
        extremes = [
            self.space.canonical(self.space.encode([extreme(size)]))
            for size in self.image_sizes
            for extreme in (self.space.smallest, self.space.largest)
        ]
        taken = {row.tobytes() for row in extremes}
        fit = self._draw(rng, max(0, self.fit_per_size - 2), taken)
        validation = self._draw(rng, self.validation_per_size, taken)
        if len(validation) < self.validation_per_size * len(self.image_sizes):
            # A small space: its networks are divided, since otherwise too few would be left for validation.
            both = np.concatenate([fit, validation])[rng.permutation(len(fit) + len(validation))]
            share = self.validation_per_size / (self.fit_per_size + self.validation_per_size)
            validation, fit = np.split(both, [round(share * len(both))])
        return np.concatenate([*extremes, fit]), validation

    @property
    def fit(self) -> IntArray:
        """Encoded networks to fit on."""
        return self._networks[0]

    @property
    def validation(self) -> IntArray:
        """Encoded networks to validate on."""
        return self._networks[1]

    # -- as units ------------------------------------------------------------------------------

    @cached_property
    def _layers(self) -> dict[str, NamedLayers]:
        layers: dict[str, NamedLayers] = {
            f"row:{self.space.rows[i].key}": [("row", self.space.rows[i])] for i in self.row_numbers
        }
        for kind, encoded in (("fit", self.fit), ("validation", self.validation)):
            for number, architecture in enumerate(self.space.decode(encoded)):
                layers[f"{kind}:{number}"] = self.space.layers(architecture)
        small = self.space.layers(self.space.smallest(min(self.image_sizes)))
        for name in (SENTINEL, *(f"{SAME}:{i}" for i in range(AA_UNITS))):
            layers[name] = small
        return layers

    def _unit(self, unit_id: str) -> Unit:
        int8 = self.precision == INT8
        tensors = self._graph(unit_id)[1] if int8 else weight_tensors(self._layers[unit_id])
        return Unit(id=unit_id, kind=unit_id.partition(":")[0], tensors=tensors)

    @property
    def sentinel(self) -> Unit:
        """The smallest network at the smallest image size."""
        return self._unit(SENTINEL)

    @cached_property
    def blocks(self) -> Sequence[Sequence[Unit]]:
        """A/A units, then rows (eight times as many per block, since they are small), then networks.

        Raises:
            OptionError: ``only`` names what is not a network of the plan.
        """
        if odd := next((i for i in self.only if i not in self._layers or not i.startswith("fit:")), None):
            raise OptionError(f"is not a network of the plan to fit a table to: {odd[:80]!r}", subject="only")
        timed = {*self.only, *(f"{SAME}:{i}" for i in range(AA_UNITS))} if self.only else self._layers.keys()
        units = [self._unit(i) for i in self._layers if i != SENTINEL and i in timed]
        blocks: list[list[Unit]] = [[u for u in units if u.kind == SAME]]
        rows = [u for u in units if u.kind == "row"]
        blocks += [rows[i : i + 8 * self.block_units] for i in range(0, len(rows), 8 * self.block_units)]
        networks = [u for u in units if u.kind in ("fit", "validation")]
        order = np.random.default_rng(self.seed + 1).permutation(len(networks))
        shuffled = [networks[int(i)] for i in order]
        blocks += [shuffled[i : i + self.block_units] for i in range(0, len(shuffled), self.block_units)]
        return blocks

    def model(self, unit_id: str) -> bytes:
        """The graph of one unit, its weights without values."""
        return self._graph(unit_id)[0]

    def _graph(self, unit_id: str) -> tuple[bytes, Mapping[str, TensorSpec]]:
        return timed_graph(self._layers[unit_id], self.precision, self.activations)


def plan_of(arguments: PlanArguments) -> ProfilePlan:
    """The plan with these arguments.

    Raises:
        UnknownSpaceError: this deploy-nas lacks the space.
        InputError: an image size or a precision is invalid.
    """
    return ProfilePlan(
        space=get_space(arguments.space),
        image_sizes=arguments.image_sizes,
        fit_per_size=arguments.fit_per_size,
        validation_per_size=arguments.validation_per_size,
        block_units=arguments.block_units,
        seed=arguments.seed,
        precision=arguments.precision,
        activations=arguments.activations,
        only=arguments.only,
    )


def make_plan(
    space: Space,
    image_sizes: Sequence[int] | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    precision: str = FP32,
    activations: str = "uint8",
) -> ProfilePlan:
    """The plan of a full profile, or of a quick one (about a third of the networks).

    A space with many rows is fitted on more networks, so that each row occurs in a few of them.
    """
    sizes = tuple(sorted(set(image_sizes))) if image_sizes is not None else space.profile_image_sizes
    count = max(1, len(sizes))
    full = max(24, -(-60 // count), len(space.rows) // len(space.image_sizes) // 6)
    return ProfilePlan(
        space=space,
        image_sizes=sizes,
        fit_per_size=max(8, -(-36 // count)) if quick else full,
        validation_per_size=-(-20 // count) if quick else -(-LEAST_VALIDATION // count),
        seed=seed,
        precision=precision,
        activations=activations,
    )
