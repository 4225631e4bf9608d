"""Settings of a measurement run, as a journal and a profile record them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER
from deploy_nas.core.precision import FP32


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a measurement run.

    Each unit of the plan is timed in ``rounds`` bursts of about ``burst_ms``, single rows in ``row_rounds``
    shorter ones. The rounds are spread over ``passes`` over all units, so that the times of a unit come from
    several moments. A unit whose median round is ``unstable_percent`` slower than its fastest gets up to
    ``extra_rounds`` more. The sentinel is timed before a burst unless it was within ``sentinel_every_ms``;
    while it takes longer than ``slow_factor`` times its quiet time, the run waits, up to ``wait_s`` in total.
    It waits for a slow core too (``device.core_speed``), as long and twice the time that was undisturbed.
    ``activations`` is the number format of INT8's; ``None``: of the device's processor, or fp32.
    """

    threads: int = 1
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    precision: str = FP32
    rounds: int = 8
    row_rounds: int = 3
    passes: int = 4
    extra_rounds: int = 2
    unstable_percent: float = 8.0
    burst_ms: float = 25.0
    row_burst_ms: float = 10.0
    sentinel_burst_ms: float = 5.0
    sentinel_every_ms: float = 40.0
    slow_factor: float = 1.3
    wait_s: float = 120.0
    least_runs: int = 5
    warmup_runs: int = 2
    warmup_ms: float = 3.0
    block_units: int = 16
    seed: int = 0
    activations: str | None = None

    def to_json(self) -> dict[str, object]:
        """The object in files."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, given: Fields) -> Settings:
        """From a file's object; raises :class:`RecordError` naming a key that is wrong or missing."""
        values: dict[str, object] = {}
        for one in fields(cls):
            if one.default is None:
                values[one.name] = given.optional_text(one.name)
            elif one.name == "provider_options":
                values[one.name] = given.text_map(one.name)
            elif isinstance(one.default, str):
                values[one.name] = given.text(one.name)
            elif isinstance(one.default, int):
                least = 0 if one.name in _MAY_BE_ZERO else 1
                most = None if one.name == "seed" else _MOST
                values[one.name] = given.integer(one.name, least, most)
            else:
                values[one.name] = given.number(one.name, most=_LONGEST)
        return cls(**values)  # type: ignore[arg-type]


_MOST = 10_000  # rounds, passes, threads: what no run has, and what a loop over it can afford
_LONGEST = 1e9
_MAY_BE_ZERO = frozenset({"extra_rounds", "seed", "warmup_runs"})
