"""The accuracy predictors that OFA published: their addresses and the contents of their files."""

from __future__ import annotations

import contextlib
import io
import itertools
import pickle
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploy_nas.accuracy.encoding import FeatureLayout, resnet_columns, tutorial_layout
from deploy_nas.adapters.mlp import MLP, Dense
from deploy_nas.core.errors import MismatchError, WeightsError
from deploy_nas.core.extras import require_supernets
from deploy_nas.core.space import Space
from deploy_nas.core.spaces import known_spaces
from deploy_nas.records.zips import holds_bomb

_PLACE = "https://raw.githubusercontent.com/han-cai/files/master/ofa/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published predictor.

    Args:
        family: its name in messages.
        filename, sha256: name and digest of the file.
        widths: features, hidden units, 1.
        weights, biases: key of each layer's tensor.
        columns: names of the features in its order; empty: the layout's own order.
        note: a known bias.
    """

    family: str
    filename: str
    sha256: str
    widths: tuple[int, ...]
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    columns: tuple[str, ...] = ()
    note: str = (
        "reports top-1 on 10,000 images held out of ImageNet's training set, "
        "about 3 to 5 points above validation"
    )

    @property
    def url(self) -> str:
        """Address of the file."""
        return _PLACE + self.filename

    def note_for(self, space: Space) -> str:
        """The note; for a space it was not made for, also a warning that its values are of another."""
        if space.published_predictor:
            return self.note
        return (
            f"{self.note}; made for {', '.join(self._made_for())}: "
            f"for {space.id} it ranks, but its values are those of another supernet"
        )

    def _made_for(self) -> list[str]:
        """Ids of the known spaces it was made for."""
        found = []
        for space in known_spaces():
            with contextlib.suppress(MismatchError):
                if space.published_predictor and published_for(space)[0] is self:
                    found.append(space.id)
        return found


# The tutorial's: nn.Sequential of four linear layers with ReLU between.
MOBILENET_V3 = Published(
    family="MobileNetV3",
    filename="acc_predictor.pth",
    sha256="48685122a3540636b06699af66cd816456b25f29b69563e2fda9bed4018eeba0",
    widths=(128, 400, 400, 400, 1),
    weights=tuple(f"{n}.weight" for n in (0, 2, 4, 6)),
    biases=tuple(f"{n}.bias" for n in (0, 2, 4, 6)),
)
# ofa.nas.accuracy_predictor.AccuracyPredictor with a ResNetArchEncoder: the last bias has a key of its own.
RESNET50 = Published(
    family="ResNet50",
    filename="ofa_resnet50_acc_predictor.pth",
    sha256="68912b4b4be38feb504c5b773dc847af23a637984d5eaabf548de72cd0f79529",
    widths=(82, 400, 400, 400, 1),
    weights=("layers.0.0.weight", "layers.1.0.weight", "layers.2.0.weight", "layers.3.weight"),
    biases=("layers.0.0.bias", "layers.1.0.bias", "layers.2.0.bias", "base_acc"),
    columns=resnet_columns(),
)


def published_for(space: Space) -> tuple[Published, FeatureLayout]:
    """The predictor for the space's choices, and its features; raises :class:`MismatchError` for none."""
    layout = FeatureLayout(space=space)
    if set(layout.columns) == set(RESNET50.columns):
        return RESNET50, layout
    return MOBILENET_V3, tutorial_layout(space)


def read_published(published: Published, layout: FeatureLayout, data: bytes, subject: str) -> MLP:
    """The network in a published file, its inputs in the order of the layout's columns.

    ``subject`` names the file in errors.

    Raises:
        WeightsError: hostile, truncated, or of another net (names the first key that does not fit).
    """
    require_supernets()
    import torch

    if holds_bomb(data):
        raise WeightsError("expands far beyond its size", subject=subject, hint="use the published file")
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "holds more than weights and is not loaded", subject=subject, hint="use the published file"
        ) from error
    except Exception as error:  # torch, zip and pickle each have their own for a damaged file
        raise WeightsError("is not a PyTorch file, or is truncated", subject=subject) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping):
        raise WeightsError("holds no state_dict", subject=subject)
    net = f"OFA's {published.family} accuracy predictor"
    layers: list[Dense] = []
    sizes = itertools.pairwise(published.widths)
    for (inner, out), *keys in zip(sizes, published.weights, published.biases, strict=True):
        arrays = []
        for key, shape in zip(keys, ((out, inner), (out,)), strict=True):
            value = state.get(key)
            if not isinstance(value, torch.Tensor) or value.shape != shape or not value.isfinite().all():
                found = f"is {tuple(value.shape)}" if isinstance(value, torch.Tensor) else "is missing"
                raise WeightsError(
                    f"{key} must be finite numbers of shape {shape}, {found}",
                    subject=subject,
                    hint=f"it is of another net than {net}",
                )
            arrays.append(value.detach().to(torch.float32).numpy())
        layers.append((np.ascontiguousarray(arrays[0].T), arrays[1]))
    unknown = sorted(str(key) for key in state if key not in published.weights + published.biases)
    if unknown:
        raise WeightsError(f"{unknown[0]} is not a key of {net}", subject=subject)
    if published.columns:
        order = [published.columns.index(column) for column in layout.columns]
        weight, bias = layers[0]
        layers[0] = (np.ascontiguousarray(weight[order]), bias)
    return MLP(members=(tuple(layers),))
