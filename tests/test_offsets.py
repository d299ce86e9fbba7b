# SPDX-License-Identifier: BSD-3-Clause
"""Common offsets of inputs and of activations: they cost nothing where a BatchNorm takes them away, and elsewhere the
error bars say what they cost. The judge is F* in numpy.longdouble, 2048 times finer than float64."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference
from fisherfield.sampled.linearization import STATISTICS

Long = np.longdouble
pytestmark = pytest.mark.skipif(np.finfo(Long).eps > 1e-18, reason="long double is no finer than double here")

PHI = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(Long)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (1 + np.exp(-z)) / (1 + np.exp(z))),
    "sin": (np.sin, np.cos),
}


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def windows(h, layer):
    """Where each patch (position, channels x taps) of images stands in them; -1 in the frame of zeros."""
    (pad, side), (kernel, wide), (step, across) = pair(layer.padding), pair(layer.kernel), pair(layer.stride)
    places = np.pad(np.arange(h[0].size).reshape(h.shape[1:]), ((0, 0), (pad, pad), (side, side)), constant_values=-1)
    view = np.lib.stride_tricks.sliding_window_view(places, (kernel, wide), axis=(1, 2))[:, ::step, ::across]
    return view.transpose(1, 2, 0, 3, 4).reshape(view.shape[1] * view.shape[2], -1), view.shape[1:3]


def dual(sampled, x, statistics="exact"):
    """F* of the loss "sum" in long double: patches off their means before every BatchNorm, rows of J one by one."""
    through_mean, through_variance = STATISTICS[statistics]
    h, tape = np.asarray(x).astype(Long), []
    n, affine, norms = len(h), 0, 0
    for layer, behind in zip(sampled.net.layers, (*sampled.net.layers[1:], None), strict=True):
        if isinstance(layer, (ff.Dense, ff.Conv2d)):
            W, b = (part[affine].astype(Long) for part in (sampled.weights, sampled.biases))
            W, affine = W.reshape(len(W), -1), affine + 1
            places, size = (np.arange(h[0].size)[None], None) if h.ndim == 2 else windows(h, layer)
            flat = np.concatenate([h.reshape(n, -1), np.zeros((n, 1), Long)], axis=1)  # what -1 stands for is 0
            patches = flat[:, places]
            centred = patches - patches.mean(axis=(0, 1))
            centred = centred - centred.mean(axis=(0, 1))
            normed = isinstance(behind, ff.BatchNorm)
            z = centred @ W.T if normed else patches @ W.T + b
            tape.append(("affine", W, centred if normed and through_mean else patches, places, h.shape))
            h = z[:, 0] if size is None else z.transpose(0, 2, 1).reshape(n, -1, *size)
        elif isinstance(layer, ff.BatchNorm):
            over, column = (0, *range(2, h.ndim)), (-1, *(1,) * (h.ndim - 2))
            for _ in range(2):  # of inputs as large as 1e12 the first mean has rounding of its own
                h = h - h.mean(axis=over).reshape(column)
            s = np.sqrt((h**2).mean(axis=over) + Long(layer.eps)).reshape(column)
            gamma, beta = (part[norms].astype(Long).reshape(column) for part in (sampled.gammas, sampled.betas))
            norms += 1
            tape.append(("norm", h / s, gamma, s, layer.trained))
            h = gamma * (h / s) + beta
        elif isinstance(layer, ff.Activation):
            value, slope = PHI[layer.function]
            tape.append(("phi", slope(h)))
            h = value(h)
        elif isinstance(layer, ff.MaxPool2d):  # of 2 x 2
            parts = np.array([h[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
            tape.append(("largest", parts.argmax(axis=0), h.shape))
            h = parts.max(axis=0)
        elif isinstance(layer, ff.AvgPool2d):
            tape.append(("pool", 2, h.shape))
            h = sum(h[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        else:
            tape.append(("flat", h.shape))
            h = h.reshape(n, -1)
    rows = [gradient(tape, row.reshape(h.shape), through_mean, through_variance) for row in np.eye(h.size, dtype=Long)]
    J = np.array(rows)
    return J @ J.T / n


def gradient(tape, delta, through_mean, through_variance):
    parts, n = [], len(delta)
    for kind, *kept in reversed(tape):
        if kind == "affine":
            W, patches, places, shape = kept
            delta = delta[:, None] if delta.ndim == 2 else delta.reshape(n, len(W), -1).transpose(0, 2, 1)
            parts += [np.tensordot(delta, patches, ((0, 1), (0, 1))).ravel(), delta.sum(axis=(0, 1))]
            back = np.zeros((n, int(np.prod(shape[1:])) + 1), Long)
            np.add.at(back, (slice(None), places), delta @ W)
            delta = back[:, :-1].reshape(shape)
        elif kind == "norm":
            u, gamma, s, trained = kept
            over = (0, *range(2, delta.ndim))
            if trained:
                parts += [(delta * u).sum(axis=over), delta.sum(axis=over)]
            delta = gamma * delta
            means = delta.mean(axis=over, keepdims=True) * through_mean
            delta = (delta - means - u * (delta * u).mean(axis=over, keepdims=True) * through_variance) / s
        elif kind == "phi":
            delta = delta * kept[0]
        elif kind == "largest":
            picked, shape = kept
            back = np.zeros(shape, Long)
            for tap in range(4):
                back[:, :, tap // 2 :: 2, tap % 2 :: 2] = np.where(picked == tap, delta, 0)
            delta = back
        elif kind == "pool":
            delta = np.repeat(np.repeat(delta, 2, axis=2), 2, axis=3) / 4
        else:
            delta = delta.reshape(kept[0])
    return np.concatenate(parts)


def eigenvalues(matrix):
    """Rayleigh quotients in long double of the eigenvectors of float64, whose errors of 1e-16 they square."""
    _, vectors = np.linalg.eigh(matrix.astype(float))
    return np.array([v @ matrix @ v / (v @ v) for v in vectors.T.astype(Long)])[::-1].astype(float)


NETWORKS = {
    "first": ff.mlp([6, 12, 10, 2]),
    "trained": ff.mlp([6, 12, 10, 2], "tanh", trained=True, eps=1e-5),
    "saturated": ff.mlp([6, 12, 10, 8, 1], "sigmoid", beta=20.0, eps=1e-8),
    "large beta": ff.mlp([6, 12, 10, 8, 1], "relu", beta=1e6),
    "larger beta": ff.mlp([6, 12, 10, 8, 1], "linear", beta=1e9, eps=1e-8),
    "later": ff.Network(6, [ff.Dense(12), ff.Activation("relu"), ff.Dense(10), ff.BatchNorm(eps=1e-8), ff.Dense(2)]),
    "none": ff.mlp([6, 12, 10, 2], batch_norm=False),
    "sine": ff.mlp([6, 12, 10, 2], "sin", batch_norm=False),
    "padded": ff.convnet((2, 6, 6), [3, 4], 2),
    "unpadded": ff.convnet((2, 7, 7), [3, 4], 2, padding=0, stride=1),
    "pooled": ff.Network(
        (2, 8, 8),
        [ff.AvgPool2d(2), ff.Conv2d(3, 2), ff.BatchNorm(), ff.Activation("tanh"), ff.Flatten(), ff.Dense(2)],
    ),
    "normed first": ff.Network(6, [ff.BatchNorm(), ff.Dense(12), ff.Activation("tanh"), ff.Dense(2)]),
    "trained first": ff.Network(
        (2, 7, 7),
        [
            ff.BatchNorm(0.7, 0.3, 1e-5, True),
            *(ff.Conv2d(3, 2, 2, 1), ff.BatchNorm(), ff.Activation("tanh"), ff.Flatten(), ff.Dense(2)),
        ],
    ),
    "normed flat": ff.Network((2, 3, 3), [ff.Flatten(), ff.BatchNorm(trained=True), ff.Dense(9), ff.Dense(2)]),
    "normed behind phi": ff.Network(
        6,
        [
            *(ff.Dense(12), ff.BatchNorm(beta=20.0), ff.Activation("sigmoid")),
            *(ff.BatchNorm(eps=1e-8, trained=True), ff.Activation("tanh"), ff.Dense(2)),
        ],
    ),
    "largest": ff.Network(
        (2, 9, 9),
        [
            *(ff.Conv2d(3, 2), ff.BatchNorm(), ff.MaxPool2d(2), ff.Activation("tanh"), ff.MaxPool2d(2)),
            *(ff.BatchNorm(trained=True), ff.Flatten(), ff.Dense(2)),
        ],
    ),
    "images without": ff.convnet((2, 6, 6), [3, 4], 2, batch_norm=False),
}
INVARIANT = ("first", "trained", "unpadded", "pooled", "normed first", "trained first", "normed flat", "largest")
OFFSETS = (0.0, 1e3, 1e6, 1e9, 1e12)


def drawn(name, offset, dtype="float64"):
    """A network and inputs off by an offset."""
    sampled = ff.sample(NETWORKS[name], 2, dtype)
    return sampled, ff.data.gaussian(sampled.net, 7, seed=3) + offset


def asked(*args, **words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ff.sampled_fisher(*args, **words)


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_error_bars_hold_at_every_offset(name, dtype, statistics):
    if statistics != "exact" and not NETWORKS[name].batch_norms:
        pytest.skip("statistics are BatchNorm's")
    for offset in OFFSETS:
        sampled, x = drawn(name, offset, dtype)
        expected = eigenvalues(dual(sampled, x, statistics))
        for method, k in (("dense", "all"), ("dense", 1), ("lanczos", 1), ("lanczos", 2)):
            try:
                result = asked(sampled, x, statistics=statistics, k=k, method=method)
            except (RuntimeError, ValueError) as error:  # refused in words: it is not silent
                assert any(words in str(error) for words in ("rounding in", "zero variance", "overflows"))
                continue
            off = np.abs(result.eigenvalues - expected[: len(result.eigenvalues)])
            # beside the bar, what the judge's own eigenvectors leave
            assert np.all(off <= result.errors + 4e-16 * expected[0]), (offset, method, k)
            assert np.all(result.errors >= result.rounding)


@pytest.mark.parametrize("name", INVARIANT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_offsets_that_batch_norm_takes_away_cost_nothing(name, dtype):
    """Inputs + 1e7 and inputs + 1e12, both methods and every statistic's forward pass: as precise as without."""
    for offset in OFFSETS:
        sampled, x = drawn(name, offset, dtype)
        expected = eigenvalues(dual(sampled, x))
        tolerance = {"float64": 1e-14, "float32": 2e-6}[dtype]  # some roundings, as without an offset
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = ff.sampled_fisher(sampled, x, k="all")
            few = ff.sampled_fisher(sampled, x, method="lanczos")
        np.testing.assert_allclose(result.eigenvalues, expected, rtol=0, atol=tolerance * expected[0])
        assert result.errors[0] <= {"float64": 1e-13, "float32": 1e-4}[dtype] * expected[0]
        assert few.lambda_max == pytest.approx(expected[0], rel=2e-6)  # as it was asked for


