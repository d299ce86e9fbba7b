# SPDX-License-Identifier: BSD-3-Clause
"""Activations: every name against its formula in mpmath; callables, their differences and their mistakes; threads."""

import copy
import math
import os
import pickle
import re
import subprocess
import sys
import threading

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mp
from scipy.special import ndtr
from strategies import GIVEN

import fisherfield as ff

NAMES = ", ".join(ff.activation_names())
EPS = 2.0**-52
SMALLEST_NORMAL = 2.0**-1022

# formulas -------------------------------------------------------------------------------------------------------------

SELU_SCALE = mpmath.mpf("1.0507009873554804934193349852946")
SELU_ALPHA = mpmath.mpf("1.6732632423543772848170429916717")


def sigma(x):
    return 1 / (1 + mp.exp(-x))


def cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def softplus(x):
    return mp.log1p(mp.exp(x))


def gelu_tanh(x):
    return x * sigma(2 * mp.sqrt(2 / mp.pi) * (x + mpmath.mpf("0.044715") * x**3))


def gelu_tanh_slope(x):
    y, turn = 2 * mp.sqrt(2 / mp.pi) * x, mpmath.mpf("0.044715") * x * x
    left, right = sigma(y * (1 + turn)), sigma(-y * (1 + turn))
    return left * (1 + y * (1 + 3 * turn) * right)


def he(n, x):
    """He_n(x)/sqrt(n!) from its coefficients: sum_k (-1)^k n!/(k! (n - 2k)! 2^k) x^(n-2k)."""
    terms = (
        (-1) ** k * mp.factorial(n) / (mp.factorial(k) * mp.factorial(n - 2 * k) * 2**k) * x ** (n - 2 * k)
        for k in range(n // 2 + 1)
    )
    return mp.fsum(terms) / mp.sqrt(mp.factorial(n))


# name -> phi, phi' (0 or the left-hand side at kinks, as frameworks have it), kinks
FORMULAS = {
    "relu": (lambda x: max(x, 0), lambda x: int(x > 0), [0]),
    "leaky_relu": (lambda x: max(x, 0) + mpmath.mpf(0.01) * min(x, 0), lambda x: 1 if x > 0 else 0.01, [0]),
    "abs": (lambda x: abs(x), lambda x: mp.sign(x), [0]),
    "linear": (lambda x: x, lambda x: 1, []),
    "step": (lambda x: int(x > 0), lambda x: 0, [0]),
    "erf": (lambda x: mp.erf(x), lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), []),
    "tanh": (lambda x: mp.tanh(x), lambda x: mp.sech(x) ** 2, []),
    "sigmoid": (sigma, lambda x: sigma(x) * sigma(-x), []),
    "gelu": (lambda x: x * cdf(x), lambda x: cdf(x) + x * mp.npdf(x), []),
    "silu": (lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * sigma(-x)), []),
    "softplus": (softplus, sigma, []),
    "elu": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x), [0]),
    "selu": (
        lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mp.expm1(x)),
        lambda x: SELU_SCALE * (1 if x > 0 else SELU_ALPHA * mp.exp(x)),
        [0],
    ),
    "hardtanh": (lambda x: max(-1, min(1, x)), lambda x: int(-1 < x < 1), [-1, 1]),
    "relu6": (lambda x: max(0, min(6, x)), lambda x: int(0 < x < 6), [0, 6]),
    "mish": (
        lambda x: x * mp.tanh(softplus(x)),
        lambda x: mp.tanh(softplus(x)) + x * mp.sech(softplus(x)) ** 2 * sigma(x),
        [],
    ),
    "sin": (lambda x: mp.sin(x), lambda x: mp.cos(x), []),
    "sign": (lambda x: mp.sign(x), lambda x: 0, [0]),
    "hardsigmoid": (lambda x: max(0, min(6, x + 3)) / 6, lambda x: mpmath.mpf(int(-3 < x < 3)) / 6, [-3, 3]),
    "hardswish": (
        lambda x: x * max(0, min(6, x + 3)) / 6,
        lambda x: (2 * x + 3) / 6 if -3 < x < 3 else int(x >= 3),
        [-3, 3],
    ),
    "cos": (lambda x: mp.cos(x), lambda x: -mp.sin(x), []),
    "exp": (lambda x: mp.exp(x), lambda x: mp.exp(x), []),
    "gaussian": (lambda x: mp.exp(-x * x / 2), lambda x: -x * mp.exp(-x * x / 2), []),
    "rbf": (
        lambda x: mp.sqrt(2) * mp.sin(mp.sqrt(2) * x + mp.pi / 4),
        lambda x: 2 * mp.cos(mp.sqrt(2) * x + mp.pi / 4),
        [],
    ),
    # with the parameters of strategies.GIVEN
    "monomial": (lambda x: x**3, lambda x: 3 * x**2, []),
    "rectified_monomial": (lambda x: max(x, 0) ** 2, lambda x: 2 * max(x, 0), [0]),
    "hermite": (lambda x: he(4, x), lambda x: 2 * he(3, x), []),
    "polynomial": (lambda x: 0.5 - x + 0.25 * x**3, lambda x: -1 + 0.75 * x**2, []),
    "gelu_tanh": (gelu_tanh, gelu_tanh_slope, []),
    "celu": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x), [0]),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, [0]),
}
PHIS = {name: ff.Activation(GIVEN.get(name, name)) for name in FORMULAS}
# Where phi falls like exp(-x^2), an ulp of x is x^2 ulp of phi.
GAUSSIAN_TAILS = {("erf", "slope"), ("gelu", "value"), ("gelu", "slope"), ("gaussian", "value"), ("gaussian", "slope")}
# Where phi falls like exp(-0.07 x^3), an ulp of x is x^3/5 ulp of phi.
CUBIC_TAILS = {("gelu_tanh", "value"), ("gelu_tanh", "slope")}
# Waves: an ulp of sqrt(2) x turns the phase by x ulp.
WAVES = {("rbf", "value"), ("rbf", "slope")}
# These leave the range of float64 for an x inside of it.
OVERFLOWING = {"exp", "monomial", "rectified_monomial", "hermite", "polynomial"}
POINTS = sorted({sign * x for sign in (-1, 1) for x in (0.0, 1e-300, 1e-8, 0.5, 1.0, 6.0, 30.0, 700.0)})


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def test_every_name_has_its_formula_here():
    assert set(FORMULAS) == set(ff.activation_names())


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_slope_are_right_to_a_few_ulp_from_the_kinks_to_the_tails(name):
    value, slope, _ = FORMULAS[name]
    phi = PHIS[name]
    for which, formula, got in (("value", value, phi(POINTS)), ("slope", slope, phi.derivative(POINTS))):
        for x, number in zip(POINTS, got, strict=True):
            ulps = 4 * (1 + x * x) if (name, which) in GAUSSIAN_TAILS else 4
            ulps = 4 * (1 + abs(x) ** 3) if (name, which) in CUBIC_TAILS else ulps
            expected = mpmath.mpf(formula(mpmath.mpf(x)))
            if (name, which) in WAVES:
                ulps *= 1 + abs(x / expected)
            # below the smallest normal number digits are lost, here as everywhere
            assert abs(number - expected) <= ulps * EPS * abs(expected) + SMALLEST_NORMAL, (which, x)


