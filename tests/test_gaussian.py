# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals against mpmath, against each other, and against the laws they obey."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import CLOSED, QUADRATURE, floats

import fisherfield as ff
from fisherfield import gaussian, reference
from fisherfield.reference import quadrature

EVERY = CLOSED + QUADRATURE
JUDGE = dict(np.load(Path(__file__).parent / "data" / "gaussian.npz"))  # made by bench/judge_gaussian.py
NAMES = tuple(map(str, JUDGE["names"]))
MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")
PAIRS = ((gaussian.covariance, gaussian.second_moment), (gaussian.slope_covariance, gaussian.slope_second_moment))
RELATIVE = ("relu", "abs", "step", "erf", "tanh", "sigmoid", "softplus")  # right to 1e-12 of however small a value
MONOTONE = ("relu", "leaky_relu(0.1)", "linear", "step", "sign", "relu6", "hardtanh", "hardsigmoid", "erf", "exp")
MONOTONE += (
    "monomial(3)",
    "rectified_monomial(2)",
    "tanh",
    "sigmoid",
    "softplus",
    "elu",
    "selu",
    "celu(0.5)",
    "softsign",
)
EPS = np.finfo(float).eps
SHIFTS = st.one_of(st.just(0.0), floats(-4.0, 4.0))
VARIANCES = st.one_of(floats(-8.0, 8.0).map(lambda x: 10.0**x), st.sampled_from((1e-8, 1.0, 1e8)))
# 1 - c: both ends on a logarithmic scale, and the middle
ONE_MINUS_C = st.one_of(
    floats(-15.0, 0.0).map(lambda x: 10.0**x),
    floats(-12.0, 0.0).map(lambda x: 2.0 - 10.0**x),
    floats(1e-3, 2.0),
    st.sampled_from((0.0, 1e-15, 1.0, 2.0)),
)
mp = mpmath.mp.clone()
mp.dps = 40


def allowed(name, which, value, size, shift):
    """1e-12 of the value, or of the smallest normal number; or 8 eps of E|integrand| where that cancels.

    What is odd without shift (erf, tanh, the slope of abs) cancels in its mean, and anywhere once it is shifted.
    """
    odd = name in ("erf", "tanh") or (name == "abs" and which.startswith("slope"))
    # below e^-230 the rounding of the exponent counts
    far = np.where(np.abs(value) < 1e-100, 1e-10, 1e-12) if name not in RELATIVE else 1e-12
    cancels = name not in RELATIVE or (odd and ((shift != 0) | which.endswith("mean")))
    return np.maximum(far * np.maximum(np.abs(value), np.finfo(float).tiny), np.where(cancels, 8 * EPS * size, 0.0))


def arc_cosine(q1, q2, c, one_minus_c):
    """Cho and Saul 2009 for relu, its slope and |x|, at 40 digits."""
    r, rest = mp.sqrt(mp.mpf(q1) * q2), mp.mpf(one_minus_c)
    t = 2 * mp.asin(mp.sqrt(rest / 2))
    relu = r * (mp.sin(t) + (mp.pi - t) * mp.cos(t)) / (2 * mp.pi)
    return relu, (mp.pi - t) / (2 * mp.pi), 4 * relu - r * (1 - rest)


@given(VARIANCES, VARIANCES, ONE_MINUS_C)
def test_relu_step_and_abs_are_right_to_rounding_everywhere(q1, q2, rest):
    relu, step, absolute = arc_cosine(q1, q2, 1 - rest, rest)
    # relative, where relu nearly vanishes (c = -1) as well: there 1 + c = 2 - rest has an error of eps/(2 - rest),
    # which enters as its 3/2nd power
    near = 1e-14 + 4e-16 / max(2.0 - rest, 1e-300)
    assume(rest < 2.0)
    assert gaussian.covariance("relu", q1, q2, one_minus_c=rest) == pytest.approx(float(relu), rel=near)
    assert gaussian.slope_covariance("relu", q1, q2, one_minus_c=rest) == pytest.approx(float(step), rel=near)
    assert gaussian.covariance("step", q1, q2, one_minus_c=rest) == pytest.approx(float(step), rel=near)
    assert gaussian.covariance("abs", q1, q2, one_minus_c=rest) == pytest.approx(float(absolute), rel=1e-14)


