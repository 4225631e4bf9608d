"""An exported model: its bytes and its metadata, read once and checked against each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs import Inspected, check_bounded, inspect_model, with_metadata
from deploy_nas.core.errors import MismatchError, RecordError
from deploy_nas.core.precision import sums_exactly
from deploy_nas.records.certificate import Certificate
from deploy_nas.records.files import read_bytes, write_atomic
from deploy_nas.records.model import ModelMetadata, parse_model


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A model whose input fits its architecture and whose certificate, if any, is of its graph.

    Args:
        data: the file's bytes.
        subject: names it in errors.
        sha256: of the bytes.
        graph_sha256: of the model without its metadata.
        metadata: as the file holds it.
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
        """True if it takes single images, as profiles are measured with."""
        return self.batch is None or self.batch == 1

    def certified(self, certificate: Certificate) -> ModelFile:
        """The same graph, byte for byte, with the certificate in its metadata."""
        data = with_metadata(self.data, {"certificate": certificate.to_json()})
        metadata = replace(self.metadata, certificate=certificate)
        return replace(self, data=data, sha256=hashlib.sha256(data).hexdigest(), metadata=metadata)

    def overflow_warning(self, cpu_features: tuple[str, ...] | None, machine: str) -> str | None:
        """A warning if INT8 sums overflow on a processor with these instruction sets, else ``None``.

        Args:
            cpu_features: of the processor; ``None``: unknown.
            machine: its architecture, as ``platform.machine()`` has it.
        """
        quantization = self.metadata.quantization
        if quantization is None or sums_exactly(quantization.weight_bits, cpu_features or (), machine):
            return None
        return (
            "sums of its 8-bit INT8 weights overflow on this processor, which lowers accuracy; "
            "export with `int8_for` x86"
        )


def read_model(path: Path) -> ModelFile:
    """Read an exported model; raises as :func:`parse_model_file`, and if the file cannot be read."""
    return parse_model_file(read_bytes(path), str(path))


def parse_model_file(data: bytes, subject: str) -> ModelFile:
    """A serialised model, checked.

    Args:
        data: the model.
        subject: names it in errors.

    Raises:
        RecordError: not a model, cut short, with invalid metadata (names the key), or with layers that may
            run without end or without memory (``adapters.graphs.bounds``).
        MismatchError: not exported by deploy-nas, changed after it was certified, or with another input than
            its architecture takes.
    """
    found = inspect_model(data, subject)
    metadata = parse_model(found.metadata, subject)
    if metadata.certificate is not None and metadata.certificate.graph_sha256 != found.graph_sha256:
        raise MismatchError(
            "was changed after it was verified: its certificate is of another graph",
            subject=subject,
            hint="export and verify it again",
        )
    batch = _checked_batch(found, metadata.image_size, subject)
    check_bounded(data, subject)
    return ModelFile(
        data=data,
        subject=subject,
        sha256=hashlib.sha256(data).hexdigest(),
        graph_sha256=found.graph_sha256,
        metadata=metadata,
        batch=batch,
    )


def certify(path: Path, model: ModelFile, certificate: Certificate) -> ModelFile:
    """Write the certificate into the file that was measured; returns the file as written.

    Raises:
        MismatchError: the file has changed since it was measured.
    """
    if hashlib.sha256(read_bytes(path)).hexdigest() != model.sha256:
        raise MismatchError(
            "was changed after it was verified", subject=str(path), hint="export and verify it again"
        )
    certified = model.certified(certificate)
    write_atomic(path, certified.data, force=True)
    return certified


def _checked_batch(found: Inspected, side: int, subject: str) -> int | None:
    if len(found.input_shape) != 4:
        raise RecordError("does not take images as its only input", subject=subject)
    kind, (batch, *image) = found.input_type, found.input_shape
    if kind != "float32" or image != [3, side, side]:
        shape = ", ".join(map(str, [batch or "batch", *image]))
        raise MismatchError(
            f"takes {kind} [{shape}], its architecture float32 [batch, 3, {side}, {side}]",
            subject=subject,
            hint="it was changed after it was exported; export it again",
        )
    return batch
