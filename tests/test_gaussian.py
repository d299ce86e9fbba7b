# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian integrals against mpmath, against each other, and against the laws they obey."""

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import CLOSED, QUADRATURE, floats

import fisherfield as ff
from fisherfield import gaussian

EVERY = CLOSED + QUADRATURE
VARIANCES = st.one_of(floats(-8.0, 8.0).map(lambda x: 10.0**x), st.sampled_from((1e-8, 1.0, 1e8)))
# 1 - c: both ends on a logarithmic scale, and the middle
ONE_MINUS_C = st.one_of(
    floats(-15.0, 0.0).map(lambda x: 10.0**x),
    floats(-12.0, 0.0).map(lambda x: 2.0 - 10.0**x),
    floats(0.0, 2.0),
    st.sampled_from((0.0, 1e-15, 1.0, 2.0)),
)
mp = mpmath.mp.clone()
mp.dps = 40


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


def truth(name):
    """phi, phi' and kinks of a named activation in mpmath."""
    sigmoid = lambda x: 1 / (1 + mp.exp(-x))  # noqa: E731
    scale, alpha = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")
    return {
        "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2, (0,)),
        "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x), (0,)),
        "gelu": (lambda x: x * mp.ncdf(x), lambda x: mp.ncdf(x) + x * mp.npdf(x), (0,)),
        "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x)), (0,)),
        "softplus": (lambda x: max(x, 0) + mp.log1p(mp.exp(-abs(x))), sigmoid, (0,)),
        "elu": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x), (0,)),
        "selu": (
            lambda x: scale * (x if x > 0 else alpha * mp.expm1(x)),
            lambda x: scale * (1 if x > 0 else alpha * mp.exp(x)),
            (0,),
        ),
        "hardtanh": (lambda x: min(max(x, -1), 1), lambda x: int(-1 < x < 1), (-1, 1)),
        "relu6": (lambda x: min(max(x, 0), 6), lambda x: int(0 < x < 6), (0, 6)),
    }[name]


def expectation(f, q, shift, kinks):
    """E f(sqrt(q) z + shift) by mpmath's tanh-sinh rule on pieces that shrink towards every kink."""
    root = mp.sqrt(q)
    pieces = {mp.mpf(x) for x in range(-12, 13, 3)}
    for kink in kinks:
        centre, width = (kink - mp.mpf(shift)) / root, 1 / root
        pieces.add(centre)
        while width < 8:
            pieces |= {centre - width, centre + width}
            width *= 4
    return mp.quad(lambda z: f(root * z + shift) * mp.npdf(z), sorted(x for x in pieces if abs(x) <= 12))


@pytest.mark.parametrize("name", [name for name in QUADRATURE if name != "mish"])
@settings(max_examples=4)
@given(q=VARIANCES, shift=st.sampled_from((0.0, 0.7, -2.3)))
def test_moments_by_quadrature_agree_with_mpmath(name, q, shift):
    mp.dps = 20
    phi, slope, kinks = truth(name)
    for integral, f in (
        (gaussian.mean, phi),
        (gaussian.second_moment, lambda x: phi(x) ** 2),
        (gaussian.slope_mean, slope),
        (gaussian.slope_second_moment, lambda x: slope(x) ** 2),
    ):
        size = float(expectation(lambda x, f=f: abs(f(x)), q, shift, kinks))
        # 1e-9 of E|integrand|; what lies beyond 10 standard deviations is cut off, 1e-22 of a function of order 1 or q
        assert integral(name, q, shift) == pytest.approx(
            float(expectation(f, q, shift, kinks)), abs=1e-9 * size + 1e-20 * (1 + q)
        )


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15)
@given(q1=VARIANCES, q2=VARIANCES, rest=ONE_MINUS_C)
def test_covariance_is_symmetric_and_bounded(name, q1, q2, rest):
    value = gaussian.covariance(name, q1, q2, one_minus_c=rest)
    second = gaussian.second_moment(name, q1) * gaussian.second_moment(name, q2)
    # the two orders take different panels: 1e-9 of the largest possible value
    assert gaussian.covariance(name, q2, q1, one_minus_c=rest) == pytest.approx(value, abs=1e-9 * np.sqrt(second))
    assert value**2 <= second * (1 + 1e-9)  # Cauchy and Schwarz


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15)
@given(q=VARIANCES, shift=st.sampled_from((0.0, 0.3, -1.1)))
def test_ends_and_middle_are_moments(name, q, shift):
    second, mean = gaussian.second_moment(name, q, shift), gaussian.mean(name, q, shift)
    assert gaussian.covariance(name, q, q, 1.0, shift=shift) == pytest.approx(second, rel=1e-14)
    # independent u and w; 1e-9 of the second moment by quadrature
    assert gaussian.covariance(name, q, q, 0.0, shift=shift) == pytest.approx(mean**2, rel=1e-9, abs=1e-12 * second)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "step"])
