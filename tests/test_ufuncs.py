# SPDX-License-Identifier: BSD-3-Clause
"""The ufuncs of Gaussian integrals: right by mpmath on every path, and ufuncs in every respect."""

import functools
import os
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core, gaussian
from fisherfield.gaussian import ufuncs

PLAIN = ("linear", "relu", "leaky_relu", "abs", "step", "sign", "erf", "sin", "cos", "exp", "gaussian", "rbf", "gelu")
SUMS = ("tanh", "sigmoid", "softplus", "silu")  # over pairs of noises, whose truth takes 20 ms a point
KERNELS = PLAIN + SUMS
MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")
EPS = np.finfo(float).eps
SLOPE = -0.3  # leaky_relu's: terms of both signs
mp = mpmath.mp.clone()
mp.dps = 60


def kernel(name, which, one_minus_c=False):
    return getattr(ufuncs, f"{name}_{which}" + "_one_minus_c" * one_minus_c)


def extra(name):
    return (SLOPE,) if name == "leaky_relu" else ()


def points(count=300, seed=0):
    """q1, q2, 1 - c: q on two logarithmic scales, often equal; 1 - c close to 0, close to 2 and between."""
    rng = np.random.default_rng(seed)
    wide = rng.random((2, count)) < 0.5
    q1, q2 = 10 ** np.where(wide, rng.uniform(-8, 8, (2, count)), rng.uniform(-2, 2, (2, count)))
    q2 = np.where(rng.random(count) < 0.4, q1, q2)
    near = 10 ** rng.uniform(-15, 0, count)
    rest = np.choose(np.arange(count) % 3, [near, 2.0 - near, rng.uniform(0, 2, count)])
    rest[:4] = 0.0, 2.0, 1.0, 1e-300
    return q1, q2, rest


@functools.cache
def logistic_noises():
    """Variances 4 K^2 and weights, K of Kolmogorov's law: the trapezoidal rule in log K, both series of its density.

    The density is analytic for |arg K| < pi/4: a step of h leaves e^-(pi^2/2h), 1e-20.
    """
    step, noises = mp.mpf("0.105"), []
    for i in range(-18, 17):
        k = mp.exp(i * step)
        if k < 1:
            exponents = [(2 * j - 1) ** 2 * mp.pi**2 / (8 * k * k) for j in range(1, 8)]
            density = mp.sqrt(2 * mp.pi) / k**2 * sum((2 * x - 1) * mp.exp(-x) for x in exponents)
        else:
            density = 8 * k * sum(-((-1) ** j) * j * j * mp.exp(-2 * j * j * k * k) for j in range(1, 8))
        noises.append((4 * k * k, step * k * density))
    return noises


@functools.cache
def noise_sums(name, q1, q2, rest):
    """E phi phi, what it adds up, E phi' phi', what it adds up: step and relu, smoothed by every pair of noises."""
    q1, q2, plus, c = mp.mpf(q1), mp.mpf(q2), 2 - rest, 1 - rest
    e, p = q1 * q2 * rest * plus, c * mp.sqrt(q1 * q2)
    sums = [mp.mpf(0)] * 4
    noises = [(a / 4 if name == "tanh" else a, w) for a, w in logistic_noises()]
    for a, v in noises:
        for b, w in noises:
            d, h = e + a * q2 + b * q1 + a * b, a / (q1 + a) + b / (q2 + b)
            root, angle = mp.sqrt(d), mp.atan2(mp.sqrt(d), -p)
            if name == "tanh":
                terms = [4 * mp.atan2(p, root), 4 * abs(mp.atan2(p, root)), 4 / root, 4 / root]
            elif name == "sigmoid":
                terms = [angle, angle, 1 / root, 1 / root]
            elif name == "softplus":
                terms = [root + p * angle, root + p * angle, angle, angle]
            else:
                value, size = p * angle + (e + p * p * h) / root, abs(p) * angle + (e + p * p * h) / root
                if p < 0:
                    size = min(size, a * b / root + h * root + (root + p * angle))
                turn = p * (h + a * b / d) / root
                terms = [value, size, angle + turn, angle + abs(turn)]
            sums = [s + v * w * term for s, term in zip(sums, terms, strict=True)]
    return [s / (2 * mp.pi) for s in sums]


