# SPDX-License-Identifier: BSD-3-Clause
"""Sums of branches, z = z_s + alpha z_b; docs/theory.md, section 4.

All weights of the last affine layer of one branch are drawn for it alone, with mean 0, so that E z_s z_b and E <grad
z_s, grad z_b> are 0 but for their means, which are constants: lengths, overlaps, tangent kernels and what positions
differ by add.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...network import Residual
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State, known
from ..units.state import Sampling, Units, as_units, side_by_side
from .phi import over_roots

__all__ = ["KINDS", "add", "back", "forward"]


# ---------------------------------------------------------------------------------------------------- infinite width
def add(layer: Residual, branch: State, skip: State, at: Place) -> State:
    """What goes with the units' own value is another in the sum (`_part`); all else adds."""
    alpha = layer.scale
    v, xy = skip.v + alpha**2 * branch.v, skip.xy + alpha**2 * branch.xy
    kernels = zip(_part(branch, skip, alpha, 1.0), _part(skip, branch, 1.0, alpha), strict=True)
    o, d, ou, du = (one + other for one, other in kernels)
    off, mean = skip.off + alpha**2 * branch.off, skip.mean + alpha * branch.mean
    apart = None if skip.positions is None else skip.apart + alpha**2 * branch.apart
    return State(True, xy, v, off, mean, o, d, ou, du, skip.positions, apart)


def _part(own: State, other: State, factor: float, beside: float) -> tuple[np.ndarray, ...]:
    """(o, d, ou, du) of z = factor own + beside other by own's kernel: of u_own the sum's u knows the share
    W = factor^2 q_own/q.

    What the means have beyond the sum's, c_own - W c, is formed from W' = 1 - W, the other's share, as
    c = W c_own + W' c_other:  c_own - W c = W' (c_own + W (c_own - c_other)); and 1 - c likewise. A constant own,
    q_own = 0, is nothing that the sum could know; c_own of what a gamma of 0 leaves is that behind a BatchNorm, 0.
    """
    if not (np.any(own.ou) or np.any(own.du)):
        kernel: tuple[np.ndarray, ...] = own.o, own.d, own.ou, own.du
    elif own.positions is not None:
        kernel = known(own, *_of_positions(own, other, factor, beside))
    else:
        q, q_other = factor**2 * own.q, beside**2 * other.q
        W, rest = (q / (q + q_other), q_other / (q + q_other)) if q > 0 else (0.0, 1.0)
        c, omc = (own.xy / own.q, own.v / own.q) if own.q > 0 else (0.0, 1.0)
        c_other, omc_other = (other.xy / other.q, other.v / other.q) if other.q > 0 else (c, omc)
        two, apart = rest * (c + W * (c - c_other)), rest * (omc + W * (omc - omc_other))
        kernel = known(own, W, two, two + apart)
    return tuple(factor**2 * each for each in kernel)


def _of_positions(own: State, other: State, factor: float, beside: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pair of positions sqrt(W W'), and what the mean of u u' of own has beyond the sum's, of two inputs and
    of one."""
    q, q_sum = np.diagonal(own.q), factor**2 * np.diagonal(own.q) + beside**2 * np.diagonal(other.q)
    roots = np.where(q > 0, np.abs(factor) * np.sqrt(q / np.where(q > 0, q_sum, 1.0)), 0.0)
    R = roots[:, None] * roots

    def beyond(of_own: np.ndarray, of_other: np.ndarray) -> np.ndarray:
        return np.asarray(over_roots(of_own, q) - R * over_roots(factor**2 * of_own + beside**2 * of_other, q_sum))

    one, rest = beyond(own.q, other.q), beside**2 * np.diagonal(other.q)
    np.fill_diagonal(one, np.where(q > 0, rest / np.where(q > 0, q_sum, 1.0), 1.0))
    return R, beyond(own.xy, other.xy), one


# ---------------------------------------------------------------------------------------------------- sampled units
def of_units(layer: Residual, branch: Any, skip: Any, at: Place, sampling: Sampling) -> State | Units:
    """Gaussian states stay such. The branch's units were drawn for it alone, and are independent of the stream's: what
    <grad z_s, grad z_b> is of one unit has mean 0, and is of order C^-1/2."""
    if all(isinstance(part, State) and part.gaussian and not np.any([part.ou, part.du]) for part in (branch, skip)):
        return add(layer, branch, skip, at)
    return side_by_side(as_units(skip, sampling, 1), as_units(branch, sampling, 0), layer.scale)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(
    layer: Residual, arrays: tuple[np.ndarray, ...], branch: Batch, skip: Batch, flow: Flow
) -> tuple[Batch, Any]:
    return Batch(skip.h + layer.scale * branch.h, skip.offset + layer.scale * branch.offset), None


def back(
    layer: Residual, arrays: tuple[np.ndarray, ...], kept: None, delta: np.ndarray, flow: Flow
) -> tuple[tuple[np.ndarray, np.ndarray], list[np.ndarray]]:
    """d branch = alpha dz, d skip = dz."""
    return (layer.scale * delta, delta), []


KINDS: dict[type, Kind] = {Residual: Kind(add, forward, back, takes_gaussian=True, units=of_units)}
