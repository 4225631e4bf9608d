"""Array types that runtimes take and give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]  # type: ignore[explicit-any]  # numpy's own default
"""Numbers of any type."""

Float32Array = NDArray[np.float32]
