# SPDX-License-Identifier: BSD-3-Clause
"""Average pooling: h <- A h, one row of A for each window with 1/area at its positions; docs/theory.md, section 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...network import AvgPool2d, GlobalAvgPool2d
from ..batch import Batch, Flow
from ..state import Place, State
from .affine import Pair, image_taps, taps, two

__all__ = ["average_pool", "back", "forward"]


def _windows(layer: AvgPool2d | GlobalAvgPool2d, shape: tuple[int, ...]) -> tuple[Pair, Pair]:
    """Kernel and stride."""
    if isinstance(layer, GlobalAvgPool2d):
        return (shape[0], shape[1]), (1, 1)
    return two(layer.kernel), two(layer.stride or layer.kernel)


# ---------------------------------------------------------------------------------------------------- infinite width
def average_pool(layer: AvgPool2d | GlobalAvgPool2d, state: State, at: Place) -> State:
    """H <- A H A^T and Theta <- A Theta A^T."""
    assert state.positions is not None
    kernel, stride = _windows(layer, state.positions)
    after, reads = image_taps(state.positions, kernel, stride, (0, 0))
    A = np.zeros((after[0] * after[1], len(state.xy)))
    for each in reads:
        A[np.arange(len(A)), each] = 1 / len(reads)
    matrices = {name: A @ getattr(state, name) @ A.T for name in ("xy", "v", "off", "o", "d", "ou", "du")}
    return replace(state, mean=A @ state.mean, positions=after, **matrices)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(
    layer: AvgPool2d | GlobalAvgPool2d, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow
) -> tuple[Batch, Any]:
    """A convolution of every channel with equal taps."""
    kernel, stride = _windows(layer, batch.h.shape[2:4])
    parts = [batch.h[:, :, rows, columns] for _, _, rows, columns in taps(batch.h.shape[2:4], kernel, stride)]
    return Batch(np.asarray(sum(parts) / len(parts))), batch.h.shape


def back(
    layer: AvgPool2d | GlobalAvgPool2d,
    arrays: tuple[np.ndarray, ...],
    kept: tuple[int, ...],
    delta: np.ndarray,
    flow: Flow,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Every position of a window receives its share."""
    kernel, stride = _windows(layer, kept[2:4])
    dh = np.zeros(kept)
    for _, _, rows, columns in taps(kept[2:4], kernel, stride):
        dh[:, :, rows, columns] += delta / (kernel[0] * kernel[1])
    return dh, []