@pytest.mark.parametrize("name", INVARIANT)
def test_the_forward_pass_and_the_reference_are_at_no_loss_either(name):
    for offset in OFFSETS:
        sampled, x = drawn(name, offset)
        shifted = x - offset  # exact: x was rounded when the offset was added
        np.testing.assert_allclose(sampled(x), sampled(shifted), rtol=0, atol=1e-13 * np.abs(sampled(shifted)).max())
        single = ff.SampledNetwork(sampled.net, 0, "float32", *(getattr(sampled, part) for part in PARTS))
        np.testing.assert_allclose(single(x), sampled(x), rtol=0, atol=1e-5)  # float32 itself, not 1e12 in float32
        if name == "pooled" and offset > 0:  # the reference pools inputs as they are
            continue
        np.testing.assert_allclose(reference.sampled.forward(sampled, x), sampled(x), rtol=0, atol=1e-13)
        values = reference.sampled_fisher(sampled, x, k="all")
        np.testing.assert_allclose(values, eigenvalues(dual(sampled, x)), rtol=0, atol=1e-14 * values[0])


PARTS = ("weights", "biases", "gammas", "betas")


def test_an_offset_at_the_border_of_a_padded_convolution_counts():
    """There it is not the same in all rows of the patches: centred inputs are other inputs."""
    sampled, x = drawn("padded", 1e6)
    value = ff.sampled_fisher(sampled, x).lambda_max
    assert value == pytest.approx(eigenvalues(dual(sampled, x))[0], rel=1e-6)
    assert abs(value / ff.sampled_fisher(sampled, x - 1e6).lambda_max - 1) > 0.1


