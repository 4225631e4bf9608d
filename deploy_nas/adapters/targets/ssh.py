"""A device over the system's own ssh and scp, with the user's keys and config."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from deploy_nas.adapters.targets.port import Progress
from deploy_nas.adapters.targets.watching import follow, kit_command
from deploy_nas.core.disk import temporary_folder, write_whole
from deploy_nas.core.errors import TargetError, UnreachableError
from deploy_nas.core.reader import read_regular
from deploy_nas.device.program import RESULT

_BROKEN = 255  # the exit code of ssh's own errors
_REFUSED = ("Host key verification failed", "Permission denied")  # for as long as nobody changes a key
_SAFE = re.compile(r"[A-Za-z0-9._%+][A-Za-z0-9._%+@-]*")


class SshTarget:
    """``ssh://[user@]host[:port]``.

    Args:
        address: the URL; an IPv6 address as its host is in brackets.
        options: further options for both ssh and scp (``-i KEY``, ``-o NAME=VALUE``).

    Raises:
        TargetError: the URL has another form, or ssh is not installed here.
    """

    def __init__(self, address: str, options: Sequence[str] = ()) -> None:
        login, host, port = _parts(address)
        for program in ("ssh", "scp"):
            if shutil.which(program) is None:
                raise TargetError(
                    f"{program} is not installed here", subject=address, hint="install an OpenSSH client"
                )
        self.address = address
        self.host = login + (f"[{host}]" if ":" in host else host)  # as scp takes it
        there = [*(["-p", str(port)] if port else []), login + host]
        self._ssh = ["ssh", "-o", "BatchMode=yes", *options, *there]
        self._scp = ["scp", "-q", "-o", "BatchMode=yes", *options, *(["-P", str(port)] if port else [])]

    def _call(self, command: list[str], what: str) -> str:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise self._error(what, done.stderr, done.returncode)
        return done.stdout

    def _error(self, what: str, stderr: str, code: int) -> TargetError:
        lines = [line for line in stderr.strip().splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else "the connection ended"
        broken = code == _BROKEN or "lost connection" in stderr  # as scp says it
        kind = UnreachableError if broken and not any(said in stderr for said in _REFUSED) else TargetError
        return kind(f"{what}: {reason}", subject=self.address)

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
            UnreachableError: the device does not answer, or the connection broke.
            TargetError: the device or the key is refused, it lacks python3 or onnxruntime, or its disk is
                full.
        """
        folder = _folder(name)
        self._call([*self._ssh, f"mkdir -p {folder}"], "cannot be reached or written")
        with temporary_folder() as local:
            sent = local / "kit.pyz"
            write_whole(sent, kit)
            self._call(
                [*self._scp, str(sent), f"{self.host}:{folder}/kit.pyz"], "the kit could not be copied"
            )
            run = shlex.join(kit_command("python3", "kit.pyz", RESULT, options))
            follow(
                [*self._ssh, f"cd {folder} && exec {run}"],
                self.address,
                progress,
                goes_on=bool(options),
                broken=_BROKEN,
            )
            fetched = local / RESULT
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


def _parts(address: str) -> tuple[str, str, int | None]:
    """``user@`` or nothing, the host without brackets, and the port; a password is never repeated."""
    rest = address.removeprefix("ssh://").removesuffix("/")
    login, at, place = rest.rpartition("@")
    if ":" in login:
        raise TargetError(
            "has a password, which ssh does not take",
            subject=f"ssh://{login.partition(':')[0]}@{place}",
            hint="use a key (ssh-copy-id puts it there)",
        )
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\](?::([0-9]{1,5}))?", place)
    found = bracketed or re.fullmatch(r"([^:/?#\[\]]+)(?::([0-9]{1,5}))?", place)
    port = int(found[2]) if found is not None and found[2] else None
    if rest == address or found is None or (at and not login) or (port is not None and not 0 < port < 65536):
        raise TargetError("must be ssh://[user@]host[:port]", subject=address)
    if bracketed and not _is_ipv6(found[1]):
        raise TargetError("is not an IPv6 address", subject=address)
    if not (_SAFE.fullmatch(login or "x") and (bracketed or _SAFE.fullmatch(found[1]))):
        raise TargetError("has characters that are not allowed in a host name", subject=address)
    return login + at, found[1], port


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _folder(name: str) -> str:
    """The folder of a kit and its journal on the device, relative to the home folder."""
    return f".cache/deploy-nas/{name}"
