# SPDX-License-Identifier: BSD-3-Clause
"""Dense and convolution: z = W h + b, with weights and biases of their own; docs/theory.md, sections 4 and 5.

z(a) = sum_t W_t h(s a + t) + b with W_t ~ N(0, sigma_w2/(C |F|)), independent for every tap t (Xiao et al.); a dense
layer has one position and one tap. Different units and taps are uncorrelated, so covariances are (KAA)

    E z(a) z(a') = sigma_b2 + sigma_w2 P,        P = (1/|F|) sum_t H[s a + t, s a' + t],

with N = C |F| weights into one unit. Gradients: d z_i/d W_ij = h_j gives <h(x), h(y)> = N P, d z_i/d b_i = 1, and
through h everything before: sum_jj' W_ij W_ij' <grad h_j, grad h_j'> -> sigma_w2 (1/|F|) sum_t Theta_h, as different j
are independent and E W_ij^2 is sigma_w2/N (Jacot et al. 2018, with the variance in the weights, not in front of them).
WSS (34)-(43) keep one number for all pairs of positions a != a'; that the weights are shared makes them differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...network import Conv2d, Dense
from ..batch import Batch, Flow
from ..state import Place, State

__all__ = ["back", "convolution", "dense", "fan_in", "forward", "image_taps", "taps"]

Pair = tuple[int, int]


def two(value: int | Pair) -> Pair:
    """Height and width of a kernel, stride or padding."""
    return value if isinstance(value, tuple) else (value, value)


def fan_in(layer: Dense | Conv2d, before: tuple[int, ...]) -> int:
    """N, the number of weights into one unit: units, or channels times taps."""
    height, width = two(layer.kernel) if isinstance(layer, Conv2d) else (1, 1)
    return before[0] * height * width


# ---------------------------------------------------------------------------------------------------- infinite width
def dense(layer: Dense, state: State, at: Place) -> State:
    return _map(layer, state, lambda entries: entries, at, None)


def convolution(layer: Conv2d, state: State, at: Place) -> State:
    assert state.positions is not None
    after, taps = image_taps(state.positions, two(layer.kernel), two(layer.stride), two(layer.padding))
    return _map(layer, state, lambda entries: _mean_over_taps(entries, taps), at, after)


def _map(layer: Dense | Conv2d, state: State, mean: Callable[[Any], Any], at: Place, positions: Pair | None) -> State:
    """`mean` is (1/|F|) sum_t of what stands at s a + t, s a' + t."""
    fan, w2 = fan_in(layer, at.shape), layer.sigma_w2
    xy, v, off = mean(state.xy), mean(state.v), mean(state.off)
    o, d = w2 * mean(state.o), w2 * mean(state.d)
    o[at.source] += fan * (xy + off) + at.biases
    d[at.source] += fan * (v - off)
    none = np.zeros_like(o)
    nothing: Any = 0.0 if positions is None else np.zeros_like(xy)
    return State(True, layer.sigma_b2 + w2 * xy, w2 * v, nothing, 0.0, o, d, none, none, positions)


