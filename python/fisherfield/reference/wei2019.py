# SPDX-License-Identifier: BSD-3-Clause
"""The published theory: the recursion of Wei, Stokes and Schwab (2019), affine layer, BatchNorm and phi in one rule.

docs/theory.md, section 4. A convolution counts as a dense layer with fan_in = channels times taps (see literal.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..network import Activation, BatchNorm, Flatten, Network
from . import quadrature
from .arguments import Settings
from .layers import affine, phi
from .layers.batch_norm import variance
from .state import State

__all__ = ["following", "walk"]


def following(layers: tuple[Any, ...], place: int) -> tuple[Any, Activation, int]:
    """BatchNorm and activation (or identity) after the affine layer at `place`, and the next place."""
    norm: Any = None
    function = phi.LINEAR
    place += 1
    if place < len(layers) and isinstance(layers[place], BatchNorm):
        norm = layers[place]
        place += 1
    if place < len(layers) and isinstance(layers[place], Activation):
        function = layers[place]
        place += 1
    return norm, function, place


def walk(net: Network, settings: Settings, add: Callable[[int, State, State], None]) -> State:
    """WSS's recursion, for infinite data; `add` takes every affine layer's fan_in, what feeds it and what it gives."""
    none = np.zeros(net.depth)
    overlap, length = settings.overlap, settings.length
    state = State(False, overlap, length - overlap, 0.0, 0.0, none, none, none, none)
    place, source = 0, 0
    while place < len(net.layers):
        layer: Any = net.layers[place]
        if isinstance(layer, Flatten):
            place += 1
            continue
        fan = affine.fan_in(layer, net.shapes[place])
        o, d = layer.sigma_w2 * state.o, layer.sigma_w2 * state.d
        o[source] += fan * state.xy + (settings.biases and layer.bias)
        d[source] += fan * state.v
        z = State(
            True, layer.sigma_b2 + layer.sigma_w2 * state.xy, layer.sigma_w2 * state.v, 0.0, 0.0, o, d, none, none
        )
        add(fan, state, z)
        norm, function, place = following(net.layers, place)
        state = phi.activation(function, z) if norm is None else _normalised(z, norm, function, source)
        source += 1
    return state


def _normalised(z: State, norm: Any, function: Activation, source: int) -> State:
    """WSS eqs. 23-25: phi(g w + beta), w ~ N(0, 1) independent from datum to datum, g^2 = gamma^2 v/(v + eps); of the
    gradient, q + eps stands for v + eps, and slopes are taken at gamma. Trained: E[phi' phi' (1 + k w w)], k = v/s2."""
    s2 = variance(norm, z.v)
    k = z.v / s2
    g2, at, c = k * norm.gamma**2, norm.gamma**2, norm.gamma**2 / (z.q + norm.eps)
    mean = float(quadrature.mean(function, g2, norm.beta))
    slopes = float(quadrature.slope_mean(function, at, norm.beta)) ** 2
    spread = float(quadrature.slope_variance(function, at, norm.beta))
    o, d = c * slopes * z.o, c * (slopes * z.d + spread * z.D)
    if norm.trained:
        u1 = float(quadrature.first_slope_moment(function, at, norm.beta)) ** 2
        u2 = float(quadrature.second_slope_moment(function, at, norm.beta))
        o[source] += slopes + k * u1
        d[source] += spread + k * (u2 - u1)
    none = np.zeros_like(o)
    v = float(quadrature.variance(function, g2, norm.beta))
    return State(False, mean**2, v, 0.0, mean, o, d, none, none)
