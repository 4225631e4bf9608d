"""Latency tables in OFA's keys as profiles of ours.

OFA names a layer by a string of its shapes: ``ofa.nas.efficiency_predictor`` builds it for its two
families, MobileNetV3 (four rows for the tail; a block by its middle channels, squeeze and hard swish)
and Proxyless (two rows for the tail; a block by its expand ratio). A layer's key follows from the layer
alone, so whatever space has such layers can be imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from deploy_nas.core.errors import MismatchError
from deploy_nas.core.fingerprint import UNKNOWN, Fingerprint
from deploy_nas.core.layers import Conv, GlobalPool, Layer, Linear, SqueezeExcite
from deploy_nas.core.space import Space
from deploy_nas.records.profile import Imported, Noise, Profile, Row

Times = Mapping[str, tuple[float, float, int]]
"""OFA's key to mean ms, standard deviation ms, runs."""

FORMAT = "OFA latency tables"


def ofa_keys(layer: Layer) -> tuple[str, ...] | None:
    """The keys whose times add up to a layer's; ``None`` for a layer that OFA's tables cannot name."""
    convs = [op for op in layer.ops if isinstance(op, Conv)]
    depthwise = [op for op in convs if op.depthwise]
    if len(layer.ops) == 1 and convs and not depthwise:
        return (_key("Conv", _shape(layer.in_size, 3), _shape(layer.out_size, layer.out_channels)),)
    if len(depthwise) == 1:
        return (_block_key(layer, depthwise[0], convs[-1]),)
    last = layer.ops[-1]
    if not isinstance(last, Linear) or not any(isinstance(op, GlobalPool) for op in layer.ops):
        return None
    return _tail_keys(layer.in_size, convs, last)


def _block_key(layer: Layer, depthwise: Conv, last: Conv) -> str:
    # OFA's Proxyless blocks are told by the ratio, its MobileNetV3 blocks by the channels
    proxyless = depthwise.activation == "relu6"
    middle = depthwise.in_channels
    parts = [
        f"expand:{round(middle / layer.in_channels) if proxyless else middle}",
        f"kernel:{depthwise.kernel}",
        f"stride:{depthwise.stride}",
        f"idskip:{int(layer.residual)}",
    ]
    if not proxyless:
        squeeze = any(isinstance(op, SqueezeExcite) for op in layer.ops)
        parts += [f"se:{int(squeeze)}", f"hs:{int(depthwise.activation == 'hard_swish')}"]
    shapes = _shape(layer.in_size, layer.in_channels), _shape(layer.out_size, last.out_channels)
    return "-".join([_key("expanded_conv", *shapes), *parts])


def _tail_keys(size: int, convs: Sequence[Conv], last: Linear) -> tuple[str, ...] | None:
    if not convs:
        return None
    wide = convs[0].out_channels
    first = _key("Conv_1", _shape(size, convs[0].in_channels), _shape(size, wide))
    if len(convs) == 1:
        return first, _key("Logits", _shape(size, wide), str(last.out_channels))
    return (
        first,
        _key("AvgPool2D", _shape(size, wide), _shape(1, wide)),
        _key("Conv_2", _shape(1, wide), _shape(1, convs[1].out_channels)),
        _key("Logits", _shape(1, last.in_channels), str(last.out_channels)),
    )


def _shape(size: int, channels: int) -> str:
    return f"{size}x{size}x{channels}"


def _key(kind: str, before: str, after: str) -> str:
    return f"{kind}-input:{before}-output:{after}"


def could_hold(space: Space, tables: Mapping[int, Times]) -> bool:
    """Whether tables of these image sizes can be of the space at all, complete or not."""
    return set(tables) <= set(space.image_sizes) and all(ofa_keys(layer) is not None for layer in space.rows)


def missing_keys(space: Space, tables: Mapping[int, Times]) -> list[str]:
    """What the tables lack of a space, as sentences; empty where they hold all of it."""
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
    """A profile that predicts what ``ofa``'s ``LatencyTable`` predicts of the same tables.

    Args:
        space: whose layers they hold.
        tables: image size to OFA's keys to times.
        device: a name for it.
        created: when it was imported, ISO 8601.
        files: name to sha256 of what was read.

    Raises:
        MismatchError: a layer of the space is in none of the keys; names it.
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
