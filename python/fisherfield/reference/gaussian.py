# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian expectations of phi and phi' at 40 digits by mpmath: what every other way of forming them is held to.

    mean(phi; q)               = E phi(sqrt(q) z + shift)
    second_moment(phi; q)      = E phi(sqrt(q) z + shift)^2
    covariance(phi; q1, q2, c) = E phi(sqrt(q1) z1 + shift) phi(sqrt(q2) z2 + shift),   E z1 z2 = c

and the same of phi' (`slope_*`), with z, z1, z2 ~ N(0, 1); docs/theory.md, section 3. Arguments broadcast; scalars give
an mpf, arrays an array of them. They are taken as the float64 numbers they are, and c and 1 - c exactly.

Where an integral is elementary its formula is used with as many digits as cancel (activations_mpmath.py); all others
are sums over Gauss-Legendre panels. That of two arguments is an outer integral over u,

    E phi(u) phi(w) = E phi(u) M(u),   M(u) = E [phi(w) | u],   w | u ~ N(shift + sqrt(q2) c z1, q2 (1 - c^2)).

Right to 30 digits of E|integrand|, and of the value where phi is made of pieces, for q = 0 and q in [1e-8, 1e8], every
c, shifts up to 100. Slow: milliseconds for one argument, up to minutes for two where M has no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from mpmath import mp

from ..network.activation import Activation, as_activation
from . import activations
from .activations_mpmath import Known, Number, Piecewise, Smooth, functions
from .arguments import LARGEST, array, correlation_of, number

__all__ = [
    "Table",
    "covariance",
    "mean",
    "second_moment",
    "slope_covariance",
    "slope_mean",
    "slope_second_moment",
    "tabulate",
]

_DIGITS = 60  # worked with: 1 - c = 1e-15 and q = 1e8 take 20 of them, and 40 are promised


# ---------------------------------------------------------------------------------------------------- quadrature
# On a panel of half-width h an n-point rule converges like rho^(-2n), rho the sum of the half-axes of the largest
# ellipse with foci at its ends in which f is analytic; with 32 points and rho = 3.4, 1e-34.
_POINTS = 32
_REACH = 20  # exp(-20^2/2) = 1e-87, beside the peak of f^2 times the density
_BULK = tuple(range(-_REACH, _REACH + 1, 4))  # exp(-z^2/2) on the ellipse rho = 3.4 about a panel of 4 is below e^5
# Structure of phi: on the scale of 1 near 0 (tanh has its pole at i pi/2, gelu_tanh further ones up to where it is
# linear to 1e-100), of |x| far from it.
_TURN = (*range(0, 17, 2), *(2**k for k in range(5, 80)))


@cache
def legendre(points: int = _POINTS) -> tuple[tuple[Number, Number], ...]:
    """Nodes and weights on [-1, 1]: Newton's steps from float64 ones, 16 -> 32 -> 64 -> 128 digits."""
    with mp.workdps(100):
        rule = []
        for start in np.polynomial.legendre.leggauss(points)[0]:
            x = mp.mpf(float(start))
            for _ in range(4):
                below, p = mp.one, x
                for n in range(2, points + 1):
                    below, p = p, ((2 * n - 1) * x * p - (n - 1) * below) / n
                slope = points * (below - x * p) / (1 - x * x)
                x -= p / slope
            rule.append((x, 2 / ((1 - x * x) * slope**2)))
        return tuple(rule)


def _expectation(f: Callable[[Number], Number], breaks: Iterable[Number], reach: Number = _REACH) -> Number:
    """E f(z), the line split at `breaks`."""
    beyond = [sign * x for x in range(_REACH, int(reach) + 1, 2) for sign in (1, -1)]
    ends = sorted({mp.mpf(x) for x in (*_BULK, *beyond, *breaks, -reach, reach) if abs(x) <= reach})
    total = mp.zero
    for low, high in pairwise(ends):
        centre, half = (low + high) / 2, (high - low) / 2
        for x, weight in legendre():
            z = centre + half * x
            total += half * weight * mp.npdf(z) * f(z)
    return total


def _turns(f: Smooth, m: Number, r: Number, widened: Number = 1) -> list[Number]:
    """Where z -> f(m + r z) turns, or f smoothed by a Gaussian so that its scale is `widened`."""
    return [
        (kink - m + sign * widened * x) / r
        for kink in (f.kinks or (0,))
        for x in _TURN
        if widened * x <= (abs(m) + abs(r)) * 2 * _REACH
        for sign in (1, -1)
    ]


