# SPDX-License-Identifier: BSD-3-Clause
"""Deep networks: no digit is lost, and nothing leaves the range of float64 in silence."""

import math

import mpmath
import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core

mp = mpmath.mp.clone()
mp.dps = 160  # v falls to 1e-125 of q in a thousand layers


def relu_kernel(q, q_xy):
    """E relu relu and E relu' relu' of equal variances (Cho and Saul 2009)."""
    t = mp.acos(q_xy / q)
    return q * (mp.sin(t) + (mp.pi - t) * mp.cos(t)) / (2 * mp.pi), (mp.pi - t) / (2 * mp.pi)


def vanilla(depth, width, w2, b2, overlap=0, inputs=50):
    """D and o of a vanilla relu network, by plain subtraction at 160 digits (docs/theory.md, section 4)."""
    q_hat, q_hat_xy, n = mp.mpf(1), mp.mpf(overlap), inputs
    D = o = mp.mpf(0)
    for layer in range(depth):
        D, o = n * q_hat + 1 + w2 * D, n * q_hat_xy + 1 + w2 * o
        q, q_xy, n = b2 + w2 * q_hat, b2 + w2 * q_hat_xy, width
        if layer < depth - 1:
            q_hat = q / 2
            q_hat_xy, slope = relu_kernel(q, q_xy)
            D, o = D / 2, slope * o
    return D, o


def normalised(depth, width, theory, samples, inputs=50):
    """The same with BatchNorm, eps = beta = 0 and gamma = 1; the general rule, of which infinite data is the limit."""
    half, mean2, u2 = mp.mpf(1) / 2, 1 / (2 * mp.pi), 1 / (2 * mp.pi)
    rest = mp.mpf(0) if samples is None else 1 / mp.mpf(samples - 1)
    q_hat, q_hat_xy, q_hat_off, n = mp.mpf(1), mp.mpf(0), mp.mpf(0), inputs
    D = o = mp.mpf(0)
    for layer in range(depth):
        D, o = n * q_hat + 1 + D, n * q_hat_off + 1 + o
        v, n = 2 * (q_hat - q_hat_xy), width
        if layer < depth - 1:
            chi = 2 / v
            if theory == "exact":
                D, o = chi * half * (D - o), -chi * (D - o) * (half**2 + u2) * rest
            else:
                D, o = chi * half * D, chi * half**2 * o
            q_hat, q_hat_xy = half, mean2
            q_hat_off = mean2 - (half**2 * rest if theory == "exact" else 0)
    return D, o


@pytest.mark.parametrize("depth", [32, 1000])
@pytest.mark.parametrize(("w2", "b2"), [(2.0, 0.0), (2.0, 0.5), (1.5, 0.1), (1.0, 0.5)])
def test_vanilla_networks_keep_their_digits(depth, w2, b2):
    D, o = vanilla(depth, 100, mp.mpf(w2), mp.mpf(b2))
    net = ff.mlp([50, *[100] * (depth - 1), 1], batch_norm=False, sigma_w2=w2, sigma_b2=b2)
    out = ff.fisher(net, samples=30)
    # a thousand layers, each of a few roundings: 1e-13 at L = 32, 1e-12 at L = 1000
    rel = 1e-13 if depth == 32 else 1e-12
    assert out.a == pytest.approx(float(D), rel=rel)
    assert out.b == pytest.approx(float(o), rel=rel)
    assert out.bulk == pytest.approx(float((D - o) / 30), rel=rel)


