"""An exported model, read once: its bytes, what it says of itself, and that both belong together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs import Inspected, inspect_model, with_metadata
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.precision import sums_exactly
from deploy_nas.records.files import read_bytes, write_atomic
from deploy_nas.records.model import Certificate, ModelMetadata, parse_model


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A model whose input is its architecture's and whose certificate, if any, is of its graph.

    Args:
        data: the file's bytes.
        subject: names it in errors.
        sha256: of the bytes.
        graph_sha256: of the model without its metadata: what it computes, whatever is said of it.
        metadata: what it says of itself.
        batch: the batch size it takes; ``None``: any.
    """

    data: bytes
    subject: str
    sha256: str
    graph_sha256: str
    metadata: ModelMetadata
    batch: int | None

    @property
    def single(self) -> bool:
        """Takes single images, as profiles are of."""
        return self.batch is None or self.batch == 1

    def certified(self, certificate: Certificate) -> ModelFile:
        """The same graph, byte for byte, with that certificate."""
        data = with_metadata(self.data, {"certificate": certificate.to_json()})
        metadata = replace(self.metadata, certificate=certificate)
        return replace(self, data=data, sha256=hashlib.sha256(data).hexdigest(), metadata=metadata)

    def overflow_warning(self, cpu_features: tuple[str, ...] | None, machine: str) -> str | None:
        """Why a processor with these instruction sets classifies worse with it; ``None`` where it does not.

        Args:
            cpu_features: of the processor; ``None``: unknown.
            machine: its architecture, as ``platform.machine()`` has it.
        """
        quantization = self.metadata.quantization
        if quantization is None or sums_exactly(quantization.weight_bits, cpu_features or (), machine):
            return None
        return (
            "its INT8 weights are of 8 bits, whose sums overflow on this processor: it classifies worse than "
            "it should; export with `int8_for` x86"
        )


def read_model(path: Path) -> ModelFile:
    """Read an exported model; raises as :func:`parse_model_file`, and where the file cannot be read."""
    return parse_model_file(read_bytes(path), str(path))


def parse_model_file(data: bytes, subject: str) -> ModelFile:
    """A serialised model, checked.

    Args:
        data: the model.
        subject: names it in errors.

    Raises:
        RecordError: no model, cut short, or metadata that cannot be; names the key.
        MismatchError: not exported by deploy-nas, changed after it was certified, or an input that its
            architecture does not take.
    """
    found = inspect_model(data, subject)
    metadata = parse_model(found.metadata, subject)
    if metadata.certificate is not None and metadata.certificate.graph_sha256 != found.graph_sha256:
        raise MismatchError(
            "was changed after it was verified: its certificate is of another graph",
            subject=subject,
            hint="export and verify it anew",
        )
    return ModelFile(
        data=data,
        subject=subject,
        sha256=hashlib.sha256(data).hexdigest(),
        graph_sha256=found.graph_sha256,
        metadata=metadata,
        batch=_checked_batch(found, metadata.image_size, subject),
    )


def certify(path: Path, model: ModelFile, certificate: Certificate) -> ModelFile:
    """Write the certificate into the file that was measured; returns what is there then.

    Raises:
        MismatchError: the file is no longer the one that was measured.
    """
    if hashlib.sha256(read_bytes(path)).hexdigest() != model.sha256:
        raise MismatchError(
            "was changed after it was verified", subject=str(path), hint="export and verify it anew"
        )
    certified = model.certified(certificate)
    write_atomic(path, certified.data, force=True)
    return certified


def _checked_batch(found: Inspected, side: int, subject: str) -> int | None:
    if len(found.input_shape) != 4:
        raise RecordError("does not take images, and nothing else", subject=subject)
    kind, (batch, *image) = found.input_type, found.input_shape
    if kind != "float32" or image != [3, side, side]:
        shape = ", ".join(map(str, [batch or "batch", *image]))
        raise MismatchError(
            f"takes {kind} [{shape}], its architecture float32 [batch, 3, {side}, {side}]",
            subject=subject,
            hint="it was changed after it was exported; export it anew",
        )
    return batch
