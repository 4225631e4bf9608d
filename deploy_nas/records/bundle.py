"""Bundles: a folder or zip of models and what belongs to them, with a manifest that holds every hash."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.records.files import check_output, read_bytes, write_atomic

FORMAT = "deploy-nas bundle"
VERSION = 1
MANIFEST = "manifest.json"
_MOST_FILES = 64
_MOST_BYTES = 1024**3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NEW = ".new"
_OWN_NAMES = re.compile(r"manifest\.json|infer\.py|README\.md|model(\.[a-z0-9]+)?\.onnx")
_PART = re.compile(r"\.(.+)\.[^.]+\.part")  # of a file that was being written
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle whose files are those of its manifest.

    Args:
        path: the folder or zip.
        manifest: its object.
        files: every file but the manifest, by name.
    """

    path: Path
    manifest: Fields
    files: Mapping[str, bytes]

    @property
    def models(self) -> dict[str, Fields]:
        """What the manifest says of each model, by file name."""
        return {model.text("file"): model for model in self.manifest.objects("models")}


def is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: a folder, or named as a zip."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def check_bundle_output(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` now if a bundle could not be written there later."""
    if not path.is_dir():
        check_output(path, force=force)
    elif path.suffix.lower() == ".zip":
        raise OutputError("is a folder", subject=str(path), hint="name a file")
    elif any(path.iterdir()) and not (force and _is_ours(path)):
        hint = "name another folder; --force replaces a bundle, nothing else"
        raise OutputError("holds files already", subject=str(path), hint=hint)


def _is_ours(path: Path) -> bool:
    """A folder with a bundle's manifest, or one that was cut short, and nothing that a bundle has not."""
    names = {entry.name for entry in path.iterdir()} - {_NEW}
    if (path / _NEW).is_dir():
        names |= {_PART.sub(r"\1", entry.name) for entry in (path / _NEW).iterdir()}
    if not all(_OWN_NAMES.fullmatch(name) for name in names):
        return False
    if not (path / MANIFEST).exists():
        return (path / _NEW).is_dir()
    try:
        manifest = parse_json((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def write_bundle(
    path: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes], *, force: bool = False
) -> dict[str, Any]:
    """Write a folder, or a zip where the name ends so; returns the whole manifest.

    The manifest is given without its "format", "version" and "files". In a folder all is
    written before what was there is removed, and the manifest takes its place last, so that a bundle cut
    short has none. The same input gives the same bytes.
    """
    check_bundle_output(path, force=force)
    described = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for name, data in files.items()
    }
    whole = {"format": FORMAT, "version": VERSION, **manifest, "files": described}
    text = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"
    if path.suffix.lower() == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**files, MANIFEST: text}.items():
                info = zipfile.ZipInfo(name, _FIXED_DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        write_atomic(path, buffer.getvalue(), force=force)
        return whole
    new = path / _NEW
    try:
        path.mkdir(exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
        new.mkdir()
        for name, data in {**files, MANIFEST: text}.items():
            write_atomic(new / name, data)
        for old in path.iterdir():  # only a bundle of ours gets here
            if old != new:
                old.unlink()
        for name in (*files, MANIFEST):
            (new / name).replace(path / name)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", subject=str(path)) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return whole


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check every file against the manifest.

    Raises:
        RecordError: no bundle, cut short, a file missing, or a path outside the bundle.
        VersionError: written by a newer deploy-nas.
        MismatchError: a file that is not the one that was bundled.
    """
    found = _zip_files(path) if not path.is_dir() else _folder_files(path)
    if MANIFEST not in found:
        raise RecordError(f"is no bundle: it has no {MANIFEST}", subject=str(path))
    where = f"{path}: {MANIFEST}"
    try:
        manifest = Fields(parse_json(found.pop(MANIFEST)), where)
    except ValueError as error:
        raise RecordError(f"is not JSON, or cut short ({error})", subject=where) from error
    if manifest.value.get("format") != FORMAT:
        raise RecordError("is no manifest of a deploy-nas bundle", subject=where)
    if (version := manifest.integer("version", 1)) > VERSION:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {VERSION}",
            subject=where,
            hint="upgrade deploy-nas",
        )
    listed = manifest.fields("files")
    for name in listed.value:
        _check_name(name, where)
        if name not in found:
            raise RecordError("is missing from the bundle", subject=f"{path}: {name}")
        if hashlib.sha256(found[name]).hexdigest() != listed.fields(name).text("sha256"):
            raise MismatchError(
                "is not the file that was bundled: its hash differs", subject=f"{path}: {name}"
            )
    if stray := sorted(set(found) - set(listed.value)):
        raise RecordError("is not in the manifest", subject=f"{path}: {stray[0]}")
    bundle = Bundle(path=path, manifest=manifest, files=found)
    for name in bundle.models:
        if name not in found:
            raise RecordError(f"names a model it does not hold: {name[:80]!r}", subject=where)
    return bundle


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecordError(
            f"names a path outside its folder, or none: {name[:80]!r}",
            subject=where,
            hint="this bundle is not to be trusted",
        )


def _folder_files(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or not entry.is_file():
            raise RecordError("is no plain file", subject=str(entry), hint="this is not a bundle as written")
        if len(found) == _MOST_FILES:
            raise RecordError("is no bundle: it holds too many files", subject=str(path))
        found[entry.name] = read_bytes(entry)
    return found


def _zip_files(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            infos = archive.infolist()
            if len(infos) > _MOST_FILES or sum(info.file_size for info in infos) > _MOST_BYTES:
                raise RecordError("is no bundle: it holds too much", subject=str(path))
            for info in infos:
                _check_name(info.filename, str(path))
            if len({info.filename for info in infos}) < len(infos):
                raise RecordError("holds two files of one name", subject=str(path))
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise RecordError(f"is no zip, or cut short ({error})", subject=str(path)) from error
    except Exception as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"is damaged ({type(error).__name__})", subject=str(path)) from error
