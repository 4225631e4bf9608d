"""Bundles: a folder or zip of models and their files, with a manifest that holds every hash."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from deploy_nas.core.disk import put_folder, temporary_folder, write_whole
from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.fields import Fields, parse_json
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.reader import json_text
from deploy_nas.core.seals import check_format_sealed, sealed
from deploy_nas.records.certificate import Certificate
from deploy_nas.records.files import check_output, read_bytes, read_json, write_atomic
from deploy_nas.records.model import ModelMetadata, Preprocessing, Provenance
from deploy_nas.records.zips import expanded_bytes, is_bomb

FORMAT = "deploy-nas bundle"
VERSION = 2
_SEALED_SINCE = 2
MANIFEST = "manifest.json"
_MOST_FILES = 64
_MOST_BYTES = 512 * 1024**2  # of a zip, and of its files together
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NEW = ".new"  # in a folder that an earlier version was killed in
_OWN_NAMES = re.compile(r"manifest\.json|infer\.py|README\.md|model(\.[a-z0-9]+)?\.onnx")
_PART = re.compile(r"\.(.+)\.[^.]+\.part")  # of a file that was being written
_DISTRUST = "do not trust this bundle"
_FIXED_DATE = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The manifest of a bundle, without the hashes of its files.

    Args:
        made_with: name and version of the program that wrote it.
        models: metadata of each model by file name; ``infer.py`` runs the last.
    """

    made_with: str
    models: Mapping[str, ModelMetadata]

    @property
    def shared(self) -> ModelMetadata:
        """Metadata that all models share: architecture, labels, preprocessing, weights."""
        return list(self.models.values())[-1]

    def to_json(self) -> dict[str, object]:
        """The manifest's object, without the format and the files."""
        said = self.shared
        return {
            "made_with": self.made_with,
            "space": said.space.id,
            "architecture": _architecture(said),
            "preprocessing": None if said.preprocessing is None else said.preprocessing.to_json(),
            "labels": list(said.labels),
            "weights": {} if said.weights is None else said.weights.to_json(),
            "models": [_described(name, model) for name, model in self.models.items()],
        }

    @property
    def keeps_budgets(self) -> bool:
        """True unless a model was measured over its budget."""
        held = [model.certificate for model in self.models.values()]
        return all(one is None or one.within_budget is not False for one in held)


