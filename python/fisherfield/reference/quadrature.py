# SPDX-License-Identifier: BSD-3-Clause
"""The integrals of gaussian.py in float64, and those that BatchNorm and spreads ask for: what the recursions use.

At 40 digits a network would take hours. Closed forms stand where they are short, plain split quadrature for the rest.
Arguments broadcast. Relative error below 1e-11 for q in [1e-3, 1e3] and c in [-1, 1], where the integral does not
cancel; exp and waves want q below 10. tests/ hold them to gaussian.py. A callable must be smooth on the scale of 1 near
0 and on the scale of |x| far from it, but for its kinks.

Near c = 1 the information is in 1 - c, so every closed form is written in the angle

    theta = acos c = 2 atan2(sqrt(1-c), sqrt(1+c)),         t = pi - theta,

and `one_minus_c` may be given instead of c.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpmath import mp

from ..network.activation import Activation, as_activation
from . import activations, activations_mpmath
from .arguments import array, correlation_of, number
from .panels import Integrand, Turns, each, half_square, one, two

__all__ = [
    "covariance",
    "first_slope_moment",
    "half_difference",
    "mean",
    "second_moment",
    "second_slope_moment",
    "size",
    "slope_covariance",
    "slope_mean",
    "slope_pair_moment",
    "slope_pair_spread",
    "slope_second_moment",
    "slope_spread",
    "slope_variance",
    "spread",
    "variance",
]

_LOST = 1e-2  # a difference of float64 numbers that is so much smaller than they are has lost two digits


def _above(activation: Activation, slope: bool, q: float, shift: float) -> Integrand:
    """f(sqrt(q) z + shift) - f(shift) for f = phi or phi', to its own last digits.

    Where phi is saturated, or q small, float64 leaves nothing of the difference; there mpmath forms it, with as many
    digits as it takes, up to 200: the square of what they leave is no float64. A callable's is what float64 makes it.
    """
    f, root = (activations.slope if slope else activations.phi)(activation), np.sqrt(q)
    if callable(activation.function):
        return lambda x, z: f(x) - f(np.asarray(shift))
    function = activations_mpmath.functions(activation)[slope]

    def constant(x: np.ndarray) -> np.ndarray:
        """Whether f is a constant around x: then 0 is 0 at any precision."""
        if not isinstance(function, activations_mpmath.Piecewise):
            return np.zeros(x.shape, dtype=bool)
        inside = [
            (x > float(low)) & (x <= float(high))
            for low, high, terms in function.pieces
            if any(k or rate for _, k, rate in terms)
        ]
        return ~np.any(inside, axis=0) if inside else np.ones(x.shape, dtype=bool)

    def value(x: Any) -> Any:
        """f(x), or f(x) and a constant: erf is 1 - erfc, and comes closer to 1 than any precision."""
        if activation.function == "erf" and not slope:
            return -mp.erfc(x) if shift > 0 else mp.erfc(-x)
        return function.value(x)

    def exactly(z: float) -> float:
        for digits in (50, 100, 200):
            with mp.workdps(digits):
                at = mp.mpf(shift)
                base = value(at)
                difference = value(at + mp.mpf(root) * mp.mpf(z)) - base
                if abs(difference) > mp.mpf(10) ** (20 - digits) * abs(base):
                    break
        return float(difference)

    def above(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        base = f(np.asarray(shift))
        difference = f(x) - base
        lost = np.abs(difference) <= _LOST * (np.abs(f(x)) + abs(base))
        lost |= np.abs(root * z) <= _LOST * np.abs(x)
        lost &= ~(constant(x) & constant(np.asarray(shift)))
        difference[lost] = [exactly(float(each)) for each in z[lost]]
        return difference

    return above


# ---------------------------------------------------------------------------------------------------- arguments
def _variances(*values: Any) -> tuple[np.ndarray, ...]:
    return tuple(array("q", value, 0.0) for value in values)


def _closed(activation: Activation, shift: float, names: tuple[str, ...]) -> str | None:
    """The activation's name where its closed form is used."""
    number("shift", shift)
    name = activation.function
    return name if isinstance(name, str) and name in names and (shift == 0 or name in ("linear", "sin")) else None


def _negative_slope(activation: Activation, name: str) -> float:
    """a in phi(x) = x (x > 0), a x (x < 0)."""
    if name == "leaky_relu":
        return float(activation.parameters["slope"])
    return {"relu": 0.0, "abs": -1.0, "linear": 1.0}[name]


