"""Chromium of this machine, without a window."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy_nas.core.errors import TargetError

VARIABLE = "DEPLOY_NAS_BROWSER"
ADDRESS = "browser"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    # A page without a window counts as seen, and is not slowed.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
_END_S = 5.0


def find_browser() -> str:
    """The path of Chromium, Chrome or Edge: the one that the environment names, else the first that is there.

    Raises:
        TargetError: no such program was found.
    """
    named = os.environ.get(VARIABLE)
    for name in [named] if named else _NAMES:
        if found := shutil.which(str(Path(name).expanduser())):
            return found
    if named:
        raise TargetError(f"{VARIABLE} names {named}, which is not a program", subject=ADDRESS)
    raise TargetError(
        "Chromium, Chrome and Edge are missing here",
        subject=ADDRESS,
        hint=f"install one (apt-get install chromium), or set {VARIABLE} to its program; "
        "`kit serve` measures in a browser that you open yourself",
    )


class Headless:
    """A browser that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def check(self) -> None:
        """Raise :class:`TargetError` if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise TargetError(
                f"the browser ended with code {code}: {self.last_words() or 'it wrote nothing'}",
                subject=ADDRESS,
                hint="what was timed is kept; the same command goes on",
            )

    def last_words(self) -> str:
        """The last line that it wrote."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else ""
        return ""


@contextlib.contextmanager
def headless(url: str, *, gpu: bool = False) -> Iterator[Headless]:
    """Open a page without a window, in a profile of its own that is removed at the end.

    Args:
        url: of the page.
        gpu: true for WebGPU.

    Raises:
        TargetError: there is no browser, or it cannot be started.
    """
    program = find_browser()
    with tempfile.TemporaryDirectory(prefix="deploy-nas-", ignore_cleanup_errors=True) as home:
        log = Path(home) / "log"
        flags = [*_FLAGS, f"--user-data-dir={home}/profile"]
        flags.append("--enable-unsafe-webgpu" if gpu else "--disable-gpu")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to run as root with its sandbox
        try:
            with log.open("wb") as written:
                process = subprocess.Popen(  # noqa: S603 - a list, no shell
                    [program, *flags, url], stdin=subprocess.DEVNULL, stdout=written, stderr=written
                )
        except OSError as error:
            raise TargetError(
                f"{program} cannot be started ({error.strerror or error})", subject=ADDRESS
            ) from error
        try:
            yield Headless(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
