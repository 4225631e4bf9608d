"""Profiles from latency tables with OFA's keys.

OFA names a layer by a string of its shapes. ``ofa.nas.efficiency_predictor`` builds it for its two families:
MobileNetV3 (four rows for the tail; a block has its middle channels, squeeze and hard swish in its key) and
Proxyless (two rows for the tail; a block has its expand ratio in its key). A layer's key follows from the
layer alone, so tables can be imported for any space with such layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fingerprint import UNKNOWN, Fingerprint
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear
from deploy_nas.core.space import Space
from deploy_nas.records.profile import Profile
from deploy_nas.records.profile_parts import Imported, Noise, Row

Times = Mapping[str, tuple[float, float, int]]
"""OFA's key to mean ms, standard deviation ms, runs."""

FORMAT = "OFA latency tables"


def ofa_keys(layer: Layer) -> tuple[str, ...] | None:
    """The keys whose times add up to a layer's; ``None`` for a layer without a key in OFA's tables."""
    size = layer.in_size
    match layer.ops:
        case (Conv(depthwise=False),):
            return (_key("Conv", _shape(size, 3), _shape(layer.out_size, layer.out_channels)),)
        case (Conv(depthwise=False) as wide, GlobalPool(), Linear() as last):
            return _wide_key(wide, size), _key(
                "Logits", _shape(size, wide.out_channels), str(last.out_channels)
            )
        case (Conv(depthwise=False) as wide, GlobalPool(), Conv(depthwise=False) as mix, Linear() as last):
            channels = wide.out_channels
            return (
                _wide_key(wide, size),
                _key("AvgPool2D", _shape(size, channels), _shape(1, channels)),
                _key("Conv_2", _shape(1, channels), _shape(1, mix.out_channels)),
                _key("Logits", _shape(1, last.in_channels), str(last.out_channels)),
            )
    depthwise = [conv for conv in layer.convs if conv.depthwise]
    return (_block_key(layer, depthwise[0]),) if len(depthwise) == 1 else None


def _wide_key(wide: Conv, size: int) -> str:
    return _key("Conv_1", _shape(size, wide.in_channels), _shape(size, wide.out_channels))


def _block_key(layer: Layer, depthwise: Conv) -> str:
    # The keys of OFA's Proxyless blocks have the ratio, those of its MobileNetV3 blocks the channels.
    proxyless = depthwise.activation == "relu6"
    middle = depthwise.in_channels
    parts = [
        f"expand:{round(middle / layer.in_channels) if proxyless else middle}",
        f"kernel:{depthwise.kernel}",
        f"stride:{depthwise.stride}",
        f"idskip:{int(layer.residual)}",
    ]
    if not proxyless:
        parts += [f"se:{int(layer.squeezes)}", f"hs:{int(depthwise.activation == 'hard_swish')}"]
    shapes = _shape(layer.in_size, layer.in_channels), _shape(layer.out_size, layer.out_channels)
    return "-".join([_key("expanded_conv", *shapes), *parts])


def _shape(size: int, channels: int) -> str:
    return f"{size}x{size}x{channels}"


def _key(kind: str, before: str, after: str) -> str:
    return f"{kind}-input:{before}-output:{after}"


def could_hold(space: Space, tables: Mapping[int, Times]) -> bool:
    """Whether tables of these image sizes can belong to the space, complete or not."""
    return set(tables) <= set(space.image_sizes) and all(ofa_keys(layer) is not None for layer in space.rows)


def missing_keys(space: Space, tables: Mapping[int, Times]) -> list[str]:
    """The parts of a space that the tables lack, as sentences; empty if they are complete."""
    odd = [size for size in tables if size not in space.image_sizes]
    if odd:
        return [f"{space.id} has no image size {odd[0]}"]
    lacking = []
    for size, index in zip(tables, map(int, space.image_size_indices(list(tables))), strict=True):
        for layer, held in zip(space.rows, space.row_sizes(), strict=True):
            if not int(held) >> index & 1:
                continue
            keys = ofa_keys(layer)
            if keys is None:
                return [f"OFA's tables have no key for layers such as {layer.key}"]
            lacking += [f"table of {size} px: no key {key}" for key in keys if key not in tables[size]]
    return lacking


def imported_profile(
    space: Space, tables: Mapping[int, Times], *, device: str, created: str, files: Mapping[str, str]
) -> Profile:
    """A profile that predicts the same latencies as ``ofa``'s ``LatencyTable`` with these tables.

    Args:
        space: the space of the layers.
        tables: times by image size and OFA's key.
        device: the device's name.
        created: when the tables were imported, ISO 8601.
        files: sha256 of the files read, by name.

    Raises:
        MismatchError: a layer of the space has no entry; the error names its key.
    """
    lacking = missing_keys(space, tables)
    if lacking:
        raise MismatchError(f"{lacking[0]} ({len(lacking)} in all)", subject=f"tables of {device}")
    rows = [
        _row(layer, size, tables[size])
        for size, index in zip(tables, map(int, space.image_size_indices(list(tables))), strict=True)
        for layer, held in zip(space.rows, space.row_sizes(), strict=True)
        if int(held) >> index & 1
    ]
    fastest = space.layers(space.smallest(min(tables)))
    by_key = {(r.key, r.image_size): r.latency_ms for r in rows}
    return Profile(
        space=space,
        image_sizes=tuple(tables),
        fingerprint=Fingerprint(
            cpu=device,
            cores=1,
            machine=UNKNOWN,
            os=UNKNOWN,
            runtime_version=UNKNOWN,
            provider=UNKNOWN,
        ),
        settings=None,
        created=created,
        duration_s=0.0,
        rows=tuple(rows),
        offset_ms=(0.0,) * len(tables),
        sentinel_ms=sum(by_key[layer.key, min(tables)] for _, layer in fastest),
        noise=Noise(resolution_percent=0.0, drift_percent=0.0, busy=1.0, unstable_rows=0, faults=()),
        pairs=(),
        imported=Imported(format=FORMAT, device=device, files=dict(files)),
    )


def _row(layer: Layer, image_size: int, times: Times) -> Row:
    parts = [times[key] for key in ofa_keys(layer) or ()]
    mean = math.fsum(part[0] for part in parts)
    spread = math.sqrt(math.fsum(part[1] ** 2 for part in parts))
    return Row(
        key=layer.key,
        latency_ms=mean,
        alone_ms=mean,
        p50_ms=mean,
        p90_ms=mean,
        p99_ms=mean,
        spread_percent=round(100.0 * spread / mean, 2),
        runs=min(part[2] for part in parts),
        stable=True,
        image_size=image_size,
    )