@pytest.mark.parametrize("name", FORMULAS)
@given(x=st.floats(-40, 40))
def test_value_and_slope_are_those_of_a_point_within_a_few_ulp(name, x):
    value, slope, kinks = FORMULAS[name]
    assume(all(abs(x - kink) > 1e-6 for kink in kinks))
    phi, point = PHIS[name], mpmath.mpf(x)
    # mpmath's own derivatives: of phi, and of phi' for what an ulp of x makes of it
    first, second = mp.diff(value, point), mp.diff(slope, point)
    assert abs(slope(point) - first) <= 1e-15 * (1 + abs(first))  # the formulas above, half of mpmath's digits
    for expected, change, got in ((value(point), first, phi(x)), (slope(point), second, phi.derivative(x))):
        assert abs(got - expected) <= 4 * EPS * (abs(expected) + abs(x * change)) + SMALLEST_NORMAL


@pytest.mark.parametrize("name", FORMULAS)
@given(x=st.floats(-1e308, 1e308))
def test_no_finite_argument_gives_a_nan_or_an_infinity(name, x):
    for y in (PHIS[name](x), PHIS[name].derivative(x)):
        assert np.isfinite(y) or (name in OVERFLOWING and abs(y) == math.inf and abs(x) > 100)


@pytest.mark.parametrize("n", range(33))
def test_powers_and_polynomials_of_every_degree(n):
    coefficients = [(-1) ** k / (k + 1) for k in range(n + 1)]
    x = np.concatenate((-np.logspace(-4, 8, 40), [0.0], np.logspace(-4, 8, 41)))
    formulas = {
        "monomial": (lambda x: x**n, lambda x: n * x ** max(n - 1, 0)),
        "rectified_monomial": (lambda x: x**n if x > 0 else 0, lambda x: n * x ** max(n - 1, 0) if x > 0 else 0),
        "hermite": (lambda x: he(n, x), lambda x: mp.sqrt(n) * he(max(n - 1, 0), x)),
        "polynomial": (
            lambda x: mp.fsum(c * x**k for k, c in enumerate(coefficients)),
            lambda x: mp.fsum(k * c * x ** max(k - 1, 0) for k, c in enumerate(coefficients)),
        ),
    }
    for name, (value, slope) in formulas.items():
        phi = ff.Activation(name, **({"coefficients": coefficients} if name == "polynomial" else {"n": n}))
        for got, formula in ((phi(x), value), (phi.derivative(x), slope)):
            for point, number in zip(x, got, strict=True):
                expected = formula(mpmath.mpf(point))
                if name == "polynomial":  # Horner: 2 n roundings of the sum of the terms' sizes
                    size = sum(max(k, 1) * abs(c * point**k) * max(1, 1 / abs(point or 1))
                               for k, c in enumerate(coefficients))  # fmt: skip
                    allowed = 2 * max(n, 1) * EPS * size
                elif name == "hermite":  # three roundings a step, of what oscillates with this amplitude
                    allowed = 3 * max(n, 1) * EPS * (abs(expected) + np.exp(min(point**2 / 4, 700.0)) * np.sqrt(n))
                else:
                    allowed = 4 * EPS * abs(expected)
                assert abs(number - expected) <= allowed, (name, point)