def truth(name, which, q1, q2, rest):
    """The integral of two at 60 digits, and the size of what it adds up: e^-x counts 1 + x times, for x is rounded."""
    if name in SUMS:
        sums = noise_sums(name, q1, q2, mp.mpf(rest))
        return sums[:2] if which == "covariance" else sums[2:]
    a, b, rest = mp.mpf(q1), mp.mpf(q2), mp.mpf(rest)
    value, c = which == "covariance", 1 - rest
    r, plus = mp.sqrt(a * b), 2 - rest
    p = c * r
    away = mp.pi - 2 * mp.asin(mp.sqrt(rest / 2)) if rest < 1 else 2 * mp.asin(mp.sqrt(plus / 2))  # pi - t
    relu, step = (mp.sin(away) - away * mp.cos(away)) / (2 * mp.pi), away / (2 * mp.pi)
    minus_p, plus_p = p - (a + b) / 2, -p - (a + b) / 2
    erf, exps = 1 + 2 * a + 2 * b + 4 * a * b * rest * plus, 1 + a + b + a * b * rest * plus
    sine = (mp.exp(minus_p) - mp.exp(plus_p)) / 2, (mp.exp(minus_p) + mp.exp(plus_p)) / 2
    larger = 1 + min(abs(minus_p), abs(plus_p))
    if name == "leaky_relu":
        s = mp.mpf(SLOPE)
        terms = (r * s * c, r * (1 - s) ** 2 * relu) if value else (s, (1 - s) ** 2 * step)
        return sum(terms), sum(abs(term) for term in terms)
    if name == "gelu":
        e, h = exps + p * p, (2 + a + b) / ((1 + a) * (1 + b))
        first = (a * b * rest * plus + p * p * h) / mp.sqrt(exps)
        angle = mp.atan2(mp.sqrt(exps), -p)  # pi - t
        terms = (first, p * angle) if value else (angle, p * (h + 1 / exps) / mp.sqrt(exps))
        assert e > 0
        return sum(terms) / (2 * mp.pi), sum(abs(term) for term in terms) / (2 * mp.pi)
    result = {
        "linear": (p, 1),
        "relu": (r * relu, step),
        "abs": (4 * r * relu - p, 2 / mp.pi * mp.asin(c)),
        "step": (step, 0),
        "sign": (2 / mp.pi * mp.asin(c), 0),
        "erf": (2 / mp.pi * mp.atan2(2 * p, mp.sqrt(erf)), 4 / mp.pi / mp.sqrt(erf)),
        "sin": sine,
        "cos": sine[::-1],
        "exp": (mp.exp(-plus_p), mp.exp(-plus_p)),
        "gaussian": (1 / mp.sqrt(exps), p / exps ** mp.mpf(1.5)),
        "rbf": (mp.exp(2 * minus_p), 2 * mp.exp(2 * minus_p)),
    }[name][not value]
    scale = {"sin": larger, "cos": larger, "exp": 1 + abs(plus_p), "rbf": 1 + 2 * abs(minus_p)}.get(name, 1)
    return mp.mpf(result), abs(result) * scale


