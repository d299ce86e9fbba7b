# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher operator of sampled networks: laws of the operator, and its spectrum against the reference."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sampled import NETWORKS, STATISTICS, drawn

import fisherfield as ff
from fisherfield import reference
from fisherfield.sampled.lanczos import krylov, largest_eigenpairs

LOSSES = ("sum", "mean", "mse", "cross_entropy")
# of sums of a hundred terms, relative to the largest
ROUNDING = {"float64": 1e-13, "float32": 3e-5}


def close(result, expected, dtype="float64"):
    np.testing.assert_allclose(result, expected, rtol=0, atol=ROUNDING[dtype] * np.abs(expected).max())


def operators(name, statistics, loss="sum", dtype="float64", **arguments):
    """The operator, and F* by the reference."""
    sampled, x = drawn(NETWORKS[name])
    if dtype == "float32":
        single = ff.sample(sampled.net, sampled.seed, dtype)
        single.gammas, single.betas = list(sampled.gammas), list(sampled.betas)
        sampled = single
    operator = ff.FisherOperator(sampled, x, statistics=statistics, loss=loss, **arguments)
    return operator, reference.sampled._dual(sampled, x, 0, statistics, loss, True)


# The operator


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("name", NETWORKS)
def test_products_and_entries_are_the_references(name, statistics, loss, dtype):
    operator, dual = operators(name, statistics, loss, dtype)
    w = np.random.default_rng(1).standard_normal(operator.shape[0])
    close(operator.dense(), dual, dtype)
    close(operator @ w, dual @ w, dtype)
    close((operator @ w.reshape(operator.outputs.shape)).ravel(), dual @ w, dtype)


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("name", NETWORKS)
def test_reverse_and_forward_mode_are_adjoint(name, statistics):
    """<J v, w> = <v, J^T w>."""
    operator, _ = operators(name, statistics)
    random = np.random.default_rng(2)
    v, w = random.standard_normal(operator.parameters), random.standard_normal(operator.outputs.shape)
    assert np.vdot(operator.jvp(v), w) == pytest.approx(np.vdot(v, operator.vjp(w)), rel=1e-12)
    close((operator @ w), operator.jvp(operator.vjp(w)) / operator.samples)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_way_by_kernels_is_the_way_by_gradients(name):
    """The products with H H^T, made for many products, against those with H^T Delta."""
    operator, dual = operators(name, "exact")
    by_gradients = operator._core.product(np.eye(operator.shape[0]))
    operator._core.prepare(1e9, 1e9)
    by_kernels = operator._core.product(np.eye(operator.shape[0]))
    for result in (by_gradients, by_kernels):
        close(result / operator.samples, dual)


@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_of_samples_are_the_whole(loss):
    sampled, x = drawn(NETWORKS["vanilla"], samples=40)
    whole = ff.FisherOperator(sampled, x, loss=loss)
    chunked = ff.FisherOperator(sampled, x, loss=loss, memory=0.4 * whole._core.bytes(40))
    assert len(chunked._chunks) > 2
    random = np.random.default_rng(3)
    v, w = random.standard_normal(whole.parameters), random.standard_normal(whole.outputs.shape)
    for result, expected in (
        (chunked.outputs, whole.outputs),
        (chunked.vjp(w), whole.vjp(w)),
        (chunked.jvp(v), whole.jvp(v)),
        (chunked @ w, whole @ w),
    ):
        close(result, expected)
    assert ff.sampled_fisher(chunked.network, x, loss=loss, memory=chunked.memory).lambda_max == pytest.approx(
        ff.sampled_fisher(sampled, x, loss=loss).lambda_max, rel=1e-6
    )


def test_more_samples_than_a_block_of_all_entries():
    """Blocks of 1024 rows: 1100 samples are four of them, with two outputs sixteen."""
    sampled, x = drawn(ff.mlp([2, 5, 4, 2], "tanh", batch_norm=False), samples=1100)
    operator = ff.FisherOperator(sampled, x)
    w = np.random.default_rng(4).standard_normal(operator.shape[0])
    close(operator.dense() @ w, operator @ w)


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_any_number_of_threads_gives_the_same(threads):
    before = ff.num_threads()
    net = ff.mlp([20, 50, 40, 2], "gelu", trained=True)
    x = ff.data.gaussian(net, 300)
    w = np.random.default_rng(5).standard_normal(600)
    try:
        ff.set_num_threads(threads)
        operator = ff.FisherOperator(net, x)
        result, outputs = operator @ w, operator.outputs
        ff.set_num_threads(2)
        operator = ff.FisherOperator(net, x)
        close(result, operator @ w)  # where BLAS sums: 1e-13
        close(outputs, operator.outputs)
    finally:
        ff.set_num_threads(before)


