# SPDX-License-Identifier: BSD-3-Clause
"""Dense layers as maps of states: lengths and overlaps, and the tangent kernel, before and after the activation.

See docs/theory.md, section 4. Two independent inputs x, y are followed. A pre-activation z has length q = E z(x)^2,
overlap q_xy = E z(x) z(y), and v = q - q_xy, which is the variance of z over the data; an activation has q_hat,
q_hat_xy, v_hat. v is carried beside them, because in deep nets without BatchNorm it becomes far smaller than q.

The tangent kernel Theta(x, y) = <grad f(x), grad f(y)> of one unit has the diagonal D, the off-diagonal o, and
d = D - o. It is linear in its sources ("N q_hat + 1" of every affine layer), so each source l = 1 .. L is carried
separately: D, o and d are arrays with one entry per affine layer of the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import BatchNorm
from . import activations, quadrature

__all__ = ["Activated", "Preactivated", "activate", "affine", "inputs"]


@dataclass
class Activated:
    """What feeds the next affine layer; `q_hat_off` is what that layer's own source takes for o."""

    q_hat: float
    q_hat_xy: float
    v_hat: float
    q_hat_off: float
    v_off: float  # q_hat - q_hat_off
    D: np.ndarray
    o: np.ndarray
    d: np.ndarray


@dataclass
class Preactivated:
    """After an affine layer."""

    q: float
    q_xy: float
    v: float
    D: np.ndarray
    o: np.ndarray
    d: np.ndarray


def affine(state: Activated, fan_in: int, sigma_w2: float, sigma_b2: float, place: int, biases: bool) -> Preactivated:
    """z = W h + b. Covariances: E z z = sigma_b2 + sigma_w2 E h h (KAA).

    Gradients: d z_i/d W_ij = h_j gives <h(x), h(y)> = N q_hat, d z_i/d b_i = 1, and through h everything before:
    sum_jj' W_ij W_ij' <grad h_j, grad h_j'> -> sigma_w2 Theta_h, as different j are independent and E W_ij^2 is
    sigma_w2/N (Jacot et al. 2018, with the variance in the weights, not in front of them).
    """
    D, o, d = (sigma_w2 * part for part in (state.D, state.o, state.d))
    D[place] += fan_in * state.q_hat + biases
    o[place] += fan_in * state.q_hat_off + biases
    d[place] += fan_in * state.v_off
    return Preactivated(
        sigma_b2 + sigma_w2 * state.q_hat, sigma_b2 + sigma_w2 * state.q_hat_xy, sigma_w2 * state.v_hat, D, o, d
    )


def activate(
    state: Preactivated,
    norm: BatchNorm | None,
    phi: Any,
    theory: str,
    samples: int | None,
    place: int,
    *,
    output: bool = False,
) -> Activated:
    """phi(z) or phi(BatchNorm(z)), by the theory's rule, after affine layer number `place` (from 0).

    What trained gamma and beta add is counted to that layer. `output`: this is the net's end and phi the identity.
    """
    if norm is None:
        return _plain(state, phi)
    if state.v == 0 and norm.eps == 0:
        raise ValueError("eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm")
    if theory == "exact" and not output and _is_closed(norm, phi, samples):
        assert samples is not None
        return _exact_closed(state, norm, phi, samples, place)
    return _normalised(state, norm, phi, theory, samples, place)


def _plain(state: Preactivated, phi: Any) -> Activated:
    """Without BatchNorm (KAA; WSS eqs. 20-22).

    Theta_h(x, y) = E[phi'(z(x)) phi'(z(y))] Theta_z(x, y). With V1 = E phi'^2 and C1 = E phi' phi' its difference is
    d_hat = V1 D - C1 o = C1 d + (V1 - C1) D, a sum of terms >= 0.
    """
    omc = min(max(state.v / state.q, 0.0), 2.0) if state.q > 0 else 0.0
    q_hat = float(quadrature.second_moment(phi, state.q))
    q_hat_xy = float(quadrature.covariance(phi, state.q, state.q, one_minus_c=omc))
    v_hat = float(quadrature.spread(phi, state.q, omc))
    diagonal = float(quadrature.slope_second_moment(phi, state.q))
    off = float(quadrature.slope_covariance(phi, state.q, state.q, one_minus_c=omc))
    difference = float(quadrature.slope_spread(phi, state.q, omc))
    return Activated(
        q_hat, q_hat_xy, v_hat, q_hat_xy, v_hat, diagonal * state.D, off * state.o, off * state.d + difference * state.D
    )


