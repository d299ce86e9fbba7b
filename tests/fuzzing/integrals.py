# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals: values and their stated bounds against mpmath.

Cases are arguments: the integral's name, the activation and the operands of `fisherfield.gaussian`.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from judge import judge
from mpmath import mp

import fisherfield as ff

from . import drawn
from .drawn import Random, chance, decades, pick, sign
from .tools import SKIPPED, Refused, evaluate, is_sentence, outcome

Broken = Iterator[tuple[str, str]]
MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")

KNOWN = ("sin", "cos", "rbf", "exp", "gaussian")
POLYNOMIALS = ("linear", "monomial", "hermite", "polynomial")
PIECES = (*drawn.KINKED, "relu", "abs", "leaky_relu", "elu", "celu", "rectified_monomial")
RAYS = ("relu", "leaky_relu", "abs", "step", "sign", "erf", "gelu")  # with a covariance where there is no shift
SMALLEST = 2.0**-1074
KINKS = {"hardswish": (-3, 3), "hardsigmoid": (-3, 3), "relu6": (6,), "hardtanh": (-1, 1)}
# Slopes are at most 1.2 in size.
LIPSCHITZ = ("linear", "relu", "abs", "sin", "cos", "gaussian", "softsign", *drawn.KINKED[2:], *drawn.SMOOTH)


# ---------------------------------------------------------------------------------------------------- operands
def variance(random: Random, name: str) -> float:
    kind = random.random()
    if kind < 0.15:
        return float(pick(random, (1.0, 0.5, 4.0, 1e-6, 1e-8, 1e8)))
    if kind < 0.6:
        return decades(random, -8, 8)
    if kind < 0.65:
        return 0.0
    if kind < 0.85:
        return decades(random, -60, 29 if name in drawn.BOUNDED else 60)
    return decades(random, -320, 29 if name in drawn.BOUNDED else 99.9)


def shift(random: Random) -> float:
    kind = random.random()
    if kind < 0.3:
        return 0.0
    if kind < 0.5:
        return float(f"{random.uniform(-5, 5):.3g}")
    if kind < 0.75:
        return float(f"{random.uniform(-40, 40):.3g}")
    if kind < 0.9:
        return sign(random) * decades(random, -8, 4)
    return sign(random) * (decades(random, -100, 100) if chance(random, 0.5) else decades(random, 4, 20))


def correlation(random: Random) -> str:
    kind = random.random()
    if kind < 0.4:
        return f"c={pick(random, (0.0, 0.5, -0.5, 0.9, -0.9, 1.0, -1.0, float(random.uniform(-1, 1))))!r}"
    if kind < 0.6:
        return f"one_minus_c={2.0 - decades(random, -16, 0)!r}"
    return f"one_minus_c={decades(random, -16, 0) if chance(random, 0.7) else decades(random, -320, 0)!r}"


def call(random: Random, which: str, phi: str, beta: float) -> str:
    name = phi.partition("(")[0]
    q = variance(random, name)
    operands = repr(q)
    if which in COVARIANCES:
        other = q if chance(random, 0.5) else variance(random, name)
        operands = f"{q!r}, {other!r}, {correlation(random)}"
    if beta and chance(random, 0.06):  # at a kink, where only one side counts
        beta = float(pick(random, KINKS.get(name, (-3, 3, -1, 1, -6, 6))))
    return f'arguments("{which}", "{phi}", {operands}{f", shift={beta!r}" if beta else ""})'


def draw_closed(random: Random) -> str:
    """An integral that has a formula; a quarter are of two arguments of any activation, for what all of these obey."""
    if chance(random, 0.25):
        return draw_any(random)
    kind = random.random()
    beta = shift(random)
    if kind < 0.3:
        which, names = pick(random, (*MOMENTS, *COVARIANCES)), KNOWN
    elif kind < 0.45:
        which, names = pick(random, (*MOMENTS, *COVARIANCES)), POLYNOMIALS
    elif kind < 0.8:
        which, names = pick(random, MOMENTS), PIECES
    elif kind < 0.9:
        which, phi = pick(random, (("mean", "erf"), ("slope_mean", "erf"), ("mean", "gelu"), ("slope_mean", "gelu")))
        return call(random, which, phi, beta)
    else:
        which, names, beta = "covariance", RAYS, 0.0
    phi = drawn.activation(random, names)
    return call(random, which, phi, beta)