def test_an_operator_keeps_the_weights_it_was_made_of():
    sampled, x = drawn(NETWORKS["dense"])
    operator = ff.FisherOperator(sampled, x)
    w = np.ones(operator.shape[0])
    before = operator @ w
    sampled.weights[0][:] = 7.0
    assert np.array_equal(operator @ w, before)


def test_callables_are_activations_too():
    named, called = (ff.mlp([4, 6, 2], activation) for activation in ("tanh", ff.Activation(np.tanh)))
    x = ff.data.gaussian(4, 6)
    close(ff.FisherOperator(called, x).dense(), ff.FisherOperator(named, x).dense())


# The spectrum


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_both_methods_find_the_references_eigenvalues(name, loss):
    sampled, x = drawn(NETWORKS[name])
    expected = reference.sampled_fisher(sampled, x, k="all", loss=loss)
    full = ff.sampled_fisher(sampled, x, k="all", loss=loss)
    assert full.method == "dense"
    close(full.eigenvalues, expected)
    assert np.all(full.eigenvalues >= 0)
    few = ff.sampled_fisher(sampled, x, k=3, loss=loss, method="lanczos", tolerance=1e-12)
    assert np.abs(few.eigenvalues - expected[:3]).max() <= 1e-12 * expected[0]
    assert ff.sampled_fisher(sampled, x, loss=loss, method="dense").lambda_max == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("statistics", ["exact", "frozen"])
@pytest.mark.parametrize("outputs", [1, 4])
def test_errors_bound_what_is_off(statistics, outputs):
    """At a loose tolerance, of a cluster of near-equal eigenvalues as well as of one."""
    net = ff.mlp([30, 60, 60, outputs])
    x = ff.data.gaussian(net, 80)
    operator = ff.FisherOperator(net, x, statistics=statistics)
    expected = ff.sampled_fisher(net, x, statistics=statistics, k="all").eigenvalues
    for k in (1, 3):
        for tolerance in (1e-2, 1e-4, 1e-6, 1e-10):
            result = ff.sampled_fisher(
                net, x, statistics=statistics, k=k, method="lanczos", tolerance=tolerance, eigenvectors=True
            )
            off = np.abs(result.eigenvalues - expected[:k])
            assert np.all(off <= result.errors + 1e-14 * expected[0])
            assert np.all(result.errors <= tolerance * expected[0])
            vectors = result.eigenvectors.reshape(k, -1)
            residuals = [operator @ v - value * v for v, value in zip(vectors, result.eigenvalues, strict=True)]
            np.testing.assert_allclose(np.linalg.norm(residuals, axis=1), result.residuals, atol=1e-12 * expected[0])
            np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=1e-13)