def test_frozen_statistics_count_the_offset_and_lose_nothing():
    """The gradient of the first weights holds the inputs themselves where the mean is a constant."""
    sampled, x = drawn("first", 1e7)
    for statistics in ("frozen", "variance_only"):
        result = ff.sampled_fisher(sampled, x, statistics=statistics, method="dense")
        expected = eigenvalues(dual(sampled, x, statistics))[0]
        assert result.lambda_max == pytest.approx(expected, rel=1e-13)
        assert expected > 1e10


def test_cancellation_is_said():
    """Behind a first layer without BatchNorm nothing takes the offset away before it has cost its digits."""
    sampled, x = drawn("later", 1e6)
    with pytest.warns(UserWarning, match="cancellation: rounding in float64 may change the eigenvalues"):
        result = ff.sampled_fisher(sampled, x)
    assert "cancellation" in repr(result)
    assert "cancellation" not in repr(ff.sampled_fisher(sampled, x - 1e6))
    for measure in (ff.sampled_moments, ff.sampled_density):
        with pytest.warns(UserWarning, match="cancellation"):
            measure(sampled, x)


def test_lanczos_advises_no_method_against_rounding():
    sampled, x = drawn("later", 1e6)
    with pytest.raises(RuntimeError, match="no method mends: take common offsets off the inputs") as raised:
        asked(sampled, x, method="lanczos", tolerance=1e-14)
    assert "dense" not in str(raised.value)


