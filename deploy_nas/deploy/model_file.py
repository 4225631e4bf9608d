"""An exported model: its bytes and its metadata, read once and checked against each other."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_nas.adapters.graphs import Inspected, check_bounded, inspect_model, with_metadata
from deploy_nas.core.errors import DeployNASError, MismatchError, RecordError
from deploy_nas.core.notices import notice
from deploy_nas.core.precision import sums_exactly
from deploy_nas.core.predicted import Predicted
from deploy_nas.core.seals import UNSEALED, digest_of
from deploy_nas.records.certificate import Certificate
from deploy_nas.records.files import read_bytes, write_atomic
from deploy_nas.records.model import ModelMetadata, parse_model
from deploy_nas.records.onnx_file import check_onnx_seal

_AGAIN = "export and verify it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A model whose input fits its architecture; its digest and certificate, if any, are of its content.

    Args:
        data: the file's bytes.
        subject: names it in errors.
        sha256: of the bytes.
        graph_sha256: of the model without its metadata.
        metadata: as the file holds it.
        metadata_sha256: of the metadata but its certificate and digest.
        batch: the batch size it takes; ``None``: any.
        sealed: whether its digest or its certificate covers all of the file.
    """

    data: bytes
    subject: str
    sha256: str
    graph_sha256: str
    metadata: ModelMetadata
    metadata_sha256: str
    batch: int | None
    sealed: bool = True

    @property
    def single(self) -> bool:
        """True if it takes single images, as profiles are measured with."""
        return self.batch is None or self.batch == 1

    def believed(self) -> ModelFile:
        """The model, without predictions and certificate if nothing vouches for them: a notice says so."""
        if self.sealed:
            return self
        notice(f"{UNSEALED}: its predictions, budget and certificate are not used", subject=self.subject)
        metadata = replace(self.metadata, predicted=Predicted(), profile=None, certificate=None)
        return replace(self, metadata=metadata)

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
    """Read an exported model, as far as it can be believed (:meth:`ModelFile.believed`).

    Raises as :func:`parse_model_file`, and if the file cannot be read.
    """
    return parse_model_file(read_bytes(path), str(path)).believed()


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
    held = check_onnx_seal(data, subject, _AGAIN)
    found = inspect_model(data, subject)
    if found.not_finite:
        raise RecordError(
            f"holds NaN or an infinity in {found.not_finite[:80]!r}", subject=subject, hint="export it again"
        )
    metadata = parse_model(found.metadata, subject)
    metadata_sha256 = digest_of({k: v for k, v in found.metadata.items() if k != "certificate"})
    certificate = metadata.certificate
    if certificate is not None:
        _check_certificate(certificate, found.graph_sha256, metadata_sha256, subject)
        held = held or certificate.metadata_sha256 is not None
    batch = _checked_batch(found, metadata.image_size, subject)
    check_bounded(data, subject)
    return ModelFile(
        data=data,
        subject=subject,
        sha256=hashlib.sha256(data).hexdigest(),
        graph_sha256=found.graph_sha256,
        metadata=metadata,
        metadata_sha256=metadata_sha256,
        batch=batch,
        sealed=held,
    )


def _check_certificate(certificate: Certificate, graph: str, metadata: str, subject: str) -> None:
    """Raise :class:`MismatchError` unless the certificate is of a graph and metadata of these digests."""
    for what, same in (
        ("graph", certificate.graph_sha256 == graph),
        ("metadata", certificate.metadata_sha256 in (None, metadata)),
    ):
        if not same:
            raise MismatchError(
                f"was changed after it was verified: its certificate is of another {what}",
                subject=subject,
                hint=_AGAIN,
            )


def write_model(path: Path, data: bytes, *, force: bool = False) -> bytes:
    """Write an exported model; returns what is there then.

    Without ``force``, a file of the very same model stays as it is, with its certificate. Raises
    :class:`OutputError`, also for another file that is there.
    """
    if not force and path.is_file():
        made, held = parse_model_file(data, str(path)), None
        with contextlib.suppress(DeployNASError):
            held = parse_model_file(read_bytes(path), str(path))
        if held is not None and (held.graph_sha256, held.metadata_sha256) == (
            made.graph_sha256,
            made.metadata_sha256,
        ):
            return held.data
    write_atomic(path, data, force=force)
    return data


def certify(path: Path, model: ModelFile, certificate: Certificate) -> ModelFile:
    """Write the certificate into the file that was measured; returns the file as written.

    Raises:
        MismatchError: the file has changed since it was measured, or nothing vouches for its metadata.
    """
    if not model.sealed:
        raise MismatchError(UNSEALED, subject=str(path), hint=_AGAIN)
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
