# SPDX-License-Identifier: BSD-3-Clause
"""A convolution whose channels each read one channel; docs/theory.md, section 12.

    z(x)[a] = sum_t w_t h(x)[s a + t] + b

is a sum of few terms, and no Gaussian: there is no recursion of second moments. A sampled unit stays itself, and its
|F| weights w_t ~ N(0, sigma_w2/|F|) and b are drawn with it. Positions are read as by a pooling whose taps have the
shares w_t; of its own weights the gradient is d z[a]/d w_t = h[s a + t], and of b it is 1, so that

    k <- sum_t,t' w_t w_t' k[s a + t, s a' + t'] + sum_t h(x)[s a + t] h(y)[s a' + t] + 1.

Where several channels read the same one, each has weights of its own and is a unit of the same law; kernels between
them have means 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..kind import Kind, without_recursion
from ..state import Place, State
from ..units.state import Low, Sampling, Units, as_units, normals, quantiles
from .affine import back, forward, image_taps, window_of
from .pools import pooled

__all__ = ["DEPTHWISE", "KINDS", "of_units"]


def of_units(layer: Any, state: State | Units, at: Place, sampling: Sampling) -> Units:
    units = as_units(state, sampling)
    assert units.positions is not None
    after, reads = image_taps(units.positions, window_of(layer, at.shape))
    w = math.sqrt(layer.sigma_w2 / len(reads)) * _normal_weights(sampling, len(units.h), len(reads))
    inside = [(tap >= 0)[None, None] for tap in reads]
    shape = (*units.h.shape[:2], reads[0].size)
    shares = [np.broadcast_to(w[:, t, None, None] * each, shape) for t, each in enumerate(inside)]
    out = pooled(units, after, reads, shares)
    b = math.sqrt(layer.sigma_b2) * quantiles(sampling, 21, len(units.h) // 2)
    own = np.zeros((_layers_of(state), 1, 1, 1))
    own[at.source] = 0.5
    seen = [units.h[..., tap] * each for tap, each in zip(reads, inside, strict=True)]
    if at.biases and layer.bias:
        seen.append(np.ones(shape))
    lows = (*out.lows, *(Low(each, own * each) for each in seen))
    return replace(out, h=out.h + np.concatenate([b, -b])[:, None, None], lows=lows)


def _normal_weights(sampling: Sampling, units: int, taps: int) -> np.ndarray:
    """(units, taps), standard normal. As many units as there are taps, one after the other, have weights that are
    orthogonal to each other, whose lengths stay as drawn: each is normal by itself. All together have the mean square
    of the law."""
    drawn = normals(sampling, 20, units, taps)
    w = np.empty_like(drawn)
    for first in range(0, units, taps):
        block = drawn[first : first + taps]
        directions, triangle = np.linalg.qr(block.T)  # each less what it has of those before it
        w[first : first + taps] = (directions * np.sign(np.diagonal(triangle))).T * np.linalg.norm(
            block, axis=1, keepdims=True
        )
    return w / math.sqrt(float(np.mean(w**2)))


def _layers_of(state: State | Units) -> int:
    if isinstance(state, State):
        return int(state.o.shape[0])
    return len(state.terms[0].o if state.terms else state.lows[0].Q)


DEPTHWISE = Kind(without_recursion, forward, back, takes_gaussian=True, arrays=("weights", "biases"), units=of_units)

KINDS: dict[type, Kind] = {}  # a convolution says where it stands that it is one of these
