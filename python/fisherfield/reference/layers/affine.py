# SPDX-License-Identifier: BSD-3-Clause
"""Dense and convolution: z = W h + b, with weights and biases of their own; docs/theory.md, sections 4 and 5.

z(a) = sum_t W_t h(s a + t) + b with W_t ~ N(0, sigma_w2/(C |F|)), independent for every tap t (Xiao et al.); a dense
layer has one position and one tap. Different units and taps are uncorrelated, so covariances are (KAA)

    E z(a) z(a') = sigma_b2 + sigma_w2 P,        P = (1/|F|) sum_t H[s a + t, s a' + t],

with N = C |F| weights into one unit, where groups of channels are read apart C is that of one group, and taps of a
dilated window lie apart. Gradients: d z_i/d W_ij = h_j gives <h(x), h(y)> = N P, d z_i/d b_i = 1, and
through h everything before: sum_jj' W_ij W_ij' <grad h_j, grad h_j'> -> sigma_w2 (1/|F|) sum_t Theta_h, as different j
are independent and E W_ij^2 is sigma_w2/N (Jacot et al. 2018, with the variance in the weights, not in front of them).
WSS (34)-(43) keep one number for all pairs of positions a != a'; that the weights are shared makes them differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...network import Conv1d, Conv2d, Dense
from ...network.layer import Window
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State

__all__ = ["KINDS", "affine", "back", "fan_in", "forward", "framed_apart", "image_taps", "taps"]

Pair = tuple[int, int]
Affine = Dense | Conv2d | Conv1d


def window_of(layer: Any, before: tuple[int, ...]) -> Window:
    """Its window; that of one position where there are none."""
    return layer.window(before) or Window((1, 1), (1, 1))


def fan_in(layer: Affine, before: tuple[int, ...]) -> int:
    """N, the number of weights into one unit: units, or channels of one group times taps."""
    return before[0] // layer.channel_groups * math.prod(window_of(layer, before).kernel)


# ---------------------------------------------------------------------------------------------------- infinite width
def affine(layer: Affine, state: State, at: Place) -> State:
    if state.positions is None:
        return _map(layer, state, lambda entries: entries, at, None)
    after, taps = image_taps(state.positions, window_of(layer, at.shape))
    out = _map(layer, state, lambda entries: _mean_over_taps(entries, taps), at, after)
    return replace(out, apart=layer.sigma_w2 * _apart_of_windows(state.apart, np.diagonal(state.q), taps))


def _map(layer: Affine, state: State, mean: Callable[[Any], Any], at: Place, positions: Pair | None) -> State:
    """`mean` is (1/|F|) sum_t of what stands at s a + t, s a' + t. A layer without biases has sigma_b2 = 0 and no 1."""
    fan, w2 = fan_in(layer, at.shape), layer.sigma_w2
    xy, v, off = mean(state.xy), mean(state.v), mean(state.off)
    o, d = w2 * mean(state.o), w2 * mean(state.d)
    o[at.source] += fan * (xy + off) + (at.biases and layer.bias)
    d[at.source] += fan * (v - off)
    none = np.zeros_like(o)
    nothing: Any = 0.0 if positions is None else np.zeros_like(xy)
    if positions is None:
        return State(True, layer.sigma_b2 + w2 * xy, w2 * v, nothing, 0.0, o, d, none, none)
    return State(True, w2 * xy, w2 * v, nothing, 0.0, o, d, none, none, positions, bias=layer.sigma_b2)