@given(VARIANCES, VARIANCES, ONE_MINUS_C)
def test_erf_is_right_to_rounding_everywhere(q1, q2, rest):
    a, b, c = mp.mpf(q1), mp.mpf(q2), 1 - mp.mpf(rest)
    p = c * mp.sqrt(a * b)
    determinant = (1 + 2 * a) * (1 + 2 * b) - 4 * p * p
    value = 2 / mp.pi * mp.atan2(2 * p, mp.sqrt(determinant))  # Williams 1997
    slope = 4 / mp.pi / mp.sqrt(determinant)
    # c = 1 - rest is itself rounded, an absolute error of eps; 1 + c = 2 - rest loses digits near c = -1
    near = 1e-14 + 4e-16 / max(2.0 - rest, 1e-16)
    assert gaussian.covariance("erf", q1, q2, one_minus_c=rest) == pytest.approx(float(value), rel=1e-14, abs=1e-15)
    assume(rest < 2.0 or q1 < 1e3)
    assert gaussian.slope_covariance("erf", q1, q2, one_minus_c=rest) == pytest.approx(float(slope), rel=near)


@given(st.floats(-6, 2).map(lambda x: 10.0**x), st.floats(-6, 2).map(lambda x: 10.0**x), ONE_MINUS_C, floats(-3, 3))
def test_sin_is_right_to_rounding(q1, q2, rest, shift):
    a, b = mp.mpf(q1), mp.mpf(q2)
    p = (1 - mp.mpf(rest)) * mp.sqrt(a * b)
    minus, plus = mp.exp(-(a + b) / 2 + p), mp.exp(-(a + b) / 2 - p) * mp.cos(2 * mp.mpf(shift))
    size = float(minus)  # of the integrand's two parts, which cancel where it changes sign
    # exp(-x) has a relative error of x eps
    tolerance = 1e-14 * (1 + q1 + q2)
    value = gaussian.covariance("sin", q1, q2, one_minus_c=rest, shift=shift)
    assert value == pytest.approx(float((minus - plus) / 2), rel=tolerance, abs=tolerance * size)
    slope = gaussian.slope_covariance("sin", q1, q2, one_minus_c=rest, shift=shift)
    assert slope == pytest.approx(float((minus + plus) / 2), rel=tolerance, abs=tolerance * size)


# --- quadrature: the same closed forms through the general route, as callables -------------------------------------

GENERAL = {
    "relu": ff.Activation(lambda x: np.maximum(x, 0.0), slope=lambda x: 1.0 * (x > 0), kinks=[0.0]),
    "abs": ff.Activation(np.abs, slope=np.sign, kinks=[0.0]),
    "step": ff.Activation(lambda x: 1.0 * (x > 0), slope=np.zeros_like, kinks=[0.0]),
    "erf": ff.Activation(
        lambda x: ff.Activation("erf")(x), slope=lambda x: 2 / np.sqrt(np.pi) * np.exp(-np.minimum(x * x, 700.0))
    ),
}


@pytest.mark.parametrize("name", GENERAL)
@settings(max_examples=40)
@given(q1=VARIANCES, q2=st.one_of(st.none(), VARIANCES), rest=ONE_MINUS_C)
def test_quadrature_gives_the_closed_forms(name, q1, q2, rest):
    q2 = q1 if q2 is None else q2
    assume(rest < 2.0 - 1e-9)  # beyond, values vanish and are compared with rounding
    for integral, moment in (
        (gaussian.covariance, gaussian.second_moment),
        (gaussian.slope_covariance, gaussian.slope_second_moment),
    ):
        size = np.sqrt(moment(name, q1) * moment(name, q2))
        exact = integral(name, q1, q2, one_minus_c=rest)
        # 1e-9 is what quadratures promise; relative to 1e-3 of the largest possible value where c makes it vanish
        assert integral(GENERAL[name], q1, q2, one_minus_c=rest) == pytest.approx(exact, rel=1e-9, abs=1e-12 * size)


