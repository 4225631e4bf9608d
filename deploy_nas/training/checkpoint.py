"""The state of a training in a file that is never incomplete."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.reader import open_regular


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Raises:
        OutputError: it cannot be written; the file before stays.
    """
    data = io.BytesIO()
    torch.save(dict(state), data)
    write_whole(path, data.getvalue(), replace=True)


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
