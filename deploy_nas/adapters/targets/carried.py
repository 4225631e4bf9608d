"""A device without a connection: a person copies the kit there, runs it, and brings the result back."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy_nas.adapters.targets.port import FRESH, Progress
from deploy_nas.core.disk import write_whole
from deploy_nas.core.errors import OutputError, TargetError
from deploy_nas.core.reader import read_regular
from deploy_nas.device.program import RESULT

SUFFIX = ".pyz"


class CarriedTarget:
    """A target given as the path of a kit, ``FOLDER/NAME.pyz``; its result is expected beside the kit.

    The first :meth:`run_kit` writes the kit and raises a :class:`TargetError` with instructions. Once the
    result has been put beside the kit, the next call returns it.

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
        """Always raises :class:`TargetError`: the processor is unknown until the kit has run there."""
        raise TargetError(
            "the device's processor is not known before the kit has run there",
            subject=self.address,
            hint="name the processor",
        )

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Return the result of this exact kit, or write the kit.

        Raises:
            TargetError: the kit was written and must be run on the device, or the path cannot be written.
        """
        try:
            if self.path.exists() and not (self.path.is_file() and zipfile.is_zipfile(self.path)):
                raise TargetError("exists already and is not a kit", subject=self.address)
            same = self.path.exists() and read_regular(self.path) == kit
            if same and FRESH not in options and self.result.exists():
                return read_regular(self.result)
            if self.result.exists():  # of another kit, or no longer wanted
                self.result.replace(self.result.with_name(RESULT + ".old"))
            write_whole(self.path, kit, replace=True)
        except OutputError as error:
            raise TargetError(error.message, subject=self.address) from error
        except OSError as error:
            raise TargetError(f"cannot be used ({error.strerror or error})", subject=self.address) from error
        raise TargetError(
            "the kit is written; run it on the device",
            subject=self.address,
            hint=f"copy it there, run `python3 {self.path.name}`, put its {RESULT} beside the kit here, "
            "and run the same command again",
        )

    def remove_kit(self, name: str) -> None:
        """Remove the kit; the result stays, since it may be the only copy."""
        self.path.unlink(missing_ok=True)
