"""Supernets: the only importer of ``ofa``. Builds them, loads weights into them, takes subnets out.

``torch`` and ``ofa`` are imported inside the functions, so that importing this package costs nothing.
Modules are matched to a space's layers by order: a subnet's convolutions, batch norms and classifier
stand in its modules in the order of the operators in ``space.layers(architecture)``.
"""

from __future__ import annotations

from deploy_nas.adapters.supernets.build import activate, build_supernet, fuse_activations, own_rng, subnet
from deploy_nas.adapters.supernets.checkpoints import load_weights, save_weights, weights_hash
from deploy_nas.adapters.supernets.folding import folded_weights
from deploy_nas.adapters.supernets.masking import Masked
from deploy_nas.adapters.supernets.running import Images, forward, one_torch_thread, recalibrate

__all__ = [
    "Images",
    "Masked",
    "activate",
    "build_supernet",
    "folded_weights",
    "forward",
    "fuse_activations",
    "load_weights",
    "one_torch_thread",
    "own_rng",
    "recalibrate",
    "save_weights",
    "subnet",
    "weights_hash",
]
