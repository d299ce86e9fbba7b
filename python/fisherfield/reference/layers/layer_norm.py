# SPDX-License-Identifier: BSD-3-Clause
"""LayerNorm and GroupNorm: gamma u + beta, u = (h - m)/sqrt(f + eps), mean and variance over the units of one sample.

docs/theory.md, section 4; images section 5. LayerNorm takes all channels and positions of an image, GroupNorm those of
a group of channels. (Ba, Kiros, Hinton 2016; Wu, He 2018.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...network import GroupNorm, LayerNorm
from ..batch import Batch, Flow, of_channels
from ..kind import Kind
from ..state import Place, State
from .phi import correlations

__all__ = ["KINDS", "back", "forward", "layer_norm", "over_units"]

_ROUNDINGS = 8 * 2.0**-52  # of a mean's square and of what it is taken from
Norm = Any  # either; at infinite width one of units that have all the same gamma and beta


# ---------------------------------------------------------------------------------------------------- infinite width
def layer_norm(layer: Norm, state: State, at: Place) -> State:
    """The units of one sample are independent of each other, and infinitely many: m and f are means over units.

    Of a pre-activation m is its mean (the beta of what was added, else 0), f = q. Of activations m = E phi and
    f = E phi^2 - m^2. Both are numbers, the same for every sample, and so are 1/s, s^2 = f + eps, and all below.
    Gradient: m and f are sums over N units of 1/N each, and tangents of different units are orthogonal. So |grad m|^2
    is Theta/N, and <grad h_i, grad m> as well: nothing flows through them, and what all samples have in common stays.
        Theta <- (gamma^2/s^2) Theta.
    Trained, each unit has its own: d/d beta = 1, d/d gamma = u. Of pre-activations the last goes with the unit's own
    value, E u^2 = q/s^2; of activations, and where gamma = 0 leaves no value that it could go with, the means over
    units of u(x) u(y) count, (xy - m^2)/s^2 and (q_hat - m^2)/s^2.
    """
    if state.positions is not None:
        return _image(layer, state, at)
    m = state.mean
    common = state.xy if state.gaussian or state.common is None else state.common
    if not state.gaussian and state.common is None:  # the data, or a mean over positions
        common = state.xy - m**2
        common = -state.v if common + state.v < _ROUNDINGS * m**2 else common  # activations that are all the same
    f = common + state.v
    s2 = over_units(layer, f)
    return _normalised(layer, state, at, s2, common, state.v, np.asarray(1.0))


def over_units(layer: Any, f: float) -> float:
    """f + eps, f the mean square over units of what is normalised."""
    if f + layer.eps == 0:
        raise ValueError(
            f"eps must be > 0 where the variance over the units of a sample is zero, as it is before a "
            f"{type(layer).__name__} here"
        )
    return float(f + layer.eps)


def _normalised(layer: Norm, state: State, at: Place, s2: float, common: Any, v: Any, owners: np.ndarray) -> State:
    """`common` and v are E h(x) h(y), with its mean taken off, and what E h(x)^2 has beyond it; `owners` is 1 for two
    positions that have the same gamma and beta, else 0."""
    c = layer.gamma**2 / s2
    parts = {name: c * getattr(state, name) for name in state.scaled if name not in ("xy", "common")}
    out = replace(state, xy=c * common, mean=layer.beta, common=None if state.positions else c * common, **parts)
    if layer.trained:
        o, d, ou = out.o.copy(), out.d.copy(), out.ou.copy()
        o[at.source] += owners
        if state.gaussian and (state.positions or layer.gamma != 0):
            variances = np.diagonal(common + v) if state.positions else common + v
            roots = np.sqrt(np.maximum(variances, 0.0) / s2)
            ou[at.source] += owners * (roots[:, None] * roots if state.positions else roots**2)
        else:
            o[at.source] += owners * common / s2
            d[at.source] += owners * v / s2
        out = replace(out, o=o, d=d, ou=ou)
    return out if state.gaussian else replace(out, xy=out.xy + layer.beta**2)


def _image(layer: Norm, state: State, at: Place) -> State:
    """m and f are means over positions, too: with e_a = E phi at a position, m = mean_a e_a,

        f = mean_a H_xx[a, a] - m^2,
        E (h(x, a) - m) (h(y, a') - m) = H[a, a'] - m e_a - m e_a' + m^2.

    Where e_a is not m, the mean of gamma u + beta is not beta: gamma (e_a - m)/s + beta, and beta appears in
        E h h' = gamma^2 E u u' + gamma beta (E u + E u') + beta^2.
    Pre-activations have one mean for all positions. LayerNorm has a gamma and a beta for each unit and position, which
    two positions do not share; GroupNorm one for each channel.
    """
    positions = len(state.xy)
    owners = np.eye(positions) if isinstance(layer, LayerNorm) else np.ones((positions, positions))
    if state.gaussian:
        s2 = over_units(layer, float(np.mean(np.diagonal(state.q))))
        out = _normalised(layer, state, at, s2, state.xy, state.v, owners)
        return replace(out, one_minus_c=state.one_minus_c or correlations(state.xy, state.v, state.apart))
    e = state.mean * np.ones(positions)
    m = float(np.mean(e))
    common = state.xy - m * e[:, None] - m * e + m**2
    f = float(np.mean(np.diagonal(state.v)) + (np.mean(np.diagonal(state.xy)) - m**2))
    s2 = over_units(layer, 0.0 if f < _ROUNDINGS * m**2 else f)
    out = _normalised(layer, state, at, s2, common, state.v, owners)
    means = layer.gamma * (e - m) / np.sqrt(s2)
    return replace(out, xy=out.xy + layer.beta * (means[:, None] + means), mean=means + layer.beta)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Norm, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """Each sample's, or each of its groups', own mean and biased variance."""
    gamma, beta = (_shaped(each, batch.h) for each in arrays)
    mean = _mean_of(layer, batch.h)
    centred = batch.h - mean(batch.h)
    variance = mean(centred**2)
    constant = variance <= 1e-24 * mean(batch.h**2)  # what rounding leaves of equal numbers
    if layer.eps == 0 and constant.any():
        sample = int(np.argmax(constant.reshape(len(batch.h), -1).any(axis=1)))
        raise ValueError(
            f"{flow.where}: sample {sample} has zero variance over its units; {type(layer).__name__} needs eps > 0"
        )
    s = np.sqrt(variance + layer.eps)
    u = centred / s
    return Batch(gamma * u + beta), (u, s)


def back(
    layer: Norm, arrays: tuple[np.ndarray, ...], kept: Any, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """As BatchNorm's, with means over the units of a sample: dh = (1/s) [du - mean(du) - u mean(du u)]. Whatever
    `statistics` says, for those are BatchNorm's."""
    u, s = kept
    mean, du = _mean_of(layer, delta), _shaped(arrays[0], delta) * delta
    gradients = []
    if layer.trained:
        over = (0, *range(1 + arrays[0].ndim, delta.ndim))
        gradients = [np.sum(delta * u, axis=over), np.sum(delta, axis=over)]
    return (du - mean(du) - u * mean(du * u)) / s, gradients


def _shaped(vector: np.ndarray, h: np.ndarray) -> np.ndarray:
    """One for each unit and position as it is, one for each channel for all of its positions."""
    return vector if vector.ndim == h.ndim - 1 else of_channels(vector, h)


def _mean_of(layer: Norm, h: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Means over what is normalised together, repeated for each of it."""
    groups = layer.groups if isinstance(layer, GroupNorm) else 1

    def mean(values: np.ndarray) -> np.ndarray:
        parts = values.reshape(len(values), groups, -1)
        means = np.broadcast_to(np.mean(parts, axis=2, keepdims=True), parts.shape)
        return means.reshape(values.shape)

    return mean


_KIND = Kind(layer_norm, forward, back, takes_gaussian=True, arrays=("gammas", "betas"))

KINDS: dict[type, Kind] = {LayerNorm: _KIND, GroupNorm: _KIND}