# --- every activation against values to 17 digits ------------------------------------------------------------------


class Judged(NamedTuple):
    """One integral of one activation at all stored points: arguments, truth and E|integrand|, and the core's answer."""

    arguments: dict[str, np.ndarray]
    exact: np.ndarray
    size: np.ndarray
    value: np.ndarray
    bound: np.ndarray

    def at(self, wrong):
        """The first three of the points where something is wrong, in full."""
        fields = {**self.arguments, **{x: getattr(self, x) for x in ("exact", "size", "value", "bound")}}
        return [{name: float(x[i]) for name, x in fields.items()} for i in np.flatnonzero(wrong)[:3]]

    @property
    def error(self):
        with np.errstate(invalid="ignore"):
            return np.where(self.value == self.exact, 0.0, np.abs(self.value - self.exact))


@cache
def judged(name, which):
    kind, names = ("moment", MOMENTS) if which in MOMENTS else ("pair", COVARIANCES)
    row = NAMES.index(name), names.index(which)
    exact, size = JUDGE[f"{kind}_value"][row], JUDGE[f"{kind}_size"][row].astype(float)
    arguments = {"q": JUDGE["moment_q"], "shift": JUDGE["moment_shift"]}
    if kind == "pair":
        arguments = {x: JUDGE[x] for x in ("q1", "q2", "one_minus_c", "shift")}
    there = ~np.isnan(exact)
    arguments = {x: y[there] for x, y in arguments.items()}
    with np.errstate(over="ignore"):
        value, bound = getattr(gaussian, which)(name, **arguments, error=True)
    return Judged(arguments, exact[there], size[there], value, bound)


