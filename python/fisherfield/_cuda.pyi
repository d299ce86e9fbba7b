# SPDX-License-Identifier: BSD-3-Clause
"""Scans on a CUDA device; there only where it was built (docs/cuda.md)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import Array, Network, _Descent, _Settings

# As `_core.scan`, without threads.
def scan(
    network: Network,
    settings: _Settings,
    descent: _Descent,
    shape: Sequence[int],
    slots: Sequence[tuple[str, int, Array]],
    quantities: Sequence[str],
    pause: Callable[[int], object] | None,
    edges: float | None = None,
) -> tuple[dict[str, Array], NDArray[np.int8]]: ...

# The same by the host, from the arrays that a device would get.
def rehearse(
    network: Network,
    settings: _Settings,
    descent: _Descent,
    shape: Sequence[int],
    slots: Sequence[tuple[str, int, Array]],
    quantities: Sequence[str],
    pause: Callable[[int], object] | None,
    edges: float | None = None,
) -> tuple[dict[str, Array], NDArray[np.int8]]: ...
def devices() -> list[dict[str, Any]]: ...
