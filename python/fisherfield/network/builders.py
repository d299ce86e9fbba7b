# SPDX-License-Identifier: BSD-3-Clause
"""Builders of networks from a few numbers: mlp and convnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import _numbers
from .activation import as_activation
from .affine import Conv2d, Dense
from .layer import Layer
from .network import Network, per_layer
from .norms import BatchNorm
from .pools import Flatten

__all__ = ["convnet", "mlp"]


def mlp(
    widths: Sequence[int],
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
) -> Network:
    """A fully connected network of the given widths, input first and outputs last.

    BatchNorm stands after every Dense but the last, then the activation. Every parameter is one value or a sequence:
    one a hidden layer for activation, gamma, beta, eps and trained, one an affine layer for sigma_w2 and sigma_b2.
    Defaults are those of Wei, Stokes and Schwab (2019), section 4. Raises ValueError or TypeError in one sentence.

    >>> ff.mlp([784, 1000, 1000, 1000, 10], gamma=0.25)
    """
    widths = (
        [_numbers.integer("widths", width, 1) for width in _numbers.entries("widths", widths)]
        if _numbers.is_sequence(widths)
        else widths
    )
    if not isinstance(widths, list) or len(widths) < 2:
        raise ValueError(f"widths must hold at least the inputs and the outputs, got {_numbers.shown(widths)}")
    affine = [
        Dense(units, w2, b2)
        for units, w2, b2 in zip(
            widths[1:],
            per_layer("sigma_w2", sigma_w2, len(widths) - 1),
            per_layer("sigma_b2", sigma_b2, len(widths) - 1),
            strict=True,
        )
    ]
    return Network((widths[0],), tuple(_stack(affine, [], activation, batch_norm, gamma, beta, eps, trained)))


def convnet(
    input_shape: tuple[int, int, int],
    channels: Sequence[int],
    outputs: int,
    kernel: Any = 3,
    stride: Any = 2,
    padding: Any = 1,
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
) -> Network:
    """A convolutional network: one Conv2d for each of `channels`, then Flatten and a Dense layer to the outputs.

    BatchNorm stands after every Conv2d, then the activation. Parameters may be sequences as in `mlp`; kernel, stride
    and padding hold for every convolution. Defaults are those of Wei, Stokes and Schwab (2019), section 4: stride 2 and
    padding 1, where a single Conv2d has PyTorch's 1 and 0. Raises ValueError or TypeError in one sentence.

    >>> ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    """
    channels = list(channels) if _numbers.is_sequence(channels) else channels
    if not isinstance(channels, list) or not channels:
        raise ValueError(f"channels must hold at least one number, got {_numbers.shown(channels)}")
    w2 = per_layer("sigma_w2", sigma_w2, len(channels) + 1)
    b2 = per_layer("sigma_b2", sigma_b2, len(channels) + 1)
    affine: list[Any] = [
        Conv2d(count, kernel, stride, padding, w, b) for count, w, b in zip(channels, w2, b2, strict=False)
    ]
    affine.append(Dense(_numbers.integer("outputs", outputs, 1), w2[-1], b2[-1]))
    return Network(input_shape, tuple(_stack(affine, [Flatten()], activation, batch_norm, gamma, beta, eps, trained)))


def _stack(
    affine: list[Any],
    before_last: list[Layer],
    activation: Any,
    batch_norm: bool,
    gamma: Any,
    beta: Any,
    eps: Any,
    trained: Any,
) -> Iterable[Layer]:
    """affine, BatchNorm, phi, affine, BatchNorm, phi, ..., (Flatten,) affine."""
    hidden = len(affine) - 1
    columns = (("gamma", gamma), ("beta", beta), ("eps", eps), ("trained", trained))
    norms = [BatchNorm(*row) for row in zip(*(per_layer(name, value, hidden) for name, value in columns), strict=True)]
    if not _numbers.boolean("batch_norm", batch_norm):
        norms = []
    phis = [as_activation(item) for item in per_layer("activation", activation, hidden)]
    for place, layer in enumerate(affine[:-1]):
        yield from (layer, *norms[place : place + 1], phis[place])
    yield from (*before_last, affine[-1])