@pytest.mark.parametrize("which", MOMENTS + COVARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_judge(name, which):
    it = judged(name, which)
    wrong = ~(it.error <= allowed(name, which, it.exact, it.size, it.arguments["shift"]))
    assert not wrong.any(), (wrong.sum(), it.at(wrong))


@pytest.mark.parametrize("which", MOMENTS + COVARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_bounds_on_the_error_hold(name, which):
    it = judged(name, which)
    # what is stored is itself rounded, by half an eps and 1e-17 of E|integrand|; below normal numbers no more
    known = 2.0**-53 * np.abs(it.exact) + 1e-17 * it.size + 1e-12 * np.finfo(float).tiny
    with np.errstate(invalid="ignore"):
        wrong = np.isfinite(it.exact) & ~(it.bound >= it.error - known)
    assert not wrong.any(), (wrong.sum(), it.at(wrong))


@pytest.mark.parametrize("which", MOMENTS + COVARIANCES)
@pytest.mark.parametrize("name", NAMES)
def test_bounds_on_the_error_are_no_excuse(name, which):
    """At most 1000 times the larger of error and rounding, for variances in [1e-3, 1e3]."""
    it = judged(name, which)
    variances = [x for name, x in it.arguments.items() if name.startswith("q")]
    ordinary = (np.min(variances, axis=0) >= 1e-3) & (np.max(variances, axis=0) <= 1e3) & np.isfinite(it.exact)
    ordinary &= np.abs(it.exact) > 1e-100  # nothing is ordinary so far out in both tails
    with np.errstate(invalid="ignore"):
        rounding = EPS * np.maximum(np.abs(it.exact), it.size)
        wrong = ordinary & ~(it.bound <= 1000 * np.maximum(it.error, rounding) + 1e-300)
    assert not wrong.any(), (wrong.sum(), it.at(wrong))


# --- every activation against the reference at 40 digits, anywhere -------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=3)
@given(q=VARIANCES, shift=SHIFTS)
def test_moments_are_those_of_the_reference(name, q, shift):
    for which in MOMENTS:
        exact = float(getattr(reference.gaussian, which)(name, q, shift))
        size = quadrature.size(which, name, q, shift=shift)
        with np.errstate(over="ignore"):
            value = getattr(gaussian, which)(name, q, shift)
        assert value == exact or abs(value - exact) <= allowed(name, which, exact, size, shift), which


@pytest.mark.parametrize("name", ["sin", "cos", "rbf", "exp", "gaussian"])
@settings(max_examples=25)
@given(q1=VARIANCES, q2=VARIANCES, rest=ONE_MINUS_C, shift=SHIFTS)
def test_covariances_of_waves_and_bells_are_those_of_the_reference(name, q1, q2, rest, shift):
    for which in COVARIANCES:
        exact = float(getattr(reference.gaussian, which)(name, q1, q2, one_minus_c=rest, shift=shift))
        size = quadrature.size(which, name, q1, q2, one_minus_c=rest, shift=shift)
        with np.errstate(over="ignore"):
            value = getattr(gaussian, which)(name, q1, q2, one_minus_c=rest, shift=shift)
        assert value == exact or abs(value - exact) <= allowed(name, which, exact, size, shift), which


# --- laws ------------------------------------------------------------------------------------------------------------
# 1e-12 of each value compared, or 8 eps of sqrt(E f(u)^2 E f(w)^2), which E|f(u) f(w)| does not exceed.


def largest(moment, name, q1, q2, shift):
    return float(np.sqrt(moment(name, q1, shift)) * np.sqrt(moment(name, q2, shift)))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(q1=VARIANCES, q2=VARIANCES, rest=ONE_MINUS_C, shift=SHIFTS)
def test_covariance_is_symmetric_and_bounded(name, q1, q2, rest, shift):
    for which, moment in PAIRS:
        with np.errstate(over="ignore"):
            value = which(name, q1, q2, one_minus_c=rest, shift=shift)
            swapped = which(name, q2, q1, one_minus_c=rest, shift=shift)
            most = largest(moment, name, q1, q2, shift)
        if np.isfinite(most):
            assert swapped == pytest.approx(value, rel=2e-12, abs=16 * EPS * most)
            assert abs(value) <= most * (1 + 2e-12)  # Cauchy and Schwarz


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(q1=VARIANCES, q2=VARIANCES, shift=SHIFTS)
def test_ends_and_middle_are_moments(name, q1, q2, shift):
    for which, moment, mean in ((*PAIRS[0], gaussian.mean), (*PAIRS[1], gaussian.slope_mean)):
        with np.errstate(over="ignore", invalid="ignore"):
            second, product = moment(name, q1, shift), mean(name, q1, shift) * mean(name, q2, shift)
            most = largest(moment, name, q1, q2, shift)
            ends = which(name, q1, q1, 1.0, shift=shift)
            middle = which(name, q1, q2, 0.0, shift=shift)
        if np.isfinite(most) and np.isfinite(second):
            assert ends == pytest.approx(second, rel=2e-12)
            assert middle == pytest.approx(product, rel=3e-12, abs=24 * EPS * most)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("step", "sign")])
