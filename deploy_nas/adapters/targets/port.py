"""The target port: a device that runs kits. Its contract is ``deploy_nas.testing.targets``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Progress = Callable[[int, int, str], None]

FRESH, KEEP = "--fresh", "--keep"
"""Options of a profile's kit: start over, or reuse a result from the last day."""


class Target(Protocol):
    """A device that runs kits (``adapters.kits``), each in a place of its own by the run's name."""

    @property
    def address(self) -> str:
        """The address as the user gave it; the subject of errors."""

    def machine(self) -> str:
        """The device's architecture, as ``platform.machine()`` has it there.

        Raises:
            TargetError: it cannot be reached, or is unknown before the kit has run there.
        """

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Run a kit there and return its result file's bytes.

        An interrupted run goes on from its journal, and a finished one is only fetched: the run's files stay
        until :meth:`remove_kit`.

        Args:
            kit: the kit's bytes.
            name: of the run; letters, digits and dashes.
            progress: called with the bursts done, the bursts in total and the kind of unit.
            options: further options of the kit's program (:data:`FRESH`, :data:`KEEP`).

        Raises:
            TargetError: the device is unreachable, lacks python3 or onnxruntime, or its disk is full, the
                connection broke, or the kit reported an error.
        """

    def remove_kit(self, name: str) -> None:
        """Remove the run's files there, once its result is safe, ignoring failures."""
