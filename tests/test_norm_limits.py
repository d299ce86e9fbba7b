# SPDX-License-Identifier: BSD-3-Clause
"""Normalisations at their ends: no gamma, a spread far below the mean. Judged by mpmath."""

import math

import mpmath
import numpy as np
import pytest

import fisherfield as ff

N, INPUTS, OVERLAP = 30, 20, 0.3
MP = mpmath.mp.clone()
MP.dps = 60
RELATIVE = 2e-12  # 1e-12 of the integrals (docs/theory.md, section 3), and a few roundings a layer


def both(net, **settings):
    return ff.fisher(net, overlap=OVERLAP, **settings), ff.reference.fisher(net, overlap=OVERLAP, **settings)


@pytest.mark.parametrize("norm", [ff.LayerNorm(0.0, 0.7, trained=True), ff.RMSNorm(0.0, trained=True)])
def test_where_gamma_is_0_the_gradient_by_a_trained_gamma_stays(norm):
    """Units are phi(beta) whatever the input, and d h/d gamma = phi'(beta) u with E u(x) u(y) = c."""
    net = ff.Network(INPUTS, [ff.Dense(N, 1.5, 0.25), norm, ff.Activation("sigmoid"), ff.Dense(3, 2.0, 0.5)])
    beta = MP.mpf(getattr(norm, "beta", 0.0))
    value = 1 / (1 + MP.exp(-beta))
    slope = value * (1 - value)
    c = (MP.mpf("0.25") + MP.mpf("1.5") * MP.mpf(OVERLAP)) / MP.mpf("1.75")
    of_beta = 1 if hasattr(norm, "beta") else 0
    b = N * value**2 + 1 + 2 * slope**2 * (of_beta + c)
    a = b + 2 * slope**2 * (1 - c)
    for result in both(net):
        assert math.isclose(result.a, a, rel_tol=1e-14)  # a dozen roundings
        assert math.isclose(result.b, b, rel_tol=1e-14)
    for gamma in (1e-5, 1e-7, 1e-9, 1e-20):
        near = ff.fisher(net.replace(gamma=gamma), overlap=OVERLAP)
        assert math.isclose(near.a, a, rel_tol=2 * gamma + RELATIVE)  # what is of order gamma
        assert math.isclose(near.b, b, rel_tol=2 * gamma + RELATIVE)


def taylor(first, slope_of, count):
    """The power series of f with f(0) = first and f' = slope_of(f, f^2), coefficient by coefficient."""
    series = [first]
    for k in range(count):
        square = sum(series[i] * series[k - i] for i in range(k + 1))
        series.append(slope_of(k, series[k], square) / (k + 1))
    return series


def tanh(beta, count):
    return taylor(MP.tanh(beta), lambda k, f, square: (k == 0) - square, count)


def softplus(beta, count):
    sigmoid = taylor(1 / (1 + MP.exp(-beta)), lambda k, f, square: f - square, count)
    return [MP.log1p(MP.exp(beta)), *(each / (k + 1) for k, each in enumerate(sigmoid))]


def hermite(series, g, count):
    """E f^(k)(beta + g u) for k < count, by f's series at beta: g is small."""
    derivative = [each * MP.factorial(k) for k, each in enumerate(series)]
    return [
        sum(derivative[k + 2 * j] * (g * g / 2) ** j / MP.factorial(j) for j in range((len(series) - k) // 2))
        for k in range(count)
    ]


@pytest.mark.parametrize("g", ["1e-2", "1e-6", "1e-12"])
@pytest.mark.parametrize("phi", [tanh, softplus])
def test_a_layer_norm_behind_phi_keeps_the_digits_of_a_small_spread(phi, g):
    """With h = phi(beta + g u): E phi phi = sum_k c^k/k! (g^k E phi^(k))^2, and of phi' the same one order on."""
    layers = [
        ff.Dense(N, 1.5, 0.25),
        ff.LayerNorm(float(g), 0.7),
        ff.Activation(phi.__name__),
        ff.LayerNorm(trained=True),
    ]
    net = ff.Network(INPUTS, [*layers, ff.Dense(3, 2.0, 0.5)])
    step, count = MP.mpf(float(g)), 8
    means = hermite(phi(MP.mpf(0.7), count + 24), step, count)
    overlap, q = MP.mpf(OVERLAP), MP.mpf("1.75")
    c = (MP.mpf("0.25") + MP.mpf("1.5") * overlap) / q

    def pair(c, order):
        first = 1 - order  # without the mean's square, of phi itself
        return sum(c**k / MP.factorial(k) * (step**k * means[k + order]) ** 2 for k in range(first, count - 1))

    covariance, variance = pair(c, 0), pair(MP.mpf(1), 0)
    slope, of_one = pair(c, 1), pair(MP.mpf(1), 1)
    scale = step**2 / q / variance
    own = INPUTS * overlap + 1
    o = scale * slope * own + 1 + covariance / variance
    total = scale * of_one * (INPUTS + 1) + 2
    b, a = N * covariance / variance + 1 + 2 * o, N + 1 + 2 * total
    for result in both(net):
        assert math.isclose(result.a, a, rel_tol=RELATIVE)
        assert math.isclose(result.b, b, rel_tol=RELATIVE)


@pytest.mark.parametrize("behind", [ff.Dropout(0.3), ff.RMSNorm(1.5, trained=True), ff.LayerNorm(0.5, 2.0)])
def test_means_go_through_what_stands_between(behind):
    """A BatchNorm of units' own numbers makes means of classes, which differ: their spread counts."""
    own = ff.BatchNorm(np.array([1e-6, 1e-3, 0.5]), np.array([0.7, 0.7, -0.2]), trained=True)
    layers = [ff.Dense(3), own, ff.Activation("tanh"), behind, ff.LayerNorm(trained=True)]
    net = ff.Network(INPUTS, [*layers, ff.Dense(7), ff.Activation("relu"), behind, ff.LayerNorm(0.3), ff.Dense(2)])
    for theory in ("exact", "frozen"):
        core, slow = both(net, theory=theory, samples=50)
        for name in ("a", "b", "lambda_max", "bulk"):
            assert math.isclose(getattr(core, name), getattr(slow, name), rel_tol=RELATIVE), (theory, name)
        np.testing.assert_allclose(
            ff.order_parameters(net, theory=theory, samples=50, overlap=OVERLAP).q_hat,
            ff.reference.order_parameters(net, theory=theory, samples=50, overlap=OVERLAP).q_hat,
            rtol=RELATIVE,
        )