def _turns(activation: Activation) -> Turns:
    scale = min(1.0, abs(activation.parameters["alpha"])) if activation.function == "celu" else 1.0
    return Turns(np.array(activations.kinks(activation), dtype=np.float64), scale)


_RAMPS = ("relu", "leaky_relu", "abs")


# ---------------------------------------------------------------------------------------------------- one argument
def mean(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi(sqrt(q) z + shift).

    ramp (x for x > 0, a x else): E relu(z) = 1/sqrt(2 pi), hence (1 - a) sqrt(q/(2 pi)).
    sin: the imaginary part of E exp(i (sqrt(q) z + shift)) = exp(i shift - q/2).
    """
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    if name in _RAMPS:
        return ((1 - _negative_slope(activation, name)) * np.sqrt(q / (2 * np.pi)))[()]
    if name == "linear":
        return (0 * q + shift)[()]
    if name == "step":
        return np.where(q > 0, 0.5, 0.0)[()]
    if name in ("erf", "sin"):
        return (np.sin(shift) * np.exp(-q / 2) if name == "sin" else 0 * q)[()]
    f, turns = activations.phi(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: f(x), turns, v, shift), q)


def second_moment(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi(sqrt(q) z + shift)^2: the covariance at c = 1; ramp: (1 + a^2) q/2, half of the mass on either side."""
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    if name in _RAMPS:
        return ((1 + _negative_slope(activation, name) ** 2) * q / 2)[()]
    if name is not None:
        return covariance(activation, q, q, one_minus_c=0.0, shift=shift)
    f, turns = activations.phi(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: f(x) ** 2, turns, v, shift), q)