def _peak(f: Any, m: Number, slowest: Number, r: Number) -> Number:
    """How far out a product of two f, each decaying away from its turns, may have its peak under exp(-z^2/2).

    There z is the rate of decay along z, r times that of f^2 at most: 4 for exponential tails, 2 x and 0.43 x^2 for
    gelu and gelu_tanh at x. And f has turned where m + slowest z has.
    """
    x = max(abs(turn - m) for turn in f.kinks or (0,))
    return min(x / slowest, r * (4 + x * x / 2))


def _ladder(centre: Number, finest: Number, reach: Number) -> list[Number]:
    """Every scale from `finest` to `reach` on both sides of `centre`."""
    steps = int(mp.ceil(mp.log(2 * reach / finest, 3))) + 1
    return [centre, *(centre + sign * finest * 3**k for k in range(steps) for sign in (1, -1))]


def _average(f: Any, m: Number, v: Number) -> Number:
    """E f(N(m, v)), v > 0."""
    if f.average is not None:
        return f.average(m, v)
    r = mp.sqrt(v)
    return _expectation(lambda z: f.value(m + r * z), _turns(f, m, r), _REACH + _peak(f, m, r, r))


def _pair(f: Any, q1: Number, q2: Number, rest: Number, shift: Number) -> Number:
    """E f(u) f(w) with variances q1, q2 > 0 and rest = 1 - c."""
    if isinstance(f, Known):
        return f.covariance(q1, q2, rest, shift)
    c, s = 1 - rest, mp.sqrt(rest * (2 - rest))
    if c == 0:
        return _average(f, shift, q1) * _average(f, shift, q2)
    r1, r2 = mp.sqrt(q1), mp.sqrt(q2)
    reach, breaks = mp.mpf(_REACH), []
    if isinstance(f, Piecewise):
        # Kinks may lie many deviations out, with all that there is beyond them: the joint density then decays from
        # z1 = (kink - shift)/r1, or has its peak where w meets the kink, at c times that of w; M turns where the
        # conditional mean of w is at the kink. All on scales from s^2/|z1| on.
        for kink in f.kinks:
            own, other = (kink - shift) / r1, (kink - shift) / r2
            reach = max(reach, abs(own) + _REACH, abs(other) + _REACH)
            finest = (s * s if s else 1) * min(1, 1 / r1, 1 / r2) / (1 + abs(own) + abs(other))
            for centre in {own, other / c, c * other}:
                if abs(centre) <= reach:
                    breaks += _ladder(centre, finest, reach)
    else:
        lead = r2 * abs(c)  # of w's mean along z1
        reach += _peak(f, shift, min(r1, lead), r1 + lead)
        breaks += _turns(f, shift, r1)
        breaks += _turns(f, shift, r2 * c, max(1, r2 * s))
        for kink in f.kinks if s else ():
            breaks += _ladder((kink - shift) / (r2 * c), s / abs(c), reach)
    if s == 0:
        return _expectation(lambda z: f.value(r1 * z + shift) * f.value(r2 * c * z + shift), breaks, reach)

    def integrand(z: Number) -> Number:
        value = f.value(r1 * z + shift)
        return value * _average(f, r2 * c * z + shift, q2 * s * s) if value else value

    return _expectation(integrand, breaks, reach)


def _square(f: Any, q: Number, shift: Number) -> Number:
    """E f(u)^2."""
    if isinstance(f, Known):
        return f.covariance(q, q, mp.zero, shift)
    return _average(f.square() if isinstance(f, Piecewise) else Smooth(lambda x: f.value(x) ** 2, f.kinks), shift, q)


# ---------------------------------------------------------------------------------------------------- arguments
def _each(integral: Callable[..., Number], *arrays: Any) -> Any:
    """`integral` of every entry of the broadcast arrays, rounded to 40 digits."""
    broadcast = np.broadcast_arrays(*arrays)
    out = np.empty(broadcast[0].shape, dtype=object)
    with mp.workdps(_DIGITS):
        for place in np.ndindex(out.shape):
            value = integral(*(mp.mpf(float(a[place])) if a.dtype != object else a[place] for a in broadcast))
            with mp.workdps(40):
                out[place] = +mp.mpf(value)
    return out[()]


def _moment(activation: Any, slope: bool, q: Any, shift: Any, integral: Callable[..., Number], power: int) -> Any:
    activation = as_activation(activation)
    f, at_point = functions(activation)[slope], _at_point(activation, slope)
    variances = array("q", q, 0.0)
    shifts = array("shift", shift)
    return _each(lambda v, b: integral(f, v, b) if v else at_point(f, b) ** power, variances, shifts)


