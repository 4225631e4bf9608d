"""The target port: where a kit runs. ``deploy_nas.testing.targets`` holds what every target must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Progress = Callable[[int, int, str], None]

FRESH, KEEP = "--fresh", "--keep"
"""Options of a profile's kit: begin anew, or take a result of the last day."""


class Target(Protocol):
    """A device that runs kits (``adapters.kits``), each under a name that keeps it from others."""

    @property
    def address(self) -> str:
        """As the user gave it; the subject of errors."""

    def machine(self) -> str:
        """The device's architecture, as ``platform.machine()`` has it there.

        Raises:
            TargetError: it cannot be reached, or nobody knows before the kit is run there.
        """

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Run a kit there and return its result file's bytes.

        A run that was cut goes on from its journal, or is fetched if it had ended: whatever is there stays
        until :meth:`remove_kit`.

        Args:
            kit: the kit's bytes.
            name: of the run; letters, digits and dashes.
            progress: called with the bursts done, the bursts in all and the kind of unit.
            options: further options of the kit's program (:data:`FRESH`, :data:`KEEP`).

        Raises:
            TargetError: unreachable, no python3, no onnxruntime, disk full, cut half-way, or the kit's own
                error.
        """

    def remove_kit(self, name: str) -> None:
        """Remove the run's files there, once its result is safe; a failure of this is ignored."""
