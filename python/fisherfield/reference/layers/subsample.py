# SPDX-License-Identifier: BSD-3-Clause
"""Every s-th position of the channels that come in, and zeros as further channels: a skip without parameters (He et al.
2015, option A). Some of its units are 0 and others are not: there is no recursion of means over all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...network import Subsample
from ..batch import Batch, Flow
from ..kind import Kind, without_recursion
from ..state import Place, State
from ..units.state import Sampling, Units, as_units, coins
from .affine import image_taps, taps, window_of
from .pools import pooled

__all__ = ["KINDS", "back", "forward"]


# ---------------------------------------------------------------------------------------------------- sampled units
def of_units(layer: Subsample, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """As many units as there are channels carry one, the others are 0: a share drawn for this layer alone, for of the
    units that one skip carries the next carries the same share. Pairs (z, -z) stay pairs."""
    units = as_units(state, sampling)
    assert units.positions is not None
    after, [reads] = image_taps(units.positions, window_of(layer, at.shape))
    half = len(units.h) // 2
    carriers = np.zeros(half)
    carriers[np.argsort(coins(sampling, 9, half), kind="stable")[: half * at.shape[0] // layer.channels]] = 1.0
    carries = np.tile(carriers, 2)[:, None, None] * np.ones((1, units.h.shape[1], reads.size))
    return pooled(units, after, [reads], [carries])


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Subsample, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    [(_, _, rows, columns)] = taps(batch.h.shape[1:], window_of(layer, batch.h.shape[1:]))
    seen = batch.h[:, :, rows, columns]
    return Batch(np.pad(seen, ((0, 0), (0, layer.channels - seen.shape[1]), (0, 0), (0, 0)))), batch.h.shape


def back(
    layer: Subsample, arrays: tuple[np.ndarray, ...], kept: tuple[int, ...], delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    [(_, _, rows, columns)] = taps(kept[1:], window_of(layer, kept[1:]))
    dh = np.zeros(kept)
    dh[:, :, rows, columns] = delta[:, : kept[1]]
    return dh, []


KINDS: dict[type, Kind] = {Subsample: Kind(without_recursion, forward, back, takes_gaussian=True, units=of_units)}