def _two(activation: Any, slope: bool, q1: Any, q2: Any, c: Any, one_minus_c: Any, shift: Any) -> Any:
    activation = as_activation(activation)
    f, at_point = functions(activation)[slope], _at_point(activation, slope)
    correlation, rest = correlation_of(c, one_minus_c)
    if one_minus_c is None:
        rest = np.vectorize(lambda x: mp.mpf(1) - mp.mpf(float(x)), otypes=[object])(correlation)

    def integral(v1: Number, v2: Number, e: Number, b: Number) -> Number:
        if v1 and v2:
            return _pair(f, v1, v2, e, b)
        return mp.fprod(_average(f, b, v) if v else at_point(f, b) for v in (v1, v2))

    return _each(
        integral,
        array("q1", q1, 0.0),
        array("q2", q2, 0.0),
        rest,
        array("shift", shift),
    )


def _at_point(activation: Any, slope: bool) -> Callable[[Any, Number], Number]:
    """The value at a point; at a kink the convention of activations.py."""

    def at_point(f: Any, x: Number) -> Number:
        if float(x) in activations.kinks(activation):
            return mp.mpf(float((activations.slope if slope else activations.phi)(activation)(np.asarray(float(x)))))
        return f.value(x)

    return at_point


# ---------------------------------------------------------------------------------------------------- the six
def mean(activation: Any, q: Any, shift: Any = 0.0) -> Any:
    """E phi(sqrt(q) z + shift)."""
    return _moment(activation, False, q, shift, lambda f, v, b: _average(f, b, v), 1)


def second_moment(activation: Any, q: Any, shift: Any = 0.0) -> Any:
    """E phi(sqrt(q) z + shift)^2."""
    return _moment(activation, False, q, shift, _square, 2)


def slope_mean(activation: Any, q: Any, shift: Any = 0.0) -> Any:
    """E phi'(sqrt(q) z + shift), of the slope almost everywhere; at q = 0 phi'(shift), the value at the point."""
    return _moment(activation, True, q, shift, lambda f, v, b: _average(f, b, v), 1)


def slope_second_moment(activation: Any, q: Any, shift: Any = 0.0) -> Any:
    """E phi'(sqrt(q) z + shift)^2."""
    return _moment(activation, True, q, shift, _square, 2)


def covariance(activation: Any, q1: Any, q2: Any, c: Any = None, *, one_minus_c: Any = None, shift: Any = 0.0) -> Any:
    """E phi(x1 + shift) phi(x2 + shift), (x1, x2) centred Gaussian with variances q1, q2 and correlation c."""
    return _two(activation, False, q1, q2, c, one_minus_c, shift)


def slope_covariance(
    activation: Any, q1: Any, q2: Any, c: Any = None, *, one_minus_c: Any = None, shift: Any = 0.0
) -> Any:
    """E phi'(x1 + shift) phi'(x2 + shift); the derivative of the covariance by sqrt(q1 q2) c (Price 1958)."""
    return _two(activation, True, q1, q2, c, one_minus_c, shift)


# ---------------------------------------------------------------------------------------------------- tables
@dataclass(frozen=True)
class Table:
    """The integrals of one activation at equal variances, with no table at all: what interpolation is held to."""

    activation: Activation
    q: tuple[float, float]

    def _variances(self, q: Any) -> Any:
        return array("q", q, *self.q)

    def mean(self, q: Any) -> Any:
        """E phi(u), u ~ N(0, q)."""
        return mean(self.activation, self._variances(q))

    def second_moment(self, q: Any) -> Any:
        """E phi(u)^2."""
        return second_moment(self.activation, self._variances(q))

    def slope_mean(self, q: Any) -> Any:
        """E phi'(u)."""
        return slope_mean(self.activation, self._variances(q))

    def slope_second_moment(self, q: Any) -> Any:
        """E phi'(u)^2."""
        return slope_second_moment(self.activation, self._variances(q))

    def covariance(self, q: Any, c: Any = None, *, one_minus_c: Any = None) -> Any:
        """E phi(u) phi(w), (u, w) ~ N(0, q [[1, c], [c, 1]])."""
        variances = self._variances(q)
        return covariance(self.activation, variances, variances, c, one_minus_c=one_minus_c)

    def slope_covariance(self, q: Any, c: Any = None, *, one_minus_c: Any = None) -> Any:
        """E phi'(u) phi'(w)."""
        variances = self._variances(q)
        return slope_covariance(self.activation, variances, variances, c, one_minus_c=one_minus_c)


def tabulate(activation: Any, q: tuple[float, float] = (1e-4, 1e4), *, megabytes: float = 64.0) -> Table:
    """The activation and the range of variances; nothing is computed before it is asked for."""
    number("megabytes", megabytes, 1 / LARGEST)
    low, high = (number("q", end, 1e-12, 1e12) for end in q)
    if not low < high:
        raise ValueError(f"q must be a pair low < high, got {q!r}")
    return Table(as_activation(activation), (low, high))