@pytest.mark.parametrize("name", _core.simd_paths())
@pytest.mark.parametrize("depth", [32, 1000])
def test_scans_of_vanilla_networks_keep_their_digits(depth, name, path):
    path(name)
    w2, b2 = [1.0, 1.5, 2.0], [0.0, 0.1, 0.5]
    net = ff.mlp([50, *[100] * (depth - 1), 1], batch_norm=False)
    out = ff.scan(net, {"sigma_w2": w2, "sigma_b2": b2, "samples": [30, None]}, ("a", "b", "bulk", "lambda_max"))
    rel = 1e-13 if depth == 32 else 1e-12  # as above
    for i, j in np.ndindex(3, 3):
        D, o = vanilla(depth, 100, mp.mpf(w2[i]), mp.mpf(b2[j]))
        assert out.a[i, j, 0] == pytest.approx(float(D), rel=rel)
        assert out.b[i, j, 1] == pytest.approx(float(o), rel=rel)
        assert out.bulk[i, j, 0] == pytest.approx(float((D - o) / 30), rel=rel)
        assert out.lambda_max[i, j, 0] == pytest.approx(float(o + (D - o) / 30), rel=rel)


@pytest.mark.parametrize("name", _core.simd_paths())
@pytest.mark.parametrize("depth", [32, 1000])
@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_scans_of_batch_norm_networks_keep_their_digits(depth, theory, name, path):
    path(name)
    net = ff.mlp([50, *[100] * (depth - 1), 1])
    # 1e-28 takes the general rule for finite batches; smaller ones are not the kernels'
    out = ff.scan(net, {"samples": [500, None], "eps": [1e-28]}, ("a", "b"), theory)
    for i, samples in enumerate([500, None]):
        D, o = normalised(depth, 100, theory, samples)
        rel = 1e-13 if depth == 32 else 1e-12
        assert (out.a[i, 0], out.b[i, 0]) == pytest.approx((float(D), float(o)), rel=rel)


@pytest.mark.parametrize("depth", [32, 1000])
@pytest.mark.parametrize(("theory", "samples"), [("exact", None), ("frozen", None), ("exact", 500), ("frozen", 500)])
def test_batch_norm_networks_keep_their_digits(depth, theory, samples):
    D, o = normalised(depth, 100, theory, samples)
    # eps = 1e-100 takes the general rule in place of the closed one for finite batches
    net = ff.mlp([50, *[100] * (depth - 1), 1], eps=1e-100 if samples else 0.0)
    out = ff.fisher(net, theory, samples=samples)
    rel = 1e-13 if depth == 32 else 1e-12
    assert (out.a, out.b) == pytest.approx((float(D), float(o)), rel=rel)


def test_order_parameters_keep_what_the_correlation_has_lost():
    """In the ordered phase v falls as chi^l: far below eps q, where 1 - c is 0 in float64."""
    net = ff.mlp([50, *[100] * 400, 1], "tanh", batch_norm=False, sigma_w2=0.5, sigma_b2=0.3)
    out = ff.order_parameters(net)
    assert out.c[-1] == 1.0
    assert 0.0 < out.v[-1] < 1e-100
    # the decay rate is that of the fixed point, chi = sigma_w2 E phi'^2
    chi = 0.5 * ff.gaussian.slope_second_moment("tanh", out.q[-1])
    assert out.v[-1] / out.v[-2] == pytest.approx(chi, rel=1e-9)
    assert out.v[-1] / out.v[-101] == pytest.approx(chi**100, rel=1e-7)  # 1e-9 a layer


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu(0.1)", "gelu", "elu", "softplus"])
@pytest.mark.parametrize("w2", [1e-3, 30.0])
def test_numbers_beyond_float64_are_reported(name, w2):
    net = ff.mlp([50, *[100] * 600, 1], name, batch_norm=False, sigma_w2=w2, sigma_b2=0.0)
    out, rows = ff.fisher(net, biases=False), ff.order_parameters(net)
    assert not any(np.isnan(getattr(rows, column)).any() for column in ("q", "q_xy", "v", "theta", "theta_xy", "d"))
    beyond = not 1e-308 < out.lambda_max < math.inf
    assert beyond == ("lies beyond the range of float64" in out.reason)
    assert bool(rows.reason) == bool(np.any(rows.v == 0) or np.any(np.isinf(rows.theta)) or np.any(rows.d == 0))
    if name in ("relu", "abs", "leaky_relu(0.1)") or w2 > 1:
        assert beyond


