# SPDX-License-Identifier: BSD-3-Clause
"""How sums over the units of one layer scatter: moments of phi under two Gaussians, one of them the same for all data.

Unit i sees z_i(x) = sqrt(xy) alpha_i + sqrt(v) b_i(x) + mean. With m, w, s the means over b of phi, phi^2 and phi',

    of nets       the sums of w, m^2, m and g^2 s^2 over units, g ~ N(0, 1) the gradient's own factor
    of samples    the sums of phi(x)^2, phi(x) m, phi(x) and phi'(x) s times both gradients' factors, x the sample

and the units' own mean square over q, which a LayerNorm before phi divides by, and their mean over the root of q, which
it takes off.

docs/theory.md, section 13. Gauss-Legendre panels on both, cut where phi has kinks and, far out, where it turns.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import _core
    from ..network import Activation

    Array = NDArray[np.float64]

_END = 9.0  # exp(-9^2/2) = 3e-18, and phi^4 grows as a power
_PANELS = np.linspace(-_END, _END, 9)
_KINK = np.arange(-8.0, 9, 2)  # of a kink smoothed by a Gaussian of width 1: an error function
_TURNS = np.concatenate((np.arange(0.0, 9, 2), 8 * 2.0 ** np.arange(1, 60)))
_TURNS = np.concatenate((-_TURNS[:0:-1], _TURNS))
_WIDE = 1.3  # units of this deviation or more turn within a panel


@functools.cache
def _nodes() -> tuple[Array, Array]:
    """16 on panels of width 2.25: exp(-z^2/2) and what turns on the scale of 1 are left with 1e-13."""
    return np.polynomial.legendre.leggauss(16)


def _turns(activation: _core.Activation, deviation: float) -> Array:
    """Where phi turns, on the scale of 1 near 0 and of |x| far from it, and its kinks."""
    kinks = np.asarray(activation.kinks)
    if deviation < _WIDE or activation.homogeneous:
        return kinks
    return np.concatenate((kinks, _TURNS[np.abs(_TURNS) <= 2 * _END * deviation]))


def _rule(breaks: Array) -> tuple[Array, Array]:
    """Nodes and weights of E f(z) over panels between the breaks, sorted along the last axis; empty panels count 0."""
    breaks = np.sort(np.clip(breaks, -_END, _END), axis=-1)
    low, width = breaks[..., :-1], np.diff(breaks, axis=-1)
    used = np.any((width > 0).reshape(-1, width.shape[-1]), axis=0)
    low, half = low[..., used], width[..., used] / 2
    nodes, shares = _nodes()
    z = (low + half)[..., None] + half[..., None] * nodes
    weights = half[..., None] * shares * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return z.reshape(*breaks.shape[:-1], -1), weights.reshape(*breaks.shape[:-1], -1)


class Scatter(NamedTuple):
    """Covariances of one unit's terms: of what nets scatter by, and of what samples do.

    Both are in the order q_hat, q_hat_xy, mean, t, divisor, centre. Of samples, t's own is left at 2 A - 3 B: A = E s^2
    E_b phi'^2, `slopes`, is to be added times the ratio of gradients' length and overlap above the layer; B = E s^4.
    """

    nets: Array
    samples: Array
    slopes: float
    fourth: float
    t: float  # E s^2


class Row(NamedTuple):
    """One activation's units: how they scatter, and by what the result moves."""

    units: float
    layer: int
    activation: Activation
    normed: bool
    xy: float
    v: float
    mean: float
    o: float
    nets: Array  # rates of log lambda_max by q_hat, q_hat_xy, the mean, t, divisor and centre
    samples: Array  # of log b, as one sample moves it
    worth: float
    worth_d: float
    scatter: Scatter


def scatter(activation: _core.Activation, xy: float, v: float, mean: float) -> Scatter:
    """Of an activation that reads units of this state; its integrals to 1e-11."""
    shared, own = np.sqrt(max(xy, 0.0)), np.sqrt(v if xy >= 0 else max(xy + v, 0.0))
    kinks, turns = np.asarray(activation.kinks) - mean, _turns(activation, np.hypot(shared, own)) - mean
    alpha, weights = np.zeros(1), np.ones(1)
    if shared > 0:
        around = (kinks[:, None] + own * _KINK).ravel() / shared
        alpha, weights = _rule(np.unique(np.clip(np.concatenate((_PANELS, around, turns / shared)), -_END, _END)))
    centre, b, inner = shared * alpha[:, None], np.zeros((len(alpha), 1)), np.ones((len(alpha), 1))
    if own > 0:
        cuts = (turns - centre) / own
        b, inner = _rule(np.concatenate((np.broadcast_to(_PANELS, (len(alpha), len(_PANELS))), cuts), axis=1))
    phi, slope = (values.reshape(b.shape) for values in activation.evaluate((centre + own * b + mean).ravel()))

    def over_b(values: Array) -> Array:
        return np.asarray(np.einsum("ab,ab->a", inner, values))

    def over_alpha(values: Array) -> float:
        return float(weights @ values)

    m, w, s = over_b(phi), over_b(phi * phi), over_b(slope)
    slopes, fourth, t = over_alpha(s * s * over_b(slope * slope)), over_alpha(s**4), over_alpha(s * s)
    q = max(xy, 0.0) + own**2
    z = (centre + own * b) / np.sqrt(q) if q > 0 else np.zeros_like(phi)
    square = over_b(z * z)
    terms = np.stack([w, m * m, m, s * s, square, over_b(z)])
    centred = terms - (terms @ weights)[:, None]
    nets = np.einsum("a,ia,ja->ij", weights, centred, centred)
    nets[3, 3] = 3 * fourth - t * t
    # of one sample, over b at every alpha: phi^2, phi m, phi, phi' s and the units' own
    each = np.stack([phi * phi, phi * m[:, None], phi, slope * s[:, None], z * z, z])
    each = each - np.einsum("ab,iab->ia", inner, each)[:, :, None]
    samples = np.einsum("ab,iab,jab->ij", weights[:, None] * inner, each, each, optimize=True)
    samples[3, 3] = 2 * slopes - 3 * fourth
    return Scatter(nets, samples, slopes, fourth, t)


class Hermite(NamedTuple):
    """Of phi(sqrt(q) u + mean): E phi He_k(u) and E phi' He_k(u) for k = 0 .. 4, and moments of phi - E phi."""

    phi: tuple[float, ...]
    slope: tuple[float, ...]
    variance: float
    fourth: float  # Var (phi - E phi)^2/variance^2
    squared: float  # E (phi - E phi)^2 He_2(u)/(2 variance)


def hermite(activation: _core.Activation, q: float, mean: float) -> Hermite:
    """Of an activation behind a BatchNorm."""
    root = np.sqrt(q)
    turns = _turns(activation, root) - mean
    u, weights = _rule(np.concatenate((_PANELS, turns / root if root > 0 else turns[:0])))
    phi, slope = activation.evaluate(root * u + mean)
    he = np.stack([np.ones_like(u), u, u * u - 1, u**3 - 3 * u, u**4 - 6 * u * u + 3])
    centred = (phi - weights @ phi) ** 2
    variance = float(weights @ centred)
    of = variance if variance > 0 else 1.0
    return Hermite(
        tuple((he @ (weights * phi)).tolist()),
        tuple((he @ (weights * slope)).tolist()),
        variance,
        float(weights @ (centred / of - variance / of) ** 2),  # their squares would leave float64
        float(weights @ (centred * he[2])) / (2 * of),
    )
