# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions and pooling as maps of position-resolved states: |K| x |K| matrices, plain loops over the taps.

docs/theory.md, section 5. For one input (xx) and for two independent ones (xy) are carried

    H[a, a'] = E h_i(x, a) h_i(x', a')               after an activation (Z before it); V = H_xx - H_xy
    T[a, a'] = <grad h_i(x, a), grad h_i(x', a')>    the tangent kernel, by the affine layer it comes from (first index)

WSS (34)-(43) keep one number for all pairs of positions a != a'; that the weights are shared makes them differ.
Positions are numbered row by row. The exact BatchNorm leaves out all O(1/n) terms: n enters in the spectrum alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import BatchNorm
from . import quadrature

__all__ = ["Image", "activate", "average_pool", "convolve", "flatten", "global_average_pool", "inputs"]


@dataclass
class Image:
    """Lengths H and tangent kernels T for one input (xx) and two (xy). Between affine layer and activation H is Z.

    H_xy and V = H_xx - H_xy are carried, T_xy and d = T_xx - T_xy: differences small beside both would be lost.
    """

    shape: tuple[int, int]  # height, width
    H_xy: np.ndarray
    V: np.ndarray
    T_xy: np.ndarray
    d: np.ndarray

    @property
    def H_xx(self) -> np.ndarray:
        H_xx: np.ndarray = self.H_xy + self.V
        return H_xx

    @property
    def T_xx(self) -> np.ndarray:
        T_xx: np.ndarray = self.T_xy + self.d
        return T_xx


def inputs(shape: tuple[int, int], length: float, overlap: float, layers: int) -> Image:
    """Independent positions; no parameters before them."""
    positions = shape[0] * shape[1]
    zero = np.zeros((layers, positions, positions))
    return Image(shape, overlap * np.eye(positions), (length - overlap) * np.eye(positions), zero, zero.copy())


def _taps(shape: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Any:
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
    return after, taps


def _sum_over_taps(matrix: np.ndarray, taps: list[np.ndarray]) -> np.ndarray:
    """sum_t matrix[s a + t, s a' + t]; terms with either position outside the image are 0."""
    total = np.zeros((*matrix.shape[:-2], taps[0].size, taps[0].size))
    for reads in taps:
        inside = (reads >= 0)[:, None] & (reads >= 0)
        total += np.where(inside, matrix[..., reads[:, None], reads], 0.0)
    return total


def convolve(
    image: Image,
    channels_in: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    sigma_w2: float,
    sigma_b2: float,
    place: int,
    biases: bool,
) -> Image:
    """z(a) = sum_t W_t h(s a + t) + b with W_t ~ N(0, sigma_w2/(C |F|)), independent for every tap t (Xiao et al.).

    Different taps are uncorrelated: E z(a) z(a') = sigma_b2 + sigma_w2 P, P = (1/|F|) sum_t H[s a + t, s a' + t].
    <grad z(a), grad z(a')>: the weights give sum_{t, j} h_j(s a + t) h_j(s a' + t) = C |F| P, the bias 1, and the
    layers below (sigma_w2/|F|) sum_t T[s a + t, s a' + t].
    """
    area = kernel[0] * kernel[1]
    after, taps = _taps(image.shape, kernel, stride, padding)

    P_xy, P_v = (_sum_over_taps(matrix, taps) / area for matrix in (image.H_xy, image.V))
    T_xy, d = (sigma_w2 / area * _sum_over_taps(T, taps) for T in (image.T_xy, image.d))
    T_xy[place] += channels_in * area * P_xy + biases
    d[place] += channels_in * area * P_v
    return Image(after, sigma_b2 + sigma_w2 * P_xy, sigma_w2 * P_v, T_xy, d)


def activate(image: Image, norm: BatchNorm | None, phi: Any, theory: str, place: int) -> Image:
    """phi(z) or phi(BatchNorm(z)) position by position; theory "exact" or "frozen"."""
    if norm is None:
        return _apply(image, phi, 0.0)
    return _normalised(image, norm, phi, theory, place)


def _correlations(H_xy: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 - c for every pair of positions, of one input and of two; exactly 0 where H equals both variances.

    On the diagonal both variances are H_xy + V: 1 - c is 0 for one input and V/(H_xy + V) for two.
    """
    variances = np.maximum(np.diagonal(H_xy + V), 0.0)
    q1, q2 = variances[:, None], variances[None, :]
    roots = np.sqrt(q1) * np.sqrt(q2)

    def of(Z: np.ndarray) -> np.ndarray:
        numerator = (q1 - Z) + (q2 - Z) - (np.sqrt(q1) - np.sqrt(q2)) ** 2
        return np.clip(np.where(roots > 0, numerator / np.where(roots > 0, 2 * roots, 1.0), 0.0), 0.0, 2.0)

    one, two = of(H_xy + V), of(H_xy)
    np.fill_diagonal(one, 0.0)
    own = np.maximum(np.diagonal(V), 0.0)
    np.fill_diagonal(two, np.where(variances > 0, own / np.where(variances > 0, variances, 1.0), 0.0))
    return one, two


def _apply(image: Image, phi: Any, shift: float) -> Image:
    """H = E phi phi, T <- E[phi' phi'] T, entry by entry; H_xx holds the variances for xx and for xy.

    With the slopes' integrals S_xx and S_xy: d <- S_xx T_xx - S_xy T_xy = S_xx d + (S_xx - S_xy) T_xy.
    """
    variances = np.maximum(np.diagonal(image.H_xx), 0.0)  # no -0 from rounding
    q1, q2 = variances[:, None], variances[None, :]
    one, two = _correlations(image.H_xy, image.V)
    H_xx, H_xy = (quadrature.covariance(phi, q1, q2, one_minus_c=omc, shift=shift) for omc in (one, two))
    S_xx, S_xy = (quadrature.slope_covariance(phi, q1, q2, one_minus_c=omc, shift=shift) for omc in (one, two))
    V, S = H_xx - H_xy, S_xx - S_xy
    np.fill_diagonal(V, quadrature.spread(phi, variances, np.diagonal(two), shift))
    np.fill_diagonal(S, quadrature.slope_spread(phi, variances, np.diagonal(two), shift))
    return Image(image.shape, H_xy, V, S_xy * image.T_xy, S_xx * image.d + S * image.T_xy)


def _normalised(image: Image, norm: BatchNorm, phi: Any, theory: str, place: int) -> Image:
    """phi(gamma u + beta), u = (z - mean)/sqrt(var + eps), one mean and variance per channel, over data and positions.

    For many data the mean is the common part of z: E z(x, a) mean = mean_a' Z_xy[a, a'] = r_a, E mean^2 = m, and so
        E u(x, a) u(x', a') = (Z[a, a'] - r_a - r_a' + m)/s2,    s2 = mean_a Z_xx[a, a] - m + eps
    for xx and xy alike. Gradient, frozen: T gamma^2/s2. Exact: the mean's tangent is taken out of T in the same way
    first, T - t_a - t_a' + t with the row means t_a of T_xy, and d stays; what flows through 1/s is O(1/n).
    Trained: beta adds 1 to T before the slopes, gamma E[u(a) u(a') phi'(a) phi'(a')] after them.
    """
    row = np.mean(image.H_xy, axis=1)
    m = float(np.mean(row))
    common = np.diagonal(image.H_xy)
    between = float(np.mean(common)) - m  # what positions add to the variance over the data
    between = between if abs(between) > 1e-13 * float(np.mean(common)) else 0.0  # below, it is rounding
    s2 = float(np.mean(np.diagonal(image.V))) + between + norm.eps
    if s2 == 0:
        raise ValueError("eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm")
    U_xy, V = (image.H_xy - row[:, None] - row[None, :] + m) / s2, image.V / s2
    # Positions whose mean over the data is that of all, behind padding alone for one: what rounding leaves of it is 0.
    constant = np.abs(common - 2 * row + m) <= 1e-13 * (np.abs(common) + 2 * np.abs(row) + abs(m))
    U_xy[constant, :] = U_xy[:, constant] = 0.0
    T_xy = image.T_xy
    if theory == "exact":
        t_row = np.mean(T_xy, axis=2)
        T_xy = T_xy - (t_row[:, :, None] + t_row[:, None, :] - np.mean(t_row, axis=1)[:, None, None])
    scale = norm.gamma**2
    scaled = Image(image.shape, scale * U_xy, scale * V, scale / s2 * T_xy, scale / s2 * image.d)
    if not norm.trained:
        return _apply(scaled, phi, norm.beta)
    scaled.T_xy[place] += 1
    out = _apply(scaled, phi, norm.beta)
    variances = np.maximum(np.diagonal(U_xy + V), 0.0)
    roots = np.sqrt(variances)[:, None] * np.sqrt(variances)
    of_gamma_xx, of_gamma_xy = (
        roots
        * quadrature.slope_pair_moment(
            phi, scale * variances[:, None], scale * variances[None, :], one_minus_c=omc, shift=norm.beta
        )
        for omc in _correlations(U_xy, V)
    )
    out.T_xy[place] += of_gamma_xy
    out.d[place] += of_gamma_xx - of_gamma_xy
    return out


def average_pool(image: Image, kernel: tuple[int, int], stride: tuple[int, int]) -> Image:
    """h <- A h, one row of A for each window with 1/area at its positions: H <- A H A^T, T <- A T A^T."""
    after, taps = _taps(image.shape, kernel, stride, (0, 0))
    A = np.zeros((after[0] * after[1], image.shape[0] * image.shape[1]))
    for reads in taps:
        A[np.arange(len(A)), reads] = 1 / (kernel[0] * kernel[1])
    return Image(after, *(A @ matrix @ A.T for matrix in (image.H_xy, image.V, image.T_xy, image.d)))


def global_average_pool(image: Image) -> Image:
    """The mean over all positions."""
    return average_pool(image, image.shape, (1, 1))


def flatten(image: Image) -> tuple[float, float, np.ndarray, np.ndarray]:
    """q_hat, q_hat_xy, D, o for a dense layer: as its weights are independent, means of the diagonals."""

    def mean(matrix: np.ndarray) -> Any:
        return np.mean(np.diagonal(matrix, axis1=-2, axis2=-1), axis=-1)

    return float(mean(image.H_xx)), float(mean(image.H_xy)), mean(image.T_xx), mean(image.T_xy)
