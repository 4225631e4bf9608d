"""A device that only a person reaches: the kit is written here and carried there, the result carried back."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy_nas.adapters.targets.port import FRESH, Progress
from deploy_nas.core.errors import TargetError
from deploy_nas.device.program import RESULT

SUFFIX = ".pyz"


class CarriedTarget:
    """The path of a kit, ``FOLDER/NAME.pyz``; its result is looked for beside it.

    The first :meth:`run_kit` writes the kit and says so by a :class:`TargetError`; once the result has been
    put beside it, the next one returns it.

    Args:
        path: of the kit.

    Raises:
        TargetError: the path does not end in ``.pyz``.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != SUFFIX:
            raise TargetError(f"must be the path of a kit, *{SUFFIX}", subject=str(path))
        self.path, self.address = path, str(path)
        self.result = path.with_name(RESULT)

    def machine(self) -> str:
        """Nobody knows: always a :class:`TargetError`."""
        raise TargetError(
            "the device's processor is not known before the kit is run there",
            subject=self.address,
            hint="name the processor",
        )

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Return the result of this very kit, or write the kit.

        Raises:
            TargetError: the kit was written and is to be carried now, or the path cannot be written.
        """
        try:
            if self.path.exists() and not zipfile.is_zipfile(self.path):
                raise TargetError("exists already and is another file than a kit", subject=self.address)
            same = self.path.exists() and self.path.read_bytes() == kit
            if same and FRESH not in options and self.result.exists():
                return self.result.read_bytes()
            if self.result.exists():  # of another kit, or not wanted any more
                self.result.replace(self.result.with_name(RESULT + ".old"))
            self.path.write_bytes(kit)
        except OSError as error:
            raise TargetError(f"cannot be used ({error.strerror})", subject=self.address) from error
        raise TargetError(
            "the kit is written; it is to be run on the device",
            subject=self.address,
            hint=f"carry it there, run `python3 {self.path.name}`, put its {RESULT} beside the kit here, "
            "and give the same command again",
        )

    def remove_kit(self, name: str) -> None:
        """Remove the kit; the result stays, as the only copy there may be."""
        self.path.unlink(missing_ok=True)