@pytest.mark.parametrize("method", ["dense", "hutchinson"])
@pytest.mark.parametrize("name", ["first", "later", "padded", "sine"])
def test_moments_have_their_rounding_in_their_errors(name, method):
    for offset in (0.0, 1e6):
        sampled, x = drawn(name, offset)
        matrix = dual(sampled, x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = ff.sampled_moments(sampled, x, method=method, vectors=14)  # of 14: no noise but rounding
        trace, square = float(np.trace(matrix)), float(np.sum(matrix**2))
        # 1e-15: sums of 14 numbers in float64
        assert abs(result.trace - trace) <= result.trace_error + 1e-15 * trace
        assert abs(result.square - square) <= result.square_error + 1e-15 * square
        assert np.all(result.rounding >= np.abs(eigenvalues(matrix)[0] - asked(sampled, x, method="dense").lambda_max))


def test_measuring_rounding_leaves_an_operator_as_it_was():
    from fisherfield.sampled.moments import moments_of
    from fisherfield.sampled.spectrum import spectrum_of

    for name, memory in (("first", None), ("none", 20e3)):
        sampled, x = drawn(name, 0.0)
        operator = ff.FisherOperator(sampled, x, loss="cross_entropy", memory=memory)
        w, outputs = np.ones(operator.shape[0]), copy.copy(operator.outputs)
        before = operator @ w, operator.vjp(w), operator.jvp(np.ones(operator.parameters))
        spectrum_of(operator, method="lanczos")
        after = operator @ w, operator.vjp(w), operator.jvp(np.ones(operator.parameters))
        moments_of(operator, "hutchinson", 2)
        assert np.array_equal(operator.outputs, outputs)
        for one, other in zip(before, after, strict=True):
            # the products with H H^T are made again, and sum in another order
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14 * np.abs(one).max())
        assert np.array_equal(operator.vjp(w), before[1])


def test_verify_says_what_rounding_costs():
    net = NETWORKS["later"]
    x = ff.data.gaussian(net, 20)
    clean, off = (ff.verify(net, seeds=2, x=inputs) for inputs in (x, x + 1e6))
    assert clean.rounding < 1e-12
    assert "Rounding" not in clean.verdict
    assert off.rounding > 1e-8
    assert "Rounding in float64 may change" in off.verdict
