"""The state of a training in a file that is never incomplete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deploy_nas.core.errors import MismatchError, OutputError, RecordError
from deploy_nas.core.reader import open_regular


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state beside the file, then replace that.

    Raises:
        OutputError: it cannot be written; the file before stays.
    """
    part = path.with_suffix(".part")
    try:
        torch.save(dict(state), part)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch raises the latter on a full disk
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "is the disk full?"
        raise OutputError(f"cannot be written ({reason})", subject=str(path)) from error


def read_state(path: Path, origin: str, device: torch.device) -> dict[str, Any]:
    """Read a state.

    Args:
        path: a file that :func:`write_state` wrote.
        origin: names the initial weights and the images.
        device: of the tensors.

    Raises:
        RecordError: it is another kind of file, or cut short.
        MismatchError: it is of another origin.
    """
    try:
        with open_regular(path) as file:
            state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        if not isinstance(state, dict):
            raise TypeError
    except Exception as error:  # torch, pickle and zip each raise their own types
        raise RecordError(
            "is not a checkpoint, or is cut short", subject=str(path), hint="remove it to start over"
        ) from error
    if state.get("origin", origin) != origin:
        raise MismatchError(
            "began with other weights, other images or another teacher",
            subject=str(path),
            hint="name another folder, or remove it",
        )
    return state
