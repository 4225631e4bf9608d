"""A device over the system's own ssh and scp, with the user's keys and config."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from deploy_nas.core.errors import TargetError
from deploy_nas.device.kit import RESULT

_PROGRESS = re.compile(r"\s*(\S+)\s+(\d+)/(\d+)\s")
_SAFE = re.compile(r"[A-Za-z0-9._@:%+-]+")


class SshTarget:
    """``ssh://[user@]host[:port]``.

    Args:
        address: the URL.
        options: more options for ssh and scp alike (``-i KEY``, ``-o NAME=VALUE``).

    Raises:
        TargetError: no such URL, or no ssh here.
    """

    def __init__(self, address: str, options: tuple[str, ...] = ()) -> None:
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), -1
        host = parts.netloc.rsplit(":", 1)[0] if port else parts.netloc
        if parts.scheme != "ssh" or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise TargetError("is no ssh://[user@]host[:port]", subject=address)
        if host.startswith("-") or not _SAFE.fullmatch(host):
            raise TargetError("has characters no host name has", subject=address)
        for program in ("ssh", "scp"):
            if shutil.which(program) is None:
                raise TargetError(
                    f"{program} is not installed here", subject=address, hint="install an OpenSSH client"
                )
        self.address, self.host = address, host
        self._ssh = ["ssh", "-o", "BatchMode=yes", *options, *(["-p", str(port)] if port else []), host]
        self._scp = ["scp", "-q", "-o", "BatchMode=yes", *options, *(["-P", str(port)] if port else [])]

    def _call(self, command: list[str], what: str) -> str:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise self._error(what, done.stderr)
        return done.stdout

    def _error(self, what: str, stderr: str) -> TargetError:
        lines = [line for line in stderr.strip().splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else "the connection ended"
        return TargetError(f"{what}: {reason}", subject=self.address)

    def machine(self) -> str:
        """The device's architecture, as ``platform.machine()`` has it there."""
        return self._call([*self._ssh, "uname -m"], "cannot be reached").strip()

    def run_kit(
        self,
        kit: bytes,
        plan_id: str,
        progress: Callable[[int, int, str], None] | None = None,
        *,
        options: str = "",
    ) -> bytes:
        """Send a kit, run it there with further ``options`` of its own, fetch its result.

        The kit's folder on the device is named by the plan: a run whose connection was cut goes on
        from its journal there, or is fetched if it had ended. It stays until :meth:`remove_kit`.

        Raises:
            TargetError: unreachable, wrong key, no python3, no onnxruntime, disk full, cut half-way.
        """
        folder = _folder(plan_id)
        self._call([*self._ssh, f"mkdir -p {folder}"], "cannot be reached or written")
        with tempfile.TemporaryDirectory() as local:
            sent = Path(local) / "kit.pyz"
            sent.write_bytes(kit)
            self._call(
                [*self._scp, str(sent), f"{self.host}:{folder}/kit.pyz"], "the kit could not be copied"
            )
            run = f"cd {folder} && exec python3 kit.pyz --wait 60 -o {RESULT} {options}".rstrip()
            self._watch([*self._ssh, run], progress, goes_on=bool(options))
            fetched = Path(local) / RESULT
            self._call(
                [*self._scp, f"{self.host}:{folder}/{RESULT}", str(fetched)],
                "the result could not be fetched",
            )
            return fetched.read_bytes()

    def remove_kit(self, plan_id: str) -> None:
        """Remove what :meth:`run_kit` left there, once its result is safe; no fault where that fails."""
        with contextlib.suppress(TargetError):
            self._call([*self._ssh, f"rm -rf {_folder(plan_id)}"], "the kit could not be removed")

    def _watch(
        self, command: list[str], progress: Callable[[int, int, str], None] | None, *, goes_on: bool
    ) -> None:
        with subprocess.Popen(  # noqa: S603 - a list, no shell
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            last = ""
            try:
                for line in process.stderr or ():
                    if match := _PROGRESS.match(line):
                        if progress is not None:
                            progress(int(match[2]), int(match[3]), match[1])
                    elif line.strip():
                        last = line
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            error = self._error("the run there ended", last)
            hint = "the same command goes on where it ended, or begins anew with --fresh" if goes_on else ""
            raise TargetError(error.message, subject=self.address, hint=hint)


def _folder(plan_id: str) -> str:
    """Where a kit and its journal lie on the device, below its home."""
    return f".cache/deploy-nas/{plan_id}"
