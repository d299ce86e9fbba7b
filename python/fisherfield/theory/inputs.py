# SPDX-License-Identifier: BSD-3-Clause
"""What the theory takes of measured inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _numbers
from .._words import shown
from ..network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import Spectrum
    from ..data import Statistics


class Covariances(NamedTuple):
    """Of positions: between two inputs, and what one input's have beyond that; (K, K) each."""

    xy: NDArray[np.float64]
    v: NDArray[np.float64]


class Inputs(NamedTuple):
    """What `overlap`, `length` and `inputs` say together."""

    overlap: Any
    length: Any
    covariances: Covariances | None  # None: positions are independent


# From so much of lambda_max on sampled networks on digits and Fashion-MNIST lay up to 1.4 times higher; not all did.
_NEAR = 0.25
_ROUNDING = 1e-13  # of sums of squares


def remark(inputs: Covariances, spectrum: Spectrum, samples: int | None) -> str:
    """Whether the images vary in so few directions that the bulk's edge comes near lambda_max; empty if not.

    (a - b) (1/sqrt(n) + 1/sqrt(d))^2, d = (tr v)^2/tr v^2 of the covariance v within images beyond that between them:
    the edge of n independent rows of d numbers, where the recursion takes them for infinitely many.
    """
    v = inputs.v / np.trace(inputs.v)
    dimensions = 1 / float(np.sum(v * v))
    edge = (spectrum.a - spectrum.b) * ((0.0 if samples is None else samples**-0.5) + dimensions**-0.5) ** 2
    if not edge > _NEAR * spectrum.lambda_max:
        return ""
    return (
        f"the images vary in some {dimensions:.0f} directions, and the bulk's edge, of the order of {edge:.3g}, comes "
        "near lambda_max: sampled networks on digits and Fashion-MNIST had 1.0 to 1.4 times as much"
    )


def inputs_of(net: Network, inputs: Statistics, overlap: Any, length: Any) -> Inputs:
    """As `fisher` was given them; refused in a sentence."""
    _numbers.network_of(net)
    if not hasattr(inputs, "between"):
        way = ": fisherfield.data.statistics(x) measures them" if hasattr(inputs, "shape") else ""
        raise TypeError(f"inputs must be a fisherfield.data.Statistics, got {shown(inputs)}{way}")
    if not (_is(overlap, 0.0) and _is(length, 1.0)):
        raise ValueError("overlap and length must be left out where inputs are given, which have their own")
    shape = tuple(net.input_shape)
    if shape != inputs.shape and not (len(shape) == 1 and shape[0] == math.prod(inputs.shape)):
        raise ValueError(f"inputs must be of the network's input shape {shape}, got {inputs.shape}")
    if not 1e-100 <= inputs.length <= 1e100:
        raise ValueError(f"inputs must have a length from 1e-100 to 1e100, got {shown(inputs.length)}")
    # of centred data the overlap is -length/(n-1), which is 0 within its own error
    if len(shape) == 1 or inputs.within is None or inputs.between is None:
        return Inputs(max(inputs.overlap, 0.0), inputs.length, None)
    if inputs.overlap < 0.0:
        return Inputs(0.0, inputs.length, Covariances(0.0 * inputs.between, inputs.within))
    if np.trace(inputs.within - inputs.between) <= _ROUNDING * np.trace(inputs.within):
        raise ValueError("inputs must differ from each other, got images that are all the same to rounding")
    return Inputs(inputs.overlap, inputs.length, Covariances(inputs.between, inputs.within - inputs.between))


def _is(value: Any, default: float) -> bool:
    """Whether it is what stands where nothing was given."""
    return isinstance(value, (int, float)) and value == default