def image_taps(shape: Pair, kernel: Pair, stride: Pair, padding: Pair) -> tuple[Pair, list[np.ndarray]]:
    """For each tap t the input position s a + t - padding of each output position a; -1 in the padding."""
    after = tuple((shape[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1))
    taps = []
    for tap_row in range(kernel[0]):
        for tap_column in range(kernel[1]):
            reads = np.full(after, -1)
            for i in range(after[0]):
                for j in range(after[1]):
                    row = stride[0] * i + tap_row - padding[0]
                    column = stride[1] * j + tap_column - padding[1]
                    if 0 <= row < shape[0] and 0 <= column < shape[1]:
                        reads[i, j] = row * shape[1] + column
            taps.append(reads.ravel())
    return (after[0], after[1]), taps


def _mean_over_taps(matrix: np.ndarray, taps: list[np.ndarray]) -> np.ndarray:
    """Terms with either position outside the image are 0."""
    total = np.zeros((*matrix.shape[:-2], taps[0].size, taps[0].size))
    for reads in taps:
        inside = (reads >= 0)[:, None] & (reads >= 0)
        total += np.where(inside, matrix[..., reads[:, None], reads], 0.0)
    return total / len(taps)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Dense | Conv2d, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """z_o(a) = sum_t sum_c W_oc(t) h_c(s a + t) + b_o, h with a frame of zeros around it.

    Before a BatchNorm the mean of h over samples and positions is taken off before it meets the weights, for each tap:
    behind a frame of zeros they differ. What it makes of z, and b, are the batch's offset.
    """
    W, b = arrays
    h = _padded(layer, batch.h)
    terms, offset = [], np.zeros(len(W))
    for i, j, rows, columns in _taps_of(layer, h):
        seen, mean = h[:, :, rows, columns], np.zeros(h.shape[1])
        if flow.normed:
            mean = np.mean(seen, axis=(0, 2, 3))
        kernel = _kernel(layer, W)[:, :, i, j]
        terms.append(np.tensordot(seen - mean[:, None, None], kernel, (1, 1)))  # (n, i, j, o)
        offset += kernel @ mean
    z = np.moveaxis(np.sum(terms, axis=0), 3, 1)
    if not flow.normed:
        z = z + b[:, None, None]
    z = z if isinstance(layer, Conv2d) else z[:, :, 0, 0]
    return Batch(z, offset + b if flow.normed else 0.0), batch.h


def back(
    layer: Dense | Conv2d, arrays: tuple[np.ndarray, ...], kept: np.ndarray, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """dW_oc(t) = sum_n sum_a delta_o(a) h_c(s a + t),  dh_c(s a + t) = sum_t sum_o W_oc(t) delta_o(a), db = sum delta.

    Deltas that come through a BatchNorm's mean sum to 0, and the mean of h does not matter to their gradient.
    """
    W, _ = arrays
    h = _padded(layer, kept)
    delta = delta.reshape(*delta.shape[:2], *(delta.shape[2:] or (1, 1)))
    centred = flow.normed and flow.statistics in ("exact", "mean_only")
    dW, dh = np.zeros_like(_kernel(layer, W)), np.zeros_like(h)
    for i, j, rows, columns in _taps_of(layer, h):
        seen = h[:, :, rows, columns]
        if centred:
            seen = seen - np.mean(seen, axis=(0, 2, 3), keepdims=True)
        dW[:, :, i, j] = np.tensordot(delta, seen, ((0, 2, 3), (0, 2, 3)))
        dh[:, :, rows, columns] += np.moveaxis(np.tensordot(delta, _kernel(layer, W)[:, :, i, j], (1, 0)), 3, 1)
    top, side = two(layer.padding) if isinstance(layer, Conv2d) else (0, 0)
    dh = dh[:, :, top : h.shape[2] - top, side : h.shape[3] - side].reshape(kept.shape)
    return dh, [dW, *([np.sum(delta, axis=(0, 2, 3))] if flow.biases else [])]


def _padded(layer: Dense | Conv2d, h: np.ndarray) -> np.ndarray:
    if not isinstance(layer, Conv2d):
        return h[:, :, None, None]
    rows, columns = two(layer.padding)
    return np.pad(h, ((0, 0), (0, 0), (rows, rows), (columns, columns)))


def _kernel(layer: Dense | Conv2d, W: np.ndarray) -> np.ndarray:
    return W if isinstance(layer, Conv2d) else W[:, :, None, None]


def _taps_of(layer: Dense | Conv2d, h: np.ndarray) -> Iterator[tuple[int, int, slice, slice]]:
    kernel, stride = (two(layer.kernel), two(layer.stride)) if isinstance(layer, Conv2d) else ((1, 1), (1, 1))
    return taps(h.shape[2:4], kernel, stride)


def taps(shape: tuple[int, ...], kernel: Pair, stride: Pair) -> Iterator[tuple[int, int, slice, slice]]:
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