def test_degrees_zero_and_one_are_the_functions_that_they_are():
    x = np.array([-2.5, -0.0, 0.0, 1e-300, 3.25])
    for power, name in (("monomial(1)", "linear"), ("hermite(1)", "linear"), ("rectified_monomial(1)", "relu"),
                        ("rectified_monomial(0)", "step"), ("polynomial(0, 1, 0)", "linear")):  # fmt: skip
        assert np.array_equal(ff.Activation(power)(x), ff.Activation(name)(x))
        assert np.array_equal(ff.Activation(power).derivative(x), ff.Activation(name).derivative(x))
        expected = ff.gaussian.covariance(name, 2.0, 3.0, 0.4)
        assert ff.gaussian.covariance(power, 2.0, 3.0, 0.4) == pytest.approx(expected, rel=1e-14)
    for constant in ("monomial(0)", "hermite(0)", "polynomial(1)"):
        assert np.array_equal(ff.Activation(constant)(x), np.ones(5))
        assert np.array_equal(ff.Activation(constant).derivative(x), np.zeros(5))


def test_swish_is_silu_and_stored_as_that():
    assert ff.Activation("swish") == ff.Activation("silu")
    assert ff.Activation("swish").function == "silu"
    assert ff.mlp([2, 3, 1], "swish") == ff.mlp([2, 3, 1], "silu")


@given(x=st.floats(-200, 200), alpha=st.floats(0.01, 100))
def test_celu_turns_on_the_scale_of_alpha(x, alpha):
    phi, point = ff.Activation("celu", alpha=alpha), mpmath.mpf(x)
    ulps = 2 + abs(x) / alpha  # of x/alpha, in the exponent
    for got, left, right in (
        (phi(x), alpha * mp.expm1(point / alpha), x),
        (phi.derivative(x), mp.exp(point / alpha), 1),
    ):
        expected = left if x <= 0 else right
        assert abs(got - expected) <= ulps * EPS * abs(expected) + SMALLEST_NORMAL


@given(x=st.floats(-50, 50), slope=st.floats(-10, 10), alpha=st.floats(-10, 10))
def test_parameters_enter_where_they_should(x, slope, alpha):
    leaky, elu = ff.Activation("leaky_relu", slope=slope), ff.Activation("elu", alpha=alpha)
    point = mpmath.mpf(x)
    assert leaky(x) == (x if x > 0 else slope * x)
    assert leaky.derivative(x) == (1 if x > 0 else slope)
    for got, left in ((elu(x), alpha * mp.expm1(point)), (elu.derivative(x), alpha * mp.exp(point))):
        expected = (x if got == elu(x) else 1) if x > 0 else left
        assert abs(got - expected) <= 2 * EPS * abs(expected) + SMALLEST_NORMAL
    assert elu(x) == x or x <= 0


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3), (1, 1, 4)])
@pytest.mark.parametrize("phi", [ff.Activation("gelu"), ff.Activation(np.tanh)], ids=str)
def test_arrays_keep_their_shape(phi, shape):
    x = np.linspace(-2, 2, math.prod(shape)).reshape(shape)
    assert phi(x).shape == phi.derivative(x).shape == shape
    assert np.array_equal(phi(x).ravel(), [phi(point) for point in x.ravel()])


def test_any_memory_layout_and_any_real_type_will_do():
    x = np.arange(24.0).reshape(4, 6) - 12
    phi = ff.Activation("leaky_relu(0.5)")
    expected = np.where(x > 0, x, x / 2)
    assert np.array_equal(phi(x.T), expected.T)
    assert np.array_equal(phi(x[::2, ::-3]), expected[::2, ::-3])
    assert np.array_equal(phi(x.astype(np.int8)), expected)
    assert np.array_equal(phi([-1, 2]), [-0.5, 2.0])


# values ---------------------------------------------------------------------------------------------------------------

PARAMETRISED = {"leaky_relu": "slope", "elu": "alpha"}
NEEDING = {"monomial": "n", "rectified_monomial": "n", "hermite": "n", "polynomial": "coefficients", "celu": "alpha"}
parameters = st.floats(-1e100, 1e100)
degrees = st.integers(0, 32)
positives = st.floats(1e-100, 1e100)
coefficient_lists = st.lists(parameters, min_size=1, max_size=33)
VALUES = {"slope": parameters, "alpha": positives, "n": degrees, "coefficients": coefficient_lists}


@st.composite
def named(draw):
    """Any name with any parameter."""
    name = draw(st.sampled_from(ff.activation_names()))
    return ff.Activation(name, **{key: draw(VALUES[key]) for key in PHIS[name].parameters})


def test_the_defaults_are_pytorch_s():
    assert ff.Activation("leaky_relu").parameters == {"slope": 0.01}
    assert ff.Activation("elu").parameters == {"alpha": 1.0}
    assert ff.Activation("celu").parameters == {"alpha": 1.0}
    for name in set(ff.activation_names()) - set(PARAMETRISED) - set(NEEDING):
        phi = ff.Activation(name)
        assert phi.parameters == {}
        assert (phi.function, phi.slope, phi.alpha, phi.kinks) == (name, None, None, ())
        assert (phi.n, phi.coefficients) == (None, None)
    assert ff.Activation(np.tanh).parameters == {}


