# SPDX-License-Identifier: BSD-3-Clause
"""BatchNorm: gamma u + beta, u = (z - mean)/sqrt(var + eps), mean and variance over the data (and over positions).

docs/theory.md, section 4; images section 5. The published rule is that of wei2019.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...network import BatchNorm
from ..batch import Batch, Flow, axes, of_channels
from ..kind import Kind
from ..state import Place, State, known
from ..units.batch_norm import batch_norm as of_units
from .phi import correlations, over_roots

__all__ = ["KINDS", "back", "batch_norm", "forward", "variance"]


Norm = Any  # a BatchNorm; at infinite width one of units that have all the same gamma and beta


# ---------------------------------------------------------------------------------------------------- infinite width
def batch_norm(layer: Norm, state: State, at: Place) -> State:
    if state.positions is not None:
        return _image(layer, state, at)
    if at.theory == "exact":
        if _is_closed(layer, at):
            return _closed(layer, state, at)
        return _exact(layer, state, at)
    return _frozen(layer, state, at)


def variance(layer: Norm, v: float) -> float:
    """s2 = var + eps.

    Mean and variance over many data are those of a Gaussian with covariance q_xy + v delta_ij: the common part of z is
    the mean, so var = v.
    """
    s2: float = v + layer.eps
    if s2 == 0:
        raise ValueError("eps must be > 0 where the variance over the data is zero, as it is before a BatchNorm")
    return s2


def _frozen(layer: Norm, state: State, at: Place) -> State:
    """u is N(0, k), k = v/s2, independent from datum to datum; for the gradient mean and variance are constants.

    du_i/dz_j = delta_ij/s: with c = gamma^2/s2 the kernel is c Theta_z. Of z/sqrt(q), which its (ou, du) go with behind
    a sum of branches, u knows the share v/q; the rest is the mean over the data, the same for all of them.
    """
    s2 = variance(layer, state.v)
    c, k = layer.gamma**2 / s2, state.v / s2
    share, rest = (state.v / state.q, state.xy / state.q) if state.q > 0 else (1.0, 0.0)
    o, d, ou, du = (c * each for each in known(state, share, rest, rest))
    out = State(True, 0.0, k * layer.gamma**2, 0.0, layer.beta, o, d, ou, du)
    return _trained(layer, out, at, k)


def _exact(layer: Norm, state: State, at: Place) -> State:
    """The same u, and the gradient flows through mean and variance, at large n.

    du/dz = M/s, M = I - 11^T/n - k w w^T/n, where w = u/sqrt(k) has mean 0 and |w|^2 = n over the data: the second term
    is the mean's gradient, the third that of 1/s. Hence M 1 = 0, and of Theta_z = d I + o 11^T only d M M^T is left.
    For a != b
        (M M^T)_ab = -1/n - k (2 - k) w_a w_b/n,     (M M^T)_aa = 1 + O(1/n);
    expectations over different data factor up to O(1/n). With r = 1/(n-1) for 1/n, for which the rows of E M M^T sum to
    0 (k = 1), and c = gamma^2/s2
        Theta(x, y) = -c d r [1 + k (2 - k) w_x w_y],        Theta(x, x) = c d.
    The w of different data have the correlation -r, as their sum is 0: the covariance moves by -g^2 r, g^2 = k gamma^2.
    This stands in the next layer's own gradients, where n data add it up. n -> oo: r = 0. (Yang; KAA19 for the mean's
    part.)
    Of ou u_z u_z^T with u_z = z/sqrt(q), which a sum of branches may have, M leaves (1 - k)^2 ou w w^T v/q: nothing for
    eps = 0, and for all others it is left out; du u_z^2 on the diagonal counts as its mean, up to O(1/n) of it.
    """
    s2 = variance(layer, state.v)
    c, k = layer.gamma**2 / s2, state.v / s2
    r = 0.0 if at.samples is None else 1 / (at.samples - 1)
    g2 = k * layer.gamma**2
    d = c * (state.d + state.du)
    o = -d * r
    ou = k * (2 - k) * o
    out = State(True, 0.0, g2, -g2 * r, layer.beta, o, d - o, ou, -ou)
    return _trained(layer, out, at, k)


def _is_closed(layer: Norm, at: Place) -> bool:
    """Whether the finite batch has the closed form; at gamma = 0 every u sits on the kink, and phi'(0) is the general
    rule's."""
    plain = layer.beta == 0 and layer.eps == 0 and layer.gamma != 0
    return at.homogeneous and plain and at.samples is not None and at.samples >= 4