@settings(max_examples=3)
@given(
    st.tuples(floats(-3.0, 2.0), floats(-3.0, 2.0)),
    st.tuples(floats(-0.9, 0.9), floats(-0.9, 0.9)),
    st.sampled_from((0.0, 0.5, -1.3)),
)
def test_price_s_theorem(name, exponents, ends, shift):
    """The covariance grows by the integral of sqrt(q1 q2) E phi'(u) phi'(w) over c.

    In c = sin t the slope covariance is analytic but for t = +-pi/2: 40 Gauss points on |c| < 0.9 leave 1e-30.
    """
    if name == "exp":
        exponents = [min(x, 1.0) for x in exponents]  # within float64
    q1, q2 = (10.0**x for x in exponents)
    low, high = np.arcsin(sorted(ends))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = 0.5 * (low + high) + 0.5 * (high - low) * nodes
    slopes = gaussian.slope_covariance(name, q1, q2, np.sin(t), shift=shift) * np.cos(t)
    terms = np.sqrt(q1) * np.sqrt(q2) * 0.5 * (high - low) * weights * slopes
    values = gaussian.covariance(name, q1, q2, np.sin([low, high]), shift=shift)
    most = largest(gaussian.second_moment, name, q1, q2, shift)
    most += np.sqrt(q1 * q2) * (high - low) * largest(gaussian.slope_second_moment, name, q1, q2, shift)
    scale = 1e-12 * (np.sum(np.abs(values)) + np.sum(np.abs(terms)))
    assert values[1] - values[0] == pytest.approx(np.sum(terms), rel=0, abs=scale + 16 * EPS * most)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5)
@given(q1=VARIANCES, q2=VARIANCES, k=st.integers(-1024, 1024), shift=SHIFTS)
def test_c_and_one_minus_c_are_one_argument(name, q1, q2, k, shift):
    c = k / 1024  # 1 - c is exact
    for which, _ in PAIRS:
        with np.errstate(over="ignore"):
            value = which(name, q1, q2, c, shift=shift)
            assert value == which(name, q1, q2, one_minus_c=1 - c, shift=shift)


@given(VARIANCES, ONE_MINUS_C, floats(0.1, 10.0))
def test_homogeneity(q, rest, factor):
    for name in ("relu", "leaky_relu(0.3)", "abs", "linear"):
        once = gaussian.covariance(name, q, q, one_minus_c=rest)
        size = gaussian.second_moment(name, q)
        assert gaussian.covariance(name, factor * q, factor * q, one_minus_c=rest) == pytest.approx(
            factor * once, rel=1e-13, abs=1e-15 * factor * size
        )


@pytest.mark.parametrize("name", MONOTONE)
@settings(max_examples=8)
@given(q1=VARIANCES, q2=VARIANCES, pair=st.tuples(floats(-1.0, 1.0), floats(-1.0, 1.0)), shift=SHIFTS)
def test_covariance_of_a_monotone_function_grows_with_c(name, q1, q2, pair, shift):
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = gaussian.covariance(name, q1, q2, sorted(pair), shift=shift)
        most = largest(gaussian.second_moment, name, q1, q2, shift)
    assert low <= high + 1e-12 * (abs(low) + abs(high)) + 16 * EPS * most


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_nan_at_the_corners(name):
    for q in (0.0, 1e-100, 1e-8, 1.0, 1e8, 1e25):
        for c in (-1.0, -1.0 + 1e-15, 0.0, 1.0 - 1e-15, 1.0):
            for shift in (0.0, 3.0):
                values = [gaussian.covariance(name, q, q, c, shift=shift), gaussian.slope_covariance(name, q, q, c)]
                assert np.all(np.isfinite(values)), (q, c, shift)


@pytest.mark.parametrize("name", ["softsign", "hardsigmoid", "hardtanh", "relu6"])
def test_a_variance_beyond_a_bounded_activation_s_range_is_refused(name):
    with pytest.raises(ValueError, match="the variance must be at most 1e30 for the integrals of the bounded"):
        gaussian.covariance(name, 1e40, 1e40, 0.5, shift=0.5)  # without, tanh and sigmoid have kernels