@given(st.sampled_from(sorted(PARAMETRISED)), parameters)
def test_both_spellings_of_a_parameter_are_equal(name, value):
    by_name = ff.Activation(name, **{PARAMETRISED[name]: value})
    for text in (f"{name}({value!r})", f" {name}( {value!r} ) "):
        assert ff.Activation(text) == by_name
        assert hash(ff.Activation(text)) == hash(by_name)
    assert by_name.parameters == {PARAMETRISED[name]: value}
    assert (by_name == ff.Activation(name)) == (value == ff.Activation(name).parameters[PARAMETRISED[name]])


def equal_copies(phi):
    yield copy.copy(phi)
    yield copy.deepcopy(phi)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(phi, protocol))


@given(degrees, coefficient_lists)
def test_both_spellings_of_a_degree_and_of_coefficients_are_equal(n, numbers):
    for name in ("monomial", "rectified_monomial", "hermite"):
        phi = ff.Activation(name, n=n)
        for same in (f"{name}({n})", f"{name}( {n}.0)"):
            assert ff.Activation(same) == phi
            assert hash(ff.Activation(same)) == hash(phi)
        assert ff.Activation(name, n=float(n)) == ff.Activation(name, n=np.int8(n)) == phi
        assert type(phi.n) is int
        assert phi.parameters == {"n": n}
        assert str(phi) == f"{name}({n})"
    phi = ff.Activation("polynomial", coefficients=numbers)
    assert ff.Activation(f"polynomial({', '.join(map(repr, numbers))})") == phi
    assert ff.Activation("polynomial", coefficients=np.array(numbers)) == phi
    assert phi.coefficients == tuple(numbers)
    assert ff.Activation("polynomial(1,0,-2)").parameters == {"coefficients": (1.0, 0.0, -2.0)}
    assert str(ff.Activation("polynomial(1,0,-2)")) == "polynomial(1.0, 0.0, -2.0)"


@given(named())
def test_named_activations_are_values_that_repr_and_pickle_keep(phi):
    assert ff.Activation(str(phi)) == phi
    for twin in (eval(repr(phi), {"Activation": ff.Activation}), *equal_copies(phi)):
        assert twin == phi
        assert hash(twin) == hash(phi)
        assert twin(-0.7) == phi(-0.7)
    assert phi != phi.function


@pytest.mark.parametrize(
    "text",
    [
        *(GIVEN.get(name, name) for name in ff.activation_names()),
        "leaky_relu(0.3)",
        "leaky_relu(-2.0)",
        "elu(1e-05)",
        "elu(0.25)",
    ],
)
def test_str_is_the_short_name(text):
    phi = ff.Activation(text)
    assert ff.Activation(str(phi)) == phi
    written = {"leaky_relu": "leaky_relu(0.01)", "elu": "elu(1.0)", "celu": "celu(1.0)"}
    assert str(phi) == {**written, GIVEN["polynomial"]: "polynomial(0.5, -1.0, 0.0, 0.25)"}.get(text, text)


@given(st.sampled_from(sorted(PARAMETRISED)), st.floats(-10, 10))
def test_str_gives_the_activation_back(name, value):
    phi = ff.Activation(name, **{PARAMETRISED[name]: value})
    assert ff.Activation(str(phi)) == phi


def square(x):
    return x * x


def twice(x):
    return 2 * x


def ramp(x):
    return np.where(x > 0, np.sin(x), 0.3 * x)


def test_callables_are_compared_by_identity_slope_and_kinks():
    assert ff.Activation(square) == ff.Activation(square)
    assert ff.Activation(square, slope=twice) == ff.Activation(square, slope=twice)
    assert ff.Activation(square) != ff.Activation(square, slope=twice)
    assert ff.Activation(square) != ff.Activation(twice)
    assert ff.Activation(ramp, kinks=[1, 0.0, 1.0]) == ff.Activation(ramp, kinks=(0, 1))
    assert ff.Activation(ramp, kinks=[0]) != ff.Activation(ramp)
    assert ff.Activation(ramp, kinks=iter([1, 0])).kinks == (0.0, 1.0)
    assert str(ff.Activation(ramp, kinks=[0])) == "ramp"
    assert repr(ff.Activation(ramp, slope=twice, kinks=[0])) == f"Activation({ramp!r}, slope={twice!r}, kinks=[0.0])"


@pytest.mark.parametrize(
    "phi",
    [
        ff.Activation(square),
        ff.Activation(square, slope=twice),
        ff.Activation(ramp, kinks=[0.0]),
        ff.Activation(np.tanh),
    ],
    ids=str,
)
def test_a_callable_of_a_module_is_pickled_with_slope_and_kinks(phi):
    for twin in equal_copies(phi):
        assert twin == phi
        assert hash(twin) == hash(phi)
        assert twin.derivative(0.7) == phi.derivative(0.7)


def test_a_function_without_a_name_is_not_pickled():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(ff.Activation(lambda x: x))


def test_an_activation_cannot_be_changed():
    phi = ff.Activation("leaky_relu")
    for name in ("slope", "function", "color"):
        sentence = re.escape(f"an Activation cannot be changed (tried to set {name!r})")
        with pytest.raises(AttributeError, match=f"^{sentence}$"):
            setattr(phi, name, 0.5)
    assert phi == ff.Activation("leaky_relu")