def image_taps(shape: Pair, window: Window) -> tuple[Pair, list[np.ndarray]]:
    """For each tap t the input position s a + t - padding of each output position a; -1 in the padding."""
    kernel, stride, padding, dilation = window
    after = tuple((shape[i] + 2 * padding[i] - window.width[i]) // stride[i] + 1 for i in (0, 1))
    taps = []
    for tap_row in range(kernel[0]):
        for tap_column in range(kernel[1]):
            reads = np.full(after, -1)
            for i in range(after[0]):
                for j in range(after[1]):
                    row = stride[0] * i + dilation[0] * tap_row - padding[0]
                    column = stride[1] * j + dilation[1] * tap_column - padding[1]
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


def framed_apart(apart: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What positions differ by, with the padding (position -1) as one more that is 0 for every input."""
    return np.block([[apart, q[:, None] / 2], [q / 2, 0.0]])


def _apart_of_windows(apart: np.ndarray, q: np.ndarray, taps: list[np.ndarray]) -> np.ndarray:
    """The mean over taps of what positions differ by. Nothing is subtracted: windows that see the same differ by 0."""
    framed = framed_apart(apart, q)
    return np.asarray(sum(framed[reads[:, None], reads] for reads in taps) / len(taps))


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Affine, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """z_o(a) = sum_t sum_c W_oc(t) h_c(s a + t) + b_o, h with a frame of zeros around it, c of o's group.

    Before a BatchNorm the mean of h over samples and positions is taken off before it meets the weights, for each tap:
    behind a frame of zeros they differ. What it makes of z, and b, are the batch's offset.
    """
    W, b = arrays
    h = padded(batch.h, window_of(layer, batch.h.shape[1:]))
    terms, offset = [], np.zeros(len(W))
    for i, j, rows, columns in _taps_of(layer, batch.h):
        seen, mean = h[:, :, rows, columns], np.zeros(h.shape[1])
        if flow.normed:
            mean = np.mean(seen, axis=(0, 2, 3))
        parts = []
        for units, channels in _groups(layer, W):
            kernel = _kernel(W)[units, :, i, j]
            parts.append(np.tensordot(seen[:, channels] - mean[channels, None, None], kernel, (1, 1)))  # (n, i, j, o)
            offset[units] += kernel @ mean[channels]
        terms.append(np.concatenate(parts, axis=3))
    z = np.moveaxis(np.sum(terms, axis=0), 3, 1)
    if not flow.normed:
        z = z + b[:, None, None]
    z = z if batch.h.ndim == 4 else z[:, :, 0, 0]
    return Batch(z, offset + b if flow.normed else 0.0), batch.h


def back(
    layer: Affine, arrays: tuple[np.ndarray, ...], kept: np.ndarray, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """dW_oc(t) = sum_n sum_a delta_o(a) h_c(s a + t),  dh_c(s a + t) = sum_t sum_o W_oc(t) delta_o(a), db = sum delta.

    Deltas that come through a BatchNorm's mean sum to 0, and the mean of h does not matter to their gradient.
    """
    W, _ = arrays
    window = window_of(layer, kept.shape[1:])
    h = padded(kept, window)
    delta = delta.reshape(*delta.shape[:2], *(delta.shape[2:] or (1, 1)))
    centred = flow.normed and flow.statistics in ("exact", "mean_only")
    dW, dh = np.zeros_like(_kernel(W)), np.zeros_like(h)
    for i, j, rows, columns in _taps_of(layer, kept):
        seen = h[:, :, rows, columns]
        if centred:
            seen = seen - np.mean(seen, axis=(0, 2, 3), keepdims=True)
        for units, channels in _groups(layer, W):
            part = delta[:, units]
            dW[units, :, i, j] = np.tensordot(part, seen[:, channels], ((0, 2, 3), (0, 2, 3)))
            dh[:, channels, rows, columns] += np.moveaxis(np.tensordot(part, _kernel(W)[units, :, i, j], (1, 0)), 3, 1)
    gradients = [dW, *([np.sum(delta, axis=(0, 2, 3))] if flow.biases and layer.bias else [])]
    return unpadded(dh, window).reshape(kept.shape), gradients


def padded(h: np.ndarray, window: Window) -> np.ndarray:
    """Images in a frame of zeros; units are images of one position."""
    rows, columns = window.padding
    return np.pad(h, ((0, 0), (0, 0), (rows, rows), (columns, columns))) if h.ndim == 4 else h[:, :, None, None]


def unpadded(h: np.ndarray, window: Window) -> np.ndarray:
    """Without the frame."""
    rows, columns = window.padding
    return h[:, :, rows : h.shape[2] - rows, columns : h.shape[3] - columns]


def _kernel(W: np.ndarray) -> np.ndarray:
    return W if W.ndim == 4 else W[:, :, None, None]


def _groups(layer: Affine, W: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """The units of each group and the channels that they read."""
    units, channels = len(W) // layer.channel_groups, W.shape[1]
    for group in range(layer.channel_groups):
        yield slice(group * units, (group + 1) * units), slice(group * channels, (group + 1) * channels)


def _taps_of(layer: Affine, h: np.ndarray) -> Iterator[tuple[int, int, slice, slice]]:
    before = h.shape[1:]
    return taps(before, window_of(layer, before))


def taps(before: tuple[int, ...], window: Window) -> Iterator[tuple[int, int, slice, slice]]:
    """Each tap (i, j) of a window and the rows and columns that it reads in the frame, one for each output position.

    Output position a reads input position s a + t at tap t.
    """
    after = window.over(before) if len(before) == 3 else (1, 1)
    stride, dilation = window.stride, window.dilation
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            row, column = i * dilation[0], j * dilation[1]
            yield (
                i,
                j,
                slice(row, row + stride[0] * (after[0] - 1) + 1, stride[0]),
                slice(column, column + stride[1] * (after[1] - 1) + 1, stride[1]),
            )


_KIND = Kind(affine, forward, back, arrays=("weights", "biases"))

KINDS: dict[type, Kind] = {Dense: _KIND, Conv2d: _KIND, Conv1d: _KIND}
