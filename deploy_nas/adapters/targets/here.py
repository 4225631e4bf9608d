"""This machine as a target: kits run in processes of their own."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy_nas.adapters.targets.port import Progress
from deploy_nas.adapters.targets.watching import follow, kit_command
from deploy_nas.core.errors import TargetError
from deploy_nas.core.reader import read_regular
from deploy_nas.device.program import RESULT

ADDRESS = "here"


class HereTarget:
    """This machine.

    Args:
        folder: for kits and their journals; ``None``: in the user's cache.
        python: the interpreter that runs kits; ``None``: this process's.
    """

    address = ADDRESS

    def __init__(self, folder: Path | None = None, python: Path | None = None) -> None:
        self.folder = folder or Path.home() / ".cache" / "deploy-nas"
        self.python = str(python or sys.executable)

    def machine(self) -> str:
        """This machine's architecture."""
        return platform.machine()

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Run a kit in a folder named after the run; raises :class:`TargetError` if that fails."""
        folder = self.folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "kit.pyz").write_bytes(kit)
            command = kit_command(self.python, "kit.pyz", RESULT, options)
            follow(command, self.address, progress, cwd=folder, goes_on=bool(options))
            return read_regular(folder / RESULT)
        except OSError as error:
            place = error.filename or folder
            raise TargetError(f"{place} cannot be used ({error.strerror})", subject=self.address) from error

    def remove_kit(self, name: str) -> None:
        """Remove the run's folder, ignoring failures."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
