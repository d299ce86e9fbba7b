# SPDX-License-Identifier: BSD-3-Clause
"""A finite network, its Jacobian and its Fisher information, as they are defined: one reverse pass a row, plain loops.

Everything is float64. Images are (n, channels, height, width); what a BatchNorm averages over, the samples and the
positions, are the axes other than 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _arguments
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer

__all__ = ["batch_statistics", "forward"]

# Below so small a share of a unit's length, its standard deviation over the batch is what rounding leaves.
_CONSTANT = 1e-12

Pair = tuple[int, int]
Held = Sequence[tuple[Any, Any]]


def forward(sampled: Any, x: Any, held: Held | None = None) -> np.ndarray:
    """f(x), (n, C), with the batch's own mean and biased variance in every BatchNorm (train mode).

    `held`, one pair (mean, variance) a BatchNorm, gives statistics in place of the batch's; None in a pair leaves that
    one to the batch. The variance is about the mean that is used.
    """
    return _trace(sampled, x, held)[0]


def batch_statistics(sampled: Any, x: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(mean, variance) over samples and positions of what every BatchNorm receives, an entry a unit or channel."""
    return [(step.mean, step.var) for step in _trace(sampled, x)[1] if isinstance(step.layer, BatchNorm)]


@dataclass
class _Step:
    """One layer of a forward pass: what went into it, and what its reverse pass needs besides."""

    layer: Layer
    h: np.ndarray
    index: int = 0  # which affine layer, or which BatchNorm, it is
    u: np.ndarray = field(default_factory=lambda: np.empty(0))  # normalised
    mean: np.ndarray = field(default_factory=lambda: np.empty(0))
    var: np.ndarray = field(default_factory=lambda: np.empty(0))


def _trace(sampled: Any, x: Any, held: Held | None = None) -> tuple[np.ndarray, list[_Step]]:
    """The outputs, and every layer's step."""
    net = _arguments.sampled_of(sampled).net
    h = _arguments.inputs_of(net, x, np.dtype(np.float64))
    steps: list[_Step] = []
    affine = norms = 0
    for place, layer in enumerate(net.layers):
        step = _Step(layer, h)
        steps.append(step)
        if isinstance(layer, (Dense, Conv2d)):
            W, b = (np.asarray(arrays[affine], np.float64) for arrays in (sampled.weights, sampled.biases))
            step.index, affine = affine, affine + 1
            h = h @ W.T + b if isinstance(layer, Dense) else _convolve(layer, W, h) + b[:, None, None]
        elif isinstance(layer, BatchNorm):
            gamma, beta = (np.asarray(arrays[norms], np.float64) for arrays in (sampled.gammas, sampled.betas))
            mean, var = held[norms] if held is not None else (None, None)
            step.index, norms = norms, norms + 1
            over = (0, *range(2, h.ndim))
            step.mean = np.mean(h, axis=over) if mean is None else mean
            centred = h - _channels(step.mean, h.ndim)
            step.var = np.mean(centred**2, axis=over) if var is None else var
            constant = step.var <= _CONSTANT**2 * np.mean(h**2, axis=over)
            if layer.eps == 0 and constant.any():
                kind = "unit" if h.ndim == 2 else "channel"
                raise ValueError(
                    f"layers[{place}]: {kind} {int(np.argmax(constant))} has zero variance over the batch; "
                    "BatchNorm needs eps > 0"
                )
            step.u = centred / _channels(np.sqrt(step.var + layer.eps), h.ndim)
            h = _channels(gamma, h.ndim) * step.u + _channels(beta, h.ndim)
        elif isinstance(layer, Activation):
            h = layer(h)
        elif isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            h = _pool(layer, h)
        else:
            assert isinstance(layer, Flatten)
            h = h.reshape(len(h), -1)
    return h.reshape(len(h), -1), steps  # one position


def _channels(vector: np.ndarray, dimensions: int) -> np.ndarray:
    """A vector with an entry a channel, to go with (n, channels) or (n, channels, height, width)."""
    return vector.reshape(-1, *(1,) * (dimensions - 2))


def _two(value: Any) -> Pair:
    return value if isinstance(value, tuple) else (value, value)


def _taps(shape: Pair, kernel: Pair, stride: Pair) -> Iterator[tuple[int, int, slice, slice]]:
    """Each tap (i, j) of a kernel and the rows and columns that it reads, one for each output position.

    Output position a reads input position s a + t at tap t.
    """
    after = tuple((size - width) // step + 1 for size, width, step in zip(shape, kernel, stride, strict=True))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield (
                i,
                j,
                slice(i, i + stride[0] * (after[0] - 1) + 1, stride[0]),
                slice(j, j + stride[1] * (after[1] - 1) + 1, stride[1]),
            )


def _padded(layer: Conv2d, h: np.ndarray) -> np.ndarray:
    rows, columns = _two(layer.padding)
    return np.pad(h, ((0, 0), (0, 0), (rows, rows), (columns, columns)))


def _convolve(layer: Conv2d, W: np.ndarray, h: np.ndarray) -> np.ndarray:
    """z_o(a) = sum_t sum_c W_oc(t) h_c(s a + t), h with a frame of zeros around it."""
    h = _padded(layer, h)
    terms = [
        np.einsum("oc,ncij->noij", W[:, :, i, j], h[:, :, rows, columns])
        for i, j, rows, columns in _taps(h.shape[2:], _two(layer.kernel), _two(layer.stride))
    ]
    return np.asarray(sum(terms))


def _pool(layer: AvgPool2d | GlobalAvgPool2d, h: np.ndarray) -> np.ndarray:
    """The mean over a window: a convolution of every channel with equal taps."""
    kernel, stride = _windows(layer, h)
    parts = [h[:, :, rows, columns] for _, _, rows, columns in _taps(h.shape[2:], kernel, stride)]
    return np.asarray(sum(parts) / (kernel[0] * kernel[1]))


def _windows(layer: AvgPool2d | GlobalAvgPool2d, h: np.ndarray) -> tuple[Pair, Pair]:
    if isinstance(layer, GlobalAvgPool2d):
        return (h.shape[2], h.shape[3]), (1, 1)
    return _two(layer.kernel), _two(layer.stride)
