# SPDX-License-Identifier: BSD-3-Clause
"""Activations: h = phi(z), unit by unit; docs/theory.md, section 4 (KAA; WSS eqs. 20-22), images section 5.

With z(x), z(y) Gaussian, u = (z - mean)/sqrt(q) and w the same at y,

    E h(x) h(y) = E phi(z(x)) phi(z(y)),
    Theta_h(x, y) = E[phi'(z(x)) phi'(z(y)) Theta_z(x, y)] = E[phi' phi'] o + E[u w phi' phi'] ou,
    Theta_h(x, x) = E[phi'^2] (o + d) + E[u^2 phi'^2] (ou + du).

Differences of the two lines are sums: with S = E phi' phi', P = E u w phi' phi' (at x = y: S1, P1)

    d_h = S d + (S1 - S) (o + d) + P du + (P1 - P) (ou + du).

A small change `off` of the overlap moves that of h by S off (Price 1958).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...network import Activation
from .. import activations, quadrature
from ..batch import Batch, Flow
from ..kind import Kind
from ..state import Place, State
from ..units.state import Sampling, Units, as_units

__all__ = ["KINDS", "LINEAR", "activation", "back", "forward"]

LINEAR = Activation("linear")
_ROUNDINGS = 32 * 2.0**-52


# ---------------------------------------------------------------------------------------------------- infinite width
def activation(layer: Activation, state: State, at: Place | None = None) -> State:
    return _single(layer, state) if state.positions is None else _image(layer, state)


def _single(phi: Activation, state: State) -> State:
    """One position. At overlap 0 the two inputs are independent, and expectations factor."""
    q, shift = state.q, state.mean
    mean = float(quadrature.mean(phi, q, shift))
    by_value = bool(np.any(state.ou) or np.any(state.du))
    P = more = 0.0  # P1 - P, which may be far smaller than both
    if state.xy == 0 or q == 0:
        xy, v, common = mean**2, float(quadrature.variance(phi, q, shift)), 0.0
        S = float(quadrature.slope_mean(phi, q, shift)) ** 2
        spread = float(quadrature.slope_variance(phi, q, shift))  # S1 - S, which may be far smaller than both
        if by_value:
            P = float(quadrature.first_slope_moment(phi, q, shift)) ** 2
            more = float(quadrature.second_slope_moment(phi, q, shift)) - P
    else:
        rest = min(max(state.v / q, 0.0), 2.0)
        # whichever of c and 1 - c is the smaller, for it has the digits of both
        c = {"c": state.xy / q} if abs(state.xy) <= state.v else {"one_minus_c": rest}
        xy = float(quadrature.covariance(phi, q, q, shift=shift, **c))
        v = float(quadrature.spread(phi, q, rest, shift))
        variance = float(quadrature.variance(phi, q, shift))  # the mean's square may be far larger
        common = xy - mean**2 if abs(xy) + mean**2 <= variance else variance - v
        S = float(quadrature.slope_covariance(phi, q, q, shift=shift, **c))
        spread = float(quadrature.slope_spread(phi, q, rest, shift))
        if by_value:
            P = float(quadrature.slope_pair_moment(phi, q, q, shift=shift, **c))
            more = float(quadrature.slope_pair_spread(phi, q, rest, shift))
    o = S * state.o + P * state.ou
    d = S * state.d + spread * state.D + P * state.du + more * (state.ou + state.du)
    none = np.zeros_like(o)
    return State(False, xy, v, S * state.off, mean, o, d, none, none, common=common)


def _image(phi: Activation, state: State) -> State:
    """Every pair of positions by itself; the variances of one input are those of both."""
    shift = state.mean
    variances = np.maximum(np.diagonal(state.q), 0.0)  # no -0 from rounding
    q1, q2 = variances[:, None], variances[None, :]
    one, two = state.one_minus_c or correlations(state.xy, state.v, state.apart)

    def of(integral: Any) -> tuple[np.ndarray, np.ndarray]:
        first, second = (integral(phi, q1, q2, one_minus_c=rest, shift=shift) for rest in (one, two))
        return second, first - second

    apart, further = (quadrature.half_difference(phi, q1, q2, rest, shift) for rest in (one, two))
    xy, v = quadrature.covariance(phi, q1, q2, one_minus_c=two, shift=shift), further - apart
    S, spread = of(quadrature.slope_covariance)
    np.fill_diagonal(spread, quadrature.slope_spread(phi, variances, np.diagonal(two), shift))
    # S1 d + (S1 - S) o
    o, d = S * state.o, (S + spread) * state.d + spread * state.o
    if np.any(state.ou) or np.any(state.du):
        P, more = of(quadrature.slope_pair_moment)
        np.fill_diagonal(more, quadrature.slope_pair_spread(phi, variances, np.diagonal(two), shift))
        o, d = o + P * state.ou, d + (P + more) * state.du + more * state.ou
    none, mean = np.zeros_like(o), quadrature.mean(phi, variances, shift)
    return State(False, xy, v, S * state.off, mean, o, d, none, none, state.positions, apart)


def correlations(xy: np.ndarray, v: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 - c for every pair of positions, of one input and of two, which differ by v more.

    For one input exactly 0 where two positions see the same, or multiples of it, and 2 where they are opposite.

    Of multiples 2 apart is gap^2, and what is left are a dozen roundings of apart and of both roots. Of inputs that
    share little, the overlap has the digits.
    """
    root = np.sqrt(np.maximum(np.diagonal(xy + v), 0.0))
    r, gap, larger = root[:, None] * root, root[:, None] - root, np.maximum(root[:, None], root)

    def of(difference: np.ndarray, overlap: np.ndarray) -> np.ndarray:
        twice = 2 * difference - gap**2
        twice = np.where(twice <= _ROUNDINGS * (difference + np.abs(gap) * larger), 0.0, twice)
        twice = np.where(np.abs(overlap) < r / 2, 2 * (r - overlap), twice)
        rest = np.where(r > 0, twice / np.where(r > 0, 2 * r, 1.0), 0.0)
        return np.where(rest >= 2 - _ROUNDINGS, 2.0, rest)

    return of(apart, xy + v), of(apart + v, xy)


def over_roots(matrix: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """A covariance over the deviations of both positions, 0 where one is constant."""
    deviations = np.sqrt(np.maximum(variances, 0.0))
    roots = deviations[:, None] * deviations
    return np.asarray(np.where(roots > 0, matrix / np.where(roots > 0, roots, 1.0), 0.0))


# ---------------------------------------------------------------------------------------------------- sampled units
def of_units(phi: Activation, state: State | Units, at: Place, sampling: Sampling) -> State | Units:
    """h = phi(z) and dh = phi'(z) dz. The identity leaves both as they are."""
    if phi == LINEAR:
        return activation(phi, state) if isinstance(state, State) and state.gaussian else state
    units = as_units(state, sampling)
    return units.times(activations.phi(phi)(units.h), activations.slope(phi)(units.h))


# ---------------------------------------------------------------------------------------------------- finite networks
def forward(layer: Activation, arrays: tuple[np.ndarray, ...], batch: Batch, flow: Flow) -> tuple[Batch, Any]:
    return Batch(activations.phi(layer)(batch.h)), batch.h


def back(
    layer: Activation, arrays: tuple[np.ndarray, ...], kept: np.ndarray, delta: np.ndarray, flow: Flow
) -> tuple[np.ndarray, list[np.ndarray]]:
    """dz = phi'(z) dh."""
    return delta * activations.slope(layer)(kept), []


KINDS: dict[type, Kind] = {Activation: Kind(activation, forward, back, takes_gaussian=True, units=of_units)}
