# SPDX-License-Identifier: BSD-3-Clause
"""Cross-entropy at initialisation: the largest eigenvalue of (1/n) J^T H J, H = diag(p) - p p^T, by the softmax's law.

With one output's tangent kernel o + d delta, lambda is the root of o lambda_max{G(lambda)} = 1,

    G(l) = (1/n) sum_x H_x (l - eps H_x)^(-1) = (1/n) sum_x [diag(u) - l u u^T/(1 + eps p.u)],    u = p/(l - eps p),

eps = d/n, for logits f_k(x) = sqrt(q_xy) a_k + sqrt(v) b_k(x): a is the same for all data, drawn once a network, so
that networks differ at any width. docs/theory.md, section 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Networks, and samples of each, that are drawn: fewer for many outputs, whose sums over them scatter less.
_NETWORKS, _LEAST_NETWORKS = 200, 8
_SAMPLES, _LEAST_SAMPLES = 512, 128
_NUMBERS = 6e5
_DENSE = 48  # outputs: of more the largest eigenvalue alone is found
_TOLERANCE = 1e-12


class Law(NamedTuple):
    """Over networks, for o = 1: lambda's mean and standard deviation; and of p alone, of the mean over samples.

    trace: of H; square, cross: of H_x^2, and of H_x H_y of different samples.
    """

    mean: float
    spread: float
    trace: float
    square: float
    cross: float
    networks: int


class Draws(NamedTuple):
    """Logits' Gaussian numbers with a fixed seed: a, a row a network, and b, for each of its samples."""

    a: Array
    b: Array


def draws_of(outputs: int, samples: int | None, networks: int | None = None) -> Draws:
    """At most 200 networks of 512 samples, and 6e5 numbers in all but where 8 networks of 128 samples have more."""
    most = _SAMPLES if samples is None else min(samples, _SAMPLES)
    most = int(np.clip(_NUMBERS / (outputs * _LEAST_NETWORKS), min(most, _LEAST_SAMPLES), most))
    if networks is None:
        networks = int(np.clip(_NUMBERS / (outputs * most), _LEAST_NETWORKS, _NETWORKS))
    random = np.random.default_rng(0)
    a = random.standard_normal((networks, outputs))
    return Draws(a, random.standard_normal((networks, most, outputs)))


def softmax(draws: Draws, xy: float, v: float) -> Array:
    """p of every network, sample and output."""
    logits = np.sqrt(max(xy, 0.0)) * draws.a[:, None] + np.sqrt(v if xy >= 0 else max(xy + v, 0.0)) * draws.b
    logits -= np.max(logits, axis=2, keepdims=True)
    powers = np.exp(logits)
    return np.asarray(powers / np.sum(powers, axis=2, keepdims=True))


