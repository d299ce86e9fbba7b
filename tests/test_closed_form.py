# SPDX-License-Identifier: BSD-3-Clause
"""Closed forms against tensor Gauss-Hermite sums of the definition, and from there to every corner against mpmath."""

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import floats

import fisherfield as ff
from fisherfield import gaussian

mp = mpmath.mp.clone()
mp.dps = 160  # 1 - c = 1e-15 at q = 1e8 and degree 32 cancel up to 100 digits
mpf = mp.mpf

VARIANCES = st.one_of(floats(-8.0, 8.0).map(lambda x: 10.0**x), st.sampled_from((1e-8, 1.0, 1e8)))
ONE_MINUS_C = st.one_of(
    floats(-15.0, 0.0).map(lambda x: 10.0**x),
    floats(-15.0, 0.0).map(lambda x: 2.0 - 10.0**x),
    floats(0.0, 2.0),
    st.sampled_from((0.0, 1e-15, 1.0, 2.0)),
)
SHIFTS = st.one_of(st.just(0.0), floats(-5.0, 5.0))
# The six public integrals as functions of (phi, q1, q2, 1 - c, shift); moments take q1 alone.
COVARIANCES = (gaussian.covariance, gaussian.slope_covariance)
MOMENTS = (gaussian.mean, gaussian.second_moment, gaussian.slope_mean, gaussian.slope_second_moment)


# --- the definition, where a sum resolves it -------------------------------------------------------------------------

SMOOTH = ("sin", "cos", "rbf", "exp", "gaussian", "gelu", "erf", "monomial(3)", "monomial(6)", "hermite(2)",
          "hermite(7)", "polynomial(0.5, -1, 0, 0.25)")  # fmt: skip
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(150)
WEIGHTS /= WEIGHTS.sum()


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=25)
@given(q1=floats(0.05, 0.6), q2=floats(0.05, 0.6), c=floats(-1.0, 1.0), shift=floats(-1.5, 1.5))
def test_smooth_functions_have_the_integrals_of_the_definition(name, q1, q2, c, shift):
    phi = ff.Activation(name)
    u = np.sqrt(q1) * NODES[:, None] + shift
    w = np.sqrt(q2) * (c * NODES[:, None] + np.sqrt((1 - c) * (1 + c)) * NODES) + shift
    u = np.broadcast_to(u, w.shape)
    sums = lambda f: float(WEIGHTS @ f @ WEIGHTS)  # noqa: E731
    for covariance, f in zip(COVARIANCES, (phi, phi.derivative), strict=True):
        if name in ("erf", "gelu") and shift:  # by quadrature
            continue
        terms = f(u) * f(w)
        # 150 nodes resolve all of these to rounding, a few hundred of which add up
        assert covariance(phi, q1, q2, c, shift=shift) == pytest.approx(sums(terms), abs=1e-13 * sums(np.abs(terms)))
    for moment, f in zip(MOMENTS, (phi, lambda x: phi(x) ** 2, phi.derivative, lambda x: phi.derivative(x) ** 2),
                         strict=True):  # fmt: skip
        terms = f(np.sqrt(q1) * NODES + shift)
        size = float(WEIGHTS @ np.abs(terms))
        assert moment(phi, q1, shift) == pytest.approx(float(WEIGHTS @ terms), abs=1e-13 * size)


# --- and from there to every corner, in mpmath -----------------------------------------------------------------------
# name -> E phi phi or E phi' phi' as a function of q1, q2, c and shift, with the size its rounding is relative to: the
# value itself, or where the integrand changes sign what E|integrand| is of the order of.


def wave(amplitude2, frequency2, cos2):
    def pair(q1, q2, c, shift, slope):
        p = c * mp.sqrt(q1 * q2)
        scale = amplitude2 * (frequency2 if slope else 1) / 2
        near, far = mp.exp(-frequency2 * ((q1 + q2) / 2 - p)), mp.exp(-frequency2 * ((q1 + q2) / 2 + p))
        far_signed = far * cos2(shift)
        return scale * (near + far_signed if slope else near - far_signed), scale * (near + far)

    return pair


def exponential(q1, q2, c, shift, slope):
    value = mp.exp(2 * shift + (q1 + q2) / 2 + c * mp.sqrt(q1 * q2))
    return value, value


