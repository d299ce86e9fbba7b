# SPDX-License-Identifier: BSD-3-Clause
"""The forward pass through all layers: lengths, overlaps and the tangent kernel, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import Network
from . import wei2019
from .arguments import Settings, refuse_large_images, settings_of
from .layers import KINDS
from .layers.affine import fan_in
from .layers.flatten import over_positions
from .layers.phi import LINEAR, activation
from .state import Place, State, inputs

__all__ = ["OrderParameters", "Pass", "forward", "order_parameters"]


@dataclass(frozen=True)
class OrderParameters:
    """One entry per affine layer l = 1 .. L; for convolutions means over positions."""

    fan_in: np.ndarray  # N_{l-1}; of a convolution channels times taps
    q_hat: np.ndarray  # q_hat^{l-1}: length of what feeds layer l
    q_hat_xy: np.ndarray  # its overlap
    v_hat: np.ndarray  # q_hat - q_hat_xy
    q: np.ndarray  # length of the pre-activation z^l
    q_xy: np.ndarray
    v: np.ndarray  # q - q_xy
    theta: np.ndarray  # D, the tangent kernel's diagonal after layer l
    theta_xy: np.ndarray  # o, its off-diagonal
    d: np.ndarray  # D - o


@dataclass(frozen=True)
class Pass:
    """What the forward pass leaves: the rows, and the output's D, o, d by the affine layer they come from."""

    rows: OrderParameters
    D: np.ndarray
    o: np.ndarray
    d: np.ndarray


def order_parameters(
    net: Network,
    theory: str = "exact",
    overlap: float = 0.0,
    length: float = 1.0,
    *,
    samples: int | None = None,
    biases: bool | None = None,
) -> OrderParameters:
    """Lengths q, overlaps q_xy and tangent kernel (D, o) of every affine layer."""
    return forward(net, settings_of(net, theory, samples, overlap, length, biases)).rows


def forward(net: Network, settings: Settings) -> Pass:
    """One pass through the layers (docs/theory.md, section 4, "The definition"; images: section 5)."""
    walk = wei2019.walk if settings.theory == "wei2019" else _walk
    rows: list[tuple[Any, ...]] = []

    def add(fan: int, fed: State, z: State) -> None:
        sums = (float(np.sum(part)) for part in (z.D, z.o, z.d))
        rows.append((fan, fed.q, fed.xy, fed.v, z.q, z.xy, z.v, *sums))

    end = walk(net, settings, add)
    return Pass(OrderParameters(*(np.array(column) for column in zip(*rows, strict=True))), end.D, end.o, end.d)


def _walk(net: Network, settings: Settings, add: Callable[[int, State, State], None]) -> State:
    """The exact and the frozen theory: every layer maps the state. Where no phi stands it is the identity."""
    refuse_large_images(net)
    state = inputs(net, settings.length, settings.overlap)
    source = -1
    layer: Any
    for place, layer in enumerate(net.layers):
        kind, shape = KINDS[type(layer)], net.shapes[place]
        if state.gaussian and not kind.takes_gaussian:
            state = activation(LINEAR, state)
        affine = layer in net.affine_layers
        source += affine
        at = Place(settings.theory, settings.samples, settings.biases, shape, source, net.layers[place + 1 :])
        after = kind.state(layer, state, at)
        if affine:
            add(fan_in(layer, shape), over_positions(state), over_positions(after))
        state = after
    if state.gaussian:
        state = activation(LINEAR, state)
    return over_positions(state)
