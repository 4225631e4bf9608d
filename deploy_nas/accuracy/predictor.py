"""Accuracy predictors: from a file, as published by OFA, or shipped with a space; they run without torch."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy_nas.accuracy.encoding import FeatureLayout, feature_layout
from deploy_nas.accuracy.making import Making
from deploy_nas.accuracy.published import Published, published_for, read_published
from deploy_nas.adapters.mlp import MLP, read_mlp, write_mlp
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.fields import Fields, check_format
from deploy_nas.core.notices import notice
from deploy_nas.core.predicted import Unit
from deploy_nas.core.resources import Resource
from deploy_nas.core.seals import UNSEALED
from deploy_nas.core.shown import Shown
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.core.spaces import get_space, known_spaces
from deploy_nas.records.files import read_bytes, write_atomic
from deploy_nas.records.onnx_file import check_onnx_seal
from deploy_nas.records.supernet import is_supernet, of_same_id

if TYPE_CHECKING:
    from deploy_nas.core.encoder import ArchEncoder

FORMAT = "deploy-nas accuracy predictor"
VERSION = 1
PRETRAINED, EMBEDDED = "pretrained", "embedded"


@dataclass(frozen=True, kw_only=True, repr=False)
class AccuracyPredictor(Shown):
    """Predicts the top-1 of a space's architectures, with OFA's interface.

    Args:
        space: the search space.
        layout: features of an architecture.
        mlp: the network; several members are averaged.
        unit: unit of its values, "percent" or "fraction".
        note: a known bias, in one sentence; empty for none.
        about: its making: samples, weights, held-out figures and so on.
        seed: seed of ``arch_encoder``.
    """

    space: Space
    layout: FeatureLayout
    mlp: MLP
    unit: Unit = "percent"
    note: str = ""
    about: Making = field(default_factory=Making)
    seed: int = 0

    def _summary(self) -> str:
        held_out = self.about.held_out
        judged = "" if held_out is None else f", mean error {held_out.mae_points:.2f} points"
        return f"{self.space.id}, in {self.unit}{judged}" + (f" ({self.note})" if self.note else "")

    def predict_acc(self, architectures: Sequence[Mapping[str, object]]) -> FloatArray:
        """Top-1 in ``unit`` of dicts in OFA's keys, float64 ``[n]`` (items have ``.item()``).

        Agrees with ``ofa.nas.accuracy_predictor.AccuracyPredictor.predict_acc``.

        Raises:
            ArchitectureError: one is not an architecture of the space.
        """
        return self.predict_encoded(self.space.encode(architectures))

    def predict_accuracy(self, architectures: Sequence[Mapping[str, object]]) -> FloatArray:
        """:meth:`predict_acc`, as the finder of OFA's tutorial calls it."""
        return self.predict_acc(architectures)

    def predict_encoded(self, encoded: IntArray) -> FloatArray:
        """Top-1 in ``unit``, float64 ``[n]``, of encoded architectures int64 ``[n, 1 + genes]``."""
        values: FloatArray = self._members(encoded).mean(axis=1)
        return values

    def spread_encoded(self, encoded: IntArray) -> FloatArray:
        """Standard deviation of the members, in ``unit``, float64 ``[n]``; 0 for a single member."""
        values: FloatArray = self._members(encoded).std(axis=1)
        return values

    def predict_spread(self, architectures: Sequence[Mapping[str, object]]) -> FloatArray:
        """Disagreement of the members on each of the dicts; see :meth:`spread_encoded`."""
        return self.spread_encoded(self.space.encode(architectures))

    def percent_encoded(self, encoded: IntArray) -> FloatArray:
        """Top-1 in percent whatever the unit, float64 ``[n]``."""
        return self.predict_encoded(encoded) * (100.0 if self.unit == "fraction" else 1.0)

    def _members(self, encoded: IntArray) -> FloatArray:
        return self.mlp.run(self.layout.features(encoded)).astype(np.float64)

    @cached_property
    def arch_encoder(self) -> ArchEncoder:
        """Random draws and mutations of the space's architectures, as OFA's ``arch_encoder``."""
        from deploy_nas.core.encoder import ArchEncoder

        return ArchEncoder(self.space, self.seed)