@pytest.mark.parametrize("which", COVARIANCES)
@pytest.mark.parametrize("name", KERNELS)
def test_every_path_is_right_to_4_eps_of_what_it_adds_up(name, which, path):
    """Seen over 10^4 points: 2.7 eps. Both forms are given numbers that are exact for them."""
    q1, q2, rest = points(36 if name in SUMS else 300)
    c = 1.0 - rest
    for near in (True, False):
        exact = [truth(name, which, *x) for x in zip(q1, q2, rest if near else [1 - mp.mpf(x) for x in c], strict=True)]
        for each in _core.simd_paths():
            path(each)
            with np.errstate(over="ignore"):
                got = kernel(name, which, near)(q1, q2, rest if near else c, *extra(name))
            for x, (value, size) in zip(got, exact, strict=True):
                if abs(value) > mp.mpf(1e308):
                    assert np.isinf(x)
                else:  # 1e-307: below, digits are lost
                    assert abs(mp.mpf(x) - value) <= 4 * EPS * size + mp.mpf(1e-307), (each, float(value))


@pytest.mark.parametrize(
    "name", ["relu", "abs", "step", "erf", "sign", "gaussian", "linear", "tanh", "sigmoid", "softplus"]
)
def test_paths_agree_to_the_last_digits(name, path):
    q1, q2, rest = points(2000, seed=1)
    for which in COVARIANCES:
        results = []
        for each in _core.simd_paths():
            path(each)
            results.append(kernel(name, which)(q1, q2, 1.0 - rest))
        # seen over 10^6 points: 2.2 eps, and 3.1 where 256 terms are added up; each path errs by up to 2.7
        allowed = (3.5 if name in SUMS else 2.2) * EPS
        for other in results[1:]:
            assert np.all(np.abs(other - results[0]) <= allowed * np.abs(results[0]))


@pytest.mark.parametrize("which", MOMENTS)
@pytest.mark.parametrize("name", KERNELS)
def test_moments_are_those_of_the_covariance_s_ends(name, which, path):
    q = 10.0 ** np.linspace(-8, 8, 67)
    for each in _core.simd_paths():
        path(each)
        with np.errstate(over="ignore"):
            moment = kernel(name, which)(q, *extra(name))
            pair = kernel(name, "slope_covariance" if "slope" in which else "covariance")
            if "second" in which:
                expected = pair(q, q, 1.0, *extra(name))
            else:
                expected = np.sqrt(pair(q, q, 0.0, *extra(name)))
        # e^-x: x eps besides; a square root halves an error, and what is below 1e-150 has no square
        size = np.ones(67) + (np.abs(np.log(np.maximum(moment, 1e-300))) if name in ("sin", "cos", "exp", "rbf") else 0)
        shown = np.isfinite(moment) & np.isfinite(expected) & (moment > 1e-150)
        assert np.all(np.abs(expected[shown] / moment[shown] - 1) <= 8 * EPS * size[shown])


@pytest.mark.parametrize("which", COVARIANCES)
@pytest.mark.parametrize("name", KERNELS)
def test_bounds_hold_and_are_no_more_than_1000_times_too_large(name, which):
    q1, q2, rest = points(30 if name in SUMS else 150, seed=2)
    phi = ff.Activation(name, slope=SLOPE) if name == "leaky_relu" else name
    with np.errstate(over="ignore"):
        values, bounds = getattr(gaussian, which)(phi, q1, q2, one_minus_c=rest, error=True)
        alone = getattr(gaussian, which)(phi, q1, q2, one_minus_c=rest)
    assert np.array_equal(values, alone)
    for x, bound, *at in zip(values, bounds, q1, q2, rest, strict=True):
        value, size = truth(name, which, *at)
        if abs(value) < mp.mpf(1e308):
            error = abs(mp.mpf(x) - value)
            assert error <= bound
            # what cancels is bounded by what is added up
            assert bound <= 1000 * max(error, EPS * abs(value), EPS * size) + 1e-300