def bell(q1, q2, c, shift, slope):
    p = c * mp.sqrt(q1 * q2)
    d = (1 + q1) * (1 + q2) - p * p
    value = mp.exp(-shift * shift * (1 + (q1 + q2) / 2 - p) / d) / mp.sqrt(d)
    if not slope:
        return value, value
    x, y = shift * (1 + q2 - p) / d, shift * (1 + q1 - p) / d
    spread = mp.sqrt((1 - (1 + q2) / d + x * x) * (1 - (1 + q1) / d + y * y))
    return value * (p / d + x * y), value * spread


def error_function(q1, q2, c, shift, slope):
    if slope:
        value = 4 / mp.pi * bell(2 * q1, 2 * q2, c, mp.sqrt(2) * shift, False)[0]
        return value, value
    value = 2 / mp.pi * mp.asin(2 * c * mp.sqrt(q1 * q2) / mp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))
    return value, abs(value)


def gelu(q1, q2, c, shift, slope):
    p, e = c * mp.sqrt(q1 * q2), (1 + q1) * (1 + q2)
    d = e - p * p
    angle = mp.pi / 2 + mp.atan2(p, mp.sqrt(d))
    if slope:
        turn = p * ((2 + q1 + q2) / e + 1 / d) / mp.sqrt(d)
        return (angle + turn) / (2 * mp.pi), (angle + abs(turn)) / (2 * mp.pi)
    value = (p * angle + (q1 * q2 + p * p * (1 - q1 * q2) / e) / mp.sqrt(d)) / (2 * mp.pi)
    # the least that E|phi phi| is at c = -1, a few per cent of it at small and 1/10 of 1/sqrt(q) at large variances
    return value, abs(value) + mp.mpf("0.01") * min(mp.sqrt(q1 * q2), 1 / mp.sqrt(q1 + q2))


def sign(q1, q2, c, shift, slope):
    value = mp.mpf(0) if slope else 2 / mp.pi * mp.asin(c)
    return value, abs(value)


def rectified(n):
    def pair(q1, q2, c, shift, slope):
        mp.dps = 60 + 20 * n  # (1 + c)^n
        r, degree = mp.sqrt(q1 * q2), n - 1 if slope else n
        t = mp.acos(-c)
        powers = [t, mp.sin(t)]  # int_0^t cos^k
        for k in range(2, degree + 1):
            powers.append(mp.cos(t) ** (k - 1) * mp.sin(t) / k + mpf(k - 1) / k * powers[k - 2])
        total = mp.fsum(mp.binomial(degree, k) * c ** (degree - k) * powers[k] for k in range(degree + 1))
        value = (n * n if slope else 1) * r**degree * mp.factorial(degree) / (2 * mp.pi) * total
        mp.dps = 160
        return +value, +value

    return pair


def polynomial(coefficients):
    def derivatives(q, shift):  # E phi^(k)
        moments = [mpf(1)]
        for j in range(len(coefficients) - 1):
            moments.append(shift * moments[j] + (j * q * moments[j - 1] if j else 0))
        terms = [
            [c * mp.ff(j, k) * moments[j - k] for j, c in enumerate(coefficients) if j >= k]
            for k in range(len(coefficients))
        ]
        return [mp.fsum(each) for each in terms], [mp.fsum(map(abs, each)) for each in terms]

    def pair(q1, q2, c, shift, slope):
        p = c * mp.sqrt(q1 * q2)
        (one, one_size), (two, two_size) = derivatives(q1, shift), derivatives(q2, shift)
        weights = [p ** (k - slope) / mp.factorial(k - slope) if k >= slope else mpf(0) for k in range(len(one))]
        terms = [weight * a * b for weight, a, b in zip(weights, one, two, strict=True)]
        # What cancels cancels in 106 bits: the terms, and before them up to 17 products in each E phi^(k), which err by
        # 2^-101 of their sizes, each factor and both together; of that `rounding` has 150 2^-52.
        cancelled = [
            abs(weight) * (abs(a) * b_size + a_size * abs(b) + mpf(2) ** -101 * a_size * b_size)
            for weight, a, a_size, b, b_size in zip(weights, one, one_size, two, two_size, strict=True)
        ]
        size = abs(mp.fsum(terms)) + mpf(2) ** -40 * mp.fsum(map(abs, terms)) + mpf(2) ** -56 * mp.fsum(cancelled)
        return mp.fsum(terms), size

    return pair