def save_accuracy_predictor(predictor: AccuracyPredictor, path: Path, *, force: bool = False) -> None:
    """Write a predictor as ONNX with metadata; raises :class:`OutputError`."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "space": predictor.space.id,
        "unit": predictor.unit,
        "layout": predictor.layout.name,
        "columns": list(predictor.layout.columns),
        "note": predictor.note,
        "about": predictor.about.to_json(),
    }
    write_atomic(path, write_mlp(predictor.mlp, metadata), force=force)


def load_accuracy_predictor(space: Space | str, source: str | Path, *, seed: int = 0) -> AccuracyPredictor:
    """Load a predictor for ``space``.

    Args:
        space: the search space, or its id.
        source: an ``.onnx`` file of deploy-nas, a PyTorch file of the predictor that OFA published for the
            space (MobileNetV3 or ResNet50), "pretrained" (the published one, downloaded and checked),
            "embedded" (the one that ships with the space), or the folder of a trained supernet.
        seed: seed of its ``arch_encoder``.

    Raises:
        RecordError: the file is unreadable, truncated or of another kind.
        MismatchError: it is of another space or of other choices than the space has now, the space has no
            such predictor, or the file was edited since it was made.
        VersionError: a newer deploy-nas wrote it.
        WeightsError: a PyTorch file that is hostile, truncated or of another net (names the first key that
            does not fit).
        DownloadError: the published predictor could not be downloaded.
    """
    if isinstance(space, str):
        space = get_space(space)
    if source == EMBEDDED:
        return _embedded(space, seed)
    if source == PRETRAINED:
        published, layout = published_for(space)
        require_supernets()
        from deploy_nas.adapters.downloads import fetch

        path = fetch(
            published.url,
            filename=published.filename,
            sha256=published.sha256,
            hint="download it elsewhere and name that file as `predictor`",
        )
        return _published(published, layout, read_bytes(path), str(path), seed)
    if is_supernet(source):
        return _embedded(of_same_id(str(source), space), seed)
    path = Path(source)
    data = read_bytes(path)
    if path.suffix in (".pth", ".pt") or zipfile.is_zipfile(io.BytesIO(data)) or data[:1] == b"\x80":
        published, layout = published_for(space)
        return _published(published, layout, data, str(path), seed)
    if not check_onnx_seal(data, str(path), "restore it, or make it again with deploy-nas accuracy train"):
        notice(f"{UNSEALED}: its predictions cannot be checked", subject=str(path))
    return _ours(space, data, str(path), seed)


def _embedded(space: Space, seed: int) -> AccuracyPredictor:
    if space.default_predictor is None:
        embedded = [s.id for s in known_spaces() if s.default_predictor is not None]
        published = [s.id for s in known_spaces() if s.published_predictor]
        raise MismatchError(
            f"no accuracy predictor is shipped for {space.id}",
            hint=f"'{EMBEDDED}' is for {', '.join(embedded)}, '{PRETRAINED}' for {', '.join(published)}; "
            "or train one with 'deploy-nas accuracy' and name its file",
        )
    file = space.default_predictor
    if (path := file.path) is None:
        raise RecordError(
            "its accuracy predictor is in a package that is not installed",
            subject=space.id,
            hint=f"install {file.distribution}" if isinstance(file, Resource) else "",
        )
    data = read_bytes(path)
    if file.sha256 is not None and hashlib.sha256(data).hexdigest() != file.sha256:
        raise MismatchError("is not the predictor that was made with it", subject=str(path))
    return _ours(space, data, str(path), seed)


def _ours(space: Space, data: bytes, where: str, seed: int) -> AccuracyPredictor:
    mlp, metadata = read_mlp(data, where)
    fields = Fields(metadata, where)
    check_format(fields, FORMAT, VERSION)
    made_for = fields.text("space")
    if made_for != space.id:
        raise MismatchError(f"is a predictor of space {made_for}, not {space.id}", subject=where)
    layout = feature_layout(space, fields.text("layout"))
    if tuple(fields.texts("columns")) != layout.columns:
        raise MismatchError(
            f"was made for other choices than {space.id} has", subject=where, hint="train it again"
        )
    if mlp.features != len(layout.columns):
        raise RecordError(f"takes {mlp.features} features, not {len(layout.columns)}", subject=where)
    unit = fields.text("unit")
    if unit not in ("percent", "fraction"):
        raise RecordError(f"'unit' must be percent or fraction, is {unit!r}", subject=where)
    return AccuracyPredictor(
        space=space,
        layout=layout,
        mlp=mlp,
        unit="percent" if unit == "percent" else "fraction",
        note=fields.text("note"),
        about=Making.from_json(fields.fields("about")),
        seed=seed,
    )


def _published(
    published: Published, layout: FeatureLayout, data: bytes, where: str, seed: int
) -> AccuracyPredictor:
    mlp = read_published(published, layout, data, where)
    if hashlib.sha256(data).hexdigest() != published.sha256:
        notice(f"is not the predictor that OFA published for {published.family}", subject=where)
    return AccuracyPredictor(
        space=layout.space,
        layout=layout,
        mlp=mlp,
        unit="fraction",
        note=published.note_for(layout.space),
        seed=seed,
    )
