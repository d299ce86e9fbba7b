# SPDX-License-Identifier: BSD-3-Clause
"""Sampled units: channels as they are behind a BatchNorm, an activation, a max pooling or a sum; docs/theory.md,
section 12.

A Gaussian state (state.py) says all of a pre-activation's channels, which are i.i.d.; behind what is not linear they
are neither Gaussian nor, with their own statistics and argmaxes, of one tangent kernel. So M of them are drawn, each
with R samples of the batch, and every layer maps them. What the next affine layer reads are averages over units:
a state again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from ..state import State

__all__ = [
    "GROUPS",
    "Low",
    "Sampling",
    "Term",
    "Units",
    "as_units",
    "averaged",
    "coins",
    "drawn",
    "mean_of_others",
    "normals",
    "quantiles",
    "side_by_side",
]

GROUPS = 4  # of units, each a pass by itself: how they differ is the sampling error
_WHOLE, _LEADING, _LEFT = (
    128,
    32,
    1e-3,
)  # positions with all eigenvectors; these of larger images, and what they may leave
_ENOUGH = 256  # pairs, from which on the bias of matched products is far below the error
_EQUAL = 1e-6  # eigenvalues, of the largest
_JITTER = 1e-6  # of the mean variance, so that a covariance of positions that see the same has a Cholesky factor


@dataclass(frozen=True)
class Sampling:
    """How units are drawn at one step of one group's pass."""

    seed: int
    group: int
    step: int
    units: int  # M where images are largest
    largest: int  # the positions of these
    samples: int | None  # n
    of_batch: bool  # the R samples are the batch, n of them: statistics are their own
    reads: int  # R
    gain: float = 1.0  # of 1/s^2 in kernels, where statistics are frozen

    def count(self, positions: int) -> int:
        """M: small images make most of the noise and cost nothing, so they get more units, by a power of two."""
        more = 1
        while 2 * more * positions <= self.largest and 2 * more * self.units <= 2**13:
            more *= 2
        return self.units * more


@dataclass(frozen=True)
class Term:
    """Of the kernel of unit i: sum over taps t, t' of A_t(x)[p] A_t'(y)[p'] (o + delta_xy d)[reads_t p, reads_t' p'].

    One tap before a pooling; o and d, with one matrix for each affine layer, are the same for all units.
    """

    taps: tuple[tuple[np.ndarray, np.ndarray], ...]  # A (M, R, K), reads (K,)
    o: np.ndarray
    d: np.ndarray


@dataclass(frozen=True)
class Low:
    """Of the kernel of unit i: P(x)[p] Q(y)[p'] + Q(x)[p] P(y)[p'], Q with one array for each affine layer."""

    P: np.ndarray  # (M, R, K)
    Q: np.ndarray  # (layers, M, R, K)


@dataclass(frozen=True)
class Units:
    """M channels, each with R samples and K positions, and every channel's own tangent kernel."""

    h: np.ndarray  # (M, R, K)
    terms: tuple[Term, ...]
    lows: tuple[Low, ...]
    positions: tuple[int, int] | None

    def times(self, h: np.ndarray, factor: Any) -> Units:
        """Values h with the slopes `factor` (M, R, K): the chain rule, for each unit, sample and position."""
        terms = tuple(replace(term, taps=tuple((A * factor, reads) for A, reads in term.taps)) for term in self.terms)
        lows = tuple(Low(low.P * factor, low.Q * factor) for low in self.lows)
        return replace(self, h=h, terms=terms, lows=lows)


# ---------------------------------------------------------------------------------------------------- drawing
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX[0]
    x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    return np.asarray(x ^ (x >> np.uint64(31)))


def normals(sampling: Sampling, which: int, units: int, size: int) -> np.ndarray:
    """(units, size) standard normals, each by its own counter, whoever draws it: unit i, number j."""
    return np.asarray(ndtri(((_bits(sampling, which, units, size) >> np.uint64(11)) + 0.5) * 2.0**-53))


