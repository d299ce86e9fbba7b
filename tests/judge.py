# SPDX-License-Identifier: BSD-3-Clause
"""One Gaussian integral of one activation by mpmath, anywhere in the stated domain: what bounds on errors are held to.

    judge("celu(1e-4)", "second_moment", 1e-6)
    judge("hardswish", "covariance", 1e-50, 1e-50, one_minus_c=1e-300, shift=-3.0)

The functions, and their averages over a Gaussian where these are elementary, are those of the reference; formulas are
taken again with more digits until two agree. All else is summed over panels that halve until they agree, over the range
in which the integrand counts, which is looked for: it may lie far out in the tail of the weight.

Milliseconds for one argument, a second for a pair of smooth ones of ordinary variances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
from mpmath import mp

from fisherfield.network.activation import Activation, as_activation
from fisherfield.reference.activations_mpmath import Known, Piecewise, functions
from fisherfield.reference.gaussian import _at_point as at_point
from fisherfield.reference.gaussian import legendre

MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")

Number = Any
_ODD = ("linear", "sign", "hardtanh", "erf", "sin", "tanh", "softsign")
_EVEN = ("abs", "cos", "gaussian")


def judge(
    activation: Any,
    which: str,
    q1: float,
    q2: float | None = None,
    *,
    c: float | None = None,
    one_minus_c: float | None = None,
    shift: float = 0.0,
    digits: int = 20,
) -> Number:
    """The integral `which`, right to `digits` digits of E|integrand|, and of the value where there is a formula.

    For a pair c or one_minus_c is exact, as is every other argument: the float64 that it is.
    """
    activation = as_activation(activation)
    slope = which.startswith("slope")
    with mp.workdps(digits + 15):
        f = _functions(activation)[slope]
        m, v1 = mp.mpf(shift), mp.mpf(q1)
        if which in MOMENTS:
            if not q1:
                with mp.workdps(digits + 350):  # a wave far out, or e^x - 1
                    return at_point(activation, slope)(f, m) ** (2 if which.endswith("second_moment") else 1)
            if not which.endswith("second_moment"):
                return _mean(activation, slope, f, m, v1, digits)
            return _square(f, m, v1, digits)
        v2 = mp.mpf(q1 if q2 is None else q2)
        rest = 1 - _exact(c, digits) if one_minus_c is None else mp.mpf(one_minus_c)
        if v1 and v2 and rest != 1:
            return _pair(f, m, v1, v2, rest, digits)
        which = "slope_mean" if slope else "mean"
        return mp.fprod(judge(activation, which, float(v), shift=shift, digits=digits) for v in (v1, v2))


def _exact(c: float | None, digits: int) -> Number:
    """1 - c needs as many digits as c has."""
    assert c is not None
    mp.dps = max(mp.dps, digits + 320 if 0 < abs(c) < 1e-17 else 0)
    return mp.mpf(c)


@cache
def _functions(activation: Activation) -> tuple[Any, Any]:
    with mp.workdps(1000):  # between the smallest float64 and 1e100, whatever cancels
        return functions(activation)


# ------------------------------------------------------------------------------------------------ one argument
def _odd(activation: Activation, slope: bool) -> bool:
    """Whether the mean vanishes without a shift."""
    name, n = activation.function, activation.n
    if name in ("monomial", "hermite"):
        return n % 2 != slope  # type: ignore
    return name in (_EVEN if slope else _ODD)


def _mean(activation: Activation, slope: bool, f: Any, m: Number, v: Number, digits: int) -> Number:
    if m == 0 and _odd(activation, slope):
        return mp.zero
    if f_average := getattr(f, "average", None):
        return _settled(lambda: f_average(m, v), digits, m)
    return _one(f.value, f.kinks, m, mp.sqrt(v), digits)


def _square(f: Any, m: Number, v: Number, digits: int) -> Number:
    if isinstance(f, Known):
        return _settled(lambda: f.covariance(v, v, mp.zero, m), digits, m)
    if isinstance(f, Piecewise):
        return _settled(lambda: f.square().average(m, v), digits, m)
    return _one(lambda x: f.value(x) ** 2, f.kinks, m, mp.sqrt(v), digits)


def _settled(formula: Callable[[], Number], digits: int, shift: Number) -> Number:
    """A formula with more digits each time, until they all stand; from those of the phase of a wave far out on."""
    precision, before = digits + 20 + _lost(shift), None
    while precision < 20_000:
        with mp.workdps(precision):
            value = mp.mpf(formula())
        # What cancels altogether may do so for want of digits.
        if (
            before is not None
            and abs(value - before) <= mp.mpf(10) ** -digits * abs(value)
            and (value or precision > 700)
        ):
            return value
        precision, before = precision * 2, value
    raise ArithmeticError("no number of digits is enough")


def _one(f: Callable[[Number], Number], kinks: Iterable[Number], m: Number, r: Number, digits: int) -> Number:
    """E f(m + r z)."""
    kinks = tuple(kinks)
    if not kinks and r < 1e-9:  # in powers of r, whose terms may cancel
        with mp.workdps(60 + _lost(m, 1 / r)):
            return f(m) + r * r / 2 * _second_difference(f, m)
    with mp.workdps(digits + 15 + _lost(m, r)):
        turns = [((kink - m) / r, 1 / r) for kink in kinks or (mp.zero,)]
        return _expectation(lambda z: f(m + r * z), turns, digits, not kinks)


def _second_difference(f: Callable[[Number], Number], m: Number) -> Number:
    """f'', with 20 digits: E f(m + r z) = f + f'' r^2/2 + f'''' r^4/8, the last less than 1e-18 of the second."""
    step = mp.mpf("1e-12")
    with mp.workdps(mp.dps + 60):
        return (f(m + step) - 2 * f(m) + f(m - step)) / step**2


def _lost(*sizes: Number) -> int:
    """Digits that a sum of such numbers may lose beside 1."""
    return 2 * max(int(mp.log10(abs(x))) + 1 if x else 0 for x in (*sizes, mp.one))


# ------------------------------------------------------------------------------------------------ two arguments
def _pair(f: Any, m: Number, q1: Number, q2: Number, rest: Number, digits: int) -> Number:
    if isinstance(f, Known):
        return _settled(lambda: f.covariance(q1, q2, rest, m), digits, m)
    if isinstance(f, Piecewise) and not f.pieces:
        return mp.zero
    if isinstance(f, Piecewise) and not f.kinks:
        return _settled(lambda: _polynomials(f, m, q1, q2, rest), digits, m)
    if q1 == q2 and (not rest or _negligible(f, m, mp.sqrt(q1), rest, digits)):
        return _square(f, m, q1, digits)
    if q1 < q2:  # the larger one outside
        q1, q2 = q2, q1
    r1, r2 = mp.sqrt(q1), mp.sqrt(q2)
    straight_line = rest == 2 or _negligible(f, m, r2, rest, digits)
    extra = _lost(m, r1, m / r1, 1 if straight_line else 1 / rest)
    with mp.workdps(digits + 15 + extra):
        c, s = 1 - rest, mp.sqrt(rest * (2 - rest))
        kinks = tuple(f.kinks)
        turns = []
        straight = isinstance(f, Piecewise) and not any(rate for piece in f.pieces for *_, rate in piece.terms)
        for kink in kinks or (mp.zero,):
            own, other = (kink - m) / r1, (kink - m) / r2
            blur = 0 if straight_line else s / abs(c) if kinks else mp.hypot(1 / r2, s) / abs(c)
            turns += [(own, 1 if straight else 1 / r1), (other / c, blur or 1 / (r2 * abs(c)))]
            turns += [(c * other, 1 / (1 + abs(other)))] if kinks else []
        if straight_line:
            return _expectation(lambda z: f.value(m + r1 * z) * f.value(m + r2 * c * z), turns, digits, not kinks)
        average = getattr(f, "average", None)
        averages = None if average else _Averages.over(f.value, kinks, m, r2 * abs(c), r2 * s)

        def given(z: Number) -> Number:
            """E f(w) given z."""
            if average is not None:
                return average(m + r2 * c * z, (r2 * s) ** 2)
            along, wide = m + r2 * c * z, r2 * s
            if averages is not None and averages.low <= along <= averages.high:
                return averages(along)
            inner = [((kink - along) / wide, 1 / wide) for kink in kinks or (mp.zero,)]
            return _expectation(lambda y: f.value(along + wide * y), inner, digits, not kinks)

        def integrand(z: Number) -> Number:
            value = f.value(m + r1 * z)
            return value * given(z) if value else value

        return _expectation(integrand, turns, digits, not kinks)


def _negligible(f: Any, m: Number, r: Number, rest: Number, digits: int) -> bool:
    """Whether 1 - c is so small that it changes nothing: a jump makes it sqrt(1 - c), t deviations out t times that."""
    far = max((abs(kink - m) / r for kink in f.kinks or (mp.zero,)), default=mp.zero)
    return mp.sqrt(rest) * (1 + min(far, 1e3)) * (1 + r) < mp.mpf(10) ** -(digits + 2)


def _polynomials(f: Piecewise, m: Number, q1: Number, q2: Number, rest: Number) -> Number:
    """E f(m + r1 x) f(m + r2 (c x + s y)) term by term, with E y^2k = (2k - 1)!!."""
    r1, r2, c, s = mp.sqrt(q1), mp.sqrt(q2), 1 - rest, mp.sqrt(rest * (2 - rest))
    (piece,) = f.pieces
    powers: dict[int, Number] = {}  # the powers of x in E over y
    for a, k, _ in piece.terms:
        for j in range(0, k + 1, 2):
            inner = a * comb(k, j) * (r2 * s) ** j * _even_moment(j)
            for i in range(k - j + 1):
                powers[i] = powers.get(i, mp.zero) + inner * comb(k - j, i) * (r2 * c) ** i * m ** (k - j - i)
    total = mp.zero
    for a, k, _ in piece.terms:
        for j in range(k + 1):
            front = a * comb(k, j) * r1**j * m ** (k - j)
            total += front * sum(b * _even_moment(i + j) for i, b in powers.items() if (i + j) % 2 == 0)
    return total


def _even_moment(n: int) -> int:
    return mp.fac2(n - 1) if n else 1


class _Averages:
    """E f(N(m, s^2)) for many m: f once on panels for all, densities in longdouble of 64 bits; 1e-17 of E|f|."""

    MOST = 8000  # nodes

    @classmethod
    def over(cls, f: Any, kinks: Any, shift: Number, lead: Number, s: Number) -> _Averages | None:
        """For m from shift - 14 lead to shift + 14 lead; None where that takes too many nodes or digits."""
        if np.finfo(np.longdouble).eps > 1e-18 or (lead + abs(shift)) > 300 * s:
            return None
        low, high = shift - 14 * lead, shift + 14 * lead
        ends = [low - 14 * s]
        while ends[-1] < high + 14 * s:
            away = min(abs(ends[-1] - kink) for kink in kinks or (mp.zero,))
            ends.append(ends[-1] + min(mp.mpf(3) / 2 * s, max(1, away / 4)))
            if len(ends) * _POINTS > cls.MOST:
                return None
        for kink in kinks:
            ends += [kink, *(kink + sign * step for sign in (1, -1) for step in (1, 3, 9))]
        return cls(f, sorted(x for x in ends if ends[0] <= x <= high + 15 * s), low, high, s)

    def __init__(self, f: Any, ends: list[Number], low: Number, high: Number, s: Number) -> None:
        self.low, self.high, self.s = low, high, _long(s)
        nodes, values = [], []
        for left, right in pairwise(ends):
            half, centre = (right - left) / 2, (left + right) / 2
            for x, weight in legendre(_POINTS):
                nodes.append(_long(place := centre + half * x))
                values.append(_long(f(place) * weight * half / (s * mp.sqrt(2 * mp.pi))))
        self.nodes, self.values = np.array(nodes), np.array(values)

    def __call__(self, m: Number) -> Number:
        y = (self.nodes - _long(m)) / self.s
        mantissa, exponent = np.frexp(np.sum(self.values * np.exp(-y * y / 2)))
        high = float(mantissa)
        return mp.ldexp(mp.mpf(high) + mp.mpf(float(mantissa - high)), int(exponent))


def _long(x: Number) -> Any:
    if abs(x) < mp.mpf("1e-4900"):  # below longdouble, as gelu_tanh far on the left
        return np.longdouble(0)
    return np.longdouble(mp.nstr(x, 25))


# ------------------------------------------------------------------------------------------------ E f(z)
def _expectation(
    f: Callable[[Number], Number], turns: list[tuple[Number, Number]], digits: int, smooth: bool
) -> Number:
    """E f(z), f analytic but at the turns, each of which is given with the smallest scale of f around it."""
    if smooth and min(scale for _, scale in turns) > 0.1:
        value = _trapezoidal(f, digits)
        if value is not None:
            return value
    breaks = _range(f, turns, digits)
    if not breaks:
        return mp.zero
    low, high = min(breaks), max(breaks)
    for at, scale in turns:
        width = scale
        while width < high - low:
            breaks |= {at - width, at + width}
            width *= 3
        breaks.add(at)
    ends = sorted(x for x in breaks if low <= x <= high)
    return _panels(lambda z: f(z) * mp.npdf(z), ends, digits)


def _trapezoidal(f: Callable[[Number], Number], digits: int) -> Number | None:
    """Equal steps halved until the sum stands: halving squares the error of an analytic function. None: it does not."""

    def total(start: Number, step: Number) -> tuple[Number, Number]:
        value = size = largest = mp.zero
        for sign in (1, -1):
            z, small = start if sign > 0 else start - step, 0
            while small < 4:
                term = f(z) * mp.exp(-z * z / 2)
                value, size, largest = value + term, size + abs(term), max(largest, abs(term))
                small = small + 1 if abs(term) <= largest * mp.mpf(10) ** -(digits + 2) and abs(z) > 3 else 0
                if abs(z) > 60:
                    return value, mp.inf  # not here
                z += sign * step
        return value * step / mp.sqrt(2 * mp.pi), size * step / mp.sqrt(2 * mp.pi)

    step = mp.mpf(1) / 2
    before, _ = total(mp.zero, step)
    for _ in range(3):
        middle, size = total(step / 2, step)
        value, step = (before + middle) / 2, step / 2
        if abs(value - before) <= mp.mpf(10) ** (-digits / 2 - 1) * size < mp.inf:
            return value
        before = value
    return None


_FARTHEST = 1e4


def _range(f: Callable[[Number], Number], turns: list[tuple[Number, Number]], digits: int) -> set[Number]:
    """Both ends of where |f(z)| e^(-z^2/2) counts, with its peak; nothing if it is 0."""

    def height(z: Number) -> Number:
        with mp.workdps(15):
            value = abs(f(z))
            return mp.log(value) - z * z / 2 if value else -mp.inf

    candidates = {mp.mpf(k) / 2 for k in range(-16, 17)}
    for at, scale in turns:
        # Beyond 1e4 deviations there is e^(-5e7).
        part = at if abs(at) < _FARTHEST else mp.sign(at) * _FARTHEST
        near = [at + sign * k * scale for k in (mp.mpf("1e-3"), 1, 4) for sign in (1, -1)]
        beyond = 1 / (1 + abs(at))  # where the weight falls like e^(-|at| z)
        near += [at + sign * k * beyond for k in (mp.mpf("1e-3"), 1) for sign in (1, -1)]
        candidates |= {z for z in (at, *near) if abs(z) < _FARTHEST}
        while abs(part) > 0.5:
            candidates.add(part)
            part /= 2
    places = sorted(candidates)
    heights = [height(z) for z in places]
    top = max(range(len(places)), key=heights.__getitem__)
    if heights[top] == -mp.inf:
        return set()
    # The peak lies between the neighbours of the highest.
    low, high = places[max(top - 1, 0)], places[min(top + 1, len(places) - 1)]
    best, most = places[top], heights[top]
    for _ in range(60):
        step = (high - low) / 4
        for z in (best - step, best + step):
            if low < z < high and (here := height(z)) > most:
                best, most = z, here
        low, high = max(low, best - step), min(high, best + step)
        if step < mp.mpf("1e-3") / (1 + abs(best)):
            break
    if most < -3000:  # 1e-1300 is no float64, whatever it is multiplied by
        return set()
    floor = most - (digits + 5) * mp.ln(10)
    out = {best}
    for sign in (1, -1):
        width = mp.mpf(1) / 2 / (1 + abs(best))
        while height(best + sign * width) > floor:
            width *= mp.mpf(3) / 2
        out.add(best + sign * width)
    for i, here in enumerate(heights):
        if here > floor:
            out |= {places[max(i - 1, 0)], places[min(i + 1, len(places) - 1)]}
    return out


_POINTS = 16


def _panels(f: Callable[[Number], Number], ends: list[Number], digits: int) -> Number:
    """int f over panels that are halved until both halves give what the whole gave."""

    def rule(low: Number, high: Number) -> tuple[Number, Number]:
        centre, half = (low + high) / 2, (high - low) / 2
        terms = [weight * f(centre + half * x) for x, weight in legendre(_POINTS)]
        return half * sum(terms), half * sum(map(abs, terms))

    todo = [(low, high, *rule(low, high), 0) for low, high in pairwise(ends)]
    size = sum(panel[3] for panel in todo)
    total = mp.zero
    while todo:
        low, high, whole, part, depth = todo.pop()
        if part <= mp.mpf(10) ** -(digits + 5) * size:
            total += whole
            continue
        middle = (low + high) / 2
        left, right = rule(low, middle), rule(middle, high)
        # halves of an analytic function err by the square of what the whole errs by
        if abs(whole - left[0] - right[0]) <= mp.mpf(10) ** -(0.7 * digits) * size or depth > 200:
            total += left[0] + right[0]
        else:
            todo += [(low, middle, *left, depth + 1), (middle, high, *right, depth + 1)]
    return total