def draw_any(random: Random) -> str:
    phi = drawn.activation(random, (*drawn.NAMES, *drawn.SMOOTH, *drawn.WITH_PARAMETER))
    which, name = pick(random, COVARIANCES), phi.partition("(")[0]
    if chance(random, 0.6):
        text = call(random, which, phi, shift(random))
        if chance(random, 0.95):
            return text
        name = pick(random, list(KINKS))  # both at a kink, and as good as one
        q, rest, kink = decades(random, -60, 0), decades(random, -310, -12), float(pick(random, KINKS[name]))
        return f'arguments("covariance", "{name}", {q!r}, {q!r}, one_minus_c={rest!r}, shift={kink!r})'
    q, beta = decades(random, 4, 29), sign(random) * decades(random, 4, 60)
    other = q if chance(random, 0.5) else variance(random, name)
    return f'arguments("{which}", "{phi}", {q!r}, {other!r}, {correlation(random)}, shift={beta!r})'


def draw(random: Random) -> str:
    """Any integral of any activation, and variances as networks with BatchNorm form them."""
    phi = drawn.activation(random, (*drawn.NAMES, *drawn.WITH_PARAMETER, "celu", "leaky_relu"))
    kind = random.random()
    if kind < 0.25:
        return f'arguments("variance", "{phi}", {drawn.gamma(random)!r}, shift={drawn.beta(random)!r})'
    text = call(random, pick(random, MOMENTS if kind < 0.85 else COVARIANCES), phi, shift(random))
    if chance(random, 0.08):  # far down a tail, whose square has its peak elsewhere than the weight
        which, phi = (
            pick(random, ("mean", "second_moment", "covariance")),
            pick(random, ("gelu", "gelu", "silu", "elu")),
        )
        q, beta = round(decades(random, -0.7, 0.7), 2), -round(float(random.uniform(10, 40)), 1)
        if which == "covariance":
            return f'arguments("covariance", "gelu", {q}, {q}, c={pick(random, (0.9, 0.5, -0.5))}, shift={beta})'
        return f'arguments("{which}", "{phi}", {q}, shift={beta})'
    return text


# ---------------------------------------------------------------------------------------------------- formulas
def formula(which: str, phi: ff.Activation, q1: float, q2: float, c: float | None, one_minus_c: float | None) -> Any:
    """Covariances that the judge would integrate: rays (Cho and Saul), erf (Williams), gelu (Tsuchida)."""
    digits = 60
    while True:
        values = []
        for precision in (digits, 2 * digits):
            with mp.workdps(precision):
                rest = 1 - mp.mpf(c) if one_minus_c is None else mp.mpf(one_minus_c)
                values.append(_formula(phi, mp.mpf(q1), mp.mpf(q2), rest))
        if abs(values[1] - values[0]) <= mp.mpf(10) ** -25 * abs(values[1]):
            return values[1]
        digits *= 2
        if digits > 5000:
            raise ArithmeticError("no number of digits is enough")


def _formula(phi: ff.Activation, q1: Any, q2: Any, rest: Any) -> Any:
    name, p, size = phi.function, mp.sqrt(q1 * q2) * (1 - rest), mp.sqrt(q1 * q2)
    angle = 2 * mp.atan2(mp.sqrt(rest), mp.sqrt(2 - rest))
    signs = 1 - 2 * angle / mp.pi
    if name == "sign":
        return signs
    if name == "step":
        return (1 + signs) / 4
    if name == "erf":
        return 2 / mp.pi * mp.asin(2 * p / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))
    if name == "gelu":
        delta = 1 + q1 + q2 + q1 * q2 * rest * (2 - rest)
        inner = (p * p + q1 * q2 * delta) / ((1 + q1) * (1 + q2) * mp.sqrt(delta)) + p * mp.atan(p / mp.sqrt(delta))
        return p / 4 + inner / (2 * mp.pi)
    # a x + b |x|: E u w = p, and E |u| |w|
    slope = {"relu": 0.0, "abs": -1.0}.get(str(name), phi.slope)
    a, b = (1 + mp.mpf(slope)) / 2, (1 - mp.mpf(slope)) / 2
    sizes = 2 * size / mp.pi * (mp.sin(angle) + (mp.pi / 2 - angle) * mp.cos(angle))
    return a * a * p + b * b * sizes