def he(n):
    out = [mpf(0)] * (n + 1)
    for k in range(n // 2 + 1):
        out[n - 2 * k] = (
            (-1) ** k * mp.sqrt(mp.factorial(n)) / (mp.factorial(k) * mp.factorial(n - 2 * k) * mpf(2) ** k)
        )
    return out


HE_20 = [float(x) for x in np.polynomial.hermite_e.herme2poly([0] * 20 + [1])]  # whole numbers that cancel to 1e-10
RANDOM = [float(x) for x in np.random.default_rng(5).normal(size=33)]
FORMULAS = {
    "sin": wave(1, 1, lambda b: mp.cos(2 * b)),
    "cos": wave(1, 1, lambda b: -mp.cos(2 * b)),
    "rbf": wave(2, 2, lambda b: -mp.sin(2 * mp.sqrt(2) * b)),
    "exp": exponential,
    "gaussian": bell,
    "erf": error_function,
    "gelu": gelu,
    "sign": sign,
    **{f"rectified_monomial({n})": rectified(n) for n in (2, 3, 9, 32)},
    **{f"monomial({n})": polynomial([mpf(0)] * n + [mpf(1)]) for n in (0, 1, 2, 3, 8, 32)},
    **{f"hermite({n})": polynomial(he(n)) for n in (1, 2, 5, 32)},
    "polynomial(0.5, -1, 0, 0.25, 0.7)": polynomial([mpf(x) for x in (0.5, -1, 0, 0.25, 0.7)]),
    f"polynomial({', '.join(map(repr, HE_20))})": polynomial([mpf(x) for x in HE_20]),
    f"polynomial({', '.join(map(repr, RANDOM))})": polynomial([mpf(x) for x in RANDOM]),
}
UNSHIFTED = ("gelu", "sign", "rectified")  # with a shift these are integrated
LARGEST, SMALLEST = mpf(10) ** 306, mpf(10) ** -300


def rounding(name, q1, q2, shift):
    """Relative errors that are allowed, in eps: e^x has |x| eps of its own, and is no float64 beyond |x| = 750."""
    if name in ("sin", "cos", "rbf", "exp"):
        return 32 + 4 * min(2 * (q1 + q2) + 2 * abs(shift), 1500)
    if name in ("gaussian", "erf"):
        return 64 + 8 * shift**2  # an ulp of the exponent
    return 150 if "32" in name or len(name) > 100 else 40  # n/2 ulp for r^n, twice; the last bits of six formulas


def ident(name):
    return name if len(name) < 40 else f"{name[:30]}...)"


@pytest.mark.parametrize("name", FORMULAS, ids=ident)
@settings(max_examples=30, deadline=None)
@given(q1=VARIANCES, q2=st.one_of(st.none(), VARIANCES), rest=ONE_MINUS_C, shift=SHIFTS)
@example(q1=1.0, q2=1e-8, rest=1.0, shift=0.0)
@example(q1=1.018151721718182, q2=None, rest=1.0, shift=0.0)  # E He_20 is 1e-20 of its terms
@example(q1=1.0005636858225608, q2=None, rest=1.0, shift=0.0)  # and here 1e-35, below what 106 bits leave of them
def test_covariances_are_right_to_rounding_everywhere(name, q1, q2, rest, shift):
    q2 = q1 if q2 is None else q2
    shift = 0.0 if name.startswith(UNSHIFTED) else shift
    for slope, covariance in enumerate(COVARIANCES):
        if name == "erf" and shift and not slope:
            continue  # by quadrature
        expected, size = FORMULAS[name](mpf(q1), mpf(q2), 1 - mpf(rest), mpf(shift), slope)
        if abs(expected) > LARGEST or 0 < abs(expected) < SMALLEST:
            continue
        got = covariance(name, q1, q2, one_minus_c=rest, shift=shift)
        assert abs(got - expected) <= rounding(name, q1, q2, shift) * 2.0**-52 * size


@pytest.mark.parametrize("name", [x for x in FORMULAS if not x.startswith(("rect", "sign", "erf"))], ids=ident)
@settings(max_examples=25, deadline=None)
@given(q=VARIANCES, shift=SHIFTS)
def test_moments_are_right_to_rounding_everywhere(name, q, shift):
    shift = 0.0 if name.startswith(UNSHIFTED) else shift
    a, one = mpf(q), mpf(1)
    for slope, (mean, second) in enumerate((MOMENTS[:2], MOMENTS[2:])):
        of_second = FORMULAS[name](a, a, one, mpf(shift), slope)[0]
        of_mean = mp.sqrt(abs(FORMULAS[name](a, a, 0 * one, mpf(shift), slope)[0]))  # c = 0: E phi E phi
        for moment, value in ((mean, of_mean), (second, of_second)):
            if value > LARGEST or 0 < value < SMALLEST:
                continue
            size = value if name in ("exp", "gelu") or moment is second else mp.sqrt(of_second)
            # twice: the variance comes in as its root, squared again
            error = abs(abs(moment(name, q, shift)) - value)
            assert error <= 2 * rounding(name, q, q, shift) * 2.0**-52 * size


@given(q=VARIANCES, shift=SHIFTS)
def test_means_of_sign_erf_and_their_slopes(q, shift):
    b, a = mpf(shift), mpf(q)
    for got, expected in (
        (gaussian.mean("sign", q, shift), mp.erf(b / mp.sqrt(2 * a))),
        (gaussian.second_moment("sign", q, shift), 1),
        (gaussian.slope_mean("sign", q, shift), 0),
        (gaussian.mean("erf", q, shift), mp.erf(b / mp.sqrt(1 + 2 * a))),
        (gaussian.slope_mean("erf", q, shift), 2 / mp.sqrt(mp.pi * (1 + 2 * a)) * mp.exp(-b * b / (1 + 2 * a))),
        (
            gaussian.slope_second_moment("erf", q, shift),
            4 / mp.pi / mp.sqrt(1 + 4 * a) * mp.exp(-2 * b * b / (1 + 4 * a)),
        ),
    ):
        assert abs(got - expected) <= (16 + 8 * shift**2) * 2.0**-52 * abs(expected)  # an ulp of the exponent


@given(n=st.integers(2, 32), q=VARIANCES)
def test_moments_of_rectified_monomials(n, q):
    half = lambda k: mp.gamma(mpf(k + 1) / 2) * mpf(2) ** (mpf(k) / 2 - 1) / mp.sqrt(mp.pi)  # noqa: E731, E z_+^k
    g, name = mp.sqrt(mpf(q)), f"rectified_monomial({n})"
    for got, expected in (
        (gaussian.mean(name, q), g**n * half(n)),
        (gaussian.second_moment(name, q), g ** (2 * n) * half(2 * n)),
        (gaussian.slope_mean(name, q), n * g ** (n - 1) * half(n - 1)),
        (gaussian.slope_second_moment(name, q), n * n * g ** (2 * n - 2) * half(2 * n - 2)),
    ):
        assert abs(got - expected) <= (8 + 4 * n) * 2.0**-52 * expected  # 2 n roundings of the power


# --- differences, through networks: they are what deep ones live on --------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gelu", "cos", "gaussian", "rbf", "hermite(5)", "monomial(2)", "rectified_monomial(2)"]
)
@settings(max_examples=30, deadline=None)
@given(q=floats(0.1, 3.0), rest=floats(-12.0, 0.2).map(lambda x: 10.0**x))
def test_variances_over_the_data_keep_their_digits_as_overlaps_approach_lengths(name, q, rest):
    assume(rest < 1.0)
    net = ff.mlp([3, 4, 5], name, batch_norm=False, sigma_w2=1.0, sigma_b2=0.0)
    overlap = q * (1 - rest)
    out = ff.order_parameters(net, length=q, overlap=overlap)
    rest = 1 - mpf(overlap) / mpf(q)
    pair = FORMULAS[name]
    a = mpf(q)
    expected = pair(a, a, mpf(1), mpf(0), 0)[0] - pair(a, a, 1 - rest, mpf(0), 0)[0]
    # q_hat - q_hat_xy is formed of the two numbers that come out: an ulp of q_hat
    assert abs(out.q_hat[1] - out.q_hat_xy[1] - expected) <= 1e-15 * max(1.0, out.q_hat[1]) + 1e-13 * expected
