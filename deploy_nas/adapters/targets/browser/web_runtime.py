"""The files of onnxruntime-web, an npm package: found on this machine, and checked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_nas.core.errors import MismatchError, ProviderError, RecordError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.fingerprint import WASM, WEBGPU
from deploy_nas.core.notices import notice
from deploy_nas.core.reader import read_regular

NAME = "onnxruntime-web"
VARIABLE = "DEPLOY_NAS_ONNXRUNTIME_WEB"
PROVIDERS = (WASM, WEBGPU)

LEAST_VERSION = (1, 21)  # the first whose sessions describe their inputs
_SERVED = re.compile(
    r"ort\.(wasm|webgpu|wasm\.bundle)\.min\.mjs|ort-wasm-simd-threaded(\.[a-z]+)?\.(mjs|wasm)"
)
_MOST_BYTES = 64 * 1024**2
_GET_IT = (
    f"`npm install {NAME}` in this folder, or set {VARIABLE} to the folder of the package (`npm pack {NAME}` "
    "fetches it as an archive to unpack)"
)

_KNOWN: Mapping[str, Mapping[str, str]] = {
    "1.30.0": {
        "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "ort-wasm-simd-threaded.asyncify.mjs": (
            "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"
        ),
        "ort-wasm-simd-threaded.asyncify.wasm": (
            "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
        ),
    }
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WebRuntime:
    """onnxruntime-web as it is installed.

    Args:
        version: of the package.
        folder: that holds its files.
    """

    version: str
    folder: Path

    def read(self, name: str) -> bytes:
        """One of its files.

        Raises:
            ProviderError: the package has no such file.
            MismatchError: it is not the file that this version was published with.
        """
        path = self.folder / name
        try:
            if not _SERVED.fullmatch(name):
                raise FileNotFoundError
            data = read_regular(path, _MOST_BYTES)
        except OSError as error:
            raise ProviderError(
                f"{NAME} {self.version} has no {name}, or it cannot be read",
                subject=str(self.folder),
                hint=_GET_IT,
            ) from error
        stated = _KNOWN.get(self.version, {}).get(name)
        if stated is not None and hashlib.sha256(data).hexdigest() != stated:
            raise MismatchError(
                f"is not the file of {NAME} {self.version}: its sha256 differs",
                subject=str(path),
                hint=_GET_IT,
            )
        return data


def find_web_runtime(start: Path | None = None) -> WebRuntime:
    """The package in the folder that the environment names, else in ``node_modules`` here or above.

    Args:
        start: the folder to begin at; the current one unless given.

    Raises:
        ProviderError: it is not there, or too old.
        RecordError: its package.json cannot be read.
    """
    named = os.environ.get(VARIABLE)
    if named:
        place = Path(named).expanduser()
        packages = [place, place / "package", place / "node_modules" / NAME, place.parent]
    else:
        begin = (start or Path()).resolve()
        packages = [folder / "node_modules" / NAME for folder in (begin, *begin.parents)]
    found = next((p for p in packages if (p / "package.json").is_file() and (p / "dist").is_dir()), None)
    if found is None:
        where = named or "node_modules"
        raise ProviderError(f"{NAME} is not there", subject=where, hint=f"install it: {_GET_IT}")
    return _package(found)


def _package(folder: Path) -> WebRuntime:
    path = folder / "package.json"
    try:
        said = Fields(parse_json(read_regular(path, 1024**2)), str(path))
    except (OSError, ValueError) as error:
        raise RecordError("cannot be read", subject=str(path), hint=_GET_IT) from error
    name, version = said.text("name"), said.text("version")
    if name != NAME:
        raise ProviderError(f"is the package {name[:80]!r}, not {NAME}", subject=str(folder), hint=_GET_IT)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise ProviderError(
            f"{NAME} is {version[:40]}, at least {least} is needed", subject=str(folder), hint=_GET_IT
        )
    if version not in _KNOWN:
        notice(
            f"its files cannot be checked: this deploy-nas knows those of {', '.join(_KNOWN)}",
            subject=f"{NAME} {version[:40]}",
        )
    return WebRuntime(version=version, folder=folder / "dist")