def _normalised(
    state: Preactivated, norm: BatchNorm, phi: Any, theory: str, samples: int | None, place: int
) -> Activated:
    """phi(gamma u + beta), u = (z - mean)/sqrt(var + eps), at large n.

    Mean and variance over the data are those of a Gaussian with covariance q_xy + v delta_ij: the common part of z is
    the mean, so var = v, s2 = v + eps, and u is N(0, k), k = v/s2, independent from datum to datum. In all theories
        q_hat = E phi(g w + beta)^2,    q_hat_xy = (E phi(g w + beta))^2,    w = u/sqrt(k) ~ N(0, 1),
    with g = sqrt(k) |gamma| (gamma < 0: w is symmetric).

    The gradient through u:
    * frozen: mean and variance are constants, du_i/dz_j = delta_ij/s. With c = gamma^2/s2 the kernel Theta_h(x, y) is
      c E[phi' phi'] Theta_z(x, y), and E[phi' phi'] = (E phi')^2 for x != y, as their w are independent.
    * wei2019 (WSS eqs. 23-25): q + eps stands for s2, and the slopes are taken at gamma.
    * exact: du/dz = M/s, M = I - 11^T/n - k w w^T/n, where w has mean 0 and |w|^2 = n over the data: the second term is
      the mean's gradient, the third that of 1/s. Hence M 1 = 0, and of Theta_z = d I + o 11^T only d M M^T is left.
      For a != b
          (M M^T)_ab = -1/n - k (2 - k) w_a w_b/n,     (M M^T)_aa = 1 + O(1/n);
      expectations over different data factor up to O(1/n). With n - 1 for n, for which the rows of E M M^T sum to 0
      (k = 1, phi the identity),
          D_hat = c E[phi'^2] d,    o_hat = -c d [(E phi')^2 + k (2 - k) (E w phi')^2]/(n - 1).
      The w of different data have the correlation -1/(n-1), as their sum is 0, so by Price's theorem the covariance of
      phi moves by -g^2 (E phi')^2/(n-1). This q_hat_off stands in the next layer's own source, where n data add it up.
      n -> oo: o_hat = 0 and q_hat_off = q_hat_xy. (Yang; KAA19 for the mean's part.)

    Trained gamma and beta: dh/dbeta = phi', dh/dgamma = phi' sqrt(k) w, so Theta_h gets E[phi' phi' (1 + k w w)].
    """
    s2 = state.v + norm.eps
    k = state.v / s2
    g2 = k * norm.gamma**2
    q_hat = float(quadrature.second_moment(phi, g2, norm.beta))
    q_hat_xy = float(quadrature.mean(phi, g2, norm.beta)) ** 2
    v_hat = float(quadrature.variance(phi, g2, norm.beta))

    at = norm.gamma**2 if theory == "wei2019" else g2
    m1 = float(quadrature.slope_mean(phi, at, norm.beta)) ** 2
    m2 = float(quadrature.slope_second_moment(phi, at, norm.beta))
    spread = float(quadrature.slope_variance(phi, at, norm.beta))  # m2 - m1, which may be far smaller than both
    u1 = float(quadrature.first_slope_moment(phi, at, norm.beta)) ** 2
    u2 = float(quadrature.second_slope_moment(phi, at, norm.beta))

    q_hat_off, v_off = q_hat_xy, v_hat
    if theory == "exact":
        c = norm.gamma**2 / s2
        D = c * m2 * state.d
        o = np.zeros_like(D)
        if samples is not None:
            o = -c * state.d * (m1 + k * (2 - k) * u1) / (samples - 1)
            q_hat_off -= g2 * m1 / (samples - 1)
            v_off += g2 * m1 / (samples - 1)
        d = D - o
    else:
        c = norm.gamma**2 / (s2 if theory == "frozen" else state.q + norm.eps)
        D, o = c * m2 * state.D, c * m1 * state.o
        d = c * (m1 * state.d + spread * state.D)
    if norm.trained:
        D, o, d = _add_trained(D, o, d, place, m2 + k * u2, m1 + k * u1, spread + k * (u2 - u1))
    return Activated(q_hat, q_hat_xy, v_hat, q_hat_off, v_off, D, o, d)