def _bits(sampling: Sampling, which: int, units: int, size: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        key = np.zeros(1, np.uint64)
        for word in (sampling.seed, sampling.group, sampling.step, which):
            key = _mixed(key + np.uint64(word) + _GOLDEN)
        key = _mixed(key + np.arange(units, dtype=np.uint64)[:, None] * _GOLDEN)
        return _mixed(key + np.arange(1, size + 1, dtype=np.uint64) * _GOLDEN)


def coins(sampling: Sampling, which: int, units: int) -> np.ndarray:
    """(units,) 64 random bits each."""
    return _bits(sampling, which, units, 1)[:, 0]


def _symmetric_root(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors V and numbers r with V r^2 V^T the matrix >= 0 of the same trace that is next to `matrix`: noise leaves
    eigenvalues below 0, and cut they would leave too much of the others (2 % of b at 64 units a group and 100
    positions). V r V^T depends on no choice of eigenvectors, which flips and turns of an image leave open. The leading
    one, the last, has a sum >= 0."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    vectors[:, -1] *= -1.0 if np.sum(vectors[:, -1]) < 0 else 1.0
    return vectors, np.sqrt(np.maximum(values - _cut(values), 0.0))


def _cut(values: np.ndarray, others: float = 0.0) -> float:
    """What to take off eigenvalues, ascending, so that those above it keep the sum of all; `others` <= 0 is that of
    those that are not among them."""
    below = others + np.concatenate([[0.0], np.cumsum(values)[:-1]])  # the sum of those that are cut
    shares = -below / np.arange(len(values), 0, -1)
    above = np.flatnonzero(values > shares)
    return max(float(shares[above[0] if len(above) else -1]), 0.0)  # of a negative sum nothing is left


def _shared_root(xy: np.ndarray, v: np.ndarray, sampling: Sampling, which: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_symmetric_root`. What different inputs share are few patterns over a large image, the mean and the borders':
    there by the space that xy maps a few vectors to, applied twice, where no more of z's variance is left."""
    if len(xy) > _WHOLE:
        rows = normals(sampling, 2 * which + 10, _LEADING, len(xy))
        rows[0] = 1.0
        for _ in range(2):
            rows = np.linalg.qr(xy @ rows.T)[0].T
        values, within = np.linalg.eigh(rows @ xy @ rows.T)
        vectors = rows.T @ within
        if np.trace(xy) - np.sum(np.maximum(values, 0.0)) <= _LEFT * np.trace(xy + v):
            vectors[:, -1] *= -1.0 if np.sum(vectors[:, -1]) < 0 else 1.0
            cut = _cut(values, min(float(np.trace(xy) - np.sum(values)), 0.0))
            return vectors, np.sqrt(np.maximum(values - cut, 0.0))
    return _symmetric_root(xy)


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    """L with L L^T = matrix, whose eigenvalues are >= 0: an average of squares, or a difference of such that is one."""
    mean = float(np.mean(np.diagonal(matrix)))
    if mean <= 0.0:
        return np.zeros_like(matrix)
    try:
        return np.linalg.cholesky(matrix + _JITTER * mean * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        vectors, scale = _symmetric_root(matrix)
        return np.asarray((vectors * scale) @ vectors.T)


def drawn(state: State, sampling: Sampling, which: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """alpha (M, K) and b (M, R, K) of z(x) = mean + alpha + b(x).

    Given its weights a channel is Gaussian over the data: what different inputs share, alpha ~ N(0, xy), is drawn once
    for each unit, and b ~ N(0, v) anew for each sample. Units come in pairs (z, -z): whatever is odd in z has no noise.
    Along the leading eigenvector of xy, which holds most of it, alpha takes every quantile once. Where units are many
    enough, products of two numbers of a unit are, in the mean over units, what they are in the law: what is quadratic
    in z has no noise either.
    """
    xy, v = (np.atleast_2d(each) for each in (state.xy, state.v))
    positions, half = len(xy), sampling.count(len(xy)) // 2
    vectors, scale = _shared_root(xy, v, sampling, which)
    q = normals(sampling, 2 * which, half, positions) @ vectors
    q[:, -1] = quantiles(sampling, 2 * which + 6, half)
    matched = _matched(q, scale, half)
    alpha = (q * scale) @ vectors.T
    g = normals(sampling, 2 * which + 1, half, sampling.reads * positions).reshape(half, sampling.reads, positions)
    b = _with_exact_products(g, q[:, len(scale) - matched :]) @ _cholesky(v).T
    return np.concatenate([alpha, -alpha]), np.concatenate([b, -b])


def _matched(q: np.ndarray, scale: np.ndarray, half: int) -> int:
    """How many leading columns of q get the products of a unit matrix in the mean over units: by the symmetric root,
    which depends on no choice among eigenvectors. A quarter of the units at the most, and of equal eigenvalues all or
    none."""
    values, count = scale**2, len(scale)
    some = min(count, half // 4) if half >= _ENOUGH else 0
    while 0 < some < count and values[count - some] - values[count - some - 1] <= _EQUAL * values[-1]:
        some -= 1
    if some == 0:
        return 0
    own = q[:, count - some :]
    of_own, within = np.linalg.eigh(own.T @ own / half)
    if of_own[0] <= 0:
        return 0
    q[:, count - some :] = own @ (within / np.sqrt(of_own)) @ within.T
    return some


def _with_exact_products(g: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Where units are many enough: means over samples that know nothing of q, and they and what each sample has beyond
    them with exactly the products, in the mean over units, that they have in the law."""
    half, reads, positions = g.shape
    if reads == 1 or half < _ENOUGH or positions + q.shape[1] > half // 8 * 7:
        return g
    means = g.mean(axis=1)
    rest = (g - means[:, None]).reshape(half * reads, positions)
    means = means - q @ (q.T @ means) / half
    roots = [
        np.linalg.cholesky(each.T @ each / count)
        for each, count in ((rest, half * (reads - 1)), (means * math.sqrt(reads), half))
    ]
    rest, means = (np.linalg.solve(root, each.T).T for root, each in zip(roots, (rest, means), strict=True))
    return np.asarray(rest.reshape(g.shape) + means[:, None])


def quantiles(sampling: Sampling, which: int, half: int) -> np.ndarray:
    """Of the first ones of pairs (z, -z): every quantile of a normal variable once, in an order of their own. Which of
    a pair comes first is drawn, too, for the sake of sums."""
    order = coins(sampling, which, half)
    out = np.empty(half)
    out[np.argsort(order, kind="stable")] = -_of_shares(half)
    return out * np.where(order & np.uint64(1), 1.0, -1.0)


def mean_of_others(state: State, sampling: Sampling, count: float) -> np.ndarray:
    """The mean of b over `count` samples that are not drawn, N(0, v/count), (M, K)."""
    v = np.atleast_2d(state.v)
    half = sampling.count(len(v)) // 2
    if count == 0:
        return np.zeros((2 * half, len(v)))
    mean = normals(sampling, 5, half, len(v)) @ _cholesky(v).T / np.sqrt(count)
    return np.concatenate([mean, -mean])


def _of_shares(half: int) -> np.ndarray:
    """Roots of the mean squares of a standard normal's z < 0 within `half` equal shares, by the integral P(z) - z p(z)
    of z^2 p(z). In the middles of the shares z^2 misses the tails: 0.990 of 128 units, and (z - 1)^2 beyond 1 has 0.955
    for 0.996 of its mean."""
    z = ndtri(np.arange(1, half + 1) / (2 * half))
    ends = np.concatenate([[0.0], z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)])
    return np.asarray(np.sqrt(np.maximum(1 - 2 * half * np.diff(ends), 0.0)))


def as_units(state: State | Units, sampling: Sampling, which: int = 0) -> Units:
    """Units of a Gaussian state as they are: A = 1, and what goes with their own values, ou and du, with A = u."""
    if isinstance(state, Units):
        return state
    alpha, b = drawn(state, sampling, which)
    z = alpha[:, None] + b
    reads, matrix = np.arange(z.shape[2]), _matrices(state)
    terms = [Term(((np.ones_like(z), reads),), matrix["o"], matrix["d"])]
    if np.any(state.ou) or np.any(state.du):
        q = np.diagonal(np.atleast_2d(state.q))
        u = z / np.sqrt(np.where(q > 0, q, 1.0))
        terms.append(Term(((u, reads),), matrix["ou"], matrix["du"]))
    return Units(z + np.asarray(state.mean), tuple(terms), (), state.positions)


def _matrices(state: State) -> dict[str, np.ndarray]:
    """(layers, K, K) of each part of the tangent kernel."""
    parts = {name: getattr(state, name) for name in ("o", "d", "ou", "du")}
    return {name: part if part.ndim == 3 else part[:, None, None] for name, part in parts.items()}


# ---------------------------------------------------------------------------------------------------- averages
def _pairs(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over units of A(x) B(y)^T for x != y, and of A(x) B(x)^T less that, (K, K); B may have layers before.

    The second is never a difference: with means over the R samples, sum_x (A - mean A)(B - mean B)^T/(R - 1) is an
    unbiased estimate of it, and of squares has no eigenvalue below 0.
    """
    units, reads, _ = A.shape
    mean_A, mean_B = A.mean(axis=1), B.mean(axis=-2)
    rest_A, rest_B = A - mean_A[:, None], B - mean_B[..., None, :]
    v = np.einsum("mrk,...mrl->...kl", rest_A, rest_B, optimize=True) / (units * (reads - 1))
    xy = np.einsum("mk,...ml->...kl", mean_A, mean_B, optimize=True) / units - v / reads
    return xy, v


def averaged(units: State | Units) -> State:
    """What an affine layer reads of units: lengths, overlaps and tangent kernels, averaged over them. With <A, B> the
    means of A(x) B(y)^T over units,

        H = <h, h>,    Theta = sum_t,t' <A_t, A_t'> (o + delta_xy d)[reads_t, reads_t'] + sum_lows <P, Q> + <Q, P>.
    """
    if isinstance(units, State):
        return units
    xy, v = _pairs(units.h, units.h)
    o: Any = 0.0
    d: Any = 0.0
    for term in units.terms:
        for A, reads in term.taps:
            for B, others in term.taps:
                of_two, more = _pairs(A, B)
                matrix_o, matrix_d = (each[:, reads[:, None], others] for each in (term.o, term.d))
                o = o + of_two * matrix_o
                d = d + more * matrix_o + (of_two + more) * matrix_d
    for low in units.lows:
        of_two, more = _pairs(low.P, low.Q)
        o = o + of_two + np.swapaxes(of_two, -1, -2)
        d = d + more + np.swapaxes(more, -1, -2)
    mean = units.h.mean(axis=(0, 1))
    if units.positions is None:
        none = np.zeros(len(o))
        return State(False, float(xy[0, 0]), float(v[0, 0]), 0.0, float(mean[0]), o[:, 0, 0], d[:, 0, 0], none, none)
    q = np.diagonal(xy + v)
    apart = np.maximum((q[:, None] + q) / 2 - (xy + v), 0.0)
    none = np.zeros_like(o)
    return State(False, xy, v, np.zeros_like(xy), mean, o, d, none, none, units.positions, apart)


def side_by_side(first: Units, second: Units, scale: float) -> Units:
    """first + scale second, of units that are independent of each other: kernels add. Where one has fewer, each of its
    units meets several of the other's."""
    most = max(len(first.h), len(second.h))
    first, second = _repeated(first, most), _repeated(second, most)
    second = second.times(scale * second.h, np.asarray(scale))
    return replace(first, h=first.h + second.h, terms=first.terms + second.terms, lows=first.lows + second.lows)


def _repeated(units: Units, count: int) -> Units:
    times = count // len(units.h)

    def of(A: np.ndarray) -> np.ndarray:
        return np.concatenate([A] * times, axis=-3)

    terms = tuple(replace(term, taps=tuple((of(A), reads) for A, reads in term.taps)) for term in units.terms)
    lows = tuple(Low(of(low.P), of(low.Q)) for low in units.lows)
    return replace(units, h=of(units.h), terms=terms, lows=lows)
