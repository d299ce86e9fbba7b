# SPDX-License-Identifier: BSD-3-Clause
"""phi and phi' of every activation in mpmath, with their averages over a Gaussian where these are elementary.

Parameters are the float64 numbers given, and so are the constants of selu and of gelu_tanh; all else is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, factorial
from typing import Any, NamedTuple

from mpmath import mp

from ..network import Activation

__all__ = ["Known", "Piecewise", "Smooth", "functions"]

Number = Any  # an mpf, or what mpmath converts to one
OO = mp.inf


class Smooth(NamedTuple):
    """f, analytic but for its kinks and of scale 1 around them (0 if there are none); `average` is E f(N(m, v))."""

    value: Callable[[Number], Number]
    kinks: tuple[float, ...] = ()
    average: Callable[[Number, Number], Number] | None = None


class Known(NamedTuple):
    """f with both integrals: average(m, v) = E f(N(m, v)), and covariance(q1, q2, one_minus_c, shift)."""

    value: Callable[[Number], Number]
    average: Callable[[Number, Number], Number]
    covariance: Callable[[Number, Number, Number, Number], Number]


class Piece(NamedTuple):
    """sum of a x^k e^(rate x) over (a, k, rate) in terms, for low < x <= high."""

    low: Number
    high: Number
    terms: tuple[tuple[Number, int, Number], ...]


class Piecewise(NamedTuple):
    """f made of pieces; 0 elsewhere."""

    pieces: tuple[Piece, ...]

    @property
    def kinks(self) -> tuple[Number, ...]:
        return tuple(sorted({end for piece in self.pieces for end in piece[:2] if mp.isfinite(end)}))

    def value(self, x: Number) -> Number:
        for low, high, terms in self.pieces:
            if low < x <= high:
                return sum(a * x**k * (mp.exp(rate * x) if rate else 1) for a, k, rate in terms)
        return mp.zero

    def average(self, m: Number, v: Number) -> Number:
        """E f(x), x ~ N(m, v), v > 0; digits that cancel are added beforehand."""
        degree = max((k for piece in self.pieces for _, k, _ in piece.terms), default=0)
        rates = max((abs(rate) for piece in self.pieces for *_, rate in piece.terms), default=0)
        if not rates and any(abs(end - m) > _FARTHEST * mp.sqrt(v) for end in self.kinks):
            return self._within(m, _FARTHEST * mp.sqrt(v)).average(m, v)
        far = max((abs(end - m) / mp.sqrt(v) for end in self.kinks), default=0) + 1 + abs(m) + v + rates * mp.sqrt(v)
        # The tail beyond t deviations: moments cancel by t^2 each, exp(t^2/2) by t^2; e^x - 1 by |x|, squared.
        digits = mp.dps + 10 + int((2 + 2 * degree) * mp.log10(far)) + int(max(0, -mp.log10(v)))
        with mp.workdps(digits):
            total = mp.zero
            for low, high, terms in self.pieces:
                for rate in {rate for _, _, rate in terms}:
                    powers = {k: a for a, k, r in terms if r == rate}
                    # e^(rate x) N(x; m, v) = e^(rate m + rate^2 v/2) N(x; m + rate v, v)
                    moments = _truncated(low, high, m + rate * v, v, max(powers))
                    inside = sum(a * moments[k] for k, a in powers.items())
                    total += inside * (mp.exp(rate * m + rate * rate * v / 2) if rate else 1)
            return total

    def _within(self, m: Number, reach: Number) -> Piecewise:
        """The same with ends farther from m at infinity."""

        def moved(end: Number) -> Number:
            return end if abs(end - m) <= reach else OO if end > m else -OO

        pieces = [Piece(moved(low), moved(high), terms) for low, high, terms in self.pieces]
        return Piecewise(tuple(piece for piece in pieces if piece.low < piece.high))

    def square(self) -> Piecewise:
        squared = []
        for low, high, terms in self.pieces:
            products = [(a * b, j + k, r + s) for a, j, r in terms for b, k, s in terms]
            squared.append(Piece(low, high, _collected(products)))
        return Piecewise(tuple(squared))

    def derivative(self) -> Piecewise:
        """Almost everywhere: jumps are left out."""
        slopes = []
        for low, high, terms in self.pieces:
            products = [(a * k, k - 1, r) for a, k, r in terms if k] + [(a * r, k, r) for a, k, r in terms if r]
            slopes.append(Piece(low, high, _collected(products)))
        return Piecewise(tuple(piece for piece in slopes if piece.terms))


def _collected(terms: list[tuple[Number, int, Number]]) -> tuple[tuple[Number, int, Number], ...]:
    total: dict[tuple[int, Number], Number] = {}
    for a, k, rate in terms:
        total[k, rate] = total.get((k, rate), 0) + a
    return tuple((a, k, rate) for (k, rate), a in total.items() if a)


_FARTHEST = 1e9  # deviations: e^(-5e17) is nothing beside what is nearer, and takes digits


def _erfc(x: Number) -> Number:
    """erfc; far out e^(-x^2)/(x sqrt(pi)) (1 - 1/(2 x^2) + 3/(2 x^2)^2 - ...), where mpmath's overflows."""
    if abs(x) < 1e6 or not mp.isfinite(x):
        return mp.erfc(x)
    if x < 0:
        return 2 - _erfc(-x)
    total = term = mp.one
    for k in range(1, mp.prec):
        term *= -(2 * k - 1) / (2 * x * x)
        total += term
        if abs(term) < mp.eps:
            break
    return mp.exp(-x * x) / (x * mp.sqrt(mp.pi)) * total


