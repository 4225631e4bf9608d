"""The table of figures."""

from __future__ import annotations

import re

import pytest

from deploy_nas.core.figures import (
    ANALYTICAL,
    FIGURES,
    LATENCY,
    MACS,
    MODEL_SIZE,
    PEAK_MEMORY,
    Figure,
    figure_of,
    on_device,
)


def test_names_and_options_are_unique() -> None:
    assert list(FIGURES.values()) == [LATENCY, *ANALYTICAL]
    assert len({figure.option for figure in FIGURES.values()}) == len(FIGURES)


@pytest.mark.parametrize("figure", FIGURES.values(), ids=lambda figure: figure.name)
def test_options_are_options_and_parameters_identifiers(figure: Figure) -> None:
    assert re.fullmatch(r"--max(-[a-z]+)+", figure.option)
    assert figure.parameter.isidentifier() and figure.parameter.startswith("max_")
    assert figure.unit and figure.least and figure.label and figure.help


def test_values_as_displayed() -> None:
    assert LATENCY.parameter == "max_latency_ms"
    assert MACS.shown(312.44) == MACS.worded(312.44) == "312.4 million MACs"
    assert PEAK_MEMORY.shown(812.3) == "812 KB" and PEAK_MEMORY.worded(812.3) == "peak memory 812 KB"
    assert MODEL_SIZE.worded(1.5) == "a file of at most 1.50 MB"


def test_a_further_devices_latency_is_a_latency() -> None:
    assert on_device("phone") == "latency_ms@phone"
    assert figure_of(on_device("phone")) is figure_of("latency_ms") is LATENCY
    assert figure_of("energy") is None
