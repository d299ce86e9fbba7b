# SPDX-License-Identifier: BSD-3-Clause
"""Dropout in train mode: m h/p, m = 1 with probability p = 1 - rate, else 0; docs/theory.md, section 4.

m is drawn for each sample, position and channel by itself, and is fixed where the gradient is taken. (Srivastava et
al. 2014.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from ...network.dropout import Dropout
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State
from ..units.state import Sampling, Units, as_units, normals

__all__ = ["KINDS", "back", "dropout", "forward"]


# ---------------------------------------------------------------------------------------------------- infinite width
def dropout(layer: Dropout, state: State, at: Place) -> State:
    """E m/p = 1 and E m^2/p^2 = 1/p: of two inputs, or positions, nothing changes; one with itself is 1/p times what it
    was, its length and its tangent kernel (the gradient of m h/p is m/p times that of h)."""
    more = layer.rate / (1 - layer.rate)  # 1/p - 1
    if state.positions is None:
        return replace(state, v=state.v + more * state.q, d=state.d + more * state.D)
    own, q = np.eye(len(state.xy)), np.diagonal(state.q)
    apart = state.apart + more * (1 - own) * (q[:, None] + q) / 2  # the masks of two positions are independent
    return replace(state, v=state.v + more * own * state.q, d=state.d + more * own * state.D, apart=apart)


# ---------------------------------------------------------------------------------------------------- sampled units
def of_units(layer: Dropout, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """A mask for every unit, sample and position."""
    units = as_units(state, sampling)
    shape = units.h.shape
    uniform = ndtr(normals(sampling, 5, shape[0], shape[1] * shape[2])).reshape(shape)
    factor = (uniform >= layer.rate) / (1 - layer.rate)
    return units.times(factor * units.h, factor)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Dropout, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """The mask is the network's: of its seed and of the layer's place."""
    random = np.random.default_rng([flow.seed, *flow.where.encode()])
    factor = (random.random(batch.h.shape) >= layer.rate) / (1 - layer.rate)
    return Batch(factor * batch.h), factor


def back(
    layer: Dropout, arrays: tuple[np.ndarray, ...], kept: np.ndarray, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    return kept * delta, []


KINDS: dict[type, Kind] = {Dropout: Kind(dropout, forward, back, units=of_units, of_averages=True)}