def test_an_attribute_cannot_be_deleted():
    with pytest.raises(AttributeError, match="an Activation cannot be changed"):
        del ff.Activation("leaky_relu").slope


# refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: ff.Activation("rleu"),
            f"activation must be one of {NAMES}, or a callable, got 'rleu' (did you mean 'relu'?)",
        ),
        (
            lambda: ff.Activation("leakyrelu(0.1)"),
            f"activation must be one of {NAMES}, or a callable, got 'leakyrelu(0.1)' (did you mean 'leaky_relu'?)",
        ),
        (lambda: ff.Activation("xyz"), f"activation must be one of {NAMES}, or a callable, got 'xyz'"),
        (lambda: ff.Activation(""), f"activation must be one of {NAMES}, or a callable, got ''"),
        (lambda: ff.Activation("relu(0.1)"), "activation 'relu' takes no parameter, got 'relu(0.1)'"),
        (lambda: ff.Activation("relu()"), "activation 'relu' takes no parameter, got 'relu()'"),
        (lambda: ff.Activation("relu", slope=0.1), "activation 'relu' takes no parameter, got slope=0.1"),
        (lambda: ff.Activation("tanh", alpha=1.0), "activation 'tanh' takes no parameter, got alpha=1.0"),
        (lambda: ff.Activation("elu", slope=0.1), "activation 'elu' takes one number, alpha, got slope=0.1"),
        (lambda: ff.Activation("leaky_relu", alpha=1), "activation 'leaky_relu' takes one number, slope, got alpha=1"),
        (lambda: ff.Activation("leaky_relu()"), "activation 'leaky_relu' takes one number, slope, got 'leaky_relu()'"),
        (lambda: ff.Activation("elu(a)"), "activation 'elu' takes one number, alpha, got 'elu(a)'"),
        (lambda: ff.Activation("elu(1"), "activation 'elu' takes one number, alpha, got 'elu(1'"),
        (lambda: ff.Activation("elu(1, 2)"), "activation 'elu' takes one number, alpha, got 'elu(1, 2)'"),
        (lambda: ff.Activation("elu(nan)"), "alpha must be finite and at most 1e+100 in size, got nan"),
        (lambda: ff.Activation("elu", alpha=math.inf), "alpha must be finite and at most 1e+100 in size, got inf"),
        (
            lambda: ff.Activation("leaky_relu", slope=1e101),
            "slope must be finite and at most 1e+100 in size, got 1e+101",
        ),
        (lambda: ff.Activation("relu", kinks=[0.0]), "kinks belong to callables, got kinks=[0.0] for 'relu'"),
        (
            lambda: ff.Activation(np.tanh, alpha=1.0),
            "alpha belongs to elu and celu alone, got alpha=1.0 for a callable",
        ),
        (
            lambda: ff.Activation(np.tanh, n=2),
            "n belongs to monomial and rectified_monomial and hermite alone, got n=2 for a callable",
        ),
        (
            lambda: ff.Activation(np.tanh, coefficients=[2]),
            "coefficients belong to polynomial alone, got coefficients=[2] for a callable",
        ),
        (lambda: ff.Activation("monomial"), "activation 'monomial' takes one whole number, n, got 'monomial'"),
        (lambda: ff.Activation("monomial()"), "activation 'monomial' takes one whole number, n, got 'monomial()'"),
        (lambda: ff.Activation("hermite(1, 2)"), "activation 'hermite' takes one whole number, n, got 'hermite(1, 2)'"),
        (lambda: ff.Activation("hermite", alpha=1), "activation 'hermite' takes one whole number, n, got alpha=1"),
        (lambda: ff.Activation("monomial(2.5)"), "n must be a whole number from 0 to 32, got 2.5"),
        (lambda: ff.Activation("monomial(-1)"), "n must be a whole number from 0 to 32, got -1.0"),
        (lambda: ff.Activation("monomial", n=33), "n must be a whole number from 0 to 32, got 33"),
        (lambda: ff.Activation("hermite", n=-1), "n must be a whole number from 0 to 32, got -1"),
        (lambda: ff.Activation("celu(0)"), "alpha must be finite and > 0, got 0.0"),
        (lambda: ff.Activation("celu", alpha=-1.0), "alpha must be finite and > 0, got -1.0"),
        (
            lambda: ff.Activation("polynomial()"),
            "activation 'polynomial' takes coefficients, those of 1, x, x^2, ..., got 'polynomial()'",
        ),
        (
            lambda: ff.Activation("polynomial"),
            "activation 'polynomial' takes coefficients, those of 1, x, x^2, ..., got 'polynomial'",
        ),
        (lambda: ff.Activation("polynomial", coefficients=[]), "coefficients must be 1 to 33 numbers, got 0"),
        (lambda: ff.Activation("polynomial", coefficients=range(34)), "coefficients must be 1 to 33 numbers, got 34"),
        (
            lambda: ff.Activation("polynomial(1, inf)"),
            "coefficients must be finite and at most 1e+100 in size, got inf",
        ),
        (lambda: ff.Activation(np.tanh, kinks=range(9)), "kinks must be at most 8 points, got 9"),
        (
            lambda: ff.Activation(np.tanh, kinks=[0.0, math.nan]),
            "kinks must be finite and at most 1e+100 in size, got nan",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ff.Activation(3), "activation must be a name, a callable or an Activation, got 3"),
        (lambda: ff.Activation(None), "activation must be a name, a callable or an Activation, got None"),
        (lambda: ff.Activation(b"relu"), "activation must be a name, a callable or an Activation, got b'relu'"),
        (lambda: ff.Activation(["relu"]), "activation must be a name, a callable or an Activation, got ['relu']"),
        (lambda: ff.Activation(np.tanh, slope=0.5), "slope of a callable activation must be a callable, got 0.5"),
        (
            lambda: ff.Activation("leaky_relu", slope=np.tanh),
            f"slope must be finite and at most 1e+100 in size, got {np.tanh!r}",
        ),
        (lambda: ff.Activation("elu", alpha="1"), "alpha must be finite and at most 1e+100 in size, got '1'"),
        (lambda: ff.Activation("elu", alpha=True), "alpha must be finite and at most 1e+100 in size, got True"),
        (lambda: ff.Activation("monomial", n=2.5), "n must be a whole number from 0 to 32, got 2.5"),
        (lambda: ff.Activation("monomial", n="2"), "n must be a whole number from 0 to 32, got '2'"),
        (lambda: ff.Activation("monomial", n=True), "n must be a whole number from 0 to 32, got True"),
        (
            lambda: ff.Activation("polynomial", coefficients=2.0),
            "coefficients must be a sequence of 1 to 33 numbers, got 2.0",
        ),
        (
            lambda: ff.Activation("polynomial", coefficients=[1, "2"]),
            "coefficients must be finite and at most 1e+100 in size, got '2'",
        ),
        (lambda: ff.Activation(np.tanh, kinks="0"), "kinks must be a sequence of numbers, got '0'"),
        (lambda: ff.Activation(np.tanh, kinks=[None]), "kinks must be finite and at most 1e+100 in size, got None"),
    ],
)
def test_a_wrong_type_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        make()