# ---------------------------------------------------------------------------------------------------- laws
class _Late(Exception):
    pass


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Seconds of the processor for mpmath; _Late beyond."""

    def late(*_: Any) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def check_closed(text: str) -> Broken:
    """values with a formula: |value - mpmath| <= bound stated, the value without a bound beside it; of all others that
    operands may be swapped, shifts of odd and even activations turned, and covariances do not exceed variances."""
    (which, name, *q), keywords = evaluate(text)
    phi = ff.Activation(name)
    if not has_formula(which, phi, q, keywords):
        yield from laws(which, phi, q, keywords)
        return

    def exact() -> Any:
        if which == "covariance" and phi.function in RAYS and len(q) == 2 and all(q):
            return formula(which, phi, q[0], q[1], keywords.get("c"), keywords.get("one_minus_c"))
        return judge(phi, which, *q, **keywords)

    yield from against(which, phi, q, keywords, exact, 5.0)


def has_formula(which: str, phi: ff.Activation, q: list[float], keywords: dict[str, Any]) -> bool:
    name = phi.function
    if which in MOMENTS or name in (*KNOWN, *POLYNOMIALS):
        return True
    return (which == "covariance" and name in RAYS and not keywords.get("shift")) or (which, name) == (
        "slope_covariance",
        "erf",
    )


def laws(which: str, phi: ff.Activation, q: list[float], keywords: dict[str, Any]) -> Broken:
    """What E f(u) f(w) obeys, to the bounds stated."""
    integral, beta = getattr(ff.gaussian, which), keywords.get("shift", 0.0)
    second = getattr(ff.gaussian, "slope_second_moment" if which.startswith("slope") else "second_moment")
    with np.errstate(over="ignore"):
        result = outcome(integral, phi, *q, **keywords, error=True)
        others = [outcome(integral, phi, *reversed(q), **keywords, error=True)]
        if phi.function in (*drawn.ODD, *drawn.EVEN):
            others.append(outcome(integral, phi, *q, **{**keywords, "shift": -beta}, error=True))
        squares = [outcome(second, phi, each, beta, error=True) for each in q]
    if isinstance(result, Refused):
        if not is_sentence(result) or not ("1e30" in result.words or "2^100" in result.words):
            yield "a value, or that a bounded activation's variance is beyond 1e30", repr(result)
        return
    value, bound = map(float, result)
    if math.isnan(value) or not bound >= 0 or (math.isinf(bound) and math.isfinite(value)):
        yield "a value and a finite bound >= 0", f"{value!r} +- {bound!r}"
        return
    if not math.isfinite(value):
        return
    for other, what in zip(others, ("with q1 and q2 swapped", "at -shift"), strict=False):
        if isinstance(other, Refused):
            yield f"{value!r} {what}", repr(other)
        elif not abs(float(other[0]) - value) <= bound + float(other[1]) + 4 * SMALLEST:
            yield f"{value!r} +- {bound!r} {what}", f"{float(other[0])!r} +- {float(other[1])!r}"
    rest = keywords.get("one_minus_c")
    alike = which == "covariance" and q[0] == q[1] and rest is not None and rest < 1e-12
    if alike and phi.function in LIPSCHITZ and not isinstance(squares[0], Refused) and q[0] * rest < 1e100:
        top, top_error = map(float, squares[0])  # E (f(u) - f(w))^2/2 <= 1.2^2 q (1 - c)
        if not abs(top - value) <= bound + top_error + 1.5 * q[0] * rest + 4 * SMALLEST:
            yield f"the second moment {top!r} +- {top_error!r}, 1 - c = {rest!r}", f"{value!r} +- {bound!r}"
    if not any(isinstance(each, Refused) for each in squares):
        most = math.prod(math.sqrt(float(each[0] + each[1])) for each in squares)
        if not abs(value) <= most * (1 + 1e-14) + bound + 4 * SMALLEST:
            yield f"at most sqrt(E f(u)^2 E f(w)^2) = {most!r}", f"{value!r} +- {bound!r}"


def check(text: str) -> Broken:
    """all activations and corners: |value - mpmath| <= bound stated, Var phi to 1e-10, and the reference's digits."""
    (which, name, *q), keywords = evaluate(text)
    phi = ff.Activation(name)
    if which == "variance":
        yield from variances(phi, q[0], keywords["shift"])
        return
    kept: list[Any] = []

    def exact() -> Any:
        kept.append(judge(phi, which, *q, **keywords))
        return kept[0]

    yield from against(which, phi, q, keywords, exact, 30.0)
    ordinary = all(1e-8 <= each <= 1e8 or each == 0 for each in q) and abs(keywords.get("shift", 0.0)) <= 40
    if kept and ordinary and (which in MOMENTS or (which == "covariance" and phi.function == "gelu")):
        yield from of_reference(which, phi, q, keywords, kept[0])


