# SPDX-License-Identifier: BSD-3-Clause
"""Second moments of inputs, which are all that the theory takes of data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._memory import refuse_large_array
from .sources import Data, overlap_and_length

_BLOCK = 4096  # samples at a time


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Second moments of inputs x, y of one data set: `fisher(net, inputs=...)` takes them in place of overlap, length.

    Attributes
    ----------
    shape : tuple of int
        One sample's: (features,) or (channels, height, width).
    samples : int
        From how many they were measured.
    overlap, length : float
        Mean over x != y of <x, y>/d, and over x of |x|^2/d, d features: as `overlap_and_length`.
    within, between : ndarray, (K, K), or None
        Of images of K positions, means over channels c of E x_c[a] x_c[b], and of E x_c[a] y_c[b] over x != y, row by
        row; their diagonals' means are length and overlap. None for features.
    """

    shape: tuple[int, ...]
    samples: int
    overlap: float
    length: float
    within: NDArray[np.float64] | None = None
    between: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"Statistics of {self.samples} samples of {shape}: overlap {self.overlap:.4g}, length {self.length:.4g}"


def statistics(x: Any) -> Statistics:
    """Overlap and length of inputs, and the covariances of their positions within and between images.

    Parameters
    ----------
    x : array_like, (n, features) or (n, channels, height, width), or Data
        n >= 2 samples, standardised as the network is to see them.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError, TypeError
        For fewer than two samples, for what is not finite, and for images whose covariances do not fit into memory
        (16 K^2 bytes of K positions).

    Notes
    -----
    Unbiased: the mean over pairs x != y is [(sum_x x)(sum_x x)^T - sum_x x x^T]/(n (n-1)). Sums in float64, to about
    1e-13 of length.
    """
    overlap, length = overlap_and_length(x)
    rows = _numbers.samples_array_of("x", x.x if isinstance(x, Data) else x)
    n, shape = len(rows), tuple(rows.shape[1:])
    if len(shape) == 1:
        return Statistics(shape, n, overlap, length)
    channels, positions = shape[0], math.prod(shape[1:])
    refuse_large_array("the covariances of x", (positions, positions), copies=4)
    rows = rows.reshape(n, channels, positions)
    squares, sums = np.zeros((positions, positions)), np.zeros((channels, positions))
    for start in range(0, n, _BLOCK):
        block = rows[start : start + _BLOCK].astype(np.float64)
        sums += block.sum(axis=0)
        flat = block.reshape(-1, positions)
        squares += flat.T @ flat
    between = (sums.T @ sums - squares) / (n * (n - 1) * channels)
    return Statistics(shape, n, overlap, length, squares / (n * channels), between)
