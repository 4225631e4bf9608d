"""The table of figures that a search may bound: name, unit, option, wording.

Budgets, the command line, the report and the files read this table. A new figure is one entry here and one
function in ``search.efficiency``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure.

    Args:
        name: its name in efficiency dicts, budgets and files.
        label: its heading in tables.
        unit: its unit as displayed.
        option: option of the command line that bounds it.
        help: help text of that option.
        decimals: number of decimals displayed.
        least: words before the lowest value found, in the error for a budget that nothing meets.
        what: words before a value in a sentence; empty where the unit suffices.
    """

    name: str
    label: str
    unit: str
    option: str
    help: str
    decimals: int
    least: str
    what: str = ""

    @property
    def parameter(self) -> str:
        """The option as a parameter's name: ``max_latency_ms``."""
        return self.option.removeprefix("--").replace("-", "_")

    def shown(self, value: float) -> str:
        """A value with its unit: ``312.4 million MACs``."""
        return f"{value:.{self.decimals}f} {self.unit}"

    def worded(self, value: float) -> str:
        """A value in a sentence: ``peak memory 812 KB``."""
        return f"{self.what} {self.shown(value)}".strip()


LATENCY = Figure(
    name="latency_ms",
    label="latency",
    unit="ms",
    option="--max-latency-ms",
    help="Latency budget, as measured on the device.",
    decimals=4,
    least="the fastest architecture found takes",
)
MACS = Figure(
    name="millionMACs",
    label="MACs",
    unit="million MACs",
    option="--max-macs-millions",
    help="Millions of multiply-accumulates.",
    decimals=1,
    least="the smallest architecture found has",
)
PARAMS = Figure(
    name="params_million",
    label="parameters",
    unit="million parameters",
    option="--max-params-millions",
    help="Millions of parameters.",
    decimals=2,
    least="the smallest architecture found has",
)
PEAK_MEMORY = Figure(
    name="KBPeakMemory",
    label="peak memory",
    unit="KB",
    option="--max-peak-memory-kb",
    help="Peak activation memory, KB (see --bytes-per-element).",
    decimals=0,
    least="the leanest architecture found has a peak memory of",
    what="peak memory",
)
MODEL_SIZE = Figure(
    name="model_mb",
    label="file, at most",
    unit="MB",
    option="--max-model-mb",
    help="Size of the exported fp32 file, 10^6 bytes.",
    decimals=2,
    least="the smallest architecture found has a file of",
    what="a file of at most",
)

ANALYTICAL = (MACS, PARAMS, PEAK_MEMORY, MODEL_SIZE)
"""The figures that follow from the architecture alone, in the order in which they are shown."""

FIGURES = {figure.name: figure for figure in (LATENCY, *ANALYTICAL)}


def figure_of(name: str) -> Figure | None:
    """The figure of that name; ``latency_ms@NAME``, the latency on a further device, is a latency."""
    return FIGURES.get(name.partition("@")[0])


def on_device(name: str) -> str:
    """Name of the latency on a further device."""
    return f"{LATENCY.name}@{name}"