# corners -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_is_nan_in_any_corner(name):
    q = np.array([0.0, 5e-324, 1e-200, 1e-60, 1e-8, 1.0, 1e8, 1e29])[:, None, None]
    c = np.array([-1.0, -1 + EPS, -0.5, -1e-300, 0.0, 1e-100, 0.5, 1 - EPS / 2, 1.0])
    with np.errstate(all="raise", over="ignore"):
        for which in COVARIANCES:
            assert not np.any(np.isnan(kernel(name, which)(q, q[:, 0], c, *extra(name))))
            assert not np.any(np.isnan(kernel(name, which, True)(q, q[:, 0], 1 - c, *extra(name))))
            assert not np.any(np.isnan(kernel(name, which)(1e100, 1e100, c[np.abs(c) > 1e-50], *extra(name))))
        for which in MOMENTS:
            assert not np.any(np.isnan(kernel(name, which)(q, *extra(name))))
            assert not np.any(np.isnan(kernel(name, which)(1e100, *extra(name))))


@pytest.mark.parametrize("tiny", [1e-59, 1e-61, 1e-120, 1e-200])
def test_variances_far_below_the_kernels_range_give_their_limit(tiny):
    assert ufuncs.relu_covariance(tiny, tiny, 0.5) == pytest.approx(
        tiny * ufuncs.relu_covariance(1.0, 1.0, 0.5), rel=1e-14
    )
    assert ufuncs.erf_covariance(tiny, 1.0, 0.5) == pytest.approx(
        2 / np.pi * 2 * 0.5 * np.sqrt(tiny) / np.sqrt(3.0), rel=1e-14
    )
    assert ufuncs.erf_covariance(1.0, 1.0, tiny) == pytest.approx(2 / np.pi * 2 * tiny / 3, rel=1e-14)


def test_a_zero_variance_is_a_point():
    for name in KERNELS:
        phi = ff.Activation(name)
        assert gaussian.mean(phi, 0.0) == phi(0.0)
        assert gaussian.covariance(phi, 0.0, 2.0, 0.5) == pytest.approx(
            float(phi(0.0)) * gaussian.mean(phi, 2.0), rel=1e-14
        )


# ufuncs --------------------------------------------------------------------------------------------------------------


# pickle asks every module for a ufunc's name, and mpmath 1.4 says that some of its own are old
@pytest.mark.filterwarnings("ignore:the .* module is deprecated:DeprecationWarning")
def test_every_name_is_a_ufunc_with_its_formula():
    assert len(ufuncs.__all__) == len(KERNELS) * 8
    assert dir(ufuncs) == sorted(ufuncs.__all__)
    for name in ufuncs.__all__:
        ufunc = getattr(ufuncs, name)
        assert type(ufunc) is np.ufunc
        assert ufunc.__name__ == name
        assert "E phi" in ufunc.__doc__
        assert pickle.loads(pickle.dumps(ufunc)) is ufunc
    assert not hasattr(ufuncs, "relo_mean")


def test_functions_take_the_same_ufuncs():
    q1, q2, rest = points()
    assert np.array_equal(gaussian.covariance("relu", q1, q2, 1 - rest), ufuncs.relu_covariance(q1, q2, 1 - rest))
    leaky = ff.Activation("leaky_relu", slope=0.25)
    assert np.array_equal(
        gaussian.covariance(leaky, q1, q2, one_minus_c=rest),
        ufuncs.leaky_relu_covariance_one_minus_c(q1, q2, rest, 0.25),
    )
    # a shift of 0 is none, wherever it stands
    shift = np.where(np.arange(300) % 7 == 0, 0.3, 0.0)
    for name in ("relu", "tanh"):
        shifted = gaussian.covariance(name, q1, q2, 1 - rest, shift=shift)
        assert np.array_equal(shifted[shift == 0], kernel(name, "covariance")(q1, q2, 1 - rest)[shift == 0])


