# SPDX-License-Identifier: BSD-3-Clause
"""The forward pass through all layers: lengths, overlaps and the tangent kernel, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _numbers
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Network
from . import dense, images

__all__ = ["OrderParameters", "order_parameters"]

_LINEAR = "linear"


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
    return forward(net, theory, samples, overlap, length, biases).rows


def forward(net: Network, theory: str, samples: int | None, overlap: float, length: float, biases: bool | None) -> Pass:
    """One pass through the layers (docs/theory.md, section 4, "The definition"; images: section 5)."""
    theory, samples, overlap, length, biases = _numbers.settings_of(net, theory, samples, overlap, length, biases)
    walk = _wei2019 if theory == "wei2019" else _positions
    if len(net.input_shape) == 3:
        # per pair of positions, an array for each layer's part and some for every step of a closed form (measured)
        pairs = max(math.prod(shape[1:]) for shape in net.shapes if len(shape) == 3) ** 2
        _numbers.refuse_large_images(net, theory, each=8 * (60 + 12 * net.depth) * pairs)
    return walk(net, theory, samples, overlap, length, biases)


def _two(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def fan_in(layer: Dense | Conv2d, before: tuple[int, ...]) -> int:
    """The number of weights into one unit: units, or channels times taps."""
    if isinstance(layer, Dense):
        return before[0]
    height, width = _two(layer.kernel)
    return before[0] * height * width


class _Rows:
    """Collects one row per affine layer."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(self, fan: int, fed: tuple[float, float, float], state: dense.Preactivated) -> None:
        sums = (float(np.sum(part)) for part in (state.D, state.o, state.d))
        self.rows.append((fan, *fed, state.q, state.q_xy, state.v, *sums))

    def table(self) -> OrderParameters:
        return OrderParameters(*(np.array(column) for column in zip(*self.rows, strict=True)))


def following(layers: tuple[Any, ...], place: int) -> tuple[BatchNorm | None, Any, int]:
    """BatchNorm and activation (or identity) after the affine layer at `place`, and the next place."""
    norm, phi = None, Activation(_LINEAR)
    place += 1
    if place < len(layers) and isinstance(layers[place], BatchNorm):
        norm = layers[place]
        place += 1
    if place < len(layers) and isinstance(layers[place], Activation):
        phi = layers[place]
        place += 1
    return norm, phi, place


def _wei2019(net: Network, theory: str, samples: int | None, overlap: float, length: float, biases: bool) -> Pass:
    """WSS's recursion: a convolution counts as a dense layer, fan_in = channels times taps (see `literal`)."""
    layers: tuple[Any, ...] = net.layers
    rows, number, place = _Rows(), 0, 0
    state = dense.inputs(length, overlap, net.depth)
    while place < len(layers):
        layer = layers[place]
        if isinstance(layer, Flatten):
            place += 1
            continue
        fan = fan_in(layer, net.shapes[place])
        z = dense.affine(state, fan, layer.sigma_w2, layer.sigma_b2, number, biases)
        rows.add(fan, (state.q_hat, state.q_hat_xy, state.v_hat), z)
        norm, phi, place = following(layers, place)
        number += 1
        state = dense.activate(z, norm, phi, theory, samples, number - 1, output=number == net.depth)
    return Pass(rows.table(), state.D, state.o, state.d)


def _positions(net: Network, theory: str, samples: int | None, overlap: float, length: float, biases: bool) -> Pass:
    """The exact and the frozen theory."""
    layers: tuple[Any, ...] = net.layers
    rows, number, place = _Rows(), 0, 0
    state: Any
    if len(net.input_shape) == 3:
        state = images.inputs((net.input_shape[1], net.input_shape[2]), length, overlap, net.depth)
    else:
        state = dense.inputs(length, overlap, net.depth)
    while place < len(layers):
        layer = layers[place]
        if isinstance(layer, Flatten):
            state = _to_dense(state)
        elif isinstance(layer, AvgPool2d):
            state = images.average_pool(state, _two(layer.kernel), _two(layer.stride or layer.kernel))
        elif isinstance(layer, GlobalAvgPool2d):
            state = images.global_average_pool(state)
        else:
            last = number == net.depth - 1
            fan = fan_in(layer, net.shapes[place])
            norm, phi, after = following(layers, place)
            if isinstance(layer, Dense):
                z = dense.affine(state, fan, layer.sigma_w2, layer.sigma_b2, number, biases)
                rows.add(fan, (state.q_hat, state.q_hat_xy, state.v_hat), z)
                state = dense.activate(z, norm, phi, theory, samples, number, output=last)
            else:
                q_hat, q_hat_xy, _, _ = images.flatten(state)
                sizes = (_two(layer.kernel), _two(layer.stride), _two(layer.padding))
                image = images.convolve(
                    state, net.shapes[place][0], *sizes, layer.sigma_w2, layer.sigma_b2, number, biases
                )
                q, q_xy, D, o = images.flatten(image)
                fed = (q_hat, q_hat_xy, q_hat - q_hat_xy)
                rows.add(fan, fed, dense.Preactivated(q, q_xy, q - q_xy, D, o, D - o))
                state = images.activate(image, norm, phi, theory, number)
            number += 1
            place = after
            continue
        place += 1
    if isinstance(state, images.Image):
        state = _to_dense(state)
    return Pass(rows.table(), state.D, state.o, state.d)


def _to_dense(image: images.Image) -> dense.Activated:
    q_hat, q_hat_xy, D, o = images.flatten(image)
    v = q_hat - q_hat_xy
    return dense.Activated(q_hat, q_hat_xy, v, q_hat_xy, v, D, o, D - o)