def _described(name: str, model: ModelMetadata) -> dict[str, object]:
    return {
        "file": name,
        "precision": model.precision,
        "quantization": None if model.quantization is None else model.quantization.to_json(),
        "opset": model.opset,
        "input": "image",
        "output": "logits",
        "predicted": model.predicted.to_json(),
        "certificate": None if model.certificate is None else model.certificate.to_json(),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle whose files match its manifest.

    Args:
        path: the folder or zip.
        said: the manifest as it was read, to be compared with the models themselves.
        models: names of its models, in the manifest's order.
        files: every file but the manifest, by name.
    """

    path: Path
    said: Fields
    models: tuple[str, ...]
    files: Mapping[str, bytes]


def is_bundle(path: Path) -> bool:
    """True for a path that is meant as a bundle: a folder, or a name that ends in .zip."""
    return path.is_dir() or path.suffix.lower() == ".zip"


def check_bundle_output(path: Path, *, force: bool = False) -> None:
    """Raise :class:`OutputError` now if a bundle could not be written there later."""
    if not path.is_dir():
        check_output(path, force=force)
    elif path.suffix.lower() == ".zip":
        raise OutputError("is a folder", subject=str(path), hint="name a file")
    elif any(path.iterdir()) and not (force and _is_ours(path)):
        raise _holds_files(path)
    elif not os.access(path.resolve().parent, os.W_OK):  # the new one is made beside its place
        raise OutputError("is in a folder that cannot be written to", subject=str(path))


def _holds_files(path: Path) -> OutputError:
    hint = "name another folder; `force` replaces only a bundle"
    return OutputError("holds files already", subject=str(path), hint=hint)


def _is_ours(path: Path) -> bool:
    """True for a folder that holds a bundle, whole or partly written, and nothing else."""
    names = {entry.name for entry in path.iterdir()} - {_NEW}
    if (path / _NEW).is_dir():
        names |= {_PART.sub(r"\1", entry.name) for entry in (path / _NEW).iterdir()}
    if not all(_OWN_NAMES.fullmatch(name) for name in names):
        return False
    if not (path / MANIFEST).exists():
        return (path / _NEW).is_dir()
    try:
        return read_json(path / MANIFEST).value.get("format") == FORMAT
    except RecordError:
        return False


def check_manifest(bundle: Bundle, models: Mapping[str, ModelMetadata]) -> Manifest:
    """The manifest, checked against the metadata of each model.

    Args:
        bundle: as read.
        models: metadata of its models, by file name.

    Raises:
        MismatchError: they differ; names the model and the key.
        RecordError: a manifest without models.
    """
    if not models:
        raise RecordError("does not name a model", subject=bundle.said.where)
    for (name, model), entry in zip(models.items(), bundle.said.objects("models"), strict=True):
        subject, said = f"{bundle.path}: {name}", bundle.said
        _same(subject, "space", said.value.get("space"), model.space.id)
        _same(subject, "architecture", said.value.get("architecture"), _architecture(model))
        _same(subject, "labels", said.value.get("labels"), list(model.labels))
        _same(subject, "preprocessing", _parsed(said, "preprocessing", Preprocessing), model.preprocessing)
        _same(subject, "weights", _parsed(said, "weights", Provenance), model.weights)
        _same(subject, "precision", entry.value.get("precision"), model.precision)
        _same(subject, "predicted", _parsed(entry, "predicted", Predicted), model.predicted or None)
        _same(subject, "certificate", _parsed(entry, "certificate", Certificate), model.certificate)
    return Manifest(made_with=bundle.said.optional_text("made_with") or "", models=models)


class _Readable(Protocol):
    @classmethod
    def from_json(cls, fields: Fields) -> Self: ...


def _parsed(fields: Fields, key: str, kind: type[_Readable]) -> object:
    """The value of a key, ``None`` if it is empty, or the error if it cannot be read."""
    if not fields.value.get(key):
        return None
    try:
        return kind.from_json(fields.fields(key))
    except RecordError as error:
        return error


def _same(subject: str, key: str, said: object, own: object) -> None:
    if said != own:
        raise MismatchError(f"the manifest's {key!r} is not the model's own", subject=subject)


def _architecture(model: ModelMetadata) -> dict[str, object]:
    return {"space": model.space.id, **model.architecture}


def write_bundle(
    path: Path, manifest: Manifest, files: Mapping[str, bytes], *, force: bool = False
) -> dict[str, object]:
    """Write a folder, or a zip if the name ends in .zip; returns the object of the whole manifest.

    A folder is written beside its place and exchanged with the one that is there: whenever the process ends,
    the old bundle or the new one is whole. The same input gives the same bytes.
    """
    check_bundle_output(path, force=force)
    described = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for name, data in files.items()
    }
    whole = sealed({"format": FORMAT, "version": VERSION, **manifest.to_json(), "files": described})
    text = json_text(whole, indent=1).encode() + b"\n"
    if (size := len(text) + sum(map(len, files.values()))) > _MOST_BYTES:
        raise OutputError(
            f"would take {size >> 20} MiB; bundles hold up to {_MOST_BYTES >> 20} MiB", subject=str(path)
        )
    if path.suffix.lower() == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**files, MANIFEST: text}.items():
                info = zipfile.ZipInfo(name, _FIXED_DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        write_atomic(path, buffer.getvalue(), force=force)
        return whole
    _write_folder(path.resolve(), {**files, MANIFEST: text}, force)
    return whole


def _write_folder(path: Path, files: Mapping[str, bytes], force: bool) -> None:
    with temporary_folder(path.parent) as new:
        for name, data in files.items():
            write_whole(new / name, data)
        try:
            put_folder(new, path, replace=force)
        except FileExistsError as error:  # another process has written it meanwhile
            raise _holds_files(path) from error
        except OSError as error:
            raise OutputError(
                f"cannot be replaced as a whole ({error.strerror or error})",
                subject=str(path),
                hint="name a folder inside it, or a zip",
            ) from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check every file against the manifest.

    Raises:
        RecordError: not a bundle, cut short, a missing file, or a file that bundles do not have.
        VersionError: written by a newer deploy-nas.
        MismatchError: a file, or the manifest, that has changed since it was bundled.
    """
    found = _zip_files(path) if not path.is_dir() else _folder_files(path)
    where = f"{path}: {MANIFEST}"
    try:
        manifest = Fields(parse_json(found.pop(MANIFEST)), where)
    except ValueError as error:
        raise RecordError(f"is not JSON, or is cut short ({error})", subject=where) from error
    if manifest.value.get("format") != FORMAT:
        raise RecordError("is not the manifest of a deploy-nas bundle", subject=where)
    if (version := manifest.integer("version", 1)) > VERSION:
        raise VersionError(
            f"has format version {version}, this deploy-nas reads up to {VERSION}",
            subject=where,
            hint="upgrade deploy-nas",
        )
    check_format_sealed(manifest, sealed_since=_SEALED_SINCE, hint="export the bundle again")
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
    models = tuple(model.text("file") for model in manifest.objects("models"))
    if odd := next((name for name in models if name not in found), None):
        raise RecordError(f"names a model that the bundle lacks: {odd[:80]!r}", subject=where)
    if len(set(models)) < len(models):
        raise RecordError("names a model twice", subject=where)
    return Bundle(path=path, said=manifest, models=models, files=found)


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecordError(
            f"names a path outside the bundle, or an invalid file name: {name[:80]!r}",
            subject=where,
            hint=_DISTRUST,
        )
    _check_own(name, where)


def _check_own(name: str, where: str) -> None:
    if not _OWN_NAMES.fullmatch(name):
        raise RecordError(
            f"deploy-nas puts no {name[:80]!r} into bundles", subject=where, hint=f"remove it, or {_DISTRUST}"
        )


def _check_manifest_is_there(names: Sequence[str], path: Path) -> None:
    if MANIFEST not in names:
        raise RecordError(f"is not a bundle: {MANIFEST} is missing", subject=str(path))


def _folder_files(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    entries = sorted(path.iterdir())
    _check_manifest_is_there([entry.name for entry in entries], path)
    for entry in entries:
        if entry.is_symlink() or not entry.is_file():
            raise RecordError(
                "is not a regular file", subject=str(entry), hint="bundles hold only such files"
            )
        _check_own(entry.name, str(path))
        if len(found) == _MOST_FILES:
            raise RecordError("is not a bundle: it holds too many files", subject=str(path))
        found[entry.name] = read_bytes(entry, _MOST_BYTES)
        if sum(map(len, found.values())) > _MOST_BYTES:
            raise RecordError("is not a bundle: it is too large", subject=str(path))
    return found


def _zip_files(path: Path) -> dict[str, bytes]:
    try:
        packed = read_bytes(path, _MOST_BYTES)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            infos = archive.infolist()
            if len(infos) > _MOST_FILES or expanded_bytes(archive) > _MOST_BYTES:
                raise RecordError("is not a bundle: it is too large", subject=str(path))
            _check_manifest_is_there([info.filename for info in infos], path)
            if is_bomb(archive, len(packed)):
                raise RecordError(
                    f"would expand from {len(packed)} to {expanded_bytes(archive)} bytes, as no bundle does",
                    subject=str(path),
                    hint=_DISTRUST,
                )
            for info in infos:
                _check_name(info.filename, str(path))
            if len({info.filename for info in infos}) < len(infos):
                raise RecordError("holds two files of the same name", subject=str(path))
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise RecordError(f"is not a zip, or is cut short ({error})", subject=str(path)) from error
    except Exception as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"is damaged ({type(error).__name__})", subject=str(path)) from error