@pytest.mark.parametrize("length", [*range(41), 63, 64, 65, 127, 128, 129, 1000])
def test_results_do_not_depend_on_length_place_or_stride(length, path):
    q1, q2, rest = points(1000, seed=3)
    c = 1 - rest
    for each in _core.simd_paths():
        path(each)
        for name in ("relu", "erf", "exp", "gelu", *SUMS):
            f = kernel(name, "covariance")
            with np.errstate(over="ignore"):
                whole = f(q1, q2, c)
                assert np.array_equal(f(q1[:length], q2[:length], c[:length]), whole[:length])
                assert np.array_equal(f(q1[::-3], q2[::-3], c[::-3])[:length], whole[::-3][:length])
                assert np.array_equal(f(q1[length:], q2[length:], c[length:]), whole[length:])
                if length:
                    assert f(q1[length - 1], q2[length - 1], c[length - 1]) == whole[length - 1]


def test_operands_broadcast():
    q = np.array([0.5, 1.0, 2.0])
    got = ufuncs.relu_covariance(q[:, None, None], q[:, None], np.linspace(-1, 1, 5))
    assert got.shape == (3, 3, 5)
    assert got[0, 2, 3] == ufuncs.relu_covariance(0.5, 2.0, 0.5)
    assert ufuncs.relu_mean(np.empty((0, 4))).shape == (0, 4)
    assert type(ufuncs.relu_mean(np.array(1.0))) is np.float64


@pytest.mark.parametrize("count", [2, 7])
def test_threads_change_no_bit(count, threads):
    q1, q2, rest = points(300_000, seed=4)
    threads(1)
    one = [kernel(name, "covariance", True)(q1, q2, rest) for name in ("relu", "erf", "gelu", "tanh")]
    threads(count)
    for name, expected in zip(("relu", "erf", "gelu", "tanh"), one, strict=True):
        assert np.array_equal(kernel(name, "covariance", True)(q1, q2, rest), expected)


def test_overflow_on_another_thread_is_reported(threads):
    threads(2)
    q = np.full(300_000, 1.0)
    q[-1] = 1e4
    with pytest.warns(RuntimeWarning, match="overflow encountered in exp_second_moment"):
        assert np.isinf(ufuncs.exp_second_moment(q)[-1])


def test_out_where_dtype_and_casting_are_numpy_s():
    q = np.array([1.0, 4.0, 9.0])
    out = np.full(3, -1.0)
    assert gaussian.mean("relu", q, out=out, where=[True, False, True]) is out
    assert np.array_equal(out, [gaussian.mean("relu", 1.0), -1.0, gaussian.mean("relu", 9.0)])
    # what is masked is not looked at
    gaussian.mean("relu", [-1.0, 4.0, np.nan], out=out, where=[False, True, False])
    assert out[1] == gaussian.mean("relu", 4.0)
    assert gaussian.mean("relu", q, dtype=np.float32).dtype == np.float32
    both = (np.empty(3), np.empty(3))
    assert gaussian.mean("tanh", q, shift=0.5, error=True, out=both)[1] is both[1]
    with pytest.raises(TypeError, match="same_kind"):
        ufuncs.relu_mean(q, out=np.empty(3, dtype=int))
    with pytest.raises(TypeError, match=r"^dtype must be float32 or float64, got <class 'complex'>$"):
        gaussian.mean("relu", q, dtype=complex)
    # in place
    expected = ufuncs.relu_covariance(q, q, 0.5)
    ufuncs.relu_covariance(q, q, 0.5, out=q)
    assert np.array_equal(q, expected)


