# SPDX-License-Identifier: BSD-3-Clause
"""Pooling over windows; docs/theory.md, section 5.

Average pooling is h <- A h, one row of A for each window with 1/area at its positions. Positions in the padding count
in the area, and are 0. Max pooling takes the largest, of equals the first, and never the padding; it has no recursion
of second moments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...network import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from ..batch import Batch, Flow
from ..kind import Kind, without_recursion
from ..state import Place, State
from ..units.state import Low, Sampling, Units, as_units
from .affine import framed_apart, image_taps, padded, taps, unpadded, window_of

__all__ = ["KINDS", "average_pool", "back", "forward"]


# ---------------------------------------------------------------------------------------------------- infinite width
def average_pool(layer: AvgPool2d | GlobalAvgPool2d, state: State, at: Place) -> State:
    """H <- A H A^T and Theta <- A Theta A^T."""
    assert state.positions is not None
    after, reads = image_taps(state.positions, window_of(layer, at.shape))
    counts = np.zeros((after[0] * after[1], len(state.xy) + 1))  # the last column is the padding's, position -1
    for each in reads:
        counts[np.arange(len(counts)), each] += 1
    A = counts[:, :-1] / len(reads)
    matrices = {name: A @ getattr(state, name) @ A.T for name in ("xy", "v", "off", "o", "d", "ou", "du")}
    apart = _apart_of_means(framed_apart(state.apart, np.diagonal(state.q)), counts, len(reads))
    return replace(state, mean=A @ state.mean, positions=after, apart=apart, **matrices)


def _apart_of_means(apart: np.ndarray, counts: np.ndarray, taps: int) -> np.ndarray:
    """E [w h]^2/2 of w = A_a - A_a': the sum of w is 0, padding and all, so that it is -w apart w/2.

    Positions that see the same are one; what two windows share goes out as a whole number, and windows with the same
    content differ by 0.
    """
    first = np.argmax(apart == 0, axis=1)
    counts = counts @ np.eye(len(apart))[first]
    w = counts[:, None, :] - counts[None, :, :]
    return np.asarray(np.maximum(np.sum((w @ apart) * w, axis=-1) / (-2 * taps**2), 0.0))


# ---------------------------------------------------------------------------------------------------- sampled units
def of_units(layer: AvgPool2d | GlobalAvgPool2d, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """Every tap of a window has its share, those in the padding none."""
    units = as_units(state, sampling)
    assert units.positions is not None
    after, reads = image_taps(units.positions, window_of(layer, at.shape))
    shares = [np.broadcast_to((tap >= 0) / len(reads), (*units.h.shape[:2], tap.size)) for tap in reads]
    return pooled(units, after, reads, shares)


def of_largest(layer: MaxPool2d, state: State | Units, at: Place, sampling: Sampling) -> Units:
    """Of every unit and sample by itself."""
    units = as_units(state, sampling)
    assert units.positions is not None
    return largest_of_windows(units, *image_taps(units.positions, window_of(layer, at.shape)))


def largest_of_windows(units: Units, after: tuple[int, int], reads: list[np.ndarray]) -> Units:
    """Max pooling: all of a window's largest tap, of equals the first, and never of the padding. It takes the kernel of
    what it picked with it, Theta'[a, a'] = Theta[picked by x at a, picked by y at a']."""
    values = np.stack([np.where(tap >= 0, units.h[..., tap], -np.inf) for tap in reads])
    picked = np.argmax(values, axis=0)
    return pooled(units, after, reads, [np.where(picked == tap, 1.0, 0.0) for tap in range(len(reads))])


def pooled(units: Units, after: tuple[int, int], reads: list[np.ndarray], shares: list[np.ndarray]) -> Units:
    """h(a) = sum_t share_t(a) h(s a + t): each of a unit's taps becomes one for each tap of the window."""

    taps = list(zip(shares, reads, strict=True))

    def linear(x: np.ndarray) -> np.ndarray:
        return np.asarray(sum(share * x[..., tap] for share, tap in taps))

    terms = tuple(
        replace(term, taps=tuple((share * A[..., tap], inner[tap]) for A, inner in term.taps for share, tap in taps))
        for term in units.terms
    )
    return Units(linear(units.h), terms, tuple(Low(linear(low.P), linear(low.Q)) for low in units.lows), after)


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(
    layer: AvgPool2d | GlobalAvgPool2d, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow
) -> tuple[Batch, Any]:
    """A convolution of every channel with equal taps."""
    before = batch.h.shape[1:]
    window = window_of(layer, before)
    h = padded(batch.h, window)
    parts = [h[:, :, rows, columns] for _, _, rows, columns in taps(before, window)]
    return Batch(np.asarray(sum(parts) / len(parts))), batch.h.shape


def back(
    layer: AvgPool2d | GlobalAvgPool2d,
    arrays: tuple[np.ndarray, ...],
    kept: tuple[int, ...],
    delta: np.ndarray,
    flow: Flow,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Every position of a window receives its share."""
    window = window_of(layer, kept[1:])
    dh = padded(np.zeros(kept), window)
    for _, _, rows, columns in taps(kept[1:], window):
        dh[:, :, rows, columns] += delta / (window.kernel[0] * window.kernel[1])
    return unpadded(dh, window), []


def largest(layer: MaxPool2d, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """The largest tap of every window, and which of them it is."""
    window = window_of(layer, batch.h.shape[1:])
    rows, columns = window.padding
    h = np.pad(batch.h, ((0, 0), (0, 0), (rows, rows), (columns, columns)), constant_values=-np.inf)
    parts = np.array([h[:, :, rows, columns] for _, _, rows, columns in taps(batch.h.shape[1:], window)])
    return Batch(parts.max(axis=0)), (batch.h.shape, parts.argmax(axis=0))


def back_from_largest(
    layer: MaxPool2d, arrays: tuple[np.ndarray, ...], kept: Any, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """All of it to the largest tap."""
    shape, picked = kept
    window = window_of(layer, shape[1:])
    dh = padded(np.zeros(shape), window)
    for tap, (_, _, rows, columns) in enumerate(taps(shape[1:], window)):
        dh[:, :, rows, columns] += np.where(picked == tap, delta, 0.0)
    return unpadded(dh, window), []


_KIND = Kind(average_pool, forward, back, units=of_units, of_averages=True)

KINDS: dict[type, Kind] = {
    AvgPool2d: _KIND,
    GlobalAvgPool2d: _KIND,
    MaxPool2d: Kind(without_recursion, largest, back_from_largest, takes_gaussian=True, units=of_largest),
}
