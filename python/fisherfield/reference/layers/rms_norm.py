# SPDX-License-Identifier: BSD-3-Clause
"""RMSNorm: gamma u, u = h/sqrt(f + eps), f the mean square over the units of one sample; docs/theory.md, section 4.

Images, section 5: over all channels and positions. (Zhang, Sennrich 2019.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...network.rms_norm import RMSNorm
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State
from .layer_norm import over_units
from .phi import correlations

__all__ = ["KINDS", "back", "forward", "rms_norm"]


# ---------------------------------------------------------------------------------------------------- infinite width
def rms_norm(layer: Any, state: State, at: Place) -> State:
    """As LayerNorm (layer_norm.py), but nothing is taken off: f = q_hat = xy + v, of a pre-activation q + mean^2.

    f is the same for every sample; nothing flows through it, and everything is multiplied by gamma/s, s^2 = f + eps.
    Trained, d/d gamma = u, of each unit and position: of activations the means over units of u(x) u(y) are xy/s^2 and
    q_hat/s^2. Of pre-activations E u(x) u(y) goes with the unit's own value, q/s^2, beside mean^2/s^2; what is linear
    in the value has no mean. Where gamma = 0 there is no value that it could go with, and means count.
    """
    image = state.positions is not None
    q = state.q + state.mean**2 if state.gaussian else state.q
    s2 = over_units(layer, float(np.mean(np.diagonal(q)) if image else q))
    c = layer.gamma**2 / s2
    parts = {name: c * getattr(state, name) for name in state.scaled}
    out = replace(state, mean=layer.gamma / np.sqrt(s2) * state.mean, **parts)
    if layer.trained:
        owners = np.eye(len(state.xy)) if image else np.asarray(1.0)
        o, d, ou = out.o.copy(), out.d.copy(), out.ou.copy()
        if state.gaussian:
            o[at.source] += owners * state.mean**2 / s2
        if state.gaussian and (image or layer.gamma != 0):
            ou[at.source] += owners * state.q / s2
        else:
            o[at.source] += owners * state.xy / s2
            d[at.source] += owners * state.v / s2
        out = replace(out, o=o, d=d, ou=ou)
    if image and state.gaussian:
        out = replace(out, one_minus_c=state.one_minus_c or correlations(state.xy, state.v, state.apart))
    return out


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: RMSNorm, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """Each sample's own mean square."""
    (gamma,), h = arrays, batch.h
    f = _mean(h**2)
    if layer.eps == 0 and (f == 0).any():
        sample = int(np.argmax((f == 0).reshape(len(h), -1).any(axis=1)))
        raise ValueError(f"{flow.where}: sample {sample} has zero variance over its units; RMSNorm needs eps > 0")
    s = np.sqrt(f + layer.eps)
    return Batch(gamma * (h / s)), (h / s, s)


def back(
    layer: RMSNorm, arrays: tuple[np.ndarray, ...], kept: Any, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """d s/d h_j = u_j/N: dh = (1/s) [du - u mean(du u)]."""
    u, s = kept
    du = arrays[0] * delta
    gradients = [np.sum(delta * u, axis=0)] if layer.trained else []
    return (du - u * _mean(du * u)) / s, gradients


def _mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.mean(values, axis=tuple(range(1, values.ndim)), keepdims=True))


KINDS: dict[type, Kind] = {RMSNorm: Kind(rms_norm, forward, back, takes_gaussian=True, arrays=("gammas",))}