def test_kinks_that_are_no_sequence_are_refused_by_name():
    with pytest.raises(TypeError, match=r"^kinks must be "):
        ff.Activation(np.tanh, kinks=0.0)


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ValueError, match="slope"):
        ff.Activation("leaky_relu(0.1)", slope=0.2)
    with pytest.raises(ValueError, match=r"^n must be given once, got 'monomial\(2\)' and n=2$"):
        ff.Activation("monomial(2)", n=2)


def test_an_activation_of_an_activation_is_that_activation():
    for phi in (ff.Activation("relu"), ff.Activation("elu(0.3)"), ff.Activation(ramp, slope=np.cos, kinks=[0.0, 1.0])):
        assert ff.Activation(phi) == phi
        for more in ({"slope": 0.5}, {"alpha": 0.5}, {"n": 2}, {"coefficients": [1]}, {"kinks": [2.0]}):
            with pytest.raises(ValueError, match=r"^parameters and kinks are already those of the activation given"):
                ff.Activation(phi, **more)


def test_kinks_too_close_for_differences_are_refused_unless_the_slope_is_given():
    for gap in (0.05, 0.1, 0.129):
        sentence = f"kinks of a callable without slope must lie 0.13 apart or more, got [0.0, {gap}]"
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            ff.Activation(ramp, kinks=[0.0, gap])
    assert ff.Activation(ramp, slope=np.cos, kinks=[0.0, 0.05]).kinks == (0.0, 0.05)
    assert ff.Activation(ramp, kinks=[0.0, 0.5]).kinks == (0.0, 0.5)


# callables ------------------------------------------------------------------------------------------------------------

