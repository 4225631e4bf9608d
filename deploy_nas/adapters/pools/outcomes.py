"""Outcomes of items: a value, or the fault that is raised when its turn comes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from deploy_nas.core.errors import DeployNASError

Outcome = tuple[DeployNASError | str | None, Any]
"""A fault and a value. A fault that is not ours is a traceback's text."""


def attempt(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """The outcome of a call."""
    try:
        return None, function(*arguments)
    except DeployNASError as error:
        return error, None
    except Exception:
        return traceback.format_exc(), None


def value_of(outcome: Outcome) -> Any:
    """The value; raises the fault instead, if there is one."""
    fault, value = outcome
    if isinstance(fault, DeployNASError):
        raise fault
    if fault is not None:
        raise RuntimeError(f"in a worker process:\n{fault}")
    return value
