# SPDX-License-Identifier: BSD-3-Clause
"""Flatten: every position of every channel becomes a unit; docs/theory.md, section 5."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...network import Flatten
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State
from ..units.flatten import flatten as of_units

__all__ = ["KINDS", "back", "flatten", "forward", "over_positions"]


# ---------------------------------------------------------------------------------------------------- infinite width
def flatten(layer: Flatten, state: State, at: Place) -> State:
    """As the weights behind are independent, different positions are different units."""
    return over_positions(state)


def over_positions(state: State) -> State:
    """One position in place of many: means of the diagonals."""
    if state.positions is None:
        return state

    def mean(matrix: np.ndarray) -> Any:
        return np.mean(np.diagonal(matrix, axis1=-2, axis2=-1), axis=-1)

    xy, v, off = (float(mean(matrix)) for matrix in (state.xy, state.v, state.off))
    o, d, ou, du = (mean(matrix) for matrix in (state.o, state.d, state.ou, state.du))
    return State(state.gaussian, xy, v, off, float(np.mean(state.mean)), o, d, ou, du)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Flatten, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    return Batch(batch.h.reshape(len(batch.h), -1)), batch.h.shape


def back(
    layer: Flatten, arrays: tuple[np.ndarray, ...], kept: tuple[int, ...], delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    return delta.reshape(kept), []


KINDS: dict[type, Kind] = {Flatten: Kind(flatten, forward, back, units=of_units, of_averages=True)}