@settings(max_examples=8)
@given(q1=floats(0.1, 30.0), q2=floats(0.1, 30.0), c=floats(-0.9, 0.9), shift=st.sampled_from((0.0, 0.5)))
def test_price_s_theorem(name, q1, q2, c, shift):
    """d/dc E phi(u) phi(w) = sqrt(q1 q2) E phi'(u) phi'(w), by differences of fourth order."""
    h = 2e-3

    def at(x):
        return gaussian.covariance(name, q1, q2, x, shift=shift)

    derivative = (8 * (at(c + h) - at(c - h)) - (at(c + 2 * h) - at(c - 2 * h))) / (12 * h)
    slope = np.sqrt(q1 * q2) * gaussian.slope_covariance(name, q1, q2, c, shift=shift)
    size = np.sqrt(gaussian.second_moment(name, q1, shift) * gaussian.second_moment(name, q2, shift))
    # h^4 times a fifth derivative of at most 1/(1 - c)^5; quadrature noise over h
    assert derivative == pytest.approx(slope, abs=1e-6 * size * max(1.0, np.sqrt(q1 * q2)))


@given(VARIANCES, ONE_MINUS_C, floats(0.1, 10.0))
def test_homogeneity(q, rest, factor):
    for name in ("relu", "leaky_relu(0.3)", "abs", "linear"):
        once = gaussian.covariance(name, q, q, one_minus_c=rest)
        size = gaussian.second_moment(name, q)
        assert gaussian.covariance(name, factor * q, factor * q, one_minus_c=rest) == pytest.approx(
            factor * once, rel=1e-13, abs=1e-15 * factor * size
        )


@pytest.mark.parametrize("name", ["relu", "step", "erf", "tanh", "sigmoid", "softplus", "elu", "hardtanh", "relu6"])
@settings(max_examples=8)
@given(q=VARIANCES, pair=st.tuples(floats(-1.0, 1.0), floats(-1.0, 1.0)))
def test_covariance_of_a_monotone_function_grows_with_c(name, q, pair):
    low, high = sorted(pair)
    second = gaussian.second_moment(name, q)
    assert gaussian.covariance(name, q, q, low) <= gaussian.covariance(name, q, q, high) + 1e-9 * second


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_nan_at_the_corners(name):
    for q in (0.0, 1e-100, 1e-8, 1.0, 1e8, 1e25):
        for c in (-1.0, -1.0 + 1e-15, 0.0, 1.0 - 1e-15, 1.0):
            for shift in (0.0, 3.0):
                values = [gaussian.covariance(name, q, q, c, shift=shift), gaussian.slope_covariance(name, q, q, c)]
                assert np.all(np.isfinite(values)), (q, c, shift)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "hardtanh", "relu6"])
def test_a_variance_beyond_a_bounded_activation_s_range_is_refused(name):
    with pytest.raises(ValueError, match="the variance must be at most 1e30 for the integrals of the bounded"):
        gaussian.covariance(name, 1e40, 1e40, 0.5)


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


def test_an_integral_that_overflows_is_infinite_with_numpy_s_warning():
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert gaussian.second_moment(ff.Activation(np.exp, slope=np.exp), 1.0, 400.0) == np.inf


def test_a_callable_that_never_settles_is_refused():
    wild = ff.Activation(lambda x: np.sin(1e4 * x), slope=lambda x: 1e4 * np.cos(1e4 * x))
    with pytest.raises(ValueError, match="must settle to 1e-10 as the mesh is refined"):
        gaussian.mean(wild, 1.0)