def test_float32_is_computed_in_float64_and_rounded_once():
    q1, q2, rest = (x.astype(np.float32) for x in points())
    c = (1 - rest).astype(np.float32)
    for name in ("relu", "erf", "gelu"):
        wide = kernel(name, "covariance")(*(x.astype(float) for x in (q1, q2, c)))
        got = kernel(name, "covariance")(q1, q2, c)
        assert got.dtype == np.float32
        assert np.array_equal(got, wide.astype(np.float32))
        assert np.array_equal(kernel(name, "covariance")(q1[::-2], q2[::-2], c[::-2]), got[::-2])
    assert gaussian.covariance("tanh", np.float32(1), np.float32(2), 0.5).dtype == np.float32
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert np.isinf(ufuncs.exp_mean(np.float32([200.0])))


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_integers_are_float64(kind):
    q = np.array([1, 2], dtype=kind)
    assert ufuncs.relu_mean(q).dtype == np.float64
    assert np.array_equal(ufuncs.relu_covariance(q, 1, 0), ufuncs.relu_covariance(q.astype(float), 1.0, 0.0))
    assert ufuncs.relu_mean(np.float16([1])).dtype == np.float32
    assert ufuncs.relu_mean(np.longdouble([1])).dtype == np.float64


@pytest.mark.parametrize(
    "bad", [True, 1j, "1", None, [True], np.array([1j]), np.array(["a"]), [[1.0], [1.0, 2.0]]], ids=repr
)
def test_what_is_no_real_number_is_refused_in_a_sentence(bad):
    with pytest.raises(TypeError, match=r"^q must be a number or an array of numbers, got "):
        gaussian.mean("relu", bad)
    with pytest.raises(TypeError, match=r"^q2 must be a number or an array of numbers, got "):
        gaussian.covariance("tanh", 1.0, bad, 0.5)
    with pytest.raises((TypeError, ValueError)):
        ufuncs.relu_mean(bad)