# q, shift and E relu, E relu' there, by mpmath: a variance so small or large that phi is a pair of rays, at any shift
@pytest.mark.parametrize(
    ("q", "shift", "mean", "slope"),
    [
        (1e-40, 1e-20, 1.0833154705876862e-20, 0.8413447460685429),
        (1e-32, -1e-15, 7.474560254589969e-41, 7.619853024160525e-24),
        (1e40, 1e25, 1e25, 1.0),
        (4e30, 3e15, 3.0586135875252090e15, 0.9331927987311419),
    ],
)
def test_rays_keep_their_shift(q, shift, mean, slope):
    for name in ("relu", "leaky_relu(0.0)", "relu6" if q < 1 else "elu"):
        assert gaussian.mean(name, q, shift) == pytest.approx(mean, rel=1e-8)
        assert gaussian.slope_mean(name, q, shift) == pytest.approx(slope, rel=1e-8)
    assert gaussian.mean("linear", q, shift) == shift


@pytest.mark.parametrize(
    ("name", "q1", "q2", "value"),
    [  # one variance far out, the other ordinary; mpmath
        ("erf", 1e-40, 100.0, 4.4904e-21),
        ("gelu", 1e30, 1.0, 2.5903e14),
    ],
)
def test_one_variance_may_be_extreme_alone(name, q1, q2, value):
    assert gaussian.covariance(name, q1, q2, 0.5) == pytest.approx(value, rel=1e-4)  # as many digits as are given


@pytest.mark.parametrize(
    ("name", "shift", "second"),
    # E phi(z + shift)^2 where the turn lies 12 deviations out: by mpmath
    [("relu6", -12.0, 1.46e-34), ("relu", -12.0, 1.46e-34)],
)
def test_tails_are_integrated_to_where_the_function_turns(name, shift, second):
    assert gaussian.second_moment(name, 1.0, shift) == pytest.approx(second, rel=1e-2)  # as printed
    exact = gaussian.second_moment("relu", 1.0, shift)
    assert gaussian.second_moment(name, 1.0, shift) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "q", "shift"),
    [
        ("gelu", 1.0, -20.0),
        ("gelu_tanh", 1.0, -10.0),
        ("tanh", 4.0, 16.0),
        ("sigmoid", 16.0, -30.0),
        ("mish", 4.0, -20.0),
    ],
)
def test_moments_are_right_where_all_of_phi_is_a_tail(name, q, shift):
    for which in MOMENTS:
        exact = float(getattr(reference.gaussian, which)(name, q, shift))
        assert getattr(gaussian, which)(name, q, shift) == pytest.approx(exact, rel=1e-12), which


@pytest.mark.parametrize(("q1", "q2"), [(1e-6, 1e-6), (0.5, 0.5), (2.0, 0.1), (4.0, 4.0)])
@pytest.mark.parametrize("rest", [1e-15, 1e-3, 0.4, 1.0, 1.9, 2.0 - 2**-40])
def test_covariances_are_right_where_all_of_phi_is_a_tail(q1, q2, rest):
    """Sixty below zero sigmoid and softplus are e^x to e^-50, and tanh' is 4 e^2x thirty below."""
    exact = gaussian.covariance("exp", q1, q2, one_minus_c=rest, shift=-60.0)
    for integral, name in (
        (gaussian.covariance, "sigmoid"),
        (gaussian.slope_covariance, "sigmoid"),
        (gaussian.covariance, "softplus"),
    ):
        value, bound = integral(name, q1, q2, one_minus_c=rest, shift=-60.0, error=True)
        assert value == pytest.approx(exact, rel=1e-12)
        assert bound >= abs(value - exact) - 1e-13 * exact  # of exp: 60 eps and more
    slope = gaussian.slope_covariance("tanh", q1, q2, one_minus_c=rest, shift=-30.0)
    exact = 16 * gaussian.covariance("exp", 4 * q1, 4 * q2, one_minus_c=rest, shift=-60.0)
    assert slope == pytest.approx(exact, rel=1e-12)


