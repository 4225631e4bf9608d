"""Errors in the words of the command line: options in place of parameters."""

import pytest

from deploy_nas.cli.wording import in_options, with_options
from deploy_nas.core.errors import BudgetError, OptionError, RecordError


@pytest.mark.parametrize(
    ("parameter", "option"),
    [
        ("threads", "--threads"),
        ("image_sizes", "--image-sizes"),
        ("anchors", "--anchor"),
        ("profiles", "--profile"),
        ("population_size", "--population"),
        ("max_time_budget", "--generations"),
        ("latency_ms", "--max-latency-ms"),
        ("millionMACs", "--max-macs-millions"),
    ],
)
def test_a_parameter_as_subject_becomes_its_option(parameter, option):
    assert in_options(OptionError("is wrong", subject=parameter)) == f"{option}: is wrong"
    assert in_options(BudgetError("is wrong", subject=parameter)) == f"{option}: is wrong"


def test_other_subjects_stay():
    assert in_options(OptionError("is wrong", subject="a file.json")) == "a file.json: is wrong"
    assert in_options(RecordError("is wrong", subject="threads")) == "threads: is wrong"  # a key of a file
    assert in_options(BudgetError("no budget was given")) == "no budget was given"


def test_parameters_in_backquotes_become_options_in_message_and_hint():
    error = RecordError("has `int8_for` x86", subject="a.onnx", hint="use `force`, or `image_size` 24")
    assert in_options(error) == "a.onnx: has --int8-for x86; use --force, or --image-size 24"
    assert (
        with_options("run `deploy-nas spaces`, or see `Space`") == "run `deploy-nas spaces`, or see `Space`"
    )
