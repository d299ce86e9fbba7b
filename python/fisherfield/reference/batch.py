# SPDX-License-Identifier: BSD-3-Clause
"""What goes through a finite network: a batch of units or images, and what a layer takes besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Batch", "Flow", "axes", "of_channels"]


class Batch(NamedTuple):
    """(n, units) or (n, channels, height, width); h + offset is meant, and the BatchNorm to come takes offset away.

    A BatchNorm takes the mean of z = W h + b away, and with it the mean of what every weight is multiplied by. That
    mean is taken off before it meets the weights, for it would cost digits of what is left: (1e8 + h) w has eight fewer
    than h w.
    """

    h: np.ndarray
    offset: Any = 0.0


@dataclass(frozen=True)
class Flow:
    """What a layer's forward and reverse pass take besides the batch."""

    where: str  # the layer stands in the network, "layers[3]"
    normed: bool  # all that read it, or the sums that it is a part of, are BatchNorms
    exact_offset: bool  # what was taken off is that of the inputs, and nothing was rounded
    inputs: bool = False  # it reads the inputs, or their units as they are
    biases: bool = True  # the layer's count as parameters
    held: tuple[Any, Any] = (None, None)  # mean and variance in place of the batch's
    statistics: str = "exact"  # what the gradient flows through
    seed: int = 0  # of the network


def axes(h: np.ndarray) -> tuple[int, ...]:
    """Samples and positions: what a BatchNorm averages over."""
    return (0, *range(2, h.ndim))


def of_channels(vector: np.ndarray, h: np.ndarray) -> np.ndarray:
    """A vector with an entry a channel, to go with the batch h."""
    return vector.reshape(-1, *(1,) * (h.ndim - 2))