def law(outputs: int, samples: int | None, xy: float, v: float, eps: float) -> Law:
    """lambda over o, for eps = d/(n o)."""
    p = softmax(draws_of(outputs, samples), xy, v)
    roots = np.concatenate([_roots(part, eps) for part in np.array_split(p, max(1, p.size // 200_000))])
    sums = np.sum(p * p, axis=2)
    mean = np.mean(p, axis=1)
    n = p.shape[1]
    # tr H_x H_y = p_x.p_y - sum (p_x^2 p_y + p_x p_y^2) + (p_x.p_y)^2, by sums over all pairs less those of x = y
    cubes, fourth = np.sum(p**3, axis=2), sums**2
    square = sums - 2 * cubes + fourth
    gram = np.einsum("axk,axj->akj", p, p) / n
    pairs = np.sum(mean**2, axis=1) - 2 * np.sum(np.mean(p * p, axis=1) * mean, axis=1) + np.sum(gram**2, axis=(1, 2))
    cross = (n * pairs - np.mean(square, axis=1)) / (n - 1) if n > 1 else pairs
    return Law(
        float(np.mean(roots)),
        float(np.std(roots, ddof=1)),
        float(np.mean(1 - sums)),
        float(np.mean(square)),
        float(np.mean(cross)),
        len(p),
    )


def _roots(p: Array, eps: float) -> Array:
    """Of every network: 1/lambda_max{G(l)} rises from 0 at the pole, eps times the largest eigenvalue of an H, and is
    nearly a line. Secants between bounds that close in, from first order in eps on."""
    pole = eps * _top_of_h(p)
    low, high = pole, np.full(len(p), 1 + eps)  # as H <= 1
    at = _first_order(p, eps)
    at = np.where((at > low) & (at < high), at, (low + high) / 2)
    before, value_before = pole, -np.ones(len(p))
    for _ in range(200):
        with np.errstate(all="ignore"):
            value = 1 / _top_of_g(p, at, eps) - 1
            low, high = np.where(value < 0, at, low), np.where(value < 0, high, at)
            step = at - value * (at - before) / (value - value_before)
        after = np.where((step > low) & (step < high), step, (low + high) / 2)
        done = np.abs(value) <= _TOLERANCE
        after = np.where(done, at, after)
        if np.all(done | (np.abs(after - at) <= _TOLERANCE * at)):
            return np.asarray(after)
        before, value_before, at = at, value, after
    return np.asarray(at)


def _first_order(p: Array, eps: float) -> Array:
    """mu + eps w.<H^2>w/mu, with mu, w the top eigenpair of <H>."""
    means = np.mean(p, axis=1)
    matrices = -np.swapaxes(p, 1, 2) @ p / p.shape[1]
    places = np.arange(p.shape[2])
    matrices[:, places, places] += means
    values, vectors = _top(matrices)
    along = np.einsum("axk,ak->ax", p, vectors)
    once = p * (vectors[:, None] - along[..., None])  # H w
    with np.errstate(all="ignore"):
        return np.asarray(values + eps * np.mean(np.sum(once**2, axis=2), axis=1) / values)


def _top_of_h(p: Array) -> Array:
    """Just above the largest eigenvalue of diag(p) - p p^T over samples: the root of sum_k p_k^2/(p_k - mu) = 1 between
    the two largest p_k. It is no less than that of these two alone, and samples below it are left out."""
    ordered = np.partition(p, p.shape[2] - 2, axis=2)
    first, second = ordered[..., -1], ordered[..., -2]
    trace, product = first + second - first**2 - second**2, first * second * (1 - first - second)
    of_two = trace / 2 + np.sqrt(np.maximum(trace**2 / 4 - product, 0.0))
    networks, samples = np.nonzero(first >= np.max(of_two, axis=1, keepdims=True))
    rows, low, high = ordered[networks, samples], second[networks, samples], first[networks, samples]
    for _ in range(40):
        middle = (low + high) / 2
        with np.errstate(all="ignore"):
            below = np.sum(rows**2 / (rows - middle[:, None]), axis=1) < 1
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    top = np.max(of_two, axis=1)
    np.maximum.at(top, networks, high)
    return np.asarray(top)


def _top_of_g(p: Array, at: Array, eps: float) -> Array:
    """The largest eigenvalue of G(l) of every network."""
    u = p / (at[:, None, None] - eps * p)
    weights = at[:, None] / (1 + eps * np.sum(p * u, axis=2))
    matrices = -np.swapaxes(u * weights[..., None], 1, 2) @ u / p.shape[1]
    places = np.arange(p.shape[2])
    matrices[:, places, places] += np.mean(u, axis=1)
    return _top(matrices)[0]


def _top(matrices: Array) -> tuple[Array, Array]:
    """The largest eigenvalue of each, and its vector."""
    size = matrices.shape[1]
    if size <= _DENSE:
        values, vectors = np.linalg.eigh(matrices)
        return values[:, -1], vectors[:, :, -1]
    from scipy.linalg import eigh

    pairs = [eigh(matrix, subset_by_index=[size - 1, size - 1]) for matrix in matrices]
    return np.array([values[0] for values, _ in pairs]), np.array([vectors[:, 0] for _, vectors in pairs])