def _truncated(low: Number, high: Number, m: Number, v: Number, degree: int) -> list[Number]:
    """I_k = int_low^high x^k N(x; m, v) dx for k = 0 .. degree.

    By parts, x N = m N - v N':  I_k = m I_(k-1) + (k - 1) v I_(k-2) - v [x^(k-1) N]_low^high.
    """
    width = mp.sqrt(2 * v)
    a, b = (low - m) / width, (high - m) / width
    # erfc of the side on which nothing cancels
    upper, lower = (_erfc(a), _erfc(b)) if a + b > 0 else (_erfc(-b), _erfc(-a))
    out = [(upper - lower) / 2]
    density = mp.sqrt(v / (2 * mp.pi))
    ends = [(x, sign * density * mp.exp(-t * t)) for x, t, sign in ((high, b, 1), (low, a, -1)) if mp.isfinite(t)]
    for k in range(1, degree + 1):
        edge = sum(x ** (k - 1) * weight for x, weight in ends)
        out.append(m * out[k - 1] + ((k - 1) * v * out[k - 2] if k > 1 else 0) - edge)
    return out


# ------------------------------------------------------------------------------------------------ made of pieces
def _polynomial(coefficients: Any, low: Number = -OO, high: Number = OO) -> Piece:
    return Piece(low, high, tuple((mp.mpf(a), k, 0) for k, a in enumerate(coefficients) if a))


def _ramp(a: Number) -> tuple[Piece, ...]:
    return _polynomial((0, a), -OO, 0), _polynomial((0, 1), 0, OO)


def _exponential_unit(alpha: Number, scale: Number = 1, rate: Number = 1) -> tuple[Piece, ...]:
    """scale x for x > 0, scale alpha (e^(rate x) - 1) below."""
    a = mp.mpf(alpha) * scale
    return Piece(-OO, 0, ((a, 0, rate), (-a, 0, 0))), _polynomial((0, scale), 0, OO)