# what they are far to the right: lines through 0, constants
LINES = dict.fromkeys(("silu", "softplus", "gelu_tanh", "mish", "gelu", "elu", "hardswish"), 1.0)
LINES["selu"] = 1.0507009873554805
CONSTANTS = dict.fromkeys(("tanh", "sigmoid", "erf", "hardtanh", "hardsigmoid"), 1.0) | {"relu6": 6.0}
FAR = [
    (1e16, 1e16, -0.5, 1e12),
    (1e16, 1e16, 0.9, 5e9),  # 50 deviations; 0 lies farther from all others
    (1e20, 1e4, 0.3, 1e14),
    (1e28, 1e28, -0.99, 1e30),
    (1e4, 1e4, 0.5, 1e4),
    (1.0, 1.0, 0.0, 1e12),
    (1e-20, 1e-20, 0.5, 1e3),
]


@pytest.mark.parametrize(("q1", "q2", "c", "shift"), FAR)
@pytest.mark.parametrize("name", [*LINES, *CONSTANTS])
def test_far_from_all_that_turns_phi_is_its_line_or_constant(name, q1, q2, c, shift):
    """Beyond 45 deviations less than e^-1000 of the weight is elsewhere, and phi is e^-45 off its line or less.

    E (u + s)(w + s) = s^2 + c sqrt(q1 q2), all of one sign or small beside s^2: 1e-12 as everywhere.
    """
    line = LINES.get(name, 0.0)
    exact = mp.mpf(line) ** 2 * (mp.mpf(shift) ** 2 + mp.mpf(c) * mp.sqrt(mp.mpf(q1) * mp.mpf(q2)))
    exact = mp.mpf(CONSTANTS[name]) ** 2 if name in CONSTANTS else exact
    value, bound = gaussian.covariance(name, q1, q2, c, shift=shift, error=True)
    slope, slope_bound = gaussian.slope_covariance(name, q1, q2, c, shift=shift, error=True)
    assert value == pytest.approx(float(exact), rel=1e-12)
    assert abs(mp.mpf(float(value)) - exact) <= bound
    assert slope == pytest.approx(line**2, rel=1e-12, abs=1e-30)  # e^-80 is 1e-35
    assert abs(slope - line**2) <= slope_bound + 1e-30


@pytest.mark.parametrize(("q1", "q2", "c", "shift"), [case for case in FAR if case[0] > 1.0])
@pytest.mark.parametrize("name", ["silu", "softplus", "gelu_tanh", "mish", "gelu", "relu6", "sigmoid"])
def test_far_to_the_left_nothing_is_left(name, q1, q2, c, shift):
    """50 deviations are e^-1250, less than the least float64, and e^u is nothing there; 5e-324 is the bound."""
    assert gaussian.covariance(name, q1, q2, c, shift=-shift) == 0.0
    assert gaussian.slope_covariance(name, q1, q2, c, shift=-shift) == 0.0


@pytest.mark.parametrize("shift", [-1e12, 1e12, 5e9])
def test_softsign_far_from_its_kink(shift):
    """1 - 1/(a (1 + e z)), a = 1 + |shift| and e = r/a <= 0.02: the series of E 1/(1 + e z), and 1/a^2 < 1e-19."""
    a = 1 + mp.mpf(abs(shift))
    e2 = mp.mpf(1e16) / a**2
    exact = 1 - 2 / a * (1 + e2 + 3 * e2**2 + 15 * e2**3) + 1 / a**2
    value, bound = gaussian.covariance("softsign", 1e16, 1e16, -0.5, shift=shift, error=True)
    assert value == pytest.approx(float(exact), rel=1e-12)
    assert abs(mp.mpf(float(value)) - exact) <= bound


def test_an_integral_that_overflows_is_infinite_with_numpy_s_warning():
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert gaussian.second_moment(ff.Activation(np.exp, slope=np.exp), 1.0, 400.0) == np.inf


def test_a_callable_that_never_settles_is_refused():
    wild = ff.Activation(lambda x: np.sin(1e4 * x), slope=lambda x: 1e4 * np.cos(1e4 * x))
    with pytest.raises(ValueError, match="must converge and settle to 1e-13 as the mesh is refined"):
        gaussian.mean(wild, 1.0)
