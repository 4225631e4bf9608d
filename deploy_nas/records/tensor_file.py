"""The seal of safetensors files: an entry ``digest`` in their metadata, of all else that they hold.

A safetensors file is the length of its header (8 bytes), the header in JSON, and the tensors' bytes.
"""

from __future__ import annotations

import hashlib
import json

from deploy_nas.core.errors import WeightsError
from deploy_nas.core.fields import parse_json
from deploy_nas.core.seals import DIGEST, EDITED, digest_of

_METADATA = "__metadata__"
_LENGTH, _ALIGNMENT = 8, 8


def sealed_tensors(data: bytes) -> bytes:
    """A serialised file with its digest."""
    header, tensors, _ = _opened(data)
    notes = header.get(_METADATA, {})
    assert isinstance(notes, dict)  # noqa: S101 - as _opened gives it
    header[_METADATA] = {**notes, DIGEST: _digest(header, tensors)}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH, "little") + text + tensors


def check_tensors_seal(data: bytes, subject: str) -> bool:
    """True for a file with its digest, false for one without any.

    Raises:
        WeightsError: the digest is of another content, or it is not a safetensors file.
    """
    try:
        header, tensors, stated = _opened(data)
    except ValueError as error:
        raise WeightsError("is not a safetensors file, or is cut short", subject=subject) from error
    if stated is not None and stated != _digest(header, tensors):
        raise WeightsError(EDITED, subject=subject, hint="restore it, or train again")
    return stated is not None


def _opened(data: bytes) -> tuple[dict[str, object], bytes, object]:
    """Header without the digest, the tensors' bytes, and the digest that the header states, if any."""
    begin = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = parse_json(data[_LENGTH:begin])
    if begin > len(data) or not isinstance(header, dict) or not isinstance(header.get(_METADATA, {}), dict):
        raise ValueError("not a header")
    stated = header[_METADATA].pop(DIGEST, None) if _METADATA in header else None
    return header, data[begin:], stated


def _digest(header: dict[str, object], tensors: bytes) -> str:
    """Of a header without a digest, and of the tensors' bytes."""
    named = {key: held for key, held in header.items() if held != {}}  # no metadata: as empty metadata
    return hashlib.sha256(digest_of(named).encode() + tensors).hexdigest()
