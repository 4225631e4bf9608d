"""The state of a training in a file that is never incomplete."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.reader import open_regular
from deploy_nas.core.recipe import Recipe


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all.

    Raises:
        OutputError: it cannot be written; the file before stays.
    """
    data = io.BytesIO()
    torch.save(dict(state), data)
    write_whole(path, data.getvalue(), replace=True)


def read_state(path: Path, origin: str) -> dict[str, Any]:
    """Read a state; its tensors are on the CPU.

    Args:
        path: a file that :func:`write_state` wrote.
        origin: names the initial weights and the images.

    Raises:
        RecordError: it is another kind of file, or cut short.
        MismatchError: it is of another origin.
    """
    try:
        with open_regular(path) as file:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
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


class Checkpoints:
    """The files of a training: its last state, and beside it the one before the learning rate decays.

    Args:
        path: of the last state.
        recipe: of the training.
        origin: names the initial weights and the images.
    """

    def __init__(self, path: Path, recipe: Recipe, origin: str) -> None:
        self.path, self.recipe, self.origin = path, recipe, origin

    @property
    def steady(self) -> Path:
        """The file of the state before the learning rate decays."""
        return self.path.with_suffix(".steady.pt")

    def write(self, state: Mapping[str, Any], *, steady: bool = False) -> None:
        """Write a state; raises :class:`OutputError`."""
        named = {"recipe": json.dumps(self.recipe.to_json()), "origin": self.origin}
        write_state(self.steady if steady else self.path, {**named, **state})

    def found(self, decay_start: int) -> dict[str, Any] | None:
        """The last state; of a shorter run that before the decay; ``None`` if there is no file.

        Raises:
            MismatchError: it is of another recipe or origin.
            RecordError: it cannot be read.
        """
        if not self.path.exists():
            return None
        state = read_state(self.path, self.origin)
        if json.loads(state["recipe"]) == self.recipe.to_json():
            return state
        if self.steady.exists():
            state = read_state(self.steady, self.origin)
            same = json.loads(state["recipe"]) | {"sandwich_epochs": self.recipe.sandwich_epochs}
            if same == self.recipe.to_json() and state["step"] <= decay_start:
                return state
        raise MismatchError(
            "was made with another recipe", subject=str(self.path), hint="name another folder, or remove it"
        )
