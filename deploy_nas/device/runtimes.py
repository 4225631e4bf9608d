"""The runtimes that are included; a provider's name says which one it belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from deploy_nas.core.errors import ProviderError
from deploy_nas.core.fingerprint import RUNTIMES, runtime_name
from deploy_nas.device.openvino import OPEN_VINO
from deploy_nas.device.runtime import Runtime
from deploy_nas.device.session import ONNX_RUNTIME

_BY_NAME: Mapping[str, Runtime] = {runtime.name: runtime for runtime in (ONNX_RUNTIME, OPEN_VINO)}


def runtime_of(provider: str) -> Runtime:
    """The runtime that a provider belongs to: ONNX Runtime, or the one before its colon (``openvino:CPU``).

    Raises:
        ProviderError: a runtime that is not included.
    """
    name = runtime_name(provider)
    if name not in _BY_NAME:
        raise ProviderError(
            f"no runtime {name!r}", subject="provider", hint=f"there are {', '.join(RUNTIMES)}"
        )
    return _BY_NAME[name]
