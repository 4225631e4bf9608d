"""Errors as the command line says them: with options in place of the parameters of Python."""

from __future__ import annotations

import re

from deploy_nas.core.errors import BudgetError, BudgetMissedError, DeployNASError, OptionError
from deploy_nas.core.figures import FIGURES

# Parameters whose option has a different name.
_OPTIONS = {
    "anchors": "--anchor",
    "max_time_budget": "--generations",
    "population_size": "--population",
    "profiles": "--profile",
    **{figure.name: figure.option for figure in FIGURES.values()},
}
_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")


def in_options(error: DeployNASError) -> str:
    """The text of an error with options in place of parameters.

    Errors name parameters as Python has them: one as the subject, others in backquotes in message and hint.
    """
    subject = error.subject
    if isinstance(error, OptionError | BudgetError | BudgetMissedError) and subject.isidentifier():
        subject = _option(subject)
    return error.worded(subject, with_options(error.message), with_options(error.hint))


def with_options(text: str) -> str:
    """A text with options in place of the parameters in backquotes."""
    return _PARAMETER.sub(lambda found: _option(found[1]), text)


def _option(parameter: str) -> str:
    return _OPTIONS.get(parameter, "--" + parameter.replace("_", "-"))
