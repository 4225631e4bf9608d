"""The releases of ONNX Runtime that deploy-nas runs with, and those that its promise is for."""

from __future__ import annotations

LEAST_VERSION = (1, 20)
"""Older releases are refused."""

SPELLED_FOR = (1, 30)
"""Exported files are spelled for the releases from here on: these fuse every layer.

One exported file took 0.283 ms on 1.20, 0.257 on 1.27, 0.236 on 1.30 and 0.240 on 1.32 (November 2026, x86
with AVX2): of its nodes, 170, 131, 97 and 97 were left after fusing.
"""


def numbers(version: str) -> tuple[int, ...]:
    """``(1, 32)`` of ``1.32.0``."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def advice(version: str) -> str | None:
    """A sentence on a release that is older than those that the promise is for; ``None`` for these."""
    if numbers(version) >= SPELLED_FOR:
        return None
    since = ".".join(map(str, SPELLED_FOR))
    return f"exported files are written for ONNX Runtime {since} and later: {version} may take a fifth longer"