def _hermite(n: int) -> list[Number]:
    """He_n/sqrt(n!) = sum_j (-1)^j n!/(2^j j! (n - 2j)!) x^(n - 2j) / sqrt(n!)."""
    out = [mp.zero] * (n + 1)
    for j in range(n // 2 + 1):
        pairs = comb(n, 2 * j) * factorial(2 * j) // (2**j * factorial(j))
        out[n - 2 * j] = (-1) ** j * pairs / mp.sqrt(factorial(n))
    return out


# ------------------------------------------------------------------------------------------------ both integrals known
def _sine(amplitude: Number, k: Number, b: Number) -> Known:
    """a sin(k x + b).  E e^(i k N(m, v)) = e^(i k m - k^2 v/2);  sin u sin w = (cos(u - w) - cos(u + w))/2."""

    def covariance(q1: Number, q2: Number, one_minus_c: Number, shift: Number) -> Number:
        product = mp.sqrt(q1 * q2)
        difference = q1 + q2 - 2 * product * (1 - one_minus_c)  # variances of u - w and of u + w
        total = q1 + q2 + 2 * product * (1 - one_minus_c)
        minus, plus = mp.exp(-k * k * difference / 2), mp.exp(-k * k * total / 2)
        return amplitude**2 * (minus - mp.cos(2 * (k * shift + b)) * plus) / 2

    return Known(
        lambda x: amplitude * mp.sin(k * x + b),
        lambda m, v: amplitude * mp.sin(k * m + b) * mp.exp(-k * k * v / 2),
        covariance,
    )


def _exponential() -> Known:
    """e^x:  E e^N(m, v) = e^(m + v/2), and u + w is Gaussian."""
    return Known(
        mp.exp,
        lambda m, v: mp.exp(m + v / 2),
        lambda q1, q2, rest, shift: mp.exp(2 * shift + (q1 + q2) / 2 + mp.sqrt(q1 * q2) * (1 - rest)),
    )


def _bell(amplitude: Number, kappa: Number, degree: int) -> Known:
    """a x^n e^(-kappa x^2/2) for n = 0 or 1.

    e^(-kappa (u^2 + w^2)/2) times the density of N(mu, S) is Z times that of another Gaussian: with A = 1 + kappa S,
    Z = det(A)^(-1/2) exp(-kappa mu A^-1 mu/2), mean A^-1 mu, covariance S A^-1, whose corner is S12/det A.
    """

    def average(m: Number, v: Number) -> Number:
        a = 1 + kappa * v
        return amplitude * (m / a) ** degree * mp.exp(-kappa * m * m / (2 * a)) / mp.sqrt(a)

    def covariance(q1: Number, q2: Number, one_minus_c: Number, shift: Number) -> Number:
        product = mp.sqrt(q1 * q2) * (1 - one_minus_c)
        determinant = 1 + kappa * (q1 + q2) + kappa**2 * q1 * q2 * one_minus_c * (2 - one_minus_c)
        mean1 = shift * (1 + kappa * (q2 - product)) / determinant
        mean2 = shift * (1 + kappa * (q1 - product)) / determinant
        z = mp.exp(-kappa * shift * (mean1 + mean2) / 2) / mp.sqrt(determinant)
        return amplitude**2 * z * (product / determinant + mean1 * mean2 if degree else 1)

    return Known(lambda x: amplitude * x**degree * mp.exp(-kappa * x * x / 2), average, covariance)


# ------------------------------------------------------------------------------------------------ smooth
def _sigmoid(x: Number) -> Number:
    return 1 / (1 + mp.exp(-x))


def _mish_slope(x: Number) -> Number:
    """tanh s + x s' (1 - tanh^2 s), s = softplus(x), s' = sigmoid(x)."""
    t = mp.tanh(_softplus(x))
    return t + x * _sigmoid(x) * (1 - t) * (1 + t)


def _softplus(x: Number) -> Number:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def _gelu() -> tuple[Smooth, Smooth]:
    """x Phi(x).  E Phi(N(m, v)) = Phi(t), t = m/sqrt(1 + v); E x Phi by parts, E x f = m E f + v E f'.

    E Phi' = pdf(t)/sqrt(1 + v), and under the product of both Gaussians x has the mean m/(1 + v).
    """

    def average(m: Number, v: Number) -> Number:
        t = m / mp.sqrt(1 + v)
        return m * mp.ncdf(t) + v * mp.npdf(t) / mp.sqrt(1 + v)

    def slope_average(m: Number, v: Number) -> Number:
        t = m / mp.sqrt(1 + v)
        return mp.ncdf(t) + t * mp.npdf(t) / (1 + v)

    value = Smooth(lambda x: x * mp.ncdf(x), average=average)
    return value, Smooth(lambda x: mp.ncdf(x) + x * mp.npdf(x), average=slope_average)


def _gelu_tanh() -> tuple[Smooth, Smooth]:
    """x (1 + tanh y)/2 = x/(1 + e^(-2y)) with y = sqrt(2/pi) (x + 0.044715 x^3)."""
    a, root = mp.mpf(0.044715), mp.sqrt(2 / mp.pi)

    def value(x: Number) -> Number:
        return x * _sigmoid(2 * root * (x + a * x**3))

    def slope(x: Number) -> Number:
        y = root * (x + a * x**3)
        return _sigmoid(2 * y) * (1 + x * _sigmoid(-2 * y) * 2 * root * (1 + 3 * a * x * x))

    return Smooth(value), Smooth(slope)


# ------------------------------------------------------------------------------------------------ by name
def _table(name: str, p: Any) -> tuple[Any, ...]:
    """phi, or phi and phi', of a named activation with the parameter p."""
    pieces: dict[str, Callable[[], tuple[Piece, ...]]] = {
        "linear": lambda: (_polynomial((0, 1)),),
        "relu": lambda: _ramp(0),
        "leaky_relu": lambda: _ramp(p),
        "abs": lambda: _ramp(-1),
        "step": lambda: (_polynomial((1,), 0),),
        "sign": lambda: (_polynomial((-1,), -OO, 0), _polynomial((1,), 0)),
        "relu6": lambda: (_polynomial((0, 1), 0, 6), _polynomial((6,), 6)),
        "hardtanh": lambda: (_polynomial((-1,), -OO, -1), _polynomial((0, 1), -1, 1), _polynomial((1,), 1)),
        "hardsigmoid": lambda: (_polynomial((0.5, mp.one / 6), -3, 3), _polynomial((1,), 3)),
        "hardswish": lambda: (_polynomial((0, 0.5, mp.one / 6), -3, 3), _polynomial((0, 1), 3)),
        "monomial": lambda: (_polynomial([0] * p + [1]),),
        "rectified_monomial": lambda: (_polynomial([0] * p + [1], 0),),
        "hermite": lambda: (_polynomial(_hermite(p)),),
        "polynomial": lambda: (_polynomial(p),),
        "elu": lambda: _exponential_unit(p),
        # Klambauer et al. (2017), as float64
        "selu": lambda: _exponential_unit(1.6732632423543772848170429916717, 1.0507009873554804934193349852946),
        "celu": lambda: _exponential_unit(p, 1, 1 / mp.mpf(p)),
    }
    if name in pieces:
        return (Piecewise(pieces[name]()),)
    half = mp.pi / 2
    others: dict[str, Callable[[], tuple[Any, Any]]] = {
        "sin": lambda: (_sine(1, 1, 0), _sine(1, 1, half)),
        "cos": lambda: (_sine(1, 1, half), _sine(-1, 1, 0)),
        "rbf": lambda: (_sine(mp.sqrt(2), mp.sqrt(2), half / 2), _sine(2, mp.sqrt(2), half / 2 + half)),
        "exp": lambda: (_exponential(), _exponential()),
        "gaussian": lambda: (_bell(1, 1, 0), _bell(-1, 1, 1)),
        # E Phi(N(m, v)) = Phi(m/sqrt(1 + v)), and erf(x) = 2 Phi(sqrt(2) x) - 1
        "erf": lambda: (
            Smooth(mp.erf, average=lambda m, v: mp.erf(m / mp.sqrt(1 + 2 * v))),
            _bell(2 / mp.sqrt(mp.pi), 2, 0),
        ),
        "tanh": lambda: (Smooth(mp.tanh), Smooth(lambda x: mp.sech(x) ** 2)),
        "sigmoid": lambda: (Smooth(_sigmoid), Smooth(lambda x: _sigmoid(x) * _sigmoid(-x))),
        "softplus": lambda: (Smooth(_softplus), Smooth(_sigmoid)),
        "silu": lambda: (
            Smooth(lambda x: x * _sigmoid(x)),
            Smooth(lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x))),
        ),
        "mish": lambda: (Smooth(lambda x: x * mp.tanh(_softplus(x))), Smooth(_mish_slope)),
        "softsign": lambda: (
            Smooth(lambda x: x / (1 + abs(x)), (0.0,)),
            Smooth(lambda x: (1 + abs(x)) ** -2, (0.0,)),
        ),
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
    }
    if name not in others:
        raise NotImplementedError(f"the reference has no activation {name!r}; it has {', '.join((*pieces, *others))}")
    return others[name]()


def functions(activation: Activation) -> tuple[Any, Any]:
    """phi and phi', each Smooth, Piecewise or Known. A callable is given mpmath numbers."""
    if callable(activation.function):
        f, kinks = activation.function, activation.kinks
        slope = activation.slope if callable(activation.slope) else lambda x: mp.diff(f, x)
        return Smooth(f, kinks), Smooth(slope, kinks)
    (parameter,) = activation.parameters.values() or (None,)
    with mp.workdps(max(150, mp.dps)):  # constants for whatever precision is asked below
        table = _table(activation.function, parameter)
        return (*table, table[0].derivative()) if len(table) == 1 else table
