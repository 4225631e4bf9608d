"""Supernets with random weights, and subnets extracted from them."""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deploy_nas.adapters.supernets.host import usual_torch
from deploy_nas.adapters.supernets.package import load_ofa
from deploy_nas.core.errors import WeightsError
from deploy_nas.core.space import Space

if TYPE_CHECKING:
    import torch

_NOT_CHOICES = frozenset({"space", "image_size", "predicted"})


@usual_torch()
def build_supernet(space: Space, *, seed: int = 0) -> torch.nn.Module:
    """The space's supernet with random weights; the global torch generator keeps its state.

    ``space.supernet["class"]`` is one of ``families.FAMILIES``, or ``package.module:function`` of your own:
    a function (or class) that takes the other entries and returns a module with
    ``set_active_subnet(**choices)`` and ``get_active_subnet(preserve_weight=True)``.

    Raises:
        WeightsError: the space names a class that cannot be built.
    """
    from deploy_nas.adapters.supernets.families import FAMILIES

    load_ofa()
    arguments = copy.deepcopy(dict(space.supernet))  # ofa sorts these lists in place
    kind = str(arguments.pop("class"))
    with temporary_seed(seed):
        if kind in FAMILIES:
            ours: torch.nn.Module = FAMILIES[kind](**arguments)
            return ours
        return _foreign(kind, arguments, space)


def _foreign(kind: str, arguments: Mapping[str, Any], space: Space) -> torch.nn.Module:
    """The supernet of another package; whatever that raises is a ``WeightsError``."""
    from torch import nn

    build = _named(kind, space)
    try:
        net = build(**arguments)
        if not isinstance(net, nn.Module):
            raise TypeError(f"it returned {type(net).__name__}, not a torch.nn.Module")
        for method in ("set_active_subnet", "get_active_subnet"):
            if not callable(getattr(net, method, None)):
                raise TypeError(f"it has no {method}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        raise WeightsError(
            f"its supernet {kind!r} cannot be used: {type(error).__name__}: {error}",
            subject=space.id,
            hint="repair that package",
        ) from error
    return net


def _named(kind: str, space: Space) -> Any:
    module, _, name = kind.partition(":")
    try:
        if not name:
            raise LookupError("no such family, and not of the form package.module:function")
        return getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an import of the user's own package may raise anything, SystemExit too
        raise WeightsError(
            f"its supernet is {kind!r}, which cannot be built ({error})", subject=space.id
        ) from error


@contextlib.contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator within the context, then restore it.

    ``torch.manual_seed`` would seed the generator of every device.
    """
    import torch

    kept = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(kept)


def use_torch_activations(net: torch.nn.Module) -> None:
    """Replace ofa's activation modules in place by torch's faster ones; the state dict stays the same."""
    from torch import nn

    ours = {"Hswish": nn.Hardswish, "Hsigmoid": nn.Hardsigmoid}
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if (kind := ours.get(type(child).__name__)) is not None:
                setattr(parent, name, kind(inplace=True))


def activate(net: torch.nn.Module, architecture: Mapping[str, Any]) -> None:
    """Set the supernet to one of its subnets (``set_active_subnet``)."""
    chosen = {
        key: list(value) if isinstance(value, Iterable) else value
        for key, value in architecture.items()
        if key not in _NOT_CHOICES
    }
    net.set_active_subnet(**chosen)  # type: ignore[operator]


@usual_torch()
def subnet(net: torch.nn.Module, architecture: Mapping[str, Any]) -> torch.nn.Module:
    """Extract a subnet (``get_active_subnet(preserve_weight=True)``) as a module in evaluation mode.

    It shares no storage with the supernet, so recalibrating it leaves the supernet unchanged.
    """
    activate(net, architecture)
    with temporary_seed(0):  # ofa initialises the modules before it copies into them
        taken: torch.nn.Module = net.get_active_subnet(preserve_weight=True)  # type: ignore[operator]
    return taken.eval()
