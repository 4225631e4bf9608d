"""Supernets: builds them, loads weights into them, and extracts subnets. The only importer of ``ofa``.

``torch`` and ``ofa`` are imported inside the functions, so that importing this package is quick. Modules are
matched to a space's layers by order: a subnet's convolutions, batch norms and classifier are in its modules
in the order of the operators in ``space.layers(architecture)``.
"""

from __future__ import annotations

from deploy_nas.adapters.supernets.build import (
    activate,
    build_supernet,
    subnet,
    temporary_seed,
    use_torch_activations,
)
from deploy_nas.adapters.supernets.checkpoints import (
    copy_body,
    load_weights,
    save_weights,
    stored_classes,
    weights_hash,
    weights_notes,
)
from deploy_nas.adapters.supernets.folding import folded_weights
from deploy_nas.adapters.supernets.host import usual_torch
from deploy_nas.adapters.supernets.masking import Masked
from deploy_nas.adapters.supernets.running import Images, forward, one_torch_thread, recalibrate

__all__ = [
    "Images",
    "Masked",
    "activate",
    "build_supernet",
    "copy_body",
    "folded_weights",
    "forward",
    "load_weights",
    "one_torch_thread",
    "recalibrate",
    "save_weights",
    "stored_classes",
    "subnet",
    "temporary_seed",
    "use_torch_activations",
    "usual_torch",
    "weights_hash",
    "weights_notes",
]
