# SPDX-License-Identifier: BSD-3-Clause
"""Frozen BatchNorm's E 1/s^2 of units with few weights, by all pairs of positions; docs/theory.md, section 13.

Given the channels h_j before it, a unit's variance over the data is s^2 = w^T S w, S the covariance of its inputs over
data and positions, w Gaussian: Var s^2/(E s^2)^2 = 2 tr S^2/(tr S)^2. tr S^2 is the mean over two inputs and positions
of the squared covariance of z(x)[a] and z(y)[a'] over units, which at infinite width is nothing but its mean. So

    E 1/s^2 = (1 + 2 tau)/E s^2,    tau = mean_a,a' E dK[a, a']^2/(mean_a v[a] + eps)^2,

dK what the covariance of x and y, x != y, has beyond its mean at C channels. D[a, a', c, c'] = E dK[a, a'] dK[c, c']:

    data      v^2/C for a = c, a' = c'
    affine    w2^2/|F|^2 sum_t,u D[a + t, a' + t, c + u, c' + u]
    phi       (E phi')^4 D + (1/C) V[a, c] V[a', c'], V the covariance of phi at two positions of one input
    pooling   means over windows of all four
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import Network
from . import activations, panels
from .arguments import settings_of
from .fisher import _of_units
from .layers.affine import image_taps, window_of
from .units.walk import drawing

__all__ = ["gains", "shift"]


@dataclass
class Pairs:
    D: np.ndarray  # (K, K, K, K)
    V: np.ndarray  # (K, K)
    mean: np.ndarray  # (K,)
    channels: int
    positions: tuple[int, int]

    def times(self, factor: float, shift: float = 0.0) -> Pairs:
        return Pairs(factor**4 * self.D, factor**2 * self.V, factor * self.mean + shift, self.channels, self.positions)


def gains(net: Network, overlap: float = 0.0, length: float = 1.0) -> list[float]:
    """1 + 2 tau of every step that is a BatchNorm, 1 of all others."""
    channels, *image = net.input_shape
    positions = (image[0], image[1]) if image else (1, 1)
    K = math.prod(positions)
    v, same = length - overlap, np.eye(K)
    states = {
        -1: Pairs(v**2 / channels * np.einsum("ac,bd->abcd", same, same), v * same, np.zeros(K), channels, positions)
    }
    out = []
    for number, step in enumerate(net.steps):
        layer: Any = step.layer
        fed = [states[read] for read in step.reads]
        first, gain = fed[0], 1.0
        if layer.affine:
            state = _affine(layer, first, step.before, step.after)
        elif layer.over_batch:
            s2 = float(np.mean(np.diagonal(first.V))) + layer.eps
            gain += 2 * float(np.mean(np.einsum("abab->ab", first.D))) / s2**2
            state = Pairs(first.D, first.V, 0 * first.mean, first.channels, first.positions)
            state = state.times(layer.gamma / math.sqrt(s2), layer.beta)
        elif layer.pointwise:
            state = _phi(layer, first)
        elif len(fed) == 2:
            branch, skip = fed[0].times(layer.scale), fed[1]
            state = Pairs(skip.D + branch.D, skip.V + branch.V, skip.mean + branch.mean, skip.channels, skip.positions)
        elif layer.window(step.before):
            state = _pooled(layer, first, step.before)
        else:
            state = first
        states[number] = state
        out.append(gain)
    return out


def _affine(layer: Any, fed: Pairs, before: tuple[int, ...], after: tuple[int, ...]) -> Pairs:
    K = len(fed.V)
    positions, taps = (1, 1), [np.array([a]) for a in range(K)]  # flat: all positions have weights of their own
    if len(before) == 3:
        positions, taps = image_taps(fed.positions, window_of(layer, before))
    D, V = np.pad(fed.D, [(0, 1)] * 4), np.pad(fed.V, [(0, 1)] * 2)  # -1 reads the padding
    share = layer.sigma_w2 / len(taps)
    D = share**2 * sum(D[np.ix_(t, t, u, u)] for t in taps for u in taps)
    V = share * sum(V[np.ix_(t, t)] for t in taps)
    return Pairs(np.asarray(D), np.asarray(V), np.zeros(len(V)), after[0], positions)


def _phi(layer: Any, fed: Pairs) -> Pairs:
    """Of a Gaussian of every position's own mean and variance, whose positions correlate to first order."""
    phi, slope = activations.phi(layer), activations.slope(layer)
    K = len(fed.V)
    means, slopes, variances = np.empty(K), np.empty(K), np.empty(K)
    for a in range(K):
        root, mean = math.sqrt(fed.V[a, a]), fed.mean[a]
        cuts = (np.asarray(activations.kinks(layer), dtype=float) - mean) / root
        u, weights = panels._panels(np.unique(np.concatenate((panels._Z_BREAKS, cuts))))
        f, g = phi(root * u + mean), slope(root * u + mean)
        means[a], slopes[a] = weights @ f, weights @ g
        variances[a] = weights @ (f - means[a]) ** 2
    V = np.outer(slopes, slopes) * fed.V
    V[np.arange(K), np.arange(K)] = variances
    D = np.einsum("a,b,c,d,abcd->abcd", slopes, slopes, slopes, slopes, fed.D, optimize=True)
    return Pairs(D + np.einsum("ac,bd->abcd", V, V) / fed.channels, V, means, fed.channels, fed.positions)


def _pooled(layer: Any, fed: Pairs, before: tuple[int, ...]) -> Pairs:
    """The mean of a window; of the largest, any one of it, with the variance of the largest of independent ones."""
    positions, taps = image_taps(fed.positions, layer.window(before))
    M = np.zeros((len(taps[0]), len(fed.V)))
    for tap in taps:
        inside = tap >= 0
        M[np.flatnonzero(inside), tap[inside]] += 1 / len(taps)
    mean, ratio = layer.of_normals(before)
    root = np.sqrt(np.diagonal(fed.V))
    D = np.einsum("pa,qb,rc,sd,abcd->pqrs", M, M, M, M, fed.D, optimize=True)
    return Pairs(D, ratio * (M @ fed.V @ M.T), M @ (fed.mean + mean * root), fed.channels, positions)


def shift(
    net: Network,
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    *,
    units: Any = "auto",
    seed: int = 0,
) -> float:
    """lambda_max with every unit's own frozen variance, over that with the mean of them, less 1: of the same units."""
    settings = settings_of(net, "frozen", samples, overlap, length, biases, True)
    how = drawing(net, settings, units, seed)
    if how is None:
        raise ValueError("units must be drawn")
    own = how._replace(gains=tuple(gains(net, overlap, length)))
    with_own, plain = (_of_units(net, settings, each).lambda_max for each in (own, how))
    return with_own / plain - 1