SMOOTH = {
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "gelu": (lambda x: x * ndtr(x), lambda x: ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
    "square": (square, twice),
    "sin": (np.sin, np.cos),
    "gaussian": (lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(x=st.floats(-8, 8))
def test_the_derivative_of_a_smooth_callable_is_formed_by_differences(name, x):
    function, slope = SMOOTH[name]
    phi = ff.Activation(function)
    assert phi(x) == function(x)
    # eighth order on steps of 0.01: h^8 f^(9)/630 = 1e-16 times 3e4 (exp(-x^2)); rounding eps/h of the function
    assert abs(phi.derivative(x) - slope(x)) <= 1e-11 + 1e-13 * abs(function(x))


OFFSETS = (1e-12, 1e-6, 1e-3, 0.01, 0.0399, 0.0401, 0.079, 0.08, 0.081, 0.5)


@pytest.mark.parametrize("kink", [0.0, -1.3, 2.5])
def test_differences_do_not_reach_across_a_kink(kink):
    phi = ff.Activation(lambda x: np.where(x >= kink, np.sin(x), 3 * x + np.exp(-x)), kinks=[kink])
    for offset in OFFSETS:
        right, left = kink + offset, kink - offset
        assert phi.derivative(right) == pytest.approx(np.cos(right), abs=1e-9)
        assert phi.derivative(left) == pytest.approx(3 - np.exp(-left), abs=1e-9)
    assert phi.derivative(kink) == pytest.approx(np.cos(kink), abs=1e-9)  # the kink itself: the right-hand side


def test_differences_do_not_touch_a_kink_at_the_edge_of_their_reach():
    phi = ff.Activation(lambda x: np.where(x >= 2.5, np.sin(x), 3 * x), kinks=[2.5])
    for steps in (0.04, 0.045, 0.05, 0.08):
        for x in (np.nextafter(2.5 - steps, 0), 2.5 - steps, np.nextafter(2.5 - steps, 3)):
            assert phi.derivative(x) == pytest.approx(3.0, abs=1e-9)
            assert phi.derivative(5 - x) == pytest.approx(np.cos(5 - x), abs=1e-9)


def folds(kinks):
    return lambda x: np.sin(x) + sum(np.abs(x - kink) for kink in kinks)


@given(
    first=st.floats(-2, 2),
    gaps=st.lists(st.floats(0.1301, 1.0), max_size=7),
    place=st.floats(-0.5, 0.5),
    data=st.data(),
)
def test_differences_hold_between_any_kinks(first, gaps, place, data):
    kinks = list(np.cumsum([first, *gaps]))
    x = data.draw(st.sampled_from(kinks)) + place
    assume(min(abs(x - kink) for kink in kinks) > 1e-9)
    expected = np.cos(x) + sum(np.sign(x - kink) for kink in kinks)
    assert ff.Activation(folds(kinks), kinks=kinks).derivative(x) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("gap", [0.1301, 0.14, 0.16])
def test_kinks_as_close_as_is_allowed_leave_room_for_the_differences(gap):
    phi = ff.Activation(folds([0.0, gap]), kinks=[0.0, gap])
    x = np.linspace(0.001, gap - 0.001, 50)
    assert np.abs(phi.derivative(x) - np.cos(x)).max() < 1e-9


@pytest.mark.parametrize(
    ("function", "kinks"),
    [(lambda x: 1.0 * (x > 0), [0.0]), (np.round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])],
    ids=["step", "round"],
)
def test_a_callable_of_flat_pieces_has_slope_zero(function, kinks):
    phi = ff.Activation(function, kinks=kinks)
    assert ff.gaussian.slope_mean(phi, 0.1) == pytest.approx(0.0, abs=1e-9)
    assert ff.gaussian.slope_second_moment(phi, 0.1) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("q", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("which", ["mean", "second_moment", "slope_mean", "slope_second_moment"])
def test_a_callable_has_the_moments_of_the_name(which, q):
    moment = getattr(ff.gaussian, which)
    relu = ff.Activation(lambda x: np.maximum(x, 0.0), kinks=[0.0])
    for phi, name in ((np.tanh, "tanh"), (lambda x: x * ndtr(x), "gelu"), (relu, "relu")):
        assert moment(phi, q, shift=0.3) == pytest.approx(moment(name, q, shift=0.3), rel=1e-9)


def test_a_callable_gives_the_network_of_the_name():
    for make in (
        lambda phi: ff.mlp([20, 300, 300, 3], phi),
        lambda phi: ff.convnet((1, 3, 3), [20], 3, activation=phi),
    ):
        named = ff.fisher(make("tanh"), samples=100, overlap=0.1).lambda_max
        assert ff.fisher(make(np.tanh), samples=100, overlap=0.1).lambda_max == pytest.approx(named, rel=1e-9)


# mistakes of a caller's function --------------------------------------------------------------------------------------


def within(seconds, call):
    """What `call` raises, or None; from a thread of its own, so that a deadlock fails instead of hanging."""
    caught = []

    def work():
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still at work after {seconds} s"
    return caught[0] if caught else None


class Mine(Exception):
    pass


def raises(x):
    raise Mine("my own mistake")


MISTAKES = {
    "raises": (raises, Mine, "my own mistake"),
    "one number": (lambda x: 1.0, ValueError, "{} must map an array to an array of the same shape, got 1 values for "),
    "one short": (lambda x: x[:-1], ValueError, "{} must map an array to an array of the same shape, got "),
    "nan": (
        lambda x: np.where(x > 0.5, np.nan, x),
        ValueError,
        "{} must be finite where it is integrated, got nan at x = ",
    ),
    "inf": (
        lambda x: np.where(x < -0.5, -np.inf, x),
        ValueError,
        "{} must be finite where it is integrated, got -inf at x = -",
    ),
    "None": (lambda x: None, ValueError, "{} must "),
}
NETWORKS = {
    "dense": lambda phi: ff.mlp([20, 300, 300, 3], phi),
    "convolutional": lambda phi: ff.convnet((1, 6, 6), [30, 20], 3, activation=phi),
    "convolutional without BatchNorm": lambda phi: ff.convnet((1, 6, 6), [30], 3, activation=phi, batch_norm=False),
}
CALLS = {
    "mean": lambda phi: ff.gaussian.mean(phi, np.linspace(0.5, 2.0, 20)),
    "slope_mean": lambda phi: ff.gaussian.slope_mean(phi, 1.0),
    "covariance": lambda phi: ff.gaussian.covariance(phi, 1.0, 2.0, 0.3),
    **{f"fisher, {name}": lambda phi, make=make: ff.fisher(make(phi), samples=60) for name, make in NETWORKS.items()},
    "order_parameters": lambda phi: ff.order_parameters(NETWORKS["dense"](phi)),
    "max_learning_rate": lambda phi: ff.max_learning_rate(NETWORKS["convolutional"](phi)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("call", CALLS)
def test_a_mistake_in_the_activation_comes_out_as_itself(threads, call, mistake):
    function, error, beginning = MISTAKES[mistake]
    for count in (1, 4):
        threads(count)
        caught = within(60, lambda: CALLS[call](ff.Activation(function, slope=np.cos)))
        assert type(caught) is error
        assert str(caught).startswith(beginning.format("activation"))


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("call", ["slope_mean", "fisher, dense", "fisher, convolutional without BatchNorm"])
def test_a_mistake_in_the_slope_comes_out_as_itself(threads, call, mistake):
    function, error, beginning = MISTAKES[mistake]
    for count in (1, 4):
        threads(count)
        caught = within(60, lambda: CALLS[call](ff.Activation(np.tanh, slope=function)))
        assert type(caught) is error
        assert str(caught).startswith(beginning.format("slope"))


def test_a_mistake_without_slope_comes_out_too():
    for mistake in ("raises", "one number", "nan"):
        function, error, _ = MISTAKES[mistake]
        for call in CALLS.values():
            assert type(within(60, lambda call=call, function=function: call(function))) is error


@pytest.mark.parametrize(
    "function", [lambda x: "a", lambda x: np.full(x.shape, "a"), lambda x: {}], ids=["str", "strs", "dict"]
)
def test_an_activation_that_returns_no_numbers_is_told_so(function):
    phi = ff.Activation(function, slope=np.cos)
    for call in (lambda: phi(1.0), *(lambda call=call: call(phi) for call in CALLS.values())):
        caught = within(60, call)
        assert isinstance(caught, (TypeError, ValueError))
        assert "activation" in str(caught)


def test_after_a_mistake_everything_works_as_before(threads):
    threads(4)
    expected = ff.fisher(NETWORKS["convolutional"]("relu"), samples=60).lambda_max
    for function, error, _ in MISTAKES.values():
        net = NETWORKS["convolutional"](ff.Activation(function, slope=np.cos))
        with pytest.raises(error):
            ff.fisher(net)
        assert ff.fisher(NETWORKS["convolutional"]("relu"), samples=60).lambda_max == expected


def test_a_mistake_that_comes_late_comes_out_too(threads):
    threads(4)
    calls = []

    def late(x):
        calls.append(x.size)
        if len(calls) > 30:
            raise Mine("after 30 calls")
        return np.tanh(x)

    caught = within(60, lambda: ff.fisher(ff.convnet((1, 6, 6), [30, 20], 3, activation=late)))
    assert type(caught) is Mine


def test_an_activation_may_call_this_library_and_other_threads_may_run_meanwhile(threads):
    threads(3)
    tanh = ff.Activation("tanh")
    net = ff.convnet(
        (1, 3, 3), [30], 3, activation=ff.Activation(lambda x: tanh(x), slope=lambda x: tanh.derivative(x))
    )
    values = []
    workers = [threading.Thread(target=lambda: values.append(ff.fisher(net).lambda_max), daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(values) == 4
    assert len(set(values)) == 1
    assert values[0] == pytest.approx(
        ff.fisher(ff.convnet((1, 3, 3), [30], 3, activation="tanh")).lambda_max, rel=1e-12
    )


# threads --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", ["gelu", "relu", ff.Activation(np.tanh, slope=lambda x: 1 - np.tanh(x) ** 2)], ids=str)
def test_the_number_of_threads_does_not_change_a_bit(threads, phi):
    net = ff.convnet((2, 3, 3), [30, 20], 3, stride=1, activation=phi, batch_norm=False)
    values = []
    for count in (1, 2, 7):
        threads(count)
        values.append(ff.fisher(net, samples=60, overlap=0.1).lambda_max)
    assert len(set(values)) == 1


@given(count=st.integers(1, 4096))
@settings(max_examples=20)
def test_the_number_of_threads_is_what_was_set(count):
    before = ff.num_threads()
    try:
        assert ff.set_num_threads(count) is None
        assert ff.num_threads() == count
        ff.set_num_threads(np.int64(count))
        assert ff.num_threads() == count
    finally:
        ff.set_num_threads(before)


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (0, ValueError), (-1, ValueError), (4097, ValueError), (10**30, ValueError), (1.5, TypeError),
        (True, TypeError), ("4", TypeError), (None, TypeError), (math.nan, TypeError), ([2], TypeError),
    ],
)  # fmt: skip
def test_a_number_of_threads_that_cannot_be_is_refused_in_a_sentence(count, error):
    before = ff.num_threads()
    allowed = "from 1 to 4096" if isinstance(count, int) and count > 4096 else ">= 1"
    sentence = f"threads must be a whole number {allowed}, got {count!r}"
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        ff.set_num_threads(count)
    assert ff.num_threads() == before


@pytest.mark.parametrize(("text", "expected"), [("3", "3"), ("1", "1"), (None, None), ("0", None)])
def test_the_environment_sets_the_number_of_threads_at_the_start(text, expected):
    environment = {key: value for key, value in os.environ.items() if key != "FISHERFIELD_NUM_THREADS"}
    if text is not None:
        environment["FISHERFIELD_NUM_THREADS"] = text
    code = "import fisherfield as ff; print(ff.num_threads()); ff.set_num_threads(2); print(ff.num_threads())"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    first, second = out.stdout.split()
    assert int(first) >= 1
    assert expected in (None, first)
    assert second == "2"