def variance(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi^2 - (E phi)^2, as E (phi - E phi)^2; ramp: q [(1 + a^2)/2 - (1 - a)^2/(2 pi)]."""
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf"))
    if name in _RAMPS:
        a = _negative_slope(activation, name)
        return (q * ((1 + a * a) / 2 - (1 - a) ** 2 / (2 * np.pi)))[()]
    if name == "linear":
        return (q * np.ones(()))[()]
    if name is not None:
        return (second_moment(activation, q) - mean(activation, q) ** 2)[()]
    return each(lambda v: _variance(activation, False, v, shift), q)


def slope_variance(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi'^2 - (E phi')^2, as E (phi' - E phi')^2; ramp: (1 - a)^2/4, as either slope has half of the mass."""
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step"))
    if name in _RAMPS:
        return np.where(q > 0, (1 - _negative_slope(activation, name)) ** 2 / 4, 0.0)[()]
    if name is not None:
        return (0 * q)[()]
    return each(lambda v: _variance(activation, True, v, shift), q)


def _variance(activation: Activation, slope: bool, q: float, shift: float) -> float:
    """E (f - E f)^2. What is the same for every z is taken away before anything is squared: f(shift), then the mean."""
    if q == 0:
        return 0.0
    above, turns = _above(activation, slope, q, shift), _turns(activation)
    mean = one(above, turns, q, shift)
    return one(lambda x, z: (above(x, z) - mean) ** 2, turns, q, shift)


def slope_mean(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi'(sqrt(q) z + shift), of the slope almost everywhere.

    ramp: (1 + a)/2.  erf: (2/sqrt(pi)) E exp(-q z^2) = 2/sqrt(pi (1 + 2q)).  sin: E cos = cos(shift) exp(-q/2).
    q = 0: phi'(shift) itself, the value at the point.
    """
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    if name is not None:
        at_zero = activations.slope(activation)(np.asarray(shift))
        if name == "erf":
            value = 2 / np.sqrt(np.pi * (1 + 2 * q))
        elif name == "sin":
            value = np.cos(shift) * np.exp(-q / 2)
        else:
            value = np.asarray(0.0 if name == "step" else (1 + _negative_slope(activation, name)) / 2)
        return np.where(q > 0, value, at_zero)[()]
    f, turns = activations.slope(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: f(x), turns, v, shift), q)


def slope_second_moment(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E phi'(sqrt(q) z + shift)^2; ramp: (1 + a^2)/2."""
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    if name in _RAMPS:
        at_zero = activations.slope(activation)(np.zeros(())) ** 2
        return np.where(q > 0, (1 + _negative_slope(activation, name) ** 2) / 2, at_zero)[()]
    if name is not None:
        return slope_covariance(activation, q, q, one_minus_c=0.0, shift=shift)
    f, turns = activations.slope(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: f(x) ** 2, turns, v, shift), q)


def first_slope_moment(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E z phi'(sqrt(q) z + shift).

    ramp: E z phi'(z) = (1 - a)/sqrt(2 pi) (phi' = a + (1 - a) [z > 0], E z [z > 0] = 1/sqrt(2 pi)).  linear: E z = 0.
    sin: -sqrt(q) sin(shift) exp(-q/2) by partial integration (E z f(z) = E f'(z)).
    """
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    if name in _RAMPS:
        return np.where(q > 0, (1 - _negative_slope(activation, name)) / np.sqrt(2 * np.pi), 0.0)[()]
    if name is not None:
        return (-np.sqrt(q) * np.sin(shift) * np.exp(-q / 2) if name == "sin" else 0 * q)[()]
    f, turns = activations.slope(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: z * f(x), turns, v, shift), q)


def second_slope_moment(activation: Any, q: Any, shift: float = 0.0) -> Any:
    """E z^2 phi'(sqrt(q) z + shift)^2; ramp: as E z^2 = 1 falls in equal parts on both sides, (1 + a^2)/2."""
    activation, (q,) = as_activation(activation), _variances(q)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step"))
    if name == "step":
        return (0 * q)[()]
    if name is not None:
        return slope_second_moment(activation, q, shift)
    f, turns = activations.slope(activation), _turns(activation)
    return each(lambda v: one(lambda x, z: (z * f(x)) ** 2, turns, v, shift), q)


# ---------------------------------------------------------------------------------------------------- two arguments
def _ramp_kernel(cosine: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """E relu(z1) relu(z2) = (sin t - t cos t)/(2 pi), t = pi - acos c the angle under which both are positive.

    In polar coordinates E relu relu = (1/2 pi) int_0^oo r^3 e^(-r^2/2) dr int cos(alpha) cos(alpha - theta) d alpha
    over the sector of angle t where both cosines are positive; the integral over r is 2, that over alpha (sin theta +
    t cos theta)/2, and cos theta = -cos t. Cho and Saul (2009), order 1. For small t the difference t^3/3 - t^5/30 +
    ... is summed as a series: sin t - t cos t = sum_k (-1)^(k+1) 2k t^(2k+1)/(2k+1)!.
    """
    series, term = np.zeros_like(angle), angle * 1.0
    for k in range(1, 12):
        term = -term * angle**2 / ((2 * k) * (2 * k + 1))
        series = series - 2 * k * term
    return np.where(angle < 1, series, np.sin(angle) + angle * cosine) / (2 * np.pi)


def _angles(c: np.ndarray, one_minus_c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """theta = acos c and t = pi - theta, each to full relative precision."""
    minus, plus = np.sqrt(one_minus_c), np.sqrt(2 - one_minus_c)
    return 2 * np.arctan2(minus, plus), 2 * np.arctan2(plus, minus)


def covariance(activation: Any, q1: Any, q2: Any, c: Any = None, *, one_minus_c: Any = None, shift: float = 0.0) -> Any:
    """E phi(x1 + shift) phi(x2 + shift), (x1, x2) centred Gaussian with variances q1, q2 and correlation c."""
    activation, (q1, q2) = as_activation(activation), _variances(q1, q2)
    c, one_minus_c = correlation_of(c, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "sign", "erf", "sin"))
    product = np.sqrt(q1) * np.sqrt(q2)
    theta, t = _angles(c, one_minus_c)
    if name in _RAMPS:
        # phi(x) = relu(x) - a relu(-x); relu(-x1) and relu(x2) have the kernel at -c, that is with theta and t
        # exchanged.
        a = _negative_slope(activation, name)
        return (product * ((1 + a * a) * _ramp_kernel(c, t) - 2 * a * _ramp_kernel(-c, theta)))[()]
    if name == "linear":
        return (product * c + shift**2)[()]
    if name == "step":
        # The probability that both are positive: the sector of angle t. (Sheppard 1899.) step(0) = 0.
        return np.where(product > 0, t / (2 * np.pi), 0.0)[()]
    if name == "sign":
        # 2 step - 1: 4 t/(2 pi) - 1 = (2/pi) asin c, as an atan2 of c and sqrt(1 - c^2).
        return np.where(product > 0, 2 / np.pi * np.arctan2(c, np.sqrt(one_minus_c * (2 - one_minus_c))), 0.0)[()]
    if name == "erf":
        # Williams (1997): (2/pi) asin(r), r = 2 q12/sqrt((1 + 2 q1)(1 + 2 q2)); as an atan2 of r and sqrt(1 - r^2).
        return (2 / np.pi * np.arctan2(2 * product * c, np.sqrt(_erf_determinant(q1, q2, c, one_minus_c))))[()]
    if name == "sin":
        # sin x sin y = (cos(x - y) - cos(x + y))/2 and E cos N(m, v) = cos m e^(-v/2).
        minus, plus = _sin_exponents(q1, q2, one_minus_c)
        return (0.5 * _exp_difference(minus, plus) + np.sin(shift) ** 2 * np.exp(-plus))[()]
    f, turns = activations.phi(activation), _turns(activation)
    return _pairwise(lambda x, z: f(x), turns, q1, q2, c, one_minus_c, shift)


def slope_covariance(
    activation: Any, q1: Any, q2: Any, c: Any = None, *, one_minus_c: Any = None, shift: float = 0.0
) -> Any:
    """E phi'(x1 + shift) phi'(x2 + shift); the derivative of the covariance by sqrt(q1 q2) c (Price 1958)."""
    activation, (q1, q2) = as_activation(activation), _variances(q1, q2)
    c, one_minus_c = correlation_of(c, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "erf", "sin"))
    theta, t = _angles(c, one_minus_c)
    if name in _RAMPS and np.all(np.minimum(q1, q2) > 0):
        # Both positive, or both negative: t/(2 pi) each; of different sign: theta/pi together.
        a = _negative_slope(activation, name)
        value = (1 + a * a) * t / (2 * np.pi) + 2 * a * theta / (2 * np.pi)
        if a == -1:
            value = 2 / np.pi * np.arctan2(c, np.sqrt(one_minus_c * (2 - one_minus_c)))
        return (value + 0 * q1 * q2)[()]
    if name in ("linear", "step"):
        return ((1.0 if name == "linear" else 0.0) + 0 * q1 * q2 * c)[()]
    if name == "erf":
        # (4/pi) E exp(-x1^2 - x2^2) = (4/pi) det(I + 2 Sigma)^(-1/2).
        return (4 / np.pi / np.sqrt(_erf_determinant(q1, q2, c, one_minus_c)))[()]
    if name == "sin":
        # cos x cos y = (cos(x - y) + cos(x + y))/2.
        minus, plus = _sin_exponents(q1, q2, one_minus_c)
        return (0.5 * _exp_difference(minus, plus) + np.cos(shift) ** 2 * np.exp(-plus))[()]
    f, turns = activations.slope(activation), _turns(activation)
    return _pairwise(lambda x, z: f(x), turns, q1, q2, c, one_minus_c, shift)


def slope_pair_moment(
    activation: Any, q1: Any, q2: Any, c: Any = None, *, one_minus_c: Any = None, shift: float = 0.0
) -> Any:
    """E z1 z2 phi'(sqrt(q1) z1 + shift) phi'(sqrt(q2) z2 + shift), E z1 z2 = c.

    For ramps x phi'(x) = phi(x), so that it is the covariance at q1 = q2 = 1. linear: c.
    """
    activation, (q1, q2) = as_activation(activation), _variances(q1, q2)
    c, one_minus_c = correlation_of(c, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step"))
    if name == "step":
        return (0 * q1 * q2 * c)[()]
    if name == "linear" or (name is not None and np.all(np.minimum(q1, q2) > 0)):
        return covariance("linear" if name == "linear" else activation, 1 + 0 * q1, 1 + 0 * q2, one_minus_c=one_minus_c)
    f, turns = activations.slope(activation), _turns(activation)
    return _pairwise(lambda x, z: z * f(x), turns, q1, q2, c, one_minus_c, shift)


def spread(activation: Any, q: Any, one_minus_c: Any, shift: float = 0.0) -> Any:
    """E phi(u)^2 - E phi(u) phi(v) for u, v of variance q and correlation c, to full relative precision near c = 1.

    ramp: q/(2 pi) times (1 + a^2) [pi - sin theta - t cos theta] + 2 a [sin theta - theta cos theta], and the first
    bracket is pi (1 - cos theta) - [sin theta - theta cos theta]; so (1 + a^2) (1 - c)/2 - (1 - a)^2 (sin theta -
    theta cos theta)/(2 pi).
    """
    activation, (q,) = as_activation(activation), _variances(q)
    c, one_minus_c = correlation_of(None, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "sign", "sin", "erf"))
    theta = _angles(c, one_minus_c)[0]
    if name in _RAMPS:
        a = _negative_slope(activation, name)
        return (q * ((1 + a * a) * one_minus_c / 2 - (1 - a) ** 2 * _ramp_kernel(-c, theta)))[()]
    if name == "linear":
        return (q * one_minus_c)[()]
    if name in ("step", "sign"):
        return np.where(q > 0, theta / (2 * np.pi) * (4 if name == "sign" else 1), 0.0)[()]
    if name == "sin":
        # (1 - cos(2 shift) e^(-2q))/2 - (e^(-m) - cos(2 shift) e^(-p))/2 with m = q (1 - c), p = q (1 + c), m + p = 2q:
        # (1 - e^(-m)) (1 + cos(2 shift) e^(-p))/2, and cos(2 shift) = 2 cos(shift)^2 - 1.
        m, p = q * one_minus_c, q * (2 - one_minus_c)
        return (-0.5 * np.expm1(-m) * (2 * np.cos(shift) ** 2 * np.exp(-p) - np.expm1(-p)))[()]
    if name == "erf":
        # asin r1 - asin r2 with r = sin of an angle: tan of each angle is 2q/sqrt(1 + 4q) and 2qc/sqrt(D).
        angle = np.arctan2(2 * q, np.sqrt(1 + 4 * q)) - np.arctan2(
            2 * q * c, np.sqrt(_erf_determinant(q, q, c, one_minus_c))
        )
        # For c -> 1: sin(A - B) = sin A cos B - cos A sin B = [2q sqrt(D) - 2qc sqrt(1 + 4q)]/(1 + 2q)^2, and the
        # bracket times its conjugate is 4q^2 [D - c^2 (1 + 4q)] = 4q^2 (1 - c^2) (1 + 2q)^2, because D = 1 + 4q + 4q^2
        # (1 - c^2).
        root, root1 = np.sqrt(_erf_determinant(q, q, c, one_minus_c)), np.sqrt(1 + 4 * q)
        sine = 2 * q * one_minus_c * (2 - one_minus_c) / (root + np.abs(c) * root1)
        return (2 / np.pi * np.where((c > 0) & (angle < 0.5), np.arcsin(np.minimum(sine, 1)), angle))[()]
    f, derivative, turns = activations.phi(activation), activations.slope(activation), _turns(activation)
    return each(lambda v, e: half_square(f, derivative, turns, v, e, shift), q, one_minus_c)


def half_difference(activation: Any, q1: Any, q2: Any, one_minus_c: Any, shift: float = 0.0) -> Any:
    """E [phi(x1 + shift) - phi(x2 + shift)]^2/2 for variances q1 and q2: the spread where these are equal.

    phi(t x) = t phi(x): r E [phi(z1) - phi(z2)]^2/2 + (sqrt(q1) - sqrt(q2))^2/2 E phi(z)^2, r = sqrt(q1 q2).  step and
    sign see no length.  Else the difference of the moments; where that has no digits left and phi does not jump, half
    the mean square of x1 - x2 times the mean of the slopes' products.
    """
    activation = as_activation(activation)
    q1, q2, rest = np.broadcast_arrays(*_variances(q1, q2), array("one_minus_c", one_minus_c, 0.0))
    r, gap = np.sqrt(q1) * np.sqrt(q2), np.sqrt(q1) - np.sqrt(q2)
    if activation.homogeneous and (shift == 0 or activation.function == "linear"):
        return (r * spread(activation, 1.0, rest) + gap**2 / 2 * second_moment(activation, 1.0))[()]
    jumps = activation.function in ("step", "sign")
    same = (r > 0) if jumps and shift == 0 else np.abs(q1 - q2) <= 1e-13 * np.maximum(q1, q2)  # but for rounding
    out = np.empty(q1.shape)
    out[same] = spread(activation, np.maximum(q1, q2)[same], rest[same], shift)
    first, second, between = q1[~same], q2[~same], rest[~same]

    def half(alone: Any, pair: Any) -> np.ndarray:
        ends = (alone(activation, first, shift) + alone(activation, second, shift)) / 2
        return np.asarray(ends - pair(activation, first, second, one_minus_c=between, shift=shift))

    out[~same] = np.maximum(half(second_moment, covariance), 0.0)
    before = r * rest + gap**2 / 2
    least = 1e-11 if len(activations.kinks(activation)) else 1e-8
    small = ~same & (before < least * np.minimum(q1, q2))
    if np.any(small) and not jumps:
        slopes = slope_second_moment(activation, first, shift) + slope_second_moment(activation, second, shift)
        slopes = (slopes + 2 * slope_covariance(activation, first, second, one_minus_c=between, shift=shift)) / 4
        out[small] = (before[~same] * slopes)[small[~same]]
    return out[()]


def slope_spread(activation: Any, q: Any, one_minus_c: Any, shift: float = 0.0) -> Any:
    """E phi'(u)^2 - E phi'(u) phi'(v); ramp: (1 - a)^2 theta/(2 pi)."""
    activation, (q,) = as_activation(activation), _variances(q)
    c, one_minus_c = correlation_of(None, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step", "sin"))
    if name in _RAMPS:
        return np.where(
            q > 0, (1 - _negative_slope(activation, name)) ** 2 * _angles(c, one_minus_c)[0] / (2 * np.pi), 0.0
        )[()]
    if name in ("linear", "step"):
        return (0 * q * one_minus_c)[()]
    if name == "sin":
        m, p = q * one_minus_c, q * (2 - one_minus_c)
        return (-0.5 * np.expm1(-m) * (2 * np.sin(shift) ** 2 * np.exp(-p) - np.expm1(-p)))[()]
    f, turns = activations.slope(activation), _turns(activation)
    return each(lambda v, e: half_square(f, None, turns, v, e, shift), q, one_minus_c)


def slope_pair_spread(activation: Any, q: Any, one_minus_c: Any, shift: float = 0.0) -> Any:
    """E z^2 phi'^2 - E z1 z2 phi'(u) phi'(v), z^2 of u alone: 1 - c of linear, the spread of x phi' = phi at q = 1 of
    ramps."""
    activation, (q,) = as_activation(activation), _variances(q)
    _, one_minus_c = correlation_of(None, one_minus_c)
    name = _closed(activation, shift, (*_RAMPS, "linear", "step"))
    if name == "step":
        return (0 * q * one_minus_c)[()]
    if name == "linear" or (name is not None and np.all(q > 0)):
        return spread("linear" if name == "linear" else activation, 1 + 0 * q, one_minus_c)
    slope, turns = activations.slope(activation), _turns(activation)

    def integral(v: float, rest: float) -> float:
        if v == 0:
            return float(slope(np.asarray(shift))) ** 2 * rest
        root = np.sqrt(v)
        return half_square(lambda x: (x - shift) / root * slope(x), None, turns, v, rest, shift)

    return each(integral, q, one_minus_c)


def _pairwise(f: Integrand, turns: Turns, q1: Any, q2: Any, c: Any, one_minus_c: Any, shift: float) -> Any:
    return each(lambda a, b, e, r: two(f, turns, a, b, r, e, shift), q1, q2, one_minus_c, c, symmetric=True)


def _erf_determinant(q1: Any, q2: Any, c: Any, one_minus_c: Any) -> Any:
    """det(I + 2 Sigma) = (1 + 2 q1)(1 + 2 q2) - 4 q1 q2 c^2, without the difference."""
    return 1 + 2 * (q1 + q2) + 4 * q1 * q2 * one_minus_c * (2 - one_minus_c)


def _sin_exponents(q1: Any, q2: Any, one_minus_c: Any) -> tuple[Any, Any]:
    """Half the variances of x1 - x2 and of x1 + x2."""
    distance, product = (np.sqrt(q1) - np.sqrt(q2)) ** 2, np.sqrt(q1) * np.sqrt(q2)
    return 0.5 * distance + product * one_minus_c, 0.5 * distance + product * (2 - one_minus_c)


def _exp_difference(minus: Any, plus: Any) -> Any:
    """e^(-minus) - e^(-plus); the smaller exponent stands outside."""
    return np.where(
        minus <= plus,
        -np.exp(-minus) * np.expm1(-np.abs(plus - minus)),
        np.exp(-plus) * np.expm1(-np.abs(plus - minus)),
    )


def size(which: str, activation: Any, *variances: float, one_minus_c: float = 1.0, shift: float = 0.0) -> float:
    """E|integrand| of `which` (mean, slope_covariance, ...), to two digits: the scale of what rounding leaves of it.

    Of exp, which is positive and overflows, 0: no scale but the value's own.
    """
    activation = as_activation(activation)
    if activation.function == "exp":
        return 0.0
    f, turns = (activations.slope if which.startswith("slope") else activations.phi)(activation), _turns(activation)
    power = 2 if which.endswith("second_moment") else 1

    def absolute(x: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(f(x)) ** power)

    if len(variances) == 1:
        return one(absolute, turns, variances[0], shift)
    q1, q2 = variances
    return two(absolute, turns, q1, q2, 1.0 - one_minus_c, one_minus_c, shift)
