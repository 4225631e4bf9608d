"""A device over the system's own ssh and scp, with the user's keys and config."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from deploy_nas.adapters.targets.port import Progress
from deploy_nas.adapters.targets.watching import follow, kit_command
from deploy_nas.core.errors import TargetError
from deploy_nas.core.reader import read_regular
from deploy_nas.device.program import RESULT

_SAFE = re.compile(r"[A-Za-z0-9._@:%+-]+")


class SshTarget:
    """``ssh://[user@]host[:port]``.

    Args:
        address: the URL.
        options: further options for both ssh and scp (``-i KEY``, ``-o NAME=VALUE``).

    Raises:
        TargetError: the URL has another form, or ssh is not installed here.
    """

    def __init__(self, address: str, options: Sequence[str] = ()) -> None:
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), -1
        host = parts.netloc.rsplit(":", 1)[0] if port else parts.netloc
        if parts.scheme != "ssh" or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise TargetError("must be ssh://[user@]host[:port]", subject=address)
        if host.startswith("-") or not _SAFE.fullmatch(host):
            raise TargetError("has characters that are not allowed in a host name", subject=address)
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
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Send a kit, run it there, fetch its result.

        The kit's folder on the device has the run's name: a run whose connection broke goes on from its
        journal there, and a finished one is only fetched.

        Raises:
            TargetError: the device is unreachable or refuses the key, lacks python3 or onnxruntime, its disk
                is full, or the connection broke.
        """
        folder = _folder(name)
        self._call([*self._ssh, f"mkdir -p {folder}"], "cannot be reached or written")
        with tempfile.TemporaryDirectory() as local:
            sent = Path(local) / "kit.pyz"
            sent.write_bytes(kit)
            self._call(
                [*self._scp, str(sent), f"{self.host}:{folder}/kit.pyz"], "the kit could not be copied"
            )
            run = shlex.join(kit_command("python3", "kit.pyz", RESULT, options))
            follow([*self._ssh, f"cd {folder} && exec {run}"], self.address, progress, goes_on=bool(options))
            fetched = Path(local) / RESULT
            self._call(
                [*self._scp, f"{self.host}:{folder}/{RESULT}", str(fetched)],
                "the result could not be fetched",
            )
            try:
                return read_regular(fetched)
            except OSError as error:
                raise TargetError(
                    f"its result cannot be read ({error.strerror})", subject=self.address
                ) from error

    def remove_kit(self, name: str) -> None:
        """Remove the kit's folder there, once its result is safe, ignoring failures."""
        with contextlib.suppress(TargetError):
            self._call([*self._ssh, f"rm -rf {_folder(name)}"], "the kit could not be removed")


def _folder(name: str) -> str:
    """The folder of a kit and its journal on the device, relative to the home folder."""
    return f".cache/deploy-nas/{name}"