@pytest.mark.parametrize("length", [1, 64, 100, 200_000])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1.0, 1.0, 0.5), "q1 must be from 0 to 1e+100, got -1.0"),
        ((1.0, 2e100, 0.5), "q2 must be from 0 to 1e+100, got 2e+100"),
        ((1.0, np.nan, 0.5), "q2 must be from 0 to 1e+100, got nan"),
        ((1.0, 1.0, -1.5), "c must be from -1 to 1, got -1.5"),
        ((1.0, 1.0, np.inf), "c must be from -1 to 1, got inf"),
    ],
    ids=str,
)
def test_a_bad_value_anywhere_is_refused_in_a_sentence(arguments, sentence, length):
    operands = [np.full(length, x) for x in (1.0, 1.0, 0.5)]
    for operand, value in zip(operands, arguments, strict=True):
        operand[length // 2] = value
    for f in (ufuncs.relu_covariance, lambda *x: gaussian.covariance("gelu", *x)):
        with pytest.raises(ValueError) as refusal:  # noqa: PT011
            f(*operands)
        assert str(refusal.value) == sentence


def test_leaky_relu_s_slope_is_an_operand():
    slopes = np.array([-2.0, 0.0, 0.01, 1.0])
    got = ufuncs.leaky_relu_covariance(1.0, 2.0, 0.3, slopes)
    assert got[1] == ufuncs.relu_covariance(1.0, 2.0, 0.3)
    assert got[3] == ufuncs.linear_covariance(1.0, 2.0, 0.3)
    with pytest.raises(ValueError, match=r"^slope must be from -1e\+100 to 1e\+100, got nan$"):
        ufuncs.leaky_relu_covariance(1.0, 2.0, 0.3, np.nan)


def test_errstate_rules_overflow():
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in exp_mean"):
        ufuncs.exp_mean(1e4)
    with np.errstate(over="ignore"):
        assert ufuncs.exp_mean(1e4) == np.inf
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert gaussian.mean("exp", 1e4, shift=1.0) == np.inf


def test_lanes_that_are_not_picked_raise_no_flag():
    q = np.linspace(0.0, 5.0, 200)
    with np.errstate(all="raise"):
        for name in KERNELS:
            for c in (-1.0, 0.0, 1.0):
                gaussian.covariance(name, q, q, c)
                gaussian.slope_covariance(name, q, q, c)


# paths ---------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_not_there_is_refused_in_a_sentence():
    offered = _core.simd_paths()
    assert offered[0] == "scalar"
    with pytest.raises(ValueError, match=rf"^path must be one of {', '.join(offered)}, got 'sse9'$"):
        ufuncs._set_path("sse9")


@pytest.mark.parametrize("name", ["scalar", "sse9"])
def test_the_environment_chooses_a_path(name):
    code = "import fisherfield; print(fisherfield._core.simd_path())"
    environment = {**os.environ, "FISHERFIELD_SIMD": name}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    if name == "scalar":
        assert out.stdout.split() == ["scalar"]
    else:
        assert out.stdout.split() == [_core.simd_paths()[-1]]
        assert "FISHERFIELD_SIMD must be one of scalar" in out.stderr


# everything else, by the same mechanism ------------------------------------------------------------------------------


def test_an_exception_in_a_callable_comes_through():
    def broken(x):
        raise ZeroDivisionError("mine")

    for q in (1.0, np.ones(2000)):
        with pytest.raises(ZeroDivisionError, match="mine"):
            gaussian.mean(broken, q, shift=0.5)


def test_a_callable_may_itself_ask_for_integrals():
    def nested(x):
        return x * gaussian.mean("relu", 1.0)

    assert gaussian.second_moment(nested, np.full(600, 2.0))[-1] == pytest.approx(2 / (2 * np.pi), rel=1e-9)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
@pytest.mark.parametrize("function", ["np.tanh", "lambda x: np.tanh(x)", "'mish'"])
def test_ctrl_c_stops_a_long_integral(function):
    code = f"""
import os, signal, threading, time, numpy as np, fisherfield as ff
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background lacks
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    ff.gaussian.covariance({function}, np.linspace(1, 2, 10**7), 1.0, 0.3, shift=0.1)
except KeyboardInterrupt:
    print("stopped")
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert out.stdout.split() == ["stopped"], out.stderr


def test_xarray_stays_xarray():
    xarray = pytest.importorskip("xarray")
    q = xarray.DataArray([1.0, 2.0, 3.0], dims="layer", coords={"layer": [1, 2, 3]})
    c = xarray.DataArray([-0.5, 0.5], dims="pair")
    for phi in ("relu", "gelu", "mish", np.tanh):
        got = gaussian.covariance(phi, q, q, c)
        assert got.dims == ("layer", "pair")
        assert np.array_equal(got.layer, [1, 2, 3])
        assert np.array_equal(got.values, gaussian.covariance(phi, q.values[:, None], q.values[:, None], c.values))
        value, bound = gaussian.covariance(phi, q, q, c, error=True)
        assert value.dims == bound.dims == ("layer", "pair")


def test_dask_stays_dask():
    dask = pytest.importorskip("dask.array")
    q = dask.linspace(0.5, 2.0, 10, chunks=4)
    for phi in ("relu", "mish"):
        got = gaussian.covariance(phi, q, q, 0.5)
        assert isinstance(got, dask.Array)
        assert got.chunks == q.chunks
        assert np.array_equal(got.compute(), gaussian.covariance(phi, q.compute(), q.compute(), 0.5))
        value, _ = gaussian.covariance(phi, q, q, 0.5, error=True)
        assert np.array_equal(value.compute(), got.compute())


CORE_ALONE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
received = []

def refuse(refusal):
    received.append((refusal.status, refusal.operand, refusal.received, refusal.tabulated))
    raise KeyError(refusal.operand)

mean = core.gaussian_ufunc(core.Activation("relu"), "mean", False, False, False, "value", "mean", "", refuse)
assert mean(0.0) == 0.0
try:
    mean([1.0, -2.0])
except KeyError:
    pass
assert received == [(core.Status.ok, "q", -2.0, False)], received
assert not [name for name in sys.modules if name.startswith("fisherfield")]
"""


def test_the_core_refuses_by_the_function_that_it_was_given_and_imports_no_module_of_the_package():
    subprocess.run([sys.executable, "-c", CORE_ALONE, _core.__file__], check=True)