def test_permuted_samples_permute_eigenvectors():
    sampled, x = drawn(NETWORKS["dense"], samples=9)
    order = np.random.default_rng(6).permutation(9)
    one, other = (
        ff.sampled_fisher(sampled, inputs, k=2, method="dense", eigenvectors=True) for inputs in (x, x[order])
    )
    close(one.eigenvalues, other.eigenvalues)
    for v, w in zip(one.eigenvectors[:, order], other.eigenvectors, strict=True):
        assert abs(np.vdot(v, w)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("widths", [[20, 40, 30, 3], [20, 40, 30, 1]])
def test_the_scaling_law_of_homogeneous_networks(widths):
    """The kernel is gamma^2 Theta_W + 1 1^T whatever the variances (docs/theory.md, 4), to 12 digits."""
    x = ff.data.gaussian(20, 25)

    def kernel(gamma, w2, b2):
        net = ff.mlp(widths, gamma=gamma, sigma_w2=w2, sigma_b2=b2)
        return (25 * ff.FisherOperator(net, x).dense() - np.kron(np.ones((25, 25)), np.eye(widths[-1]))) / gamma**2

    first = kernel(1.0, 2.0, 0.5)
    for gamma, w2, b2 in ((0.25, 2.0, 0.5), (3.0, 7.0, 0.1), (1.0, 0.3, [3.0, 0.0, 0.1])):
        np.testing.assert_allclose(kernel(gamma, w2, b2), first, atol=1e-12 * np.abs(first).max())


def test_the_same_call_gives_the_same_bits():
    net = ff.mlp([10, 30, 3])
    x = ff.data.gaussian(net, 40)
    one, other = (ff.sampled_fisher(net, x, seed=3, method="lanczos") for _ in range(2))
    assert np.array_equal(one.eigenvalues, other.eigenvalues)
    assert one.products == other.products


def test_it_prints_what_it_found():
    result = ff.sampled_fisher(ff.mlp([10, 30, 3]), ff.data.gaussian(10, 40), k=10)
    for words in ("423 parameters", "40 samples, 3 outputs", "lambda_max", "2 more, down to", "method", "flop"):
        assert words in repr(result)
    assert result.max_learning_rate(0.9) == pytest.approx(3.8 / result.lambda_max)
    assert result.max_learning_rate(0.9, True, 2.0) == pytest.approx(3.8 / 2.8 / (result.lambda_max + 2.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_lanczos_finds_the_largest_of_any_spectrum(size, k, block, seed):
    """Clusters, copies and zeros among them."""
    random = np.random.default_rng(seed)
    k, block = min(k, size), min(block, size)
    values = np.sort(random.choice([0.0, 1.0, 1.0 + 1e-6, 3.0, *random.random(3)], size))[::-1]
    vectors = np.linalg.qr(random.standard_normal((size, size)))[0]
    matrix = vectors * values @ vectors.T
    result = largest_eigenpairs(
        lambda w: matrix @ w, random.standard_normal((block, size)), k, 1e-12, 20 * size + 20, random
    )
    assert result.values[0] == pytest.approx(values[0], abs=1e-11 * max(values[0], 1e-3))
    assert np.all(np.diff(result.values) <= 1e-12)


def test_a_full_basis_goes_on_from_its_best():
    values = np.concatenate([[10.0, 9.99], np.linspace(0, 9.9, 400)])
    random = np.random.default_rng(8)
    result = largest_eigenpairs(lambda w: values * w, random.standard_normal((1, 402)), 2, 1e-10, 1000, random)
    assert result.products > 44  # of a basis of 24
    assert result.values == pytest.approx([10.0, 9.99], abs=1e-9)


def test_what_a_ritz_value_rises_by_ends_lanczos_sooner_and_within_its_tolerance():
    values = np.concatenate([[1.0], np.linspace(0.9, 0.0, 999)])  # a gap that is hardly seen beside the others
    counts = np.zeros((20, 2), int)
    for seed in range(20):
        for series in (False, True):
            random = np.random.default_rng(seed)
            result = largest_eigenpairs(
                lambda w: values * w, random.standard_normal((1, 1000)), 1, 1e-3, 200, random, confirm=2, series=series
            )
            assert abs(result.values[0] - 1.0) <= result.errors[0] <= 1e-3
            counts[seed, int(series)] = result.products
    assert np.all(counts[:, 1] <= counts[:, 0])
    assert np.count_nonzero(counts[:, 1] < counts[:, 0]) >= 15  # of 20


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (ff.Network(5, [ff.Dense(2), ff.BatchNorm()]), ff.data.gaussian(5, 6)),  # the constant has no part in it
        (ff.mlp([5, 7, 2], gamma=0.0), ff.data.gaussian(5, 6)),  # the last biases are all there is
        (ff.mlp([5, 7, 2], "step", beta=-9.0), ff.data.gaussian(5, 6)),  # hidden units never on
        (ff.mlp([5, 7, 1], batch_norm=False), ff.data.gaussian(5, 1)),  # one sample
        (ff.mlp([5, 3], batch_norm=False), ff.data.gaussian(5, 6)),  # one layer: 3 copies of every eigenvalue
        (ff.mlp([5, 7, 1], "tanh", batch_norm=False, sigma_b2=0.0), np.concatenate([np.eye(5), -np.eye(5)])),
        (ff.mlp([5, 40, 40, 40], batch_norm=False), ff.data.gaussian(5, 6)),  # more outputs than a block
    ],
)
def test_corners(net, x):
    expected = reference.sampled_fisher(net, x, k="all")
    for method in ("lanczos", "dense"):
        result = ff.sampled_fisher(net, x, method=method, tolerance=1e-10)
        assert result.lambda_max == pytest.approx(expected[0], rel=1e-10)
    count = min(4, len(expected))
    result = ff.sampled_fisher(net, x, k=count, method="lanczos", tolerance=1e-10)
    assert result.eigenvalues == pytest.approx(expected[:count], abs=1e-10 * expected[0])


def test_nothing_is_learnt_without_inputs_and_biases():
    net = ff.mlp([5, 7, 2], batch_norm=False, sigma_b2=0.0)
    for method in ("lanczos", "dense"):
        result = ff.sampled_fisher(net, np.zeros((4, 5)), biases=False, method=method)
        assert result.lambda_max == 0.0
        assert result.max_learning_rate() == np.inf


# Moments and density


@pytest.mark.parametrize("loss", ["sum", "cross_entropy"])
@pytest.mark.parametrize("statistics", ["exact", "frozen"])
@pytest.mark.parametrize("name", ["dense", "convolutions"])
def test_moments_are_the_references(name, statistics, loss):
    sampled, x = drawn(NETWORKS[name])
    trace, square = reference.sampled_moments(sampled, x, 0, statistics, loss=loss)
    result = ff.sampled_moments(sampled, x, statistics=statistics, loss=loss, method="dense")
    assert (result.trace, result.square) == pytest.approx((trace, square), rel=1e-12)
    assert result.mean == pytest.approx(trace / sampled.parameters, rel=1e-12)
    assert result.second_moment == pytest.approx(square / sampled.parameters, rel=1e-12)
    # of rounding alone: a bound, and not above 1e-10
    assert abs(result.trace - trace) <= result.trace_error <= 1e-10 * trace
    assert abs(result.square - square) <= result.square_error <= 1e-10 * square
    assert "tr F^2" in repr(result)


def test_random_vectors_give_moments_within_their_errors():
    net = ff.mlp([20, 50, 40, 2])
    x = ff.data.gaussian(net, 100)
    off = []
    for seed in range(12):
        exact = ff.sampled_moments(net, x, seed, method="dense")
        result = ff.sampled_moments(net, x, seed, method="hutchinson", vectors=15)
        assert result.products == 45
        off += [(result.trace - exact.trace) / result.trace_error, (result.square - exact.square) / result.square_error]
    assert np.sqrt(np.mean(np.square(off))) < 2  # 1 in the mean, of 24 with 14 degrees of freedom
    assert abs(np.mean(off)) < 1


def test_the_density_is_that_of_the_eigenvalues():
    net = ff.mlp([20, 50, 40, 2])
    x = ff.data.gaussian(net, 100)
    values = reference.sampled_density(net, x)
    result = ff.sampled_density(net, x, vectors=10, steps=30)
    assert result.products == 300
    np.testing.assert_allclose(result.weights.sum(axis=1), 1.0, rtol=1e-12)
    at = np.quantile(values, [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    share, error = result.cumulative(at)
    expected = np.mean(values[:, None] <= at, axis=0)
    assert np.all(np.abs(share - expected) < 4 * error + 0.05)  # and a step is a node's weight wide
    # smoothed by more than nodes lie apart, it is right to the random error
    density, error = result.density(at, width=1.0)
    bumps = np.exp(-((at - values[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    assert np.all(np.abs(density - bumps.mean(axis=0)) < 5 * error + 1e-3)
    assert "eigenvalues at most" in repr(result)


def test_gauss_quadrature_is_exact_for_polynomials():
    values = np.array([0.0, 0.5, 0.5, 2.0, 3.0])
    start = np.array([1.0, 2.0, -1.0, 0.5, 1.5])
    nodes, weights = krylov(lambda w: values * w, start, 2)
    for power in range(4):  # 2 steps: degree 3
        assert weights @ nodes**power == pytest.approx(start**2 @ values**power / (start @ start), rel=1e-13)
    nodes, weights = krylov(lambda w: values * w, start, 5)
    assert len(nodes) == 4  # where the space ends
    assert nodes == pytest.approx([0.0, 0.5, 2.0, 3.0], abs=1e-13)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "power"}, ValueError, "method must be one of auto, lanczos, dense, got 'power'"),
        ({"tolerance": 0.0}, ValueError, r"tolerance must be in \[1e-14, 0.1\], got 0.0"),
        ({"eigenvectors": 1}, TypeError, "eigenvectors must be True or False, got 1"),
        ({"memory": -1.0}, ValueError, "memory must be"),
        ({"memory": 100.0}, ValueError, "memory must be at least .* for 5 samples .* BatchNorm needs all at once"),
        ({"memory": 7000, "method": "dense"}, ValueError, "memory must be at least .* for all of F"),
        (
            {"dtype": "float32"},
            ValueError,
            "dtype must be left out or the SampledNetwork's own, float64",
        ),
        ({"x": np.full((5, 5), np.nan)}, ValueError, "x must be finite, got nan"),
        ({"x": np.ones((5, 5)), "net": ff.mlp([5, 4, 1])}, ValueError, r"layers\[1\]: unit 0 has zero variance"),
        (
            {"net": ff.mlp([5, 4, 1], "exp", batch_norm=False, sigma_w2=1e6), "x": 10 * np.ones((2, 5))},
            ValueError,
            r"f\(x\) of this network overflows float64 on these inputs",
        ),
        (
            {"net": ff.mlp([5, 4, 1], batch_norm=False), "x": 1e200 * np.ones((2, 5))},
            ValueError,
            r"F\* of this network overflows float64 on these inputs",
        ),
        ({"x": np.ones((1, 5))}, ValueError, "x must hold at least 2 samples under the BatchNorm"),
        ({"loss": "cross_entropy", "net": ff.mlp([5, 4, 1])}, ValueError, "loss must be sum, mean or mse"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, error, words):
    sampled, x = drawn(NETWORKS["dense"])
    with pytest.raises(error, match=words):
        ff.sampled_fisher(**{"net": sampled, "x": x, **arguments})


def test_operators_refuse_in_a_sentence():
    operator, _ = operators("dense", "exact")
    for call, words in (
        (lambda: operator @ np.ones(3), r"w must hold 15 numbers, got shape \(3,\)"),
        (lambda: operator.vjp(np.ones(3)), r"w must hold 15 numbers, got shape \(3,\)"),
        (lambda: operator.jvp(np.ones(3)), r"v must hold 125 numbers, got shape \(3,\)"),
        (lambda: operator @ np.full(15, np.inf), "w must be finite, got inf"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert "5 samples, 3 outputs" in repr(operator)


@pytest.mark.parametrize("measure", [ff.sampled_fisher, ff.sampled_moments, ff.sampled_density])
def test_progress_hears_of_every_product_and_results_can_be_sent(measure):
    heard = []
    result = measure(ff.mlp([6, 9, 2]), ff.data.gaussian(6, 12), progress=lambda *message: heard.append(message))
    assert heard
    assert all(products >= 1 for products, _ in heard)
    assert repr(pickle.loads(pickle.dumps(result))) == repr(result)


def test_an_operator_can_be_used_from_several_threads():
    operator = ff.FisherOperator(ff.mlp([30, 60, 50, 2]), ff.data.gaussian(30, 100))
    rows = np.random.default_rng(9).standard_normal((40, 200))
    expected = [operator @ row for row in rows]
    with ThreadPoolExecutor(4) as pool:
        for result, right in zip(pool.map(operator.__matmul__, rows), expected, strict=True):
            close(result, right)


# Memory

WIDE = ff.Network((1, 700, 700), [ff.Conv2d(8, 3, padding=1), ff.GlobalAvgPool2d()])


def test_images_beyond_the_memory_are_refused_beforehand(monkeypatch):
    monkeypatch.setattr(ff._memory, "available_memory", lambda: 10**8)
    x, sampled = np.broadcast_to(1.0, (2, 1, 700, 700)), ff.sample(WIDE)
    with pytest.raises(ValueError, match="x must fit into memory with what the layers make of it: 2 samples of this"):
        sampled(x)
    for measured in (ff.sampled_fisher, ff.sampled_moments, ff.sampled_density):
        with pytest.raises(ValueError, match=r"memory must be at least 200 MB for 2 samples of this network, got 100"):
            measured(sampled, x)
    for function in (sampled, lambda x: ff.sampled_fisher(sampled, x), ff.data.load):
        with pytest.raises(ValueError, match=r"x must fit into memory, got shape .* for which"):
            function(np.broadcast_to(1.0, (10**9, 1, 700, 700)))


MEASURED = """
import sys
import numpy as np
import fisherfield as ff

def status(name):
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

net = ff.Network((1, 700, 700), [ff.Conv2d(8, 3, padding=1), ff.GlobalAvgPool2d()])
x, sampled = np.random.default_rng(0).standard_normal((2, 1, 700, 700)), ff.sample(net)
ff.sampled_fisher(ff.mlp([3, 3]), np.eye(3))
before = status("VmRSS:")
module = sys.modules["fisherfield.sampled.linearization"]
sampled(x)
needed = module.bytes_of_forward(sampled, 2)
print((status("VmHWM:") - before) / needed)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says how much there was")
def test_the_estimate_of_a_forward_pass_is_what_it_takes():
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    # 106 MB; pages that were there before, and the buffers of BLAS
    assert 0.9 < float(done.stdout) < 1.2