POWERS = [
    "monomial(2)",
    "monomial(32)",
    "rectified_monomial(2)",
    "rectified_monomial(32)",
    "hermite(32)",
    "polynomial(0, 0, 1)",
]


@pytest.mark.parametrize("name", POWERS)
def test_towers_of_powers_overflow_or_are_refused(name):
    """x^n in L layers is x^(n^L): exponents that no integer holds are refused, and never wrap around to a number."""
    refused = 0
    for depth in range(3, 41):
        net = ff.mlp([10, *[10] * depth, 1], name, batch_norm=False, sigma_w2=1e10)
        try:
            out = ff.fisher(net, samples=100)
        except ValueError as error:
            assert "must stay within the range of float64, and overflow" in str(error)
            refused += 1
            continue
        assert refused == 0  # nor is a deeper one a number again
        assert out.lambda_max > 1e20 * (10.0**10) ** depth  # of x alone; q > 1 in every layer
        assert out.b <= out.a
    assert refused > 0


@pytest.mark.parametrize("name", ["monomial(3)", "rectified_monomial(3)", "polynomial(0, 0, 1)", "monomial(32)"])
def test_towers_of_powers_that_vanish_leave_the_last_layer_s_bias(name):
    """Without biases in the sums q falls below any number within a few layers; the output's own bias has gradient 1."""
    for depth in (2, 5, 10, 20, 40):
        net = ff.mlp([10, *[10] * depth, 1], name, batch_norm=False, sigma_w2=1e-12, sigma_b2=0.0)
        out = ff.fisher(net, samples=100)
        assert (out.a, out.b, out.lambda_max) == pytest.approx((1.0, 1.0, 1.0), rel=1e-9)  # the rest is 1e-11 of it
        alone = ff.fisher(net, samples=100, biases=False)
        below = "lambda_max lies below 1e-1000000, beyond the range of float64" in alone.reason
        assert below if depth >= 20 else not below or depth > 2  # 1e-1028140 for x^3 in ten layers
        assert alone.lambda_max == 0.0 or depth == 2


def test_a_learning_rate_is_right_where_lambda_max_overflows():
    """2^1030 is no float64, 2/2^1030 is one: the core divides before it rounds to the range."""
    width, depth = 100, 1024
    # relu, sigma_w2 = 4: q_hat doubles a layer; every layer adds N q_hat^{l-1} 2^(L-l) = N 2^(L-1) to D
    net = ff.mlp([width] * depth + [1], batch_norm=False, sigma_w2=4.0, sigma_b2=0.0)
    out = ff.fisher(net, samples=1, biases=False)
    assert out.lambda_max == math.inf
    assert not out.holds
    eta = ff.max_learning_rate(net, samples=1, biases=False)
    expected = mp.mpf(2) / (width * depth * mp.mpf(2) ** (depth - 1))
    assert float(eta) == pytest.approx(float(expected), rel=1e-10)  # a subnormal number of 2^-1039: 35 bits


def test_deep_convolutional_networks_stay_in_range():
    """Position-resolved matrices carry exponents of their own."""
    layers = []
    for _ in range(700):
        layers += [ff.Conv2d(10, 1, sigma_w2=6.0, sigma_b2=0.0), ff.Activation("relu")]
    conv = ff.Network((3, 1, 1), [*layers, ff.Flatten(), ff.Dense(1, 6.0, 0.0)])
    dense = ff.mlp([3, *[10] * 700, 1], batch_norm=False, sigma_w2=6.0, sigma_b2=0.0)
    one, two = ff.max_learning_rate(conv, biases=False), ff.max_learning_rate(dense, biases=False)
    assert one.fisher.reason.split("; ")[-1] == two.fisher.reason.split("; ")[-1]
    assert "beyond the range of float64" in one.fisher.reason
    assert one == pytest.approx(two, rel=1e-12)
