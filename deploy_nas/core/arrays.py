"""Array types that runtimes take and give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# numpy's own name for numbers of any type holds an Any
Array = NDArray[np.generic]  # type: ignore[explicit-any]
"""Numbers of any type."""

Float32Array = NDArray[np.float32]