def against(
    which: str, phi: ff.Activation, q: list[float], keywords: dict[str, Any], exact: Callable[[], Any], seconds: float
) -> Broken:
    integral = getattr(ff.gaussian, which)
    with np.errstate(over="ignore"):
        result = outcome(integral, phi, *q, **keywords, error=True)
        plain = outcome(integral, phi, *q, **keywords)
    if isinstance(result, Refused) or isinstance(plain, Refused):
        for each in (result, plain):
            if not isinstance(each, Refused):
                yield f"the same from both forms, {result!r}", repr(plain)
            elif not is_sentence(each) or not ("1e30" in each.words or "2^100" in each.words):
                yield "a value, or that a bounded activation's variance is beyond 1e30", repr(each)
        return
    value, bound = map(float, result)
    if math.isnan(value) or math.isnan(bound) or not bound >= 0 or math.isnan(plain):
        yield "a value and a bound >= 0", f"{value!r} +- {bound!r}, {plain!r}"
        return
    if math.isinf(bound) and math.isfinite(value):
        yield "a finite bound of a finite value", f"{value!r} +- {bound!r}"
        return
    try:
        with within(seconds):
            right = exact()
    except (_Late, ArithmeticError) as error:
        yield SKIPPED, f"mpmath: {type(error).__name__} {error}"
        return
    with mp.workdps(30):
        if math.isinf(value) or math.isinf(plain):
            if not abs(right) > 1.797e308 or (right < 0) != (value < 0) or value != plain:
                yield f"{mp.nstr(right, 17)}", f"{value!r}, {plain!r}"
            return
        # Half of the distance of the smallest numbers is rounding, too.
        if not abs(right - mp.mpf(value)) <= mp.mpf(bound) + SMALLEST:
            off = mp.nstr(abs(right - mp.mpf(value)), 3)
            yield f"{mp.nstr(right, 17)}", f"{value!r} +- {bound!r}, {off} off"
        # Kernels round otherwise than the integrals that state bounds, by a few units in the last place more.
        elif not abs(right - mp.mpf(float(plain))) <= 4 * mp.mpf(bound) + abs(right) * mp.mpf(2) ** -48 + SMALLEST:
            yield f"{mp.nstr(right, 17)} +- {bound!r} without a bound, too", repr(float(plain))


# The reference promises 30 digits of E|integrand|, the judge 20 of the same; where phi is made of pieces, of the value.
DIGITS = 1e-14


def of_reference(which: str, phi: ff.Activation, q: list[float], keywords: dict[str, Any], right: Any) -> Broken:
    try:
        with within(20.0):
            result = outcome(getattr(ff.reference.gaussian, which), phi, *q, **keywords)
            size = abs(right)  # of gelu's covariance far down its tail, too, where all is of one sign
            if which == "covariance" and not keywords.get("shift", 0.0) <= -10:
                return
            if which not in ("second_moment", "slope_second_moment", "covariance"):  # E|f| <= sqrt(E f^2)
                second = "slope_second_moment" if which.startswith("slope") else "second_moment"
                size = mp.sqrt(judge(phi, second, *q, **keywords))
    except (_Late, ArithmeticError):
        return
    if isinstance(result, Refused) and isinstance(result.error, _Late):
        return
    if isinstance(result, Refused):
        yield "the reference's value", repr(result)
    elif not abs(result - right) <= DIGITS * size:
        yield f"{mp.nstr(right, 17)} of the reference", mp.nstr(result, 17)


# Integrals to 1e-12, and what is rounded before and after them; g^2 is a float64 whose last bit moves tails by 1e-13.
VARIANCE = 1e-10


def variances(phi: ff.Activation, gamma: float, beta: float) -> Broken:
    """Var phi(gamma u + beta), as the layer behind a BatchNorm has it."""
    net = ff.Network(
        1, [ff.Dense(1, 1.0, 0.0), ff.BatchNorm(gamma, beta), phi, ff.Dense(1, 1.0, 0.0), ff.Dense(1, 1.0, 0.0)]
    )
    rows = outcome(ff.order_parameters, net, "frozen")
    if isinstance(rows, Refused):
        if not is_sentence(rows):
            yield "order parameters, or one sentence", repr(rows)
        return
    value = float(rows.v_hat[1])
    g2 = gamma * gamma
    if rows.reason:
        return
    if not 1e-300 < g2 < 1e300 and gamma:
        return
    if not math.isfinite(value):
        yield "a finite variance", repr(value)
        return
    try:
        with within(40.0):
            right = exact_variance(phi, g2, beta)
    except (_Late, ArithmeticError) as error:
        yield SKIPPED, f"mpmath: {type(error).__name__} {error}"
        return
    with mp.workdps(30):
        if not abs(right - mp.mpf(value)) <= VARIANCE * abs(right) + mp.mpf(10) ** -290:
            yield f"Var phi = {mp.nstr(right, 17)}", f"{value!r}, {mp.nstr(abs(right - mp.mpf(value)), 3)} off"


def exact_variance(phi: ff.Activation, q: float, beta: float) -> Any:
    """E phi^2 - (E phi)^2, with as many digits more as cancel."""
    if q == 0:
        return mp.zero
    digits = 25
    while digits < 500:
        second = judge(phi, "second_moment", q, shift=beta, digits=digits)
        mean = judge(phi, "mean", q, shift=beta, digits=digits)
        with mp.workdps(2 * digits + 20):
            value = second - mean**2
            lost = mp.log10(second / value) if value > 0 else mp.mpf(digits)
            if lost <= digits - 15 or second == 0:
                return value
        digits = int(lost) + 20 if lost < digits else 2 * digits
    raise ArithmeticError("more than 500 digits cancel")
