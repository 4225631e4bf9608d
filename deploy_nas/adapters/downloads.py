"""Downloads: verified by their hashes, kept in the user's cache, and never left incomplete."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from deploy_nas.core.disk import temporary_folder
from deploy_nas.core.errors import DownloadError, OutputError

Progress = Callable[[int, int], None]
"""Called with the bytes received and the total, which is 0 if unknown."""

CACHE_VARIABLE = "DEPLOY_NAS_CACHE"

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """The folder of downloads: ``$DEPLOY_NAS_CACHE``, or the system's cache folder."""
    import platformdirs

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("deploy-nas")


def fetch(
    url: str,
    *,
    filename: str,
    sha256: str | None = None,
    git_blob_id: str | None = None,
    progress: Progress | None = None,
    hint: str = "download it elsewhere and name that file instead",
) -> Path:
    """Return the path of the file at ``url``, downloaded unless the cache has an intact copy.

    Args:
        url: an http or https address.
        filename: name in the cache, without a folder.
        sha256: hexadecimal; ``None``: not checked.
        git_blob_id: sha1 of ``b"blob <size>\\0"`` and the content, as git names it; ``None``: not checked.
        progress: called as bytes arrive.
        hint: advice for the error message.

    Raises:
        DownloadError: there is no connection or no such file, or its content is incomplete or wrong.
        OutputError: the cache cannot be written.
    """
    folder = cache_folder()
    target = folder / filename
    try:
        if target.is_file() and _fault(target, sha256, git_blob_id) is None:
            _log.info("%s: from the cache, %s", filename, target)
            return target
        _log.info("%s: downloading %s to %s", filename, url, folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Downloaded beside its place and moved once verified: the cache holds only complete, correct files.
        with temporary_folder(folder) as part:
            path = part / filename
            _download(url, path, progress, hint)
            if (fault := _fault(path, sha256, git_blob_id)) is not None:
                raise DownloadError(f"is not the file it should be ({fault})", subject=url, hint=hint)
            path.replace(target)
    except OSError as error:
        raise OutputError(
            f"the folder for downloads cannot be written ({error.strerror or error})",
            subject=str(folder),
            hint=f"name another in {CACHE_VARIABLE}",
        ) from error
    return target


def _download(url: str, path: Path, progress: Progress | None, hint: str) -> None:
    import pooch

    if not url.startswith(("http://", "https://")):
        raise DownloadError("is not a web address", subject=url, hint=hint)
    pooch.get_logger().setLevel(logging.WARNING)  # it announces every download on stderr
    downloader = pooch.HTTPDownloader(
        progressbar=_Bar(progress) if progress else False, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_S
    )
    try:
        pooch.retrieve(url, known_hash=None, fname=path.name, path=path.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # every requests exception is one of these
        raise DownloadError(f"cannot be downloaded ({_reason(error)})", subject=url, hint=hint) from error


def _reason(error: Exception) -> str:
    """A short reason: the messages of requests span lines and repeat the address."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    names = {kind.__name__ for kind in type(error).__mro__}
    if "Timeout" in names:
        return "the server did not answer in time"
    if "ConnectionError" in names:
        return "no connection to the server: is this machine offline?"
    if "ChunkedEncodingError" in names:
        return "the connection broke off"
    return type(error).__name__


def _fault(path: Path, sha256: str | None, git_blob_id: str | None) -> str | None:
    """The error in the file's content, as text; ``None`` if it is correct."""
    size = path.stat().st_size
    wanted = [("sha256", sha256, hashlib.sha256())]
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    wanted.append(("git blob id", git_blob_id, blob))
    checks = [(name, want.lower(), state) for name, want, state in wanted if want is not None]
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for _, _, state in checks:
                state.update(chunk)
    for name, want, state in checks:
        if (found := state.hexdigest()) != want:
            return f"{size} bytes with {name} {found}, not {want}"
    return None


class _Bar:
    """A progress bar with the interface that pooch requires."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.total, self.done = progress, 0, 0

    def update(self, count: int) -> None:
        """Add ``count`` bytes, up to the total: pooch counts the last chunk as a full one."""
        self.done += count
        self.progress(min(self.done, self.total) if self.total else self.done, self.total)

    def reset(self) -> None:
        """Restart from 0, which is how pooch reports completion."""
        self.done = 0

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