def _closed(layer: Norm, state: State, at: Place) -> State:
    """The exact gradient at every n >= 4, for phi(t x) = t phi(x) (t > 0) behind it, beta = eps = 0.

    z over the n data is N(0, q_xy 11^T + v I); y = G z with G = I - 11^T/n is isotropic in the n - 1 directions
    orthogonal to 1: r^2 = |y|^2 = v chi^2_{n-1} and the direction y/r are independent, with E r^2 = v (n-1) and E
    1/r^2 = 1/(v (n-3)). s^2 = r^2/n, h = phi(gamma y/s) = |gamma| (sqrt(n)/r) phi(y) (for gamma < 0 turn z round).

    Forward: h_a h_b = gamma^2 n F/r^2, F = phi(y_a) phi(y_b). F/r^2 depends on the direction alone, so that
    E[F] = E[F/r^2] E[r^2] and E[h_a h_b] = gamma^2 n/(n-1) E[phi phi] at the covariance G: as if the norm's output were
    Gaussian, of variance gamma^2 and covariance -gamma^2/(n-1).
    Gradient: J = dh/dz = phi'(y_a) (gamma/s) (G - y y^T/r^2)_ab. (G - y y^T/r^2) is a projection and takes 1 to 0, so
    for Theta = d I + o 11^T
        E[J Theta J^T]_ab = d gamma^2 n E[phi'_a phi'_b (G_ab - y_a y_b/r^2)/r^2].
    As y phi'(y) = phi(y), the factor 1/r^2 and the function of the direction part; E[1/r^2] = 1/(v (n-3)) stands before
    E[phi' phi'] G_ab - E[F/r^2], and E[F/r^2] = E[F]/(n-1) = E[u_a u_b phi' phi']/n with u = y sqrt(n/(n-1)):
        Theta_ab = x (G_ab - u_a u_b/n),        x = d gamma^2 n/(v (n-3)),    G_aa = 1 - 1/n,  G_ab = -1/n.
    Trained: dh/dbeta = phi'_a; dh/dgamma = h/gamma: E[h_a h_b]/gamma^2 = E[u_a u_b phi' phi'].
    """
    n, g2, v = at.samples, layer.gamma**2, variance(layer, state.v)
    assert n is not None
    x = g2 * n / (v * (n - 3)) * (state.d + state.du)
    out = State(True, -g2 / (n - 1), g2 * n / (n - 1), 0.0, 0.0, -x / n, x, -x / n, np.zeros_like(x))
    return _trained(layer, out, at, 1.0)


def _trained(layer: Norm, out: State, at: Place, k: Any) -> State:
    """d(gamma u + beta)/d beta = 1, d/d gamma = u, with E u^2 = k."""
    if not layer.trained:
        return out
    o, ou = out.o.copy(), out.ou.copy()
    o[at.source] += 1
    ou[at.source] += k
    return replace(out, o=o, ou=ou)


def _image(layer: Norm, state: State, at: Place) -> State:
    """One mean and variance per channel, over data and positions; many data, and no terms of order 1/n.

    The mean is the common part of z: E z(x, a) mean = mean_a' Z_xy[a, a'] = r_a, E mean^2 = m, and so
        E u(x, a) u(x', a') = (Z[a, a'] - r_a - r_a' + m)/s2,    s2 = mean_a Z_xx[a, a] - m + eps
    for xx and xy alike. Gradient, frozen: Theta gamma^2/s2. Exact: the mean's tangent is taken out of Theta in the same
    way first, Theta - t_a - t_a' + t with the row means t_a of o, and d stays; what flows through 1/s is O(1/n).
    (ou, du) behind a sum of branches: exact, as for one position; frozen, of z(a)/sqrt(q_a) u(a) knows the share
    (q_a - r_a)^2/(q_a q'_a), q'_a = q_a - 2 r_a + m the length without the mean.
    """
    row = np.mean(state.xy, axis=1)
    m = float(np.mean(row))
    common = np.diagonal(state.xy)
    between = float(np.mean(common)) - m  # what positions add to the variance over the data
    between = between if abs(between) > 1e-13 * float(np.mean(common)) else 0.0  # below, it is rounding
    s2 = variance(layer, float(np.mean(np.diagonal(state.v))) + between)
    of_one = np.diagonal(state.q)
    if np.any(of_one - 2 * row + m < -1e-13 * (np.abs(of_one) + 2 * np.abs(row) + abs(m))):
        raise ValueError("overlap must be >= 0 where a position would have a variance below 0 over many data")
    xy, v, apart = _centred(state.xy, row, m) / s2, state.v / s2, state.apart / s2
    # Positions whose mean over the data is that of all, behind padding alone for one: what rounding leaves of it is 0.
    constant = np.abs(common - 2 * row + m) <= 1e-13 * (np.abs(common) + 2 * np.abs(row) + abs(m))
    xy[constant, :] = xy[:, constant] = 0.0
    if at.theory == "exact":
        o, d, ou, du = state.o, state.d + state.du, np.zeros_like(state.o), np.zeros_like(state.o)
        t_row = np.mean(o, axis=2)
        o = np.array([_centred(each, t, float(np.mean(t))) for each, t in zip(o, t_row, strict=True)]).reshape(o.shape)
    else:
        o, d, ou, du = known(state, *_of_positions(state, row, xy, v))
    g2, c = layer.gamma**2, layer.gamma**2 / s2
    roots = np.sqrt(np.maximum(np.diagonal(xy + v), 0.0))
    out = replace(
        State(True, g2 * xy, g2 * v, np.zeros_like(xy), layer.beta, c * o, c * d, c * ou, c * du),
        positions=state.positions,
        apart=g2 * apart,  # a mean that all positions lose changes no difference
        one_minus_c=correlations(xy, v, apart),
    )
    return _trained(layer, out, at, roots[:, None] * roots)


