# SPDX-License-Identifier: BSD-3-Clause
"""Every position several times: h_a <- h_s(a), s(a) the position that a repeats; docs/theory.md, section 5.

Hence every matrix over pairs of positions, M_ab <- M_s(a)s(b), what they differ by among them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...network import Upsample
from ...network.layer import two
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State
from ..units.state import Sampling, Units, as_units
from .pools import pooled

__all__ = ["KINDS", "back", "forward", "upsample"]


# ---------------------------------------------------------------------------------------------------- infinite width
def upsample(layer: Upsample, state: State, at: Place) -> State:
    assert state.positions is not None
    after, source = repetitions(layer, state.positions)
    names = ("xy", "v", "off", "o", "d", "ou", "du", "apart")
    matrices = {name: getattr(state, name)[..., source[:, None], source] for name in names}
    return replace(state, mean=state.mean[source], positions=after, **matrices)


def repetitions(layer: Upsample, positions: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray]:
    """The image's size, and the position that each one repeats."""
    rows, columns = two(layer.factor)
    height, width = positions
    numbered = np.arange(height * width).reshape(height, width)
    source = np.repeat(np.repeat(numbered, rows, axis=0), columns, axis=1).ravel()
    return (height * rows, width * columns), source


def of_units(layer: Upsample, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """A window of one tap."""
    units = as_units(state, sampling)
    assert units.positions is not None
    after, source = repetitions(layer, units.positions)
    return pooled(units, after, [source], [np.ones((*units.h.shape[:2], source.size))])


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Upsample, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    rows, columns = two(layer.factor)
    return Batch(np.repeat(np.repeat(batch.h, rows, axis=2), columns, axis=3)), batch.h.shape


def back(
    layer: Upsample, arrays: tuple[np.ndarray, ...], kept: tuple[int, ...], delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A position receives what all that repeat it do."""
    rows, columns = two(layer.factor)
    n, channels, height, width = kept
    return delta.reshape(n, channels, height, rows, width, columns).sum(axis=(3, 5)), []


KINDS: dict[type, Kind] = {Upsample: Kind(upsample, forward, back, units=of_units, of_averages=True)}