def _is_closed(norm: BatchNorm, phi: Any, samples: int | None) -> bool:
    """Whether the formulas below hold; at gamma = 0 every u sits on the kink, and phi'(0) is the general rule's."""
    homogeneous = activations.homogeneous(phi)
    plain = norm.beta == 0 and norm.eps == 0 and norm.gamma != 0
    return homogeneous and plain and samples is not None and samples >= 4


def _exact_closed(state: Preactivated, norm: BatchNorm, phi: Any, n: int, place: int) -> Activated:
    """The exact gradient at every n >= 4, for phi(t x) = t phi(x) (t > 0), beta = eps = 0.

    z over the n data is N(0, q_xy 11^T + v I); y = G z with G = I - 11^T/n is isotropic in the n - 1 directions
    orthogonal to 1: r^2 = |y|^2 = v chi^2_{n-1} and the direction y/r are independent, with E r^2 = v (n-1) and E
    1/r^2 = 1/(v (n-3)). s^2 = r^2/n, h = phi(gamma y/s) = |gamma| (sqrt(n)/r) phi(y) (for gamma < 0 turn z round).

    Forward: h_a h_b = gamma^2 n F/r^2, F = phi(y_a) phi(y_b). F/r^2 depends on the direction alone, so that
    E[F] = E[F/r^2] E[r^2] and K_ab = gamma^2 n v V_ab/(v (n-1)), with V = E phi phi at the covariance G:
        q_hat = gamma^2 n/(n-1) V_aa,    q_hat_xy = gamma^2 n/(n-1) V_ab,    var = 1 - 1/n,  cov = -1/n.
    Gradient: J = dh/dz = phi'(y_a) (gamma/s) (G - y y^T/r^2)_ab. (G - y y^T/r^2) is a projection and takes 1 to 0, so
    for Theta = d I + o 11^T
        E[J Theta J^T]_ab = d gamma^2 n E[phi'_a phi'_b (G_ab - y_a y_b/r^2)/r^2]
    where y phi'(y) = phi(y). The factor 1/r^2 and the function of the direction part; E[1/r^2] stands before
    C0_ab G_ab - E[F/r^2], and E[F/r^2] = V_ab/(n-1):
        T_ab = d gamma^2 n/(v (n-3)) [C0_ab G_ab - V_ab/(n-1)],    C0 = E phi' phi' at correlation -1/(n-1).
    Trained: dh/dbeta = phi'_a: + C0_ab; dh/dgamma = h/gamma: + n/(n-1) V_ab.
    """
    length = 1 - 1 / n
    c = -1 / (n - 1)  # not by 1 - c = n/(n-1), of which little is left for many data
    v_aa = float(quadrature.second_moment(phi, length))
    v_ab = float(quadrature.covariance(phi, length, length, c))
    c_aa = float(quadrature.slope_second_moment(phi, length))
    c_ab = float(quadrature.slope_covariance(phi, length, length, c))
    scale = norm.gamma**2 * n / (n - 1)
    x = norm.gamma**2 * n / (state.v * (n - 3)) * state.d
    D = x * (length * c_aa - v_aa / (n - 1))
    o = x * (-c_ab / n - v_ab / (n - 1))
    d = D - o
    if norm.trained:
        diagonal, off = c_aa + n / (n - 1) * v_aa, c_ab + n / (n - 1) * v_ab
        D, o, d = _add_trained(D, o, d, place, diagonal, off, diagonal - off)
    v_hat = scale * (v_aa - v_ab)
    return Activated(scale * v_aa, scale * v_ab, v_hat, scale * v_ab, v_hat, D, o, d)


def _add_trained(
    D: Any, o: Any, d: Any, place: int, diagonal: float, off: float, difference: float
) -> tuple[Any, Any, Any]:
    D, o, d = D.copy(), o.copy(), d.copy()
    D[place] += diagonal
    o[place] += off
    d[place] += difference
    return D, o, d


def inputs(length: float, overlap: float, layers: int) -> Activated:
    """h^0 = x: nothing before it has parameters."""
    zero = np.zeros(layers)
    v = length - overlap
    return Activated(length, overlap, v, overlap, v, zero, zero.copy(), zero.copy())