def _of_positions(state: State, row: np.ndarray, xy: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of every pair of positions what u knows of z/sqrt(q), and what the means of z z' have beyond those of u u'."""
    q, after = np.diagonal(state.q), np.diagonal(xy + v)
    s = np.sqrt(np.maximum(q - 2 * row + np.mean(row), 0.0)) * np.sqrt(q)
    roots = np.where((after > 0) & (s > 0), (q - row) / np.where(s > 0, s, 1.0), 0.0)
    R = roots[:, None] * roots
    two = over_roots(state.xy, q) - R * over_roots(xy, after)
    one = over_roots(state.q, q) - R * over_roots(xy + v, after)
    return R, two, one


def _centred(matrix: Any, row: Any, mean: float) -> Any:
    """M - r_a - r_a' + m, with 0 where that is below its own rounding: 1e-13 of what it is a difference of."""
    rows, columns = row[:, None], row[None, :]
    centred = matrix - rows - columns + mean
    size = np.abs(matrix) + np.abs(rows) + np.abs(columns) + abs(mean)
    return np.where(np.abs(centred) <= 1e-13 * size, 0.0, centred)


# ---------------------------------------------------------------------------------------------------- finite networks
# Below so small a share of a unit's length, its standard deviation over the batch is what rounding leaves.
_CONSTANT = 1e-12


def forward(layer: Norm, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    """The batch's own mean and biased variance, or those that are held; the variance is about the mean that is used.

    What rounding leaves in the mean of large numbers, as inputs may be, is taken off once more.
    """
    (gamma, beta), (h, offset), over = arrays, batch, axes(batch.h)
    mean, var = flow.held
    own = np.mean(h, axis=over)
    centred = h - of_channels(own if mean is None else mean - offset, h)
    if mean is None:
        rest = np.mean(centred, axis=over)
        own, centred = own + rest, centred - of_channels(rest, h)
    mean = own + offset if mean is None else mean
    var = np.mean(centred**2, axis=over) if var is None else var
    length = np.mean(centred**2 if flow.inputs else h**2, axis=over) + (0.0 if flow.exact_offset else offset**2)
    constant = var <= _CONSTANT**2 * length
    if layer.eps == 0 and constant.any():
        kind = "unit" if h.ndim == 2 else "channel"
        raise ValueError(
            f"{flow.where}: {kind} {int(np.argmax(constant))} has zero variance over the batch; BatchNorm needs eps > 0"
        )
    u = centred / of_channels(np.sqrt(var + layer.eps), h)
    return Batch(of_channels(gamma, h) * u + of_channels(beta, h)), (u, mean, var)


def back(
    layer: Norm, arrays: tuple[np.ndarray, ...], kept: Any, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """dgamma = sum delta u, dbeta = sum delta, and dz from du, u = (z - m)/s, m = mean z, s^2 = mean (z - m)^2 + eps,
    means over the M numbers of a unit or channel:

    du_i/dz_j = (1/s) ([i = j] - dm/dz_j - u_i ds/dz_j),
    dm/dz_j = 1/M,   ds/dz_j = (1/(2 s)) (2/M) (z_j - m) = u_j/M     (m's own part: sum_i (z_i - m) = 0), hence
    dz_j = (1/s) [du_j - mean(du) - u_j mean(du u)], the middle term from the mean and the last from the variance.
    """
    u, _, var = kept
    over = axes(delta)
    gradients = [np.sum(delta * u, axis=over), np.sum(delta, axis=over)] if layer.trained else []
    du = of_channels(arrays[0], delta) * delta
    dz = du.copy()
    if flow.statistics in ("exact", "mean_only"):
        dz -= of_channels(np.mean(du, axis=over), du)
    if flow.statistics in ("exact", "variance_only"):
        dz -= u * of_channels(np.mean(du * u, axis=over), du)
    return dz / of_channels(np.sqrt(var + layer.eps), du), gradients


KINDS: dict[type, Kind] = {
    BatchNorm: Kind(
        batch_norm,
        forward,
        back,
        takes_gaussian=True,
        without_bias=True,
        arrays=("gammas", "betas"),
        units=of_units,
    )
}
